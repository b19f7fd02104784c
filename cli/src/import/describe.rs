//! Working out what an image is: the digests of its chunks, its partitions, its immutable files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use contract::id::Digest;
use imaging::chunk::{CHUNK_BYTES, digest_of, is_all_zeros};
use imaging::gpt::Gpt;
use imaging::manifest::{
    Chunk, Chunks, MANIFEST_VERSION, Manifest, ManifestPartition, PartitionRole, RootManifest,
};
use imaging::partitions::{describe, describe_without_root, immutable_by_default};
use imaging::root_files::{ContentBeside, RootError, Selection, read_root_beside};
use imaging::source::ReadAt;

use super::content::Content;
use super::options::Options;

/// Where our package puts the agent.
const AGENT: &str = "/usr/bin/reprieve-agent";

/// How many threads read and hash at most.
const THREADS_MAX: usize = 16;

/// What was found out about an image.
pub struct Description {
    /// The manifest, consistent.
    pub manifest: Manifest,
    /// What is to be stored beside it.
    pub content: Arc<Content>,
    /// What the person should know.
    pub warnings: Vec<String>,
}

/// Reads the image and describes it; what is to be stored beside it is kept in `folder` meanwhile.
/// `progress` is told how many bytes of the image were hashed; `stop` ends the work early.
///
/// # Errors
/// If the image cannot be read, has no partition table, is cut off, or its root cannot be described.
pub fn describe_image<S: ReadAt + Sync>(
    source: &S,
    name: &str,
    folder: PathBuf,
    options: &Options,
    stop: &AtomicBool,
    progress: &(dyn Fn(u64) + Sync),
) -> anyhow::Result<Description> {
    let table = Gpt::read(source).context("could not read the image's partition table")?;
    let mut partitions = match options.no_root {
        true => describe_without_root(&table),
        false => describe(&table, options.root_partition)?,
    };
    for number in &options.mutable_partitions {
        let known = partitions.iter().any(|partition| partition.number == *number);
        anyhow::ensure!(
            known,
            "there is no partition {number} to be mutable; see the image's partition table"
        );
    }
    let chunks = digest_chunks(source, stop, progress)?;
    for partition in &mut partitions {
        if immutable_by_default(partition.role) && !options.mutable_partitions.contains(&partition.number) {
            let digest = digest_range(source, partition.first_byte, partition.length_bytes)
                .with_context(|| format!("could not read partition {}", partition.number))?;
            partition.immutable = Some(digest);
        }
    }
    let mut warnings = Vec::new();
    let mut content = Content::in_folder(folder);
    let root = match partitions.iter().find(|partition| partition.role == PartitionRole::Root) {
        Some(partition) => {
            let start = chunks.len() as u64 * CHUNK_BYTES as u64;
            let read = list_root(source, partition, &options.selection, start, &mut content);
            let number = partition.number;
            root_or_warning(read, number, options.selected, &mut warnings)?
        }
        None if options.no_root => None,
        None => {
            anyhow::ensure!(
                !options.selected,
                "no partition is the root; say which one is (--root-partition)"
            );
            warnings.push("no partition is the root, so no file of this image will be checked".to_owned());
            None
        }
    };
    if lacks_agent(root.as_ref()) && !options.no_agent && !options.no_root {
        warnings.push(format!(
            "{AGENT} is not in this image. If nothing of ours reports from it, import it with --no-agent, or jobs with it wait for a report that does not come"
        ));
    }
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        name: name.to_owned(),
        disk_bytes: source.size_bytes(),
        sector_bytes: table.sector_bytes,
        chunk_bytes: u32::try_from(CHUNK_BYTES)?,
        chunks: Chunks::from(chunks),
        partitions,
        root,
        content: content.chunks(),
        without_agent: options.no_agent,
    };
    Ok(Description { manifest, content: Arc::new(content), warnings })
}

