//! Putting altered and missing immutable files back on a root file system that keeps its own state.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use contract::id::Digest;
use contract::plan::{DiskTarget, Step};
use imaging::manifest::{EntryKind, Extent, ImmutableEntry, Manifest, RootManifest};
use nix::sys::stat::SFlag;

use super::begun::Begun;
use super::device::Disks;
use super::meter::Meter;
use super::mount::{Access, Mount};
use super::restore::{Ownership, PendingFile, folder, symbolic_link};
use super::rooted::{Root, means_absent};
use super::segments::{Segment, segments};
use super::service::Service;
use super::work::image_chunk;
use crate::image_check::{Difference, compare_entry, digest_of_file, root_place};

/// How many chunks are kept, because small files lie side by side.
const CHUNKS_KEPT: usize = 16;

/// Content is copied in pieces of this size, in bytes.
const COPY_BYTES: usize = 1 << 20;

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

/// Makes sure that the image can give all these paths.
///
/// # Errors
/// When the image does not know one of them.
pub fn entries_to_repair(manifest: &Manifest, paths: &[String]) -> anyhow::Result<()> {
    let root = root_of(manifest)?;
    for path in paths {
        root.entry(path).with_context(|| format!("the image {} has no immutable {path}", manifest.name))?;
    }
    Ok(())
}

fn root_of(manifest: &Manifest) -> anyhow::Result<&RootManifest> {
    manifest
        .root
        .as_ref()
        .with_context(|| format!("the image {} has no root file system that is known", manifest.name))
}

/// Finds the root partition, puts the files back, and proves it through a new read-only mount.
///
/// # Errors
/// When the partition is not where the image has it, a file's content did not come or is not the
/// image's, or a path does not read back as the image has it.
pub async fn repair_files(
    begun: Begun,
    repair: &FileRepair,
    disks: &Arc<dyn Disks>,
) -> anyhow::Result<String> {
    let Step::RepairFiles { disk, paths, .. } = begun.step() else { bail!("this is no repair of files") };
    entries_to_repair(&repair.manifest, paths)?;
    let partition = root_partition(&repair.manifest, disks, disk)?;
    repair_on(repair, &partition, paths).await
}

fn root_partition(manifest: &Manifest, disks: &Arc<dyn Disks>, disk: &DiskTarget) -> anyhow::Result<PathBuf> {
    let place = root_place(manifest, root_of(manifest)?)?;
    disks
        .partition(disk, place)
        .with_context(|| format!("could not find the root partition of disk {}", disk.id))
}

/// Puts the files back on the file system of this block device.
async fn repair_on(repair: &FileRepair, partition: &Path, paths: &[String]) -> anyhow::Result<String> {
    let files = root_of(&repair.manifest)?;
    repair.meter.begin("repairing", content_bytes(files, paths));
    let mount = {
        let partition = partition.to_owned();
        blocking(move || Mount::ext4(&partition, Access::ReadWrite)).await?
    };
    let root = Arc::new(Root::open(mount.path()).context("could not open the installed root")?);
    let mut chunks = ChunkCache { repair: repair.clone(), kept: VecDeque::new() };
    let mut restored: Vec<String> = Vec::new();
    let mut outcome = Ok(());
    for path in paths {
        outcome = restore_with_parents(&root, files, path, &mut chunks, &mut restored).await;
        if outcome.is_err() {
            break;
        }
    }
    drop(root);
    let closed = blocking(move || mount.close()).await;
    outcome?;
    closed?;
    let count = paths.len();
    let (partition, repair) = (partition.to_owned(), repair.clone());
    blocking(move || prove(&repair, &partition, &restored)).await?;
    Ok(format!(
        "{count} paths were put back; through a new read-only mount each has the image's content, mode and owner"
    ))
}

async fn blocking<T: Send + 'static>(
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

fn ownership(entry: &ImmutableEntry) -> Ownership {
    Ownership { mode: entry.mode, user_id: entry.uid, group_id: entry.gid }
}

/// Puts one path back; folders above it that are gone or are something else come first.
async fn restore_with_parents(
    root: &Arc<Root>,
    files: &RootManifest,
    path: &str,
    chunks: &mut ChunkCache,
    restored: &mut Vec<String>,
) -> anyhow::Result<()> {
    let mut above: Vec<&Path> =
        Path::new(path).ancestors().skip(1).filter(|above| *above != Path::new("/")).collect();
    above.reverse();
    for above in above {
        let is_folder = match root.status(above) {
            Ok(status) => status.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits(),
            Err(error) if means_absent(&error) => false,
            Err(error) => {
                return Err(error).with_context(|| format!("could not look at {}", above.display()));
            }
        };
        if is_folder {
            continue;
        }
        let entry = above
            .to_str()
            .and_then(|above| files.entry(above))
            .filter(|entry| matches!(entry.kind, EntryKind::Directory))
            .with_context(|| {
                format!(
                    "{} is not a folder and the image does not say what it should be; reimage",
                    above.display()
                )
            })?;
        restore(root, entry, chunks).await?;
        restored.push(entry.path.clone());
    }
    let entry = files.entry(path).with_context(|| format!("the image has no immutable {path}"))?;
    restore(root, entry, chunks).await?;
    restored.push(entry.path.clone());
    Ok(())
}

