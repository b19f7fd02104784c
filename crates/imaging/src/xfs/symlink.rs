//! Where a symbolic link points (XFS Algorithms & Data Structures, "Symbolic Links").

use super::inode::{Fork, Inode};
use super::{Xfs, XfsError, damaged, u32_at, u64_at};
use crate::file_system::InodeKind;
use crate::source::ReadAt;

/// The longest target (`XFS_SYMLINK_MAXLEN`).
const TARGET_BYTES_MAX: u64 = 1024;
/// Magic of a block with a piece of a target, `XSLM`.
const MAGIC: u32 = 0x5853_4c4d;
const HEADER_BYTES: usize = 56;

impl<S: ReadAt> Xfs<S> {
    /// The target of a symbolic link, as bytes.
    ///
    /// # Errors
    /// [`XfsError`] if it is not one, or it cannot be read.
    pub fn symlink_target(&self, inode: &Inode) -> Result<Vec<u8>, XfsError> {
        let number = inode.facts.number;
        let bad = || damaged(format!("inode {number} is not a sound symbolic link"));
        let sound = inode.facts.kind == InodeKind::Symlink
            && (1..=TARGET_BYTES_MAX).contains(&inode.facts.size_bytes);
        let length = usize::try_from(inode.facts.size_bytes).ok().filter(|_| sound).ok_or_else(bad)?;
        if let Fork::Local(area) = &inode.data {
            return area.get(..length).map(<[u8]>::to_vec).ok_or_else(bad);
        }
        let mut target = Vec::new();
        for run in self.block_runs(number, &inode.data)? {
            // One header for each extent, but extents that touch have been joined.
            let (mut at, end) = (0, run.count);
            while at < end && target.len() < length {
                let offset = (run.physical + at) * self.superblock.block_bytes;
                let mut head = [0; HEADER_BYTES];
                self.read(offset, &mut head)?;
                let piece = usize::try_from(u32_at(&head, 8)).unwrap_or(usize::MAX);
                let room = (end - at).saturating_mul(self.superblock.block_bytes);
                let sound = u32_at(&head, 0) == MAGIC
                    && usize::try_from(u32_at(&head, 4)) == Ok(target.len())
                    && u64_at(&head, 32) == number
                    && (1..=length - target.len()).contains(&piece)
                    && (HEADER_BYTES + piece) as u64 <= room;
                if !sound {
                    return Err(bad());
                }
                let from = target.len();
                target.resize(from + piece, 0);
                self.read(offset + HEADER_BYTES as u64, &mut target[from..])?;
                at += ((HEADER_BYTES + piece) as u64).div_ceil(self.superblock.block_bytes);
            }
        }
        if target.len() == length { Ok(target) } else { Err(bad()) }
    }
}
