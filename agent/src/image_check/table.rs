//! The partition tables: does the disk carry a whole image in the layout that was computed for it?

use imaging::gpt::{Gpt, GptError};
use imaging::layout::{DiskLayout, NODE_PARTITION_TYPE, find_node_partition};
use imaging::manifest::Manifest;
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

/// Whether the image was never wholly written: there is no partition table, it is damaged, it is not
/// the image's, or (where the image's first chunk is at hand) boot code or a table differs from what
/// was computed.
///
/// # Errors
/// In words, when the disk could not be read.
pub(super) fn is_unfinished(
    device: &dyn BlockDevice,
    manifest: &Manifest,
    first_chunk: Option<&[u8]>,
) -> Result<bool, String> {
    let disk = DiskSource(device);
    let table = match Gpt::read(&disk) {
        Ok(table) => table,
        Err(GptError::None | GptError::Damaged { .. } | GptError::CutOff { .. }) => return Ok(true),
        Err(GptError::Read { what, source }) => return Err(format!("could not read {what}: {source}")),
    };
    if !has_partitions(&table, manifest) {
        return Ok(true);
    }
    let Some(first_chunk) = first_chunk else { return Ok(false) };
    let Some(found) = find_node_partition(&disk) else { return Ok(true) };
    let layout = DiskLayout::compute(
        manifest,
        first_chunk,
        device.size_bytes(),
        device.sector_bytes(),
        found.disk_guid,
        found.node_partition_guid,
    );
    // An image that does not fit this disk cannot be on it.
    let Ok(layout) = layout else { return Ok(true) };
    let same = same_outside_partitions(&disk, manifest, &layout)
        .map_err(|error| format!("could not read the partition tables: {error}"))?;
    Ok(!same)
}

fn has_partitions(table: &Gpt, manifest: &Manifest) -> bool {
    let sector = u64::from(table.sector_bytes);
    let ours = table.partitions.iter().filter(|partition| partition.type_guid == NODE_PARTITION_TYPE).count();
    let all = manifest.partitions.iter().all(|expected| {
        table.partitions.iter().any(|found| {
            found.number == expected.number
                && found.type_guid == expected.type_guid
                && found.unique_guid == expected.unique_guid
                && found.first_sector.checked_mul(sector) == Some(expected.first_byte)
                && found.last_sector.checked_add(1).and_then(|end| end.checked_mul(sector))
                    == Some(expected.end_byte())
        })
    });
    all && ours == 1 && table.partitions.len() == manifest.partitions.len() + 1
}

/// Compares boot code, both tables and whatever else of the first chunk is in no partition.
fn same_outside_partitions(
    disk: &DiskSource<'_>,
    manifest: &Manifest,
    layout: &DiskLayout,
) -> std::io::Result<bool> {
    let mut backup = vec![0; layout.backup_table.len()];
    disk.read_at(layout.backup_table_offset, &mut backup)?;
    let mut first = vec![0; layout.first_chunk.len()];
    disk.read_at(0, &mut first)?;
    let mut expected = layout.first_chunk.clone();
    for partition in &manifest.partitions {
        let clamp = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX).min(first.len());
        let inside = clamp(partition.first_byte)..clamp(partition.end_byte());
        first[inside.clone()].fill(0);
        expected[inside].fill(0);
    }
    Ok(first == expected && backup == layout.backup_table)
}
