//! Looking at what a disk holds before anything is written.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{LazyLock, mpsc};
use std::thread;

use anyhow::anyhow;
use contract::id::ChunkDigest;
use imaging::chunk::{CHUNK_BYTES, digest_of, is_all_zeros};
use imaging::delta::{
    OnDisk, SWAP_HEADER_BYTES, WritePlan, chunks_to_write, has_swap_header, sample, swap_contents, write_plan,
};
use imaging::layout::DiskLayout;
use imaging::manifest::Manifest;

use crate::act::work::Work;

/// So many chunks decide whether it is worth while to read the whole disk first.
const SAMPLE_CHUNKS: usize = 32;

/// So many chunks are handed to the readers at a time, which bounds the memory of their bookkeeping.
const SCANNED_AT_A_TIME: usize = 1 << 14;

/// What was found and what has to be done about it.
pub(super) struct Looked<T> {
    /// The chunks that differ, without the first, which is made anew whenever anything is.
    pub differing: Vec<u64>,
    /// How they get their bytes.
    pub plan: WritePlan,
    /// Numbers of the swap partitions whose content was left as it is.
    pub swap: Vec<u32>,
    /// Set when only this many chunks were looked at, because none of them held anything of the image.
    pub unseen: Option<usize>,
    /// What was done as soon as a difference was known; none where the disk is the image.
    pub ready: Option<T>,
}

/// Where a chunk lies.
pub(super) fn chunk_range(manifest: &Manifest, index: u64) -> Range<u64> {
    let start = index * CHUNK_BYTES as u64;
    start..start + manifest.chunk_length(index) as u64
}

/// The digest of what was read. Most of most disks is zeros, and these are compared faster than hashed.
pub(super) fn digest_of_found(bytes: &[u8]) -> ChunkDigest {
    static ZEROS: LazyLock<ChunkDigest> = LazyLock::new(|| digest_of(&vec![0; CHUNK_BYTES]));
    if bytes.len() == CHUNK_BYTES && is_all_zeros(bytes) { *ZEROS } else { digest_of(bytes) }
}

/// Looks at the whole disk, unless a sample shows that it holds nothing of the image. As soon as one
/// difference is known, `get_ready` is called beside the further look, which reads neither end of the disk
/// any more: with how many bytes at the start of the disk have to be written.
///
/// # Errors
/// When the kernel does not forget what it has cached, and those of `get_ready`. What cannot be read counts
/// as different.
pub(super) fn look<T: Send>(
    work: &Work,
    manifest: &Manifest,
    layout: &DiskLayout,
    get_ready: impl FnOnce(usize) -> anyhow::Result<T> + Send,
) -> anyhow::Result<Looked<T>> {
    work.drop_caches()?;
    let sampled = sample(manifest, layout, SAMPLE_CHUNKS);
    work.meter.begin("looking", sampled.iter().map(|index| manifest.chunk_length(*index) as u64).sum());
    if !sampled.is_empty() && !holds_something(work, manifest, &sampled) {
        let differing: Vec<u64> = (1..layout.image_chunks).collect();
        let plan = write_plan(manifest, &[], &differing);
        let ready = Some(get_ready(layout.first_chunk.len())?);
        return Ok(Looked { differing, plan, swap: Vec::new(), unseen: Some(sampled.len()), ready });
    }
    work.meter.begin("looking", layout.image_end_bytes);
    let mut found = read_digests(work, manifest, 0..1, |_, _| ());
    let expected = |index| layout.chunk_digest(manifest, index).map(OnDisk::Read);
    let first_differs = found.first().copied() != expected(0);
    // A table that cannot be read is one that differs.
    let backup = work.read(layout.backup_table_offset, layout.backup_table.len());
    let ends_differ = first_differs || backup.map_or(true, |found| found != layout.backup_table);
    let start_bytes = if first_differs { layout.first_chunk.len() } else { layout.tables_bytes() };
    let (swap, swapped_out): (Vec<u32>, Vec<Range<u64>>) = used_swap(work, manifest).into_iter().unzip();
    let is_swapped_out = |index: u64| swapped_out.iter().any(|chunks| chunks.contains(&index));
    let ready = beside(
        || get_ready(start_bytes),
        |known| {
            if ends_differ {
                known();
            }
            found.extend(read_digests(work, manifest, 1..layout.image_chunks, |index, on_disk| {
                if Some(on_disk) != expected(index) && !is_swapped_out(index) {
                    known();
                }
            }));
        },
    )?;
    let mut differing = chunks_to_write(manifest, layout, &found);
    differing.retain(|index| *index != 0 && !is_swapped_out(*index));
    let plan = write_plan(manifest, &found, &differing);
    Ok(Looked { differing, plan, swap, unseen: None, ready })
}

/// Calls `react` on another thread as soon as `work` says that it is known that it must be, or never; returns
/// when both are done, with what came of it.
fn beside<T: Send>(
    react: impl FnOnce() -> anyhow::Result<T> + Send,
    work: impl FnOnce(&(dyn Fn() + Sync)),
) -> anyhow::Result<Option<T>> {
    let (tell, told) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let reacting = scope.spawn(move || told.recv().ok().map(|()| react()).transpose());
        // Only the first word counts; nobody hears the others.
        work(&|| {
            let _ = tell.try_send(());
        });
        drop(tell);
        reacting.join().map_err(|_| anyhow!("a thread that gets a disk ready to be written ended early"))?
    })
}

/// The swap partitions that can be used as they are, with the chunks that need not be the image's. One
/// whose header is gone or cannot be read is made anew.
fn used_swap(work: &Work, manifest: &Manifest) -> Vec<(u32, Range<u64>)> {
    let stands = |first_byte, length_bytes: u64| {
        let length = length_bytes.min(SWAP_HEADER_BYTES as u64);
        work.read(first_byte, length as usize).is_ok_and(|start| has_swap_header(&start))
    };
    swap_contents(manifest)
        .filter(|(swap, _)| stands(swap.first_byte, swap.length_bytes))
        .map(|(swap, chunks)| (swap.number, chunks))
        .collect()
}

/// Whether any of these places holds any chunk of the image, be it in its place or not.
fn holds_something(work: &Work, manifest: &Manifest, places: &[u64]) -> bool {
    let of_image: HashSet<ChunkDigest> = manifest.chunks.stored().collect();
    read_digests(work, manifest, places.iter().copied(), |_, _| ())
        .iter()
        .any(|found| matches!(found, OnDisk::Read(digest) if of_image.contains(digest)))
}

/// What stands in these places; `inspect` is told of each, in any order.
fn read_digests(
    work: &Work,
    manifest: &Manifest,
    places: impl Iterator<Item = u64>,
    inspect: impl Fn(u64, OnDisk) + Sync,
) -> Vec<OnDisk> {
    let mut places = places.peekable();
    let mut found = Vec::new();
    while places.peek().is_some() {
        let indexes: Vec<u64> = places.by_ref().take(SCANNED_AT_A_TIME).collect();
        let ranges: Vec<Range<u64>> = indexes.iter().map(|index| chunk_range(manifest, *index)).collect();
        let read = work.scan(&ranges, |at, bytes| {
            let digest = digest_of_found(bytes);
            indexes.get(at).iter().for_each(|index| inspect(**index, OnDisk::Read(digest)));
            digest
        });
        for (index, read) in indexes.iter().zip(read) {
            found.push(read.map_or(OnDisk::Unknown, OnDisk::Read));
            if found.last() == Some(&OnDisk::Unknown) {
                inspect(*index, OnDisk::Unknown);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
