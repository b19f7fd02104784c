//! Making a disk bit-identical to an image, writing only what differs.
//!
//! The order is the safety: both partition tables are destroyed and that is flushed before the first
//! other byte changes; the first MiB, without which no firmware finds anything, goes last, after all
//! else was read back. A disk on which this was cut short cannot boot.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use contract::id::ChunkDigest;
use contract::plan::Step;
use imaging::chunk::{CHUNK_BYTES, digest_of};
use imaging::delta::{OnDisk, chunks_to_write};
use imaging::layout::DiskLayout;
use imaging::manifest::{Chunk, Manifest};
use imaging::node_record::{NodeRecord, RECORD_BYTES, decode_newest, encode, encode_initial, slot_offset};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::begun::Begun;
use super::scan::scan;
use super::work::{Work, image_chunk};

/// How many chunks are fetched at a time; each takes up to two chunks of memory.
const FETCHES_MAX: usize = 8;

/// The identities that the plan gave to what is written.
#[derive(Debug, Clone, Copy)]
pub struct Identities {
    /// GUID of the disk.
    pub disk_guid: Uuid,
    /// GUID of the node's own partition.
    pub node_partition_guid: Uuid,
}

/// Where everything goes on the disk that is worked on.
///
/// # Errors
/// When the first chunk does not come or the image does not fit the disk. Nothing was written then.
pub async fn lay_out(work: &Work, manifest: &Manifest, identities: Identities) -> anyhow::Result<DiskLayout> {
    let first_chunk = image_chunk(&work.service, &work.meter, manifest, 0).await?;
    let (size, sector) = (work.device.size_bytes(), work.device.sector_bytes());
    DiskLayout::compute(
        manifest,
        &first_chunk,
        size,
        sector,
        identities.disk_guid,
        identities.node_partition_guid,
    )
    .with_context(|| format!("could not lay out the image on disk {}", work.disk))
}

/// Makes the disk what the layout says and proves it; gives the proof in words.
///
/// # Errors
/// When anything was not written or not read back as written. The disk cannot boot then, unless
/// nothing had to be written but the node's record.
pub async fn write_image(
    begun: Begun,
    work: &Work,
    manifest: Arc<Manifest>,
    layout: DiskLayout,
) -> anyhow::Result<String> {
    let Step::WriteImage { .. } = begun.step() else { bail!("this is no writing of an image") };
    let layout = Arc::new(layout);
    let identity =
        work.service.credential().await.context("could not get a credential for the installed system")?;
    let record = serde_json::to_vec(&identity).context("could not encode the node's record")?;

    let differing = find_differences(work, &manifest, &layout).await?;
    let shared = (Arc::clone(&manifest), Arc::clone(&layout));
    if !differing.any() {
        work.blocking(move |work| renew_node_record(work, &shared.1, &record)).await?;
        return Ok(format!(
            "all {} chunks and both partition tables were read and are as in the image; only the node's record was written and read back",
            layout.image_chunks
        ));
    }
    let indexes: Vec<u64> = differing.chunks.iter().copied().filter(|index| *index != 0).collect();
    work.blocking({
        let layout = Arc::clone(&layout);
        move |work| destroy_tables(work, &layout)
    })
    .await?;
    write_chunks(work, &manifest, &indexes).await?;
    let written = indexes.len();
    work.blocking(move |work| {
        work.flush()?;
        verify_chunks(work, &shared.0, &shared.1, &indexes)?;
        finish(work, &shared.1, &record)
    })
    .await?;
    Ok(format!(
        "{written} of {} chunks differed, were written and read back with the image's digests; both partition tables, the node's record and, last, the first MiB were written and read back",
        layout.image_chunks
    ))
}

/// What has to be written.
struct Differences {
    chunks: Vec<u64>,
    backup_table: bool,
}

impl Differences {
    fn any(&self) -> bool {
        !self.chunks.is_empty() || self.backup_table
    }
}

