//! Where bytes of a disk image come from.

use std::io;
use std::sync::Arc;

/// Something with a fixed size that can be read at any place: a raw image, a qcow2 image, a device.
pub trait ReadAt {
    /// Fills `buffer` with the bytes from `offset` (in bytes) on.
    ///
    /// # Errors
    /// Whatever the medium says; `UnexpectedEof` if the range does not lie inside. On an error the
    /// content of `buffer` means nothing.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// The size in bytes.
    fn size_bytes(&self) -> u64;
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let until = from.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = self.get(from..until).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buffer)
    }

    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }
}

impl<S: ReadAt + ?Sized> ReadAt for &S {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }
}

impl<S: ReadAt + ?Sized> ReadAt for Arc<S> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }
}

/// A part of a source, such as one partition of an image; offset 0 is the part's first byte.
#[derive(Debug, Clone)]
pub struct Part<S> {
    source: S,
    first_byte: u64,
    length_bytes: u64,
}

impl<S: ReadAt> Part<S> {
    /// The part of `source` from `first_byte` over `length_bytes`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the part does not lie inside the source.
    pub fn new(source: S, first_byte: u64, length_bytes: u64) -> io::Result<Self> {
        match first_byte.checked_add(length_bytes) {
            Some(end) if end <= source.size_bytes() => Ok(Self { source, first_byte, length_bytes }),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<S: ReadAt> ReadAt for Part<S> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > self.length_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let from = self.first_byte.checked_add(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.source.read_at(from, buffer)
    }

    fn size_bytes(&self) -> u64 {
        self.length_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, ReadAt};

    #[test]
    fn a_part_never_reads_beside_itself() {
        let disk: Vec<u8> = (0..100).collect();
        let part = Part::new(disk, 10, 20).unwrap();
        let mut buffer = [0; 5];
        part.read_at(15, &mut buffer).unwrap();
        assert_eq!(buffer, [25, 26, 27, 28, 29]);
        assert!(part.read_at(16, &mut buffer).is_err());
        assert!(part.read_at(u64::MAX, &mut buffer).is_err());
        assert!(Part::new(vec![0_u8; 10], 5, 6).is_err());
        assert!(Part::new(vec![0_u8; 10], u64::MAX, 2).is_err());
    }
}
