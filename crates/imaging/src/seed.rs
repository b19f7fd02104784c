//! What belongs to one node, as stock cloud images take it in: the files of cloud-init's NoCloud
//! ([`files`]) in a small FAT volume named `CIDATA` ([`volume`]), which stands at the start of the seed
//! partition.
//!
//! The same data, node and image always give the same bytes, so one digest says what has to be there.

mod fat;
pub mod files;
pub mod volume;

pub use self::files::render;
pub use self::volume::{VOLUME_BYTES, VolumeError, digest, digest_of_partition, volume};

#[cfg(test)]
mod tests;
