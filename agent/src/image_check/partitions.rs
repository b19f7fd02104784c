//! Immutable partitions, byte for byte.

use std::io;
use std::thread;

use contract::id::Digest;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use imaging::manifest::{Manifest, ManifestPartition};

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
                let handle = scope.spawn(move || {
                    let found = digest_of_range(device, partition.first_byte, partition.length_bytes)?;
                    Ok(found == *digest)
                });
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
