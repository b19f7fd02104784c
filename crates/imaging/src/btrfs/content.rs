//! What is in a file (`struct btrfs_file_extent_item`).

use std::io::Read;

use super::inode::Inode;
use super::lzo::unpack_lzo;
use super::tree::Key;
use super::{Btrfs, BtrfsError, damaged, u16_at, u64_at};
use crate::file_system::{ByteRun, InodeKind};
use crate::source::ReadAt;

const EXTENT_ITEM: u8 = 108;
const HEADER_BYTES: usize = 21;
const PLACE_BYTES: usize = 32;

/// The longest content of one compressed extent (`BTRFS_MAX_UNCOMPRESSED`), and what it may fill.
const COMPRESSED_BYTES_MAX: u64 = 128 << 10;

/// The memory that zstd may want for one extent, as a power of two: that of the longest extent.
const WINDOW_BITS_MAX: u32 = 17;

/// Pieces of one file. Images have files with a few.
const PIECES_MAX: usize = 1_000_000;

/// Plain content is handed over in pieces of this size, in bytes.
const READ_BYTES: u64 = 1 << 20;

/// How a piece is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stored {
    /// In the tree itself.
    Inline(Vec<u8>),
    /// At a logical address, of this length there.
    At(u64, u64),
}

/// A piece of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    file_offset: u64,
    length: u64,
    /// 0 for none, 1 for zlib, 2 for LZO, 3 for zstd.
    compression: u8,
    stored: Stored,
    /// Where in the stored content, uncompressed, the piece begins.
    begins: u64,
    /// The length of the stored content, uncompressed.
    whole: u64,
}

impl<S: ReadAt> Btrfs<S> {
    /// Where the content of a file lies; none if it does not lie on the medium as it is read.
    pub(super) fn byte_runs(&self, inode: &Inode) -> Result<Option<Vec<ByteRun>>, BtrfsError> {
        let mut runs: Vec<ByteRun> = Vec::new();
        for piece in self.pieces(inode)? {
            let (Stored::At(address, _), 0) = (&piece.stored, piece.compression) else { return Ok(None) };
            let offset = self.place(address.saturating_add(piece.begins), piece.length)?;
            match runs.last_mut() {
                Some(last)
                    if last.file_offset + last.length_bytes == piece.file_offset
                        && last.offset + last.length_bytes == offset =>
                {
                    last.length_bytes += piece.length;
                }
                _ => {
                    runs.push(ByteRun { file_offset: piece.file_offset, offset, length_bytes: piece.length })
                }
            }
        }
        Ok(Some(runs))
    }

    /// Hands over the content of a file from its first byte to its last, holes as zeros.
    pub(super) fn read_content(
        &self,
        inode: &Inode,
        take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), BtrfsError> {
        let mut give = |bytes: &[u8]| {
            take(bytes).map_err(|source| BtrfsError::Read { offset: 0, length_bytes: bytes.len(), source })
        };
        let mut done = 0;
        for piece in self.pieces(inode)? {
            give_zeros(piece.file_offset - done, &mut give)?;
            match (&piece.stored, piece.compression) {
                (Stored::At(address, _), 0) => {
                    let mut at = 0;
                    while at < piece.length {
                        let length = (piece.length - at).min(READ_BYTES);
                        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
                        self.read_logical(
                            address.saturating_add(piece.begins).saturating_add(at),
                            &mut bytes,
                        )?;
                        give(&bytes)?;
                        at += length;
                    }
                }
                _ => give(&self.unpacked(inode.facts.number, &piece)?)?,
            }
            done = piece.file_offset + piece.length;
        }
        give_zeros(inode.facts.size_bytes.saturating_sub(done), &mut give)
    }

    /// The target of a symbolic link, as bytes.
    pub(super) fn symlink_target(&self, inode: &Inode) -> Result<Vec<u8>, BtrfsError> {
        let number = inode.facts.number;
        let bad = || damaged(format!("inode {number} is not a sound symbolic link"));
        if inode.facts.kind != InodeKind::Symlink || !(1..4096).contains(&inode.facts.size_bytes) {
            return Err(bad());
        }
        let mut target = Vec::new();
        self.read_content(inode, &mut |bytes| {
            target.extend_from_slice(bytes);
            Ok(())
        })?;
        if target.len() as u64 == inode.facts.size_bytes { Ok(target) } else { Err(bad()) }
    }

    /// The pieces of a file in order, cut at its end. What no piece covers is zeros.
    fn pieces(&self, inode: &Inode) -> Result<Vec<Piece>, BtrfsError> {
        let (number, size) = (inode.facts.number, inode.facts.size_bytes);
        let bad = || damaged(format!("the extents of inode {number} make no sense"));
        let mut pieces: Vec<Piece> = Vec::new();
        let mut next = 0;
        self.scan(
            self.subvolume,
            Key::first(number, EXTENT_ITEM),
            Key::last(number, EXTENT_ITEM),
            &mut |key, item| {
                let (found, length) = parse(number, key.offset, item)?.ok_or_else(bad)?;
                if key.offset < next || pieces.len() >= PIECES_MAX {
                    return Err(bad());
                }
                next = key.offset.checked_add(length).ok_or_else(bad)?;
                if let Some(mut piece) = found {
                    // An extent ends with a sector, a file where it ends.
                    piece.length = piece.length.min(size.saturating_sub(key.offset));
                    if piece.length > 0 {
                        pieces.push(piece);
                    }
                }
                Ok(())
            },
        )?;
        Ok(pieces)
    }

