//! Whether the log holds changes that are not yet in place (XFS Algorithms & Data Structures,
//! "Journaling Log"; `xlog_find_tail` of the kernel).
//!
//! The last record of a file system that was unmounted cleanly says so and holds nothing else. In
//! doubt the log is not clean.

use super::{Xfs, XfsError, u32_at};
use crate::source::ReadAt;

const SECTOR_BYTES: u64 = 512;
const MAGIC: u32 = 0xfeed_babe;
/// A flag of an operation (`XLOG_UNMOUNT_TRANS`).
const UNMOUNT: u8 = 0x20;
/// One header of a record describes so many bytes; larger records have several.
const BYTES_FOR_EACH_HEADER: u32 = 32 << 10;
/// The record of an unmount is one sector, padded to the log's stripe of at most 256 KiB, behind at
/// most eight headers.
const SECTORS_BACK_MAX: u64 = 8 + 512;

impl<S: ReadAt> Xfs<S> {
    /// Whether everything that was changed is in its place.
    ///
    /// # Errors
    /// [`XfsError`] if the log is on another device or cannot be read.
    pub fn is_log_clean(&self) -> Result<bool, XfsError> {
        let block = self.superblock.log_block.ok_or_else(|| XfsError::Unsupported {
            what: "its log on another device".to_owned(),
            hint: "make the image with the log inside of the file system",
        })?;
        let log = Log {
            file_system: self,
            first_byte: block * self.superblock.block_bytes,
            sectors: self.superblock.log_block_count * self.superblock.block_bytes / SECTOR_BYTES,
        };
        match log.head()? {
            Some(head) => log.ends_with_unmount(head),
            None => Ok(true),
        }
    }
}

struct Log<'a, S> {
    file_system: &'a Xfs<S>,
    first_byte: u64,
    /// More than none: the log was found to lie in the file system.
    sectors: u64,
}

impl<S: ReadAt> Log<'_, S> {
    fn sector(&self, index: u64) -> Result<[u8; 512], XfsError> {
        let mut sector = [0; 512];
        self.file_system.read(self.first_byte + index % self.sectors * SECTOR_BYTES, &mut sector)?;
        Ok(sector)
    }

    /// The log is written round and round; every sector says in which round it was.
    fn round(&self, index: u64) -> Result<u32, XfsError> {
        let sector = self.sector(index)?;
        Ok(if u32_at(&sector, 0) == MAGIC { u32_at(&sector, 4) } else { u32_at(&sector, 0) })
    }

    /// The sector behind the last one that was written; none if nothing ever was.
    fn head(&self) -> Result<Option<u64>, XfsError> {
        let first = self.round(0)?;
        if first == 0 {
            return Ok(None);
        }
        let last = self.round(self.sectors - 1)?;
        if last == first {
            return Ok(Some(self.sectors));
        }
        let (mut newer, mut older) = (0, self.sectors - 1);
        while older - newer > 1 {
            let middle = newer + (older - newer) / 2;
            if self.round(middle)? == last {
                older = middle;
            } else {
                newer = middle;
            }
        }
        Ok(Some(older))
    }

    fn ends_with_unmount(&self, head: u64) -> Result<bool, XfsError> {
        for back in 1..=SECTORS_BACK_MAX.min(self.sectors) {
            let start = head + self.sectors - back;
            let record = self.sector(start)?;
            if u32_at(&record, 0) != MAGIC {
                continue;
            }
            // The last record: does it end at the head, and is it about the unmount alone?
            let has_size = u32_at(&record, 8) & 2 != 0;
            let size = if has_size { u32_at(&record, 320) } else { 0 };
            let headers = u64::from(size.div_ceil(BYTES_FOR_EACH_HEADER).max(1));
            let content = u64::from(u32_at(&record, 12)).div_ceil(SECTOR_BYTES);
            if headers + content != back || u32_at(&record, 40) != 1 {
                return Ok(false);
            }
            let operation = self.sector(start + headers)?;
            return Ok(operation[9] & UNMOUNT != 0);
        }
        Ok(false)
    }
}
