//! Growing the root's file system over the partition that was grown for it: the last act before the
//! machine boots, by the kernel's own driver.
//!
//! It may fail without harm. The partition is larger than its file system then, and the running system
//! can grow it; what was written and proven before is still what it was.

mod btrfs;
mod ext4;
mod xfs;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use contract::plan::Step;
use imaging::layout::{DiskLayout, RootPlace};
use imaging::manifest::{Manifest, RootManifest};

use super::begun::Begun;
use super::device::{Disks, PartitionPlace};
use super::file_system_check::{Moment, ensure_fit};
use super::mount::{Access, Mount, RootKind};

/// Grows the root's file system if its partition is larger than in the image; says what came of it, or
/// nothing if there was nothing to do. The disk itself must not be open.
pub async fn grow_root(
    begun: &Begun,
    disks: &Arc<dyn Disks>,
    manifest: &Manifest,
    layout: &DiskLayout,
) -> Option<String> {
    let place = layout.root.filter(|root| root.range.length_bytes > root.image_length_bytes)?;
    let root = manifest.root.clone();
    let (disks, step) = (Arc::clone(disks), begun.step().clone());
    let grown = tokio::task::spawn_blocking(move || grow(&*disks, &step, place, root.as_ref())).await;
    Some(match grown.context("the thread that grew it ended early").and_then(|grown| grown) {
        Ok(grown) => format!(
            "the root partition has {} MiB and its file system was grown from {} to {} MiB{}",
            place.range.length_bytes >> 20,
            grown.before_bytes >> 20,
            grown.after_bytes >> 20,
            grown.left()
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
    /// How much of what it was grown over was to be made empty first, and was not for want of time.
    not_cleared_bytes: u64,
}

impl Grown {
    fn left(&self) -> String {
        match self.not_cleared_bytes {
            0 => String::new(),
            bytes => format!(
                "; {} MiB of that could not be made empty in time and may hold old blocks of this file system, so if the power fails while it is in use, check it (`xfs_repair -n`) or reimage the node",
                bytes.div_ceil(1 << 20)
            ),
        }
    }
}

/// What a file system says of its size.
struct Size {
    /// How many of its units it has: blocks, or sectors of btrfs.
    units: u64,
    unit_bytes: u64,
}

impl Size {
    fn bytes(&self) -> u64 {
        self.units.saturating_mul(self.unit_bytes)
    }
}

/// How long the root partition is, in bytes, and how long it is in the image.
#[derive(Clone, Copy)]
struct Room {
    image_length_bytes: u64,
    length_bytes: u64,
}

fn grow(
    disks: &dyn Disks,
    step: &Step,
    place: RootPlace,
    root: Option<&RootManifest>,
) -> anyhow::Result<Grown> {
    let kind = RootKind::of(root.context("the image does not say what file system its root has")?)?;
    let partition = PartitionPlace {
        number: place.number,
        offset_bytes: place.range.offset,
        length_bytes: place.range.length_bytes,
    };
    let room = Room { image_length_bytes: place.image_length_bytes, length_bytes: place.range.length_bytes };
    grow_on(&kind, &disks.partition(step.disk(), partition)?, room)
}

/// Grows the file system on a device, which is not mounted, and reads back how large it is.
fn grow_on(kind: &RootKind, device: &Path, room: Room) -> anyhow::Result<Grown> {
    ensure_fit(kind, device, Moment::Before)?;
    let before = size_on(kind, device)?;
    let units = room.length_bytes / before.unit_bytes;
    ensure!(units >= before.units, "the file system is larger than its partition");
    let mut not_cleared_bytes = 0;
    if units > before.units {
        match kind {
            RootKind::Ext4 => {}
            RootKind::Xfs => not_cleared_bytes = xfs::clear_behind_image(device, room)?,
            RootKind::Btrfs(_) => btrfs::ensure_is_taken(units.saturating_mul(before.unit_bytes))?,
        }
        let mount = Mount::root(kind, device, Access::ReadWrite)?;
        let resized = resize(kind, &mount, device, units);
        mount.close()?;
        resized?;
        // The kernel writes down what it finds wrong while it works, or stops.
        ensure_fit(kind, device, Moment::After)?;
    }
    let after = size_on(kind, device)?;
    // The last group is left out when it is too small to hold its own tables.
    ensure!(
        after.units == units || after.units > before.units,
        "the kernel said that it grew the file system, and it has {} blocks as before",
        after.units
    );
    Ok(Grown { before_bytes: before.bytes(), after_bytes: after.bytes(), not_cleared_bytes })
}

fn resize(kind: &RootKind, mount: &Mount, device: &Path, units: u64) -> anyhow::Result<()> {
    let path = mount.path();
    let root = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    match kind {
        RootKind::Ext4 => ext4::resize(&root, units),
        RootKind::Xfs => xfs::resize(&root, units),
        RootKind::Btrfs(_) => btrfs::resize(&root, device, units),
    }
}

/// Reads the size from the medium. The file system must not be mounted.
fn size_on(kind: &RootKind, device: &Path) -> anyhow::Result<Size> {
    match kind {
        RootKind::Ext4 => ext4::size_on(device),
        RootKind::Xfs => xfs::size_on(device),
        RootKind::Btrfs(_) => btrfs::size_on(device),
    }
}

#[cfg(test)]
mod tests;