    /// The content of a piece that is compressed or stands in the tree.
    fn unpacked(&self, number: u64, piece: &Piece) -> Result<Vec<u8>, BtrfsError> {
        let bad = || damaged(format!("the content of inode {number} cannot be unpacked"));
        let packed = match &piece.stored {
            Stored::Inline(bytes) => bytes.clone(),
            Stored::At(address, length) => {
                let mut bytes = vec![0; usize::try_from(*length).map_err(|_| bad())?];
                self.read_logical(*address, &mut bytes)?;
                bytes
            }
        };
        let mut whole = Vec::new();
        match piece.compression {
            0 => whole = packed,
            1 => {
                let reader = flate2::read::ZlibDecoder::new(packed.as_slice());
                reader.take(piece.whole).read_to_end(&mut whole).map_err(|_| bad())?;
            }
            2 => {
                let whole_bytes = usize::try_from(piece.whole).map_err(|_| bad())?;
                let sector_bytes = usize::try_from(self.superblock.sector_bytes).map_err(|_| bad())?;
                whole = unpack_lzo(&packed, whole_bytes, sector_bytes).ok_or_else(bad)?;
            }
            _ => {
                // Behind the frame stand zeros up to the end of the sector.
                let mut reader =
                    zstd::stream::read::Decoder::with_buffer(packed.as_slice()).map_err(|_| bad())?;
                reader.window_log_max(WINDOW_BITS_MAX).map_err(|_| bad())?;
                reader.single_frame().take(piece.whole).read_to_end(&mut whole).map_err(|_| bad())?;
            }
        }
        // As the kernel does: what the compressed content does not reach is zeros.
        whole.resize(usize::try_from(piece.whole).map_err(|_| bad())?, 0);
        let range = piece
            .begins
            .checked_add(piece.length)
            .and_then(|end| Some(usize::try_from(piece.begins).ok()?..usize::try_from(end).ok()?));
        range.and_then(|range| whole.get(range)).map(<[u8]>::to_vec).ok_or_else(bad)
    }
}

fn give_zeros(
    mut count: u64,
    give: &mut dyn FnMut(&[u8]) -> Result<(), BtrfsError>,
) -> Result<(), BtrfsError> {
    let zeros = vec![0; 65_536];
    while count > 0 {
        let length = count.min(zeros.len() as u64);
        give(&zeros[..usize::try_from(length).unwrap_or(zeros.len())])?;
        count -= length;
    }
    Ok(())
}

/// One item: the piece, if it is not zeros, and how much of the file it covers. None if it makes no sense.
fn parse(number: u64, file_offset: u64, item: &[u8]) -> Result<Option<(Option<Piece>, u64)>, BtrfsError> {
    const INLINE: u8 = 0;
    const REGULAR: u8 = 1;
    const PREALLOCATED: u8 = 2;
    let Some((head, rest)) = item.split_at_checked(HEADER_BYTES) else { return Ok(None) };
    let (whole, compression, encoded) = (u64_at(head, 8), head[16], head[17] != 0 || u16_at(head, 18) != 0);
    if encoded || compression > 3 {
        let what = format!("files of an encoding that is not known (inode {number})");
        return Err(BtrfsError::Unsupported { what, hint: "make the image with compress=zstd or without" });
    }
    let bounded = |whole: u64| compression == 0 || whole <= COMPRESSED_BYTES_MAX;
    if head[20] == INLINE {
        // Never behind the start of a file, as the kernel's checker of trees says: a file has one at most.
        if file_offset != 0 {
            return Ok(None);
        }
        let whole = if compression == 0 { rest.len() as u64 } else { whole };
        let piece = Piece {
            file_offset,
            length: whole,
            compression,
            stored: Stored::Inline(rest.to_vec()),
            begins: 0,
            whole,
        };
        return Ok((whole > 0 && bounded(whole)).then_some((Some(piece), whole)));
    }
    let Some(place) = rest.get(..PLACE_BYTES) else { return Ok(None) };
    let [address, stored_length, begins, length] = [0, 8, 16, 24].map(|at| u64_at(place, at));
    if address == 0 || head[20] == PREALLOCATED {
        return Ok((length > 0).then_some((None, length)));
    }
    let fits = head[20] == REGULAR
        && length > 0
        && begins.checked_add(length).is_some_and(|end| end <= whole)
        && bounded(whole)
        && (compression == 0 || stored_length <= COMPRESSED_BYTES_MAX);
    let piece =
        Piece { file_offset, length, compression, stored: Stored::At(address, stored_length), begins, whole };
    Ok(fits.then_some((Some(piece), length)))
}

#[cfg(test)]
mod tests {
    use super::{HEADER_BYTES, parse};

    #[test]
    fn what_is_packed_in_a_way_that_nobody_knows_is_refused() {
        // A compression, an encryption and another encoding.
        for (at, to) in [(16, 4), (17, 1), (18, 1), (19, 1)] {
            let mut item = vec![0; HEADER_BYTES + 32];
            item[at] = to;
            let unknown = parse(7, 0, &item).unwrap_err().to_string();
            assert!(unknown.contains("an encoding that is not known (inode 7)"), "{unknown}");
        }
    }

    #[test]
    fn content_in_the_tree_is_there_only_for_the_start_of_a_file() {
        let item = vec![0; HEADER_BYTES + 100];
        let length = |file_offset| parse(7, file_offset, &item).unwrap().map(|(_, length)| length);
        assert_eq!(length(0), Some(100));
        assert_eq!(length(4096), None);
    }
}
