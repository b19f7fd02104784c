//! The seed volume: NoCloud's files in a FAT volume that cloud-init knows by its label.

use contract::id::Digest;
use contract::node_data::SeedFiles;

use super::fat::{self, File};

/// Size of the volume in bytes. It stands at the start of the seed partition; the rest of that is zeros.
pub const VOLUME_BYTES: usize = fat::SECTORS * fat::SECTOR_BYTES;

/// What cloud-init looks for.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// Why there can be no volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// The files are too long.
    #[error("the node's data make {bytes} bytes of files; the seed volume holds {}", fat::CLUSTERS * fat::SECTOR_BYTES)]
    TooLarge {
        /// Their length in bytes.
        bytes: usize,
    },
}

/// The volume with a node's files: [`VOLUME_BYTES`] long, the same bytes for the same files. Its serial
/// number follows from the meta data, which name node and instance.
///
/// # Errors
/// [`VolumeError`] if they do not fit.
pub fn volume(files: &SeedFiles) -> Result<Vec<u8>, VolumeError> {
    let (meta_data, user_data) = (files.meta_data.as_bytes(), files.user_data.reveal().as_bytes());
    let mut list = vec![
        File { name: "meta-data", short_name: *b"META-D~1   ", content: meta_data },
        File { name: "user-data", short_name: *b"USER-D~1   ", content: user_data },
    ];
    if let Some(text) = &files.network_config {
        let content = text.as_bytes();
        list.push(File { name: "network-config", short_name: *b"NETWOR~1   ", content });
    }
    let bytes = list.iter().map(|file| file.content.len()).sum();
    let [a, b, c, d, ..] = Digest::of(meta_data).0;
    fat::volume(LABEL, u32::from_be_bytes([a, b, c, d]), &list).ok_or(VolumeError::TooLarge { bytes })
}

/// What stands in a seed partition, of all its bytes: none if it is blank, else the digest by which an
/// order names it. What follows a volume is zeros; where it is not, what stands there is no volume of ours
/// and has the digest of all of it.
#[must_use]
pub fn digest_of_partition(bytes: &[u8]) -> Option<Digest> {
    let (first, rest) = bytes.split_at(VOLUME_BYTES.min(bytes.len()));
    let blank = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    match (blank(first), blank(rest)) {
        (true, true) => None,
        (false, true) => Some(digest(first)),
        (_, false) => Some(digest(bytes)),
    }
}

/// The digest by which an order names a volume.
#[must_use]
pub fn digest(volume: &[u8]) -> Digest {
    Digest::of(volume)
}
