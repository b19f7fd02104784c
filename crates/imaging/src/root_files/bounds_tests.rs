//! What an image may claim, and how much is made of it.

use std::io;

use super::{ContentBeside, Paths, RootError, Selection, list, read_root};
use crate::attributes::{ATTRIBUTES_MAX, AttributeValue, ExtendedAttribute, VALUE_BYTES_MAX};
use crate::ext4::Ext4Error;
use crate::file_system::{ByteRun, Facts, FileSystem, InodeKind, Name};
use crate::manifest::tests::partition;
use crate::manifest::{PartitionRole, RootManifest};
use crate::source::ReadAt;

/// A folder with one link that has as many names as there are, and all attributes that there can be.
struct OneLink {
    names: u64,
}

impl FileSystem for OneLink {
    type Inode = Facts;
    type Error = Ext4Error;

    const KIND: &'static str = "ext4";

    fn root_inode(&self) -> u64 {
        1
    }

    fn inode(&self, number: u64) -> Result<Facts, Ext4Error> {
        let kind = if number < 3 { InodeKind::Directory } else { InodeKind::Symlink };
        Ok(Facts { number, kind, mode: 0o755, uid: 0, gid: 0, size_bytes: 1 })
    }

    fn facts(inode: &Facts) -> Facts {
        *inode
    }

    fn names(&self, inode: &Facts) -> Result<Vec<Name>, Ext4Error> {
        let named = |name: String, inode| Name { name: name.into_bytes(), inode };
        match inode.number {
            1 => Ok(vec![named("usr".to_owned(), 2)]),
            _ => Ok((0..self.names).map(|number| named(number.to_string(), 3)).collect()),
        }
    }

    fn target(&self, _: &Facts) -> Result<Vec<u8>, Ext4Error> {
        Ok(b"target".to_vec())
    }

    fn runs(&self, _: &Facts) -> Result<Option<Vec<ByteRun>>, Ext4Error> {
        Ok(Some(Vec::new()))
    }

    fn attributes_of(&self, inode: &Facts) -> Result<Vec<ExtendedAttribute>, Ext4Error> {
        let count = if inode.number == 3 { ATTRIBUTES_MAX } else { 0 };
        let attribute = |number| ExtendedAttribute {
            name: format!("user.{number}"),
            value: AttributeValue(vec![0; VALUE_BYTES_MAX]),
        };
        Ok((0..count).map(attribute).collect())
    }
}

fn listed(names: u64) -> Result<RootManifest, RootError> {
    let place = partition(1, PartitionRole::Root, 0, 1 << 20);
    let paths = Paths { immutable: vec!["/usr".to_owned()], excluded: Vec::new() };
    let mut keep = |_: &[u8]| Ok(());
    let mut beside = ContentBeside::new(0, &mut keep);
    list(&Vec::<u8>::new(), &place, &OneLink { names }, paths, &mut beside, &mut |_| {})
}

#[test]
fn attributes_of_one_inode_with_many_names_end_where_a_manifest_does() {
    assert_eq!(listed(1).unwrap().entries.len(), 2);
    let refused = listed(10).unwrap_err();
    assert!(matches!(refused, RootError::TooMuch), "{refused}");
}

/// Zeros, with a block that cannot be read.
struct BadBlock {
    at: u64,
}

impl ReadAt for BadBlock {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        let is_there = (offset..offset + buffer.len() as u64).contains(&self.at);
        if is_there { Err(io::Error::other("a bad block")) } else { Ok(()) }
    }

    fn size_bytes(&self) -> u64 {
        1 << 20
    }
}

#[test]
fn a_superblock_that_cannot_be_read_is_not_one_of_another_file_system() {
    let place = partition(1, PartitionRole::Root, 0, 1 << 20);
    for at in [0, 0x1_0040] {
        let read = read_root(&BadBlock { at }, &place, &Selection::default(), &mut |_| {});
        assert!(matches!(read, Err(RootError::Read { offset, .. }) if offset == at), "{read:?}");
    }
    // One that ends before a superblock could be there has none.
    let short = partition(1, PartitionRole::Root, 0, 0x1_0000);
    let read = read_root(&BadBlock { at: 0x1_0040 }, &short, &Selection::default(), &mut |_| {});
    assert!(matches!(read, Err(RootError::FileSystem { .. })), "{read:?}");
}
