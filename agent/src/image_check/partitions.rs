//! Immutable partitions, byte for byte.

use std::io;
use std::thread;

use contract::id::Digest;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use imaging::chunk::{CHUNK_BYTES, digest_of};
use imaging::manifest::{Chunk, Manifest, ManifestPartition};

use super::Measured;
use crate::act::device::{AlignedBuffer, BlockDevice};
use crate::act::scan::whole_sectors;

/// Reads in pieces of this size, in bytes.
const READ_BYTES: u64 = 4 << 20;

/// What comparing the partitions gave.
pub(super) struct PartitionFindings {
    /// The reading.
    pub(super) reading: Measured,
    /// How often the device answered with an unrecoverable error.
    pub(super) device_errors: u64,
}

/// Compares every immutable partition with its digest, each on its own thread.
pub(super) fn compare_partitions(device: &dyn BlockDevice, manifest: &Manifest) -> PartitionFindings {
    let immutable: Vec<(&ManifestPartition, Digest)> = manifest
        .partitions
        .iter()
        .filter_map(|partition| partition.immutable.map(|digest| (partition, digest)))
        .collect();
    let read: Vec<(u32, io::Result<bool>)> = thread::scope(|scope| {
        let handles: Vec<_> = immutable
            .iter()
            .map(|(partition, digest)| {
                let handle = scope.spawn(move || same_partition(device, manifest, partition, *digest));
                (partition.number, handle)
            })
            .collect();
        let ended = |_| Err(io::Error::other("the thread that read it ended early"));
        handles.into_iter().map(|(number, handle)| (number, handle.join().unwrap_or_else(ended))).collect()
    });
    let device_errors = read
        .iter()
        .filter(|(_, same)| matches!(same, Err(error) if error.raw_os_error() == Some(nix::libc::EIO)));
    let device_errors = device_errors.count() as u64;
    let mut altered = Vec::new();
    let mut unreadable = None;
    for (number, same) in read {
        match same {
            Ok(true) => {}
            Ok(false) => altered.push(number.to_string()),
            Err(error) => unreadable = Some(format!("could not read partition {number}: {error}")),
        }
    }
    let outcome = match unreadable {
        None => Outcome::Value(ReadingValue::list(altered)),
        Some(why) => Outcome::Unreadable(why),
    };
    PartitionFindings {
        reading: (Subject::Image, ReadingKey::ImagePartitionsAltered, outcome),
        device_errors,
    }
}

/// Whether a partition holds what the image has in it. Where it is made of whole chunks they are
/// compared one by one: most of an ESP is zeros, and to see that costs far less than to hash it.
fn same_partition(
    device: &dyn BlockDevice,
    manifest: &Manifest,
    partition: &ManifestPartition,
    digest: Digest,
) -> io::Result<bool> {
    let Some(chunks) = whole_chunks(manifest, partition) else {
        return Ok(digest_of_range(device, partition.first_byte, partition.length_bytes)? == digest);
    };
    let mut buffer = AlignedBuffer::zeroed(READ_BYTES as usize);
    let end = partition.end_byte();
    let mut index = chunks.start;
    while index < chunks.end {
        let at = index * CHUNK_BYTES as u64;
        let bytes = &mut buffer.bytes_mut()[..(end - at).min(READ_BYTES) as usize];
        device.read_at(at, bytes)?;
        for chunk in bytes.chunks(CHUNK_BYTES) {
            if !same_chunk(manifest.chunk(index), chunk) {
                return Ok(false);
            }
            index += 1;
        }
    }
    Ok(true)
}

/// The indexes of the chunks that make up a partition; none if one of them reaches beyond it.
fn whole_chunks(manifest: &Manifest, partition: &ManifestPartition) -> Option<std::ops::Range<u64>> {
    let chunk_bytes = CHUNK_BYTES as u64;
    let (first, end) = (partition.first_byte, partition.end_byte());
    let whole = first.is_multiple_of(chunk_bytes) && end.is_multiple_of(chunk_bytes);
    // The first chunk holds the partition table, which is not the image's on any disk.
    (whole && first > 0 && end <= manifest.disk_bytes).then(|| first / chunk_bytes..end / chunk_bytes)
}

fn same_chunk(expected: Option<Chunk>, bytes: &[u8]) -> bool {
    match expected {
        Some(Chunk::Zero) => bytes.chunks(4096).all(is_zero),
        Some(Chunk::Stored(digest)) => digest_of(bytes) == digest,
        None => false,
    }
}

/// Looks at all bytes without stopping at the first that is not zero, which is many times faster.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | byte) == 0
}

/// The digest of a range of bytes of a disk.
///
/// # Errors
/// When any of it cannot be read.
pub(crate) fn digest_of_range(
    device: &dyn BlockDevice,
    first_byte: u64,
    length_bytes: u64,
) -> io::Result<Digest> {
    let end = first_byte.saturating_add(length_bytes);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = AlignedBuffer::zeroed(READ_BYTES as usize + 2 * 4096);
    let mut at = first_byte;
    while at < end {
        let piece = at..end.min(at + READ_BYTES);
        let covering = whole_sectors(&piece, device.sector_bytes());
        let bytes = &mut buffer.bytes_mut()[..(covering.end - covering.start) as usize];
        device.read_at(covering.start, bytes)?;
        let skip = (piece.start - covering.start) as usize;
        hasher.update(&bytes[skip..skip + (piece.end - piece.start) as usize]);
        at = piece.end;
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests;
