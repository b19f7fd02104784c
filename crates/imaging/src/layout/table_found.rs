//! The partition table that a disk has, whichever of its two copies can be read.

use crate::gpt::{Gpt, GptError};
use crate::source::ReadAt;

/// Why it cannot be told which partitions a disk has.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The medium could not be read.
    #[error("could not read {what}")]
    Read {
        /// What was being read.
        what: &'static str,
        /// What the medium said.
        source: std::io::Error,
    },
    /// There is a table of the old kind.
    #[error("the disk has an MBR partition table, whose partitions cannot be kept beside an image")]
    Mbr,
    /// Neither copy is whole, and there is something.
    #[error("neither copy of its partition table is whole: the first: {primary}; the backup: {backup}")]
    Damaged {
        /// What is wrong with the primary table.
        primary: GptError,
        /// What is wrong with the backup.
        backup: GptError,
    },
}

/// The partition table of a disk: the primary one, or the backup where that cannot be read. None only
/// if there is nothing where tables stand: no copy of a GUID partition table and no MBR with partitions.
/// A file system without a table is no partition.
///
/// # Errors
/// [`TableError`] if there is something that cannot be read as a table.
pub fn read_table<S: ReadAt + ?Sized>(disk: &S) -> Result<Option<Gpt>, TableError> {
    let primary = match Gpt::read(disk) {
        Ok(table) => return Ok(Some(table)),
        Err(GptError::Read { what, source }) => return Err(TableError::Read { what, source }),
        Err(error) => error,
    };
    match (primary, Gpt::read_backup(disk)) {
        (_, Ok(table)) => Ok(Some(table)),
        (_, Err(GptError::Read { what, source })) => Err(TableError::Read { what, source }),
        (GptError::None, Err(GptError::None)) => match mbr(disk)? {
            Mbr::None => Ok(None),
            Mbr::Protective => Err(TableError::Damaged { primary: GptError::None, backup: GptError::None }),
            Mbr::Partitions => Err(TableError::Mbr),
        },
        (primary, Err(backup)) => Err(TableError::Damaged { primary, backup }),
    }
}

/// What the first sector says of partitions.
enum Mbr {
    None,
    /// There should be a GUID partition table.
    Protective,
    Partitions,
}

fn mbr<S: ReadAt + ?Sized>(disk: &S) -> Result<Mbr, TableError> {
    let mut first = [0; 512];
    if disk.size_bytes() < 512 {
        return Ok(Mbr::None);
    }
    disk.read_at(0, &mut first).map_err(|source| TableError::Read { what: "the first sector", source })?;
    if first[510..512] != [0x55, 0xaa] {
        return Ok(Mbr::None);
    }
    let (entries, _) = first[446..510].as_chunks::<16>();
    // The same two bytes end the boot sector of a FAT or NTFS volume without partitions, whose code lies
    // where entries would: an entry begins with 00h or 80h.
    if entries.iter().any(|entry| entry[0] & 0x7f != 0) {
        return Ok(Mbr::None);
    }
    let mut kinds = entries.iter().map(|entry| entry[4]).filter(|kind| *kind != 0);
    Ok(match kinds.next() {
        None => Mbr::None,
        Some(0xee) => Mbr::Protective,
        Some(_) => Mbr::Partitions,
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::{any, proptest};

    use super::{TableError, read_table};
    use crate::layout::tests::{MIB, laid_out, written};
    use crate::manifest::tests::sample;
    use crate::source::ReadAt;

    fn installed() -> Vec<u8> {
        written(&laid_out(&sample(), 60 * MIB).unwrap())
    }

    #[test]
    fn either_copy_is_enough() {
        let disk = installed();
        let whole = read_table(&disk).unwrap().unwrap();
        assert_eq!(whole.partitions.len(), 4);
        let last = disk.len() - 512;
        for hurt in [512..1024, 512..513, 1030..1031, 0..17_408] {
            let mut changed = disk.clone();
            changed[hurt.clone()].fill(0xa5);
            assert_eq!(read_table(&changed).unwrap().unwrap(), whole, "{hurt:?}");
            changed[last + 20] ^= 1;
            assert!(matches!(read_table(&changed), Err(TableError::Damaged { .. })), "{hurt:?}");
        }
        let mut changed = disk;
        changed[last..].fill(0);
        assert_eq!(read_table(&changed).unwrap().unwrap(), whole);
    }

    #[test]
    fn nothing_is_nothing_and_something_else_is_not() {
        let mut disk = vec![0_u8; 1 << 20];
        assert!(read_table(&disk).unwrap().is_none());
        disk[1024 + 56..1024 + 58].copy_from_slice(&[0x53, 0xef]);
        assert!(read_table(&disk).unwrap().is_none(), "a file system without a table");
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert!(read_table(&disk).unwrap().is_none(), "no entries");
        disk[446 + 16 + 4] = 0x83;
        assert!(matches!(read_table(&disk), Err(TableError::Mbr)));
        disk[446 + 4] = 0xee;
        assert!(matches!(read_table(&disk), Err(TableError::Damaged { .. })));
        // Code of a FAT boot sector.
        disk[446] = 0xeb;
        assert!(read_table(&disk).unwrap().is_none());
    }

    struct Broken;

    impl ReadAt for Broken {
        fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<()> {
            Err(io::Error::other("EIO"))
        }

        fn size_bytes(&self) -> u64 {
            1 << 30
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_nothing() {
        assert!(matches!(read_table(&Broken), Err(TableError::Read { .. })));
    }

    proptest! {
        #[test]
        fn any_disk_has_a_table_or_none_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..40_000),
            cut in 0..60_000_usize,
        ) {
            let _ = read_table(&bytes);
            let disk = installed();
            let _ = read_table(&disk[..cut]);
        }
    }
}
