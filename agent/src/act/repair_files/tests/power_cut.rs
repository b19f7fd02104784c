//! Power cuts while files are repaired: at every write of the kernel's own drivers, with what was not yet
//! flushed kept, lost, or kept in part.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use contract::agent_api::FinishResult;
use contract::reading::{Outcome, ReadingKey, ReadingValue};

use super::{change, repair_and_remove};
use crate::act::fixture::{FakeService, Image};
use crate::act::loop_fixture::{CAPABILITIES, Loop, ROOT_START, image_with_root_of, kind_on, set_attribute};
use crate::act::mount::{Access, Mount, RootKind};
use crate::act::recording_disk::{Done, RecordingDisk};
use crate::act::restore::TEMPORARY_NAME;
use crate::act::rooted::Root;
use crate::image_check::{Difference, FileCache, check_in_place, compare_entry};

const REPAIRED: [&str; 6] = [
    "/boot/vmlinuz",
    "/usr/bin/link",
    "/usr/bin/ping",
    "/usr/bin/sudo",
    "/usr/lib/deep/er",
    "/usr/lib/library",
];
const REMOVED: [&str; 2] = ["/usr/bin/kit", "/usr/bin/kit/evil"];

fn spoil(mounted: &Path) {
    fs::write(mounted.join("boot/vmlinuz"), "another kernel").unwrap();
    fs::remove_file(mounted.join("usr/bin/link")).unwrap();
    symlink("/etc/passwd", mounted.join("usr/bin/link")).unwrap();
    fs::remove_file(mounted.join("usr/bin/ping")).unwrap();
    set_attribute(&mounted.join("usr/bin/sudo"), imaging::attributes::CAPABILITY, &CAPABILITIES);
    fs::remove_dir_all(mounted.join("usr/lib/deep/er")).unwrap();
    fs::write(mounted.join("usr/lib/deep/er"), "a file").unwrap();
    fs::remove_file(mounted.join("usr/lib/library")).unwrap();
    fs::create_dir_all(mounted.join("usr/lib/library/full")).unwrap();
    fs::write(mounted.join("usr/lib/library/of things"), vec![9; 30_000]).unwrap();
    fs::create_dir(mounted.join("usr/bin/kit")).unwrap();
    fs::write(mounted.join("usr/bin/kit/evil"), "x").unwrap();
    fs::write(mounted.join("etc/hostname"), "its own").unwrap();
}

/// Kind, mode, owner and content (of a folder, the names in it) of what stands at a path; none if nothing does.
type Seen = Option<(u32, u32, u32, Vec<u8>)>;

fn see(mounted: &Path, path: &str) -> Seen {
    let path = mounted.join(&path[1..]);
    let status = fs::symlink_metadata(&path).ok()?;
    let content = if status.is_file() {
        fs::read(&path).unwrap()
    } else if status.is_symlink() {
        fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
    } else {
        let mut names: Vec<String> =
            fs::read_dir(&path).unwrap().map(|entry| format!("{:?}", entry.unwrap().file_name())).collect();
        names.sort();
        names.concat().into_bytes()
    };
    Some((status.mode(), status.uid(), status.gid(), content))
}

struct Node {
    image: Image,
    /// What stood at each path before.
    old: BTreeMap<&'static str, Seen>,
}

impl Node {
    /// Mounts what a power cut left, as the next start does, and makes sure of every path.
    fn holds(&self, device: &Path, moment: &str) {
        let mount = Mount::root(&kind_on(device), device, Access::ReadWrite).unwrap();
        let (root, files) = (Root::open(mount.path()).unwrap(), self.image.manifest.root.as_ref().unwrap());
        for path in REPAIRED {
            let is_new = compare_entry(&root, files, files.entry(path).unwrap()) == Difference::Same;
            let is_old = see(mount.path(), path) == self.old[path];
            assert!(is_new || is_old, "{moment}: {path} is neither old nor new");
        }
        for path in REMOVED {
            let seen = see(mount.path(), path);
            // What was in a folder goes before the folder does.
            let is_emptied = seen.as_ref().is_some_and(|(.., names)| names.is_empty());
            assert!(seen.is_none() || is_emptied || seen == self.old[path], "{moment}: {path}");
        }
        assert_eq!(fs::read(mount.path().join("etc/hostname")).unwrap(), b"its own", "{moment}");
        drop(root);
        self.nothing_else_changed(mount.path(), moment);
        mount.close().unwrap();
    }

    fn nothing_else_changed(&self, mounted: &Path, moment: &str) {
        let measured = check_in_place(mounted, None, &self.image.manifest, &mut FileCache::default());
        let list = |wanted: ReadingKey| match &measured.iter().find(|(_, key, _)| *key == wanted).unwrap().2 {
            Outcome::Value(ReadingValue::List { items, .. }) => items.clone(),
            other => panic!("{moment}: {other:?}"),
        };
        for path in list(ReadingKey::ImageFilesAltered) {
            let leftover = mounted.join(&path[1..]).join(TEMPORARY_NAME).symlink_metadata().is_ok();
            assert!(REPAIRED.contains(&path.as_str()) || leftover, "{moment}: {path} is altered");
        }
        for path in list(ReadingKey::ImageFilesMissing) {
            let known = REPAIRED.contains(&path.as_str()) || path.starts_with("/usr/lib/deep/er/");
            assert!(known, "{moment}: {path} is missing");
        }
        for path in list(ReadingKey::ImageFilesForeign) {
            assert!(REMOVED.contains(&path.as_str()), "{moment}: {path} is foreign");
        }
    }

