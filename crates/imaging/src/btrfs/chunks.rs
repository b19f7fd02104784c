//! Where logical addresses lie on the medium (`struct btrfs_chunk`).

use super::tree::{KEY_BYTES, Key};
use super::{Btrfs, BtrfsError, damaged, u16_at, u64_at};
use crate::source::ReadAt;

/// The type of a chunk's key, and the number that all of them have.
const CHUNK_ITEM: u8 = 228;
const CHUNK_OBJECT: u64 = 256;
const ITEM_BYTES: usize = 48;
const STRIPE_BYTES: usize = 32;

/// Bits of what is in a chunk: data, system, metadata.
const CONTENT: u64 = 0x7;
/// Two copies on one device; the first is read.
const TWICE: u64 = 0x20;

/// A chunk has 1 GiB as a rule.
const CHUNKS_MAX: usize = 65_536;

/// Consecutive logical addresses that are consecutive on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    logical: u64,
    physical: u64,
    length: u64,
}

impl<S: ReadAt> Btrfs<S> {
    /// Reads the chunks that the superblock has, and with them all others.
    pub(super) fn read_chunks(&mut self) -> Result<(), BtrfsError> {
        let system = self.superblock.system_chunks.clone();
        let mut rest = system.as_slice();
        while !rest.is_empty() {
            let bad = || damaged("its superblock has chunks that make no sense");
            let (key, item) = rest.split_at_checked(KEY_BYTES).ok_or_else(bad)?;
            let length = item.get(..ITEM_BYTES).ok_or_else(bad)?;
            let length = ITEM_BYTES + usize::from(u16_at(length, 44)) * STRIPE_BYTES;
            let key = Key::parse(key);
            if key.kind != CHUNK_ITEM {
                return Err(bad());
            }
            self.chunks.push(self.chunk(key, item.get(..length).ok_or_else(bad)?)?);
            rest = &item[length..];
        }
        self.order_chunks()?;
        let (from, until) = (Key::first(CHUNK_OBJECT, CHUNK_ITEM), Key::last(CHUNK_OBJECT, CHUNK_ITEM));
        let mut chunks = Vec::new();
        self.scan(self.superblock.chunk_tree, from, until, &mut |key, item| {
            if chunks.len() >= CHUNKS_MAX {
                return Err(damaged("it has too many chunks"));
            }
            chunks.push(self.chunk(key, item)?);
            Ok(())
        })?;
        self.chunks = chunks;
        self.order_chunks()
    }

    fn order_chunks(&mut self) -> Result<(), BtrfsError> {
        self.chunks.sort_by_key(|chunk| chunk.logical);
        let overlap = self.chunks.windows(2).any(|pair| pair[0].logical + pair[0].length > pair[1].logical);
        if overlap { Err(damaged("its chunks overlap")) } else { Ok(()) }
    }

    fn chunk(&self, key: Key, item: &[u8]) -> Result<Chunk, BtrfsError> {
        let bad = || damaged(format!("the chunk at {} makes no sense", key.offset));
        let stripe = item.get(..ITEM_BYTES + STRIPE_BYTES).ok_or_else(bad)?;
        let (length, kind, physical) = (u64_at(stripe, 0), u64_at(stripe, 24), u64_at(stripe, 56));
        if kind & !(CONTENT | TWICE) != 0 {
            return Err(BtrfsError::Unsupported {
                what: format!("chunks of profile {:#x}", kind & !CONTENT),
                hint: "make the image with the profiles single or dup",
            });
        }
        let fits = length > 0
            && key.offset.checked_add(length).is_some()
            && physical.checked_add(length).is_some_and(|end| end <= self.source.size_bytes());
        if fits { Ok(Chunk { logical: key.offset, physical, length }) } else { Err(bad()) }
    }

    /// Where so many bytes at a logical address lie.
    pub(super) fn place(&self, address: u64, length: u64) -> Result<u64, BtrfsError> {
        let after = self.chunks.partition_point(|chunk| chunk.logical <= address);
        let chunk = after.checked_sub(1).and_then(|index| self.chunks.get(index));
        chunk
            .and_then(|chunk| {
                let within = address - chunk.logical;
                let end = within.checked_add(length)?;
                (end <= chunk.length).then_some(chunk.physical + within)
            })
            .ok_or_else(|| damaged(format!("there is nothing at the address {address}")))
    }

    pub(super) fn read_logical(&self, address: u64, buffer: &mut [u8]) -> Result<(), BtrfsError> {
        let place = self.place(address, buffer.len() as u64)?;
        self.read(place, buffer)
    }
}
