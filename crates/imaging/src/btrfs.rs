//! A small reader of btrfs inside images, on one device.
//!
//! Layout: btrfs documentation, "On-disk Format", and `include/uapi/linux/btrfs_tree.h` of the kernel.
//! All numbers are little-endian. Nothing is believed before it has been checked against the size of the
//! medium; every loop is bounded; what is not known is refused by name.
//!
//! Addresses inside of the file system are logical; the tree of chunks says where they lie. A file need
//! not lie on the medium as it is read: small ones stand in the tree, others are compressed.

mod chunks;
mod content;
mod inode;
mod listed;
mod lzo;
mod subvolume;
mod superblock;
mod tree;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::source::ReadAt;

pub use inode::Inode;
pub use lzo::unpack_lzo;
pub use superblock::{SUPERBLOCK_OFFSET, Superblock};

use chunks::Chunk;
use tree::TreeRoot;

/// Why a file system could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BtrfsError {
    /// It is not btrfs.
    #[error("there is no btrfs file system")]
    NotBtrfs,
    /// It has something that is not read here.
    #[error("the btrfs file system has {what}, which is not supported; {hint}")]
    Unsupported {
        /// What it has.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// It was not unmounted cleanly: its log holds changes that are not yet in place.
    #[error(
        "the btrfs file system was not unmounted cleanly; mount and unmount it once and import the image again"
    )]
    NeedsRecovery,
    /// It contradicts itself or the size of its partition.
    #[error("the btrfs file system is damaged: {what}; run btrfs check on it or make the image again")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The medium could not be read, or what was read could not be kept.
    #[error("could not read {length_bytes} bytes at {offset} of the btrfs file system")]
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

fn damaged(what: impl Into<String>) -> BtrfsError {
    BtrfsError::Damaged { what: what.into() }
}

/// Nodes of trees that are kept: the upper ones are needed again and again.
const NODES_KEPT: usize = 256;

/// A file system, opened, with the subvolume that is the root.
#[derive(Debug)]
pub struct Btrfs<S> {
    source: S,
    superblock: Superblock,
    /// Ordered by their place.
    chunks: Vec<Chunk>,
    subvolume: TreeRoot,
    subvolume_path: Option<String>,
    root_inode: u64,
    kept: RefCell<HashMap<u64, Rc<Vec<u8>>>>,
}

impl<S: ReadAt> Btrfs<S> {
    /// Opens the file system that starts with the first byte of `source`, for listing its files, and
    /// finds the subvolume that is the root.
    ///
    /// # Errors
    /// [`BtrfsError`] if there is none, or one that cannot be read here.
    pub fn open(source: S) -> Result<Self, BtrfsError> {
        let superblock = Superblock::read(&source)?;
        superblock.check_listed()?;
        let mut file_system = Self {
            chunks: Vec::new(),
            subvolume: superblock.root_tree,
            subvolume_path: None,
            root_inode: 0,
            kept: RefCell::default(),
            source,
            superblock,
        };
        file_system.read_chunks()?;
        file_system.find_root()?;
        Ok(file_system)
    }

    /// The subvolume that is the root, as `mount -o subvol=` takes it; none if it is the default one.
    #[must_use]
    pub fn subvolume(&self) -> Option<&str> {
        self.subvolume_path.as_deref()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BtrfsError> {
        read(&self.source, offset, buffer)
    }
}

fn read<S: ReadAt>(source: &S, offset: u64, buffer: &mut [u8]) -> Result<(), BtrfsError> {
    let length_bytes = buffer.len();
    source.read_at(offset, buffer).map_err(|source| BtrfsError::Read { offset, length_bytes, source })
}

// Callers pass buffers of fixed size and places inside them, or have checked both.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests;
