//! One path of the image put back: folders above it first, then its content from the file that stands
//! there or from the image's chunks.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use contract::id::Digest;
use imaging::manifest::{EntryKind, Extent, ImmutableEntry, RootManifest};
use nix::sys::stat::SFlag;

use super::meter::Meter;
use super::repair_files::{FileRepair, blocking};
use super::restore::{Ownership, PendingFile, folder, symbolic_link};
use super::rooted::{Root, means_absent};
use super::segments::{Segment, segments};
use super::work::image_chunk;
use crate::image_check::digest_of_file;

/// How many chunks are kept, because small files lie side by side.
const CHUNKS_KEPT: usize = 16;

/// Content is copied in pieces of this size, in bytes.
const COPY_BYTES: usize = 1 << 20;

/// Puts one path back; folders above it that are gone or are something else come first. What was put
/// back is added to `restored`.
///
/// # Errors
/// When its content does not come, is not the image's, or the file system does not take it.
pub(super) async fn put_back_with_parents(
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
        restore(root, files, entry, chunks).await?;
        restored.push(entry.path.clone());
    }
    let entry = files.entry(path).with_context(|| format!("the image has no immutable {path}"))?;
    restore(root, files, entry, chunks).await?;
    restored.push(entry.path.clone());
    Ok(())
}

fn ownership(files: &RootManifest, entry: &ImmutableEntry) -> Ownership {
    let attributes = files.attributes_recorded.then(|| entry.attributes.clone());
    Ownership { mode: entry.mode, user_id: entry.uid, group_id: entry.gid, attributes }
}

async fn restore(
    root: &Arc<Root>,
    files: &RootManifest,
    entry: &ImmutableEntry,
    chunks: &mut ChunkCache,
) -> anyhow::Result<()> {
    let (path, ownership) = (Path::new(&entry.path), ownership(files, entry));
    match &entry.kind {
        EntryKind::Directory => folder(root, path, &ownership),
        EntryKind::Symlink { target } => symbolic_link(root, path, OsStr::new(target), &ownership),
        EntryKind::File { size_bytes, digest, extents } => {
            let source = Content { size_bytes: *size_bytes, digest: *digest, extents: extents.clone() };
            return restore_file(root, (path, ownership), source, chunks)
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
    (path, ownership): (&Path, Ownership),
    content: Content,
    chunks: &mut ChunkCache,
) -> anyhow::Result<()> {
    let (place, path, meter) = (Arc::clone(root), path.to_owned(), Arc::clone(&chunks.repair.meter));
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
    blocking(move || Ok(pending.commit(&ownership)?)).await
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
pub(super) struct ChunkCache {
    repair: FileRepair,
    kept: VecDeque<(u64, Arc<Vec<u8>>)>,
}

impl ChunkCache {
    /// None yet.
    pub(super) fn new(repair: FileRepair) -> Self {
        Self { repair, kept: VecDeque::new() }
    }

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
