//! The real disk: opened directly and exclusively, and looked at again before it is trusted.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use contract::plan::DiskTarget;
use contract::reading::Outcome;
use erasure::command::{CommandProgress, DeviceCommand};
use erasure::record::HealthReading;
use erasure::run::{SaidClean, SameWritten};
use erasure::sample::Span;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;

use super::device::{
    ALIGNMENT_BYTES, AlignedBuffer, BlockDevice, DiskResolver, Disks, PartitionPlace, is_aligned,
};
use super::device_commands::DeviceCommands;

mod ioctl {
    //! Requests of `linux/fs.h`.
    #![allow(missing_docs)] // the macros make functions that carry no documentation
    use nix::libc;
    nix::ioctl_none!(reread_partitions, 0x12, 95);
    nix::ioctl_none!(flush_buffers, 0x12, 97);
    nix::ioctl_write_ptr_bad!(zero_out, nix::request_code_none!(0x12, 127), [u64; 2]);
    nix::ioctl_read_bad!(sector_size, nix::request_code_none!(0x12, 104), libc::c_int);
    nix::ioctl_read!(size_bytes, 0x12, 114, u64);
}

/// A block device opened with `O_DIRECT`.
pub struct DirectDisk {
    file: File,
    size_bytes: u64,
    sector_bytes: u32,
    commands: DeviceCommands,
}

impl DirectDisk {
    /// Opens a disk for reading and writing; nobody else may have it or one of its partitions mounted
    /// or open exclusively.
    ///
    /// # Errors
    /// When it cannot be opened, is in use, or is not a block device.
    pub fn open_exclusive(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_DIRECT | libc::O_EXCL | libc::O_CLOEXEC);
        Self::open(path, &options)
    }

    /// Opens a disk for reading.
    ///
    /// # Errors
    /// When it cannot be opened or is not a block device.
    pub fn open_read_only(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_DIRECT | libc::O_CLOEXEC);
        Self::open(path, &options)
    }

    fn open(path: &Path, options: &OpenOptions) -> anyhow::Result<Self> {
        let file = options.open(path).with_context(|| format!("could not open disk {}", path.display()))?;
        let kind =
            file.metadata().with_context(|| format!("could not look at {}", path.display()))?.file_type();
        if !kind.is_block_device() {
            bail!("{} is not a block device", path.display());
        }
        let mut size_bytes = 0_u64;
        let mut sector_bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open for the length of both calls, and the pointers are to
        // variables of the types that BLKGETSIZE64 (u64) and BLKSSZGET (int) write.
        unsafe {
            ioctl::size_bytes(file.as_raw_fd(), &raw mut size_bytes)
                .with_context(|| format!("could not read the size of {}", path.display()))?;
            ioctl::sector_size(file.as_raw_fd(), &raw mut sector_bytes)
                .with_context(|| format!("could not read the sector size of {}", path.display()))?;
        }
        let sector_bytes = u32::try_from(sector_bytes)
            .ok()
            .filter(|bytes| bytes.is_power_of_two() && (512..=4096).contains(bytes))
            .with_context(|| {
                format!("{} has sectors of {sector_bytes} bytes, which we cannot handle", path.display())
            })?;
        let commands = DeviceCommands::of(&file);
        Ok(Self { file, size_bytes, sector_bytes, commands })
    }

    fn check_range(&self, offset_bytes: u64, length: usize) -> io::Result<()> {
        let sector = u64::from(self.sector_bytes);
        let end = offset_bytes.checked_add(length as u64);
        let fits = end.is_some_and(|end| end <= self.size_bytes);
        if fits && offset_bytes.is_multiple_of(sector) && (length as u64).is_multiple_of(sector) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{length} bytes at {offset_bytes} are not whole sectors of this disk"),
        ))
    }
}

/// Makes the kernel forget what it has cached of this open block device.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn drop_caches_of(device: RawFd) -> io::Result<()> {
    // SAFETY: BLKFLSBUF takes no argument; a descriptor that is not open is an error, not a fault.
    unsafe { ioctl::flush_buffers(device) }?;
    Ok(())
}

/// Lets the device make zeros by its own command and give the space back if it can. On a block device
/// this mode of fallocate is the kernel's "write zeroes", which fails where the device does not
/// guarantee that zeros are read afterwards (`blkdev_fallocate` in Linux `block/fops.c`).
fn write_zeroes_command(file: &File, offset_bytes: u64, length_bytes: u64) -> io::Result<()> {
    let offset = i64::try_from(offset_bytes).map_err(io::Error::other)?;
    let length = i64::try_from(length_bytes).map_err(io::Error::other)?;
    let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(file, mode, offset, length)?;
    Ok(())
}

