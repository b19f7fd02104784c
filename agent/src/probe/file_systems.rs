//! What file systems have written down about their own errors: the superblocks of ext4 and XFS, raw.
//!
//! Layout of ext4: the kernel's `Documentation/filesystems/ext4/super.rst`; of XFS: `imaging::xfs`.

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use imaging::gpt::{Gpt, GptError};
use imaging::source::{Part, ReadAt};
use imaging::xfs::{Xfs, XfsError};

use super::content_signatures::signatures;
use super::raw_read::RawDisk;
use super::source::{self, Source};

/// Where the superblock stands.
pub const SUPERBLOCK_OFFSET: usize = 1024;
/// Its length.
pub const SUPERBLOCK_BYTES: usize = 1024;
/// `COMPAT_HAS_JOURNAL`.
const COMPAT_HAS_JOURNAL: u32 = 0x4;
/// `INCOMPAT_RECOVER`: the journal is not replayed.
const INCOMPAT_RECOVER: u32 = 0x4;
/// `s_state`: cleanly unmounted. With a journal it says nothing more than the journal does.
const STATE_VALID: u16 = 0x1;
/// `s_state`: errors were found. It stays until the file system is checked, whatever the count says.
const STATE_ERROR: u16 = 0x2;

/// What an ext2, ext3, ext4 or XFS superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// `s_error_count`; at least 1 if `s_state` says that there are errors.
    pub errors: u32,
    /// The journal holds what is not yet in place.
    pub needs_recovery: bool,
    /// There is no journal, and it was not unmounted cleanly: what stands there may contradict itself.
    pub unclean: bool,
}

/// Reads a superblock; none if there is no ext file system here.
#[must_use]
pub fn parse(superblock: &[u8]) -> Option<Superblock> {
    if superblock.get(56..58)? != [0x53, 0xef] {
        return None;
    }
    let u32_at = |at: usize| Some(u32::from_le_bytes(superblock.get(at..at + 4)?.try_into().ok()?));
    let state = u16::from_le_bytes(superblock.get(58..60)?.try_into().ok()?);
    Some(Superblock {
        errors: u32_at(404)?.max(u32::from(state & STATE_ERROR != 0)),
        needs_recovery: u32_at(96)? & INCOMPAT_RECOVER != 0,
        unclean: state & STATE_VALID == 0 && u32_at(92)? & COMPAT_HAS_JOURNAL == 0,
    })
}

/// How much of a file system's start is looked at: superblock and signatures.
const HEAD_BYTES: usize = 128 << 10;
/// File systems that keep no such records where we can read them.
const OTHERS: [&str; 3] = ["btrfs", "vfat", "ntfs"];
/// How XFS begins.
const XFS_MAGIC: &[u8] = b"XFSB";

/// Readings about every file system on a disk, partitioned or not.
pub fn read(
    disk: &RawDisk,
    kernel_name: &str,
    source: &Source,
) -> Vec<(Subject, ReadingKey, Outcome<ReadingValue>)> {
    let places = match Gpt::read(disk) {
        Ok(table) => table
            .partitions
            .iter()
            .map(|partition| {
                let offset = partition.first_sector.saturating_mul(u64::from(table.sector_bytes));
                (partition_name(kernel_name, partition.number), offset)
            })
            .collect(),
        Err(GptError::Read { what, source }) => {
            return about(kernel_name, &Outcome::Unreadable(format!("cannot read {what}: {source}")));
        }
        Err(_) => vec![(kernel_name.to_owned(), 0)],
    };
    let mut readings = Vec::new();
    for (name, offset) in places {
        let outcome = match disk.read(offset, HEAD_BYTES) {
            Ok(head) => match head.get(SUPERBLOCK_OFFSET..).and_then(parse) {
                Some(found) => Outcome::Value(mounted_view(found, &name, source)),
                None if head.starts_with(XFS_MAGIC) => {
                    let is_mounted = source.path(&format!("sys/fs/xfs/{name}")).exists();
                    xfs_state(disk, offset, is_mounted)
                }
                None if signatures(&head).iter().any(|name| OTHERS.contains(name)) => Outcome::Absent,
                None => continue,
            },
            Err(error) => Outcome::Unreadable(error.to_string()),
        };
        readings.extend(about(&name, &outcome));
    }
    readings
}