async fn find_differences(
    work: &Work,
    manifest: &Arc<Manifest>,
    layout: &Arc<DiskLayout>,
) -> anyhow::Result<Differences> {
    let (manifest, layout) = (Arc::clone(manifest), Arc::clone(layout));
    work.blocking(move |work| {
        work.drop_caches()?;
        work.meter.begin("looking", layout.image_end_bytes);
        let ranges: Vec<_> = (0..layout.image_chunks).map(|index| chunk_range(&manifest, index)).collect();
        let found: Vec<OnDisk> = scan(&*work.device, &ranges, &work.meter, |_, bytes| digest_of(bytes))
            .into_iter()
            .map(|read| read.map_or(OnDisk::Unknown, OnDisk::Read))
            .collect();
        // A table that cannot be read is one that differs.
        let table = work.read(layout.backup_table_offset, layout.backup_table.len());
        let backup_table = table.map_or(true, |found| found != layout.backup_table);
        Ok(Differences { chunks: chunks_to_write(&manifest, &layout, &found), backup_table })
    })
    .await
}

fn chunk_range(manifest: &Manifest, index: u64) -> std::ops::Range<u64> {
    let start = index * CHUNK_BYTES as u64;
    start..start + manifest.chunk_length(index) as u64
}

/// Takes away what firmware and kernels find partitions by. Only the places of the tables themselves
/// are written: the end of an old partition may lie just before the backup table.
fn destroy_tables(work: &Work, layout: &DiskLayout) -> anyhow::Result<()> {
    work.write(0, &vec![0; layout.first_chunk.len()])?;
    work.write(layout.backup_table_offset, &vec![0; layout.backup_table.len()])?;
    work.flush()?;
    work.drop_caches()?;
    let first = work.read(0, layout.first_chunk.len())?;
    let last = work.read(layout.backup_table_offset, layout.backup_table.len())?;
    if first.iter().chain(&last).any(|byte| *byte != 0) {
        bail!(
            "disk {} says that it wrote zeros over its partition tables, but they are still there; replace the disk",
            work.disk
        );
    }
    Ok(())
}

/// One content and all the places where it goes.
struct Placement {
    digest: Option<ChunkDigest>,
    indexes: Vec<u64>,
}

fn placements(manifest: &Manifest, indexes: &[u64]) -> Vec<Placement> {
    let mut by_content: BTreeMap<Option<ChunkDigest>, Placement> = BTreeMap::new();
    for &index in indexes {
        let digest = match manifest.chunk(index) {
            Some(Chunk::Stored(digest)) => Some(digest),
            Some(Chunk::Zero) | None => None,
        };
        by_content.entry(digest).or_insert(Placement { digest, indexes: Vec::new() }).indexes.push(index);
    }
    let mut placements: Vec<Placement> = by_content.into_values().collect();
    placements.sort_by_key(|placement| placement.indexes.first().copied());
    placements
}

/// Writes these chunks, several at a time. When one fails the others under way are waited for, so
/// that nothing is written any more after this has returned.
async fn write_chunks(work: &Work, manifest: &Arc<Manifest>, indexes: &[u64]) -> anyhow::Result<()> {
    let total: u64 = indexes.iter().map(|index| manifest.chunk_length(*index) as u64).sum();
    work.meter.begin("writing", total);
    let mut waiting = placements(manifest, indexes).into_iter();
    let mut running = JoinSet::new();
    let mut outcome = Ok(());
    loop {
        while outcome.is_ok() && running.len() < FETCHES_MAX {
            let Some(placement) = waiting.next() else { break };
            running.spawn(place(work.clone(), Arc::clone(manifest), placement));
        }
        match running.join_next().await {
            None => return outcome,
            Some(result) => {
                let result = result.context("a task that wrote a chunk ended early").and_then(|inner| inner);
                outcome = outcome.and(result);
            }
        }
    }
}

