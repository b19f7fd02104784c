//! Making a disk bit-identical to an image, writing only what differs.
//!
//! The order is the safety: both partition tables are destroyed and that is flushed before the first
//! other byte changes; the first MiB, without which no firmware finds anything, goes last, after all
//! else was read back. A disk on which this was cut short cannot boot. Where the rest of the first MiB
//! is right already, only the MBR and the primary table in it are destroyed and written. A table is there
//! or is not: `tables` takes it away and puts it there by the sector with its header, alone.

mod data_disk;
mod look;
mod stream;
mod tables;

use std::slice;
use std::sync::Arc;

use anyhow::{Context, bail};
use contract::plan::{KeptPartition, Step};
use contract::root_size::RootSize;
use imaging::delta::describe;
use imaging::layout::{DiskLayout, LayoutRequest, OurPartitions, data_partitions, read_table};
use imaging::manifest::Manifest;
use imaging::node_record::{NodeRecord, RECORD_BYTES, decode_newest, encode, encode_initial, slot_offset};
use uuid::Uuid;

use super::begun::Begun;
use super::others::Others;
use super::seed::Seed;
use super::work::{Work, image_chunk};
use crate::image_check::DiskSource;
pub use data_disk::{WantedData, lay_out_data, write_data_image};
use look::{Looked, look};
use stream::{Stream, Written};
use tables::{destroy_tables, write_backup_entries, write_backup_header};

/// What the plan says of the disk as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// GUID of the disk.
    pub disk_guid: Uuid,
    /// GUID of the node's own partition.
    pub node_partition_guid: Uuid,
    /// How large the root partition becomes.
    pub root_size: RootSize,
    /// The partitions that stay as they are.
    pub keep: &'a [KeptPartition],
}

/// Where everything goes on the disk that is worked on.
///
/// # Errors
/// When the first chunk does not come, the image and what is kept do not fit the disk, or what is to be
/// kept is not there. Nothing was written then.
pub async fn lay_out(work: &Work, manifest: &Manifest, wanted: Wanted<'_>) -> anyhow::Result<DiskLayout> {
    let keep = wanted.keep.to_vec();
    work.blocking(move |work| check_kept(work, &keep)).await?;
    let first_chunk = image_chunk(&work.service, &work.meter, manifest, 0).await?;
    let request = LayoutRequest {
        disk_bytes: work.device.size_bytes(),
        sector_bytes: work.device.sector_bytes(),
        disk_guid: wanted.disk_guid,
        node_partition_guid: wanted.node_partition_guid,
        root_size: wanted.root_size,
        keep: wanted.keep,
    };
    DiskLayout::compute(manifest, &first_chunk, &request)
        .with_context(|| format!("could not lay out the image on disk {}", work.disk))
}

/// Makes sure that what the plan keeps stands in the disk's table, exactly. A disk without any table is
/// one on which writing was cut off, and then the plan alone knows.
fn check_kept(work: &Work, keep: &[KeptPartition]) -> anyhow::Result<()> {
    if keep.is_empty() {
        return Ok(());
    }
    work.drop_caches()?;
    let table = read_table(&DiskSource(&*work.device)).with_context(|| {
        format!("could not tell which partitions of disk {} hold data that must stay", work.disk)
    })?;
    let Some(table) = table else { return Ok(()) };
    let found = data_partitions(&table, &[]);
    match keep.iter().find(|kept| !found.contains(kept)) {
        None => Ok(()),
        Some(kept) => bail!(
            "{kept} must stay and is not in the partition table of disk {} as the plan has it; look again",
            work.disk
        ),
    }
}

/// What stands in the partitions of ours.
struct Own {
    places: OurPartitions,
    record: Vec<u8>,
    seed: Seed,
}

/// Makes the disk what the layout says and proves it; gives the proof in words. It gets its tables when
/// all `others` are proven.
///
/// # Errors
/// When anything was not written or not read back as written, or one of the others was not proven. The
/// disk cannot boot then, unless nothing had to be written but the node's record.
pub async fn write_image(
    begun: &Begun,
    work: &Work,
    manifest: Arc<Manifest>,
    layout: DiskLayout,
    seed: Seed,
    others: Others,
) -> anyhow::Result<String> {
    let Step::WriteImage { keep, .. } = begun.step() else { bail!("this is no writing of an image") };
    let places = layout.ours.context("the layout has no place for the node's record")?;
    let identity =
        work.service.credential().await.context("could not get a credential for the installed system")?;
    let record = serde_json::to_vec(&identity).context("could not encode the node's record")?;
    let own = Own { places, record, seed };
    let proof = make_so(work, manifest, Arc::new(layout), Some(own), others).await?;
    Ok(proof + &kept_in_words(keep))
}

