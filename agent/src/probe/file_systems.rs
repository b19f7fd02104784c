//! What file systems have written down about their own errors: the ext4 superblock, raw.
//!
//! Layout: the kernel's `Documentation/filesystems/ext4/super.rst`.

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use imaging::gpt::{Gpt, GptError};

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

/// What an ext2, ext3 or ext4 superblock says.
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
const OTHERS: [&str; 4] = ["xfs", "btrfs", "vfat", "ntfs"];

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
                None if signatures(&head).iter().any(|name| OTHERS.contains(name)) => Outcome::Absent,
                None => continue,
            },
            Err(error) => Outcome::Unreadable(error.to_string()),
        };
        readings.extend(about(&name, &outcome));
    }
    readings
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
