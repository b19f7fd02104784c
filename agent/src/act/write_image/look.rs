//! Looking at what a disk holds before anything is written.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use contract::id::ChunkDigest;
use imaging::chunk::{CHUNK_BYTES, digest_of, is_all_zeros};
use imaging::delta::{
    OnDisk, SWAP_HEADER_BYTES, WritePlan, chunks_to_write, has_swap_header, sample, swap_contents, write_plan,
};
use imaging::layout::DiskLayout;
use imaging::manifest::Manifest;

use crate::act::buffers::Buffers;
use crate::act::scan::scan_with;
use crate::act::work::Work;

/// So many chunks decide whether it is worth while to read the whole disk first.
const SAMPLE_CHUNKS: usize = 32;

/// So many chunks are handed to the readers at a time, which bounds the memory of their bookkeeping.
const SCANNED_AT_A_TIME: usize = 1 << 14;

/// What was found and what has to be done about it.
pub(super) struct Looked {
    /// The chunks that differ, without the first, which is made anew whenever anything is.
    pub differing: Vec<u64>,
    /// How they get their bytes.
    pub plan: WritePlan,
    /// Whether the first chunk differs, tables included.
    pub first_differs: bool,
    /// Whether the backup table differs.
    pub backup_differs: bool,
    /// Numbers of the swap partitions whose content was left as it is.
    pub swap: Vec<u32>,
    /// Set when only this many chunks were looked at, because none of them held anything of the image.
    pub unseen: Option<usize>,
}

impl Looked {
    /// Whether the disk is anything but the image.
    pub fn anything_to_write(&self) -> bool {
        !self.differing.is_empty() || self.first_differs || self.backup_differs
    }
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

/// Looks at the whole disk, unless a sample shows that it holds nothing of the image.
///
/// # Errors
/// When the kernel does not forget what it has cached. What cannot be read counts as different.
pub(super) fn look(work: &Work, manifest: &Manifest, layout: &DiskLayout) -> anyhow::Result<Looked> {
    work.drop_caches()?;
    let sampled = sample(manifest, layout, SAMPLE_CHUNKS);
    work.meter.begin("looking", sampled.iter().map(|index| manifest.chunk_length(*index) as u64).sum());
    if !sampled.is_empty() && !holds_something(work, manifest, &sampled) {
        let differing: Vec<u64> = (1..layout.image_chunks).collect();
        let plan = write_plan(manifest, &[], &differing);
        let unseen = Some(sampled.len());
        return Ok(Looked {
            differing,
            plan,
            first_differs: true,
            backup_differs: true,
            swap: Vec::new(),
            unseen,
        });
    }
    work.meter.begin("looking", layout.image_end_bytes);
    let found = read_digests(work, manifest, 0..layout.image_chunks);
    // A table that cannot be read is one that differs.
    let backup = work.read(layout.backup_table_offset, layout.backup_table.len());
    let backup_differs = backup.map_or(true, |found| found != layout.backup_table);
    let mut differing = chunks_to_write(manifest, layout, &found);
    let first_differs = differing.first() == Some(&0);
    let (swap, swapped_out): (Vec<u32>, Vec<Range<u64>>) = used_swap(work, manifest).into_iter().unzip();
    differing.retain(|index| *index != 0 && !swapped_out.iter().any(|chunks| chunks.contains(index)));
    let plan = write_plan(manifest, &found, &differing);
    Ok(Looked { differing, plan, first_differs, backup_differs, swap, unseen: None })
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
    read_digests(work, manifest, places.iter().copied())
        .iter()
        .any(|found| matches!(found, OnDisk::Read(digest) if of_image.contains(digest)))
}

fn read_digests(work: &Work, manifest: &Manifest, places: impl Iterator<Item = u64>) -> Vec<OnDisk> {
    let mut places = places.peekable();
    let mut found = Vec::new();
    while places.peek().is_some() {
        let ranges: Vec<Range<u64>> =
            places.by_ref().take(SCANNED_AT_A_TIME).map(|index| chunk_range(manifest, index)).collect();
        let (device, at_once) = (&*work.device, work.disks_at_once);
        let read = scan_with(&Buffers::default(), at_once, device, &ranges, &work.meter, |_, bytes| {
            digest_of_found(bytes)
        });
        found.extend(read.into_iter().map(|read| read.map_or(OnDisk::Unknown, OnDisk::Read)));
    }
    found
}