/// Looks, and writes and proves what differs.
async fn make_so(
    work: &Work,
    manifest: Arc<Manifest>,
    layout: Arc<DiskLayout>,
    own: Option<Own>,
    others: Others,
) -> anyhow::Result<String> {
    let (own, looked) = {
        let (manifest, layout) = (Arc::clone(&manifest), Arc::clone(&layout));
        work.blocking(move |work| {
            let get_ready = |start_bytes| get_ready(work, &layout, own.as_ref(), start_bytes);
            let looked = look(work, &manifest, &layout, get_ready)?;
            Ok((own, looked))
        })
        .await?
    };
    let found = found_in_words(&looked, &manifest, &layout);
    let swap = swap_in_words(&looked.swap);
    let Some(ready) = looked.ready else {
        others.all_proven().await?;
        let renewed = work.blocking(move |work| own.map(|own| renew(work, &own)).transpose()).await?;
        return Ok(nothing_written_in_words(layout.image_chunks, renewed) + &swap);
    };
    tracing::info!(disk = %work.disk, "{found}");
    let start_bytes = ready.start_bytes;
    let stream = Stream::new(work, Arc::clone(&manifest), Arc::clone(&layout), looked.unseen.is_some());
    let written = stream.write(looked.plan).await?;
    others.all_proven().await?;
    let finished = work.blocking({
        let layout = Arc::clone(&layout);
        move |work| {
            let seeded = own.as_ref().map(|own| own.seed.write(work, own.places.seed)).transpose()?;
            finish(work, &layout, &ready)?;
            Ok(seeded)
        }
    });
    let seeded = finished.await?;
    if let Err(error) = stream.look_once_more(&looked.differing).await {
        return work.blocking(move |work| must_not_boot(work, &layout, start_bytes, error)).await;
    }
    Ok(format!("{found}; {}{swap}", written_in_words(&written, seeded.as_deref())))
}

/// The node's record and data, where the image itself is right.
fn renew(work: &Work, own: &Own) -> anyhow::Result<String> {
    let (offset, bytes) = node_record(work, own)?;
    work.write(offset, &bytes)?;
    work.flush()?;
    work.drop_caches()?;
    expect(work, offset, &bytes, "the node's record")?;
    own.seed.write(work, own.places.seed)
}

/// What was left alone, for the end of the proof.
fn kept_in_words(keep: &[KeptPartition]) -> String {
    match keep {
        [] => String::new(),
        _ => {
            let names: Vec<String> = keep.iter().map(ToString::to_string).collect();
            format!("; {} stayed as they were, in the new tables and with every byte", names.join(", "))
        }
    }
}

/// What was found different, in a bounded number of words.
fn found_in_words(looked: &Looked<Ready>, manifest: &Manifest, layout: &DiskLayout) -> String {
    let total = layout.image_chunks;
    if let Some(sampled) = looked.unseen {
        return format!(
            "none of {sampled} chunks looked at holds anything of the image, so all {total} chunks are made anew"
        );
    }
    let differing = &looked.differing;
    match differing.is_empty() {
        true => format!("of {total} chunks only the first or the partition tables differed"),
        false => {
            format!("{} of {total} chunks differed: {}", differing.len(), describe(manifest, differing))
        }
    }
}

/// `renewed` says what became of the node's data; none on a data disk.
fn nothing_written_in_words(chunks: u64, renewed: Option<String>) -> String {
    let right = format!("all {chunks} chunks and both partition tables were read and are as in the image");
    match renewed {
        Some(seeded) => format!("{right}; only the node's record was written and read back; {seeded}"),
        None => format!("{right}; nothing was written"),
    }
}

fn swap_in_words(swap: &[u32]) -> String {
    swap.iter().map(|number| format!("; what is swapped out to partition {number} was left there")).collect()
}

/// `seeded` says what became of the node's data; none on a data disk.
fn written_in_words(written: &Written, seeded: Option<&str>) -> String {
    let Written { fetched, copied, zeroed, zero_already } = written;
    let record = if seeded.is_some() { ", the node's record" } else { "" };
    let seeded = seeded.map_or(String::new(), |seeded| format!("; {seeded}"));
    format!(
        "{fetched} chunks were written from the service, {copied} from elsewhere on the disk, {zeroed} were made zeros and {zero_already} were found to be zeros; what was written was flushed and read back with the image's digests; both partition tables{record} and, last, the first MiB were written and read back{seeded}"
    )
}

