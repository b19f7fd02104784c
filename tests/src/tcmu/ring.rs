//! The ring that the kernel's `target_core_user` shares with a handler, version 2 (Linux
//! `include/uapi/linux/target_core_user.h` and `Documentation/target/tcmu-design.rst`).
//!
//! The mailbox at the beginning says where the ring is; the kernel moves its head, we its tail. Every
//! place that the kernel names is looked at before it is used.

use std::sync::atomic::{Ordering, fence};

use super::wire::Answer;

/// Where in the mailbox things are.
const VERSION: usize = 0;
const FLAGS: usize = 2;
const RING_OFFSET: usize = 4;
const RING_BYTES: usize = 8;
const HEAD: usize = 12;
const TAIL: usize = 64;
/// Where in an entry things are: its length and kind, flags of ours, then what is asked or answered.
const ENTRY_FLAGS: usize = 7;
const IOVEC_COUNT: usize = 8;
const COMMAND_OFFSET: usize = 24;
const IOVECS: usize = 48;
const STATUS: usize = 8;
const READ_BYTES: usize = 12;
const SENSE: usize = 16;
const SENSE_BYTES: usize = 96;

const KIND_MASK: u32 = 0b111;
const KIND_COMMAND: u32 = 1;
/// `TCMU_UFLAG_UNKNOWN_OP`, `TCMU_UFLAG_READ_LEN`.
const FLAG_UNKNOWN: u8 = 1;
const FLAG_READ_BYTES: u8 = 2;
/// `TCMU_MAILBOX_FLAG_CAP_READ_LEN`.
const MAILBOX_HAS_READ_BYTES: u16 = 1 << 2;
/// No command of the kernel's has more pieces.
const IOVECS_MAX: u32 = 4096;

/// Why a ring cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// It names a place outside the memory that is shared.
    #[error("the kernel's ring names byte {0}, which is not in the shared memory")]
    Outside(usize),
    /// It is of a version that we do not know.
    #[error("the kernel's ring has version {0}, not 2")]
    Version(u16),
}

/// Memory that is shared with the kernel.
pub struct Memory {
    base: *mut u8,
    length: usize,
}

impl Memory {
    /// Memory of this length.
    ///
    /// # Safety
    /// `base` must be valid for reads and writes of `length` bytes, aligned to 8, as long as the value
    /// is used, and nobody in this program may hold a reference into it.
    #[must_use]
    pub unsafe fn new(base: *mut u8, length: usize) -> Self {
        Self { base, length }
    }

    fn place(&self, offset: usize, length: usize) -> Result<*mut u8, RingError> {
        let end = offset.checked_add(length).filter(|end| *end <= self.length);
        end.ok_or(RingError::Outside(offset))?;
        // SAFETY: the offset was found to be inside.
        Ok(unsafe { self.base.add(offset) })
    }

    fn bytes<const N: usize>(&self, offset: usize) -> Result<[u8; N], RingError> {
        let place = self.place(offset, N)?;
        // SAFETY: all of it is inside; an array of bytes has no alignment.
        Ok(unsafe { place.cast::<[u8; N]>().read_volatile() })
    }

    fn u16(&self, offset: usize) -> Result<u16, RingError> {
        self.bytes(offset).map(u16::from_ne_bytes)
    }

    fn u32(&self, offset: usize) -> Result<u32, RingError> {
        self.bytes(offset).map(u32::from_ne_bytes)
    }

    fn size(&self, offset: usize) -> Result<usize, RingError> {
        self.bytes(offset).map(usize::from_ne_bytes)
    }

    fn read(&self, offset: usize, length: usize) -> Result<Vec<u8>, RingError> {
        let place = self.place(offset, length)?;
        let mut bytes = vec![0; length];
        // SAFETY: all of it is inside, and the new vector is somewhere else.
        unsafe { place.copy_to_nonoverlapping(bytes.as_mut_ptr(), length) };
        Ok(bytes)
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), RingError> {
        let place = self.place(offset, bytes.len())?;
        // SAFETY: all of it is inside, and nobody holds a reference into it.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn write_u32(&self, offset: usize, value: u32) -> Result<(), RingError> {
        let place = self.place(offset, 4)?;
        // SAFETY: all of it is inside; an array of bytes has no alignment.
        unsafe { place.cast::<[u8; 4]>().write_volatile(value.to_ne_bytes()) };
        Ok(())
    }
}

