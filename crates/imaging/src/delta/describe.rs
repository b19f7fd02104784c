//! What differed, in words for people: how many chunks of which partition, and which immutable files
//! lie in them.

use std::collections::HashSet;
use std::fmt::Write;

use crate::chunk::CHUNK_BYTES;
use crate::manifest::{EntryKind, Manifest, ManifestPartition};

/// At most this many files are named.
const FILES_NAMED_MAX: usize = 8;
/// At most this many partitions are named.
const PARTITIONS_NAMED_MAX: usize = 16;
/// Names and paths are cut to this many characters.
const NAME_CHARACTERS_MAX: usize = 100;

/// Says in a bounded number of words which partitions and immutable files these chunks hold. A chunk
/// on the border of two partitions counts in both.
#[must_use]
pub fn describe(manifest: &Manifest, indexes: &[u64]) -> String {
    let mut parts = Vec::new();
    let mut partitions: Vec<&ManifestPartition> = manifest.partitions.iter().collect();
    partitions.sort_by_key(|partition| partition.first_byte);
    for partition in partitions {
        let within = chunk_range(partition.first_byte, partition.length_bytes);
        let count = indexes.iter().filter(|index| within.contains(index)).count();
        if count > 0 && parts.len() < PARTITIONS_NAMED_MAX {
            let name = shown(&partition.name);
            let name = if name.is_empty() { name } else { format!(" ({name})") };
            parts.push(format!("{count} in partition {}{name}", partition.number));
        }
    }
    if parts.is_empty() {
        parts.push("none in a partition".to_owned());
    }
    let mut text = parts.join(", ");
    let files = files_in(manifest, indexes);
    if !files.is_empty() {
        let named: Vec<String> = files.iter().take(FILES_NAMED_MAX).map(|path| shown(path)).collect();
        // Writing to a string cannot fail.
        let _ = write!(text, "; parts of {} immutable files lie there: {}", files.len(), named.join(", "));
        if files.len() > FILES_NAMED_MAX {
            let _ = write!(text, " and {} more", files.len() - FILES_NAMED_MAX);
        }
    }
    text
}

fn files_in<'manifest>(manifest: &'manifest Manifest, indexes: &[u64]) -> Vec<&'manifest str> {
    let Some(root) = &manifest.root else { return Vec::new() };
    let indexes: HashSet<u64> = indexes.iter().copied().collect();
    let lies_there = |kind: &EntryKind| match kind {
        EntryKind::File { extents, .. } => extents.iter().any(|extent| {
            chunk_range(extent.image_offset, extent.length_bytes).any(|index| indexes.contains(&index))
        }),
        _ => false,
    };
    root.entries.iter().filter(|entry| lies_there(&entry.kind)).map(|entry| entry.path.as_str()).collect()
}

fn chunk_range(offset_bytes: u64, length_bytes: u64) -> std::ops::Range<u64> {
    let chunk = CHUNK_BYTES as u64;
    offset_bytes / chunk..offset_bytes.saturating_add(length_bytes).div_ceil(chunk)
}

/// Printable and short, whatever the image's names are.
fn shown(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if clean.chars().count() <= NAME_CHARACTERS_MAX {
        return clean;
    }
    clean.chars().take(NAME_CHARACTERS_MAX).chain("…".chars()).collect()
}
