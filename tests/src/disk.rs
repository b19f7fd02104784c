//! Raw disk files: made, compared, searched and, behind a machine's back, altered.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::process::run;

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskBus {
    /// NVM Express.
    Nvme,
    /// virtio-blk.
    Virtio,
    /// SCSI behind virtio-scsi.
    Scsi,
}

impl DiskBus {
    /// For tables.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Nvme => "NVMe",
            Self::Virtio => "virtio",
            Self::Scsi => "SCSI",
        }
    }
}

/// A disk of a machine: a sparse raw file.
#[derive(Debug, Clone)]
pub struct Disk {
    bus: DiskBus,
    serial: String,
    path: PathBuf,
    write_bytes_per_second: Option<u64>,
    unreadable_at: Option<u64>,
}

impl Disk {
    /// A blank disk.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn blank(path: PathBuf, bus: DiskBus, serial: &str, size_bytes: u64) -> Result<Self> {
        let file = File::create(&path).with_context(|| format!("could not make {}", path.display()))?;
        file.set_len(size_bytes).with_context(|| format!("could not size {}", path.display()))?;
        Ok(Self::existing(path, bus, serial))
    }

    /// A disk whose bytes are there already.
    #[must_use]
    pub fn existing(path: PathBuf, bus: DiskBus, serial: &str) -> Self {
        Self { bus, serial: serial.to_owned(), path, write_bytes_per_second: None, unreadable_at: None }
    }

    /// The same disk, slow at writing.
    #[must_use]
    pub fn slow(self, write_bytes_per_second: u64) -> Self {
        Self { write_bytes_per_second: Some(write_bytes_per_second), ..self }
    }

    /// The same disk, with a sector at this offset in bytes that gives an error to whoever reads it.
    #[must_use]
    pub fn unreadable(self, offset: u64) -> Self {
        Self { unreadable_at: Some(offset), ..self }
    }

    /// How it is attached.
    #[must_use]
    pub fn bus(&self) -> DiskBus {
        self.bus
    }

    /// Its serial number.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The file that holds its bytes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How fast it writes at most, if it is slow.
    #[must_use]
    pub fn write_bytes_per_second(&self) -> Option<u64> {
        self.write_bytes_per_second
    }

    /// Where it cannot be read, in bytes, if there is such a place.
    #[must_use]
    pub fn unreadable_at(&self) -> Option<u64> {
        self.unreadable_at
    }
}

/// Calls `look` with everything in a sparse file that is not a hole, in pieces of at most 4 MiB with
/// the places where they stand.
///
/// # Errors
/// If the file cannot be read or `look` fails.
pub fn each_piece(path: &Path, mut look: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let context = || format!("could not read {}", path.display());
    let file = File::open(path).with_context(context)?;
    let mut buffer = vec![0; 4 << 20];
    let mut at = 0;
    loop {
        let offset = i64::try_from(at).with_context(context)?;
        match lseek(&file, offset, Whence::SeekData) {
            Ok(begin) => at = u64::try_from(begin).with_context(context)?,
            // Nothing but holes from here to the end.
            Err(Errno::ENXIO) => return Ok(()),
            Err(error) => return Err(error).with_context(context),
        }
        let count = file.read_at(&mut buffer, at).with_context(context)?;
        look(at, &buffer[..count])?;
        at += count as u64;
    }
}

/// Where a pattern stands in a file; none if it is nowhere. Overlaps of pieces are looked at too.
///
/// # Errors
/// If the file cannot be read.
pub fn find_bytes(path: &Path, pattern: &[u8]) -> Result<Option<u64>> {
    let mut carried: Vec<u8> = Vec::new();
    let mut carried_end = 0;
    let mut found = None;
    each_piece(path, |at, piece| {
        if found.is_none() {
            if at != carried_end {
                carried.clear();
            }
            carried_end = at + piece.len() as u64;
            let begin = at - carried.len() as u64;
            carried.extend_from_slice(piece);
            found = position(&carried, pattern).map(|offset| begin + offset as u64);
            let keep = carried.len().min(pattern.len().saturating_sub(1));
            carried.drain(..carried.len() - keep);
        }
        Ok(())
    })?;
    Ok(found)
}

