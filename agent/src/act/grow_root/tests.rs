//! A root that is grown over a larger partition of a real block device.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use contract::agent_api::FinishResult;
use contract::reading::{Outcome, ReadingKey, ReadingValue};
use imaging::chunk::CHUNK_BYTES;
use imaging::layout::DiskLayout;
use proptest::prelude::{any, proptest};

use super::ext4::size_in;
use super::{Room, grow_on, size_on};
use crate::act::device::PartitionPlace;
use crate::act::disk::partition_device;
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, Image, disk_id, layout_request, run, write_step};
use crate::act::loop_fixture::{Loop, ROOT_BYTES, ROOT_START, image_with_root, image_with_root_of, must};
use crate::act::mount::RootKind;
use crate::image_check::{ImageCheckRequest, Measured, check_from_ramdisk, root_place};
use crate::probe::file_systems::SUPERBLOCK_BYTES;

const DISK_BYTES: usize = 120 << 20;
/// The kernel gives btrfs no size below 256 MiB.
const DISK_BYTES_OF_BTRFS: usize = 304 << 20;

/// What the root partition can have: all but what is before it, seed, node, and the backup table.
const fn grown_bytes(disk_bytes: usize) -> u64 {
    disk_bytes as u64 - (41 << 20) - ROOT_START
}

fn room(length_bytes: u64) -> Room {
    Room { image_length_bytes: ROOT_BYTES, length_bytes }
}

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

/// The kernel grows ext4 for processes with `CAP_SYS_RESOURCE` alone. A container without it gives the
/// error that we must survive; then `resize2fs` on the file system at rest stands in for the kernel, whose
/// own growing is held by the machine test `a_reimage_leaves_data_and_grows_the_root`.
fn grow_or_stand_in(kind: &RootKind, root: &Path, length_bytes: u64) {
    match grow_on(kind, root, room(length_bytes)) {
        Ok(grown) => assert_eq!((grown.before_bytes, grown.after_bytes), (ROOT_BYTES, length_bytes)),
        Err(error) => {
            assert!(*kind == RootKind::Ext4 && !has_capability(24), "{error:#}");
            assert!(format!("{error:#}").contains("EPERM"), "{error:#}");
            assert_eq!(size_on(kind, root).unwrap().bytes(), ROOT_BYTES);
            must("e2fsck", &["-f", "-y"], root);
            must("resize2fs", &[], root);
        }
    }
}

