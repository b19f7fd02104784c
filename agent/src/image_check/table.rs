//! The partition tables: does the disk carry a whole image in the layout that was computed for it?

use imaging::gpt::{Gpt, GptError, Partition, first_usable_byte};
use imaging::layout::{BOOT_CODE_BYTES, NODE_PARTITION_TYPE};
use imaging::manifest::{Manifest, PartitionRole};
use imaging::source::ReadAt;

use crate::act::device::BlockDevice;
use crate::act::scan::whole_sectors;

/// A disk as something to parse from.
pub(crate) struct DiskSource<'a>(pub(crate) &'a dyn BlockDevice);

impl ReadAt for DiskSource<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let range =
            offset..offset.checked_add(buffer.len() as u64).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        if range.end > self.0.size_bytes() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let covering = whole_sectors(&range, self.0.sector_bytes());
        let mut bytes = vec![0; (covering.end - covering.start) as usize];
        self.0.read_at(covering.start, &mut bytes)?;
        let skip = (offset - covering.start) as usize;
        buffer.copy_from_slice(&bytes[skip..skip + buffer.len()]);
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }
}

/// Whether the image was never wholly written: there is no partition table, it is damaged, its two
/// copies differ, it does not have the image's partitions, or (where the image's first chunk is at hand)
/// boot code or what else is in no partition differs from the image. A root that reaches further than
/// in the image and partitions behind the image are no difference: the one was grown, the others are
/// data.
///
/// # Errors
/// In words, when the disk could not be read.
pub(super) fn is_unfinished(
    device: &dyn BlockDevice,
    manifest: &Manifest,
    first_chunk: Option<&[u8]>,
) -> Result<bool, String> {
    let disk = DiskSource(device);
    let Some(table) = sound(Gpt::read(&disk))? else { return Ok(true) };
    if !has_partitions(&table, manifest) {
        return Ok(true);
    }
    let Some(first_chunk) = first_chunk else { return Ok(false) };
    let Some(backup) = sound(Gpt::read_backup(&disk))? else { return Ok(true) };
    if backup != table {
        return Ok(true);
    }
    let mut found = vec![0; first_chunk.len()];
    disk.read_at(0, &mut found).map_err(|error| format!("could not read the first MiB: {error}"))?;
    Ok(!is_protective(&found) || !same_outside_partitions(&found, first_chunk, manifest))
}

/// The table; none if there is none that firmware would take.
fn sound(read: Result<Gpt, GptError>) -> Result<Option<Gpt>, String> {
    match read {
        Ok(table) => Ok(Some(table)),
        Err(GptError::None | GptError::Damaged { .. } | GptError::CutOff { .. }) => Ok(None),
        Err(GptError::Read { what, source }) => Err(format!("could not read {what}: {source}")),
    }
}

fn has_partitions(table: &Gpt, manifest: &Manifest) -> bool {
    let sector = u64::from(table.sector_bytes);
    let start = |found: &Partition| found.first_sector.saturating_mul(sector);
    let end = |found: &Partition| found.last_sector.saturating_add(1).saturating_mul(sector);
    let ours = table.partitions.iter().filter(|partition| partition.type_guid == NODE_PARTITION_TYPE).count();
    let all = manifest.partitions.iter().all(|expected| {
        let may_have_grown = expected.role == PartitionRole::Root && expected.immutable.is_none();
        table.partitions.iter().any(|found| {
            found.number == expected.number
                && found.type_guid == expected.type_guid
                && found.unique_guid == expected.unique_guid
                && start(found) == expected.first_byte
                && (end(found) == expected.end_byte() || (may_have_grown && end(found) > expected.end_byte()))
        })
    });
    let mut by_place: Vec<&Partition> = table.partitions.iter().collect();
    by_place.sort_by_key(|partition| partition.first_sector);
    let apart = by_place.windows(2).all(|pair| pair[0].last_sector < pair[1].first_sector);
    let image_end = image_end(manifest);
    // Whatever it is called and says that it is: ours stand behind the image too.
    let mut others = table.partitions.iter().filter(|found| !is_of_image(manifest, found.number));
    let behind = others.all(|found| start(found) >= image_end);
    all && ours == 1 && apart && behind
}

fn is_of_image(manifest: &Manifest, number: u32) -> bool {
    manifest.partitions.iter().any(|partition| partition.number == number)
}

fn image_end(manifest: &Manifest) -> u64 {
    manifest.partitions.iter().map(|partition| partition.end_byte()).max().unwrap_or(0)
}

/// Whether the first sector has a protective MBR with its signature and nothing beside it. Tools write
/// different values where nobody looks, so only what firmware goes by is compared.
fn is_protective(first: &[u8]) -> bool {
    let Some(entries) = first.get(446..510) else { return false };
    let (protective, others) = entries.split_at(16);
    protective[4] == 0xee
        && protective[8..12] == [1, 0, 0, 0]
        && others.iter().all(|byte| *byte == 0)
        && first.get(510..512) == Some(&[0x55, 0xaa])
}

/// Compares boot code and whatever else of the first chunk is in no partition of the image and in no
/// table, up to the image's end. Which partitions the disk has besides does not matter: anybody can put an
/// entry over what is to be compared.
fn same_outside_partitions(found: &[u8], image: &[u8], manifest: &Manifest) -> bool {
    let sector = u64::from(manifest.sector_bytes);
    let mut same = (found.to_vec(), image.to_vec());
    let mut blank = |from: u64, until: u64| {
        let clamp = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX).min(found.len().min(image.len()));
        same.0[clamp(from)..clamp(until)].fill(0);
        same.1[clamp(from)..clamp(until)].fill(0);
    };
    blank(BOOT_CODE_BYTES, 512);
    blank(sector, first_usable_byte(manifest.sector_bytes));
    for partition in &manifest.partitions {
        blank(partition.first_byte, partition.end_byte());
    }
    blank(image_end(manifest), u64::MAX);
    same.0 == same.1
}
