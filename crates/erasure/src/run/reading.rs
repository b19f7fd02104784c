//! What is read, in pieces that fit a buffer.

use std::collections::VecDeque;

use contract::id::Digest;
use contract::plan::VerifyDepth;

use super::{EraseRun, State};
use crate::sample::{BLOCK_BYTES, Span, edges, tenth, whole};

/// The most that is read in one go, in bytes; a multiple of a block.
pub(super) const READ_BYTES_MAX: u64 = 1 << 20;

impl EraseRun {
    /// What will be asked for, if nothing goes wrong, from the span of [`super::Next::Read`] on: at most
    /// `count` spans, none of them behind anything else that has to be done first. They may be read
    /// meanwhile; they are handed in one by one, when they are asked for.
    #[must_use]
    pub fn coming(&self, count: usize) -> Vec<Span> {
        match &self.state {
            State::ReadBefore(reading) | State::ReadBack(reading) => reading.pieces().take(count).collect(),
            _ => Vec::new(),
        }
    }
}

/// Stretches of the disk still to be read, in order.
#[derive(Debug)]
pub(super) struct Reading(VecDeque<Span>);

impl Reading {
    /// Single blocks, ascending, each once.
    pub fn blocks(mut offsets: Vec<u64>) -> Self {
        offsets.sort_unstable();
        offsets.dedup();
        Self(offsets.into_iter().map(|offset| Span { offset, bytes: BLOCK_BYTES }).collect())
    }

    /// What is read back after an erase: the blocks, both ends, and what the depth asks for.
    pub fn back(offsets: Vec<u64>, seed: Digest, size_bytes: u64, depth: VerifyDepth) -> Self {
        let mut reading = Self::blocks(offsets);
        match depth {
            VerifyDepth::Sampling => reading.0.extend(edges(size_bytes)),
            VerifyDepth::TenPercent => {
                reading.0.extend(edges(size_bytes));
                reading.0.extend(tenth(seed, size_bytes));
            }
            VerifyDepth::Full => return Self(whole(size_bytes).into()),
        }
        reading
    }

    /// The next piece.
    pub fn front(&self) -> Option<Span> {
        self.pieces().next()
    }

    /// All pieces that are left, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Span> {
        self.0.iter().flat_map(|span| {
            let count = span.bytes.div_ceil(READ_BYTES_MAX);
            (0..count).map(|at| at * READ_BYTES_MAX).map(|from| Span {
                offset: span.offset + from,
                bytes: (span.bytes - from).min(READ_BYTES_MAX),
            })
        })
    }

    /// The next piece was read.
    pub fn advance(&mut self) {
        let Some(piece) = self.front() else { return };
        match self.0.front_mut() {
            Some(span) if span.bytes > piece.bytes => {
                span.offset += piece.bytes;
                span.bytes -= piece.bytes;
            }
            _ => {
                self.0.pop_front();
            }
        }
    }

    /// How many bytes are still to be read.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|span| span.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(mut reading: Reading) -> Vec<Span> {
        let ahead: Vec<Span> = reading.pieces().collect();
        let mut pieces = Vec::new();
        while let Some(piece) = reading.front() {
            pieces.push(piece);
            reading.advance();
        }
        reading.advance();
        assert_eq!(ahead, pieces, "what was said ahead is what comes");
        pieces
    }

    #[test]
    fn a_whole_disk_is_read_piece_by_piece_to_the_last_byte() {
        let size = 3 * READ_BYTES_MAX + 512;
        let reading = Reading::back(vec![4096], Digest::of(b"seed"), size, VerifyDepth::Full);
        assert_eq!(reading.bytes(), size);
        let pieces = pieces(reading);
        assert_eq!(pieces.len(), 4);
        assert!(pieces.windows(2).all(|pair| pair[0].offset + pair[0].bytes == pair[1].offset));
        assert_eq!(pieces[3], Span { offset: 3 * READ_BYTES_MAX, bytes: 512 });
    }

    #[test]
    fn deeper_reads_more() {
        let bytes = |depth| Reading::back(vec![0, 8192, 0], Digest::of(b"seed"), 1 << 30, depth).bytes();
        assert_eq!(bytes(VerifyDepth::Sampling), 2 * BLOCK_BYTES + (2 << 20));
        assert!(bytes(VerifyDepth::TenPercent) > (1 << 30) / 10 + bytes(VerifyDepth::Sampling));
        assert_eq!(bytes(VerifyDepth::Full), 1 << 30);
    }
}
