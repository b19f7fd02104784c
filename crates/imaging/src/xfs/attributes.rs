//! Extended attributes of an inode (XFS Algorithms & Data Structures, "Extended Attributes"): in the
//! inode, in leaves of a tree of hashes, or, for long values, in blocks of their own.

use super::inode::{Fork, Inode};
use super::{BlockRun, Xfs, XfsError, damaged, u16_at, u32_at, u64_at};
use crate::attributes::{
    ACCESS_LIST, ATTRIBUTES_MAX, AttributeValue, CAPABILITY, DEFAULT_LIST, ExtendedAttribute,
    VALUE_BYTES_MAX, capability_as_given, is_of_image,
};
use crate::source::ReadAt;

/// Magic of a node (`XFS_DA3_NODE_MAGIC`).
const NODE: u16 = 0x3ebe;
/// Magic of a leaf (`XFS_ATTR3_LEAF_MAGIC`).
const LEAF: u16 = 0x3bee;
const NODE_HEADER_BYTES: usize = 64;
const LEAF_HEADER_BYTES: usize = 80;
const ENTRY_BYTES: usize = 8;
/// Magic of a block of a value, `XARM`.
const VALUE: u32 = 0x5841_524d;
const VALUE_HEADER_BYTES: usize = 56;

/// Levels of nodes (`XFS_DA_NODE_MAXDEPTH`).
const DEPTH_MAX: u32 = 5;
/// Leaves of one inode: more than [`ATTRIBUTES_MAX`] attributes are refused anyway.
const LEAVES_MAX: usize = 1024;

// Flags of an entry.
const IS_HERE: u8 = 0x01;
const TRUSTED: u8 = 0x02;
const SECURITY: u8 = 0x04;
const PARENT_POINTER: u8 = 0x08;
const INCOMPLETE: u8 = 0x80;

// Access lists are trusted attributes of these names, in a form of XFS's own.
const STORED_ACCESS_LIST: &[u8] = b"SGI_ACL_FILE";
const STORED_DEFAULT_LIST: &[u8] = b"SGI_ACL_DEFAULT";

