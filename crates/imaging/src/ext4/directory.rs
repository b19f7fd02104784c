//! What is in a directory (kernel documentation, "Directory Entries").
//!
//! Directories with a hash tree are read the same way: the blocks of the tree look like unused
//! entries to those who do not know it.

use super::{Ext4, Ext4Error, Inode, damaged, u16_at, u32_at};
use crate::file_system::InodeKind;
use crate::source::ReadAt;

/// The largest directory that is read, in bytes: some 500,000 names.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;

const HEADER_BYTES: usize = 8;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name, as bytes; no `/`, no NUL, neither `.` nor `..`.
    pub name: Vec<u8>,
    /// The inode that it names.
    pub inode: u32,
}

impl<S: ReadAt> Ext4<S> {
    /// The names in a directory, without `.` and `..`, in the order in which they stand there.
    ///
    /// # Errors
    /// [`Ext4Error`] if it is not a directory, is damaged, or is too large.
    pub fn directory(&self, inode: &Inode) -> Result<Vec<DirectoryEntry>, Ext4Error> {
        let sound = inode.kind == InodeKind::Directory && inode.size_bytes <= DIRECTORY_BYTES_MAX;
        if !sound {
            return Err(damaged(format!("inode {} is not a directory, or one too large", inode.number)));
        }
        let mut entries = Vec::new();
        let mut block = vec![0; usize::try_from(self.block_bytes).unwrap_or(usize::MAX)];
        let blocks = inode.size_bytes.div_ceil(self.block_bytes);
        for run in self.block_runs(inode)? {
            for index in 0..run.count.min(blocks.saturating_sub(run.logical)) {
                self.read((run.physical + index) * self.block_bytes, &mut block)?;
                parse_block(&block, inode.number, &mut entries)?;
            }
        }
        Ok(entries)
    }
}

fn parse_block(block: &[u8], directory: u32, entries: &mut Vec<DirectoryEntry>) -> Result<(), Ext4Error> {
    let mut rest = block;
    while !rest.is_empty() {
        let bad = || damaged(format!("directory {directory} has an entry that makes no sense"));
        let header = rest.get(..HEADER_BYTES).ok_or_else(bad)?;
        let (number, length) = (u32_at(header, 0), usize::from(u16_at(header, 4)));
        if length < HEADER_BYTES {
            return Err(bad());
        }
        let entry = rest.get(..length).ok_or_else(bad)?;
        rest = &rest[length..];
        if number == 0 {
            continue;
        }
        let name = entry.get(HEADER_BYTES..HEADER_BYTES + usize::from(header[6])).ok_or_else(bad)?;
        if matches!(name, b"." | b"..") {
            continue;
        }
        if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
            return Err(bad());
        }
        entries.push(DirectoryEntry { name: name.to_vec(), inode: number });
    }
    Ok(())
}
