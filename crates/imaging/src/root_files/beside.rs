//! Content beside the image: files one after the other, in whole chunks.
//!
//! The next version of an image should share as many chunks as it can. So a large file begins a chunk of
//! its own, and small ones share chunks only with those of the same part of the tree.

use std::io;

use crate::chunk::CHUNK_BYTES;

/// A file of this size or more begins a chunk of its own, in bytes.
const LARGE_BYTES: u64 = 64 << 10;

/// How many parts of a path tell parts of the tree apart: `/usr/lib/modules`.
const PARTS: usize = 3;

/// Where content goes, as whole chunks.
pub struct ContentBeside<'a> {
    /// Where the next byte goes, in the bytes that extents count.
    at: u64,
    /// Where the file that is being added ends.
    end: u64,
    chunk: Vec<u8>,
    part: String,
    keep: &'a mut dyn FnMut(&[u8]) -> io::Result<()>,
}

impl<'a> ContentBeside<'a> {
    /// Content that begins here (`Manifest::content_start`), in bytes; `keep` is given each chunk.
    pub fn new(start: u64, keep: &'a mut dyn FnMut(&[u8]) -> io::Result<()>) -> Self {
        Self { at: start, end: start, chunk: Vec::new(), part: String::new(), keep }
    }

    /// Begins a file; gives the place of its first byte.
    pub(super) fn begin(&mut self, path: &str, size_bytes: u64) -> io::Result<u64> {
        let parts: Vec<&str> = path.split('/').skip(1).take(PARTS).collect();
        let part = parts.join("/");
        if size_bytes >= LARGE_BYTES || part != self.part {
            self.close()?;
            self.part = part;
        }
        self.end = self.at.checked_add(size_bytes).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(self.at)
    }

    pub(super) fn add(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            self.at += now.len() as u64;
            bytes = later;
            if self.chunk.len() == CHUNK_BYTES {
                (self.keep)(&self.chunk)?;
                self.chunk.clear();
            }
        }
        Ok(())
    }

    /// Ends a file, which must have had the size that it was begun with.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.at == self.end { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Fills the last chunk with zeros and hands it over; the next byte begins another.
    ///
    /// # Errors
    /// Whatever keeping it gives.
    pub fn close(&mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            let missing = CHUNK_BYTES - self.chunk.len();
            self.add(&vec![0; missing])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_of_one_part_share_chunks_and_large_ones_begin_their_own() {
        let mut chunks = Vec::new();
        let mut keep = |chunk: &[u8]| {
            chunks.push(chunk.to_vec());
            Ok(())
        };
        let mut beside = ContentBeside::new(10 << 20, &mut keep);
        let mut places = Vec::new();
        let (small, large) = (vec![1; 100], vec![2; CHUNK_BYTES + 1]);
        for (path, content) in [
            ("/usr/lib/a/1", &small),
            ("/usr/lib/a/2", &small),
            ("/usr/lib/b", &large),
            ("/usr/lib/b/3", &small),
            ("/usr/share/doc/4", &small),
        ] {
            places.push(beside.begin(path, content.len() as u64).unwrap() - (10 << 20));
            beside.add(content).unwrap();
            beside.finish().unwrap();
        }
        assert!(beside.begin("/usr/share/doc/5", 7).is_ok() && beside.finish().is_err(), "too short");
        beside.close().unwrap();
        let chunk = CHUNK_BYTES as u64;
        assert_eq!(places, [0, 100, chunk, 2 * chunk + 1, 3 * chunk]);
        assert_eq!(chunks.len(), 4);
        assert!(chunks.iter().all(|chunk| chunk.len() == CHUNK_BYTES));
        assert_eq!(chunks[0][..201], [vec![1; 200], vec![0]].concat());
        assert_eq!(chunks[2][..102], [vec![2], vec![1; 100], vec![0]].concat());
    }
}
