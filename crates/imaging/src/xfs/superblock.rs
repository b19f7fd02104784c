//! What the superblock says (XFS Algorithms & Data Structures, "Superblocks"; `struct xfs_dsb`).

use super::{XfsError, damaged, u16_at, u32_at, u64_at};

/// How much of the file system's start is read for it.
pub const SUPERBLOCK_BYTES: usize = 512;

const MAGIC: &[u8] = b"XFSB";

// Incompatible features (`XFS_SB_FEAT_INCOMPAT_*`).
const FILE_TYPE: u32 = 0x1;
const NEEDS_REPAIR: u32 = 0x10;
/// `ftype`, sparse inodes, a metadata UUID of its own, `bigtime`, `nrext64`, exchange of ranges, parent
/// pointers: those that change nothing in what is read here, or that are read.
const KNOWN: u32 = FILE_TYPE | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80;

/// What a superblock of version 5 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// It is being made or grown, or that was never finished.
    pub is_in_progress: bool,
    /// `xfs_repair` has to look at it before it is used.
    pub needs_repair: bool,
    pub(super) block_bytes: u64,
    pub(super) block_count: u64,
    pub(super) group_blocks: u64,
    pub(super) group_count: u64,
    pub(super) group_block_bits: u32,
    pub(super) inode_bytes: usize,
    pub(super) inodes_per_block_bits: u32,
    pub(super) directory_block_count: u64,
    pub(super) root_inode: u64,
    /// First block of the log; none if it is on a device of its own.
    pub(super) log_block: Option<u64>,
    pub(super) log_block_count: u64,
    features_incompatible: u32,
}

impl Superblock {
    /// Reads it; everything that later code relies on is checked here.
    pub(super) fn parse(bytes: &[u8; SUPERBLOCK_BYTES]) -> Result<Self, XfsError> {
        if !bytes.starts_with(MAGIC) {
            return Err(XfsError::NotXfs);
        }
        let version = u16_at(bytes, 100) & 0xf;
        if version != 5 {
            let what = format!("version {version} of the format");
            return Err(XfsError::Unsupported { what, hint: "make the image with mkfs.xfs -m crc=1" });
        }
        let features_incompatible = u32_at(bytes, 216);
        let [block_bits, _, inode_bits, inode_in_block_bits, group_block_bits] =
            [120, 121, 122, 123, 124].map(|at| u32::from(bytes[at]));
        let directory_bits = u32::from(bytes[192]);
        let shifts_fit = (9..=16).contains(&block_bits)
            && (9..=11).contains(&inode_bits)
            && inode_bits <= block_bits
            && inode_in_block_bits == block_bits - inode_bits
            && (1..32).contains(&group_block_bits)
            && block_bits + directory_bits <= 16;
        if !shifts_fit {
            return Err(damaged("its superblock makes no sense"));
        }
        let mut superblock = Self {
            is_in_progress: bytes[126] != 0,
            needs_repair: features_incompatible & NEEDS_REPAIR != 0,
            block_bytes: 1 << block_bits,
            block_count: u64_at(bytes, 8),
            group_blocks: u32_at(bytes, 84).into(),
            group_count: u32_at(bytes, 88).into(),
            group_block_bits,
            inode_bytes: 1 << inode_bits,
            inodes_per_block_bits: inode_in_block_bits,
            directory_block_count: 1 << directory_bits,
            root_inode: u64_at(bytes, 56),
            log_block: None,
            log_block_count: u32_at(bytes, 96).into(),
            features_incompatible,
        };
        let agrees = u64::from(u32_at(bytes, 4)) == superblock.block_bytes
            && usize::from(u16_at(bytes, 104)) == superblock.inode_bytes
            && superblock.is_consistent();
        if !agrees {
            return Err(damaged("its superblock contradicts itself"));
        }
        let log_start = u64_at(bytes, 48);
        if log_start != 0 {
            let log = superblock.place(log_start, superblock.log_block_count);
            superblock.log_block = Some(log.ok_or_else(|| damaged("its log lies outside of it"))?);
        }
        Ok(superblock)
    }

    fn is_consistent(&self) -> bool {
        let groups_before_last = self.group_count.saturating_sub(1).saturating_mul(self.group_blocks);
        let all_groups = self.group_count.saturating_mul(self.group_blocks);
        (1..=1 << self.group_block_bits).contains(&self.group_blocks)
            && self.group_count > 0
            && (groups_before_last + 1..=all_groups).contains(&self.block_count)
            && self.block_count.checked_mul(self.block_bytes).is_some()
    }

    /// Whether its files can be listed.
    pub(super) fn check_listed(&self) -> Result<(), XfsError> {
        if self.is_in_progress {
            return Err(damaged("it was never finished"));
        }
        if self.needs_repair {
            return Err(damaged("it says that it needs a repair"));
        }
        let unsupported = |what: String, hint: &'static str| Err(XfsError::Unsupported { what, hint });
        let unknown = self.features_incompatible & !KNOWN;
        if unknown != 0 {
            let hint = "make the image with the usual features of mkfs.xfs";
            return unsupported(format!("the features {unknown:#x}"), hint);
        }
        if self.features_incompatible & FILE_TYPE == 0 {
            let hint = "make the image with mkfs.xfs -n ftype=1";
            return unsupported("no file types in its directories".to_owned(), hint);
        }
        if self.log_block.is_none() {
            let hint = "make the image with the log inside of the file system";
            return unsupported("its log on another device".to_owned(), hint);
        }
        Ok(())
    }

    /// How long its blocks are, in bytes; never none.
    #[must_use]
    pub fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        self.block_count.saturating_mul(self.block_bytes)
    }

    pub(super) fn block_length(&self) -> usize {
        usize::try_from(self.block_bytes).unwrap_or(usize::MAX)
    }

    /// Turns the number of a block, which has its group in its upper bits, into its place counted
    /// through all groups; none unless `count` blocks from there on lie in one group.
    pub(super) fn place(&self, block: u64, count: u64) -> Option<u64> {
        let group = block >> self.group_block_bits;
        let within = block & ((1 << self.group_block_bits) - 1);
        let fits = group < self.group_count
            && count > 0
            && within.checked_add(count).is_some_and(|end| end <= self.group_blocks);
        let place = group.checked_mul(self.group_blocks)?.checked_add(within).filter(|_| fits)?;
        place.checked_add(count).filter(|end| *end <= self.block_count).map(|_| place)
    }

    /// Where an inode stands, in bytes; none if there is no such place.
    pub(super) fn inode_offset(&self, number: u64) -> Option<u64> {
        let block = self.place(number >> self.inodes_per_block_bits, 1)?;
        let within = number & ((1 << self.inodes_per_block_bits) - 1);
        Some(block * self.block_bytes + within * self.inode_bytes as u64)
    }
}