/// What XFS says of itself. It counts no errors: one is said of a file system that was never finished or
/// asks for a repair. One that makes no sense here says nothing (a member of a RAID begins like a whole
/// one); whoever needs it finds out by mounting it.
fn xfs_state(disk: &RawDisk, offset: u64, is_mounted: bool) -> Outcome<Superblock> {
    let length = ReadAt::size_bytes(disk).saturating_sub(offset);
    let looked = Part::new(disk, offset, length)
        .map_err(|source| XfsError::Read { offset, length_bytes: 0, source })
        .and_then(|part| {
            let found = Xfs::look(part)?;
            // The log of a mounted file system is in use, which is no damage.
            let needs_recovery = !is_mounted && !found.is_log_clean()?;
            let is_broken = found.superblock().is_in_progress || found.superblock().needs_repair;
            Ok(Superblock { errors: is_broken.into(), needs_recovery, unclean: false })
        });
    match looked {
        Ok(found) => Outcome::Value(found),
        Err(error @ XfsError::Read { .. }) => Outcome::Unreadable(error.to_string()),
        Err(_) => Outcome::Absent,
    }
}

/// A mounted file system's journal is in use, which is not damage, nor is that it is not unmounted; its
/// error count is in sysfs.
fn mounted_view(found: Superblock, name: &str, source: &Source) -> Superblock {
    match source::number(&source.path(&format!("sys/fs/ext4/{name}/errors_count"))) {
        Outcome::Value(errors) => {
            let live = u32::try_from(errors).unwrap_or(u32::MAX);
            Superblock { errors: found.errors.max(live), needs_recovery: false, unclean: false }
        }
        Outcome::Absent | Outcome::Unreadable(_) => found,
    }
}

fn about(name: &str, outcome: &Outcome<Superblock>) -> Vec<(Subject, ReadingKey, Outcome<ReadingValue>)> {
    let subject = Subject::FileSystem(name.to_owned());
    let errors =
        outcome.clone().map(|found| ReadingValue::Count(u64::from(found.errors.max(found.unclean.into()))));
    let recovery = outcome.clone().map(|found| ReadingValue::Flag(found.needs_recovery));
    vec![
        (subject.clone(), ReadingKey::FileSystemErrors, errors),
        (subject, ReadingKey::FileSystemNeedsRecovery, recovery),
    ]
}