    fn is_repaired(&self, device: &Path, moment: &str) {
        let mount = Mount::root(&kind_on(device), device, Access::ReadOnly).unwrap();
        let (root, files) = (Root::open(mount.path()).unwrap(), self.image.manifest.root.as_ref().unwrap());
        for path in REPAIRED {
            let difference = compare_entry(&root, files, files.entry(path).unwrap());
            assert_eq!(difference, Difference::Same, "{moment}: {path}");
        }
        drop(root);
        mount.close().unwrap();
        let (program, options) = match kind_on(device) {
            RootKind::Ext4 => ("/sbin/e2fsck", &["-fn"][..]),
            // It has a single group, so that no other says the same of the whole.
            RootKind::Xfs => ("/sbin/xfs_repair", &["-n", "-o", "force_geometry"][..]),
            RootKind::Btrfs(_) => ("btrfs", &["check", "--readonly"][..]),
        };
        let check = Command::new(program).args(options).arg(device).output().unwrap();
        let said = String::from_utf8_lossy(&check.stdout) + String::from_utf8_lossy(&check.stderr);
        assert!(check.status.success(), "{moment}: {said}");
    }

    fn repair(&self, root: &Loop) -> FinishResult {
        let service = Arc::new(FakeService::with(&self.image));
        let (paths, remove) = (REPAIRED.map(str::to_owned).to_vec(), REMOVED.map(str::to_owned).to_vec());
        repair_and_remove(root, &self.image, &service, paths, remove).result
    }
}

/// The writes that a power cut after so many operations leaves: all up to the last flush, and of what
/// came after it those that `keeps` says.
fn kept_of(done: &[Done], keeps: impl Fn(usize) -> bool) -> Vec<usize> {
    let flushed = done.iter().rposition(|one| matches!(one, Done::Flush)).unwrap_or(0);
    let is_write = |index: &usize| matches!(done[*index], Done::Write(..));
    (0..done.len()).filter(is_write).filter(|index| *index < flushed || keeps(*index)).collect()
}

fn disk_of(base: &[u8], done: &[Done], kept: &[usize]) -> Vec<u8> {
    let mut disk = base.to_vec();
    for index in kept {
        if let Done::Write(at, bytes) = &done[*index] {
            disk[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
    }
    disk
}

#[test]
fn a_power_cut_at_any_write_leaves_each_file_old_or_new_and_the_next_repair_finishes() {
    cut_everywhere(&RootKind::Ext4);
}

#[test]
fn a_power_cut_at_any_write_of_xfs_leaves_each_file_old_or_new_and_the_next_repair_finishes() {
    cut_everywhere(&RootKind::Xfs);
}

#[test]
fn a_power_cut_at_any_write_of_btrfs_leaves_each_file_old_or_new_and_the_next_repair_finishes() {
    cut_everywhere(&RootKind::Btrfs(None));
}

fn cut_everywhere(kind: &RootKind) {
    let image = image_with_root_of(kind);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("partition");
    fs::write(&file, &image.bytes[ROOT_START as usize..]).unwrap();
    let mut old = BTreeMap::new();
    {
        let spoiled = Loop::attach(&file);
        change(&spoiled.device, |mounted| {
            spoil(mounted);
            old.extend(REPAIRED.iter().chain(&REMOVED).map(|path| (*path, see(mounted, path))));
        });
    }
    let node = Node { image, old };
    let base = fs::read(&file).unwrap();
    let recorder = RecordingDisk::with(base.clone());
    let recorded = Loop::attach(recorder.path());
    assert_eq!(node.repair(&recorded), FinishResult::Done);
    drop(recorded);
    let done = recorder.done();
    drop(recorder);
    let flushes = done.iter().filter(|one| matches!(one, Done::Flush)).count();
    assert!(flushes >= 2 * REPAIRED.len(), "{flushes} flushes in {} operations", done.len());

    let mut seen = HashSet::new();
    for cut in 0..=done.len() {
        let coin =
            |index: usize| blake3::hash(&[cut, index].map(usize::to_le_bytes).concat()).as_bytes()[0] < 128;
        let lots: [(&str, &dyn Fn(usize) -> bool); 3] =
            [("kept", &|_| true), ("lost", &|_| false), ("kept in part", &coin)];
        for (what, keeps) in lots {
            let kept = kept_of(&done[..cut], keeps);
            if seen.contains(&kept) {
                continue;
            }
            fs::write(&file, disk_of(&base, &done, &kept)).unwrap();
            seen.insert(kept);
            let device = Loop::attach(&file);
            let moment = format!("cut after {cut} of {}, the rest {what}", done.len());
            node.holds(&device.device, &moment);
            if seen.len() % 16 == 0 {
                assert_eq!(node.repair(&device), FinishResult::Done, "{moment}");
                node.is_repaired(&device.device, &moment);
            }
        }
    }
    assert!(seen.len() > flushes, "{} different disks, {flushes} flushes", seen.len());
}