/// One command that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The command descriptor block.
    pub command: Vec<u8>,
    /// Where its data are or go to: offset and length.
    pieces: Vec<(usize, usize)>,
    offset: usize,
    bytes: usize,
}

impl Entry {
    /// How many bytes of data go with it, one way or the other.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        self.pieces.iter().map(|(_, length)| length).sum()
    }
}

/// The ring.
pub struct Ring {
    memory: Memory,
    offset: usize,
    bytes: usize,
    has_read_bytes: bool,
}

impl Ring {
    /// The ring in this memory.
    ///
    /// # Errors
    /// If the mailbox makes no sense.
    pub fn new(memory: Memory) -> Result<Self, RingError> {
        let version = memory.u16(VERSION)?;
        if version != 2 {
            return Err(RingError::Version(version));
        }
        let offset = memory.u32(RING_OFFSET)? as usize;
        let bytes = memory.u32(RING_BYTES)? as usize;
        memory.place(offset, bytes)?;
        let has_read_bytes = memory.u16(FLAGS)? & MAILBOX_HAS_READ_BYTES != 0;
        Ok(Self { memory, offset, bytes, has_read_bytes })
    }

    /// The next command, if one waits.
    ///
    /// # Errors
    /// If the ring makes no sense; it cannot be served any further then.
    pub fn next(&self) -> Result<Option<Entry>, RingError> {
        loop {
            let (head, tail) = (self.memory.u32(HEAD)?, self.memory.u32(TAIL)?);
            if head == tail {
                return Ok(None);
            }
            fence(Ordering::Acquire);
            let tail = tail as usize;
            let offset = self.offset + tail;
            let length_and_kind = self.memory.u32(offset)?;
            let bytes = (length_and_kind & !KIND_MASK) as usize;
            // An entry of no length would be found for ever.
            if bytes == 0 || tail + bytes > self.bytes {
                return Err(RingError::Outside(offset));
            }
            if length_and_kind & KIND_MASK == KIND_COMMAND {
                return self.entry(offset, bytes).map(Some);
            }
            if length_and_kind & KIND_MASK != 0 {
                let flags = self.memory.bytes::<1>(offset + ENTRY_FLAGS)?[0] | FLAG_UNKNOWN;
                self.memory.write(offset + ENTRY_FLAGS, &[flags])?;
            }
            self.advance(bytes)?;
        }
    }

    fn entry(&self, offset: usize, bytes: usize) -> Result<Entry, RingError> {
        let memory = &self.memory;
        let count = memory.u32(offset + IOVEC_COUNT)?;
        if count > IOVECS_MAX {
            return Err(RingError::Outside(offset + IOVEC_COUNT));
        }
        let mut pieces = Vec::new();
        for number in 0..count as usize {
            let piece = offset + IOVECS + 16 * number;
            let (base, length) = (memory.size(piece)?, memory.size(piece + 8)?);
            memory.place(base, length)?;
            pieces.push((base, length));
        }
        let at = memory.size(offset + COMMAND_OFFSET)?;
        let first = memory.bytes::<1>(at)?[0];
        let length = match first >> 5 {
            0 => 6,
            1 | 2 => 10,
            5 => 12,
            // Of variable length (SPC-5): byte 7 counts what comes after the first eight.
            3 if first == 0x7f => 8 + usize::from(memory.bytes::<1>(at + 7)?[0]).min(240),
            _ => 16,
        };
        Ok(Entry { command: memory.read(at, length)?, pieces, offset, bytes })
    }

    /// The data that go with a command to the disk.
    ///
    /// # Errors
    /// If they are not in the shared memory.
    pub fn data(&self, entry: &Entry) -> Result<Vec<u8>, RingError> {
        let mut data = Vec::new();
        for (offset, length) in &entry.pieces {
            data.extend(self.memory.read(*offset, *length)?);
        }
        Ok(data)
    }

