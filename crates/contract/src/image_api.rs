//! Images and their import, as [`operator_api`](crate::operator_api) carries them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{ChunkDigest, ImageId, UnixMillis};

/// An image, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageView {
    /// Its id.
    pub id: ImageId,
    /// Its name.
    pub name: String,
    /// When it was imported.
    pub imported_at: UnixMillis,
    /// Size of the disk image in bytes.
    pub disk_bytes: u64,
    /// Chunks that are not zero.
    pub chunks: u64,
    /// Bytes of those chunks as stored.
    pub stored_bytes: u64,
    /// Bytes that this image shares with images that were there before it, as stored.
    pub shared_bytes: u64,
    /// Partitions, in words: number, name, size.
    pub partitions: Vec<String>,
    /// Immutable files on record.
    pub immutable_files: u64,
    /// It has no agent of ours, so no running system reports from it, and a job is done when it is proven.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_agent: bool,
}

/// Begin (or go on with) an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Name of the image.
    pub name: String,
}

/// An import under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReply {
    /// Its id, for the calls that follow.
    pub import: Uuid,
    /// It goes on with one that was broken off.
    pub resumed: bool,
}

/// A list of chunks, at most 10,000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkList {
    /// The chunks.
    pub chunks: Vec<ChunkDigest>,
}
