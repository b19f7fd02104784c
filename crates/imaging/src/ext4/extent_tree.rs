//! Where a file's blocks lie (kernel documentation, "The Contents of inode.i_block", "Extent Tree").

use super::{
    Ext4, Ext4Error, INODE_ENCRYPTED, INODE_EXTENTS, INODE_INLINE_DATA, Inode, damaged, u16_at, u32_at,
};
use crate::source::ReadAt;

const MAGIC: u16 = 0xf30a;
const ITEM_BYTES: usize = 12;
const DEPTH_MAX: u16 = 5;

/// Nodes of one file's tree. A file of 1 TiB in the smallest extents of 4 KiB needs fewer than 800,000;
/// images have files with a few.
const NODES_MAX: u32 = 100_000;

/// A length above this means that the blocks are allocated and were never written: they read as zeros.
const WRITTEN_LENGTH_MAX: u64 = 32768;

/// Consecutive blocks of a file that are consecutive on the medium too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRun {
    /// First block in the file.
    pub logical: u64,
    /// First block in the file system.
    pub physical: u64,
    /// How many blocks.
    pub count: u64,
}

impl<S: ReadAt> Ext4<S> {
    /// The written blocks of a file or directory, ordered, joined where they touch.
    ///
    /// # Errors
    /// [`Ext4Error`] if they are stored in another way, or the tree is damaged.
    pub fn block_runs(&self, inode: &Inode) -> Result<Vec<BlockRun>, Ext4Error> {
        let unsupported = |what: &str, hint| {
            Err(Ext4Error::Unsupported { what: format!("{what} (inode {})", inode.number), hint })
        };
        if inode.flags & INODE_ENCRYPTED != 0 {
            return unsupported("encrypted files", "exclude them or make the image without encryption");
        }
        if inode.flags & INODE_INLINE_DATA != 0 {
            return unsupported("files inside of inodes", "make the image with mkfs.ext4 -O ^inline_data");
        }
        if inode.flags & INODE_EXTENTS == 0 {
            return unsupported("files without extents", "make the image with mkfs.ext4 -O extents");
        }
        let depth = u16_at(&inode.block, 6);
        if depth > DEPTH_MAX {
            return Err(damaged(format!("the extent tree of inode {} is {depth} deep", inode.number)));
        }
        let mut walk = Walk { file_system: self, inode: inode.number, runs: Vec::new(), next: 0, nodes: 0 };
        walk.node(&inode.block, depth)?;
        Ok(walk.runs)
    }
}

struct Walk<'a, S> {
    file_system: &'a Ext4<S>,
    inode: u32,
    runs: Vec<BlockRun>,
    /// The first logical block that the next extent may have.
    next: u64,
    nodes: u32,
}

impl<S: ReadAt> Walk<'_, S> {
    fn damaged(&self, what: &str) -> Ext4Error {
        damaged(format!("the extent tree of inode {} {what}", self.inode))
    }

    /// One node; `depth` goes down by one with every level, so this ends.
    fn node(&mut self, node: &[u8], depth: u16) -> Result<(), Ext4Error> {
        self.nodes += 1;
        let entries = usize::from(u16_at(node, 2));
        let sound = u16_at(node, 0) == MAGIC && u16_at(node, 6) == depth && self.nodes <= NODES_MAX;
        let items = node.get(ITEM_BYTES..ITEM_BYTES * (entries + 1)).filter(|_| sound);
        let items = items.ok_or_else(|| self.damaged("has a node that makes no sense"))?;
        for item in items.chunks_exact(ITEM_BYTES) {
            if depth == 0 {
                self.leaf(item)?;
            } else {
                self.child(item, depth - 1)?;
            }
        }
        Ok(())
    }

    fn child(&mut self, item: &[u8], depth: u16) -> Result<(), Ext4Error> {
        let block = u64::from(u32_at(item, 4)) | u64::from(u16_at(item, 8)) << 32;
        if block >= self.file_system.block_count {
            return Err(self.damaged("points outside of the file system"));
        }
        let length = usize::try_from(self.file_system.block_bytes).unwrap_or(usize::MAX);
        let mut node = vec![0; length];
        self.file_system.read(block * self.file_system.block_bytes, &mut node)?;
        self.node(&node, depth)
    }

    fn leaf(&mut self, item: &[u8]) -> Result<(), Ext4Error> {
        let logical = u64::from(u32_at(item, 0));
        let length = u64::from(u16_at(item, 4));
        let physical = u64::from(u32_at(item, 8)) | u64::from(u16_at(item, 6)) << 32;
        let written = length <= WRITTEN_LENGTH_MAX;
        let count = if written { length } else { length - WRITTEN_LENGTH_MAX };
        if logical < self.next || count == 0 {
            return Err(self.damaged("is not in order"));
        }
        if physical.saturating_add(count) > self.file_system.block_count {
            return Err(self.damaged("points outside of the file system"));
        }
        self.next = logical + count;
        match self.runs.last_mut() {
            _ if !written => {}
            Some(last) if last.logical + last.count == logical && last.physical + last.count == physical => {
                last.count += count;
            }
            _ => self.runs.push(BlockRun { logical, physical, count }),
        }
        Ok(())
    }
}
