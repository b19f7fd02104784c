//! What an inode says (XFS Algorithms & Data Structures, "Inode Core"; `struct xfs_dinode`).

use super::{Xfs, XfsError, damaged, u16_at, u32_at, u64_at};
use crate::file_system::{Facts, InodeKind};
use crate::source::ReadAt;

const MAGIC: u16 = 0x494e;
const CORE_BYTES: usize = 176;

/// Flag (`di_flags`): the content lies on the realtime device.
const REALTIME: u16 = 0x1;
/// Flag (`di_flags2`): counts of extents are wide and stand elsewhere.
const WIDE_COUNTS: u64 = 0x10;
/// Flag (`di_flags2`): it belongs to the file system itself.
const METADATA: u64 = 0x20;

/// How a fork holds what it holds (`di_format`, `di_aformat`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fork {
    /// A device number, or nothing.
    Nothing,
    /// All of it, in the inode.
    Local(Vec<u8>),
    /// A list of extents, and how many there are.
    Extents(Vec<u8>, u64),
    /// The root of a tree of extents.
    Tree(Vec<u8>),
}

/// One inode.
#[derive(Debug, Clone)]
pub struct Inode {
    pub(super) facts: Facts,
    pub(super) is_realtime: bool,
    pub(super) data: Fork,
    pub(super) attributes: Fork,
}

impl<S: ReadAt> Xfs<S> {
    /// The inode with this number.
    ///
    /// # Errors
    /// [`XfsError`] if there is none, or it cannot be read.
    pub fn inode(&self, number: u64) -> Result<Inode, XfsError> {
        let offset = self.superblock.inode_offset(number);
        let offset = offset.ok_or_else(|| damaged(format!("there is no inode {number}")))?;
        let mut bytes = vec![0; self.superblock.inode_bytes];
        self.read(offset, &mut bytes)?;
        parse(number, &bytes)
    }
}

fn parse(number: u64, bytes: &[u8]) -> Result<Inode, XfsError> {
    let bad = |what: &str| damaged(format!("inode {number} {what}"));
    let (core, literal) = bytes.split_at_checked(CORE_BYTES).ok_or_else(|| bad("is too short"))?;
    if u16_at(core, 0) != MAGIC || core[4] != 3 || u64_at(core, 152) != number {
        return Err(bad("is not one"));
    }
    let mode = u32::from(u16_at(core, 2));
    let kind = InodeKind::of_mode(mode).ok_or_else(|| bad("has no known type"))?;
    let (flags, flags_more) = (u16_at(core, 90), u64_at(core, 120));
    if flags_more & METADATA != 0 {
        return Err(bad("belongs to the file system itself and has a name"));
    }
    let (data_count, attribute_count) = if flags_more & WIDE_COUNTS != 0 {
        (u64_at(core, 24), u64::from(u32_at(core, 76)))
    } else {
        (u64::from(u32_at(core, 76)), u64::from(u16_at(core, 80)))
    };
    // The offset of the attributes counts in 8 bytes; 0 means that there is no room for any.
    let (data, attributes) = match usize::from(core[82]) * 8 {
        0 => (literal, None),
        offset => literal
            .split_at_checked(offset)
            .map(|(data, attributes)| (data, Some(attributes)))
            .ok_or_else(|| bad("has its attributes outside of it"))?,
    };
    let attributes = match attributes {
        Some(area) => fork(number, core[83], area, attribute_count)?,
        None => Fork::Nothing,
    };
    let facts = Facts {
        number,
        kind,
        mode: mode & 0o7777,
        uid: u32_at(core, 8),
        gid: u32_at(core, 12),
        size_bytes: u64_at(core, 56),
    };
    let data = fork(number, core[5], data, data_count)?;
    Ok(Inode { facts, is_realtime: flags & REALTIME != 0, data, attributes })
}

fn fork(number: u64, format: u8, area: &[u8], extents: u64) -> Result<Fork, XfsError> {
    match format {
        0 => Ok(Fork::Nothing),
        1 => Ok(Fork::Local(area.to_vec())),
        2 => Ok(Fork::Extents(area.to_vec(), extents)),
        3 => Ok(Fork::Tree(area.to_vec())),
        other => Err(damaged(format!("inode {number} holds its content in an unknown way ({other})"))),
    }
}
