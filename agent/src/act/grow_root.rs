//! Growing the root's file system over the partition that was grown for it: the last act before the
//! machine boots, by the kernel's own driver.
//!
//! It may fail without harm. The partition is larger than its file system then, and the running system
//! can grow it; what was written and proven before is still what it was.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use contract::plan::Step;
use imaging::layout::{DiskLayout, RootPlace};
use imaging::manifest::Manifest;

use super::begun::Begun;
use super::device::{Disks, PartitionPlace};
use super::file_system_check::ensure_sound;
use super::mount::{Access, Mount};
use crate::probe::file_systems::{SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET};

/// The file system that we can grow, as `mount -t` takes it.
const EXT4: &str = "ext4";

mod ioctl {
    //! Requests of the kernel's `fs/ext4/ext4.h`.
    #![allow(missing_docs)] // the macros make functions that carry no documentation
    nix::ioctl_write_ptr!(resize_ext4, b'f', 16, u64);
}

/// Grows the root's file system if its partition is larger than in the image; says what came of it, or
/// nothing if there was nothing to do. The disk itself must not be open.
pub async fn grow_root(
    begun: &Begun,
    disks: &Arc<dyn Disks>,
    manifest: &Manifest,
    layout: &DiskLayout,
) -> Option<String> {
    let place = layout.root.filter(|root| root.range.length_bytes > root.image_length_bytes)?;
    let file_system = manifest.root.as_ref().map(|root| root.file_system.clone());
    let (disks, step) = (Arc::clone(disks), begun.step().clone());
    let grown =
        tokio::task::spawn_blocking(move || grow(&*disks, &step, place, file_system.as_deref())).await;
    Some(match grown.context("the thread that grew it ended early").and_then(|grown| grown) {
        Ok(Grown { before_bytes, after_bytes }) => format!(
            "the root partition has {} MiB and its file system was grown from {} to {} MiB",
            place.range.length_bytes >> 20,
            before_bytes >> 20,
            after_bytes >> 20
        ),
        Err(error) => {
            tracing::warn!("could not grow the root's file system: {error:#}");
            format!(
                "the root partition has {} MiB; its file system was not grown, which the running system can do: {error:#}",
                place.range.length_bytes >> 20
            )
        }
    })
}

/// The size of a file system before and after it was grown.
struct Grown {
    before_bytes: u64,
    after_bytes: u64,
}

fn grow(
    disks: &dyn Disks,
    step: &Step,
    place: RootPlace,
    file_system: Option<&str>,
) -> anyhow::Result<Grown> {
    match file_system {
        Some(EXT4) => {}
        Some(other) => bail!("{other} is not grown here"),
        None => bail!("the image does not say what file system its root has"),
    }
    let partition = PartitionPlace {
        number: place.number,
        offset_bytes: place.range.offset,
        length_bytes: place.range.length_bytes,
    };
    grow_ext4(&disks.partition(step.disk(), partition)?, place.range.length_bytes)
}

/// Grows the ext4 file system on a device of this length, and reads back how large it is.
fn grow_ext4(device: &Path, length_bytes: u64) -> anyhow::Result<Grown> {
    ensure_sound(device)?;
    let before = ext4_size(device)?;
    let blocks = length_bytes / before.block_bytes;
    ensure!(blocks >= before.blocks, "the file system is larger than its partition");
    if blocks > before.blocks {
        let mount = Mount::ext4(device, Access::ReadWrite)?;
        let resized = resize_ext4(mount.path(), blocks);
        mount.close()?;
        resized?;
        // The kernel writes down what it finds wrong while it works.
        ensure_sound(device)?;
    }
    let after = ext4_size(device)?;
    // The last group is left out when it is too small to hold its own tables.
    ensure!(
        after.blocks == blocks || after.blocks > before.blocks,
        "the kernel said that it grew the file system, and it has {} blocks as before",
        after.blocks
    );
    Ok(Grown { before_bytes: before.bytes(), after_bytes: after.bytes() })
}

fn resize_ext4(mounted: &Path, blocks: u64) -> anyhow::Result<()> {
    let root = File::open(mounted).with_context(|| format!("could not open {}", mounted.display()))?;
    // SAFETY: the descriptor is open for the length of the call, and EXT4_IOC_RESIZE_FS reads one u64,
    // the new number of blocks, from the pointer.
    unsafe { ioctl::resize_ext4(root.as_raw_fd(), &raw const blocks) }
        .with_context(|| format!("the kernel did not grow it to {blocks} blocks"))?;
    Ok(())
}

/// How large an ext4 file system says that it is.
struct Ext4Size {
    blocks: u64,
    block_bytes: u64,
}

impl Ext4Size {
    fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_bytes)
    }
}

/// Reads the size from the medium. The file system must not be mounted.
fn ext4_size(device: &Path) -> anyhow::Result<Ext4Size> {
    let file = File::open(device).with_context(|| format!("could not open {}", device.display()))?;
    super::disk::drop_caches_of(file.as_raw_fd())
        .with_context(|| format!("could not drop the kernel's cache of {}", device.display()))?;
    let mut superblock = [0; SUPERBLOCK_BYTES];
    file.read_exact_at(&mut superblock, SUPERBLOCK_OFFSET as u64)
        .with_context(|| format!("could not read the superblock of {}", device.display()))?;
    size_in(&superblock)
        .with_context(|| format!("there is no ext4 of a size we know on {}", device.display()))
}

/// `s_blocks_count` and `s_log_block_size` (`Documentation/filesystems/ext4/super.rst`).
fn size_in(superblock: &[u8; SUPERBLOCK_BYTES]) -> Option<Ext4Size> {
    /// `INCOMPAT_64BIT`: the upper half of the number of blocks counts.
    const INCOMPAT_64BIT: u32 = 0x80;
    let u32_at = |at: usize| Some(u32::from_le_bytes(superblock.get(at..at + 4)?.try_into().ok()?));
    if superblock.get(56..58)? != [0x53, 0xef] {
        return None;
    }
    // Blocks of 1 to 64 KiB.
    let block_bytes = u32_at(24).filter(|power| *power <= 6).map(|power| 1024_u64 << power)?;
    let high = if u32_at(96)? & INCOMPAT_64BIT != 0 { u32_at(336)? } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(u32_at(4)?);
    (blocks > 0).then_some(Ext4Size { blocks, block_bytes })
}

#[cfg(test)]
mod tests;