/// Whether the place where our package puts the agent was listed and holds none.
fn lacks_agent(root: Option<&RootManifest>) -> bool {
    root.is_some_and(|root| {
        root.immutable_paths.iter().any(|path| Path::new(AGENT).starts_with(path))
            && !root.entries.iter().any(|entry| entry.path == AGENT)
    })
}

/// Lists the root's files. What of them does not lie in the image goes beside it, from `start` on; of a
/// root that is not listed, nothing does.
fn list_root<S: ReadAt>(
    source: &S,
    partition: &ManifestPartition,
    selection: &Selection,
    start: u64,
    content: &mut Content,
) -> Result<RootManifest, RootError> {
    let mut keep = |chunk: &[u8]| content.keep(chunk);
    let mut beside = ContentBeside::new(start, &mut keep);
    let read = read_root_beside(source, partition, selection, &mut beside, &mut |_| {});
    let closed = read.and_then(|root| match beside.close() {
        Ok(()) => Ok(root),
        Err(source) => Err(RootError::Keep { path: "the last files".to_owned(), source }),
    });
    if closed.is_err() {
        content.clear();
    }
    closed
}

/// A root whose files are not listed is no error unless somebody has named immutable paths; anything
/// else is.
fn root_or_warning(
    read: Result<RootManifest, RootError>,
    partition: u32,
    selected: bool,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Option<RootManifest>> {
    let why = match read {
        Ok(root) => {
            if root.entries.is_empty() {
                warnings.push("nothing is under the immutable paths, so no file will be checked".to_owned());
            }
            return Ok(Some(root));
        }
        Err(RootError::FileSystem { source, .. }) if !selected && source.is_about_listing() => {
            source.to_string()
        }
        Err(error) => return Err(error).context("could not list the image's immutable files"),
    };
    warnings.push(format!(
        "the files of the root on partition {partition} are not listed: {why}. A check of a node with this image compares its boot partitions and no files, and what is wrong on its root is put right by a reimage"
    ));
    Ok(None)
}

/// The digests of all chunks, computed by several threads.
fn digest_chunks<S: ReadAt + Sync>(
    source: &S,
    stop: &AtomicBool,
    progress: &(dyn Fn(u64) + Sync),
) -> anyhow::Result<Vec<Chunk>> {
    let size_bytes = source.size_bytes();
    let count = size_bytes.div_ceil(CHUNK_BYTES as u64);
    let chunks = Mutex::new(vec![Chunk::Zero; usize::try_from(count)?]);
    let next = AtomicU64::new(0);
    let work = || -> anyhow::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(());
            }
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "interrupted");
            read_chunk(source, index, &mut buffer)?;
            if !is_all_zeros(&buffer) {
                let chunk = Chunk::Stored(digest_of(&buffer));
                let mut chunks = chunks.lock().map_err(|_| anyhow::anyhow!("a hashing thread failed"))?;
                chunks[usize::try_from(index)?] = chunk;
            }
            progress(buffer.len() as u64);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("a hashing thread failed")),
        })
    })?;
    chunks.into_inner().map_err(|_| anyhow::anyhow!("a hashing thread failed"))
}

/// Reads one chunk; the last one may be shorter.
///
/// # Errors
/// If the image cannot be read there.
pub fn read_chunk<S: ReadAt>(source: &S, index: u64, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    let offset = index * CHUNK_BYTES as u64;
    let length = source.size_bytes().saturating_sub(offset).min(CHUNK_BYTES as u64);
    buffer.resize(usize::try_from(length)?, 0);
    source
        .read_at(offset, buffer)
        .with_context(|| format!("could not read {length} bytes at {offset} of the image; is it cut off?"))
}

fn digest_range<S: ReadAt>(source: &S, first_byte: u64, length_bytes: u64) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut done = 0;
    while done < length_bytes {
        let length = usize::try_from((length_bytes - done).min(CHUNK_BYTES as u64)).unwrap_or(CHUNK_BYTES);
        source.read_at(first_byte.saturating_add(done), &mut buffer[..length])?;
        hasher.update(&buffer[..length]);
        done += length as u64;
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}
