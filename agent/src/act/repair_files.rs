//! Putting altered and missing immutable files back on a root file system that keeps its own state.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use contract::plan::{DiskTarget, Step};
use imaging::manifest::{EntryKind, Manifest, RootManifest};

use super::begun::Begun;
use super::device::Disks;
use super::file_system_check::{Moment, ensure_fit};
use super::meter::Meter;
use super::mount::{Access, Mount, RootKind};
use super::put_back::{ChunkCache, put_back_with_parents};
use super::restore::{remove_foreign, remove_leftover};
use super::rooted::{Root, means_absent};
use super::service::Service;
use crate::image_check::{Difference, compare_entry, root_place};

/// What repairing files needs. The disk itself must not be open: its partition is mounted.
#[derive(Clone)]
pub struct FileRepair {
    /// Where chunks come from.
    pub service: Arc<dyn Service>,
    /// Counts what is done.
    pub meter: Arc<Meter>,
    /// The image.
    pub manifest: Arc<Manifest>,
}

/// What is to be done on the root file system.
#[derive(Clone, Copy)]
pub struct FileChanges<'a> {
    /// Paths of the image that are put back.
    pub paths: &'a [String],
    /// Paths that the image does not have and that are taken away.
    pub remove: &'a [String],
}

/// Makes sure that the image can give all these paths, and that what is taken away is foreign to it and
/// lies in its immutable area.
///
/// # Errors
/// When one of them is not so.
pub fn check_changes(manifest: &Manifest, changes: FileChanges<'_>) -> anyhow::Result<()> {
    let root = root_of(manifest)?;
    for path in changes.paths {
        root.entry(path).with_context(|| format!("the image {} has no immutable {path}", manifest.name))?;
    }
    for path in changes.remove {
        ensure!(root.is_foreign(path), "{path} is not foreign to the image {}; it stays", manifest.name);
    }
    Ok(())
}

fn root_of(manifest: &Manifest) -> anyhow::Result<&RootManifest> {
    manifest
        .root
        .as_ref()
        .with_context(|| format!("the image {} has no root file system that is known", manifest.name))
}

/// Finds the root partition, puts the files back, takes foreign ones away, and proves it through a new
/// read-only mount.
///
/// # Errors
/// When the partition is not where the image has it, its file system has errors, a file's content did
/// not come or is not the image's, or a path does not read back as it should.
pub async fn repair_files(
    begun: Begun,
    repair: &FileRepair,
    disks: &Arc<dyn Disks>,
) -> anyhow::Result<String> {
    let Step::RepairFiles { disk, paths, remove, .. } = begun.step() else {
        bail!("this is no repair of files")
    };
    let changes = FileChanges { paths, remove };
    check_changes(&repair.manifest, changes)?;
    let partition = root_partition(&repair.manifest, disks, disk)?;
    repair_on(repair, &partition, changes).await
}

fn root_partition(manifest: &Manifest, disks: &Arc<dyn Disks>, disk: &DiskTarget) -> anyhow::Result<PathBuf> {
    let place = root_place(manifest, root_of(manifest)?)?;
    disks
        .partition(disk, place)
        .with_context(|| format!("could not find the root partition of disk {}", disk.id))
}

/// Changes the file system of this block device.
async fn repair_on(
    repair: &FileRepair,
    partition: &Path,
    changes: FileChanges<'_>,
) -> anyhow::Result<String> {
    let files = root_of(&repair.manifest)?;
    let kind = RootKind::of(files)?;
    repair.meter.begin("repairing", content_bytes(files, changes.paths));
    let (device, on_it) = (partition.to_owned(), kind.clone());
    let mount = blocking(move || {
        ensure_fit(&on_it, &device, Moment::Before)?;
        Mount::root(&on_it, &device, Access::ReadWrite)
            .context("could not open the installed root to change it; reimage")
    })
    .await?;
    let root = Arc::new(Root::open(mount.path()).context("could not open the installed root")?);
    let changed = change(repair, &root, changes).await;
    drop(root);
    let closed = blocking(move || mount.close()).await;
    let restored = changed?;
    closed?;
    let (device, repair, removed) = (partition.to_owned(), repair.clone(), changes.remove.to_vec());
    blocking(move || {
        // The kernel writes down what it finds wrong while it works.
        ensure_fit(&kind, &device, Moment::After)?;
        prove(&repair, &device, &restored, &removed)
    })
    .await?;
    Ok(proof(files, changes))
}

