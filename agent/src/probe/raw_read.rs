//! Reading a block device past the page cache, counting what the device could not deliver.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use imaging::source::ReadAt;
use nix::errno::Errno;

/// Reads are multiples of this at multiples of this; it covers every sector size in use.
pub const BLOCK_BYTES: usize = 4096;
/// Where buffers begin, for direct I/O.
const ALIGNMENT: usize = 4096;

/// A disk that is being read.
#[derive(Debug)]
pub struct RawDisk {
    file: File,
    path: PathBuf,
    size_bytes: u64,
    errors: AtomicU64,
}

impl RawDisk {
    /// Opens a device (or, in a recorded tree, a plain file) for reading only.
    ///
    /// Direct I/O is wanted, so that what is read is on the device and not in the cache; a file system
    /// that cannot do it (a recorded tree on tmpfs) is read without.
    ///
    /// # Errors
    /// Whatever opening gives.
    pub fn open(path: &Path, size_bytes: u64) -> io::Result<Self> {
        let direct = OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECT).open(path);
        let file = match direct {
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => File::open(path)?,
            other => other?,
        };
        Ok(Self { file, path: path.to_owned(), size_bytes, errors: AtomicU64::new(0) })
    }

    /// How many bytes the disk has.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Reads that the device answered with an error that another try does not mend.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Reads `bytes` bytes from `offset`, less at the end of the disk.
    ///
    /// # Errors
    /// The device's error, with the place named; media errors are counted.
    pub fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let wanted = bytes.min(usize::try_from(self.size_bytes.saturating_sub(offset)).unwrap_or(bytes));
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let start = offset - offset % BLOCK_BYTES as u64;
        let lead = usize::try_from(offset - start).map_err(io::Error::other)?;
        let span = (lead + wanted).div_ceil(BLOCK_BYTES) * BLOCK_BYTES;
        let mut backing = vec![0u8; span + ALIGNMENT];
        let shift = backing.as_ptr().align_offset(ALIGNMENT);
        let buffer = &mut backing[shift..shift + span];
        self.fill(offset, start, buffer, lead + wanted)?;
        Ok(buffer[lead..lead + wanted].to_vec())
    }

    /// Reads as many bytes as the buffer has. Both offset and buffer must be at multiples of
    /// [`BLOCK_BYTES`], and so must the buffer's length be; nothing is copied.
    ///
    /// # Errors
    /// As [`RawDisk::read`], and at the end of the disk.
    pub fn read_blocks(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = buffer.len();
        self.fill(offset, offset, buffer, length)
    }

    /// Reads at least `wanted` bytes from `start`; `offset` is what a failure is named after.
    fn fill(&self, offset: u64, start: u64, buffer: &mut [u8], wanted: usize) -> io::Result<()> {
        let mut filled = 0;
        while filled < wanted {
            match self.file.read_at(&mut buffer[filled..], start + filled as u64) {
                Ok(0) => return Err(self.failed(offset, io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(offset, error)),
            }
        }
        Ok(())
    }

    fn failed(&self, offset: u64, error: io::Error) -> io::Error {
        // EIO, EREMOTEIO, ENODATA (medium error) and EILSEQ (protection error) come from the device.
        let media = [Errno::EIO, Errno::EREMOTEIO, Errno::ENODATA, Errno::EILSEQ];
        if error.raw_os_error().is_some_and(|code| media.contains(&Errno::from_raw(code))) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        io::Error::new(error.kind(), format!("cannot read {} at byte {offset}: {error}", self.path.display()))
    }
}

impl ReadAt for RawDisk {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.read(offset, buffer.len())?;
        if bytes.len() != buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn any_place_and_length_is_read_and_the_end_is_respected() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..20_000u32).map(|at| (at % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let disk = RawDisk::open(file.path(), content.len() as u64).unwrap();
        for (offset, bytes) in [(0, 10), (4095, 2), (1024, 1024), (8192, 4096), (19_990, 100), (0, 20_000)] {
            let end = (offset + bytes).min(content.len());
            assert_eq!(disk.read(offset as u64, bytes).unwrap(), &content[offset..end]);
        }
        assert_eq!(disk.read(30_000, 10).unwrap(), Vec::<u8>::new());
        assert_eq!(disk.errors(), 0);
    }

    #[test]
    fn a_disk_shorter_than_it_says_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let disk = RawDisk::open(file.path(), 8192).unwrap();
        assert!(disk.read(0, 512).is_err());
    }
}