/// A disk that has no tables any more, and durably what can be there before them.
struct Ready {
    /// How much of its start has to be written, last of all.
    start_bytes: usize,
    /// Where the node's record was written, and its bytes.
    record: Option<(u64, Vec<u8>)>,
}

/// Takes the tables away, durably, and then writes what nobody finds without them: the node's record, and
/// the backup table but for its header.
fn get_ready(
    work: &Work,
    layout: &DiskLayout,
    own: Option<&Own>,
    start_bytes: usize,
) -> anyhow::Result<Ready> {
    destroy_tables(work, layout, start_bytes)?;
    let record = own.map(|own| node_record(work, own)).transpose()?;
    if let Some((offset, slots)) = &record {
        work.write(*offset, slots)?;
    }
    write_backup_entries(work, layout)?;
    work.flush()?;
    Ok(Ready { start_bytes, record })
}

/// The header of the backup table, and last the start of a disk that was got ready and then written to. What
/// makes its tables is read back, and the first MiB wholly.
fn finish(work: &Work, layout: &DiskLayout, ready: &Ready) -> anyhow::Result<()> {
    let start_bytes = ready.start_bytes;
    let Some(start) = layout.first_chunk.get(..start_bytes) else {
        bail!("the first MiB has no {start_bytes} bytes");
    };
    // The stream and the seed have flushed what they wrote, and what was got ready is flushed.
    write_backup_header(work, layout)?;
    work.drop_caches()?;
    if let Some((offset, slots)) = &ready.record {
        expect(work, *offset, slots, "the node's record")?;
    }
    expect(work, layout.backup_table_offset, &layout.backup_table, "the backup partition table")?;
    work.write(0, start)?;
    let proven = work
        .flush()
        .and_then(|()| work.drop_caches())
        .and_then(|()| expect(work, 0, &layout.first_chunk, "the first MiB"));
    if let Err(error) = proven {
        return must_not_boot(work, layout, start_bytes, error);
    }
    if let Err(error) = work.device.reread_partitions() {
        tracing::warn!(%error, disk = %work.disk, "the kernel did not read the new partition table");
    }
    Ok(())
}

/// What is not proven must not boot: takes the tables away again and gives the error.
fn must_not_boot<T>(
    work: &Work,
    layout: &DiskLayout,
    start_bytes: usize,
    error: anyhow::Error,
) -> anyhow::Result<T> {
    let Err(also) = destroy_tables(work, layout, start_bytes) else { return Err(error) };
    // Whatever of the rest the disk does not take: without its start nothing boots from it.
    if let Err(error) = work.write(0, &vec![0; start_bytes]).and_then(|()| work.flush()) {
        tracing::warn!(%error, disk = %work.disk, "the start of a disk could not be taken away");
    }
    Err(error.context(format!("and the partition tables could not be taken away again: {also:#}")))
}

/// Where the record goes, and its bytes: beside the one that is there, so that a power cut leaves one
/// of the two; both places where none can be read.
fn node_record(work: &Work, own: &Own) -> anyhow::Result<(u64, Vec<u8>)> {
    let (place, record) = (own.places.node.offset, &own.record);
    // What cannot be read holds no record, and writing it may mend it: it is read back.
    let found = work.read(place, RECORD_BYTES).map_or(NodeRecord::Absent, |found| decode_newest(&found));
    Ok(match found {
        NodeRecord::Value { sequence, .. } if sequence < u64::MAX => {
            (place + slot_offset(sequence + 1), encode(sequence + 1, record)?)
        }
        NodeRecord::Value { .. } | NodeRecord::Absent | NodeRecord::Damaged { .. } => {
            (place, encode_initial(record)?)
        }
    })
}

fn expect(work: &Work, offset_bytes: u64, expected: &[u8], what: &str) -> anyhow::Result<()> {
    let range = offset_bytes..offset_bytes + expected.len() as u64;
    for read in work.scan(slice::from_ref(&range), |_, found| found == expected) {
        let same = read.with_context(|| format!("could not read {what} back from disk {}", work.disk))?;
        if same {
            return Ok(());
        }
    }
    bail!("{what} was written to disk {} and reads back with other bytes; replace the disk", work.disk)
}

#[cfg(test)]
mod boot_and_swap_tests;
#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod weak_sector_tests;
