//! What is stored beside an image: the content of files that do not lie in it as they are read. It is
//! kept in a temporary file until it is sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use anyhow::Context as _;
use imaging::chunk::{CHUNK_BYTES, digest_of, is_all_zeros};
use imaging::manifest::{Chunk, Chunks};
use imaging::source::ReadAt;

use super::describe::read_chunk;

/// Whole chunks of content.
#[derive(Debug, Default)]
pub struct Content {
    file: Option<File>,
    chunks: Vec<Chunk>,
}

impl Content {
    /// Keeps one more chunk.
    ///
    /// # Errors
    /// If the temporary file cannot be made or written.
    pub fn keep(&mut self, chunk: &[u8]) -> io::Result<()> {
        if is_all_zeros(chunk) {
            self.chunks.push(Chunk::Zero);
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        file.write_all_at(chunk, self.chunks.len() as u64 * CHUNK_BYTES as u64)?;
        self.chunks.push(Chunk::Stored(digest_of(chunk)));
        Ok(())
    }

    /// Its chunks, as the manifest names them.
    #[must_use]
    pub fn chunks(&self) -> Chunks {
        self.chunks.clone().into()
    }
}

/// An image with the content beside it.
#[derive(Debug)]
pub struct WithContent<S> {
    /// The image.
    pub image: Arc<S>,
    /// What is beside it.
    pub content: Arc<Content>,
}

impl<S> Clone for WithContent<S> {
    fn clone(&self) -> Self {
        Self { image: Arc::clone(&self.image), content: Arc::clone(&self.content) }
    }
}

impl<S: ReadAt> WithContent<S> {
    /// Reads one chunk; those of the content are counted on from those of the image.
    ///
    /// # Errors
    /// If the image or the temporary file cannot be read.
    pub fn read_chunk(&self, index: u64, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
        let of_image = self.image.size_bytes().div_ceil(CHUNK_BYTES as u64);
        let Some(beside) = index.checked_sub(of_image) else {
            return read_chunk(&*self.image, index, buffer);
        };
        let file = self.content.file.as_ref().context("there is no content beside the image")?;
        buffer.resize(CHUNK_BYTES, 0);
        file.read_exact_at(buffer, beside * CHUNK_BYTES as u64)
            .context("could not read the temporary file with the content of files; run the import again")
    }
}
