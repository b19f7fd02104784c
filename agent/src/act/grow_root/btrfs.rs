//! Growing btrfs: `BTRFS_IOC_RESIZE` takes the number of the device and its new size as text.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, ensure};
use imaging::btrfs::Superblock;

use super::Size;
use crate::act::file_system_check::Medium;
use crate::act::mount::ioctl::Volume;

/// The kernel gives no device a smaller size (`btrfs_ioctl_resize`), although `mkfs.btrfs` does.
const SIZE_BYTES_MIN: u64 = 256 << 20;

mod ioctl {
    //! A request of `linux/btrfs.h`.
    #![allow(missing_docs)] // the macros make functions that carry no documentation
    use super::Volume;
    nix::ioctl_write_ptr!(resize_device, 0x94, 3, Volume);
}

pub(super) fn ensure_is_taken(size_bytes: u64) -> anyhow::Result<()> {
    ensure!(
        size_bytes >= SIZE_BYTES_MIN,
        "the kernel gives no btrfs a size below {} MiB",
        SIZE_BYTES_MIN >> 20
    );
    Ok(())
}

pub(super) fn resize(root: &File, device: &Path, sectors: u64) -> anyhow::Result<()> {
    let found = superblock_on(device)?;
    let size_bytes = sectors.saturating_mul(found.sector_bytes());
    let mut arguments = Volume { descriptor: 0, name: [0; 4088] };
    let text = format!("{}:{size_bytes}", found.device_number());
    // Two numbers are shorter than a name can be, and a zero ends it.
    arguments.name.iter_mut().zip(text.bytes()).for_each(|(slot, byte)| *slot = byte);
    // SAFETY: the descriptor is open for the length of the call, which reads one `Volume`, whose name ends
    // with a zero.
    unsafe { ioctl::resize_device(root.as_raw_fd(), &raw const arguments) }
        .with_context(|| format!("the kernel did not grow it to {size_bytes} bytes"))?;
    Ok(())
}

pub(super) fn size_on(device: &Path) -> anyhow::Result<Size> {
    let found = superblock_on(device)?;
    Ok(Size { units: found.device_bytes() / found.sector_bytes(), unit_bytes: found.sector_bytes() })
}

fn superblock_on(device: &Path) -> anyhow::Result<Superblock> {
    let medium = Medium::open(device).with_context(|| format!("could not open {}", device.display()))?;
    Superblock::read(&medium)
        .with_context(|| format!("there is no btrfs of a size we know on {}", device.display()))
}
