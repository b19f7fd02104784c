//! Growing XFS: `XFS_IOC_FSGROWFSDATA` takes the new number of blocks.

use std::fs::{File, OpenOptions};
use std::mem::size_of;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use imaging::xfs::Xfs;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::{Room, Size};
use crate::act::file_system_check::Medium;

/// What lies behind the image is made empty for so long.
const CLEAR_LIMIT: Duration = Duration::from_secs(60);

mod ioctl {
    //! Requests of `fs/xfs/libxfs/xfs_fs.h`.
    #![allow(missing_docs)] // the macros make functions that carry no documentation

    /// The beginning of `struct xfs_fsop_geom`, and the room of the rest.
    #[repr(C)]
    #[derive(Default)]
    pub struct Geometry {
        pub block_bytes: u32,
        pub others: [u32; 6],
        pub inode_percent_max: u32,
        pub rest: [u64; 28],
    }

    /// `struct xfs_growfs_data`.
    #[repr(C)]
    pub struct Growth {
        pub blocks: u64,
        pub inode_percent_max: u32,
        pub padding: u32,
    }

    nix::ioctl_read!(geometry, b'X', 126, Geometry);
    nix::ioctl_write_ptr!(grow_data, b'X', 110, Growth);
}

const _: () = assert!(size_of::<ioctl::Geometry>() == 256 && size_of::<ioctl::Growth>() == 16);

pub(super) fn resize(root: &File, blocks: u64) -> anyhow::Result<()> {
    let mut geometry = ioctl::Geometry::default();
    // SAFETY: the descriptor is open for the length of the call, and XFS_IOC_FSGEOMETRY writes its 256
    // bytes to the pointer, which has room for them.
    unsafe { ioctl::geometry(root.as_raw_fd(), &raw mut geometry) }
        .context("the kernel did not say how the file system is made")?;
    // The share of inodes is set by the same request, so it is given as it is.
    let growth = ioctl::Growth { blocks, inode_percent_max: geometry.inode_percent_max, padding: 0 };
    // SAFETY: the descriptor is open for the length of the call, and XFS_IOC_FSGROWFSDATA reads one
    // `Growth` from the pointer.
    unsafe { ioctl::grow_data(root.as_raw_fd(), &raw const growth) }
        .with_context(|| format!("the kernel did not grow it to {blocks} blocks"))?;
    Ok(())
}

pub(super) fn size_on(device: &Path) -> anyhow::Result<Size> {
    let medium = Medium::open(device).with_context(|| format!("could not open {}", device.display()))?;
    let found = Xfs::look(medium)
        .with_context(|| format!("there is no XFS of a size we know on {}", device.display()))?;
    let (length_bytes, unit_bytes) = (found.superblock().length_bytes(), found.superblock().block_bytes());
    Ok(Size { units: length_bytes / unit_bytes, unit_bytes })
}

/// Makes zeros of what lies behind the image in the root partition; says how many bytes were left for
/// want of time.
///
/// An earlier life of the same image may have left parts of its XFS there. They have the UUID of this
/// one and places in a log that ran longer, so a recovery of the new log would take them for newer than
/// what it has to put in their place (`xlog_recover_get_buf_lsn`). It may read any block that the file
/// system is grown over, so all of them become zeros. They harm only if the power fails while such a place
/// is used again, and the running system would grow over them just so; so a disk that is too slow for it
/// is grown all the same.
pub(super) fn clear_behind_image(device: &Path, room: Room) -> anyhow::Result<u64> {
    let what = || format!("what lies behind the image on {}", device.display());
    let at = room.image_length_bytes.max(size_on(device)?.bytes());
    ensure!(at <= room.length_bytes, "the file system is larger than its partition");
    let partition =
        OpenOptions::new().write(true).open(device).with_context(|| format!("could not open {}", what()))?;
    let started = Instant::now();
    let left_bytes =
        clear(at..room.length_bytes, || started.elapsed(), |zeros, range| zeros.make(&partition, range))
            .with_context(|| format!("could not make {} empty", what()))?;
    if left_bytes > 0 {
        tracing::warn!(left_bytes, "{} was not made empty in time", what());
    }
    Ok(left_bytes)
}

