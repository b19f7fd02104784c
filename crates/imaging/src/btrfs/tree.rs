//! Trees: nodes, leaves, and the items in them (`struct btrfs_header`, `btrfs_item`, `btrfs_key_ptr`).

use std::rc::Rc;

use super::{Btrfs, BtrfsError, NODES_KEPT, damaged, u32_at, u64_at};
use crate::source::ReadAt;

pub(super) const KEY_BYTES: usize = 17;
const HEADER_BYTES: usize = 101;
const ITEM_BYTES: usize = KEY_BYTES + 8;
const POINTER_BYTES: usize = KEY_BYTES + 16;

/// `BTRFS_MAX_LEVEL`.
const LEVELS_MAX: u8 = 8;

/// Nodes that one search may read. A directory of 500,000 names has some 3,000.
const NODES_MAX: u32 = 20_000;

/// A key: what an item is about, of what kind it is, and a third number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    /// Of [`KEY_BYTES`] bytes.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self { object: u64_at(bytes, 0), kind: bytes[8], offset: u64_at(bytes, 9) }
    }

    pub(super) fn first(object: u64, kind: u8) -> Self {
        Self { object, kind, offset: 0 }
    }

    pub(super) fn last(object: u64, kind: u8) -> Self {
        Self { object, kind, offset: u64::MAX }
    }
}

/// Where a tree begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TreeRoot {
    pub(super) address: u64,
    pub(super) level: u8,
}

/// What is done with each item that was found.
type Visit<'a> = &'a mut dyn FnMut(Key, &[u8]) -> Result<(), BtrfsError>;

struct Search<'a> {
    from: Key,
    until: Key,
    /// The last key that was seen; keys only grow.
    last: Option<Key>,
    nodes: u32,
    visit: Visit<'a>,
}

impl<S: ReadAt> Btrfs<S> {
    /// Shows all items with keys from `from` to `until`, in order.
    pub(super) fn scan(
        &self,
        root: TreeRoot,
        from: Key,
        until: Key,
        visit: Visit<'_>,
    ) -> Result<(), BtrfsError> {
        if root.level >= LEVELS_MAX {
            return Err(damaged("it has a tree that is too deep"));
        }
        let mut search = Search { from, until, last: None, nodes: 0, visit };
        self.node(root.address, root.level, &mut search)
    }

    /// One node; `level` goes down by one with every step, so this ends.
    fn node(&self, address: u64, level: u8, search: &mut Search<'_>) -> Result<(), BtrfsError> {
        search.nodes += 1;
        if search.nodes > NODES_MAX {
            return Err(damaged("it has a tree that goes in circles, or is too large"));
        }
        let node = self.read_node(address, level)?;
        let bad = || damaged(format!("the node at {address} makes no sense"));
        let count = usize::try_from(u32_at(&node, 96)).map_err(|_| bad())?;
        let content = &node[HEADER_BYTES..];
        if level == 0 {
            let items = content.get(..count.saturating_mul(ITEM_BYTES)).ok_or_else(bad)?;
            // As in the kernel's checker of trees, each item's content ends where that of the one before
            // begins. Content that overlaps would be more than what is on the medium.
            let mut expected_end = content.len();
            for item in items.chunks_exact(ITEM_BYTES) {
                let key = Key::parse(item);
                let place = |at: usize| usize::try_from(u32_at(item, at)).map_err(|_| bad());
                let (start, length) = (place(KEY_BYTES)?, place(KEY_BYTES + 4)?);
                let end = start.checked_add(length).ok_or_else(bad)?;
                if end != expected_end || start < items.len() {
                    return Err(bad());
                }
                expected_end = start;
                if key < search.from {
                    continue;
                }
                if key > search.until {
                    return Ok(());
                }
                if search.last.is_some_and(|last| last >= key) {
                    return Err(bad());
                }
                search.last = Some(key);
                (search.visit)(key, content.get(start..end).ok_or_else(bad)?)?;
            }
            return Ok(());
        }
        let pointers = content.get(..count.saturating_mul(POINTER_BYTES)).ok_or_else(bad)?;
        let keys: Vec<(Key, u64)> = pointers
            .chunks_exact(POINTER_BYTES)
            .map(|pointer| (Key::parse(pointer), u64_at(pointer, KEY_BYTES)))
            .collect();
        if keys.is_empty() || !keys.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return Err(bad());
        }
        // The last child that begins at or before what is looked for may hold it.
        let first = keys.partition_point(|(key, _)| *key <= search.from).saturating_sub(1);
        for (key, child) in &keys[first..] {
            if *key > search.until {
                break;
            }
            self.node(*child, level - 1, search)?;
        }
        Ok(())
    }

    fn read_node(&self, address: u64, level: u8) -> Result<Rc<Vec<u8>>, BtrfsError> {
        let sound = |node: &[u8]| u64_at(node, 48) == address && node[100] == level;
        let bad = || damaged(format!("the node at {address} is not the one that it should be"));
        if let Some(node) = self.kept.borrow().get(&address) {
            return if sound(node) { Ok(Rc::clone(node)) } else { Err(bad()) };
        }
        let mut node = vec![0; usize::try_from(self.superblock.node_bytes).unwrap_or(usize::MAX)];
        self.read_logical(address, &mut node)?;
        if !sound(&node) {
            return Err(bad());
        }
        let node = Rc::new(node);
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= NODES_KEPT {
            kept.clear();
        }
        kept.insert(address, Rc::clone(&node));
        Ok(node)
    }
}
