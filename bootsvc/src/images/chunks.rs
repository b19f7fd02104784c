//! Files of chunks: verified before they get their name, durable before they are answered for.

use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use contract::id::{ChunkDigest, Digest};
use imaging::chunk::{CHUNK_BYTES, STORED_BYTES_MAX};

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

/// Checks an uploaded chunk against its name. How long it must be is only known from the manifest,
/// and checked when that comes.
///
/// # Errors
/// Each way in which the bytes are not that chunk.
pub fn verify_upload(stored: &[u8], digest: ChunkDigest) -> Result<(), ChunkRefused> {
    if stored.len() > STORED_BYTES_MAX {
        return Err(ChunkRefused::TooLong);
    }
    let mut bytes = Vec::with_capacity(CHUNK_BYTES + 1);
    zstd::stream::read::Decoder::with_buffer(stored)
        .and_then(|decoder| decoder.take(CHUNK_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(ChunkRefused::NotZstd)?;
    if bytes.len() > CHUNK_BYTES {
        return Err(ChunkRefused::TooLong);
    }
    let found = ChunkDigest(Digest::of(&bytes));
    if found == digest { Ok(()) } else { Err(ChunkRefused::OtherBytes { found }) }
}

/// Writes bytes under a name so that the name is durable and never stands for half a file.
///
/// # Errors
/// What the file system says; then nothing is left under the name.
pub fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    if !folder.exists() {
        std::fs::create_dir_all(folder)?;
        if let Some(above) = folder.parent() {
            std::fs::File::open(above)?.sync_all()?;
        }
    }
    let temporary = folder.join(format!("{}.tmp", crate::bearer::new_uuid()));
    let written = (|| {
        let mut file = std::fs::File::create_new(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(folder)?.sync_all()
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
        verify_upload(&stored, digest_of(b"some bytes")).unwrap();
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
