//! A file's content as a list of pieces of chunks and runs of zeros.

use imaging::manifest::{ChunkPiece, Extent, Manifest};

/// A run of zeros is cut into pieces of at most this length, in bytes.
const ZEROS_MAX: u64 = 1 << 20;

/// One piece of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// This many zero bytes; at most one MiB.
    Zeros(usize),
    /// A part of a chunk.
    Piece(ChunkPiece),
}

/// The content of a file of this size, in order. None if the extents do not fit the file or the image.
#[must_use]
pub fn segments(manifest: &Manifest, extents: &[Extent], size_bytes: u64) -> Option<Vec<Segment>> {
    let mut list = Vec::new();
    let mut at = 0;
    for extent in extents {
        add_zeros(&mut list, extent.file_offset.checked_sub(at)?);
        let pieces = manifest.pieces(extent.image_offset, extent.length_bytes);
        let found: u64 = pieces.iter().map(|piece| (piece.until - piece.from) as u64).sum();
        if found != extent.length_bytes {
            return None;
        }
        list.extend(pieces.into_iter().map(Segment::Piece));
        at = extent.file_offset.checked_add(extent.length_bytes)?;
    }
    add_zeros(&mut list, size_bytes.checked_sub(at)?);
    Some(list)
}

fn add_zeros(list: &mut Vec<Segment>, mut length: u64) {
    while length > 0 {
        let piece = length.min(ZEROS_MAX);
        list.push(Segment::Zeros(piece as usize));
        length -= piece;
    }
}
