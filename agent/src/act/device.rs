//! A disk as the acting code sees it: bytes at offsets, with no cache in between.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use contract::id::DiskId;
use contract::plan::DiskTarget;
use contract::reading::Outcome;
use erasure::command::{CommandProgress, DeviceCommand};
use erasure::record::HealthReading;
use erasure::run::{SaidClean, SameWritten};
use erasure::sample::Span;
use nix::libc;

/// The alignment of memory and lengths that every direct read and write can rely on, in bytes.
/// The largest logical sector in use, and the page size.
pub const ALIGNMENT_BYTES: usize = 4096;

/// The size of a huge page on the processors that we run on, in bytes.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Where zeros have to be written as data, this many bytes go at a time.
const ZEROS_AT_A_TIME_BYTES: usize = 1 << 20;

/// A disk that can be read and written directly. Offsets and lengths are multiples of the sector.
/// All calls block; async code runs them on a blocking thread.
pub trait BlockDevice: Send + Sync {
    /// Its size in bytes.
    fn size_bytes(&self) -> u64;

    /// Its logical sector size in bytes.
    fn sector_bytes(&self) -> u32;

    /// Fills the buffer from this offset, from the medium and not from a cache of the kernel.
    ///
    /// # Errors
    /// When the device does not give all bytes.
    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all bytes at this offset. They are durable only after [`BlockDevice::flush`].
    ///
    /// # Errors
    /// When the device does not take all bytes.
    fn write_at(&self, offset_bytes: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes this range zeros for certain: by the device's own command where it has one, else by
    /// writing zeros. They are durable only after [`BlockDevice::flush`].
    ///
    /// # Errors
    /// When the device does not take all of it.
    fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> io::Result<()> {
        let zeros = AlignedBuffer::zeroed(ZEROS_AT_A_TIME_BYTES);
        let end = offset_bytes.saturating_add(length_bytes);
        let mut at = offset_bytes;
        while at < end {
            let length = (end - at).min(ZEROS_AT_A_TIME_BYTES as u64);
            let bytes = zeros.bytes().get(..length as usize).unwrap_or_default();
            self.write_at(at, bytes)?;
            at += length;
        }
        Ok(())
    }

    /// Returns when everything written so far is on the medium.
    ///
    /// # Errors
    /// When the device says that it is not.
    fn flush(&self) -> io::Result<()>;

    /// Forgets what the kernel may have cached of the disk.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn drop_caches(&self) -> io::Result<()>;

    /// Makes the disk accept reads, writes and erase commands again where an earlier erase of ours was
    /// cut off: removes the ATA password that it left. Nothing else is written. The default is for
    /// disks that nothing can be left on.
    ///
    /// # Errors
    /// When the disk stays locked, for one because the password is somebody else's.
    fn prepare_erase(&self) -> io::Result<()> {
        Ok(())
    }

    /// How long the device says that this command takes, in seconds; none where it does not say.
    fn erase_estimate_seconds(&self, _command: DeviceCommand) -> Option<u32> {
        None
    }

    /// Gives the device a command that erases it. Returns when the device has taken it; a command that
    /// the device answers only when it is done (NVMe Format, ATA SECURITY ERASE UNIT) is waited for
    /// here, with a time-out. One that goes piece by piece ([`BlockDevice::write_same`]) is only made ready
    /// for. Nothing is known to be erased afterwards: ask
    /// [`BlockDevice::erase_progress`].
    ///
    /// # Errors
    /// When the device has no such command, refuses it, or does not answer in time.
    fn start_erase(&self, command: DeviceCommand) -> io::Result<()>;

    /// Has the device write zeros to this span by itself (SCSI WRITE SAME), or to as much of its beginning
    /// as it takes in one command, after [`BlockDevice::start_erase`] made it ready for that. They are
    /// durable only after [`BlockDevice::flush`]. The default is for devices that cannot.
    ///
    /// # Errors
    /// When the device fails, or does not answer in time; nobody knows what was written then. A device
    /// that does not take the command as such is no error.
    fn write_same(&self, _span: Span) -> io::Result<SameWritten> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the device cannot write zeros over itself"))
    }

    /// What the device says of the last command of this kind, also of one that was given to it before
    /// a reset or a power cut, where it remembers. Of a command that is answered only when it is done:
    /// `Never` unless it was given to this very handle and answered with success.
    ///
    /// # Errors
    /// When the device does not answer, or has no such command.
    fn erase_progress(&self, command: DeviceCommand) -> io::Result<CommandProgress>;

