//! What the image does not have, what an interrupted repair left, and file systems not fit to be changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use contract::agent_api::{Finish, FinishResult};
use contract::reading::ReadingKey;

use super::{altered_and_missing, change, list, repair, repair_and_remove};
use crate::act::fixture::{FakeService, Image};
use crate::act::loop_fixture::{KINDS, Loop, image_with_root_of, must, root_file};
use crate::act::mount::RootKind;
use crate::act::restore::TEMPORARY_NAME;

struct Installed {
    image: Image,
    root: Loop,
    service: Arc<FakeService>,
    _folder: tempfile::TempDir,
}

fn installed() -> Installed {
    installed_on(&RootKind::Ext4)
}

fn installed_on(kind: &RootKind) -> Installed {
    let image = image_with_root_of(kind);
    let folder = tempfile::tempdir().unwrap();
    let root = Loop::attach(&root_file(&image, folder.path()));
    let service = Arc::new(FakeService::with(&image));
    Installed { image, root, service, _folder: folder }
}

impl Installed {
    fn change(&self, how: impl FnOnce(&Path)) {
        change(&self.root.device, how);
    }

    fn foreign(&self) -> Vec<String> {
        list(&self.root.device, &self.image, ReadingKey::ImageFilesForeign)
    }

    fn altered(&self) -> Vec<String> {
        altered_and_missing(&self.root.device, &self.image)
    }

    fn remove(&self, paths: &[&str]) -> Finish {
        let remove = paths.iter().map(|path| (*path).to_owned()).collect();
        repair_and_remove(&self.root, &self.image, &self.service, Vec::new(), remove)
    }
}

