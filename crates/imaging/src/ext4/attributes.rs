//! Extended attributes of an inode (kernel documentation, "Extended Attributes"): behind the inode's
//! fields, in a block of their own, or, for long values, in inodes of their own.

use super::{Ext4, Ext4Error, Inode, damaged, u16_at, u32_at};
use crate::attributes::{
    ACCESS_LIST, ATTRIBUTES_MAX, AttributeValue, CAPABILITY, DEFAULT_LIST, ExtendedAttribute,
    VALUE_BYTES_MAX, capability_as_given, is_of_image,
};
use crate::source::ReadAt;

const MAGIC: u32 = 0xea02_0000;
const BLOCK_HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 16;

/// Flag of an inode that holds the value of an attribute.
const INODE_ATTRIBUTE_VALUE: u32 = 0x20_0000;

// Name prefixes (`e_name_index`).
const INDEX_USER: u8 = 1;
const INDEX_ACCESS_LIST: u8 = 2;
const INDEX_DEFAULT_LIST: u8 = 3;
const INDEX_TRUSTED: u8 = 4;
const INDEX_SECURITY: u8 = 6;
const INDEX_SYSTEM: u8 = 7;

impl<S: ReadAt> Ext4<S> {
    /// The extended attributes of an inode that belong to the image, ordered by name, as
    /// `getxattr(2)` gives them.
    ///
    /// # Errors
    /// [`Ext4Error`] if they are damaged, or of a kind that is not read here.
    pub fn attributes(&self, inode: &Inode) -> Result<Vec<ExtendedAttribute>, Ext4Error> {
        let mut found = Vec::new();
        if let Some((magic, area)) = inode.extra.split_at_checked(4)
            && u32_at(magic, 0) == MAGIC
        {
            self.area(inode, area, 0, &mut found)?;
        }
        if inode.attribute_block != 0 {
            if inode.attribute_block >= self.block_count {
                return Err(damaged(format!("inode {} has attributes outside of it", inode.number)));
            }
            let mut block = vec![0; usize::try_from(self.block_bytes).unwrap_or(usize::MAX)];
            self.read(inode.attribute_block * self.block_bytes, &mut block)?;
            if u32_at(&block, 0) != MAGIC || u32_at(&block, 8) != 1 {
                return Err(damaged(format!("the attribute block of inode {} makes no sense", inode.number)));
            }
            self.area(inode, &block, BLOCK_HEADER_BYTES, &mut found)?;
        }
        found.sort();
        if found.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(damaged(format!("inode {} has an attribute twice", inode.number)));
        }
        Ok(found)
    }

    /// The entries of one area. They begin at `first`; places of values count from the area's start.
    fn area(
        &self,
        inode: &Inode,
        area: &[u8],
        first: usize,
        found: &mut Vec<ExtendedAttribute>,
    ) -> Result<(), Ext4Error> {
        let bad = || damaged(format!("the attributes of inode {} make no sense", inode.number));
        let mut rest = area.get(first..).ok_or_else(bad)?;
        // Four zeros end the list; so does the end of the area.
        while rest.get(..4).is_some_and(|start| start != [0; 4]) {
            if found.len() >= ATTRIBUTES_MAX {
                return Err(bad());
            }
            let entry = rest.get(..ENTRY_BYTES).ok_or_else(bad)?;
            let (name_length, index) = (usize::from(entry[0]), entry[1]);
            let (value_offset, value_inode) = (usize::from(u16_at(entry, 2)), u32_at(entry, 4));
            let length = usize::try_from(u32_at(entry, 8)).ok().filter(|length| *length <= VALUE_BYTES_MAX);
            let length = length.ok_or_else(bad)?;
            let name = rest.get(ENTRY_BYTES..ENTRY_BYTES + name_length).ok_or_else(bad)?;
            let name = full_name(inode.number, index, name)?;
            rest = rest.get((ENTRY_BYTES + name_length).next_multiple_of(4)..).unwrap_or_default();
            let Some(name) = name.filter(|name| is_of_image(name)) else { continue };
            let value = if value_inode == 0 {
                let end = value_offset.checked_add(length).ok_or_else(bad)?;
                area.get(value_offset..end).ok_or_else(bad)?.to_vec()
            } else {
                self.value_in_inode(value_inode, length)?
            };
            let value = as_the_kernel_gives_it(&name, value).ok_or_else(bad)?;
            found.push(ExtendedAttribute { name, value: AttributeValue(value) });
        }
        Ok(())
    }

    /// A value that fills an inode of its own.
    fn value_in_inode(&self, number: u32, length: usize) -> Result<Vec<u8>, Ext4Error> {
        let inode = self.inode(number)?;
        if inode.flags & INODE_ATTRIBUTE_VALUE == 0 || inode.size_bytes != length as u64 {
            return Err(damaged(format!("inode {number} is not the value of an attribute")));
        }
        let mut value = vec![0; length];
        for (in_value, on_medium, bytes) in self.byte_runs(&inode)? {
            let place = usize::try_from(in_value).ok().zip(usize::try_from(bytes).ok());
            let piece = place.and_then(|(from, bytes)| value.get_mut(from..from.checked_add(bytes)?));
            let piece = piece.ok_or_else(|| damaged(format!("inode {number} is longer than its value")))?;
            self.read(on_medium, piece)?;
        }
        Ok(value)
    }
}