/// What its own tools say of it.
fn must_be_sound(kind: &RootKind, root: &Path) {
    match kind {
        RootKind::Ext4 => must("e2fsck", &["-f", "-n"], root),
        RootKind::Xfs => must("xfs_repair", &["-n"], root),
        RootKind::Btrfs(_) => must("btrfs", &["check", "--readonly"], root),
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
    grown_and_clean(&RootKind::Ext4, DISK_BYTES);
}

#[test]
fn a_root_of_xfs_is_grown_and_the_image_is_still_found_clean() {
    grown_and_clean(&RootKind::Xfs, DISK_BYTES);
}

#[test]
fn a_root_of_btrfs_is_grown_and_the_image_is_still_found_clean() {
    grown_and_clean(&RootKind::Btrfs(None), DISK_BYTES_OF_BTRFS);
}

fn grown_and_clean(kind: &RootKind, disk_bytes: usize) {
    let grown_bytes = grown_bytes(disk_bytes);
    let image = image_with_root_of(kind);
    let (content, proof, _) = written(vec![before(kind); disk_bytes], &image);
    // There is no block device of it, so it was not grown; that is said and harms nothing.
    assert!(proof.contains("MiB; its file system was not grown, which the running system can do"), "{proof}");
    let layout =
        DiskLayout::compute(&image.manifest, &image.bytes[..CHUNK_BYTES], &layout_request(disk_bytes as u64))
            .unwrap();
    assert_eq!(layout.root.unwrap().range.length_bytes, grown_bytes);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    fs::write(&file, &content).unwrap();
    let disk = Loop::attach_with_table(&file);
    let place = root_place(&image.manifest, image.manifest.root.as_ref().unwrap()).unwrap();
    let root = partition_device(&disk.device, place).unwrap();
    assert_clean(&check(&disk.device, &image));
    grow_or_stand_in(kind, &root, grown_bytes);
    assert_eq!(size_on(kind, &root).unwrap().bytes(), grown_bytes);
    must_be_sound(kind, &root);
    assert_clean(&check(&disk.device, &image));
    // Again: nothing to do.
    assert_eq!(grow_on(kind, &root, room(grown_bytes)).unwrap().before_bytes, grown_bytes);
    // A partition that the kernel has shorter than it should be is not taken.
    let longer = PartitionPlace { length_bytes: grown_bytes + 512, ..place };
    assert!(partition_device(&disk.device, longer).is_err());
    assert!(grow_on(kind, &root, room(grown_bytes - (1 << 20))).is_err());
    drop(disk);

    // The image comes back over a grown root by writing the few chunks in which growing left its mark.
    let after = fs::read(&file).unwrap();
    assert!(*kind != RootKind::Xfs || !stands_behind_image(&after, before(kind)));
    let (again, proof, bytes_written) = written(after, &image);
    let end = (ROOT_START + ROOT_BYTES) as usize;
    assert!(again[..end][CHUNK_BYTES..] == image.bytes[CHUNK_BYTES..end]);
    let of = format!(" of {} chunks differed", end / CHUNK_BYTES);
    let differed: u64 = proof.split(&of).next().unwrap().parse().unwrap();
    // Superblocks, what describes groups or chunks, and the log.
    assert!((1..=8).contains(&differed), "{proof}");
    assert!(bytes_written <= (differed + 1) * CHUNK_BYTES as u64, "{bytes_written}");
}

/// What the disk is full of before. What stands where XFS grows could be of an earlier life of the image,
/// and a recovery would take it for newer than its log.
fn before(kind: &RootKind) -> u8 {
    if *kind == RootKind::Xfs { 0xa5 } else { 0 }
}

fn stands_behind_image(disk: &[u8], byte: u8) -> bool {
    let behind = (ROOT_START + ROOT_BYTES) as usize..(ROOT_START + grown_bytes(disk.len())) as usize;
    disk[behind].chunks(4096).any(|block| block.starts_with(&[byte; 64]))
}

#[test]
fn what_is_no_ext4_or_has_errors_is_not_grown() {
    let image = image_with_root();
    let (folder, length_bytes) = (tempfile::tempdir().unwrap(), grown_bytes(DISK_BYTES));
    let file = folder.path().join("root");
    let mut bytes = image.bytes[ROOT_START as usize..].to_vec();
    bytes.resize(length_bytes as usize, 0);
    // `s_error_count`.
    bytes[1024 + 404] = 1;
    fs::write(&file, &bytes).unwrap();
    let root = Loop::attach(&file);
    let error = grow_on(&RootKind::Ext4, &root.device, room(length_bytes)).map(drop).unwrap_err();
    assert!(error.to_string().contains("recorded 1 errors"), "{error}");
    assert_eq!(size_on(&RootKind::Ext4, &root.device).unwrap().bytes(), ROOT_BYTES);
    for other in [RootKind::Xfs, RootKind::Btrfs(None)] {
        assert!(grow_on(&other, &root.device, room(length_bytes)).is_err(), "{other:?}");
    }
    drop(root);
    fs::write(&file, vec![0; length_bytes as usize]).unwrap();
    let blank = Loop::attach(&file);
    for kind in [RootKind::Ext4, RootKind::Xfs, RootKind::Btrfs(None)] {
        assert!(grow_on(&kind, &blank.device, room(length_bytes)).is_err(), "{kind:?}");
    }
}

#[test]
fn btrfs_stays_as_it_is_where_the_kernel_would_not_size_it() {
    let image = image_with_root_of(&RootKind::Btrfs(None));
    let (folder, length_bytes) = (tempfile::tempdir().unwrap(), grown_bytes(DISK_BYTES));
    let file = folder.path().join("root");
    let mut bytes = image.bytes[ROOT_START as usize..].to_vec();
    bytes.resize(length_bytes as usize, 0);
    fs::write(&file, &bytes).unwrap();
    let root = Loop::attach(&file);
    let kind = RootKind::Btrfs(None);
    let error = grow_on(&kind, &root.device, room(length_bytes)).map(drop).unwrap_err();
    assert!(error.to_string().contains("no btrfs a size below 256 MiB"), "{error}");
    assert_eq!(size_on(&kind, &root.device).unwrap().bytes(), ROOT_BYTES);
    must_be_sound(&kind, &root.device);
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
            assert!(magic && size.units > 0 && size.bytes() >= size.units);
        }
    }
}