fn position(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let first = *pattern.first()?;
    let mut from = 0;
    while let Some(offset) = bytes[from..].iter().position(|byte| *byte == first) {
        let at = from + offset;
        if bytes[at..].starts_with(pattern) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// One partition of a disk file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub number: u32,
    /// Where it begins, in bytes.
    pub offset_bytes: u64,
    /// How long it is, in bytes.
    pub size_bytes: u64,
    /// Its name.
    pub name: String,
}

/// Reads the GPT of a disk file with 512-byte sectors (UEFI 2.10 §5.3). For files of our own making.
///
/// # Errors
/// If there is none.
pub fn partitions(path: &Path) -> Result<Vec<Partition>> {
    let context = || format!("could not read {}", path.display());
    let file = File::open(path).with_context(context)?;
    let mut header = [0; 512];
    file.read_exact_at(&mut header, 512).with_context(context)?;
    if &header[..8] != b"EFI PART" {
        bail!("{} has no GPT", path.display());
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let (entries, count, entry_bytes) =
        (number(&header[72..80]), number(&header[80..84]), number(&header[84..88]));
    let mut found = Vec::new();
    for index in 0..count.min(128) {
        let mut entry = [0; 128];
        file.read_exact_at(&mut entry, entries * 512 + index * entry_bytes).with_context(context)?;
        if entry[..16] == [0; 16] {
            continue;
        }
        let (first, last) = (number(&entry[32..40]), number(&entry[40..48]));
        let name: Vec<u16> =
            entry[56..].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let name = String::from_utf16_lossy(&name).trim_end_matches('\0').to_owned();
        let number = u32::try_from(index + 1).context("a partition number is too large")?;
        found.push(Partition {
            number,
            offset_bytes: first * 512,
            size_bytes: (last + 1 - first) * 512,
            name,
        });
    }
    found.sort_by_key(|partition| partition.offset_bytes);
    Ok(found)
}

/// The first byte at which the image's partitions differ between an image file and a disk file.
///
/// # Errors
/// If one of them cannot be read or the disk file is too short.
pub fn first_difference(image: &Path, disk: &Path) -> Result<Option<u64>> {
    let image_file = File::open(image).with_context(|| format!("could not read {}", image.display()))?;
    let disk_file = File::open(disk).with_context(|| format!("could not read {}", disk.display()))?;
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for partition in partitions(image)? {
        let end = partition.offset_bytes + partition.size_bytes;
        let mut at = partition.offset_bytes;
        while at < end {
            let count = usize::try_from((end - at).min(1 << 20)).context("a piece is too large")?;
            image_file.read_exact_at(&mut ours[..count], at).context("could not read the image")?;
            disk_file.read_exact_at(&mut theirs[..count], at).context("could not read the disk")?;
            if ours[..count] != theirs[..count] {
                let within = ours.iter().zip(&theirs).position(|(a, b)| a != b).unwrap_or(0);
                return Ok(Some(at + within as u64));
            }
            at += count as u64;
        }
    }
    Ok(None)
}

/// The partition that holds the root file system: the largest.
///
/// # Errors
/// If the disk has no partitions.
pub fn root_partition(disk: &Path) -> Result<Partition> {
    partitions(disk)?
        .into_iter()
        .max_by_key(|partition| partition.size_bytes)
        .with_context(|| format!("{} has no partitions", disk.display()))
}

/// A file system of a disk file, mounted on the host; unmounted when dropped. The machine must be off.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
}

impl Mounted {
    /// Mounts the root file system of a disk file at `point`.
    ///
    /// # Errors
    /// If `mount` refuses.
    pub fn root(disk: &Path, point: &Path, read_only: bool) -> Result<Self> {
        let partition = root_partition(disk)?;
        std::fs::create_dir_all(point).with_context(|| format!("could not make {}", point.display()))?;
        let mut head = vec![0; 0x1_0048];
        File::open(disk)
            .and_then(|file| file.read_exact_at(&mut head, partition.offset_bytes))
            .with_context(|| format!("could not read the root of {}", disk.display()))?;
        // A read-only mount must not replay the journal either: looking changes nothing.
        let (kind, mode) = match (head.starts_with(b"XFSB"), head.ends_with(b"_BHRfS_M"), read_only) {
            (true, _, true) => ("xfs", "ro,norecovery,nouuid"),
            (true, _, false) => ("xfs", "rw,nouuid"),
            (_, true, true) => ("btrfs", "ro,rescue=nologreplay"),
            (_, true, false) => ("btrfs", "rw"),
            (_, _, true) => ("ext4", "ro,noload"),
            (_, _, false) => ("ext4", "rw"),
        };
        let options =
            format!("{mode},loop,offset={},sizelimit={}", partition.offset_bytes, partition.size_bytes);
        run(Command::new("mount").args(["-t", kind, "-o", &options]).arg(disk).arg(point))?;
        Ok(Self { point: point.to_owned() })
    }

    /// A path of the machine as a path of the host.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.point.join(inside.trim_start_matches('/'))
    }

    /// Unmounts it and says if that failed.
    ///
    /// # Errors
    /// If `umount` refuses.
    pub fn unmount(self) -> Result<()> {
        let point = self.point.clone();
        std::mem::forget(self);
        run(Command::new("umount").arg(point))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.point).status();
    }
}

/// A digest of a disk file: of all its bytes and of where it has holes.
///
/// # Errors
/// If it cannot be read.
pub fn digest(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    each_piece(path, |at, piece| {
        hasher.update(&at.to_le_bytes());
        hasher.update(piece);
        Ok(())
    })?;
    Ok(hasher.finalize().to_hex().to_string())
}
