//! Unpacking a compressed image into a nameless temporary file, zeros as holes.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::Context as _;
use imaging::manifest::DISK_BYTES_MAX;

/// How much is unpacked at once, in bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// How an image is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    /// What the first bytes say.
    pub fn of(start: &[u8]) -> Option<Self> {
        let known: [(&[u8], Self); 3] = [
            (&[0x1f, 0x8b], Self::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Self::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Self::Zstd),
        ];
        known.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, compression)| *compression)
    }

    fn reader<'a>(self, packed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Self::Xz => Box::new(xz2::bufread::XzDecoder::new_multi_decoder(packed)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
        })
    }
}

/// Unpacks into a temporary file in `folder`, which has no name and goes away with this process.
///
/// # Errors
/// If the input is cut off or damaged, unpacks to more than an image can have, or there is no room.
pub fn decompress(
    packed: impl BufRead,
    compression: Compression,
    folder: &Path,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<File> {
    let no_room = || format!("could not write a temporary file in {}; make room there", folder.display());
    let mut file = tempfile::tempfile_in(folder).with_context(no_room)?;
    let mut reader = compression.reader(Counted { packed, progress })?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut size_bytes = 0;
    loop {
        let length = fill(&mut reader, &mut block).context("it is cut off or damaged; fetch it again")?;
        let bytes = &block[..length];
        if bytes.iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Current(i64::try_from(length)?)).with_context(no_room)?;
        } else {
            file.write_all(bytes).with_context(no_room)?;
        }
        size_bytes += length as u64;
        anyhow::ensure!(size_bytes <= DISK_BYTES_MAX, "it unpacks to more than {DISK_BYTES_MAX} bytes");
        if length < block.len() {
            file.set_len(size_bytes).with_context(no_room)?;
            return Ok(file);
        }
    }
}

/// Reads until the block is full or there is no more.
fn fill(reader: &mut dyn Read, block: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < block.len() {
        match reader.read(&mut block[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Counts what is consumed of the compressed file.
struct Counted<'a, R> {
    packed: R,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: BufRead> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.packed.read(buffer)?;
        (self.progress)(count as u64);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.packed.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.packed.consume(count);
        (self.progress)(count as u64);
    }
}
