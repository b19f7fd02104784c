//! Growing ext4: `EXT4_IOC_RESIZE_FS` takes the new number of blocks.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::Context;
use imaging::source::ReadAt;

use super::Size;
use crate::act::file_system_check::Medium;
use crate::probe::file_systems::{SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET};

mod ioctl {
    //! Requests of the kernel's `fs/ext4/ext4.h`.
    #![allow(missing_docs)] // the macros make functions that carry no documentation
    nix::ioctl_write_ptr!(resize_ext4, b'f', 16, u64);
}

pub(super) fn resize(root: &File, blocks: u64) -> anyhow::Result<()> {
    // SAFETY: the descriptor is open for the length of the call, and EXT4_IOC_RESIZE_FS reads one u64,
    // the new number of blocks, from the pointer.
    unsafe { ioctl::resize_ext4(root.as_raw_fd(), &raw const blocks) }
        .with_context(|| format!("the kernel did not grow it to {blocks} blocks"))?;
    Ok(())
}

pub(super) fn size_on(device: &Path) -> anyhow::Result<Size> {
    let medium = Medium::open(device).with_context(|| format!("could not open {}", device.display()))?;
    let mut superblock = [0; SUPERBLOCK_BYTES];
    medium
        .read_at(SUPERBLOCK_OFFSET as u64, &mut superblock)
        .with_context(|| format!("could not read the superblock of {}", device.display()))?;
    size_in(&superblock)
        .with_context(|| format!("there is no ext4 of a size we know on {}", device.display()))
}

/// `s_blocks_count` and `s_log_block_size` (`Documentation/filesystems/ext4/super.rst`).
pub(super) fn size_in(superblock: &[u8; SUPERBLOCK_BYTES]) -> Option<Size> {
    /// `INCOMPAT_64BIT`: the upper half of the number of blocks counts.
    const INCOMPAT_64BIT: u32 = 0x80;
    let u32_at = |at: usize| Some(u32::from_le_bytes(superblock.get(at..at + 4)?.try_into().ok()?));
    if superblock.get(56..58)? != [0x53, 0xef] {
        return None;
    }
    // Blocks of 1 to 64 KiB.
    let unit_bytes = u32_at(24).filter(|power| *power <= 6).map(|power| 1024_u64 << power)?;
    let high = if u32_at(96)? & INCOMPAT_64BIT != 0 { u32_at(336)? } else { 0 };
    let units = u64::from(high) << 32 | u64::from(u32_at(4)?);
    (units > 0).then_some(Size { units, unit_bytes })
}