/// Who makes the zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zeros {
    /// The disk, by a command of its own.
    ByCommand,
    /// The kernel, which writes them.
    Written,
}

impl Zeros {
    /// A piece that is done in a few seconds, in bytes.
    fn piece_bytes(self) -> u64 {
        match self {
            Self::ByCommand => 1 << 30,
            Self::Written => 64 << 20,
        }
    }

    fn make(self, partition: &File, range: Range<u64>) -> Result<(), Errno> {
        let flags = match self {
            // Fails where the disk has no command for it.
            Self::ByCommand => FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
            Self::Written => FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
        };
        let number = |number: u64| i64::try_from(number).map_err(|_| Errno::EFBIG);
        fallocate(partition, flags, number(range.start)?, number(range.end - range.start)?)
    }
}

/// Makes zeros piece by piece until the time is up: by command, and from the first piece on for which
/// there is none, by writing. Gives the bytes that are left.
fn clear(
    range: Range<u64>,
    elapsed: impl Fn() -> Duration,
    mut make: impl FnMut(Zeros, Range<u64>) -> Result<(), Errno>,
) -> Result<u64, Errno> {
    let (mut at, mut zeros) = (range.start, Zeros::ByCommand);
    while at < range.end && elapsed() <= CLEAR_LIMIT {
        let end = range.end.min(at + zeros.piece_bytes());
        match make(zeros, at..end) {
            Ok(()) => at = end,
            Err(Errno::EOPNOTSUPP) if zeros == Zeros::ByCommand => zeros = Zeros::Written,
            Err(error) => return Err(error),
        }
    }
    Ok(range.end - at)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::act::loop_fixture::Loop;

    const MIB: u64 = 1 << 20;

    #[test]
    fn where_the_disk_has_no_command_the_zeros_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk");
        std::fs::write(&file, vec![0xa5; 4 << 20]).unwrap();
        let disk = Loop::attach(&file);
        let partition = OpenOptions::new().write(true).open(&disk.device).unwrap();
        let left = clear(
            MIB..3 * MIB,
            || Duration::ZERO,
            |zeros, range| match zeros {
                Zeros::ByCommand => Err(Errno::EOPNOTSUPP),
                Zeros::Written => zeros.make(&partition, range),
            },
        );
        assert_eq!(left, Ok(0));
        partition.sync_all().unwrap();
        drop((partition, disk));
        let content = std::fs::read(&file).unwrap();
        let is = |range: Range<u64>, byte| {
            content[range.start as usize..range.end as usize].iter().all(|found| *found == byte)
        };
        assert!(is(0..MIB, 0xa5) && is(MIB..3 * MIB, 0) && is(3 * MIB..4 * MIB, 0xa5));
    }

    #[test]
    fn what_there_was_no_time_for_is_said() {
        let (end, made) = (1 << 40, Cell::new(0));
        let seconds = || Duration::from_secs(made.get());
        let slow = |zeros: Zeros, range: Range<u64>| {
            if zeros == Zeros::ByCommand {
                return Err(Errno::EOPNOTSUPP);
            }
            assert_eq!(range, made.get() * 64 * MIB..(made.get() + 1) * 64 * MIB, "one after the other");
            made.set(made.get() + 1);
            Ok(())
        };
        assert_eq!(clear(0..end, seconds, slow), Ok(end - (CLEAR_LIMIT.as_secs() + 1) * 64 * MIB));
    }

    #[test]
    fn a_disk_that_fails_is_not_taken_for_one_without_the_command() {
        let failing = |_, _: Range<u64>| Err(Errno::EIO);
        assert_eq!(clear(0..MIB, || Duration::ZERO, failing), Err(Errno::EIO));
        let neither = |_, _: Range<u64>| Err(Errno::EOPNOTSUPP);
        assert_eq!(clear(0..MIB, || Duration::ZERO, neither), Err(Errno::EOPNOTSUPP));
    }
}
