//! A file system with changes in it. The smallest ones are larger than a fuzzer's inputs, so that an
//! input is a list of changes to one that is there: which of its blocks that are not empty, where in
//! it, and eight bytes. `FUZZ_BASE` names it; without one that can be listed nothing is tried, because
//! then nothing could be found.

use std::io;
use std::sync::OnceLock;

use imaging::manifest::{ManifestPartition, PartitionRole, RootManifest};
use imaging::root_files::{ContentBeside, RootError, Selection, read_root_beside};
use imaging::source::ReadAt;
use uuid::Uuid;

const BLOCK_BYTES: usize = 4096;
const CHANGE_BYTES: usize = 12;
const CHANGES_MAX: usize = 64;
/// What is in every base: a folder, two files and a link.
const ENTRIES: usize = 4;

/// What is changed, and its blocks that are not all zeros.
struct Base {
    bytes: Vec<u8>,
    blocks: Vec<usize>,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let file = std::env::var_os("FUZZ_BASE").unwrap_or_default();
        let bytes = std::fs::read(&file).unwrap_or_default();
        let unchanged = list(&bytes);
        assert!(
            unchanged.as_ref().is_ok_and(|root| root.entries.len() == ENTRIES),
            "FUZZ_BASE ({}) names no file system that is listed as it should be: {unchanged:?}",
            file.display()
        );
        let filled = bytes.chunks(BLOCK_BYTES).map(|block| block.iter().any(|byte| *byte != 0));
        let blocks = filled.enumerate().filter(|(_, filled)| *filled).map(|(index, _)| index).collect();
        Base { bytes, blocks }
    })
}

/// The base with the changes that an input says.
pub struct Changed<'a>(pub &'a [u8]);

impl ReadAt for Changed<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let base = base();
        base.bytes.read_at(offset, buffer)?;
        for change in self.0.chunks_exact(CHANGE_BYTES).take(CHANGES_MAX) {
            let word = |at: usize| usize::from(u16::from_le_bytes([change[at], change[at + 1]]));
            let Some(block) = base.blocks.get(word(0) % base.blocks.len().max(1)) else { continue };
            let at = (block * BLOCK_BYTES + word(2) % BLOCK_BYTES) as u64;
            for (place, byte) in (at..).zip(&change[4..]) {
                let index = place.checked_sub(offset).and_then(|index| usize::try_from(index).ok());
                if let Some(slot) = index.and_then(|index| buffer.get_mut(index)) {
                    *slot = *byte;
                }
            }
        }
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        base().bytes.len() as u64
    }
}

/// All that an import reads of a root file system.
pub fn read_everything(changes: &[u8]) {
    let _ = list(&Changed(changes));
}

fn list<S: ReadAt>(image: &S) -> Result<RootManifest, RootError> {
    let partition = ManifestPartition {
        number: 1,
        type_guid: Uuid::nil(),
        unique_guid: Uuid::nil(),
        name: String::new(),
        first_byte: 0,
        length_bytes: image.size_bytes(),
        attributes: 0,
        role: PartitionRole::Root,
        immutable: None,
    };
    let selection = Selection { immutable_paths: vec!["/usr".to_owned()], excluded_paths: Vec::new() };
    let mut keep = |_: &[u8]| Ok(());
    let mut beside = ContentBeside::new(partition.length_bytes, &mut keep);
    read_root_beside(image, &partition, &selection, &mut beside, &mut |_| {})
}
