use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use contract::id::Digest;
use proptest::prelude::{ProptestConfig, any, proptest};

use super::{RootError, Selection, digest_file, read_root};
use crate::ext4::{Ext4, Ext4Error};
use crate::manifest::tests::partition;
use crate::manifest::{EntryKind, ManifestPartition, PartitionRole, RootManifest};

const MIB: u64 = 1 << 20;
const ROOT_BYTES: u64 = 24 * MIB;

/// A tree with everything that the reader must know: large directories, holes, many extents, short
/// and long links, hard links, special bits, and things beside the immutable paths.
fn fill(root: &Path) {
    for directory in ["usr/bin", "usr/lib/many", "boot/grub", "etc", "usr/local"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("x".repeat(200), root.join("usr/lib/long-link")).unwrap();
    fs::write(root.join("etc/passwd"), "not immutable").unwrap();
    fs::write(root.join("usr/bin/empty"), "").unwrap();
    fs::write(root.join("usr/bin/sudo"), vec![7; 3 * MIB as usize + 123]).unwrap();
    fs::set_permissions(root.join("usr/bin/sudo"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(root.join("usr/bin/sudo"), root.join("usr/bin/sudoedit")).unwrap();
    fs::write(root.join("boot/vmlinuz"), "kernel").unwrap();
    fs::write(root.join("usr/lib/allocated"), "begins with this").unwrap();
    fs::write(root.join("boot/grub/grubenv"), "changes").unwrap();
    for number in 0..400 {
        fs::write(root.join(format!("usr/lib/many/a-file-with-a-rather-long-name-{number}")), [number as u8])
            .unwrap();
    }
    let holes = File::create(root.join("usr/lib/holes")).unwrap();
    for piece in 0..300 {
        holes.write_all_at(&[(piece % 250) as u8 + 1; 4096], piece * 8192).unwrap();
    }
    holes.set_len(300 * 8192 + 5).unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().expect("mkfs.ext4 and debugfs (package e2fsprogs) run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An image with the file system at its second MiB.
fn image(options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (root, file) = (folder.path().join("root"), folder.path().join("image"));
    fs::create_dir(&root).unwrap();
    fill(&root);
    // What was on the medium before must never be taken for the content of a file.
    fs::write(&file, vec![0xee; ROOT_BYTES as usize]).unwrap();
    let make = ["-q", "-F", "-E", "nodiscard", "-d"];
    run(Command::new("/sbin/mkfs.ext4").args(options).args(make).arg(&root).arg(&file));
    for change in ["fallocate /usr/lib/allocated 5 25", "set_inode_field /usr/lib/allocated size 90000"] {
        run(Command::new("/sbin/debugfs").args(["-w", "-R", change]).arg(&file));
    }
    [vec![0xa5; MIB as usize], fs::read(&file).unwrap()].concat()
}

fn root_partition() -> ManifestPartition {
    partition(1, PartitionRole::Root, MIB, ROOT_BYTES)
}

fn read(image: &Vec<u8>) -> RootManifest {
    read_root(image, &root_partition(), &Selection::default(), &mut |_| {}).unwrap()
}

/// Compares every entry with what another reader of ext4 says.
fn assert_agrees_with_another_reader(image: &[u8], root: &RootManifest) {
    let other = ext4_view::Ext4::load(Box::new(image[MIB as usize..].to_vec())).unwrap();
    for entry in &root.entries {
        let path = entry.path.as_str();
        let metadata = other.symlink_metadata(path).unwrap();
        assert_eq!(u32::from(metadata.mode()), entry.mode, "{path}");
        assert_eq!((metadata.uid(), metadata.gid()), (entry.uid, entry.gid), "{path}");
        match &entry.kind {
            EntryKind::Directory => assert!(metadata.is_dir(), "{path}"),
            EntryKind::Symlink { target } => {
                assert_eq!(other.read_link(path).unwrap().to_str().unwrap(), target);
            }
            // ext4-view 0.9.3 reads blocks that were allocated and never written as whatever stands there.
            EntryKind::File { .. } if path == "/usr/lib/allocated" => {}
            EntryKind::File { size_bytes, digest, .. } => {
                let content = other.read(path).unwrap();
                assert_eq!((content.len() as u64, Digest::of(&content)), (*size_bytes, *digest), "{path}");
            }
        }
    }
}

#[test]
fn everything_immutable_is_found_as_another_reader_finds_it() {
    for options in [&["-b", "4096"][..], &["-b", "1024"], &["-O", "^64bit,^metadata_csum", "-I", "128"]] {
        let image = image(options);
        let root = read(&image);
        assert_agrees_with_another_reader(&image, &root);
        let paths: Vec<&str> = root.entries.iter().map(|entry| entry.path.as_str()).collect();
        assert!(paths.is_sorted());
        for expected in ["/bin", "/boot/vmlinuz", "/usr/bin/sudoedit", "/usr/lib/holes", "/usr/local"] {
            assert!(paths.contains(&expected), "{expected}");
        }
        assert!(!paths.iter().any(|path| path.starts_with("/etc") || path.ends_with("grubenv")));
        assert_eq!(paths.iter().filter(|path| path.contains("/many/")).count(), 400);
        let EntryKind::File { extents, .. } = &root.entry("/usr/lib/holes").unwrap().kind else { panic!() };
        assert!(extents.len() >= 300, "the holes are kept: {}", extents.len());
        let allocated = [b"begins with this".to_vec(), vec![0; 90000 - 16]].concat();
        let EntryKind::File { digest, .. } = &root.entry("/usr/lib/allocated").unwrap().kind else {
            panic!()
        };
        assert_eq!(*digest, Digest::of(&allocated), "allocated and never written reads as zeros");
    }
}

#[test]
fn a_changed_byte_of_a_file_changes_its_digest() {
    let mut image = image(&[]);
    let root = read(&image);
    let EntryKind::File { extents, size_bytes, digest } = &root.entry("/usr/bin/sudo").unwrap().kind else {
        panic!()
    };
    assert_eq!(digest_file(&image, *size_bytes, extents).unwrap(), *digest);
    image[extents[0].image_offset as usize + 5] ^= 1;
    assert_ne!(digest_file(&image, *size_bytes, extents).unwrap(), *digest);
}

#[test]
fn what_cannot_be_described_is_refused_by_name() {
    let image = image(&[]);
    let select = |immutable: &[&str]| Selection {
        immutable_paths: immutable.iter().map(|path| (*path).to_owned()).collect(),
        excluded_paths: vec!["/usr/lib".to_owned()],
    };
    let read = |selection| read_root(&image, &root_partition(), &selection, &mut |_| {});
    assert!(matches!(read(select(&["usr"])), Err(RootError::Path { .. })));
    assert!(matches!(read(select(&["/usr/../etc"])), Err(RootError::Path { .. })));
    let nested = read(select(&["/usr/bin", "/usr", "/nowhere"])).unwrap();
    assert_eq!(nested.immutable_paths, ["/nowhere", "/usr", "/usr/bin"]);
    assert!(nested.entries.iter().all(|entry| !entry.path.starts_with("/usr/lib/")));
    assert_eq!(nested.entries.iter().filter(|entry| entry.path == "/usr/bin/sudo").count(), 1);
    let outside = ManifestPartition { length_bytes: u64::MAX - MIB, ..root_partition() };
    let outside = read_root(&image, &outside, &select(&["/usr"]), &mut |_| {});
    assert!(matches!(outside, Err(RootError::Outside { .. })));
}

#[test]
fn a_file_system_that_makes_no_sense_is_named() {
    let mut image = vec![0; (MIB + ROOT_BYTES) as usize];
    image[MIB as usize + 0x1_0040..][..8].copy_from_slice(b"_BHRfS_M");
    match read_root(&image, &root_partition(), &Selection::default(), &mut |_| {}) {
        Err(RootError::FileSystem { source, .. }) => assert!(source.to_string().contains("btrfs")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unclean_or_foreign_file_system_is_refused() {
    let mut unclean = image(&[]);
    unclean[MIB as usize + 1024 + 0x60] |= 4;
    let part = |image: &[u8]| Ext4::open(image[MIB as usize..].to_vec()).map(|_| ());
    assert!(matches!(part(&unclean), Err(Ext4Error::NeedsRecovery)));
    unclean[MIB as usize + 1024 + 0x61] |= 0x80;
    unclean[MIB as usize + 1024 + 0x60] &= !4;
    assert!(matches!(part(&unclean), Err(Ext4Error::Unsupported { .. })));
    assert!(matches!(Ext4::open(vec![0_u8; 4096]), Err(Ext4Error::NotExt4)));
    assert!(matches!(Ext4::open(vec![0_u8; 100]), Err(Ext4Error::NotExt4)));
    let cut = &image(&[])[..(MIB + ROOT_BYTES / 2) as usize];
    assert!(matches!(part(cut), Err(Ext4Error::Damaged { .. })));
}

/// The parts of the file system that say where things are: superblock, descriptors, inodes, directories.
fn metadata_places(image: &[u8]) -> Vec<usize> {
    let magic = |at: &usize| image[*at..*at + 2] == [0x0a, 0xf3];
    let extents = (MIB as usize..image.len() - 2).step_by(4).filter(magic).take(40);
    let start = MIB as usize + 1024;
    (start..start + 0x180)
        .chain(start + 3072..start + 3200)
        .chain(extents.flat_map(|at| at - 40..at + 60))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damage_anywhere_is_an_error_or_read_as_it_is_and_never_a_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        use std::sync::OnceLock;
        static WHOLE: OnceLock<(Vec<u8>, Vec<usize>)> = OnceLock::new();
        let (whole, places) = WHOLE.get_or_init(|| {
            let whole = image(&["-b", "1024"]);
            let places = metadata_places(&whole);
            (whole, places)
        });
        let mut damaged = whole.clone();
        for (at, to) in changes {
            damaged[places[at.index(places.len())]] = to;
        }
        let select = Selection { excluded_paths: vec!["/usr/lib/many".to_owned()], ..Selection::default() };
        if let Ok(root) = read_root(&damaged, &root_partition(), &select, &mut |_| {}) {
            let end = MIB + ROOT_BYTES;
            let inside = |entry: &crate::manifest::ImmutableEntry| match &entry.kind {
                EntryKind::File { extents, .. } => extents.iter().all(|e| e.image_offset + e.length_bytes <= end),
                _ => true,
            };
            assert!(root.entries.iter().all(inside));
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_file_system(bytes in proptest::collection::vec(any::<u8>(), 0..8192)) {
        let mut bytes = bytes;
        if bytes.len() > 2048 {
            bytes[1080..1082].copy_from_slice(&[0x53, 0xef]);
        }
        if let Ok(file_system) = Ext4::open(bytes) {
            let _ = file_system.inode(2).and_then(|inode| file_system.directory(&inode));
        }
    }
}