    /// Answers the command that waits longest, which is the one that [`Ring::next`] gave.
    ///
    /// # Errors
    /// If the ring makes no sense.
    pub fn complete(&self, entry: &Entry, answer: &Answer) -> Result<(), RingError> {
        let mut rest = &answer.data[..];
        for (offset, length) in &entry.pieces {
            let (piece, after) = rest.split_at(rest.len().min(*length));
            self.memory.write(*offset, piece)?;
            rest = after;
        }
        let moved = answer.data.len() - rest.len();
        self.memory.write(entry.offset + STATUS, &[answer.status, 0, 0, 0])?;
        if moved > 0 && self.has_read_bytes {
            // Fits: it is the length of pieces in a memory of less than 4 GiB.
            self.memory.write_u32(entry.offset + READ_BYTES, moved as u32)?;
            self.memory.write(entry.offset + ENTRY_FLAGS, &[FLAG_READ_BYTES])?;
        }
        let mut sense = [0; SENSE_BYTES];
        let count = answer.sense.len().min(SENSE_BYTES);
        sense[..count].copy_from_slice(&answer.sense[..count]);
        self.memory.write(entry.offset + SENSE, &sense)?;
        self.advance(entry.bytes)
    }

    fn advance(&self, bytes: usize) -> Result<(), RingError> {
        fence(Ordering::Release);
        let tail = self.memory.u32(TAIL)? as usize;
        // Fits: it is below the length of the ring, which is a u32.
        self.memory.write_u32(TAIL, ((tail + bytes) % self.bytes.max(1)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    const WORDS: usize = 256;

    /// A mailbox with one command that reads two pieces of data, behind an entry that pads.
    fn example() -> Vec<u64> {
        let mut words = vec![0_u64; WORDS];
        words[0] = 2 | (4 << 16) | (128 << 32);
        words[1] = 512 | (96 << 32);
        words[16] = 16;
        words[18] = 80 | 1;
        words[19] = 2;
        words[21] = 640;
        words[24] = 704;
        words[25] = 4;
        words[26] = 720;
        words[27] = 8;
        words[80] = u64::from_ne_bytes([0x12, 1, 0x80, 0, 12, 0, 0, 0]);
        words
    }

    fn ring(words: &mut [u64]) -> Result<Ring, RingError> {
        // SAFETY: the words outlive the ring in every test and are not looked at while it is used.
        Ring::new(unsafe { Memory::new(words.as_mut_ptr().cast(), 8 * words.len()) })
    }

    #[test]
    fn a_command_is_taken_and_answered() {
        let mut words = example();
        let ring = ring(&mut words).unwrap();
        let entry = ring.next().unwrap().unwrap();
        assert_eq!((&entry.command[..], entry.data_bytes()), (&[0x12, 1, 0x80, 0, 12, 0][..], 12));
        let answer = Answer { status: 0, sense: Vec::new(), data: b"abcdefgh".to_vec() };
        ring.complete(&entry, &answer).unwrap();
        assert_eq!(ring.next().unwrap(), None);
        assert_eq!(&ring.memory.read(704, 4).unwrap(), b"abcd");
        assert_eq!(&ring.memory.read(720, 4).unwrap(), b"efgh");
        assert_eq!(ring.memory.u32(144 + READ_BYTES).unwrap(), 8);
    }

    #[test]
    fn places_outside_are_refused() {
        for (word, value) in [(25, u64::MAX), (24, 4000), (21, 5000), (18, 1), (18, 4096 | 1), (19, 9999)] {
            let mut words = example();
            words[word] = value;
            assert!(ring(&mut words).unwrap().next().is_err(), "word {word}");
        }
        let mut words = example();
        words[0] = 1;
        assert_eq!(ring(&mut words).err(), Some(RingError::Version(1)));
    }

    proptest! {
        #[test]
        fn any_ring_is_served_or_refused(mut words in proptest::collection::vec(any::<u64>(), 40), length in 0_u32..128) {
            words[0] = 2 | (80 << 32);
            words[1] = 200 | (u64::from(length) << 32);
            words[8] = 0;
            if let Ok(ring) = ring(&mut words)
                && let Ok(Some(entry)) = ring.next()
            {
                let _ = ring.data(&entry);
                let _ = ring.complete(&entry, &Answer::good(vec![1; 100]));
            }
        }
    }
}
