//! Opening a disk image: raw or qcow2, plain or compressed. What it is, its first bytes say; names
//! are not believed.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Context as _;
use imaging::manifest::DISK_BYTES_MAX;
use imaging::qcow2;
use imaging::source::ReadAt;
use imago::file::File as ImagoFile;
use imago::qcow2::Qcow2;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder as _, StorageOpenOptions};

use super::decompress::{Compression, decompress};

/// A disk image, opened.
pub enum Source {
    /// Byte for byte.
    Raw { file: File, size_bytes: u64 },
    /// qcow2, without backing file.
    Qcow2(Box<FormatAccess<ImagoFile>>),
}

impl Source {
    /// Opens a disk image. Compressed ones are first unpacked into a nameless temporary file beside
    /// it, which is gone when this process is. `progress` is told how many bytes of the compressed
    /// file were read.
    ///
    /// # Errors
    /// If it cannot be read, is cut off, or is something that cannot be imported, with what to do.
    pub fn open(path: &Path, progress: &mut dyn FnMut(u64)) -> anyhow::Result<Self> {
        let open = || format!("could not open the image {}", path.display());
        let mut file = File::open(path).with_context(open)?;
        anyhow::ensure!(file.metadata().with_context(open)?.is_file(), "{} is not a file", path.display());
        let mut start = first_bytes(&mut file).with_context(open)?;
        if let Some(compression) = Compression::of(&start) {
            file = decompress(BufReader::new(file), compression, folder_of(path), progress)
                .with_context(|| format!("could not decompress the image {}", path.display()))?;
            start = first_bytes(&mut file).with_context(open)?;
            let again = Compression::of(&start).is_some();
            anyhow::ensure!(!again, "{} is compressed twice; decompress it once yourself", path.display());
        }
        Self::from_file(file, &start).with_context(|| format!("could not use the image {}", path.display()))
    }

    fn from_file(file: File, start: &[u8]) -> anyhow::Result<Self> {
        refuse_other_formats(start)?;
        if start.starts_with(qcow2::MAGIC) {
            return open_qcow2(file);
        }
        let size_bytes = file.metadata()?.len();
        anyhow::ensure!(size_bytes > 0, "it is empty");
        let whole_sectors = size_bytes.is_multiple_of(512);
        anyhow::ensure!(
            whole_sectors,
            "its {size_bytes} bytes are not whole sectors: it is cut off, or not a disk image"
        );
        check_size(size_bytes)?;
        Ok(Self::Raw { file, size_bytes })
    }
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn check_size(size_bytes: u64) -> anyhow::Result<()> {
    anyhow::ensure!(
        size_bytes <= DISK_BYTES_MAX,
        "it is {size_bytes} bytes large; at most {DISK_BYTES_MAX} can be imported"
    );
    Ok(())
}

fn open_qcow2(file: File) -> anyhow::Result<Source> {
    let size_bytes = file.metadata().context("could not see how large it is")?.len();
    qcow2::check(&Source::Raw { file: file.try_clone()?, size_bytes })?;
    let storage = ImagoFile::from_open_file(file, StorageOpenOptions::new())?;
    let image = Qcow2::<ImagoFile>::builder(storage)
        .backing(None)
        .open(DenyImplicitOpenGate::default())
        .context("it is a qcow2 image that cannot be read; convert it with: qemu-img convert -O raw")?;
    let image = FormatAccess::new(image);
    check_size(image.size())?;
    Ok(Source::Qcow2(Box::new(image)))
}

/// The first bytes of a file, fewer if it is shorter; afterwards the file is at its start.
fn first_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(512).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(start)
}

/// Formats that would otherwise be taken for raw disks.
fn refuse_other_formats(start: &[u8]) -> anyhow::Result<()> {
    let known: [(&[u8], &str); 4] = [
        (b"KDMV", "a VMDK image"),
        (b"vhdxfile", "a VHDX image"),
        (b"conectix", "a VHD image"),
        (b"PK\x03\x04", "a ZIP archive"),
    ];
    if let Some((_, what)) = known.iter().find(|(magic, _)| start.starts_with(magic)) {
        anyhow::bail!("it is {what}; convert it first, for one with: qemu-img convert -O qcow2");
    }
    Ok(())
}

impl ReadAt for Source {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Raw { file, .. } => file.read_exact_at(buffer, offset),
            Self::Qcow2(image) => {
                let end = offset.checked_add(buffer.len() as u64);
                if end.is_none_or(|end| end > image.size()) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                image.read(buffer, offset)
            }
        }
    }

    fn size_bytes(&self) -> u64 {
        match self {
            Self::Raw { size_bytes, .. } => *size_bytes,
            Self::Qcow2(image) => image.size(),
        }
    }
}

#[cfg(test)]
mod tests;
