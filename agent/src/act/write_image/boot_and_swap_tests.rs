//! An image with everything that images have beside a root: BIOS boot, EFI system partition, swap.

use std::sync::Arc;

use contract::agent_api::FinishResult;
use contract::reading::ReadingValue;
use imaging::chunk::CHUNK_BYTES;
use imaging::gpt::Gpt;
use imaging::manifest::{ManifestPartition, PartitionRole};
use imaging::partitions::{describe, immutable_by_default};
use uuid::{Uuid, uuid};

use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, Image, noise, of_bytes, partition, run, write_step};

const DISK_BYTES: usize = 80 << 20;
const MIB: usize = 1 << 20;
const BIOS_BOOT: usize = 24 * 1024;
const ESP: usize = MIB;
const SWAP: usize = 3 * MIB;
const ROOT: usize = 9 * MIB + 512 * 1024;

const TYPES: [Uuid; 4] = [
    uuid!("21686148-6449-6e6f-744e-656564454649"),
    uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
    uuid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"),
    uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
];

fn image() -> Image {
    let mut bytes = noise(31, 12 * CHUNK_BYTES);
    bytes[SWAP..ROOT].fill(0);
    bytes[SWAP + 4096 - 10..SWAP + 4096].copy_from_slice(b"SWAPSPACE2");
    let places = [(BIOS_BOOT, MIB), (ESP, SWAP), (SWAP, ROOT), (ROOT, 12 * MIB)];
    let partitions: Vec<ManifestPartition> = (1..)
        .zip(places)
        .map(|(number, (from, to))| {
            let role = match number {
                1 => PartitionRole::BiosBoot,
                2 => PartitionRole::Esp,
                3 => PartitionRole::Other,
                _ => PartitionRole::Root,
            };
            let one = partition(number, from as u64, to as u64, role);
            ManifestPartition { type_guid: TYPES[number as usize - 1], ..one }
        })
        .collect();
    of_bytes(bytes, partitions)
}

/// Writes the image; gives the disk, the proof and how much was written.
fn written(content: Vec<u8>, image: &Image) -> (Vec<u8>, String, u64) {
    let device = Arc::new(FakeDevice::new(content, Faults::default()));
    let finish = run(&device, &Arc::new(FakeService::with(image)), vec![write_step(&device, image)]);
    assert_eq!(finish.result, FinishResult::Done);
    (device.content(), finish.steps[0].proof.clone(), finish.steps[0].bytes_written)
}

/// The bytes of the image that must be on the disk whatever happened there.
fn assert_image(disk: &[u8], image: &Image, swap: bool) {
    let tables = 17_408..BIOS_BOOT;
    assert!(disk[tables.clone()] == image.bytes[tables], "between the tables and BIOS boot");
    for (what, range) in [
        ("BIOS boot", BIOS_BOOT..MIB),
        ("ESP", ESP..SWAP),
        ("header", SWAP..SWAP + MIB),
        ("root", ROOT..12 * MIB),
    ] {
        assert!(disk[range.clone()] == image.bytes[range], "{what}");
    }
    assert_eq!(disk[SWAP..ROOT] == image.bytes[SWAP..ROOT], swap, "swap");
}

#[test]
fn each_kind_of_partition_is_written_and_put_back() {
    let image = image();
    let (installed, ..) = written(noise(32, DISK_BYTES), &image);
    assert_image(&installed, &image, true);
    let described = describe(&Gpt::read(&installed).unwrap(), Some(4)).unwrap();
    let roles: Vec<PartitionRole> = described.iter().map(|one| one.role).collect();
    assert_eq!(roles[..4], image.manifest.partitions.iter().map(|one| one.role).collect::<Vec<_>>()[..]);
    assert_eq!(roles.iter().filter(|role| immutable_by_default(**role)).count(), 2);
    for at in [BIOS_BOOT + 9, ESP + 9, ROOT + 9, 12 * MIB - 1] {
        let mut changed = installed.clone();
        changed[at] ^= 1;
        let (disk, proof, bytes_written) = written(changed, &image);
        assert_image(&disk, &image, true);
        assert!(bytes_written < 2 * CHUNK_BYTES as u64 + 160 * 1024, "{at}: {bytes_written}, {proof}");
    }
}

#[test]
fn what_is_swapped_out_is_no_difference_and_stays() {
    let image = image();
    let (installed, ..) = written(vec![0; DISK_BYTES], &image);
    let mut used = installed.clone();
    used[SWAP + MIB..ROOT - MIB].copy_from_slice(&noise(33, ROOT - SWAP - 2 * MIB));
    let (disk, proof, bytes_written) = written(used.clone(), &image);
    assert_image(&disk, &image, false);
    assert!(disk[SWAP + MIB..ROOT - MIB] == used[SWAP + MIB..ROOT - MIB]);
    assert!(proof.contains("what is swapped out to partition 3 was left there"), "{proof}");
    assert!(proof.contains("only the node's record was written") && bytes_written < 80 * 1024, "{proof}");

    // A header that is gone, or that of a system that sleeps: all of it is made anew.
    for header in [b"\0\0\0\0\0\0\0\0\0\0", b"S1SUSPEND\0"] {
        let mut gone = used.clone();
        gone[SWAP + 4096 - 10..SWAP + 4096].copy_from_slice(header);
        let (disk, proof, _) = written(gone, &image);
        assert_image(&disk, &image, true);
        assert!(!proof.contains("swapped out"), "{proof}");
    }
}

#[test]
fn used_swap_is_no_finding() {
    use crate::act::fixture::disk_id;
    use crate::act::loop_fixture::Loop;
    use crate::image_check::{ImageCheckRequest, check_from_ramdisk};
    use contract::reading::{Outcome, ReadingKey};

    let image = image();
    let (mut disk, ..) = written(vec![0; DISK_BYTES], &image);
    disk[SWAP + MIB..ROOT - MIB].fill(0xa5);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    std::fs::write(&file, &disk).unwrap();
    let attached = Loop::attach(&file);
    let measured = check_from_ramdisk(&ImageCheckRequest {
        manifest: &image.manifest,
        first_chunk: Some(&image.bytes[..CHUNK_BYTES]),
        disk: &disk_id(),
        os_disk: &attached.device,
    });
    let value = |wanted| measured.iter().find(|(_, key, _)| *key == wanted).unwrap().2.clone();
    let none = Outcome::Value(ReadingValue::list(Vec::new()));
    assert_eq!(value(ReadingKey::ImagePartitionsAltered), none);
    assert_eq!(value(ReadingKey::ImageUnfinished), Outcome::Value(ReadingValue::Flag(false)));
}
