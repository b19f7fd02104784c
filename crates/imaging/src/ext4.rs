//! A small reader of ext4 file systems inside images: directories, owners, and the byte ranges in
//! which files lie.
//!
//! Own code, because what an import needs most, the extents of a file, no crate gives; because an
//! image comes from outside, and `ext4-view` divides by what the superblock says; and because it takes
//! blocks that were never written for content (0.9.3). Tests compare the rest with what it reads.
//!
//! Layout: kernel documentation, "ext4 Data Structures and Algorithms". Nothing is believed before it
//! has been checked against the size of the medium; every loop is bounded.

mod attributes;
mod directory;
mod extent_tree;
mod listed;

use crate::file_system::InodeKind;
use crate::source::ReadAt;

pub use directory::DirectoryEntry;
pub use extent_tree::BlockRun;

/// The inode of the root directory.
pub const ROOT_INODE: u32 = 2;

const SUPERBLOCK_OFFSET: u64 = 1024;
const MAGIC: u16 = 0xef53;
const INODE_CORE_BYTES: usize = 128;

// Incompatible features (kernel documentation, "Super Block", s_feature_incompat).
const FEATURE_FILE_TYPE: u32 = 0x2;
const FEATURE_RECOVER: u32 = 0x4;
const FEATURE_64BIT: u32 = 0x80;
/// `filetype`, `extents`, `64bit`, `mmp`, `flex_bg`, `ea_inode`, `csum_seed`, `largedir`, `encrypt`:
/// those that change nothing in what is read here, or that each inode shows.
const FEATURES_KNOWN: u32 = 0x2 | 0x40 | FEATURE_64BIT | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x10000;

// Flags of an inode (kernel documentation, "Index Nodes", i_flags).
const INODE_ENCRYPTED: u32 = 0x800;
const INODE_EXTENTS: u32 = 0x8_0000;
const INODE_INLINE_DATA: u32 = 0x1000_0000;