async fn place(work: Work, manifest: Arc<Manifest>, placement: Placement) -> anyhow::Result<()> {
    let Some(first) = placement.indexes.first().copied() else { return Ok(()) };
    let bytes = match placement.digest {
        Some(_) => image_chunk(&work.service, &work.meter, &manifest, first).await?,
        None => vec![0; CHUNK_BYTES],
    };
    work.blocking(move |work| {
        for index in placement.indexes {
            let length = manifest.chunk_length(index);
            let Some(bytes) = bytes.get(..length) else { bail!("chunk {index} is shorter than its place") };
            work.write(index * CHUNK_BYTES as u64, bytes)?;
            work.meter.advance(length as u64);
        }
        Ok(())
    })
    .await
}

fn verify_chunks(
    work: &Work,
    manifest: &Manifest,
    layout: &DiskLayout,
    indexes: &[u64],
) -> anyhow::Result<()> {
    work.drop_caches()?;
    let ranges: Vec<_> = indexes.iter().map(|index| chunk_range(manifest, *index)).collect();
    work.meter.begin("verifying", ranges.iter().map(|range| range.end - range.start).sum());
    let found = scan(&*work.device, &ranges, &work.meter, |_, bytes| digest_of(bytes));
    for (index, found) in indexes.iter().zip(found) {
        let found = found.with_context(|| {
            format!("could not read back chunk {index} from disk {}; replace the disk", work.disk)
        })?;
        if layout.chunk_digest(manifest, *index) != Some(found) {
            bail!(
                "chunk {index} was written to disk {} and reads back with other bytes; replace the disk",
                work.disk
            );
        }
    }
    Ok(())
}

/// Node record, backup table, and last the first MiB; each is read back.
fn finish(work: &Work, layout: &DiskLayout, record: &[u8]) -> anyhow::Result<()> {
    let slots = encode_initial(record)?;
    work.write(layout.node_partition.offset, &slots)?;
    work.write(layout.backup_table_offset, &layout.backup_table)?;
    work.flush()?;
    work.drop_caches()?;
    expect(work, layout.node_partition.offset, &slots, "the node's record")?;
    expect(work, layout.backup_table_offset, &layout.backup_table, "the backup partition table")?;
    work.write(0, &layout.first_chunk)?;
    let proven = work
        .flush()
        .and_then(|()| work.drop_caches())
        .and_then(|()| expect(work, 0, &layout.first_chunk, "the first MiB"));
    if let Err(error) = proven {
        // What is not proven must not boot.
        return match destroy_tables(work, layout) {
            Ok(()) => Err(error),
            Err(also) => {
                Err(error
                    .context(format!("and the partition tables could not be taken away again: {also:#}")))
            }
        };
    }
    if let Err(error) = work.device.reread_partitions() {
        tracing::warn!(%error, disk = %work.disk, "the kernel did not read the new partition table");
    }
    Ok(())
}

/// Writes the record beside the one that is there, so that a power cut leaves one of the two.
fn renew_node_record(work: &Work, layout: &DiskLayout, record: &[u8]) -> anyhow::Result<()> {
    let place = layout.node_partition.offset;
    let found = work.read(place, RECORD_BYTES)?;
    let (offset, bytes) = match decode_newest(&found) {
        NodeRecord::Value { sequence, .. } if sequence < u64::MAX => {
            (place + slot_offset(sequence + 1), encode(sequence + 1, record)?)
        }
        NodeRecord::Value { .. } | NodeRecord::Absent | NodeRecord::Damaged { .. } => {
            (place, encode_initial(record)?)
        }
    };
    work.write(offset, &bytes)?;
    work.flush()?;
    work.drop_caches()?;
    expect(work, offset, &bytes, "the node's record")
}

fn expect(work: &Work, offset_bytes: u64, expected: &[u8], what: &str) -> anyhow::Result<()> {
    if work.read(offset_bytes, expected.len())? == expected {
        return Ok(());
    }
    bail!("{what} was written to disk {} and reads back with other bytes; replace the disk", work.disk)
}
