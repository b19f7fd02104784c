//! The reader beside the kernel's own.

mod fixture;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use contract::id::Digest;
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::sample::Index;
use rustix::fs::{FallocateFlags, fallocate};

use super::{Btrfs, BtrfsError, Superblock};
use crate::manifest::tests::partition;
use crate::manifest::{EntryKind, PartitionRole, RootManifest};
use crate::root_files::{
    ContentBeside, DEFAULT_IMMUTABLE_PATHS, RootError, Selection, digest_file, read_root, read_root_beside,
};
use crate::source::ReadAt;
use crate::xfs::tests::fixture::{Mounted, assert_is, folder, must, paths_below};
use fixture::{Changed, FILE_SYSTEM_BYTES, Medium, Place, filled};

/// Lists a file system that is a whole image; gives what was put beside it too.
fn list<S: ReadAt>(source: &S) -> Result<(RootManifest, Vec<u8>), RootError> {
    list_selected(source, &Selection::default())
}

fn list_selected<S: ReadAt>(source: &S, selection: &Selection) -> Result<(RootManifest, Vec<u8>), RootError> {
    let place = partition(1, PartitionRole::Root, 0, source.size_bytes());
    let mut content = Vec::new();
    let mut keep = |chunk: &[u8]| {
        content.extend_from_slice(chunk);
        Ok(())
    };
    let mut beside = ContentBeside::new(source.size_bytes(), &mut keep);
    let root = read_root_beside(source, &place, selection, &mut beside, &mut |_| {})?;
    beside.close().unwrap();
    Ok((root, content))
}

#[test]
fn everything_is_listed_as_the_kernel_shows_it() {
    for (make, options, place) in [
        (&[][..], "compress-force=zstd", Place::Named),
        (&["-n", "4096", "-m", "single"], "noatime", Place::Top),
        (&["-n", "65536", "-O", "^no-holes"], "compress-force=zlib", Place::Default),
        (&[], "compress-force=lzo", Place::Top),
        (&["-M", "-m", "single", "-d", "single"], "compress=zstd,max_inline=0", Place::Top),
    ] {
        let folder = folder();
        let file = filled(folder.path(), make, options, place);
        let beside = assert_is_listed(&file, options, place);
        // Small files stand in the tree unless that is forbidden; then nothing but text is packed.
        assert!(
            if options.ends_with("max_inline=0") { (1..10).contains(&beside) } else { beside > 600 },
            "{options}: {beside}"
        );
        if options.ends_with("lzo") {
            grow(&file, options);
            assert_is_listed(&file, options, place);
        }
    }
}

/// Gives how many files lie beside the image.
fn assert_is_listed(file: &Path, options: &str, place: Place) -> usize {
    let medium = Medium(File::open(file).unwrap());
    let (root, content) = list(&medium).unwrap();
    assert_eq!(root.file_system, "btrfs");
    assert_eq!(root.subvolume.as_deref(), (place == Place::Named).then_some("root"));
    let shown = if place == Place::Named { "ro,subvol=root" } else { "ro" };
    let mounted = Mounted::with(file, "btrfs", shown);
    let paths: Vec<&str> = root.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, paths_below(&mounted.0, &DEFAULT_IMMUTABLE_PATHS), "{options}");
    assert!(paths.len() > 700);
    let mut beside = 0;
    for entry in &root.entries {
        assert_is(entry, &mounted.0.join(&entry.path[1..]));
        // What the extents name is the file, in the image as beside it.
        let EntryKind::File { size_bytes, digest, extents } = &entry.kind else { continue };
        match extents.as_slice() {
            [extent] if extent.image_offset >= medium.size_bytes() => {
                let from = (extent.image_offset - medium.size_bytes()) as usize;
                assert_eq!(Digest::of(&content[from..from + *size_bytes as usize]), *digest);
                beside += 1;
            }
            _ => assert_eq!(digest_file(&medium, *size_bytes, extents).unwrap(), *digest),
        }
    }
    beside
}

