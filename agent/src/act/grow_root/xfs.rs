//! Growing XFS: `XFS_IOC_FSGROWFSDATA` takes the new number of blocks.

use std::fs::{File, OpenOptions};
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use imaging::xfs::Xfs;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::{Room, Size};
use crate::act::file_system_check::Medium;

/// What lies behind the image is made empty in pieces of this size, in bytes, for so long.
const CLEAR_BYTES: u64 = 1 << 30;
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

/// Has the disk make zeros of what lies behind the image in the root partition.
///
/// An earlier life of the same image may have left parts of its XFS there. They have the UUID of this
/// one and places in a log that ran longer, so a recovery of the new log would take them for newer than
/// what it has to put in their place (`xlog_recover_get_buf_lsn`). A disk that makes no zeros by itself,
/// or not in time, keeps them; they harm only if the power fails while such a place is used again, and
/// the running system would grow over them just so.
pub(super) fn clear_behind_image(device: &Path, room: Room) -> anyhow::Result<()> {
    let what = || format!("what lies behind the image on {}", device.display());
    let end = room.length_bytes;
    let mut at = room.image_length_bytes.max(size_on(device)?.bytes());
    ensure!(at <= end, "the file system is larger than its partition");
    let partition =
        OpenOptions::new().write(true).open(device).with_context(|| format!("could not open {}", what()))?;
    let started = Instant::now();
    while at < end {
        if started.elapsed() > CLEAR_LIMIT {
            tracing::warn!(left_bytes = end - at, "{} was not made empty in time", what());
            return Ok(());
        }
        let length = (end - at).min(CLEAR_BYTES);
        match punch(&partition, at, length) {
            Ok(()) => at += length,
            Err(Errno::EOPNOTSUPP) => {
                tracing::info!("{} stays: the disk makes no zeros by itself", what());
                return Ok(());
            }
            Err(error) => return Err(error).with_context(|| format!("could not make {} empty", what())),
        }
    }
    Ok(())
}

/// Zeros by the device itself: the kernel does not write them instead where it has no command for it.
fn punch(partition: &File, at: u64, length: u64) -> Result<(), Errno> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let number = |number: u64| i64::try_from(number).map_err(|_| Errno::EFBIG);
    fallocate(partition, flags, number(at)?, number(length)?)
}