async fn restore(root: &Arc<Root>, entry: &ImmutableEntry, chunks: &mut ChunkCache) -> anyhow::Result<()> {
    let path = Path::new(&entry.path);
    match &entry.kind {
        EntryKind::Directory => folder(root, path, ownership(entry)),
        EntryKind::Symlink { target } => symbolic_link(root, path, OsStr::new(target), ownership(entry)),
        EntryKind::File { size_bytes, digest, extents } => {
            let source = Content { size_bytes: *size_bytes, digest: *digest, extents: extents.clone() };
            return restore_file(root, entry, source, chunks)
                .await
                .with_context(|| format!("could not put {} back", entry.path));
        }
    }
    .with_context(|| format!("could not put {} back", entry.path))
}

/// What a file must hold, and where in the image that lies.
struct Content {
    size_bytes: u64,
    digest: Digest,
    extents: Vec<Extent>,
}

async fn restore_file(
    root: &Arc<Root>,
    entry: &ImmutableEntry,
    content: Content,
    chunks: &mut ChunkCache,
) -> anyhow::Result<()> {
    let ownership = ownership(entry);
    let (place, path, meter) =
        (Arc::clone(root), PathBuf::from(&entry.path), Arc::clone(&chunks.repair.meter));
    let wanted = (content.size_bytes, content.digest);
    // The content may be right and only mode or owner wrong: then nothing has to be fetched.
    let pending = blocking(move || {
        let mut pending = PendingFile::create(&place, &path)?;
        let copied = copy_if_same(&place, &path, wanted, &mut pending, &meter)?;
        if !copied {
            drop(pending);
            pending = PendingFile::create(&place, &path)?;
        }
        Ok((pending, copied))
    });
    let (mut pending, copied) = pending.await?;
    if !copied {
        pending = fill(pending, &content.extents, wanted, chunks).await?;
    }
    blocking(move || Ok(pending.commit(ownership)?)).await
}

/// Copies the file that stands there if it has the right content; says whether it does.
fn copy_if_same(
    root: &Root,
    path: &Path,
    (size_bytes, digest): (u64, Digest),
    pending: &mut PendingFile,
    meter: &Meter,
) -> anyhow::Result<bool> {
    let is_candidate = root.status(path).is_ok_and(|status| {
        status.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits()
            && u64::try_from(status.st_size) == Ok(size_bytes)
    });
    if !is_candidate {
        return Ok(false);
    }
    let Ok(mut file) = root.open_file(path) else { return Ok(false) };
    let same = digest_of_file(&mut file).is_ok_and(|found| found == digest);
    meter.count_read(size_bytes);
    if !same {
        return Ok(false);
    }
    let mut file = root.open_file(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        pending.append(&buffer[..count])?;
        meter.count_written(count as u64);
        meter.advance(count as u64);
    }
    Ok(hasher.finalize().as_bytes() == &digest.0)
}

/// Fills a file from the image and compares all of it before it gets its name.
async fn fill(
    mut pending: PendingFile,
    extents: &[Extent],
    (size_bytes, digest): (u64, Digest),
    chunks: &mut ChunkCache,
) -> anyhow::Result<PendingFile> {
    let mut hasher = blake3::Hasher::new();
    let list = segments(&chunks.repair.manifest, extents, size_bytes)
        .context("the image's extents do not make the file")?;
    for segment in list {
        let (bytes, range) = match segment {
            Segment::Zeros(length) => (Arc::new(vec![0; length]), 0..length),
            Segment::Piece(piece) => (chunks.get(piece.index).await?, piece.from..piece.until),
        };
        let meter = Arc::clone(&chunks.repair.meter);
        (pending, hasher) = blocking(move || {
            let content = bytes.get(range).context("a chunk is shorter than its place")?;
            hasher.update(content);
            pending.append(content)?;
            meter.count_written(content.len() as u64);
            meter.advance(content.len() as u64);
            Ok((pending, hasher))
        })
        .await?;
    }
    if hasher.finalize().as_bytes() != &digest.0 {
        bail!("the image's chunks do not make the file that its manifest describes; import the image again");
    }
    Ok(pending)
}

/// The chunks that were used last.
struct ChunkCache {
    repair: FileRepair,
    kept: VecDeque<(u64, Arc<Vec<u8>>)>,
}

impl ChunkCache {
    async fn get(&mut self, index: u64) -> anyhow::Result<Arc<Vec<u8>>> {
        if let Some((_, bytes)) = self.kept.iter().find(|(kept, _)| *kept == index) {
            return Ok(Arc::clone(bytes));
        }
        let bytes =
            image_chunk(&self.repair.service, &self.repair.meter, &self.repair.manifest, index).await?;
        let bytes = Arc::new(bytes);
        if self.kept.len() >= CHUNKS_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((index, Arc::clone(&bytes)));
        Ok(bytes)
    }
}

/// Looks at every path again through a mount that has nothing of the first one's caches.
fn prove(repair: &FileRepair, partition: &Path, restored: &[String]) -> anyhow::Result<()> {
    drop_caches(partition)?;
    let files = root_of(&repair.manifest)?;
    repair.meter.begin("verifying", content_bytes(files, restored));
    let mount = Mount::ext4(partition, Access::ReadOnly)?;
    let root = Root::open(mount.path()).context("could not open the installed root")?;
    for path in restored {
        let entry = files.entry(path).with_context(|| format!("the image has no immutable {path}"))?;
        match compare_entry(&root, entry, None) {
            Difference::Same => {}
            Difference::Altered => bail!("{path} was put back and still differs from the image; reimage"),
            Difference::Missing => bail!("{path} was put back and is not there; reimage"),
            Difference::Unreadable { why, .. } => {
                bail!("{path} was put back and cannot be read back ({why}); replace the disk")
            }
        }
        repair.meter.count_read(content_bytes(files, std::slice::from_ref(path)));
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
