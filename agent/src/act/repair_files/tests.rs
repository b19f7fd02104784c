//! Repairs of real file systems that somebody has been at.

mod attributes;
mod foreign;
mod power_cut;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::Arc;

use contract::agent_api::{Finish, FinishResult};
use contract::plan::Step;
use contract::reading::{Outcome, ReadingKey, ReadingValue};
use imaging::manifest::EntryKind;

use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeDisks, FakeService, Image, run_on, target};
use crate::act::loop_fixture::{KINDS, Loop, image_with_root, image_with_root_of, kind_on, must, root_file};
use crate::act::mount::{Access, Mount};
use crate::image_check::{FileCache, check_in_place};

/// Changes the file system behind the system's back.
fn change(device: &Path, how: impl FnOnce(&Path)) {
    let mount = Mount::root(&kind_on(device), device, Access::ReadWrite).unwrap();
    how(mount.path());
    mount.close().unwrap();
}

fn list(device: &Path, image: &Image, wanted: ReadingKey) -> Vec<String> {
    let mount = Mount::root(&kind_on(device), device, Access::ReadOnly).unwrap();
    let measured = check_in_place(mount.path(), None, &image.manifest, &mut FileCache::default());
    mount.close().unwrap();
    let found = measured.into_iter().find(|(_, key, _)| *key == wanted).unwrap();
    match found.2 {
        Outcome::Value(ReadingValue::List { items, .. }) => items,
        other => panic!("{other:?}"),
    }
}

fn altered_and_missing(device: &Path, image: &Image) -> Vec<String> {
    let mut paths = list(device, image, ReadingKey::ImageFilesAltered);
    paths.extend(list(device, image, ReadingKey::ImageFilesMissing));
    paths.sort();
    paths
}

fn repair(root: &Loop, image: &Image, service: &Arc<FakeService>, paths: Vec<String>) -> Finish {
    repair_and_remove(root, image, service, paths, Vec::new())
}

fn repair_and_remove(
    root: &Loop,
    image: &Image,
    service: &Arc<FakeService>,
    paths: Vec<String>,
    remove: Vec<String>,
) -> Finish {
    let device = Arc::new(FakeDevice::new(vec![0; 1 << 20], Faults::default()));
    let step =
        Step::RepairFiles { disk: target(&device), image: image.manifest.id().unwrap(), paths, remove };
    run_on(FakeDisks { device, root_partition: Some(root.device.clone()) }, service, vec![step])
}

#[test]
fn what_was_altered_or_deleted_comes_back_and_the_rest_stays() {
    for kind in KINDS {
        let image = image_with_root_of(&kind);
        let folder = tempfile::tempdir().unwrap();
        let victim = tempfile::tempdir().unwrap();
        fs::write(victim.path().join("0"), "not ours").unwrap();
        let root = Loop::attach(&root_file(&image, folder.path()));
        assert_eq!(altered_and_missing(&root.device, &image), Vec::<String>::new());

        change(&root.device, |mounted| {
            fs::write(mounted.join("etc/hostname"), "its own").unwrap();
            fs::write(mounted.join("var/log/marker"), "its own").unwrap();
            fs::write(mounted.join("boot/grub/grubenv"), "saved").unwrap();
            fs::set_permissions(mounted.join("usr/bin/sudo"), fs::Permissions::from_mode(0o755)).unwrap();
            chown(mounted.join("boot/vmlinuz"), Some(1000), None).unwrap();
            fs::remove_file(mounted.join("usr/bin/link")).unwrap();
            symlink("/bin/evil", mounted.join("usr/bin/link")).unwrap();
            let mut tool = fs::read(mounted.join("usr/bin/tool")).unwrap();
            tool[2_000_000] ^= 1;
            fs::write(mounted.join("usr/bin/tool"), tool).unwrap();
            must("chattr", &["+i"], &mounted.join("usr/bin/tool"));
            // A folder of the image becomes a way out of the file system.
            fs::remove_dir_all(mounted.join("usr/lib/deep/er")).unwrap();
            symlink(victim.path(), mounted.join("usr/lib/deep/er")).unwrap();
            must("chattr", &["+i"], &mounted.join("usr/lib/deep"));
            fs::remove_file(mounted.join("usr/lib/library")).unwrap();
            fs::create_dir_all(mounted.join("usr/lib/library/full/of/things")).unwrap();
        });
        let paths = altered_and_missing(&root.device, &image);
        assert_eq!(paths.len(), 4 + 2 + 50, "{paths:?}");

        let service = Arc::new(FakeService::with(&image));
        let finish = repair(&root, &image, &service, paths);
        assert_eq!(finish.result, FinishResult::Done);
        assert_eq!(altered_and_missing(&root.device, &image), Vec::<String>::new());
        assert_eq!(list(&root.device, &image, ReadingKey::ImageFilesForeign), Vec::<String>::new());
        change(&root.device, |mounted| {
            assert_eq!(fs::read(mounted.join("etc/hostname")).unwrap(), b"its own");
            assert_eq!(fs::read(mounted.join("var/log/marker")).unwrap(), b"its own");
            assert_eq!(fs::metadata(mounted.join("usr/bin/sudo")).unwrap().mode(), 0o104_755);
            assert_eq!(fs::metadata(mounted.join("usr/lib/deep/er")).unwrap().mode() & 0o170_000, 0o040_000);
        });
        assert_eq!(fs::read(victim.path().join("0")).unwrap(), b"not ours");
        assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 1);
        // Where only mode or owner was wrong nothing was fetched: the library, the tool and the small
        // files are in a few chunks of the 18.
        assert!(service.chunks_fetched() <= 6, "{}", service.chunks_fetched());
        assert_eq!(finish.steps[0].bytes_fetched, service.bytes_fetched());
        assert!(finish.steps[0].bytes_written < 4_000_000);
    }
}