impl<S: ReadAt> Xfs<S> {
    /// The extended attributes of an inode that belong to the image, ordered by name, as
    /// `getxattr(2)` gives them.
    ///
    /// # Errors
    /// [`XfsError`] if they are damaged, or of a kind that is not read here.
    pub fn attributes(&self, inode: &Inode) -> Result<Vec<ExtendedAttribute>, XfsError> {
        let number = inode.facts.number;
        let mut found = Vec::new();
        match &inode.attributes {
            Fork::Nothing => {}
            Fork::Local(area) => short(number, area, &mut found)?,
            fork => {
                let runs = self.block_runs(number, fork)?;
                if !runs.is_empty() {
                    self.leaves(number, &runs, &mut found)?;
                }
            }
        }
        found.sort();
        if found.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(damaged(format!("inode {number} has an attribute twice")));
        }
        Ok(found)
    }

    /// A block of the tree, with the number of its entries and its magic.
    fn tree_block(
        &self,
        inode: u64,
        runs: &[BlockRun],
        block: u32,
    ) -> Result<(Vec<u8>, u16, usize), XfsError> {
        let bytes = self.read_mapped(runs, block.into(), 1)?;
        let (magic, owner, count) = (u16_at(&bytes, 8), u64_at(&bytes, 48), usize::from(u16_at(&bytes, 56)));
        let fits = match magic {
            NODE => NODE_HEADER_BYTES + count * ENTRY_BYTES <= bytes.len() && count > 0,
            LEAF => LEAF_HEADER_BYTES + count * ENTRY_BYTES <= bytes.len(),
            _ => false,
        };
        if owner == inode && fits { Ok((bytes, magic, count)) } else { Err(bad(inode)) }
    }

    /// Goes down to the first leaf; every leaf names the next.
    fn leaves(
        &self,
        inode: u64,
        runs: &[BlockRun],
        found: &mut Vec<ExtendedAttribute>,
    ) -> Result<(), XfsError> {
        let mut block = 0;
        let mut depth = 0;
        let mut current = self.tree_block(inode, runs, block)?;
        while current.1 == NODE {
            block = u32_at(&current.0, NODE_HEADER_BYTES + 4);
            depth += 1;
            if depth > DEPTH_MAX {
                return Err(bad(inode));
            }
            current = self.tree_block(inode, runs, block)?;
        }
        for _ in 0..LEAVES_MAX {
            let (leaf, magic, count) = current;
            if magic != LEAF {
                return Err(bad(inode));
            }
            for index in 0..count {
                self.entry(inode, runs, &leaf, LEAF_HEADER_BYTES + index * ENTRY_BYTES, found)?;
            }
            match u32_at(&leaf, 0) {
                0 => return Ok(()),
                next => current = self.tree_block(inode, runs, next)?,
            }
        }
        Err(bad(inode))
    }

    /// One entry of a leaf; `at` lies in the leaf.
    fn entry(
        &self,
        inode: u64,
        runs: &[BlockRun],
        leaf: &[u8],
        at: usize,
        found: &mut Vec<ExtendedAttribute>,
    ) -> Result<(), XfsError> {
        let (place, flags) = (usize::from(u16_at(leaf, at + 4)), leaf[at + 6]);
        let content = leaf.get(place..).ok_or_else(|| bad(inode))?;
        if flags & IS_HERE != 0 {
            let head = content.get(..3).ok_or_else(|| bad(inode))?;
            let (length, name_length) = (usize::from(u16_at(head, 0)), usize::from(head[2]));
            let name = content.get(3..3 + name_length).ok_or_else(|| bad(inode))?;
            let value = content.get(3 + name_length..).and_then(|rest| rest.get(..length));
            return add(inode, flags, name, found, || value.map(<[u8]>::to_vec).ok_or_else(|| bad(inode)));
        }
        let head = content.get(..9).ok_or_else(|| bad(inode))?;
        let (block, length) = (u32_at(head, 0), u32_at(head, 4));
        let name = content.get(9..9 + usize::from(head[8])).ok_or_else(|| bad(inode))?;
        add(inode, flags, name, found, || self.long_value(inode, runs, block, length))
    }

    /// A value in blocks of its own, each with a header.
    fn long_value(
        &self,
        inode: u64,
        runs: &[BlockRun],
        block: u32,
        length: u32,
    ) -> Result<Vec<u8>, XfsError> {
        let length = usize::try_from(length).ok().filter(|length| *length <= VALUE_BYTES_MAX);
        let length = length.ok_or_else(|| bad(inode))?;
        let mut value = Vec::with_capacity(length);
        let mut next = u64::from(block);
        while value.len() < length {
            let bytes = self.read_mapped(runs, next, 1)?;
            let (head, content) = bytes.split_at(VALUE_HEADER_BYTES);
            let piece = (length - value.len()).min(content.len());
            let sound = u32_at(head, 0) == VALUE
                && usize::try_from(u32_at(head, 4)) == Ok(value.len())
                && usize::try_from(u32_at(head, 8)) == Ok(piece)
                && u64_at(head, 32) == inode;
            if !sound {
                return Err(bad(inode));
            }
            value.extend_from_slice(&content[..piece]);
            next += 1;
        }
        Ok(value)
    }
}

fn bad(inode: u64) -> XfsError {
    damaged(format!("the attributes of inode {inode} make no sense"))
}