fn proof(files: &RootManifest, changes: FileChanges<'_>) -> String {
    let (count, removed) = (changes.paths.len(), changes.remove.len());
    let attributes = if files.attributes_recorded { ", owner and attributes" } else { " and owner" };
    let gone = match removed {
        0 => String::new(),
        _ => format!("; {removed} foreign paths were taken away and are gone"),
    };
    format!(
        "{count} paths were put back; through a new read-only mount each has the image's content, mode{attributes}{gone}"
    )
}

/// Does all of it; gives the paths of the image that were put back.
async fn change(
    repair: &FileRepair,
    root: &Arc<Root>,
    changes: FileChanges<'_>,
) -> anyhow::Result<Vec<String>> {
    let files = root_of(&repair.manifest)?;
    take_leftovers_away(root, files)?;
    // Children first: they sort after the folder that they are in.
    let mut remove = changes.remove.to_vec();
    remove.sort_unstable();
    for path in remove.iter().rev() {
        remove_foreign(root, Path::new(path)).with_context(|| format!("could not take {path} away"))?;
    }
    let mut chunks = ChunkCache::new(repair.clone());
    let mut restored = Vec::new();
    for path in changes.paths {
        put_back_with_parents(root, files, path, &mut chunks, &mut restored).await?;
    }
    Ok(restored)
}

/// What an interrupted repair left in any immutable folder.
fn take_leftovers_away(root: &Root, files: &RootManifest) -> anyhow::Result<()> {
    for entry in files.entries.iter().filter(|entry| matches!(entry.kind, EntryKind::Directory)) {
        match remove_leftover(root, Path::new(&entry.path)) {
            Ok(()) => {}
            // A folder that is gone or is something else now is put back like anything else.
            Err(error) if means_absent(&error) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("could not clean {} up", entry.path));
            }
        }
    }
    Ok(())
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a thread that worked on a file system ended early")?
}

fn content_bytes(files: &RootManifest, paths: &[String]) -> u64 {
    let size = |path: &String| match files.entry(path).map(|entry| &entry.kind) {
        Some(EntryKind::File { size_bytes, .. }) => *size_bytes,
        _ => 0,
    };
    paths.iter().map(size).fold(0, u64::saturating_add)
}

/// Looks at every path again through a mount that has nothing of the first one's caches.
fn prove(
    repair: &FileRepair,
    partition: &Path,
    restored: &[String],
    removed: &[String],
) -> anyhow::Result<()> {
    drop_caches(partition)?;
    let files = root_of(&repair.manifest)?;
    repair.meter.begin("verifying", content_bytes(files, restored));
    let mount = Mount::root(&RootKind::of(files)?, partition, Access::ReadOnly)
        .context("could not open the repaired root to look at it; reimage")?;
    let root = Root::open(mount.path()).context("could not open the installed root")?;
    for path in restored {
        let entry = files.entry(path).with_context(|| format!("the image has no immutable {path}"))?;
        match compare_entry(&root, files, entry) {
            Difference::Same => {}
            Difference::Altered => bail!("{path} was put back and still differs from the image; reimage"),
            Difference::Missing => bail!("{path} was put back and is not there; reimage"),
            Difference::Unreadable { why, .. } => {
                bail!("{path} was put back and cannot be read back ({why}); replace the disk")
            }
        }
        repair.meter.count_read(content_bytes(files, std::slice::from_ref(path)));
    }
    for path in removed {
        match root.status(Path::new(path)) {
            Err(error) if means_absent(&error) => {}
            Ok(_) => bail!("{path} was taken away and is still there; reimage"),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("{path} was taken away; could not look whether it is gone"));
            }
        }
    }
    drop(root);
    mount.close()
}

fn drop_caches(partition: &Path) -> anyhow::Result<()> {
    let device =
        std::fs::File::open(partition).with_context(|| format!("could not open {}", partition.display()))?;
    super::disk::drop_caches_of(device.as_raw_fd())
        .with_context(|| format!("could not drop the kernel's cache of {}", partition.display()))
}

#[cfg(test)]
mod tests;
