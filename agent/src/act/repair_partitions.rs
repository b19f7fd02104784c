//! Putting immutable partitions back, byte for byte, and nothing beside them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, bail};
use contract::plan::Step;
use imaging::chunk::{CHUNK_BYTES, digest_of};
use imaging::gpt::Gpt;
use imaging::manifest::{ChunkPiece, Manifest, ManifestPartition};

use super::begun::Begun;
use super::scan::{scan, whole_sectors};
use super::work::{Work, image_chunk};
use crate::image_check::{DiskSource, digest_of_range};

/// Rewrites what differs in these partitions and proves each by its digest.
///
/// # Errors
/// When a partition is not where the image has it or may change on a node (nothing is written then),
/// or when anything could not be written or was not read back as written.
pub async fn repair_partitions(begun: Begun, work: &Work, manifest: Arc<Manifest>) -> anyhow::Result<String> {
    let Step::RepairPartitions { partitions, .. } = begun.step() else {
        bail!("this is no repair of partitions")
    };
    let mut targets = Vec::new();
    for number in partitions {
        targets.push(immutable_partition(&manifest, *number)?.clone());
    }
    let targets = Arc::new(targets);
    let places = Arc::clone(&targets);
    work.blocking(move |work| check_places(work, &places)).await?;

    let mut rewritten = 0_u64;
    for target in targets.iter() {
        rewritten += repair_one(work, &manifest, target).await?;
    }
    work.blocking(move |work| prove(work, &targets)).await?;
    Ok(format!(
        "{rewritten} pieces of {} partitions were rewritten; the whole of each was read back with the image's digest",
        partitions.len()
    ))
}

fn immutable_partition(manifest: &Manifest, number: u32) -> anyhow::Result<&ManifestPartition> {
    let partition = manifest
        .partition(number)
        .with_context(|| format!("the image {} has no partition {number}", manifest.name))?;
    if partition.immutable.is_none() {
        bail!("partition {number} of the image {} may change on a node; it is not repaired", manifest.name);
    }
    Ok(partition)
}

/// The disk must have these partitions exactly where the image has them: what lies elsewhere is not ours.
fn check_places(work: &Work, targets: &[ManifestPartition]) -> anyhow::Result<()> {
    work.drop_caches()?;
    let table = Gpt::read(&DiskSource(&*work.device)).with_context(|| {
        format!("could not read the partition table of disk {}; nothing was written", work.disk)
    })?;
    let sector = u64::from(table.sector_bytes);
    for target in targets {
        let same = table.partitions.iter().any(|found| {
            found.number == target.number
                && found.first_sector.checked_mul(sector) == Some(target.first_byte)
                && found.last_sector.checked_add(1).and_then(|end| end.checked_mul(sector))
                    == Some(target.end_byte())
        });
        if !same {
            bail!(
                "partition {} of disk {} is not where the image has it; nothing was written",
                target.number,
                work.disk
            );
        }
    }
    Ok(())
}

/// What has to be written of one chunk.
struct Differing {
    piece: ChunkPiece,
    range: Range<u64>,
}

async fn repair_one(
    work: &Work,
    manifest: &Arc<Manifest>,
    target: &ManifestPartition,
) -> anyhow::Result<u64> {
    let pieces = manifest.pieces(target.first_byte, target.length_bytes);
    let edges = edge_contents(work, manifest, &pieces).await?;
    work.meter.begin("repairing", target.length_bytes);
    let differing = {
        let (manifest, edges) = (Arc::clone(manifest), Arc::clone(&edges));
        work.blocking(move |work| Ok(differing_pieces(work, &manifest, &pieces, &edges))).await?
    };
    let count = differing.len() as u64;
    for Differing { piece, range } in differing {
        let bytes = match edges.get(&piece.index) {
            Some(bytes) => bytes.clone(),
            None => image_chunk(&work.service, &work.meter, manifest, piece.index).await?,
        };
        work.blocking(move |work| {
            let content = bytes.get(piece.from..piece.until).context("a chunk is shorter than its place")?;
            if whole_sectors(&range, work.device.sector_bytes()) != range {
                bail!("the bytes {range:?} of disk {} are not whole sectors", work.disk);
            }
            work.write(range.start, content)
        })
        .await?;
    }
    Ok(count)
}

/// Chunks of which the partition has only a part: a digest of the part is not in the manifest, so
/// the chunk itself is needed to compare. There are at most two for a partition.
async fn edge_contents(
    work: &Work,
    manifest: &Manifest,
    pieces: &[ChunkPiece],
) -> anyhow::Result<Arc<BTreeMap<u64, Vec<u8>>>> {
    let mut contents = BTreeMap::new();
    for piece in pieces.iter().filter(|piece| !is_whole(manifest, piece)) {
        contents.insert(piece.index, image_chunk(&work.service, &work.meter, manifest, piece.index).await?);
    }
    Ok(Arc::new(contents))
}

fn is_whole(manifest: &Manifest, piece: &ChunkPiece) -> bool {
    piece.from == 0 && piece.until == manifest.chunk_length(piece.index)
}

fn place_of(piece: &ChunkPiece) -> Range<u64> {
    let start = piece.index * CHUNK_BYTES as u64;
    start + piece.from as u64..start + piece.until as u64
}

fn differing_pieces(
    work: &Work,
    manifest: &Manifest,
    pieces: &[ChunkPiece],
    edges: &BTreeMap<u64, Vec<u8>>,
) -> Vec<Differing> {
    let ranges: Vec<Range<u64>> = pieces.iter().map(place_of).collect();
    let same = scan(&*work.device, &ranges, &work.meter, |at, bytes| {
        let Some(piece) = pieces.get(at) else { return false };
        match edges.get(&piece.index) {
            Some(chunk) => chunk.get(piece.from..piece.until) == Some(bytes),
            None => Some(digest_of(bytes)) == manifest.chunk_digest(piece.index),
        }
    });
    // What cannot be read is written: the device may put a sector that it cannot read elsewhere.
    let differs = same.into_iter().map(|same| !matches!(same, Ok(true)));
    let found = pieces.iter().zip(ranges).zip(differs).filter(|(_, differs)| *differs);
    found.map(|((piece, range), _)| Differing { piece: *piece, range }).collect()
}

fn prove(work: &Work, targets: &[ManifestPartition]) -> anyhow::Result<()> {
    work.flush()?;
    work.drop_caches()?;
    for target in targets {
        work.meter.begin("verifying", target.length_bytes);
        let found =
            digest_of_range(&*work.device, target.first_byte, target.length_bytes).with_context(|| {
                format!(
                    "could not read back partition {} of disk {}; replace the disk",
                    target.number, work.disk
                )
            })?;
        work.meter.count_read(target.length_bytes);
        if target.immutable != Some(found) {
            bail!(
                "partition {} of disk {} was written and reads back with other bytes; reimage or replace the disk",
                target.number,
                work.disk
            );
        }
    }
    Ok(())
}