/// The name with its prefix; none for what the kernel keeps to itself.
fn full_name(inode: u32, index: u8, name: &[u8]) -> Result<Option<String>, Ext4Error> {
    let suffix = std::str::from_utf8(name)
        .map_err(|_| damaged(format!("inode {inode} has an attribute whose name is not UTF-8")))?;
    let prefix = match index {
        INDEX_USER => "user.",
        INDEX_TRUSTED => "trusted.",
        INDEX_SECURITY => "security.",
        INDEX_ACCESS_LIST => return Ok(Some(ACCESS_LIST.to_owned())),
        INDEX_DEFAULT_LIST => return Ok(Some(DEFAULT_LIST.to_owned())),
        // Content that stands in the inode; whoever reads the content refuses it by name.
        INDEX_SYSTEM if suffix == "data" => return Ok(None),
        _ => {
            return Err(Ext4Error::Unsupported {
                what: format!("attributes of kind {index} (inode {inode})"),
                hint: "make the image without them",
            });
        }
    };
    Ok(Some(format!("{prefix}{suffix}")))
}

/// Turns the stored form of a value into the one that programs see; none if it is damaged.
fn as_the_kernel_gives_it(name: &str, value: Vec<u8>) -> Option<Vec<u8>> {
    match name {
        ACCESS_LIST | DEFAULT_LIST => access_list(&value),
        CAPABILITY => Some(capability_as_given(value)),
        _ => Some(value),
    }
}

/// An access control list: stored with short entries (`ext4_acl_entry_short`), given as
/// `posix_acl_xattr_entry` of `linux/posix_acl_xattr.h`.
fn access_list(stored: &[u8]) -> Option<Vec<u8>> {
    const STORED_VERSION: u32 = 1;
    const GIVEN_VERSION: u32 = 2;
    const NO_ID: u32 = u32::MAX;
    const NAMED_USER: u16 = 0x02;
    const NAMED_GROUP: u16 = 0x08;
    let (version, mut rest) = stored.split_at_checked(4)?;
    if u32_at(version, 0) != STORED_VERSION {
        return None;
    }
    let mut given = GIVEN_VERSION.to_le_bytes().to_vec();
    while !rest.is_empty() {
        let (entry, after) = rest.split_at_checked(4)?;
        given.extend_from_slice(entry);
        rest = after;
        if matches!(u16_at(entry, 0), NAMED_USER | NAMED_GROUP) {
            let (id, after) = rest.split_at_checked(4)?;
            given.extend_from_slice(id);
            rest = after;
        } else {
            given.extend_from_slice(&NO_ID.to_le_bytes());
        }
    }
    Some(given)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::access_list;

    #[test]
    fn a_stored_access_list_is_given_with_long_entries() {
        let stored = [1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 0xe8, 3, 0, 0, 0x20, 0, 4, 0];
        let given = [
            [2, 0, 0, 0].as_slice(),
            &[1, 0, 6, 0, 255, 255, 255, 255],
            &[2, 0, 4, 0, 0xe8, 3, 0, 0],
            &[0x20, 0, 4, 0, 255, 255, 255, 255],
        ];
        assert_eq!(access_list(&stored).unwrap(), given.concat());
        for cut in [0, 3, 6, 13] {
            assert_eq!(access_list(&stored[..cut]), None, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(stored in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = access_list(&stored);
        }
    }
}
