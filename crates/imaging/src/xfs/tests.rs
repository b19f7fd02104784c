//! The reader beside the kernel's own.

pub(crate) mod fixture;

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::sample::Index;

use super::{Xfs, XfsError};
use crate::manifest::tests::partition;
use crate::manifest::{EntryKind, ImmutableEntry, PartitionRole, RootManifest};
use crate::root_files::{DEFAULT_IMMUTABLE_PATHS, RootError, Selection, read_root};
use fixture::{FILE_SYSTEM_BYTES, Mounted, assert_is, filled, folder, make, must, paths_below};

const MIB: u64 = 1 << 20;

/// Lists a file system that stands at the second MiB of an image.
fn list(bytes: &[u8]) -> Result<RootManifest, RootError> {
    let image = [vec![0xa5; MIB as usize], bytes.to_vec()].concat();
    let place = partition(1, PartitionRole::Root, MIB, bytes.len() as u64);
    read_root(&image, &place, &Selection::default(), &mut |_| {})
}

#[test]
fn everything_is_listed_as_the_kernel_shows_it() {
    for options in [
        &[][..],
        &["-b", "size=1024", "-m", "reflink=0,bigtime=0", "-i", "sparse=0"],
        &["-i", "size=2048,nrext64=1", "-n", "size=16384", "-m", "rmapbt=1"],
        &["-n", "size=65536", "-s", "size=4096", "-l", "su=32768"],
    ] {
        let folder = folder();
        let file = filled(folder.path(), options);
        let root = assert_is_listed(&file, options);
        let EntryKind::File { extents, .. } = &root.entry("/usr/lib/holes").unwrap().kind else { panic!() };
        assert!(extents.len() >= 500, "the holes are kept: {}", extents.len());
        if options.is_empty() {
            assert_is_listed(&grown(file), options);
        }
    }
}

fn assert_is_listed(file: &Path, options: &[&str]) -> RootManifest {
    let root = list(&fs::read(file).unwrap()).unwrap();
    assert_eq!(root.file_system, "xfs");
    let mounted = Mounted::new(file, ",ro");
    let paths: Vec<&str> = root.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, paths_below(&mounted.0, &DEFAULT_IMMUTABLE_PATHS), "{options:?}");
    assert!(paths.len() > 700);
    for entry in &root.entries {
        assert_is(entry, &mounted.0.join(&entry.path[1..]));
    }
    root
}

/// The file system in twice its space, most of which has a new file.
fn grown(file: PathBuf) -> PathBuf {
    fs::File::options().write(true).open(&file).unwrap().set_len(2 * FILE_SYSTEM_BYTES).unwrap();
    let mounted = Mounted::new(&file, "");
    must(Command::new("xfs_growfs").arg(&mounted.0));
    fs::write(mounted.0.join("usr/lib/grown"), vec![7; FILE_SYSTEM_BYTES as usize]).unwrap();
    drop(mounted);
    let superblock = *Xfs::look(fs::read(&file).unwrap()).unwrap().superblock();
    assert!(superblock.length_bytes() > FILE_SYSTEM_BYTES * 3 / 2);
    file
}

#[test]
fn a_log_that_holds_changes_is_not_clean_and_one_round_later_it_is() {
    let folder = folder();
    let file = folder.path().join("xfs");
    make(&file, &["-b", "size=1024", "-m", "reflink=0,finobt=0,inobtcount=0", "-l", "size=3m"]);
    let is_clean = || Xfs::look(fs::read(&file).unwrap()).unwrap().is_log_clean().unwrap();
    assert!(is_clean(), "as it was made");
    for round in 0..6 {
        let mounted = Mounted::new(&file, "");
        let tree = mounted.0.join(format!("usr/{round}"));
        fs::create_dir_all(&tree).unwrap();
        for number in 0..300 {
            // Every one of them makes a record in the log.
            fs::File::create(tree.join(format!("{number}"))).unwrap().sync_all().unwrap();
        }
        // On the medium, in the log, and not yet in its place.
        must(Command::new("sync").arg("-f").arg(&mounted.0));
        assert!(!is_clean(), "in use, round {round}");
        let copy = fs::read(&file).unwrap();
        assert!(matches!(Xfs::open(copy.clone()).map(drop), Err(XfsError::NeedsRecovery)));
        let listed = list(&copy);
        assert!(matches!(listed, Err(RootError::FileSystem { source, .. }) if source.is_about_listing()));
        drop(mounted);
        assert!(is_clean(), "unmounted, round {round}");
    }
    // The log was written round at least once.
    let mut log_start = [0; 4];
    let superblock = *Xfs::look(fs::read(&file).unwrap()).unwrap().superblock();
    let mut opened = fs::File::open(&file).unwrap();
    opened.seek(SeekFrom::Start(superblock.log_block.unwrap() * superblock.block_bytes + 4)).unwrap();
    opened.read_exact(&mut log_start).unwrap();
    assert!(u32::from_be_bytes(log_start) > 1, "the log went round");
}

