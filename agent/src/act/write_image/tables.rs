//! Taking partition tables away and putting them there, so that a power cut leaves a whole table or none.
//!
//! A table of which only a part is left names no partition any more, and looks like one that is damaged:
//! nobody could tell then which partitions hold data that must stay. So the sector with a table's header
//! decides. It is written by itself: first of all to take a table away, last of all to put it there, with
//! a flush before and behind it. The table that counts, the primary one or else the backup, goes last.

use std::io;

use anyhow::bail;
use imaging::gpt::Gpt;
use imaging::layout::DiskLayout;
use imaging::source::ReadAt;

use crate::act::scan::whole_sectors;
use crate::act::work::Work;
use crate::image_check::DiskSource;

/// Takes away what firmware and kernels find partitions by: so many bytes at the start, and the backup
/// table. At the end only the place of the table itself is written: the end of an old partition may lie
/// just before it. At every moment the disk has the table that it had, or none.
///
/// # Errors
/// When the disk does not take it, or says that it did and has something else.
pub(super) fn destroy_tables(work: &Work, layout: &DiskLayout, start_bytes: usize) -> anyhow::Result<()> {
    let disk = Counted(work);
    // What cannot be read as a table is none that anything is kept by.
    match (Gpt::read(&disk), Gpt::read_backup(&disk)) {
        (Err(_), Ok(backup)) => {
            zeros(work, 0, start_bytes)?;
            header(work, &backup, backup.backup_sector)?;
        }
        (Ok(primary), _) => {
            // Until its own header goes the primary table is whole, whatever becomes of these two.
            work.write(layout.backup_table_offset, &vec![0; layout.backup_table.len()])?;
            zeros(work, 0, work.device.sector_bytes() as usize)?;
            header(work, &primary, 1)?;
        }
        (Err(_), Err(_)) => {}
    }
    work.write(0, &vec![0; start_bytes])?;
    work.write(layout.backup_table_offset, &vec![0; layout.backup_table.len()])?;
    work.flush()?;
    work.drop_caches()?;
    let first = work.read(0, start_bytes)?;
    let last = work.read(layout.backup_table_offset, layout.backup_table.len())?;
    if first.iter().chain(&last).any(|byte| *byte != 0) {
        bail!(
            "disk {} says that it wrote zeros over its partition tables, but they are still there; replace the disk",
            work.disk
        );
    }
    Ok(())
}

/// The disk as something to read tables from; what is read of it counts.
struct Counted<'a>(&'a Work);

impl ReadAt for Counted<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let Self(work) = self;
        DiskSource(&*work.device).read_at(offset, buffer)?;
        let range = offset..offset.saturating_add(buffer.len() as u64);
        let covering = whole_sectors(&range, work.device.sector_bytes());
        work.meter.count_read(covering.end - covering.start);
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.0.device.size_bytes()
    }
}

/// Takes away the sector with the header of this table.
fn header(work: &Work, table: &Gpt, header_sector: u64) -> anyhow::Result<()> {
    let at = header_sector.saturating_mul(u64::from(table.sector_bytes));
    let sector = whole_sectors(&(at..at.saturating_add(1)), work.device.sector_bytes());
    zeros(work, sector.start, work.device.sector_bytes() as usize)
}

/// Makes a range zeros, durably.
fn zeros(work: &Work, offset_bytes: u64, length: usize) -> anyhow::Result<()> {
    work.write(offset_bytes, &vec![0; length])?;
    work.flush()
}

/// Writes the entries of the backup table where there is none. Without its header they are none.
///
/// # Errors
/// When the disk does not take them.
pub(super) fn write_backup_entries(work: &Work, layout: &DiskLayout) -> anyhow::Result<()> {
    let (entries, _) = layout.backup_table.split_at(entries_bytes(work, layout));
    work.write(layout.backup_table_offset, entries)
}

/// Writes the header that makes the entries a table, durably. They, and all else that was written, must
/// have been flushed before.
///
/// # Errors
/// When the disk does not take it.
pub(super) fn write_backup_header(work: &Work, layout: &DiskLayout) -> anyhow::Result<()> {
    let entries_bytes = entries_bytes(work, layout);
    let (_, header) = layout.backup_table.split_at(entries_bytes);
    work.write(layout.backup_table_offset + entries_bytes as u64, header)?;
    work.flush()
}

/// How much of the backup table stands before the sector with its header.
fn entries_bytes(work: &Work, layout: &DiskLayout) -> usize {
    layout.backup_table.len().saturating_sub(work.device.sector_bytes() as usize)
}

#[cfg(test)]
mod tests;
