//! Images: chunks by digest, manifests by digest, and the imports that bring them.
//!
//! A chunk's file appears under its name only when its bytes are verified and durable. Before that an
//! import says durably that it counts on the chunk, so whatever happens, a file is either part of an
//! image or belongs to an import that can be given up. The names are durable before the image is there;
//! what a power cut takes of an import is missing when somebody goes on with it.

pub mod chunks;
pub mod data;
pub mod import;
pub mod read_back;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use contract::id::{ChunkDigest, ImageId};

use self::read_back::CheckedChunks;

/// Where images are kept.
#[derive(Debug)]
pub struct ImageStore {
    chunks: PathBuf,
    manifests: PathBuf,
    /// Held alone while chunk files are taken away, and by many at a time while they are counted on.
    deciding: tokio::sync::RwLock<()>,
    checked: Arc<CheckedChunks>,
}

impl ImageStore {
    /// Opens the folders, making them first, and removes what a crash left half-written.
    ///
    /// # Errors
    /// Names the folder.
    pub fn open(state_directory: &Path) -> anyhow::Result<Self> {
        let store = Self {
            chunks: state_directory.join("chunks"),
            manifests: state_directory.join("images"),
            deciding: tokio::sync::RwLock::default(),
            checked: Arc::default(),
        };
        for folder in [&store.chunks, &store.manifests] {
            std::fs::create_dir_all(folder).map_err(|error| {
                anyhow::anyhow!("could not make the folder {}: {error}", folder.display())
            })?;
        }
        chunks::remove_half_written(&store.chunks)?;
        Ok(store)
    }

    /// The file of a chunk.
    #[must_use]
    pub fn chunk_path(&self, digest: ChunkDigest) -> PathBuf {
        let name = digest.to_string();
        self.chunks.join(name.get(..2).unwrap_or_default()).join(format!("{name}.zst"))
    }

    /// The file of a signed manifest.
    #[must_use]
    pub fn manifest_path(&self, image: ImageId) -> PathBuf {
        self.manifests.join(format!("{image}.manifest"))
    }
}
