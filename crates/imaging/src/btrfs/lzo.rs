//! Content that btrfs compressed with LZO.
//!
//! Layout of the envelope: `fs/btrfs/lzo.c` of the kernel, the comment at its top. The packed bytes: the
//! kernel's `Documentation/staging/lzo.rst`, bitstream version 0, the only one that btrfs writes. All
//! numbers are little-endian. Nothing is written beyond the room that is given, and everything that is
//! read or repeated is there.

use super::{u16_at, u32_at};

/// Length of the numbers of the envelope, in bytes.
const LENGTH_BYTES: usize = 4;

/// Takes the content out of its envelope: its length, then segments, each with its length, each packed
/// from one sector of content. A segment's length never lies across two sectors.
///
/// Gives at most `whole_bytes`; what stands behind them is not looked at. None if it makes no sense.
#[must_use]
pub fn unpack_lzo(packed: &[u8], whole_bytes: usize, sector_bytes: usize) -> Option<Vec<u8>> {
    let length = usize::try_from(u32_at(packed.get(..LENGTH_BYTES)?, 0)).ok()?;
    let packed = packed.get(..length).filter(|packed| packed.len() > LENGTH_BYTES)?;
    let mut whole = Vec::new();
    let mut at = LENGTH_BYTES;
    while at < packed.len() && whole.len() < whole_bytes {
        let header = packed.get(at..at.checked_add(LENGTH_BYTES)?)?;
        let segment = at + LENGTH_BYTES;
        let end = segment.checked_add(usize::try_from(u32_at(header, 0)).ok()?)?;
        unpack_segment(packed.get(segment..end)?, sector_bytes, &mut whole)?;
        let left_in_sector = sector_bytes - end.checked_rem(sector_bytes)?;
        at = if left_in_sector < LENGTH_BYTES { end + left_in_sector } else { end };
    }
    whole.truncate(whole_bytes);
    Some(whole)
}

/// Appends what a segment holds, at most `room` bytes. None if it makes no sense.
fn unpack_segment(packed: &[u8], room: usize, whole: &mut Vec<u8>) -> Option<()> {
    let mut unpacking = Unpacking { packed, start: whole.len(), room, whole };
    let mut state = unpacking.first_literals()?;
    loop {
        match unpacking.copy(state)? {
            Some(next) => state = next,
            // The end is said, and nothing stands behind it.
            None => return unpacking.packed.is_empty().then_some(()),
        }
    }
}

/// How many literals came last: none, one to three, or more. It decides what a short instruction means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Literals {
    None,
    Few,
    Many,
}

/// A segment that is being unpacked.
struct Unpacking<'a> {
    /// What is still to be read.
    packed: &'a [u8],
    /// Where in `whole` the segment's content begins: nothing before it is repeated.
    start: usize,
    /// How much content it may have.
    room: usize,
    whole: &'a mut Vec<u8>,
}

impl Unpacking<'_> {
    fn byte(&mut self) -> Option<usize> {
        let (first, rest) = self.packed.split_first()?;
        self.packed = rest;
        Some(usize::from(*first))
    }

    fn number(&mut self) -> Option<usize> {
        let (number, rest) = self.packed.split_at_checked(2)?;
        self.packed = rest;
        Some(usize::from(u16_at(number, 0)))
    }

    /// A length whose bits in the instruction are all zero goes on in bytes behind it.
    fn length(&mut self, bits: usize, bits_max: usize) -> Option<usize> {
        if bits > 0 {
            return Some(bits);
        }
        let mut length = bits_max;
        loop {
            match self.byte()? {
                0 => length = length.checked_add(255)?,
                last => return length.checked_add(last),
            }
        }
    }

    /// Copies bytes that stand as they are.
    fn literals(&mut self, count: usize) -> Option<Literals> {
        let (literals, rest) = self.packed.split_at_checked(count)?;
        self.make_room(count)?;
        self.whole.extend_from_slice(literals);
        self.packed = rest;
        Some(match count {
            0 => Literals::None,
            1..=3 => Literals::Few,
            _ => Literals::Many,
        })
    }

    /// Repeats content; a length beyond the distance repeats what is being repeated.
    fn repeat(&mut self, distance: usize, length: usize) -> Option<()> {
        let from = self.whole.len().checked_sub(distance).filter(|from| *from >= self.start)?;
        self.make_room(length)?;
        for at in from..from + length {
            self.whole.push(*self.whole.get(at)?);
        }
        Some(())
    }

    fn make_room(&self, length: usize) -> Option<()> {
        let unpacked = (self.whole.len() - self.start).checked_add(length)?;
        (unpacked <= self.room).then_some(())
    }

    /// The first byte is a count of literals if it is large enough, and an instruction if not. 17 there
    /// announces another version of the format.
    fn first_literals(&mut self) -> Option<Literals> {
        match *self.packed.first()? {
            17 => None,
            first @ 18.. => {
                self.packed = self.packed.get(1..)?;
                self.literals(usize::from(first) - 17)
            }
            _ => Some(Literals::None),
        }
    }

    /// Follows one instruction; nothing at the end of the stream.
    fn copy(&mut self, last: Literals) -> Option<Option<Literals>> {
        let instruction = self.byte()?;
        // Each kind has the count of literals behind the copy in its lowest two bits.
        let (distance, length, literals) = match (instruction, last) {
            (64.., _) => {
                let distance = (self.byte()? << 3) + (instruction >> 2 & 7) + 1;
                (distance, (instruction >> 5) + 1, instruction & 3)
            }
            (32..64, _) => {
                let length = self.length(instruction & 31, 31)?.checked_add(2)?;
                let number = self.number()?;
                ((number >> 2) + 1, length, number & 3)
            }
            (16..32, _) => {
                let length = self.length(instruction & 7, 7)?.checked_add(2)?;
                let number = self.number()?;
                let distance = ((instruction & 8) << 11) + (number >> 2);
                if distance == 0 {
                    return (length == 3).then_some(None);
                }
                (distance + 16_384, length, number & 3)
            }
            (_, Literals::None) => {
                let count = self.length(instruction, 15)?.checked_add(3)?;
                return self.literals(count).map(Some);
            }
            (_, Literals::Few) => ((self.byte()? << 2) + (instruction >> 2) + 1, 2, instruction & 3),
            (_, Literals::Many) => ((self.byte()? << 2) + (instruction >> 2) + 2049, 3, instruction & 3),
        };
        self.repeat(distance, length)?;
        self.literals(literals).map(Some)
    }
}

#[cfg(test)]
mod tests;