#[test]
fn content_that_is_not_the_images_never_gets_a_files_name() {
    for kind in KINDS {
        let image = image_with_root_of(&kind);
        let folder = tempfile::tempdir().unwrap();
        let root = Loop::attach(&root_file(&image, folder.path()));
        change(&root.device, |mounted| fs::write(mounted.join("usr/lib/library"), "altered").unwrap());
        let service = Arc::new(FakeService::with(&image));
        let manifest = &image.manifest;
        let EntryKind::File { extents, .. } =
            &manifest.root.as_ref().unwrap().entry("/usr/lib/library").unwrap().kind
        else {
            panic!("no file");
        };
        let piece = manifest.pieces(extents[0].image_offset, extents[0].length_bytes)[0];
        service.tamper(manifest.chunk_digest(piece.index).unwrap(), |stored| stored.truncate(100));
        let finish = repair(&root, &image, &service, vec!["/usr/lib/library".to_owned()]);
        assert!(
            matches!(&finish.result, FinishResult::Failed { error, .. } if error.contains("/usr/lib/library"))
        );
        change(&root.device, |mounted| {
            assert_eq!(fs::read(mounted.join("usr/lib/library")).unwrap(), b"altered");
            assert_eq!(fs::read_dir(mounted.join("usr/lib")).unwrap().count(), 2);
        });
        // What the image does not know is not begun at all.
        let finish = repair(&root, &image, &service, vec!["/etc/hostname".to_owned()]);
        assert!(
            matches!(&finish.result, FinishResult::Failed { error, .. } if error.contains("nothing was written"))
        );
    }
}

#[test]
fn a_manifest_whose_extents_make_another_file_changes_nothing() {
    let mut image = image_with_root();
    let folder = tempfile::tempdir().unwrap();
    let root = Loop::attach(&root_file(&image, folder.path()));
    let entries = &mut image.manifest.root.as_mut().unwrap().entries;
    let entry = entries.iter_mut().find(|entry| entry.path == "/usr/lib/library").unwrap();
    let EntryKind::File { digest, .. } = &mut entry.kind else { panic!("no file") };
    digest.0[0] ^= 1;
    let finish =
        repair(&root, &image, &Arc::new(FakeService::with(&image)), vec!["/usr/lib/library".to_owned()]);
    assert!(
        matches!(&finish.result, FinishResult::Failed { error, .. } if error.contains("import the image again"))
    );
    change(&root.device, |mounted| {
        assert_eq!(fs::read(mounted.join("usr/lib/library")).unwrap().len(), 300_000);
        assert_eq!(fs::read_dir(mounted.join("usr/lib")).unwrap().count(), 2);
    });
}
