//! A partition with data that stays when an image is written beside it.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A partition on the disk of the operating system that is neither the image's nor ours. It stays as it
/// is: its entry in the partition table and every byte. The plan holds the whole entry, because between
/// the old table and the new one there is none on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptPartition {
    /// Its number, from 1.
    pub number: u32,
    /// Its type (UEFI specification, "GPT Partition Entry").
    pub type_guid: Uuid,
    /// Its identity.
    pub unique_guid: Uuid,
    /// Where it starts, in bytes from the start of the disk.
    pub first_byte: u64,
    /// Its length in bytes.
    pub length_bytes: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// Its name.
    pub name: String,
}

impl KeptPartition {
    /// The byte after its last.
    #[must_use]
    pub fn end_byte(&self) -> u64 {
        self.first_byte.saturating_add(self.length_bytes)
    }
}

impl fmt::Display for KeptPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}", self.number)?;
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        write!(f, " ({} MiB)", self.length_bytes >> 20)
    }
}
