//! Capabilities, access lists and labels.

use std::fs;
use std::sync::Arc;

use contract::agent_api::FinishResult;
use imaging::attributes::{ACCESS_LIST, CAPABILITY, DEFAULT_LIST};

use super::{altered_and_missing, change, repair};
use crate::act::fixture::FakeService;
use crate::act::loop_fixture::{
    ACCESS, CAPABILITIES, KINDS, Loop, image_with_root, image_with_root_of, root_file, set_attribute,
};

#[test]
fn capabilities_access_lists_and_labels_come_back_and_nothing_inherited_stays() {
    for kind in KINDS {
        let image = image_with_root_of(&kind);
        let folder = tempfile::tempdir().unwrap();
        let root = Loop::attach(&root_file(&image, folder.path()));
        assert_eq!(altered_and_missing(&root.device, &image), Vec::<String>::new());
        change(&root.device, |mounted| {
            let remove = |path: &str, name: &str| {
                rustix::fs::lremovexattr(mounted.join(path), name).unwrap();
            };
            remove("usr/bin/ping", CAPABILITY);
            remove("usr/bin/link", "security.selinux");
            remove("usr/lib/deep", DEFAULT_LIST);
            set_attribute(&mounted.join("usr/bin/sudo"), CAPABILITY, &CAPABILITIES);
            set_attribute(&mounted.join("usr/bin"), ACCESS_LIST, &ACCESS);
            set_attribute(&mounted.join("usr/bin/tool"), "security.selinux", b"other");
            set_attribute(&mounted.join("usr/lib/library"), "user.long", &[8; 600]);
            // Marks that grant nothing and that the image knows nothing of are the node's own.
            set_attribute(&mounted.join("boot/vmlinuz"), "user.mark", b"own");
            // Made anew in a folder whose default list it must not inherit.
            set_attribute(&mounted.join("usr/lib/deep/er"), DEFAULT_LIST, &ACCESS);
            fs::remove_file(mounted.join("usr/lib/deep/er/7")).unwrap();
        });
        let paths = altered_and_missing(&root.device, &image);
        let expected = [
            "/usr/bin",
            "/usr/bin/link",
            "/usr/bin/ping",
            "/usr/bin/sudo",
            "/usr/bin/tool",
            "/usr/lib/deep",
            "/usr/lib/deep/er",
            "/usr/lib/deep/er/7",
            "/usr/lib/library",
        ];
        assert_eq!(paths, expected);
        let service = Arc::new(FakeService::with(&image));
        assert_eq!(repair(&root, &image, &service, paths).result, FinishResult::Done);
        assert_eq!(altered_and_missing(&root.device, &image), Vec::<String>::new());
        change(&root.device, |mounted| {
            let read = |path: &str, name: &str| {
                let mut value = vec![0; 4096];
                let length = rustix::fs::lgetxattr(mounted.join(path), name, &mut value).ok()?;
                Some(value[..length].to_vec())
            };
            assert_eq!(read("usr/bin/ping", CAPABILITY).unwrap(), CAPABILITIES);
            assert_eq!(read("usr/lib/library", ACCESS_LIST).unwrap(), ACCESS);
            assert_eq!(read("usr/bin/sudo", CAPABILITY), None);
            assert_eq!(read("usr/lib/deep/er/7", ACCESS_LIST), None);
            assert_eq!(read("boot/vmlinuz", "user.mark").unwrap(), b"own");
        });
    }
}

#[test]
fn an_image_whose_attributes_nobody_recorded_is_compared_without_them() {
    let mut image = image_with_root();
    let files = image.manifest.root.as_mut().unwrap();
    files.attributes_recorded = false;
    files.entries.iter_mut().for_each(|entry| entry.attributes.clear());
    let folder = tempfile::tempdir().unwrap();
    let root = Loop::attach(&root_file(&image, folder.path()));
    change(&root.device, |mounted| {
        rustix::fs::lremovexattr(mounted.join("usr/bin/ping"), CAPABILITY).unwrap();
    });
    assert_eq!(altered_and_missing(&root.device, &image), Vec::<String>::new());
}