impl BlockDevice for DirectDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.check_range(offset_bytes, buffer.len())?;
        if is_aligned(buffer) {
            return self.file.read_exact_at(buffer, offset_bytes);
        }
        let mut bounce = AlignedBuffer::zeroed(buffer.len().next_multiple_of(ALIGNMENT_BYTES));
        self.file.read_exact_at(&mut bounce.bytes_mut()[..buffer.len()], offset_bytes)?;
        buffer.copy_from_slice(&bounce.bytes()[..buffer.len()]);
        Ok(())
    }

    fn write_at(&self, offset_bytes: u64, bytes: &[u8]) -> io::Result<()> {
        self.check_range(offset_bytes, bytes.len())?;
        if is_aligned(bytes) {
            return self.file.write_all_at(bytes, offset_bytes);
        }
        let mut bounce = AlignedBuffer::zeroed(bytes.len());
        bounce.bytes_mut().copy_from_slice(bytes);
        self.file.write_all_at(bounce.bytes(), offset_bytes)
    }

    fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> io::Result<()> {
        let length = usize::try_from(length_bytes).map_err(io::Error::other)?;
        self.check_range(offset_bytes, length)?;
        if write_zeroes_command(&self.file, offset_bytes, length_bytes).is_ok() {
            return Ok(());
        }
        // The device has no such command. The kernel then writes zeros as data.
        let range = [offset_bytes, length_bytes];
        // SAFETY: BLKZEROOUT reads two u64, start and length in bytes, from the pointer; the
        // descriptor is open for the length of the call.
        unsafe { ioctl::zero_out(self.file.as_raw_fd(), &raw const range) }?;
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn drop_caches(&self) -> io::Result<()> {
        drop_caches_of(self.file.as_raw_fd())
    }

    fn prepare_erase(&self) -> io::Result<()> {
        self.commands.prepare(&self.file)
    }

    fn erase_estimate_seconds(&self, command: DeviceCommand) -> Option<u32> {
        self.commands.estimate_seconds(&self.file, command)
    }

    fn start_erase(&self, command: DeviceCommand) -> io::Result<()> {
        self.commands.start(&self.file, command)
    }

    fn write_same(&self, span: Span) -> io::Result<SameWritten> {
        let length = usize::try_from(span.bytes).map_err(io::Error::other)?;
        self.check_range(span.offset, length)?;
        self.commands.write_same(&self.file, self.sector_bytes, span)
    }

    fn erase_progress(&self, command: DeviceCommand) -> io::Result<CommandProgress> {
        self.commands.progress(&self.file, command)
    }

    fn said_clean(&self) -> io::Result<SaidClean> {
        self.commands.said_clean(&self.file)
    }

    fn health(&self) -> Outcome<Vec<HealthReading>> {
        self.commands.health(&self.file)
    }

    fn reread_partitions(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open; BLKRRPART takes no argument.
        unsafe { ioctl::reread_partitions(self.file.as_raw_fd()) }?;
        Ok(())
    }
}

/// The disks of this machine.
pub struct MachineDisks {
    resolver: Arc<dyn DiskResolver>,
}

impl MachineDisks {
    /// Disks as this resolver finds them.
    #[must_use]
    pub fn new(resolver: Arc<dyn DiskResolver>) -> Self {
        Self { resolver }
    }
}

impl Disks for MachineDisks {
    fn open(&self, target: &DiskTarget) -> anyhow::Result<Arc<dyn BlockDevice>> {
        let path = self.resolver.device_path(&target.id)?;
        let disk = DirectDisk::open_exclusive(&path)
            .with_context(|| format!("could not open disk {}; nothing was written", target.id))?;
        if disk.size_bytes != target.size_bytes || disk.sector_bytes != target.logical_sector_bytes {
            bail!(
                "disk {} has {} bytes in sectors of {}, the plan says {} in sectors of {}; nothing was written, look again",
                target.id,
                disk.size_bytes,
                disk.sector_bytes,
                target.size_bytes,
                target.logical_sector_bytes
            );
        }
        Ok(Arc::new(disk))
    }

    fn partition(&self, target: &DiskTarget, partition: PartitionPlace) -> anyhow::Result<PathBuf> {
        let path = self.resolver.device_path(&target.id)?;
        partition_device(&path, partition)
    }
}

/// The device node of a partition, after the kernel's idea of where it lies was compared with ours. It
/// may be longer than we know, for a root is grown.
///
/// # Errors
/// When sysfs cannot be read, has no such partition, or has it somewhere else or shorter.
pub fn partition_device(disk: &Path, place: PartitionPlace) -> anyhow::Result<PathBuf> {
    let device = fs::metadata(disk).with_context(|| format!("could not look at {}", disk.display()))?.rdev();
    let folder =
        format!("/sys/dev/block/{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let entries = fs::read_dir(&folder).with_context(|| format!("could not list {folder}"))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("could not list {folder}"))?;
        let Ok(number) = read_number(&entry.path().join("partition")) else { continue };
        if number != u64::from(place.number) {
            continue;
        }
        // sysfs counts in units of 512 bytes whatever the sector.
        let offset_bytes = read_number(&entry.path().join("start"))?.saturating_mul(512);
        let length_bytes = read_number(&entry.path().join("size"))?.saturating_mul(512);
        if offset_bytes != place.offset_bytes || length_bytes < place.length_bytes {
            bail!(
                "partition {} of {} lies at {offset_bytes} with {length_bytes} bytes, but must lie at {} with {} or more",
                place.number,
                disk.display(),
                place.offset_bytes,
                place.length_bytes
            );
        }
        return Ok(Path::new("/dev").join(entry.file_name()));
    }
    bail!("{} has no partition {}", disk.display(), place.number)
}

fn read_number(path: &Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    text.trim().parse().with_context(|| format!("{} does not hold a number", path.display()))
}

#[cfg(test)]
mod tests;
