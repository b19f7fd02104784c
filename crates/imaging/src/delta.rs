//! Which chunks of a disk differ from what the disk should have, and where their bytes come from. Only
//! those are written.

mod describe;
mod ordered;
mod swap;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use contract::id::ChunkDigest;

pub use crate::delta::describe::describe;
use crate::delta::ordered::sources_read_in_time;
pub use crate::delta::swap::{SWAP_HEADER_BYTES, has_swap_header, swap_contents};
use crate::layout::DiskLayout;
use crate::manifest::{Chunk, Manifest};

/// A run of zero chunks is cut into runs of at most this many chunks, so that several can be written
/// at a time.
const ZERO_RUN_CHUNKS_MAX: u64 = 16;

/// What was found where a chunk should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisk {
    /// It was read and has this digest.
    Read(ChunkDigest),
    /// It could not be read, or was not looked at. It is written: unknown is never equal.
    Unknown,
}

/// The indexes of the chunks to write, ascending; the first chunk, if it is among them, must go last.
/// `found` says what stands on the disk, chunk by chunk from the first; what it leaves out is unknown.
#[must_use]
pub fn chunks_to_write(manifest: &Manifest, layout: &DiskLayout, found: &[OnDisk]) -> Vec<u64> {
    let differs = |index: &u64| {
        let on_disk = usize::try_from(*index).ok().and_then(|at| found.get(at)).copied();
        match (on_disk, layout.chunk_digest(manifest, *index)) {
            (Some(OnDisk::Read(digest)), Some(expected)) => digest != expected,
            _ => true,
        }
    };
    (0..layout.image_chunks).filter(differs).collect()
}

/// Indexes of at most `most` chunks with content, evenly spread over the image and without the first.
/// What a disk holds in these places tells whether a look at all of it is worth while.
#[must_use]
pub fn sample(manifest: &Manifest, layout: &DiskLayout, most: usize) -> Vec<u64> {
    let stored: Vec<u64> = (1..layout.image_chunks)
        .filter(|index| matches!(manifest.chunk(*index), Some(Chunk::Stored(_))))
        .collect();
    let step = stored.len().div_ceil(most.max(1)).max(1);
    stored.into_iter().step_by(step).collect()
}

/// One content and all the places where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Its digest.
    pub digest: ChunkDigest,
    /// Indexes of the chunks that are to have it, ascending; never empty.
    pub to: Vec<u64>,
}

/// A content that the disk already has, in a place where it does not belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Index of the chunk that has it now.
    pub from: u64,
    /// What it is and where it goes.
    pub placement: Placement,
}

/// How the chunks to write get their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WritePlan {
    /// Read from the disk itself. To be done in this order and before everything else: then no source
    /// is overwritten before it was read.
    pub copies: Vec<Copy>,
    /// Fetched, ordered by first place.
    pub fetches: Vec<Placement>,
    /// Runs of chunks that become zeros, each of a bounded length.
    pub zero_runs: Vec<Range<u64>>,
}

/// How these chunks (ascending, without the first) get their bytes on a disk where `found` was found.
/// A copy's source is compared with its digest again when it is read; what `found` says is only a hint.
#[must_use]
pub fn write_plan(manifest: &Manifest, found: &[OnDisk], indexes: &[u64]) -> WritePlan {
    let mut contents: BTreeMap<ChunkDigest, Vec<u64>> = BTreeMap::new();
    let mut zero_runs: Vec<Range<u64>> = Vec::new();
    for &index in indexes {
        match manifest.chunk(index) {
            Some(Chunk::Stored(digest)) => contents.entry(digest).or_default().push(index),
            Some(Chunk::Zero) | None => lengthen(&mut zero_runs, index),
        }
    }
    let sources = sources(manifest, found, indexes, &contents);
    let mut copies = Vec::new();
    let mut fetches = Vec::new();
    for (digest, to) in contents {
        let placement = Placement { digest, to };
        match sources.get(&digest) {
            Some(&from) => copies.push(Copy { from, placement }),
            None => fetches.push(placement),
        }
    }
    let (copies, too_late) = sources_read_in_time(copies);
    fetches.extend(too_late);
    fetches.sort_by_key(|placement| placement.to.first().copied());
    WritePlan { copies, fetches, zero_runs }
}

fn lengthen(runs: &mut Vec<Range<u64>>, index: u64) {
    match runs.last_mut() {
        Some(run) if run.end == index && run.end - run.start < ZERO_RUN_CHUNKS_MAX => run.end = index + 1,
        _ => runs.push(index..index + 1),
    }
}

/// Where on the disk contents are that are needed elsewhere. A place that keeps its content is
/// preferred, for it can be read at any time. The first chunk is none: it is overwritten first.
fn sources(
    manifest: &Manifest,
    found: &[OnDisk],
    indexes: &[u64],
    contents: &BTreeMap<ChunkDigest, Vec<u64>>,
) -> HashMap<ChunkDigest, u64> {
    let overwritten: HashSet<u64> = indexes.iter().copied().collect();
    let mut sources: HashMap<ChunkDigest, u64> = HashMap::new();
    for (index, on_disk) in (0_u64..).zip(found).skip(1) {
        let OnDisk::Read(digest) = on_disk else { continue };
        let Some(to) = contents.get(digest).and_then(|to| to.first()) else { continue };
        if manifest.chunk_length(index) != manifest.chunk_length(*to) {
            continue;
        }
        let kept = sources.entry(*digest).or_insert(index);
        if overwritten.contains(kept) && !overwritten.contains(&index) {
            *kept = index;
        }
    }
    sources
}

#[cfg(test)]
mod tests;
