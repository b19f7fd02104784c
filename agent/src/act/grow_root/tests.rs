//! A root that is grown over a larger partition of a real block device.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use contract::agent_api::FinishResult;
use contract::reading::{Outcome, ReadingKey, ReadingValue};
use imaging::chunk::CHUNK_BYTES;
use imaging::layout::DiskLayout;
use proptest::prelude::{any, proptest};

use super::{SUPERBLOCK_BYTES, ext4_size, grow_ext4, size_in};
use crate::act::device::PartitionPlace;
use crate::act::disk::partition_device;
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, Image, disk_id, layout_request, run, write_step};
use crate::act::loop_fixture::{Loop, ROOT_BYTES, ROOT_START, image_with_root, must};
use crate::image_check::{ImageCheckRequest, Measured, check_from_ramdisk, root_place};

const DISK_BYTES: usize = 120 << 20;
/// What the root partition can have: all but what is before it, seed, node, and the backup table.
const GROWN_BYTES: u64 = (DISK_BYTES as u64) - (41 << 20) - ROOT_START;

/// Writes the image; gives the disk and the proof.
fn written(content: Vec<u8>, image: &Image) -> (Vec<u8>, String, u64) {
    let device = Arc::new(FakeDevice::new(content, Faults::default()));
    let finish = run(&device, &Arc::new(FakeService::with(image)), vec![write_step(&device, image)]);
    assert_eq!(finish.result, FinishResult::Done);
    (device.content(), finish.steps[0].proof.clone(), finish.steps[0].bytes_written)
}

fn check(disk: &Path, image: &Image) -> Vec<Measured> {
    check_from_ramdisk(&ImageCheckRequest {
        manifest: &image.manifest,
        first_chunk: Some(&image.bytes[..CHUNK_BYTES]),
        disk: &disk_id(),
        os_disk: disk,
    })
}

fn assert_clean(measured: &[Measured]) {
    for (_, key, outcome) in measured {
        let clean = match outcome {
            Outcome::Value(ReadingValue::List { total, .. }) => *total == 0,
            Outcome::Value(ReadingValue::Flag(flag)) => !flag,
            Outcome::Value(ReadingValue::Count(count)) => {
                (*count == 0) != (*key == ReadingKey::ImageFilesChecked)
            }
            _ => false,
        };
        assert!(clean, "{key}: {outcome:?}");
    }
}

/// The kernel grows for processes with `CAP_SYS_RESOURCE` alone. A container without it gives the error
/// that we must survive; then `resize2fs` on the file system at rest stands in for the kernel, whose own
/// growing is held by the machine test `a_reimage_leaves_data_and_grows_the_root`.
fn grow_or_stand_in(root: &Path) {
    match grow_ext4(root, GROWN_BYTES) {
        Ok(grown) => assert_eq!((grown.before_bytes, grown.after_bytes), (ROOT_BYTES, GROWN_BYTES)),
        Err(error) => {
            assert!(!has_capability(24), "{error:#}");
            assert!(format!("{error:#}").contains("EPERM"), "{error:#}");
            assert_eq!(ext4_size(root).unwrap().bytes(), ROOT_BYTES);
            must("e2fsck", &["-f", "-y"], root);
            must("resize2fs", &[], root);
        }
    }
}

/// Whether this process has a capability, by its number in `linux/capability.h`.
fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() >> number & 1 == 1
}

#[test]
fn a_root_is_grown_and_the_image_is_still_found_clean() {
    let image = image_with_root();
    let (content, proof, _) = written(vec![0; DISK_BYTES], &image);
    // There is no block device of it, so it was not grown; that is said and harms nothing.
    assert!(proof.contains("MiB; its file system was not grown, which the running system can do"), "{proof}");
    let layout =
        DiskLayout::compute(&image.manifest, &image.bytes[..CHUNK_BYTES], &layout_request(DISK_BYTES as u64))
            .unwrap();
    assert_eq!(layout.root.unwrap().range.length_bytes, GROWN_BYTES);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    fs::write(&file, &content).unwrap();
    let disk = Loop::attach_with_table(&file);
    let place = root_place(&image.manifest, image.manifest.root.as_ref().unwrap()).unwrap();
    let root = partition_device(&disk.device, place).unwrap();
    assert_clean(&check(&disk.device, &image));
    grow_or_stand_in(&root);
    assert_eq!(ext4_size(&root).unwrap().bytes(), GROWN_BYTES);
    must("e2fsck", &["-f", "-n"], &root);
    assert_clean(&check(&disk.device, &image));
    // Again: nothing to do.
    assert_eq!(grow_ext4(&root, GROWN_BYTES).unwrap().before_bytes, GROWN_BYTES);
    // A partition that the kernel has shorter than it should be is not taken.
    let longer = PartitionPlace { length_bytes: GROWN_BYTES + 512, ..place };
    assert!(partition_device(&disk.device, longer).is_err());
    assert!(grow_ext4(&root, GROWN_BYTES - (1 << 20)).is_err());
    drop(disk);

    // The image comes back over a grown root by writing the few chunks in which growing left its mark.
    let after = fs::read(&file).unwrap();
    let (again, proof, bytes_written) = written(after, &image);
    let end = (ROOT_START + ROOT_BYTES) as usize;
    assert!(again[..end][CHUNK_BYTES..] == image.bytes[CHUNK_BYTES..end]);
    let of = format!(" of {} chunks differed", end / CHUNK_BYTES);
    let differed: u64 = proof.split(&of).next().unwrap().parse().unwrap();
    // Superblock, group descriptors, and what describes the blocks and inodes of the groups.
    assert!((1..=8).contains(&differed), "{proof}");
    assert!(bytes_written <= (differed + 1) * CHUNK_BYTES as u64, "{bytes_written}");
}

#[test]
fn what_is_no_ext4_or_has_errors_is_not_grown() {
    let image = image_with_root();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root");
    let mut bytes = image.bytes[ROOT_START as usize..].to_vec();
    bytes.resize(GROWN_BYTES as usize, 0);
    // `s_error_count`.
    bytes[1024 + 404] = 1;
    fs::write(&file, &bytes).unwrap();
    let root = Loop::attach(&file);
    let error = grow_ext4(&root.device, GROWN_BYTES).map(drop).unwrap_err();
    assert!(error.to_string().contains("recorded 1 errors"), "{error}");
    assert_eq!(ext4_size(&root.device).unwrap().bytes(), ROOT_BYTES);
    drop(root);
    fs::write(&file, vec![0; GROWN_BYTES as usize]).unwrap();
    let blank = Loop::attach(&file);
    assert!(grow_ext4(&blank.device, GROWN_BYTES).is_err());
}

proptest! {
    #[test]
    fn any_superblock_gives_a_size_or_none(bytes in proptest::collection::vec(any::<u8>(), SUPERBLOCK_BYTES), magic in any::<bool>()) {
        let mut superblock: [u8; SUPERBLOCK_BYTES] = bytes.try_into().unwrap();
        if magic {
            superblock[56..58].copy_from_slice(&[0x53, 0xef]);
            superblock[25..28].fill(0);
        }
        if let Some(size) = size_in(&superblock) {
            assert!(magic && size.blocks > 0 && size.bytes() >= size.blocks);
        }
    }
}
