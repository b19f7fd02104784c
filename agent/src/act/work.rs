//! What every step works with: one open disk, the service, the meter.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use contract::id::ChunkDigest;
use imaging::chunk::decompress_verified;
use imaging::manifest::{Chunk, Manifest};

use super::buffers::Buffers;
use super::device::BlockDevice;
use super::meter::Meter;
use super::scan::scan_with;
use super::service::Service;

/// One open disk with what is needed to work on it. Cheap to clone.
#[derive(Clone)]
pub struct Work {
    /// The disk.
    pub device: Arc<dyn BlockDevice>,
    /// What it is called in messages.
    pub disk: String,
    /// Where chunks come from.
    pub service: Arc<dyn Service>,
    /// Counts what is done.
    pub meter: Arc<Meter>,
    /// How many disks are written at the same time; they share the memory that one alone would use.
    pub disks_at_once: usize,
    /// Memory for reading and writing; the disks that are written at the same time have it together.
    pub buffers: Arc<Buffers>,
}

impl Work {
    /// This disk's share of what may be under way at a time in all; never less than two, so that one is
    /// fetched while another is written.
    #[must_use]
    pub fn share_of(&self, most: usize) -> usize {
        (most / self.disks_at_once.max(1)).max(2)
    }

    /// Runs blocking work on a thread that may block.
    ///
    /// # Errors
    /// Those of the work, and when its thread panicked.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this))
            .await
            .context("a thread that worked on a disk ended early")?
    }

    /// Writes at an offset.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, offset_bytes: u64, bytes: &[u8]) -> anyhow::Result<()> {
        self.device.write_at(offset_bytes, bytes).with_context(|| {
            format!("could not write {} bytes at {offset_bytes} of disk {}", bytes.len(), self.disk)
        })?;
        self.meter.count_written(bytes.len() as u64);
        Ok(())
    }

    /// Reads whole sectors at an offset.
    ///
    /// # Errors
    /// When the disk does not give them.
    pub fn read(&self, offset_bytes: u64, length: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_into(offset_bytes, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills the buffer with whole sectors from an offset.
    ///
    /// # Errors
    /// When the disk does not give them.
    pub fn read_into(&self, offset_bytes: u64, buffer: &mut [u8]) -> anyhow::Result<()> {
        self.device.read_at(offset_bytes, buffer).with_context(|| {
            format!("could not read {} bytes at {offset_bytes} of disk {}", buffer.len(), self.disk)
        })?;
        self.meter.count_read(buffer.len() as u64);
        Ok(())
    }

    /// Reads many ranges, several at a time, and gives what `inspect` makes of each; see [`scan_with`].
    pub fn scan<T: Send>(
        &self,
        ranges: &[Range<u64>],
        inspect: impl Fn(usize, &[u8]) -> T + Sync,
    ) -> Vec<io::Result<T>> {
        scan_with(&self.buffers, self.disks_at_once, &*self.device, ranges, &self.meter, inspect)
    }

    /// Makes a range zeros.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> anyhow::Result<()> {
        self.device.write_zeroes(offset_bytes, length_bytes).with_context(|| {
            format!("could not make {length_bytes} bytes at {offset_bytes} of disk {} zeros", self.disk)
        })?;
        self.meter.count_written(length_bytes);
        Ok(())
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// When the disk says that it is not.
    pub fn flush(&self) -> anyhow::Result<()> {
        self.device.flush().with_context(|| format!("could not flush disk {}", self.disk))
    }

    /// Forgets what the kernel may have cached of the disk, so that the next read is of the medium.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn drop_caches(&self) -> anyhow::Result<()> {
        self.device
            .drop_caches()
            .with_context(|| format!("could not drop the kernel's cache of disk {}", self.disk))
    }
}

/// The bytes of one chunk of an image or of the content beside it, compared with its digest.
///
/// # Errors
/// When the chunk does not exist, does not come, or is not the one that was asked for.
pub async fn image_chunk(
    service: &Arc<dyn Service>,
    meter: &Meter,
    manifest: &Manifest,
    index: u64,
) -> anyhow::Result<Vec<u8>> {
    let length = manifest.chunk_or_content_length(index);
    match manifest.chunk_or_content(index) {
        None => anyhow::bail!("the image {} has no chunk {index}", manifest.name),
        Some(Chunk::Zero) => Ok(vec![0; length]),
        Some(Chunk::Stored(digest)) => fetch(service, meter, digest, length).await,
    }
}

async fn fetch(
    service: &Arc<dyn Service>,
    meter: &Meter,
    digest: ChunkDigest,
    length: usize,
) -> anyhow::Result<Vec<u8>> {
    let stored = service.chunk(digest).await.with_context(|| format!("could not fetch chunk {digest}"))?;
    meter.count_fetched(stored.len() as u64);
    let checked = tokio::task::spawn_blocking(move || decompress_verified(&stored, digest, length)).await;
    let bytes = checked.context("a thread that checked a chunk ended early")?;
    bytes.with_context(|| format!("chunk {digest} came damaged from the service"))
}