/// Gives the file system more space, in which a part of a new file lies.
fn grow(file: &Path, options: &str) {
    let before = Superblock::read(&Medium(File::open(file).unwrap())).unwrap();
    assert_eq!((before.device_number(), before.device_bytes()), (1, FILE_SYSTEM_BYTES));
    // The kernel gives no size below 256 MiB.
    File::options().write(true).open(file).unwrap().set_len(2 * FILE_SYSTEM_BYTES).unwrap();
    let mounted = Mounted::with(file, "btrfs", options);
    must(Command::new("btrfs").args(["filesystem", "resize", "max"]).arg(&mounted.0));
    // What is allocated and never written costs nothing; with it, all there was before is full.
    let filler = File::create(mounted.0.join("filler")).unwrap();
    fallocate(&filler, FallocateFlags::empty(), 0, FILE_SYSTEM_BYTES * 7 / 8).unwrap();
    drop(filler);
    fs::write(mounted.0.join("usr/lib/grown"), noise(FILE_SYSTEM_BYTES as usize / 8)).unwrap();
    drop(mounted);
    let after = Superblock::read(&Medium(File::open(file).unwrap())).unwrap();
    assert_eq!(after.device_bytes(), 2 * FILE_SYSTEM_BYTES);
}

/// Bytes that cannot be packed.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let folder = folder();
    let file = filled(folder.path(), &[], "compress-force=zstd", Place::Top);
    let bytes = fs::read(&file).unwrap();
    let refused = |changes: &[(usize, u8)]| {
        let changed = Changed { bytes: &bytes, changes: changes.to_vec(), length: bytes.len() };
        match list(&changed) {
            Err(error @ RootError::FileSystem { .. }) => format!("{error:?}"),
            other => panic!("{:?}", other.map(|(root, _)| root.entries.len())),
        }
    };
    let at = super::SUPERBLOCK_OFFSET as usize;
    assert!(refused(&[(at + 64, b'X')]).contains("NotExt4"));
    assert!(refused(&[(at + 136, 2)]).contains("2 devices"));
    assert!(refused(&[(at + 189, bytes[at + 189] | 0x10)]).contains("features 0x1000"));
    assert!(refused(&[(at + 96, 1)]).contains("NeedsRecovery"));
    assert!(refused(&[(at + 149, 0)]).contains("makes no sense"));
    assert!(refused(&overlapping(&bytes)).contains("makes no sense"));
    let cut = Changed { bytes: &bytes, changes: Vec::new(), length: bytes.len() / 2 };
    assert!(format!("{:?}", list(&cut).map(drop).unwrap_err()).contains("cut off"));
    // Without a place beside the image the packed files cannot be kept, and nothing is left out.
    let medium = Medium(File::open(&file).unwrap());
    let place = partition(1, PartitionRole::Root, 0, medium.size_bytes());
    let nowhere = read_root(&medium, &place, &Selection::default(), &mut |_| {});
    assert!(matches!(nowhere, Err(RootError::Keep { .. })), "{nowhere:?}");
}

/// Changes after which the second item in every leaf of the top level has the place of the first.
fn overlapping(bytes: &[u8]) -> Vec<(usize, u8)> {
    let of_file_system = &bytes[super::SUPERBLOCK_OFFSET as usize + 32..][..16];
    let is_leaf = |at: &usize| {
        let node = &bytes[*at..];
        node[32..48] == *of_file_system && node[88..96] == 5_u64.to_le_bytes() && node[100] == 0
    };
    let leaves = (0x2_0000..bytes.len() - 4096).step_by(4096).filter(is_leaf);
    leaves.flat_map(|at| (at + 118..at + 122).map(|place| (place + 25, bytes[place]))).collect()
}

