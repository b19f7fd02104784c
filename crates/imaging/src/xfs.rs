//! A small reader of XFS file systems inside images: directories, owners, attributes, and the byte
//! ranges in which files lie.
//!
//! Layout: "XFS Algorithms & Data Structures" (3rd edition, xfs-documentation) and, for what is newer,
//! `fs/xfs/libxfs/xfs_format.h` of the kernel. Only version 5 (with metadata checksums, the default
//! since 2015) is read. All numbers are big-endian. Nothing is believed before it has been checked
//! against the size of the medium; every loop is bounded. What is not known is refused by name.

mod attributes;
mod btree;
mod directory;
mod inode;
mod listed;
mod log;
mod superblock;
mod symlink;

use crate::source::ReadAt;

pub use inode::Inode;
pub use superblock::{SUPERBLOCK_BYTES, Superblock};

/// Why a file system could not be read.
#[derive(Debug, thiserror::Error)]
pub enum XfsError {
    /// It is not XFS.
    #[error("there is no XFS file system")]
    NotXfs,
    /// It has something that is not read here.
    #[error("the XFS file system has {what}, which is not supported; {hint}")]
    Unsupported {
        /// What it has.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// It was not unmounted cleanly: its log holds changes that are not yet in place.
    #[error(
        "the XFS file system was not unmounted cleanly; mount and unmount it once and import the image again"
    )]
    NeedsRecovery,
    /// It contradicts itself or the size of its partition.
    #[error("the XFS file system is damaged: {what}; run xfs_repair on it or make the image again")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The medium could not be read.
    #[error("could not read {length_bytes} bytes at {offset} of the XFS file system")]
    Read {
        /// Where, in bytes from the start of the file system.
        offset: u64,
        /// How many bytes.
        length_bytes: usize,
        /// What the medium said.
        #[source]
        source: std::io::Error,
    },
}

fn damaged(what: impl Into<String>) -> XfsError {
    XfsError::Damaged { what: what.into() }
}

/// A file system, opened.
#[derive(Debug)]
pub struct Xfs<S> {
    source: S,
    superblock: Superblock,
}

/// Consecutive blocks of a file that are consecutive on the medium too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BlockRun {
    /// First block in the file.
    logical: u64,
    /// First block in the file system, counted through all allocation groups.
    physical: u64,
    /// How many blocks.
    count: u64,
}

impl<S: ReadAt> Xfs<S> {
    /// Opens the file system that starts with the first byte of `source`, for listing its files.
    ///
    /// # Errors
    /// [`XfsError`] if there is none, or one that cannot be read here.
    pub fn open(source: S) -> Result<Self, XfsError> {
        let file_system = Self::look(source)?;
        file_system.superblock.check_listed()?;
        if !file_system.is_log_clean()? {
            return Err(XfsError::NeedsRecovery);
        }
        Ok(file_system)
    }

    /// Opens it for a look at what it says of its own state, whatever that is.
    ///
    /// # Errors
    /// [`XfsError`] if there is none, or its superblock makes no sense.
    pub fn look(source: S) -> Result<Self, XfsError> {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        if source.size_bytes() < bytes.len() as u64 {
            return Err(XfsError::NotXfs);
        }
        read(&source, 0, &mut bytes)?;
        let superblock = Superblock::parse(&bytes)?;
        if superblock.length_bytes() > source.size_bytes() {
            return Err(damaged("it is larger than its partition: the image is cut off"));
        }
        Ok(Self { source, superblock })
    }

    /// What its superblock says.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), XfsError> {
        read(&self.source, offset, buffer)
    }

    /// Reads `blocks` blocks of a file from the logical block `first` on; all of them must be there.
    fn read_mapped(&self, runs: &[BlockRun], first: u64, blocks: u64) -> Result<Vec<u8>, XfsError> {
        let block_bytes = self.superblock.block_bytes;
        let length = usize::try_from(blocks.saturating_mul(block_bytes)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        for (logical, piece) in (first..).zip(bytes.chunks_mut(self.superblock.block_length())) {
            let after = runs.partition_point(|run| run.logical <= logical);
            let run = after
                .checked_sub(1)
                .and_then(|index| runs.get(index))
                .filter(|run| logical < run.logical.saturating_add(run.count))
                .ok_or_else(|| damaged(format!("block {logical} of a list has no place")))?;
            self.read((run.physical + (logical - run.logical)) * block_bytes, piece)?;
        }
        Ok(bytes)
    }
}

fn read<S: ReadAt>(source: &S, offset: u64, buffer: &mut [u8]) -> Result<(), XfsError> {
    let length_bytes = buffer.len();
    source.read_at(offset, buffer).map_err(|source| XfsError::Read { offset, length_bytes, source })
}

// Callers pass buffers of fixed size and places inside them, or have checked both.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

#[cfg(test)]
pub(crate) mod tests;
