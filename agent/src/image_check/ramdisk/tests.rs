//! A whole disk with partitions, written by our own writer, then looked at through loop devices.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use contract::agent_api::FinishResult;
use contract::reading::{Outcome, ReadingKey, ReadingValue};
use imaging::chunk::CHUNK_BYTES;

use super::{ImageCheckRequest, check_from_ramdisk};
use crate::act::disk::partition_device;
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, Image, disk_id, run, write_step};
use crate::act::loop_fixture::{Loop, image_with_root};
use crate::act::mount::{Access, Mount, RootKind};
use crate::image_check::{Measured, root_place};

const DISK_BYTES: usize = 60 << 20;

fn installed(image: &Image) -> Vec<u8> {
    let device = Arc::new(FakeDevice::new(vec![0; DISK_BYTES], Faults::default()));
    let finish = run(&device, &Arc::new(FakeService::with(image)), vec![write_step(&device, image)]);
    assert_eq!(finish.result, FinishResult::Done);
    device.content()
}

fn check(content: &[u8], image: &Image, change: impl FnOnce(&Path)) -> Vec<Measured> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    fs::write(&file, content).unwrap();
    let disk = Loop::attach_with_partitions(&file, image);
    change(&disk.device);
    check_from_ramdisk(&ImageCheckRequest {
        manifest: &image.manifest,
        first_chunk: Some(&image.bytes[..CHUNK_BYTES]),
        disk: &disk_id(),
        os_disk: &disk.device,
    })
}

fn value(measured: &[Measured], wanted: ReadingKey) -> Outcome<ReadingValue> {
    let mut found = measured.iter().filter(|(_, key, _)| *key == wanted);
    let value = found.next().unwrap().2.clone();
    assert!(found.next().is_none(), "{wanted} twice");
    value
}

fn list(items: &[&str]) -> Outcome<ReadingValue> {
    Outcome::Value(ReadingValue::list(items.iter().map(|item| (*item).to_owned()).collect()))
}

#[test]
fn an_installed_disk_is_whole_and_each_change_of_it_is_found() {
    let image = image_with_root();
    let content = installed(&image);
    let whole = check(&content, &image, |_| {});
    let flag = |is| Outcome::Value(ReadingValue::Flag(is));
    assert_eq!(value(&whole, ReadingKey::ImageUnfinished), flag(false));
    for key in [
        ReadingKey::ImagePartitionsAltered,
        ReadingKey::ImageFilesAltered,
        ReadingKey::ImageFilesMissing,
        ReadingKey::ImageFilesForeign,
    ] {
        assert_eq!(value(&whole, key), list(&[]), "{key}");
    }
    let entries = image.manifest.root.as_ref().unwrap().entries.len() as u64;
    assert_eq!(value(&whole, ReadingKey::ImageFilesChecked), Outcome::Value(ReadingValue::Count(entries)));
    assert_eq!(value(&whole, ReadingKey::DiskReadErrors), Outcome::Value(ReadingValue::Count(0)));

    let mut partition_changed = content.clone();
    partition_changed[CHUNK_BYTES + 77] ^= 1;
    let found = check(&partition_changed, &image, |disk| {
        let place = root_place(&image.manifest, image.manifest.root.as_ref().unwrap()).unwrap();
        let mount =
            Mount::root(&RootKind::Ext4, &partition_device(disk, place).unwrap(), Access::ReadWrite).unwrap();
        fs::remove_file(mount.path().join("usr/bin/tool")).unwrap();
        fs::write(mount.path().join("usr/bin/sudo"), "x").unwrap();
        mount.close().unwrap();
    });
    assert_eq!(value(&found, ReadingKey::ImagePartitionsAltered), list(&["1"]));
    assert_eq!(value(&found, ReadingKey::ImageFilesAltered), list(&["/usr/bin/sudo"]));
    assert_eq!(value(&found, ReadingKey::ImageFilesMissing), list(&["/usr/bin/tool"]));
    assert_eq!(value(&found, ReadingKey::ImageUnfinished), flag(false));

    let last = content.len() - 512;
    for (what, at) in [("boot code", 7), ("table", 600), ("gap", 40_000), ("backup", last + 20)] {
        let mut changed = content.clone();
        changed[at] ^= 1;
        let found = check(&changed, &image, |_| {});
        assert_eq!(value(&found, ReadingKey::ImageUnfinished), flag(true), "{what}");
    }
    let blank = check(&vec![0; DISK_BYTES], &image, |_| {});
    assert_eq!(value(&blank, ReadingKey::ImageUnfinished), flag(true));
    assert_eq!(value(&blank, ReadingKey::ImageFilesAltered), Outcome::Absent);

    // A root that is no file system at all cannot be looked at; that is not "nothing altered".
    let mut no_root = content;
    no_root[2 * CHUNK_BYTES..3 * CHUNK_BYTES].fill(0);
    let found = check(&no_root, &image, |_| {});
    assert!(matches!(value(&found, ReadingKey::ImageFilesAltered), Outcome::Unreadable(_)));
}

#[test]
fn a_disk_that_is_not_there_is_unreadable() {
    let image = image_with_root();
    let found = check_from_ramdisk(&ImageCheckRequest {
        manifest: &image.manifest,
        first_chunk: None,
        disk: &disk_id(),
        os_disk: Path::new("/dev/no-such-disk"),
    });
    assert!(found.iter().all(|(_, _, outcome)| matches!(outcome, Outcome::Unreadable(_))));
}
