//! Inodes, names, links and attributes (`struct btrfs_inode_item`, `btrfs_dir_item`).

use super::tree::{KEY_BYTES, Key};
use super::{Btrfs, BtrfsError, damaged, u16_at, u32_at, u64_at};
use crate::attributes::{
    ATTRIBUTES_MAX, AttributeValue, CAPABILITY, ExtendedAttribute, capability_as_given, is_of_image,
};
use crate::file_system::{Facts, InodeKind, Name};
use crate::source::ReadAt;

const INODE_ITEM: u8 = 1;
const ATTRIBUTE_ITEM: u8 = 24;
pub(super) const NAME_ITEM: u8 = 84;
const NAME_BY_NUMBER: u8 = 96;
const INODE_BYTES: usize = 160;
const NAME_HEADER_BYTES: usize = 30;

/// The number that stands for "another subvolume", which has numbers of its own.
pub(super) const SUBVOLUME: u64 = u64::MAX;

/// The most names in a directory that are read.
const NAMES_MAX: usize = 500_000;

/// The longest name of a file or an attribute, in bytes (`BTRFS_NAME_LEN`, `XATTR_NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

/// One inode.
#[derive(Debug, Clone, Copy)]
pub struct Inode {
    pub(super) facts: Facts,
}

/// An entry of a directory or an attribute: what it points to, its name and its value.
pub(super) struct NameItem<'a> {
    pub(super) location: Key,
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

/// The entries in one item: several where their names have the same hash. None if it makes no sense.
pub(super) fn name_items(item: &[u8]) -> Option<Vec<NameItem<'_>>> {
    let mut rest = item;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (head, content) = rest.split_at_checked(NAME_HEADER_BYTES)?;
        let (value_length, name_length) = (usize::from(u16_at(head, 25)), usize::from(u16_at(head, 27)));
        if name_length > NAME_BYTES_MAX {
            return None;
        }
        let (name, content) = content.split_at_checked(name_length)?;
        let (value, after) = content.split_at_checked(value_length)?;
        found.push(NameItem { location: Key::parse(&head[..KEY_BYTES]), name, value });
        rest = after;
    }
    Some(found)
}

impl<S: ReadAt> Btrfs<S> {
    /// The inode with this number in the root's subvolume.
    ///
    /// # Errors
    /// [`BtrfsError`] if there is none, or it is another subvolume.
    pub fn inode(&self, number: u64) -> Result<Inode, BtrfsError> {
        if number == SUBVOLUME {
            return Err(BtrfsError::Unsupported {
                what: "a subvolume under an immutable path".to_owned(),
                hint: "exclude it or make the image without it",
            });
        }
        let mut found = None;
        let (from, until) = (Key::first(number, INODE_ITEM), Key::first(number, INODE_ITEM));
        self.scan(self.subvolume, from, until, &mut |_, item| {
            found = item
                .get(..INODE_BYTES)
                .map(|item| (u64_at(item, 16), u32_at(item, 44), u32_at(item, 48), u32_at(item, 52)));
            Ok(())
        })?;
        let no_inode = || damaged(format!("there is no inode {number}"));
        let (size_bytes, uid, gid, mode) = found.ok_or_else(no_inode)?;
        let kind = InodeKind::of_mode(mode).ok_or_else(no_inode)?;
        Ok(Inode { facts: Facts { number, kind, mode: mode & 0o7777, uid, gid, size_bytes } })
    }

    /// The names in a directory, in the order in which they were made.
    pub(super) fn directory(&self, inode: &Inode) -> Result<Vec<Name>, BtrfsError> {
        let number = inode.facts.number;
        let bad = || damaged(format!("directory {number} has an entry that makes no sense"));
        if inode.facts.kind != InodeKind::Directory {
            return Err(damaged(format!("inode {number} is not a directory")));
        }
        let mut names = Vec::new();
        let (from, until) = (Key::first(number, NAME_BY_NUMBER), Key::last(number, NAME_BY_NUMBER));
        self.scan(self.subvolume, from, until, &mut |_, item| {
            for entry in name_items(item).ok_or_else(bad)? {
                let unfit = entry.name.is_empty()
                    || matches!(entry.name, b"." | b"..")
                    || entry.name.contains(&b'/')
                    || entry.name.contains(&0)
                    || names.len() >= NAMES_MAX;
                if unfit {
                    return Err(bad());
                }
                let inode = if entry.location.kind == INODE_ITEM { entry.location.object } else { SUBVOLUME };
                names.push(Name { name: entry.name.to_vec(), inode });
            }
            Ok(())
        })?;
        Ok(names)
    }

    /// The extended attributes of an inode that belong to the image, ordered by name. They are stored
    /// as `getxattr(2)` gives them, under their whole names.
    pub(super) fn attributes(&self, inode: &Inode) -> Result<Vec<ExtendedAttribute>, BtrfsError> {
        let number = inode.facts.number;
        let bad = || damaged(format!("the attributes of inode {number} make no sense"));
        let mut found: Vec<ExtendedAttribute> = Vec::new();
        let (from, until) = (Key::first(number, ATTRIBUTE_ITEM), Key::last(number, ATTRIBUTE_ITEM));
        self.scan(self.subvolume, from, until, &mut |_, item| {
            for entry in name_items(item).ok_or_else(bad)? {
                let name = String::from_utf8(entry.name.to_vec()).map_err(|_| bad())?;
                if !is_of_image(&name) {
                    continue;
                }
                if found.len() >= ATTRIBUTES_MAX {
                    return Err(bad());
                }
                let value = entry.value.to_vec();
                let value = if name == CAPABILITY { capability_as_given(value) } else { value };
                found.push(ExtendedAttribute { name, value: AttributeValue(value) });
            }
            Ok(())
        })?;
        found.sort();
        if found.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(damaged(format!("inode {number} has an attribute twice")));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::{NAME_BYTES_MAX, NAME_HEADER_BYTES, name_items};

    #[test]
    fn names_are_no_longer_than_the_kernel_makes_them() {
        let item = |name_length: usize| {
            let mut item = vec![b'n'; NAME_HEADER_BYTES + name_length];
            item[25..27].fill(0);
            item[27..29].copy_from_slice(&(name_length as u16).to_le_bytes());
            name_items(&item).map(|found| found.iter().map(|entry| entry.name.len()).sum::<usize>())
        };
        assert_eq!(item(NAME_BYTES_MAX), Some(NAME_BYTES_MAX));
        assert_eq!(item(NAME_BYTES_MAX + 1), None);
        assert_eq!(item(65_000), None);
    }
}
