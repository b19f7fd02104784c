//! What is stored beside an image: the content of files that do not lie in it as they are read. It is
//! kept in a temporary file until it is sent, in the folder of the image: it may be as large as the image,
//! and the system's folder for temporary files is often memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use imaging::chunk::{CHUNK_BYTES, digest_of, is_all_zeros};
use imaging::manifest::{Chunk, Chunks};
use imaging::source::ReadAt;

use super::describe::read_chunk;

/// Whole chunks of content.
#[derive(Debug)]
pub struct Content {
    folder: PathBuf,
    file: Option<File>,
    chunks: Vec<Chunk>,
}

impl Content {
    /// Nothing yet; what comes is kept in a nameless file in this folder, which goes away with this process.
    #[must_use]
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder, file: None, chunks: Vec::new() }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.file = None;
        self.chunks.clear();
    }

    /// Keeps one more chunk.
    ///
    /// # Errors
    /// If the temporary file cannot be made or written, with the folder that it is in.
    pub fn keep(&mut self, chunk: &[u8]) -> io::Result<()> {
        if is_all_zeros(chunk) {
            self.chunks.push(Chunk::Zero);
            return Ok(());
        }
        self.write(chunk).map_err(|error| {
            let folder = self.folder.display();
            let what =
                format!("could not write a temporary file in {folder}; make room and let it be written");
            io::Error::new(error.kind(), anyhow::Error::new(error).context(what))
        })?;
        self.chunks.push(Chunk::Stored(digest_of(chunk)));
        Ok(())
    }

    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.folder)?),
        };
        file.write_all_at(chunk, self.chunks.len() as u64 * CHUNK_BYTES as u64)
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

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, Content};

    #[test]
    fn content_is_kept_in_the_folder_that_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let chunk = vec![7; CHUNK_BYTES];
        let mut content = Content::in_folder(folder.path().to_owned());
        content.keep(&chunk).unwrap();
        assert_eq!(content.chunks().stored().count(), 1);
        let gone = folder.path().join("gone");
        let refused = anyhow::Error::new(Content::in_folder(gone.clone()).keep(&chunk).unwrap_err());
        let said = format!("{refused:#}");
        assert!(said.contains(&format!("in {}; make room", gone.display())), "{said}");
        assert!(said.contains("No such file"), "{said}");
    }
}
