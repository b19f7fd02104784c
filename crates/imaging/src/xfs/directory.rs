//! What is in a directory (XFS Algorithms & Data Structures, "Directories").
//!
//! Names stand in data blocks below a fixed place in the directory's own space; what is above (hashes
//! and free space) only speeds up finding them and is not read.

use super::inode::{Fork, Inode};
use super::{Xfs, XfsError, damaged, u16_at, u32_at, u64_at};
use crate::file_system::{InodeKind, Name};
use crate::source::ReadAt;

/// The largest directory that is read, in bytes: some 500,000 names.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;

/// Where the hashes begin (`XFS_DIR2_LEAF_OFFSET`).
const HASHES_OFFSET: u64 = 1 << 35;

/// Magic of a directory that is a single block (`XDB3`), with the hashes at its end.
const SINGLE: u32 = 0x5844_4233;
/// Magic of a block of names (`XDD3`).
const NAMES: u32 = 0x5844_4433;
const HEADER_BYTES: usize = 64;
const TAIL_BYTES: usize = 8;
const HASH_BYTES: usize = 8;
const UNUSED: u16 = 0xffff;

impl<S: ReadAt> Xfs<S> {
    /// The names in a directory, without `.` and `..`, in the order in which they stand there.
    ///
    /// # Errors
    /// [`XfsError`] if it is not a directory, is damaged, or is too large.
    pub fn directory(&self, inode: &Inode) -> Result<Vec<Name>, XfsError> {
        let number = inode.facts.number;
        if inode.facts.kind != InodeKind::Directory {
            return Err(damaged(format!("inode {number} is not a directory")));
        }
        if let Fork::Local(area) = &inode.data {
            let length = usize::try_from(inode.facts.size_bytes).ok();
            let area = length.and_then(|length| area.get(..length));
            return area.and_then(short).ok_or_else(|| bad(number));
        }
        let runs = self.block_runs(number, &inode.data)?;
        let (per_block, hashes) =
            (self.superblock.directory_block_count, HASHES_OFFSET / self.superblock.block_bytes);
        let most = DIRECTORY_BYTES_MAX / self.superblock.block_bytes;
        let (mut names, mut next, mut seen) = (Vec::new(), 0, 0);
        for run in &runs {
            for block in run.logical..run.logical.saturating_add(run.count).min(hashes) {
                if block < next {
                    continue;
                }
                seen += per_block;
                if !block.is_multiple_of(per_block) || seen > most {
                    return Err(damaged(format!("directory {number} has holes, or is too large")));
                }
                next = block + per_block;
                let bytes = self.read_mapped(&runs, block, per_block)?;
                block_of_names(&bytes, number, &mut names).ok_or_else(|| bad(number))?;
            }
        }
        Ok(names)
    }
}

fn bad(number: u64) -> XfsError {
    damaged(format!("directory {number} has an entry that makes no sense"))
}

/// A directory inside of its inode; none if it makes no sense.
fn short(area: &[u8]) -> Option<Vec<Name>> {
    let (count, wide) = (usize::from(*area.first()?), *area.get(1)? != 0);
    let number_bytes = if wide { 8 } else { 4 };
    // How many names, how many of them wide, and the inode of the folder above.
    let mut rest = area.get(2 + number_bytes..)?;
    let mut names = Vec::new();
    for _ in 0..count {
        let length = usize::from(*rest.first()?);
        // The length, a place that only listing from the middle needs, the name, its kind, its inode.
        let name = rest.get(3..3 + length)?;
        let number = rest.get(4 + length..4 + length + number_bytes)?;
        let inode = if wide { u64_at(number, 0) } else { u32_at(number, 0).into() };
        add(&mut names, name, inode)?;
        rest = rest.get(4 + length + number_bytes..)?;
    }
    Some(names)
}

/// One block of a directory; none if it makes no sense.
fn block_of_names(block: &[u8], directory: u64, names: &mut Vec<Name>) -> Option<()> {
    let head = block.get(..HEADER_BYTES)?;
    if u64_at(head, 40) != directory {
        return None;
    }
    let end = match u32_at(head, 0) {
        NAMES => block.len(),
        SINGLE => {
            let tail = block.len().checked_sub(TAIL_BYTES)?;
            let hashes = usize::try_from(u32_at(block, tail)).ok()?.checked_mul(HASH_BYTES)?;
            tail.checked_sub(hashes)?
        }
        _ => return None,
    };
    let mut rest = block.get(HEADER_BYTES..end)?;
    while !rest.is_empty() {
        let head = rest.get(..9)?;
        if u16_at(head, 0) == UNUSED {
            let length = usize::from(u16_at(head, 2));
            rest = rest.get(length..).filter(|_| length >= 8)?;
            continue;
        }
        let length = usize::from(head[8]);
        add(names, rest.get(9..9 + length)?, u64_at(head, 0))?;
        // The inode, the length, the name, its kind, and where the entry stands.
        rest = rest.get((8 + 1 + length + 1 + 2_usize).next_multiple_of(8)..)?;
    }
    Some(())
}

fn add(names: &mut Vec<Name>, name: &[u8], inode: u64) -> Option<()> {
    if matches!(name, b"." | b"..") {
        return Some(());
    }
    if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
        return None;
    }
    names.push(Name { name: name.to_vec(), inode });
    Some(())
}