/// Why a file system could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Ext4Error {
    /// It is not ext4.
    #[error("there is no ext4 file system")]
    NotExt4,
    /// It has something that is not read here.
    #[error("the ext4 file system has {what}, which is not supported; {hint}")]
    Unsupported {
        /// What it has.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// It was not unmounted cleanly.
    #[error("the ext4 file system was not unmounted cleanly; run e2fsck -f on it and import the image again")]
    NeedsRecovery,
    /// It contradicts itself or the size of its partition.
    #[error("the ext4 file system is damaged: {what}; run e2fsck -f on it or make the image again")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The medium could not be read.
    #[error("could not read {length_bytes} bytes at {offset} of the ext4 file system")]
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

fn damaged(what: impl Into<String>) -> Ext4Error {
    Ext4Error::Damaged { what: what.into() }
}

/// One inode.
#[derive(Debug, Clone)]
pub struct Inode {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: InodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size of its content in bytes.
    pub size_bytes: u64,
    flags: u32,
    block: [u8; 60],
    /// What stands behind its fields, up to the end of its place in the table.
    extra: Vec<u8>,
    /// The block with its attributes; 0 if it has none.
    attribute_block: u64,
}

/// A file system, opened.
#[derive(Debug)]
pub struct Ext4<S> {
    source: S,
    block_bytes: u64,
    block_count: u64,
    inode_bytes: u64,
    inode_count: u32,
    inodes_per_group: u32,
    group_count: u64,
    descriptor_bytes: u64,
    descriptors_offset: u64,
    wide: bool,
}

impl<S: ReadAt> Ext4<S> {
    /// Opens the file system that starts with the first byte of `source`.
    ///
    /// # Errors
    /// [`Ext4Error`] if there is none, or one that cannot be read here.
    pub fn open(source: S) -> Result<Self, Ext4Error> {
        let mut superblock = [0; 1024];
        if source.size_bytes() < SUPERBLOCK_OFFSET + 1024 {
            return Err(Ext4Error::NotExt4);
        }
        read(&source, SUPERBLOCK_OFFSET, &mut superblock)?;
        if u16_at(&superblock, 0x38) != MAGIC {
            return Err(Ext4Error::NotExt4);
        }
        let features = u32_at(&superblock, 0x60);
        check_features(features)?;
        let log_block = u32_at(&superblock, 0x18);
        if log_block > 5 {
            return Err(damaged(format!("its blocks have 2^{log_block} KiB")));
        }
        let block_bytes = 1024_u64 << log_block;
        let wide = features & FEATURE_64BIT != 0;
        let block_count = u64::from(u32_at(&superblock, 4))
            | if wide { u64::from(u32_at(&superblock, 0x150)) << 32 } else { 0 };
        let first_data_block = u64::from(u32_at(&superblock, 0x14));
        let blocks_per_group = u64::from(u32_at(&superblock, 0x20));
        let descriptor_bytes = if wide { u64::from(u16_at(&superblock, 0xfe)) } else { 32 };
        let fits = block_count.checked_mul(block_bytes).is_some_and(|bytes| bytes <= source.size_bytes());
        if !fits {
            return Err(damaged("it is larger than its partition: the image is cut off"));
        }
        let file_system = Self {
            block_bytes,
            block_count,
            inode_bytes: u64::from(u16_at(&superblock, 0x58)),
            inode_count: u32_at(&superblock, 0),
            inodes_per_group: u32_at(&superblock, 0x28),
            group_count: block_count.saturating_sub(first_data_block).div_ceil(blocks_per_group.max(1)),
            descriptor_bytes,
            descriptors_offset: first_data_block.saturating_add(1).saturating_mul(block_bytes),
            wide,
            source,
        };
        let sound = blocks_per_group > 0
            && first_data_block < block_count
            && file_system.inodes_per_group > 0
            && (INODE_CORE_BYTES as u64..=block_bytes).contains(&file_system.inode_bytes)
            && (if wide { 64 } else { 32 }..=1024).contains(&descriptor_bytes);
        if sound { Ok(file_system) } else { Err(damaged("its superblock makes no sense")) }
    }

    /// The inode with this number.
    ///
    /// # Errors
    /// [`Ext4Error`] if there is none, or it cannot be read.
    pub fn inode(&self, number: u32) -> Result<Inode, Ext4Error> {
        let outside = || damaged(format!("there is no inode {number}"));
        let index = number.checked_sub(1).filter(|_| number <= self.inode_count).ok_or_else(outside)?;
        let group = u64::from(index / self.inodes_per_group);
        if group >= self.group_count {
            return Err(outside());
        }
        let mut descriptor = [0; 64];
        let length = if self.wide { 64 } else { 32 };
        let at = self.descriptors_offset.saturating_add(group * self.descriptor_bytes);
        self.read(at, &mut descriptor[..length])?;
        let table_block = u64::from(u32_at(&descriptor, 8)) | u64::from(u32_at(&descriptor, 0x28)) << 32;
        let table = table_block.checked_mul(self.block_bytes).ok_or_else(outside)?;
        let within = u64::from(index % self.inodes_per_group) * self.inode_bytes;
        let mut whole = vec![0; usize::try_from(self.inode_bytes).unwrap_or(INODE_CORE_BYTES)];
        self.read(table.checked_add(within).ok_or_else(outside)?, &mut whole)?;
        let (core, behind) = whole.split_first_chunk().ok_or_else(outside)?;
        parse_inode(number, core, behind)
    }

    /// Where the content of a file lies, as byte ranges of the file system: (offset in the file,
    /// offset in the file system, length). Ordered; what is not covered is zeros.
    ///
    /// # Errors
    /// [`Ext4Error`] if the content is stored in a way that has no such ranges, or the tree is damaged.
    pub fn byte_runs(&self, inode: &Inode) -> Result<Vec<(u64, u64, u64)>, Ext4Error> {
        let in_bytes = |run: BlockRun| {
            let file_offset = run.logical * self.block_bytes;
            let rest = inode.size_bytes.checked_sub(file_offset).filter(|rest| *rest > 0)?;
            Some((file_offset, run.physical * self.block_bytes, (run.count * self.block_bytes).min(rest)))
        };
        Ok(self.block_runs(inode)?.into_iter().filter_map(in_bytes).collect())
    }

    /// The target of a symbolic link, as bytes.
    ///
    /// # Errors
    /// [`Ext4Error`] if it is not one, or it cannot be read.
    pub fn symlink_target(&self, inode: &Inode) -> Result<Vec<u8>, Ext4Error> {
        let bad = || damaged(format!("inode {} is not a sound symbolic link", inode.number));
        let length = usize::try_from(inode.size_bytes).ok().filter(|length| (1..4096).contains(length));
        let length = length.filter(|_| inode.kind == InodeKind::Symlink).ok_or_else(bad)?;
        // Targets shorter than the 60 bytes of i_block stand there.
        if let Some(target) = inode.block.get(..length).filter(|_| length < 60) {
            return Ok(target.to_vec());
        }
        let mut target = vec![0; length];
        match self.byte_runs(inode)?.as_slice() {
            [(0, offset, found)] if *found == inode.size_bytes => self.read(*offset, &mut target)?,
            _ => return Err(bad()),
        }
        Ok(target)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Ext4Error> {
        read(&self.source, offset, buffer)
    }
}

fn read<S: ReadAt>(source: &S, offset: u64, buffer: &mut [u8]) -> Result<(), Ext4Error> {
    let length_bytes = buffer.len();
    source.read_at(offset, buffer).map_err(|source| Ext4Error::Read { offset, length_bytes, source })
}

fn check_features(features: u32) -> Result<(), Ext4Error> {
    if features & FEATURE_RECOVER != 0 {
        return Err(Ext4Error::NeedsRecovery);
    }
    let unknown = features & !FEATURES_KNOWN;
    let hint = "make the image with the usual features of mkfs.ext4";
    if unknown != 0 {
        return Err(Ext4Error::Unsupported { what: format!("the features {unknown:#x}"), hint });
    }
    if features & FEATURE_FILE_TYPE == 0 {
        return Err(Ext4Error::Unsupported { what: "no file types in its directories".to_owned(), hint });
    }
    Ok(())
}

fn parse_inode(number: u32, core: &[u8; INODE_CORE_BYTES], behind: &[u8]) -> Result<Inode, Ext4Error> {
    let mode = u32::from(u16_at(core, 0));
    let kind =
        InodeKind::of_mode(mode).ok_or_else(|| damaged(format!("inode {number} has no known type")))?;
    let mut block = [0; 60];
    block.copy_from_slice(&core[0x28..0x64]);
    // i_extra_isize says how many more bytes of fields there are; attributes stand behind them.
    let fields = behind.first_chunk::<2>().map_or(0, |length| usize::from(u16::from_le_bytes(*length)));
    let extra = behind
        .get(fields..)
        .ok_or_else(|| damaged(format!("inode {number} has more fields than there is room for")))?;
    Ok(Inode {
        number,
        kind,
        mode: mode & 0o7777,
        uid: u32::from(u16_at(core, 0x2)) | u32::from(u16_at(core, 0x78)) << 16,
        gid: u32::from(u16_at(core, 0x18)) | u32::from(u16_at(core, 0x7a)) << 16,
        size_bytes: u64::from(u32_at(core, 0x4)) | u64::from(u32_at(core, 0x6c)) << 32,
        flags: u32_at(core, 0x20),
        block,
        extra: extra.to_vec(),
        attribute_block: u64::from(u32_at(core, 0x68)) | u64::from(u16_at(core, 0x76)) << 32,
    })
}

// Callers pass buffers of fixed size and places inside them, or have checked both.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
