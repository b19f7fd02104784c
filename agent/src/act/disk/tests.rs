//! The real thing on loop devices.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use contract::agent_api::FinishResult;
use contract::id::{DiskId, UnixMillis};
use contract::plan::DiskTarget;
use erasure::command::DeviceCommand;
use imaging::chunk::CHUNK_BYTES;

use super::{DirectDisk, MachineDisks};
use crate::act::carry_out::{World, carry_out};
use crate::act::device::{BlockDevice, DiskResolver, Disks};
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, disk_id, image, noise, permit, write_step};
use crate::act::loop_fixture::Loop;

const DISK_BYTES: u64 = 48 << 20;

struct Only(PathBuf);

impl DiskResolver for Only {
    fn device_path(&self, _disk: &DiskId) -> anyhow::Result<PathBuf> {
        Ok(self.0.clone())
    }
}

fn attach(folder: &Path) -> Loop {
    let file = folder.join("disk");
    File::create(&file).unwrap().set_len(DISK_BYTES).unwrap();
    Loop::attach(&file)
}

#[test]
fn reads_and_writes_are_exact_whatever_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let attached = attach(folder.path());
    let disk = DirectDisk::open_exclusive(&attached.device).unwrap();
    assert_eq!((disk.size_bytes(), disk.sector_bytes()), (DISK_BYTES, 512));
    let bytes = noise(3, 512 * 9 + 1);
    // One byte into an allocation: aligned to nothing.
    disk.write_at(512 * 3, &bytes[1..]).unwrap();
    disk.flush().unwrap();
    disk.drop_caches().unwrap();
    let mut back = vec![0; 512 * 9 + 1];
    disk.read_at(512 * 3, &mut back[1..]).unwrap();
    assert_eq!(back[1..], bytes[1..]);
    for (offset, length) in [(1, 512), (0, 511), (DISK_BYTES, 512), (u64::MAX - 511, 512)] {
        assert!(disk.write_at(offset, &vec![0; length]).is_err(), "{offset} {length}");
        assert!(disk.read_at(offset, &mut vec![0; length]).is_err(), "{offset} {length}");
    }
    assert!(disk.start_erase(DeviceCommand::NvmeFormat { crypto: false }).is_err());
    assert_eq!(fs::read(folder.path().join("disk")).unwrap()[512 * 3..512 * 12], bytes[1..]);
}

#[test]
fn zeros_are_written_where_they_are_asked_for_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let attached = attach(folder.path());
    let disk = DirectDisk::open_exclusive(&attached.device).unwrap();
    let mut expected = noise(4, 1 << 20);
    disk.write_at(0, &expected).unwrap();
    disk.write_zeroes(512, 300 * 1024).unwrap();
    expected[512..512 + 300 * 1024].fill(0);
    disk.flush().unwrap();
    let mut back = vec![1; 1 << 20];
    disk.read_at(0, &mut back).unwrap();
    assert!(back == expected);
    assert!(disk.write_zeroes(DISK_BYTES, 512).is_err());
    assert!(disk.write_zeroes(1, 512).is_err());
}

#[test]
fn a_disk_in_use_or_of_another_size_or_no_disk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let attached = attach(folder.path());
    let disks = MachineDisks::new(Arc::new(Only(attached.device.clone())));
    let target = DiskTarget { id: disk_id(), size_bytes: DISK_BYTES, logical_sector_bytes: 512 };
    let open = disks.open(&target).unwrap();
    assert!(disks.open(&target).is_err());
    drop(open);
    assert!(disks.open(&target).is_ok());
    assert!(disks.open(&DiskTarget { size_bytes: DISK_BYTES + 512, ..target.clone() }).is_err());
    assert!(disks.open(&DiskTarget { logical_sector_bytes: 4096, ..target }).is_err());
    assert!(DirectDisk::open_exclusive(&folder.path().join("disk")).is_err());
}

#[test]
fn an_image_is_written_to_a_real_block_device() {
    let folder = tempfile::tempdir().unwrap();
    let attached = attach(folder.path());
    let image = image();
    // Only for its size: permits are made from what a disk looks like.
    let like = FakeDevice::new(vec![0; DISK_BYTES as usize], Faults::default());
    let world = World {
        service: Arc::new(FakeService::with(&image)),
        disks: Arc::new(MachineDisks::new(Arc::new(Only(attached.device.clone())))),
        clock: Arc::new(|| UnixMillis(1600)),
        firmware: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let finish = runtime.block_on(carry_out(permit(&like, vec![write_step(&like, &image)]), &world));
    assert_eq!(finish.result, FinishResult::Done);
    let content = fs::read(folder.path().join("disk")).unwrap();
    assert_eq!(content[CHUNK_BYTES..5 * CHUNK_BYTES], image.bytes[CHUNK_BYTES..5 * CHUNK_BYTES]);
    assert_eq!(content[512..520], *b"EFI PART");
}