#[test]
fn what_is_not_known_or_not_finished_is_refused_by_name() {
    let folder = folder();
    let file = folder.path().join("xfs");
    make(&file, &[]);
    let whole = fs::read(&file).unwrap();
    assert!(list(&whole).unwrap().entries.is_empty());
    let refused = |at: usize, value: u8| {
        let mut changed = whole.clone();
        changed[at] = value;
        format!("{:#?}", list(&changed).unwrap_err())
    };
    assert!(refused(0, b'Y').contains("NotExt4"));
    assert!(refused(101, 0xa4).contains("version 4"));
    assert!(refused(218, 0x01).contains("the features 0x100"));
    assert!(refused(219, whole[219] | 0x10).contains("needs a repair"));
    assert!(refused(219, 0x02).contains("no file types"));
    assert!(refused(126, 1).contains("never finished"));
    assert!(refused(120, 40).contains("makes no sense"));
    let cut = list(&whole[..(FILE_SYSTEM_BYTES / 2) as usize]).unwrap_err();
    assert!(format!("{cut:?}").contains("cut off"));
    let mut another_log = whole.clone();
    another_log[48..56].fill(0);
    assert!(format!("{:?}", list(&another_log).unwrap_err()).contains("another device"));
}

fn whole() -> &'static (Vec<u8>, Vec<usize>) {
    static WHOLE: OnceLock<(Vec<u8>, Vec<usize>)> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder = folder();
        let file = filled(folder.path(), &["-b", "size=1024", "-i", "nrext64=1"]);
        let bytes = fs::read(file).unwrap();
        // Superblock, inodes, and blocks of every kind.
        let mut places: Vec<usize> = (0..272).collect();
        let magics: [&[u8]; 8] =
            [b"BMA3", b"XDB3", b"XDD3", b"XSLM", b"XARM", b"\x3b\xee", b"\x3e\xbe", b"IN"];
        for magic in magics {
            let at = if magic.len() == 2 && magic != b"IN" { 8 } else { 0 };
            let starts =
                (0..bytes.len() - 512).step_by(512).filter(|start| bytes[start + at..].starts_with(magic));
            let kept: Vec<usize> = starts.collect();
            let step = (kept.len() / 24).max(1);
            assert!(!kept.is_empty(), "{magic:?}");
            places.extend(kept.into_iter().step_by(step).take(24).flat_map(|start| start..start + 300));
        }
        (bytes, places)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn damage_anywhere_is_an_error_or_read_as_it_is_and_never_a_panic(
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cut in proptest::option::weighted(0.1, any::<Index>()),
    ) {
        let (whole, places) = whole();
        let mut damaged = whole.clone();
        for (at, to) in changes {
            damaged[places[at.index(places.len())]] = to;
        }
        if let Some(cut) = cut {
            damaged.truncate(cut.index(whole.len()) / 512 * 512);
        }
        if damaged.is_empty() {
            return Ok(());
        }
        let end = MIB + damaged.len() as u64;
        if let Ok(root) = list(&damaged) {
            let inside = |entry: &ImmutableEntry| match &entry.kind {
                EntryKind::File { extents, .. } => extents.iter().all(|e| e.image_offset + e.length_bytes <= end),
                _ => true,
            };
            assert!(root.entries.iter().all(inside));
            assert!(root.entries.iter().all(|entry| crate::attributes::are_sound(&entry.attributes)));
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_file_system(bytes in proptest::collection::vec(any::<u8>(), 0..8192)) {
        let mut bytes = bytes;
        if bytes.len() > 512 {
            bytes[..4].copy_from_slice(b"XFSB");
            bytes[101] = 5;
        }
        if let Ok(file_system) = Xfs::look(bytes) {
            let _ = file_system.is_log_clean();
            let _ = file_system.inode(128).and_then(|inode| file_system.directory(&inode));
        }
    }
}
