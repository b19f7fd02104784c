//! Files of chunks: verified before they get their name, durable before they are answered for.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use contract::id::{ChunkDigest, Digest};
use imaging::chunk::{CHUNK_BYTES, STORED_BYTES_MAX, decompress_into};

/// What is wrong with an uploaded chunk.
#[derive(Debug, thiserror::Error)]
pub enum ChunkRefused {
    /// Longer than a chunk can be.
    #[error("the chunk is longer than a chunk can be")]
    TooLong,
    /// Not zstd, or cut off.
    #[error("the chunk is not zstd or is cut off")]
    NotZstd(#[source] std::io::Error),
    /// Other bytes than its name says.
    #[error("the bytes have the digest {found}")]
    OtherBytes {
        /// What came.
        found: ChunkDigest,
    },
}

thread_local! {
    // New memory for each chunk costs more than it costs to look at the chunk's name.
    static DECOMPRESSED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Checks an uploaded chunk against its name; gives its length in bytes. How long it must be is only
/// known from the manifest, and compared when that comes.
///
/// # Errors
/// Each way in which the bytes are not that chunk.
pub fn verify_upload(stored: &[u8], digest: ChunkDigest) -> Result<usize, ChunkRefused> {
    if stored.len() > STORED_BYTES_MAX {
        return Err(ChunkRefused::TooLong);
    }
    DECOMPRESSED.with_borrow_mut(|bytes| {
        bytes.resize(CHUNK_BYTES, 0);
        let length = decompress_into(stored, bytes).map_err(|error| why_not(stored, error))?;
        let found = ChunkDigest(Digest::of(bytes.get(..length).unwrap_or_default()));
        if found == digest { Ok(length) } else { Err(ChunkRefused::OtherBytes { found }) }
    })
}

/// What is wrong with bytes that do not become a chunk: they are too many, or they are damaged.
fn why_not(stored: &[u8], error: std::io::Error) -> ChunkRefused {
    let mut bytes = Vec::new();
    let read = zstd::stream::read::Decoder::with_buffer(stored)
        .and_then(|decoder| decoder.take(CHUNK_BYTES as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length > CHUNK_BYTES => ChunkRefused::TooLong,
        _ => ChunkRefused::NotZstd(error),
    }
}

/// Writes bytes under a name so that the name is durable and never stands for half a file.
///
/// # Errors
/// What the file system says; then nothing is left under the name.
pub fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_whole(path, bytes)?;
    sync_folder(path.parent().unwrap_or_else(|| Path::new(".")))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// What the file system says.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Writes bytes under a name so that the name never stands for half a file. The bytes are durable; the
/// name is when its folder is, see [`sync_folder`]: a power cut before that may lose the file.
///
/// # Errors
/// What the file system says; then nothing is left under the name.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    if !folder.exists() {
        std::fs::create_dir_all(folder)?;
        if let Some(above) = folder.parent() {
            sync_folder(above)?;
        }
    }
    let temporary = folder.join(format!("{}.tmp", crate::bearer::new_uuid()));
    let written = (|| {
        let mut file = std::fs::File::create_new(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // Best effort; what a crash leaves is removed at the next start.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Removes files that a crash left without their final name.
///
/// # Errors
/// Names the folder that cannot be looked through.
pub fn remove_half_written(chunks: &Path) -> anyhow::Result<()> {
    let list = |folder: &Path| -> anyhow::Result<Vec<std::path::PathBuf>> {
        std::fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .with_context(|| format!("could not look through {}", folder.display()))
    };
    for folder in list(chunks)? {
        if !folder.is_dir() {
            continue;
        }
        for path in list(&folder)? {
            if path.extension().is_some_and(|extension| extension == "tmp") {
                std::fs::remove_file(&path)
                    .with_context(|| format!("could not remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use imaging::chunk::{compress, digest_of};
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    #[test]
    fn only_the_bytes_of_the_name_are_taken() {
        let stored = compress(b"some bytes").unwrap();
        assert_eq!(verify_upload(&stored, digest_of(b"some bytes")).unwrap(), 10);
        assert!(matches!(verify_upload(&stored, digest_of(b"others")), Err(ChunkRefused::OtherBytes { .. })));
        let cut = &stored[..stored.len() - 2];
        assert!(matches!(verify_upload(cut, digest_of(b"some bytes")), Err(ChunkRefused::NotZstd(_))));
        let bomb = compress(&vec![0; CHUNK_BYTES + 1]).unwrap();
        assert!(matches!(verify_upload(&bomb, digest_of(b"")), Err(ChunkRefused::TooLong)));
    }

    #[test]
    fn half_written_files_go_and_whole_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("ab/whole.zst");
        write_durably(&whole, b"bytes").unwrap();
        std::fs::write(folder.path().join("ab/x.tmp"), b"by").unwrap();
        remove_half_written(folder.path()).unwrap();
        assert!(whole.exists());
        assert!(!folder.path().join("ab/x.tmp").exists());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = verify_upload(&bytes, digest_of(b"x"));
        }
    }
}