/// The kernel's name of a partition: a `p` stands between a disk name that ends in a digit and the number.
#[must_use]
pub fn partition_name(disk: &str, number: u32) -> String {
    let separator = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{separator}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};
    use std::os::unix::fs::FileExt;

    fn superblock(errors: u32, incompat: u32) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[56..58].copy_from_slice(&[0x53, 0xef]);
        bytes[58] = 1;
        bytes[96..100].copy_from_slice(&incompat.to_le_bytes());
        bytes[404..408].copy_from_slice(&errors.to_le_bytes());
        bytes
    }

    #[test]
    fn errors_and_recovery_are_read() {
        let expected = Superblock { errors: 3, needs_recovery: true, unclean: false };
        assert_eq!(parse(&superblock(3, 0x2c6)), Some(expected));
        assert_eq!(parse(&superblock(0, 0x2c2)).map(|found| found.needs_recovery), Some(false));
        assert_eq!(parse(&[0; 1024]), None);
    }

    #[test]
    fn the_state_counts_where_no_error_was_counted() {
        let with_state = |state: u8, compat: u8| {
            let mut bytes = superblock(0, 0x2c2);
            (bytes[58], bytes[92]) = (state, compat);
            parse(&bytes).map(|found| (found.errors, found.unclean))
        };
        assert_eq!(with_state(1, 0x3c), Some((0, false)));
        assert_eq!(with_state(2 | 1, 0x3c), Some((1, false)));
        assert_eq!(with_state(0, 0x3c), Some((0, false)), "the journal brings it in order");
        assert_eq!(with_state(0, 0x38), Some((0, true)));
        let root = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        let mut unclean = superblock(0, 0x2c2);
        unclean[58] = 0;
        file.as_file().write_all_at(&unclean, 1024).unwrap();
        let disk = RawDisk::open(file.path(), 8 << 20).unwrap();
        let found = read(&disk, "vda", &Source::recorded(root.path()));
        assert_eq!(found[0].2, Outcome::Value(ReadingValue::Count(1)));
    }

    #[test]
    fn a_mounted_file_system_is_seen_through_sysfs() {
        let root = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        file.as_file().write_all_at(&superblock(1, 0x4), 1024).unwrap();
        let disk = RawDisk::open(file.path(), 8 << 20).unwrap();
        let source = Source::recorded(root.path());
        let unmounted = read(&disk, "vda", &source);
        assert_eq!(unmounted[1].2, Outcome::Value(ReadingValue::Flag(true)));
        std::fs::create_dir_all(root.path().join("sys/fs/ext4/vda")).unwrap();
        std::fs::write(root.path().join("sys/fs/ext4/vda/errors_count"), "5\n").unwrap();
        let mounted = read(&disk, "vda", &source);
        assert_eq!(mounted[0].2, Outcome::Value(ReadingValue::Count(5)));
        assert_eq!(mounted[1].2, Outcome::Value(ReadingValue::Flag(false)));
    }

    #[test]
    fn xfs_says_whether_it_was_finished_needs_a_repair_and_has_a_clean_log() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("xfs");
        std::fs::File::create(&file).unwrap().set_len(16 << 20).unwrap();
        // Without these mkfs.xfs makes none of less than 300 MB.
        let small = ["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"].map(|name| (name, "1"));
        let made = std::process::Command::new("mkfs.xfs").envs(small).args(["-q", "-f"]).arg(&file).status();
        assert!(made.expect("mkfs.xfs (package xfsprogs) runs").success());
        let whole = std::fs::read(&file).unwrap();
        let source = Source::recorded(folder.path());
        let seen = |at: usize, value: u8| {
            let mut changed = whole.clone();
            changed[at] = value;
            std::fs::write(&file, changed).unwrap();
            let disk = RawDisk::open(&file, 16 << 20).unwrap();
            let found = read(&disk, "vda", &source);
            (found[0].2.clone(), found[1].2.clone())
        };
        let said = |errors, recovery| {
            (Outcome::Value(ReadingValue::Count(errors)), Outcome::Value(ReadingValue::Flag(recovery)))
        };
        assert_eq!(seen(0, b'X'), said(0, false));
        assert_eq!(seen(126, 1), said(1, false));
        assert_eq!(seen(219, whole[219] | 0x10), said(1, false));
        // The log's first record is no longer about an unmount.
        let log = whole.windows(4).position(|bytes| bytes == [0xfe, 0xed, 0xba, 0xbe]).unwrap();
        assert_eq!(seen(log + 43, 2), said(0, true));
        assert_eq!(seen(101, 0xb4), (Outcome::Absent, Outcome::Absent), "an older version says nothing");
        std::fs::create_dir_all(folder.path().join("sys/fs/xfs/vda")).unwrap();
        assert_eq!(seen(log + 43, 2), said(0, false), "in use");
    }

    #[test]
    fn partitions_are_named_as_the_kernel_does() {
        assert_eq!(partition_name("sda", 1), "sda1");
        assert_eq!(partition_name("nvme0n1", 2), "nvme0n1p2");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..1100)) {
            let _ = parse(&bytes);
        }
    }
}
