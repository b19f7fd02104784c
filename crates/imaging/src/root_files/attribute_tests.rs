//! Extended attributes as another program wrote them: `debugfs`.

use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::{ProptestConfig, any, proptest};

use super::{Selection, read_root};
use crate::attributes::{ACCESS_LIST, CAPABILITY, DEFAULT_LIST, ExtendedAttribute};
use crate::manifest::tests::partition;
use crate::manifest::{PartitionRole, RootManifest};

const MIB: u64 = 1 << 20;
const ROOT_BYTES: u64 = 8 * MIB;

/// `cap_net_bind_service+ep` as `setcap` writes it.
const NET_CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `u::rwx,u:1000:r--,g::r-x,m::r-x,o::r-x` as `getxattr(2)` gives it.
const LIST: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
    0x10, 0, 5, 0, 255, 255, 255, 255, 0x20, 0, 5, 0, 255, 255, 255, 255,
];

fn debugfs(file: &Path, request: &str) {
    let output = Command::new("/sbin/debugfs").args(["-w", "-R", request]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).lines().skip(1).collect::<String>();
    assert!(output.status.success() && said.is_empty(), "{request}: {said}");
}

/// A file system with one attribute of each kind; `options` go to `mkfs.ext4`.
fn image(options: &[&str], long_value: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (tree, file, value) =
        (folder.path().join("tree"), folder.path().join("image"), folder.path().join("value"));
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    for name in ["plain", "ping", "label", "full", "long"] {
        fs::write(tree.join("usr/bin").join(name), name).unwrap();
    }
    fs::File::create(&file).unwrap().set_len(ROOT_BYTES).unwrap();
    let make = Command::new("/sbin/mkfs.ext4")
        .args(options)
        .args(["-q", "-F", "-d"])
        .arg(&tree)
        .arg(&file)
        .output()
        .unwrap();
    assert!(make.status.success(), "{}", String::from_utf8_lossy(&make.stderr));
    let set = |path: &str, name: &str, bytes: &[u8]| {
        fs::write(&value, bytes).unwrap();
        debugfs(&file, &format!("ea_set -f {} {path} {name}", value.display()));
    };
    set("/usr/bin/ping", CAPABILITY, &NET_CAPABILITY);
    set("/usr/bin/label", "security.selinux", b"system_u:object_r:bin_t:s0\0");
    set("/usr/bin/label", "security.evm", b"of another machine");
    set("/usr/bin", ACCESS_LIST, &LIST);
    set("/usr/bin", DEFAULT_LIST, &LIST);
    // More than fits behind the inode's fields, so that a block is needed too.
    for (name, length) in [("user.one", 60), ("user.two", 300), ("trusted.three", 100)] {
        set("/usr/bin/full", name, &vec![b'x'; length]);
    }
    set("/usr/bin/long", "user.long", &vec![0xab; long_value]);
    [vec![0xa5; MIB as usize], fs::read(&file).unwrap()].concat()
}

fn read(image: &Vec<u8>) -> Result<RootManifest, super::RootError> {
    let place = partition(1, PartitionRole::Root, MIB, ROOT_BYTES);
    read_root(image, &place, &Selection::default(), &mut |_| {})
}

fn attributes(root: &RootManifest, path: &str) -> Vec<(String, Vec<u8>)> {
    let of = |attribute: &ExtendedAttribute| (attribute.name.clone(), attribute.value.0.clone());
    root.entry(path).unwrap().attributes.iter().map(of).collect()
}

fn named(name: &str, value: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), value.to_vec())
}

#[test]
fn every_kind_of_attribute_is_read_wherever_it_stands() {
    for (options, long_value) in [
        (&["-b", "4096"][..], 3000),
        (&["-b", "1024"], 700),
        (&["-I", "128", "-b", "4096"], 3000),
        (&["-O", "ea_inode", "-b", "4096"], 4096),
        (&["-O", "^metadata_csum,^64bit", "-I", "1024"], 800),
    ] {
        let root = read(&image(options, long_value)).unwrap();
        assert!(root.attributes_recorded);
        assert_eq!(attributes(&root, "/usr/bin/plain"), [], "{options:?}");
        assert_eq!(attributes(&root, "/usr/bin/ping"), [named(CAPABILITY, &NET_CAPABILITY)], "{options:?}");
        let label = named("security.selinux", b"system_u:object_r:bin_t:s0\0");
        assert_eq!(attributes(&root, "/usr/bin/label"), [label], "{options:?}");
        let lists = [named(ACCESS_LIST, &LIST), named(DEFAULT_LIST, &LIST)];
        assert_eq!(attributes(&root, "/usr/bin"), lists, "{options:?}");
        let full = [
            named("trusted.three", &[b'x'; 100]),
            named("user.one", &[b'x'; 60]),
            named("user.two", &[b'x'; 300]),
        ];
        assert_eq!(attributes(&root, "/usr/bin/full"), full, "{options:?}");
        let long = attributes(&root, "/usr/bin/long");
        assert!(long == [named("user.long", &vec![0xab; long_value])], "{options:?}: {}", long[0].1.len());
    }
}

#[test]
fn a_kind_of_attribute_that_is_not_known_is_refused_by_name() {
    let mut image = image(&["-O", "^metadata_csum"], 10);
    let at = image.windows(8).position(|bytes| bytes == b"selinux\0").unwrap() - 16;
    assert_eq!(image[at + 1], 6);
    image[at + 1] = 9;
    let refused = format!("{:?}", read(&image).unwrap_err());
    assert!(refused.contains("/usr/bin/label") && refused.contains("kind 9"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_attributes_are_an_error_or_read_as_they_are_and_never_a_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        use std::sync::OnceLock;
        static WHOLE: OnceLock<(Vec<u8>, Vec<usize>)> = OnceLock::new();
        let (whole, places) = WHOLE.get_or_init(|| {
            let whole = image(&["-O", "ea_inode,^metadata_csum", "-b", "4096"], 4096);
            let magic = |at: &usize| whole[*at..*at + 4] == [0, 0, 2, 0xea];
            let starts = (MIB as usize..whole.len() - 200).step_by(4).filter(magic);
            let places = starts.flat_map(|at| at - 4..at + 120).collect();
            (whole, places)
        });
        let mut damaged = whole.clone();
        for (at, to) in changes {
            damaged[places[at.index(places.len())]] = to;
        }
        if let Ok(root) = read(&damaged) {
            assert!(root.entries.iter().all(|entry| crate::attributes::are_sound(&entry.attributes)));
        }
    }
}
