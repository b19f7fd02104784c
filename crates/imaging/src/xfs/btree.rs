//! Where a fork's blocks lie (XFS Algorithms & Data Structures, "Data Extents").

use super::inode::Fork;
use super::{BlockRun, Xfs, XfsError, damaged, u16_at, u32_at, u64_at};
use crate::source::ReadAt;

/// Magic of a block of the tree, `BMA3`.
const MAGIC: u32 = 0x424d_4133;
const HEADER_BYTES: usize = 72;
const ROOT_HEADER_BYTES: usize = 4;
const RECORD_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;

/// The kernel allows no more (`XFS_BM_MAXLEVELS` is about 9 in the worst case).
const DEPTH_MAX: u16 = 9;

/// Extents of one file. Images have files with a few; at 4 KiB each, these make 4 GiB.
const EXTENTS_MAX: u64 = 1_000_000;

/// Blocks of one tree: that many extents need far fewer.
const BLOCKS_MAX: u32 = 100_000;

impl<S: ReadAt> Xfs<S> {
    /// The written blocks of a fork, ordered, joined where they touch. Blocks that were allocated and
    /// never written read as zeros, so they are left out.
    pub(super) fn block_runs(&self, number: u64, fork: &Fork) -> Result<Vec<BlockRun>, XfsError> {
        let mut walk =
            Walk { file_system: self, inode: number, runs: Vec::new(), next: 0, extents: 0, blocks: 0 };
        match fork {
            Fork::Nothing => {}
            Fork::Local(_) => return Err(walk.damaged("are in the inode, where they cannot be")),
            Fork::Extents(area, count) => {
                let length = usize::try_from(*count).ok().and_then(|count| count.checked_mul(RECORD_BYTES));
                let records = length.and_then(|length| area.get(..length));
                walk.records(records.ok_or_else(|| walk.damaged("do not fit into it"))?)?;
            }
            Fork::Tree(area) => {
                let room = area.len().saturating_sub(ROOT_HEADER_BYTES) / RECORD_BYTES;
                let head = area.get(..ROOT_HEADER_BYTES).ok_or_else(|| walk.damaged("have no root"))?;
                let depth = u16_at(head, 0);
                if !(1..=DEPTH_MAX).contains(&depth) {
                    return Err(walk.damaged("are in a tree of a depth that there is not"));
                }
                walk.children(&area[ROOT_HEADER_BYTES..], (u16_at(head, 2), room), depth)?;
            }
        }
        Ok(walk.runs)
    }
}

struct Walk<'a, S> {
    file_system: &'a Xfs<S>,
    inode: u64,
    runs: Vec<BlockRun>,
    /// The first logical block that the next extent may have.
    next: u64,
    extents: u64,
    blocks: u32,
}

impl<S: ReadAt> Walk<'_, S> {
    fn damaged(&self, what: &str) -> XfsError {
        damaged(format!("the extents of inode {} {what}", self.inode))
    }

    /// What a node points to. `area` begins behind its header and has room for `room` keys and then
    /// `room` addresses; `depth` goes down by one with every level, so this ends.
    fn children(&mut self, area: &[u8], (count, room): (u16, usize), depth: u16) -> Result<(), XfsError> {
        let count = usize::from(count);
        let from = room * ADDRESS_BYTES;
        let addresses = area.get(from..from.saturating_add(count * ADDRESS_BYTES));
        let addresses = addresses.filter(|_| (1..=room).contains(&count));
        for address in
            addresses.ok_or_else(|| self.damaged("have a node that makes no sense"))?.chunks_exact(8)
        {
            self.block(u64_at(address, 0), depth - 1)?;
        }
        Ok(())
    }

    fn block(&mut self, number: u64, depth: u16) -> Result<(), XfsError> {
        self.blocks += 1;
        let superblock = &self.file_system.superblock;
        let place = superblock.place(number, 1).filter(|_| self.blocks <= BLOCKS_MAX);
        let place =
            place.ok_or_else(|| self.damaged("point outside of the file system, or go in circles"))?;
        let mut block = vec![0; superblock.block_length()];
        self.file_system.read(place * superblock.block_bytes, &mut block)?;
        let room = (block.len() - HEADER_BYTES) / RECORD_BYTES;
        let count = u16_at(&block, 6);
        let sound = u32_at(&block, 0) == MAGIC
            && u16_at(&block, 4) == depth
            && u64_at(&block, 56) == self.inode
            && (1..=room).contains(&usize::from(count));
        if !sound {
            return Err(self.damaged("have a block that makes no sense"));
        }
        let content = &block[HEADER_BYTES..];
        if depth == 0 {
            self.records(&content[..usize::from(count) * RECORD_BYTES])
        } else {
            self.children(content, (count, room), depth)
        }
    }

    fn records(&mut self, records: &[u8]) -> Result<(), XfsError> {
        records
            .chunks_exact(RECORD_BYTES)
            .try_for_each(|record| self.record(u64_at(record, 0), u64_at(record, 8)))
    }

    /// One extent: a flag, 54 bits of place in the file, 52 bits of place on the medium, 21 bits of
    /// length (`xfs_bmbt_rec`).
    fn record(&mut self, high: u64, low: u64) -> Result<(), XfsError> {
        let is_written = high >> 63 == 0;
        let logical = (high & ((1 << 63) - 1)) >> 9;
        let block = (high & 0x1ff) << 43 | low >> 21;
        let count = low & ((1 << 21) - 1);
        self.extents += 1;
        if logical < self.next || self.extents > EXTENTS_MAX {
            return Err(self.damaged("are not in order, or too many"));
        }
        let place = self.file_system.superblock.place(block, count);
        let physical = place.ok_or_else(|| self.damaged("lie outside of the file system"))?;
        self.next = logical + count;
        match self.runs.last_mut() {
            _ if !is_written => {}
            Some(last) if last.logical + last.count == logical && last.physical + last.count == physical => {
                last.count += count;
            }
            _ => self.runs.push(BlockRun { logical, physical, count }),
        }
        Ok(())
    }
}
