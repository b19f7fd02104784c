//! What an image may claim, and how much is made of it.

use std::io;

use super::{RootError, Selection, read_root};
use crate::manifest::PartitionRole;
use crate::manifest::tests::partition;
use crate::source::ReadAt;

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