#[test]
fn the_root_is_found_only_if_it_is_said_which_one_it_is() {
    let folder = folder();
    let file = filled(folder.path(), &[], "noatime", Place::Named);
    let subvolume =
        || Btrfs::open(Medium(File::open(&file).unwrap())).map(|found| found.subvolume().map(str::to_owned));
    assert_eq!(subvolume().unwrap().as_deref(), Some("root"));
    let change = |how: &dyn Fn(&std::path::Path)| {
        let mounted = Mounted::with(&file, "btrfs", "subvolid=5");
        how(&mounted.0);
    };
    change(&|top| fs::rename(top.join("root"), top.join("other")).unwrap());
    let nothing = format!("{}", subvolume().unwrap_err());
    assert!(nothing.contains("0 subvolumes"), "{nothing}");
    change(&|top| {
        fs::rename(top.join("other"), top.join("root")).unwrap();
        fs::write(top.join("home/etc/fstab"), "UUID=1 / btrfs subvol=home 0 0\n").unwrap();
    });
    assert!(format!("{}", subvolume().unwrap_err()).contains("2 subvolumes"));
    change(&|top| must(Command::new("btrfs").args(["subvolume", "set-default"]).arg(top.join("home"))));
    assert_eq!(subvolume().unwrap(), None);
    // A subvolume inside of the immutable area has numbers of its own.
    change(&|top| must(Command::new("btrfs").args(["subvolume", "set-default"]).arg(top.join("root"))));
    change(&|top| {
        must(Command::new("btrfs").args(["subvolume", "create"]).arg(top.join("root/usr/lib/inner")));
    });
    let inner = list(&Medium(File::open(&file).unwrap())).map(drop).unwrap_err();
    assert!(format!("{inner:?}").contains("a subvolume under an immutable path"), "{inner:?}");
    assert!(matches!(
        inner,
        RootError::FileSystem { source, .. } if source.is_about_listing()
    ));
    let excluded_paths = vec!["/usr/lib/inner".to_owned()];
    let selection = Selection { excluded_paths, ..Selection::default() };
    let root = list_selected(&Medium(File::open(&file).unwrap()), &selection).unwrap().0;
    assert!(root.entry("/usr/lib").is_some() && root.entry("/usr/lib/inner").is_none());
}

fn whole() -> &'static (Vec<u8>, Vec<usize>) {
    static WHOLE: OnceLock<(Vec<u8>, Vec<usize>)> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder = folder();
        let file =
            filled(folder.path(), &["-n", "4096", "-m", "single"], "compress-force=zstd", Place::Named);
        let bytes = fs::read(file).unwrap();
        let superblock = super::SUPERBLOCK_OFFSET as usize;
        // Superblock, and nodes of all trees: their headers name the file system.
        let of_file_system = &bytes[superblock + 32..superblock + 48];
        let nodes: Vec<usize> = (0x2_0000..bytes.len() - 4096)
            .step_by(4096)
            .filter(|at| &bytes[at + 32..at + 48] == of_file_system)
            .collect();
        assert!(nodes.len() > 40);
        let step = (nodes.len() / 60).max(1);
        let mut places: Vec<usize> = (superblock..superblock + 1200).collect();
        for at in nodes.into_iter().step_by(step) {
            places.extend(at + 48..at + 500);
            places.extend(at + 3500..at + 4096);
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
        let changes = changes.into_iter().map(|(at, to)| (places[at.index(places.len())], to)).collect();
        let length = cut.map_or(whole.len(), |cut| cut.index(whole.len()) / 512 * 512 + 512);
        if let Ok((root, content)) = list(&Changed { bytes: whole, changes, length }) {
            let end = (length + content.len()) as u64;
            for entry in &root.entries {
                assert!(crate::attributes::are_sound(&entry.attributes));
                if let EntryKind::File { extents, .. } = &entry.kind {
                    assert!(extents.iter().all(|extent| extent.image_offset + extent.length_bytes <= end));
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_file_system(bytes in proptest::collection::vec(any::<u8>(), 4096)) {
        let mut all = vec![0; 0x1_0000];
        all.extend(bytes);
        all[0x1_0040..0x1_0048].copy_from_slice(b"_BHRfS_M");
        all[0x1_0088..0x1_0090].copy_from_slice(&1_u64.to_le_bytes());
        all[0x1_0060..0x1_0068].fill(0);
        all.resize(1 << 20, 0xa5);
        let opened = Btrfs::open(all);
        assert!(!matches!(opened, Err(BtrfsError::NotBtrfs)));
    }
}