/// Attributes inside of the inode.
fn short(inode: u64, area: &[u8], found: &mut Vec<ExtendedAttribute>) -> Result<(), XfsError> {
    let head = area.get(..4).ok_or_else(|| bad(inode))?;
    let mut rest = &area[4..];
    for _ in 0..head[2] {
        let entry = rest.get(..3).ok_or_else(|| bad(inode))?;
        let (name_length, length) = (usize::from(entry[0]), usize::from(entry[1]));
        let content = rest.get(3..3 + name_length + length).ok_or_else(|| bad(inode))?;
        let (name, value) = content.split_at(name_length);
        add(inode, entry[2], name, found, || Ok(value.to_vec()))?;
        rest = &rest[3 + name_length + length..];
    }
    Ok(())
}

fn add(
    inode: u64,
    flags: u8,
    name: &[u8],
    found: &mut Vec<ExtendedAttribute>,
    value: impl FnOnce() -> Result<Vec<u8>, XfsError>,
) -> Result<(), XfsError> {
    // What a power cut left half written, and what the file system keeps for itself.
    if flags & (INCOMPLETE | PARENT_POINTER) != 0 {
        return Ok(());
    }
    let Some(name) = full_name(inode, flags, name)?.filter(|name| is_of_image(name)) else { return Ok(()) };
    if found.len() >= ATTRIBUTES_MAX {
        return Err(bad(inode));
    }
    let value = match name.as_str() {
        ACCESS_LIST | DEFAULT_LIST => access_list(&value()?).ok_or_else(|| bad(inode))?,
        CAPABILITY => capability_as_given(value()?),
        _ => value()?,
    };
    found.push(ExtendedAttribute { name, value: AttributeValue(value) });
    Ok(())
}

/// The name with its prefix; none for what the kernel does not show.
fn full_name(inode: u64, flags: u8, name: &[u8]) -> Result<Option<String>, XfsError> {
    let prefix = match flags & !IS_HERE {
        0 => "user.",
        SECURITY => "security.",
        TRUSTED if name == STORED_ACCESS_LIST => return Ok(Some(ACCESS_LIST.to_owned())),
        TRUSTED if name == STORED_DEFAULT_LIST => return Ok(Some(DEFAULT_LIST.to_owned())),
        TRUSTED => "trusted.",
        other => {
            return Err(XfsError::Unsupported {
                what: format!("attributes of kind {other:#x} (inode {inode})"),
                hint: "make the image without them",
            });
        }
    };
    let suffix = std::str::from_utf8(name)
        .map_err(|_| damaged(format!("inode {inode} has an attribute whose name is not UTF-8")))?;
    Ok(Some(format!("{prefix}{suffix}")))
}

/// An access control list: stored as `struct xfs_acl`, given as `posix_acl_xattr_entry` of
/// `linux/posix_acl_xattr.h`.
fn access_list(stored: &[u8]) -> Option<Vec<u8>> {
    const STORED_ENTRY_BYTES: usize = 12;
    const GIVEN_VERSION: u32 = 2;
    const NO_ID: u32 = u32::MAX;
    const NAMED_USER: u32 = 0x02;
    const NAMED_GROUP: u32 = 0x08;
    let (count, entries) = stored.split_at_checked(4)?;
    let length = usize::try_from(u32_at(count, 0)).ok()?.checked_mul(STORED_ENTRY_BYTES)?;
    let mut given = GIVEN_VERSION.to_le_bytes().to_vec();
    for entry in entries.get(..length)?.chunks_exact(STORED_ENTRY_BYTES) {
        let (tag, permissions) = (u32_at(entry, 0), u16_at(entry, 8));
        let id = if matches!(tag, NAMED_USER | NAMED_GROUP) { u32_at(entry, 4) } else { NO_ID };
        given.extend_from_slice(&u16::try_from(tag).ok()?.to_le_bytes());
        given.extend_from_slice(&permissions.to_le_bytes());
        given.extend_from_slice(&id.to_le_bytes());
    }
    Some(given)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::access_list;

    proptest! {
        #[test]
        fn any_bytes_are_survived(stored in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(given) = access_list(&stored) {
                assert_eq!(given.len() % 8, 4);
            }
        }
    }
}
