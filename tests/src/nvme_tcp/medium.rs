//! What a namespace stores: sparse, in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes are kept in pieces of this size.
const PIECE_BYTES: u64 = 64 << 10;
/// Noise is made in blocks of this size, in bytes.
const NOISE_BYTES: u64 = 4096;

/// What stands where nothing was written since the last erase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// The same byte everywhere.
    Byte(u8),
    /// Noise, another one for each number: what a lost key leaves.
    Noise(u64),
}

/// A namespace's bytes.
#[derive(Debug, Clone)]
pub struct Medium {
    size_bytes: u64,
    fill: Fill,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Medium {
    /// A blank medium; its size is a multiple of 64 KiB.
    #[must_use]
    pub fn blank(size_bytes: u64) -> Self {
        let size_bytes = size_bytes.next_multiple_of(PIECE_BYTES);
        Self { size_bytes, fill: Fill::Byte(0), pieces: BTreeMap::new() }
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether this many bytes stand there.
    #[must_use]
    pub fn has(&self, offset: u64, length: u64) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.size_bytes)
    }

    /// Reads; what is beyond the end is zero.
    #[must_use]
    pub fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset.saturating_add(bytes.len() as u64);
            let (index, within) = (at / PIECE_BYTES, place(at % PIECE_BYTES));
            let count = (place(PIECE_BYTES) - within).min(length - bytes.len());
            match self.pieces.get(&index) {
                Some(piece) => bytes.extend(&piece[within..within + count]),
                None => bytes.extend(&self.filled(index)[within..within + count]),
            }
        }
        bytes
    }

    /// Writes; what is beyond the end is left out.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset.saturating_add(done as u64);
            if at >= self.size_bytes {
                return;
            }
            let (index, within) = (at / PIECE_BYTES, place(at % PIECE_BYTES));
            let count = (place(PIECE_BYTES) - within).min(bytes.len() - done);
            let blank = if self.pieces.contains_key(&index) { Vec::new() } else { self.filled(index) };
            let piece = self.pieces.entry(index).or_insert(blank);
            piece[within..within + count].copy_from_slice(&bytes[done..done + count]);
            done += count;
        }
    }

    /// Makes this range, from the beginning of the medium, look as after an erase.
    pub fn erase_first(&mut self, bytes: u64, fill: Fill) {
        let whole = Self { fill, pieces: BTreeMap::new(), ..*self };
        if bytes >= self.size_bytes {
            *self = whole;
            return;
        }
        for index in 0..bytes.div_ceil(PIECE_BYTES) {
            let count = bytes.saturating_sub(index * PIECE_BYTES).min(PIECE_BYTES);
            let erased = whole.read(index * PIECE_BYTES, place(count));
            self.write(index * PIECE_BYTES, &erased);
        }
    }

    /// Whether these bytes stand anywhere in what was written since the last erase, beginning at a
    /// multiple of 512 bytes.
    #[must_use]
    pub fn holds(&self, pattern: &[u8]) -> bool {
        self.pieces.iter().any(|(index, piece)| {
            (0..piece.len()).step_by(512).any(|within| {
                piece[within..].starts_with(&pattern[..pattern.len().min(piece.len() - within)])
                    && self.read(index * PIECE_BYTES + within as u64, pattern.len()) == pattern
            })
        })
    }

    /// Writes the whole medium to a sparse file, to be looked at as a disk.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.size_bytes)?;
        for index in 0..self.size_bytes / PIECE_BYTES {
            match (self.pieces.get(&index), self.fill) {
                (Some(piece), _) => file.write_all_at(piece, index * PIECE_BYTES)?,
                (None, Fill::Byte(0)) => {}
                (None, _) => file.write_all_at(&self.filled(index), index * PIECE_BYTES)?,
            }
        }
        Ok(())
    }

    fn filled(&self, piece: u64) -> Vec<u8> {
        let mut bytes = vec![0; place(PIECE_BYTES)];
        match self.fill {
            Fill::Byte(byte) => bytes.fill(byte),
            Fill::Noise(key) => {
                for (block, number) in bytes.chunks_mut(place(NOISE_BYTES)).zip(0_u64..) {
                    let mut hasher = blake3::Hasher::new();
                    hasher.update(&key.to_le_bytes());
                    hasher.update(&(piece * PIECE_BYTES + number * NOISE_BYTES).to_le_bytes());
                    hasher.finalize_xof().fill(block);
                }
            }
        }
        bytes
    }
}

/// Places within a piece fit every machine's `usize`.
fn place(within: u64) -> usize {
    usize::try_from(within).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Fill, Medium, PIECE_BYTES};

    #[test]
    fn what_is_written_is_read_across_pieces() {
        let mut medium = Medium::blank(1 << 20);
        let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
        medium.write(PIECE_BYTES - 512, &bytes);
        assert_eq!(medium.read(PIECE_BYTES - 512, 5000), bytes);
        assert_eq!(medium.read(PIECE_BYTES - 513, 1), [0]);
        assert!(medium.holds(&bytes));
        assert!(!medium.holds(&[1; 600]));
    }

    #[test]
    fn an_erase_of_a_part_leaves_the_rest() {
        let mut medium = Medium::blank(1 << 20);
        medium.write(0, &vec![7; 1 << 20]);
        medium.erase_first(PIECE_BYTES + 4096, Fill::Byte(0xff));
        assert_eq!(medium.read(PIECE_BYTES + 4095, 2), [0xff, 7]);
        medium.erase_first(u64::MAX, Fill::Noise(3));
        let noise = medium.read(0, 8192);
        assert!(noise[..4096] != noise[4096..] && !medium.holds(&[7; 512]));
        assert_eq!(noise, medium.read(0, 8192));
    }

    #[test]
    fn a_saved_medium_is_the_medium() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("medium");
        for fill in [Fill::Byte(0), Fill::Byte(0xff), Fill::Noise(1)] {
            let mut medium = Medium::blank(256 << 10);
            medium.erase_first(u64::MAX, fill);
            medium.write(70_000, &[9; 100]);
            medium.save(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), medium.read(0, 256 << 10));
        }
    }
}