fn failed(finish: &Finish) -> &str {
    match &finish.result {
        FinishResult::Failed { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn foreign_files_are_named_one_by_one_and_exactly_those_are_taken_away() {
    for kind in KINDS {
        let victim = tempfile::tempdir().unwrap();
        fs::write(victim.path().join("kept"), "not ours").unwrap();
        let node = installed_on(&kind);
        node.change(|mounted| {
            fs::create_dir_all(mounted.join("usr/lib/evil/deep")).unwrap();
            fs::write(mounted.join("usr/lib/evil/deep/kit"), "x").unwrap();
            symlink(victim.path(), mounted.join("usr/lib/evil/way-out")).unwrap();
            fs::write(mounted.join("usr/bin/tool2"), "x").unwrap();
            must("chattr", &["+i"], &mounted.join("usr/bin/tool2"));
            must("chattr", &["+i"], &mounted.join("usr/bin"));
            fs::write(mounted.join("var/log/own"), "own").unwrap();
        });
        let expected = [
            "/usr/bin/tool2",
            "/usr/lib/evil",
            "/usr/lib/evil/deep",
            "/usr/lib/evil/deep/kit",
            "/usr/lib/evil/way-out",
        ];
        assert_eq!(node.foreign(), expected);
        let finish = node.remove(&expected);
        assert_eq!(finish.result, FinishResult::Done);
        assert!(finish.steps[0].proof.contains("5 foreign"), "{}", finish.steps[0].proof);
        assert_eq!(node.foreign(), Vec::<String>::new());
        assert_eq!(node.altered(), Vec::<String>::new());
        node.change(|mounted| assert_eq!(fs::read(mounted.join("var/log/own")).unwrap(), b"own"));
        assert_eq!(fs::read(victim.path().join("kept")).unwrap(), b"not ours");
        assert_eq!(node.service.chunks_fetched(), 0);
    }
}

#[test]
fn what_is_of_the_image_or_beside_its_immutable_area_is_never_taken_away() {
    let node = installed();
    for path in ["/usr/bin/tool", "/usr", "/etc/hostname", "/boot/grub/grubenv", "/usr/../etc/hostname"] {
        let finish = node.remove(&[path]);
        assert!(failed(&finish).contains("nothing was written"), "{path}");
    }
    // A folder that somebody filled since it was looked at is not emptied unseen.
    node.change(|mounted| {
        fs::create_dir(mounted.join("usr/folder")).unwrap();
        fs::write(mounted.join("usr/folder/new"), "new").unwrap();
    });
    assert!(failed(&node.remove(&["/usr/folder"])).contains("/usr/folder"));
    // What is gone already is as it should be, and a link on the way is not followed.
    node.change(|mounted| {
        fs::remove_file(mounted.join("usr/folder/new")).unwrap();
        fs::remove_dir(mounted.join("usr/folder")).unwrap();
        symlink("/etc", mounted.join("usr/folder")).unwrap();
    });
    assert_eq!(node.remove(&["/usr/gone", "/usr/folder/hostname"]).result, FinishResult::Done);
    node.change(|mounted| assert!(mounted.join("etc/hostname").exists()));
}

#[test]
fn what_an_interrupted_repair_left_makes_its_folder_altered_and_goes_with_the_next() {
    let node = installed();
    let places = ["usr/lib/deep/er", "usr/bin"];
    node.change(|mounted| {
        for place in places {
            fs::write(mounted.join(place).join(TEMPORARY_NAME), "half").unwrap();
        }
    });
    assert_eq!(node.foreign(), Vec::<String>::new());
    assert_eq!(node.altered(), ["/usr/bin", "/usr/lib/deep/er"]);
    // The next repair cleans all of it up, whatever it is about.
    let paths = vec!["/boot/vmlinuz".to_owned()];
    let finish = repair(&node.root, &node.image, &node.service, paths);
    assert_eq!(finish.result, FinishResult::Done);
    assert_eq!(node.altered(), Vec::<String>::new());
}

#[test]
fn nothing_is_put_back_on_a_file_system_that_has_recorded_errors() {
    let node = installed();
    node.change(|mounted| fs::write(mounted.join("usr/bin/tool"), "altered").unwrap());
    let before = fs::read(&node.root.device).unwrap();
    for (field, value) in [("error_count", "3"), ("state", "3")] {
        let request = format!("set_super_value {field} {value}");
        must("debugfs", &["-w", "-R", &request], &node.root.device);
        let broken = fs::read(&node.root.device).unwrap();
        let paths = vec!["/usr/bin/tool".to_owned()];
        let finish = repair(&node.root, &node.image, &node.service, paths);
        assert!(failed(&finish).contains("recorded") && failed(&finish).contains("reimage"), "{field}");
        assert!(fs::read(&node.root.device).unwrap() == broken, "{field}: the disk was written to");
        fs::write(&node.root.device, &before).unwrap();
    }
}

#[test]
fn nothing_is_put_back_on_xfs_that_was_never_finished_or_asks_for_a_repair() {
    let node = installed_on(&RootKind::Xfs);
    node.change(|mounted| fs::write(mounted.join("usr/bin/tool"), "altered").unwrap());
    let before = fs::read(&node.root.device).unwrap();
    // In progress; needs a repair; another version; no place for the log.
    for (at, value, expected) in [
        (126, 1, "never finished"),
        (219, before[219] | 0x10, "needs a repair"),
        (101, 0xb4, "version 4"),
        (48, 0xff, "its log lies outside"),
        (0, b'Y', "no XFS"),
    ] {
        let mut changed = before.clone();
        changed[at] = value;
        fs::write(&node.root.device, &changed).unwrap();
        let finish = repair(&node.root, &node.image, &node.service, vec!["/usr/bin/tool".to_owned()]);
        assert!(failed(&finish).contains(expected), "{expected}: {}", failed(&finish));
        assert!(failed(&finish).contains("reimage"), "{expected}");
        assert!(fs::read(&node.root.device).unwrap() == changed, "{expected}: the disk was written to");
    }
    // What looks well and does not mount is not changed either: its checksum is wrong.
    let mut changed = before.clone();
    changed[130] ^= 1;
    fs::write(&node.root.device, &changed).unwrap();
    let finish = repair(&node.root, &node.image, &node.service, vec!["/usr/bin/tool".to_owned()]);
    assert!(failed(&finish).contains("reimage: could not mount"), "{}", failed(&finish));
    fs::write(&node.root.device, &before).unwrap();
    let finish = repair(&node.root, &node.image, &node.service, vec!["/usr/bin/tool".to_owned()]);
    assert_eq!(finish.result, FinishResult::Done);
}
