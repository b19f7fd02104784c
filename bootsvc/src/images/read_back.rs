//! Reading an image's chunks back before it counts as imported, on all cores.
//!
//! What this process has itself checked before it stored it is compared with what it checked then, as
//! stored; all else is decompressed and compared with its name.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use contract::id::{ChunkDigest, Digest};
use contract::operator_api::ErrorKind;
use imaging::chunk::{
    CHUNK_BYTES, ChunkError, STORED_BYTES_MAX, decompress_verified, decompress_verified_into,
};

use crate::refusal::Refusal;

/// How many threads read at most.
const THREADS_MAX: usize = 16;
/// Of so many chunks it is remembered how they were checked; about 25 MB.
const REMEMBERED_MAX: usize = 1 << 18;

/// What a chunk was when it was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Checked {
    length_bytes: usize,
    stored: Digest,
}

/// The chunks that this process has checked and stored, until they are part of an image.
#[derive(Debug, Default)]
pub struct CheckedChunks {
    known: Mutex<HashMap<ChunkDigest, Checked>>,
}

impl CheckedChunks {
    /// Remembers that these stored bytes are this chunk, and how long it is. What is not remembered, for
    /// there is too much of it, is read back the slower way.
    pub fn remember(&self, digest: ChunkDigest, length_bytes: usize, stored: &[u8]) {
        let checked = Checked { length_bytes, stored: Digest::of(stored) };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < REMEMBERED_MAX {
            known.insert(digest, checked);
        }
    }

    /// Forgets chunks: they are part of an image now, or are gone.
    pub fn forget<'a>(&self, digests: impl IntoIterator<Item = &'a ChunkDigest>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in digests {
            known.remove(digest);
        }
    }

    fn get(&self, digest: ChunkDigest) -> Option<Checked> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).copied()
    }
}

/// A chunk that an image has, its length in bytes, and its file.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Which one.
    pub digest: ChunkDigest,
    /// How long the manifest says that it is.
    pub length_bytes: usize,
    /// Where it is stored.
    pub path: PathBuf,
}

/// Reads all of them back.
///
/// # Errors
/// The first that was found not to be stored, or not to be the chunk that its name says.
pub fn read_back(wanted: &[Wanted], checked: &CheckedChunks) -> Result<(), Refusal> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), Refusal> {
        let (mut stored, mut bytes) = (Vec::new(), Vec::new());
        loop {
            let Some(chunk) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
            if let Err(refusal) = read_one(chunk, checked, &mut stored, &mut bytes) {
                // The other threads find nothing more to do.
                next.store(wanted.len(), Ordering::Relaxed);
                return Err(refusal);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(Refusal::internal("a thread that read chunks back failed")))
        })
    })
}

fn read_one(
    chunk: &Wanted,
    checked: &CheckedChunks,
    stored: &mut Vec<u8>,
    bytes: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let Wanted { digest, length_bytes, path } = chunk;
    read_bounded(path, stored).map_err(|error| {
        Refusal::new(
            ErrorKind::Corrupt,
            format!("chunk {digest} is not stored: {error}"),
            "ask which chunks are missing and send them",
        )
    })?;
    let known = checked.get(*digest).filter(|known| known.stored == Digest::of(stored));
    let result = match known {
        Some(known) if known.length_bytes == *length_bytes => Ok(()),
        Some(_) => Err(ChunkError::Length { digest: *digest, expected_bytes: *length_bytes }),
        None => {
            bytes.resize((*length_bytes).min(CHUNK_BYTES), 0);
            match decompress_verified_into(stored, *digest, bytes) {
                // Asked once more, for what exactly is wrong.
                Err(_) => decompress_verified(stored, *digest, *length_bytes).map(drop),
                Ok(()) => Ok(()),
            }
        }
    };
    result.map_err(|error| {
        let hint = "give this import up and import the image again";
        Refusal::new(ErrorKind::Corrupt, error.to_string(), hint)
    })
}

/// One byte more than a chunk can have shows that there is more.
fn read_bounded(path: &Path, stored: &mut Vec<u8>) -> std::io::Result<()> {
    stored.clear();
    File::open(path)?.take(STORED_BYTES_MAX as u64 + 1).read_to_end(stored).map(drop)
}

#[cfg(test)]
mod tests {
    use imaging::chunk::{compress, digest_of};

    use super::*;

    fn stored(folder: &Path, bytes: &[u8]) -> Wanted {
        let digest = digest_of(bytes);
        let path = folder.join(digest.to_string());
        std::fs::write(&path, compress(bytes).unwrap()).unwrap();
        Wanted { digest, length_bytes: bytes.len(), path }
    }

    #[test]
    fn whether_remembered_or_not_only_the_chunk_of_the_name_and_length_passes() {
        let folder = tempfile::tempdir().unwrap();
        let chunks: Vec<Wanted> = (0..40_u8).map(|number| stored(folder.path(), &[number; 3000])).collect();
        let remembering = CheckedChunks::default();
        for chunk in &chunks {
            remembering.remember(chunk.digest, 3000, &std::fs::read(&chunk.path).unwrap());
        }
        for checked in [CheckedChunks::default(), remembering] {
            read_back(&chunks, &checked).unwrap();
            let mut longer = chunks.clone();
            longer[17].length_bytes = 3001;
            assert_eq!(read_back(&longer, &checked).unwrap_err().kind, ErrorKind::Corrupt);
            // Another chunk, whole and valid, in the place of this one.
            let (original, other) = (std::fs::read(&chunks[5].path).unwrap(), &chunks[6].path);
            std::fs::copy(other, &chunks[5].path).unwrap();
            assert_eq!(read_back(&chunks, &checked).unwrap_err().kind, ErrorKind::Corrupt);
            std::fs::write(&chunks[5].path, &original[..original.len() - 1]).unwrap();
            assert_eq!(read_back(&chunks, &checked).unwrap_err().kind, ErrorKind::Corrupt);
            std::fs::remove_file(&chunks[5].path).unwrap();
            assert!(read_back(&chunks, &checked).unwrap_err().message.contains("is not stored"));
            std::fs::write(&chunks[5].path, original).unwrap();
        }
    }
}