    /// The device's word that a sanitize of everything ended well and that nothing was written since.
    /// The default is for devices that have no such word.
    ///
    /// # Errors
    /// When the device says anything else, or does not answer.
    fn said_clean(&self) -> io::Result<SaidClean> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the device has no log that says so"))
    }

    /// The device's own health log (SMART), by name and value, for the record; absent where it has
    /// none. Nothing is decided by it.
    fn health(&self) -> Outcome<Vec<HealthReading>> {
        Outcome::Absent
    }

    /// Lets the kernel read the partition table again.
    ///
    /// # Errors
    /// When the kernel refuses, for one because a partition is in use.
    fn reread_partitions(&self) -> io::Result<()>;
}

/// Waiting, and how long it took.
pub trait Timer: Send + Sync {
    /// Milliseconds on a clock that never goes back.
    fn now_millis(&self) -> u64;

    /// Returns after this many milliseconds.
    fn wait_millis(&self, millis: u64);
}

/// The machine's own timer.
pub struct MachineTimer {
    started: Instant,
}

impl Default for MachineTimer {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Timer for MachineTimer {
    fn now_millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn wait_millis(&self, millis: u64) {
        std::thread::sleep(Duration::from_millis(millis));
    }
}

/// Finds disks by their stable identity.
pub trait DiskResolver: Send + Sync {
    /// The device node that carries this disk now.
    ///
    /// # Errors
    /// When no disk, or more than one, has this identity.
    fn device_path(&self, disk: &DiskId) -> anyhow::Result<PathBuf>;
}

/// Opens the disks that a plan names.
pub trait Disks: Send + Sync {
    /// Opens a disk for writing, to the exclusion of everybody else, and makes sure that it is the
    /// disk that the plan saw.
    ///
    /// # Errors
    /// When it is not there, is in use, or has another size or sector than the plan says.
    fn open(&self, target: &DiskTarget) -> anyhow::Result<Arc<dyn BlockDevice>>;

    /// For waiting between two questions to a disk that erases itself.
    fn timer(&self) -> Arc<dyn Timer> {
        Arc::new(MachineTimer::default())
    }

    /// The block device of one partition of a disk, for mounting. The disk must not be open.
    ///
    /// # Errors
    /// When the kernel knows no such partition, or it does not lie where the plan says.
    fn partition(&self, target: &DiskTarget, partition: PartitionPlace) -> anyhow::Result<PathBuf>;
}

/// Where a partition must lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionPlace {
    /// Its number, from 1.
    pub number: u32,
    /// Its first byte on the disk.
    pub offset_bytes: u64,
    /// The least length in bytes that it must have.
    pub length_bytes: u64,
}

/// Memory whose address fits direct I/O.
pub struct AlignedBuffer {
    memory: BytesMut,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// Zeroed memory of this many bytes.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        let memory = BytesMut::zeroed(length + ALIGNMENT_BYTES);
        let start = memory.as_ptr().align_offset(ALIGNMENT_BYTES);
        Self { memory, start, length }
    }

    /// Zeroed memory of this many bytes, several times, cut out of one piece that the kernel is asked to
    /// make of huge pages. The length is a multiple of [`ALIGNMENT_BYTES`].
    #[must_use]
    pub fn several(count: usize, length: usize) -> Vec<Self> {
        let mut memory = BytesMut::zeroed(count * length + HUGE_PAGE_BYTES);
        let start = memory.as_ptr().align_offset(HUGE_PAGE_BYTES);
        drop(memory.split_to(start));
        advise_huge_pages(&mut memory[..count * length]);
        (0..count).map(|_| Self { memory: memory.split_to(length), start: 0, length }).collect()
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

/// Asks for huge pages. A kernel without them does as it would have done.
fn advise_huge_pages(memory: &mut [u8]) {
    // SAFETY: the range is our own memory, borrowed alone, and the advice changes none of its bytes.
    let advised = unsafe { libc::madvise(memory.as_mut_ptr().cast(), memory.len(), libc::MADV_HUGEPAGE) };
    if advised != 0 {
        tracing::trace!(error = %io::Error::last_os_error(), "no huge pages");
    }
}

/// Whether this memory can be handed to direct I/O as it is.
#[must_use]
pub fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().align_offset(ALIGNMENT_BYTES) == 0
}
