//! What an image is: its chunks, its partitions, and which files of its root must never change.
//!
//! The canonical form is JSON with fields in the order of their declaration and no spaces; an image's
//! id is the digest of exactly those bytes. [`Manifest::from_bytes`] accepts no other form, so one
//! image has one id, and everything it returns has been checked (`validate.rs`).

use contract::id::{ChunkDigest, Digest, ImageId};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::attributes::ExtendedAttribute;
use crate::chunk::{CHUNK_BYTES, digest_of};
pub use crate::validate::ManifestError;

/// The version of the manifest's form that this code writes and reads.
pub const MANIFEST_VERSION: u32 = 1;

/// The largest manifest in bytes, uncompressed.
pub const MANIFEST_BYTES_MAX: usize = 64 << 20;

/// The largest image in bytes: 1 TiB. It bounds the table of chunks.
pub const DISK_BYTES_MAX: u64 = 1 << 40;

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// The name it was imported under.
    pub name: String,
    /// Size of the disk image in bytes.
    pub disk_bytes: u64,
    /// Logical sector size in bytes that its partition table was made for: 512 or 4096.
    pub sector_bytes: u32,
    /// [`CHUNK_BYTES`].
    pub chunk_bytes: u32,
    /// All chunks, in order.
    pub chunks: Chunks,
    /// The partitions, ordered by number.
    pub partitions: Vec<ManifestPartition>,
    /// The immutable files; none if the root file system is not one that can be read.
    pub root: Option<RootManifest>,
    /// The content of immutable files that does not lie in the image as it is read: compressed, or in
    /// the file system's own tables. Whole chunks beside the disk, see [`Manifest::content_start`].
    #[serde(default, skip_serializing_if = "Chunks::is_empty")]
    pub content: Chunks,
    /// It has no agent of ours, as somebody said who imported it: a running system never reports.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_agent: bool,
}

/// One chunk of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// All bytes are zero; it is not stored.
    Zero,
    /// Stored under this digest of its bytes.
    Stored(ChunkDigest),
}

/// The chunks of an image, in order. In JSON a list of digests and, for runs of zero chunks, counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunks(Vec<Chunk>);

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionRole {
    /// The root file system.
    Root,
    /// The EFI system partition.
    Esp,
    /// GRUB's core image for BIOS.
    BiosBoot,
    /// Anything else.
    Other,
}

/// One partition of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPartition {
    /// Its number, from 1.
    pub number: u32,
    /// Its type (UEFI specification, "GPT Partition Entry").
    pub type_guid: Uuid,
    /// Its identity, which the image's own files may refer to.
    pub unique_guid: Uuid,
    /// Its name.
    pub name: String,
    /// Where it starts, in bytes from the start of the disk.
    pub first_byte: u64,
    /// Its length in bytes.
    pub length_bytes: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// What it is for.
    pub role: PartitionRole,
    /// The digest of all its bytes if it must never change on a node; none if it may.
    pub immutable: Option<Digest>,
}

/// The immutable files of the root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootManifest {
    /// Number of the partition.
    pub partition: u32,
    /// The kind of file system, as `mount -t` takes it: `ext4`, `xfs` or `btrfs`.
    pub file_system: String,
    /// The subvolume that is the root, as `mount -o subvol=` takes it; none for the default one, and
    /// where there are no subvolumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subvolume: Option<String>,
    /// What must never change: these paths and everything under them, ordered.
    pub immutable_paths: Vec<String>,
    /// What may change all the same, with everything under it, ordered.
    pub excluded_paths: Vec<String>,
    /// The entries say which extended attributes each has; without this nobody looked, and none are
    /// compared. Images imported by earlier versions are without.
    #[serde(default, skip_serializing_if = "is_false")]
    pub attributes_recorded: bool,
    /// Everything that there is under the immutable paths, ordered by path.
    pub entries: Vec<ImmutableEntry>,
}

/// One immutable file, directory or symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImmutableEntry {
    /// Its absolute path inside the root file system.
    pub path: String,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Its extended attributes, ordered by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<ExtendedAttribute>,
    /// What it is.
    pub kind: EntryKind,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What an immutable path is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: String,
    },
    /// A regular file.
    File {
        /// Its size in bytes.
        size_bytes: u64,
        /// The digest of its content.
        digest: Digest,
        /// Where its content lies, ordered by `file_offset`; what no extent covers is zeros.
        extents: Vec<Extent>,
    },
}

/// A piece of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// Where the piece starts in the file, in bytes.
    pub file_offset: u64,
    /// Where the piece lies in the image (and on a disk that carries it), in bytes; from
    /// [`Manifest::content_start`] on in the content beside it.
    pub image_offset: u64,
    /// Its length in bytes.
    pub length_bytes: u64,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`ManifestError`] for anything that is not the canonical form of a consistent manifest.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Decode)?;
        manifest.validate()?;
        if serde_json::to_vec(&manifest).map_err(ManifestError::Encode)? != bytes {
            return Err(ManifestError::NotCanonical);
        }
        Ok(manifest)
    }

    /// The canonical form; what [`Manifest::from_bytes`] accepts.
    ///
    /// # Errors
    /// [`ManifestError`] if this is not a consistent manifest.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        self.validate()?;
        let bytes = serde_json::to_vec(self).map_err(ManifestError::Encode)?;
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// The image's id: the digest of [`Manifest::to_bytes`].
    ///
    /// # Errors
    /// As [`Manifest::to_bytes`].
    pub fn id(&self) -> Result<ImageId, ManifestError> {
        self.to_bytes().map(|bytes| ImageId(Digest::of(&bytes)))
    }

    /// How many chunks the image has.
    #[must_use]
    pub fn chunk_count(&self) -> u64 {
        self.chunks.0.len() as u64
    }

    /// The chunk with this index, from 0; none past the end.
    #[must_use]
    pub fn chunk(&self, index: u64) -> Option<Chunk> {
        self.chunks.0.get(usize::try_from(index).ok()?).copied()
    }

    /// The length in bytes of the chunk with this index; 0 past the end. Only the last one may be
    /// shorter than [`CHUNK_BYTES`].
    #[must_use]
    pub fn chunk_length(&self, index: u64) -> usize {
        let before = index.saturating_mul(CHUNK_BYTES as u64);
        let rest = self.disk_bytes.saturating_sub(before).min(CHUNK_BYTES as u64);
        usize::try_from(rest).unwrap_or(CHUNK_BYTES)
    }

    /// The digest that the bytes of the chunk with this index must have, zero chunks included; none
    /// past the end.
    #[must_use]
    pub fn chunk_digest(&self, index: u64) -> Option<ChunkDigest> {
        match self.chunk(index)? {
            Chunk::Stored(digest) => Some(digest),
            Chunk::Zero => Some(zero_digest(self.chunk_length(index))),
        }
    }

    /// The partition with this number.
    #[must_use]
    pub fn partition(&self, number: u32) -> Option<&ManifestPartition> {
        self.partitions.iter().find(|partition| partition.number == number)
    }

    /// The pieces of chunks that hold `length_bytes` of the image from `offset` on, in order. Empty
    /// if the range lies neither inside the image nor inside the content beside it.
    #[must_use]
    pub fn pieces(&self, offset: u64, length_bytes: u64) -> Vec<ChunkPiece> {
        let end = offset.saturating_add(length_bytes);
        let is_known = end <= self.disk_bytes || self.is_content(offset, length_bytes);
        if length_bytes == 0 || !is_known {
            return Vec::new();
        }
        let chunk_bytes = CHUNK_BYTES as u64;
        let piece = |index: u64| {
            let chunk_start = index * chunk_bytes;
            let from = offset.max(chunk_start) - chunk_start;
            let until = end.min(chunk_start + chunk_bytes) - chunk_start;
            Some(ChunkPiece { index, from: usize::try_from(from).ok()?, until: usize::try_from(until).ok()? })
        };
        (offset / chunk_bytes..=(end - 1) / chunk_bytes).filter_map(piece).collect()
    }
}

/// A part of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPiece {
    /// The chunk's index in the image.
    pub index: u64,
    /// First byte, counted from the chunk's start.
    pub from: usize,
    /// The byte after the last, counted from the chunk's start.
    pub until: usize,
}

/// The digest of a chunk of zeros.
fn zero_digest(length_bytes: usize) -> ChunkDigest {
    use std::sync::LazyLock;
    static WHOLE: LazyLock<ChunkDigest> = LazyLock::new(|| digest_of(&vec![0; CHUNK_BYTES]));
    if length_bytes == CHUNK_BYTES { *WHOLE } else { digest_of(&vec![0; length_bytes]) }
}

impl Chunks {
    /// All chunks, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Chunk] {
        &self.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The digests of the stored chunks, in order and as often as they occur.
    pub fn stored(&self) -> impl Iterator<Item = ChunkDigest> {
        self.0.iter().filter_map(|chunk| match chunk {
            Chunk::Stored(digest) => Some(*digest),
            Chunk::Zero => None,
        })
    }
}

impl From<Vec<Chunk>> for Chunks {
    fn from(chunks: Vec<Chunk>) -> Self {
        Self(chunks)
    }
}

/// One item of the list in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Run {
    Zeros(u64),
    Stored(ChunkDigest),
}

impl Serialize for Chunks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for run in self.0.chunk_by(|a, b| *a == Chunk::Zero && *b == Chunk::Zero) {
            match run.first() {
                Some(Chunk::Stored(digest)) => list.serialize_element(&Run::Stored(*digest))?,
                _ => list.serialize_element(&Run::Zeros(run.len() as u64))?,
            }
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Chunks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ChunksVisitor)
    }
}

struct ChunksVisitor;

impl<'de> Visitor<'de> for ChunksVisitor {
    type Value = Chunks;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of chunk digests and counts of zero chunks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Chunks, A::Error> {
        let most = DISK_BYTES_MAX / CHUNK_BYTES as u64;
        let mut chunks = Vec::new();
        while let Some(run) = list.next_element()? {
            let (chunk, count) = match run {
                Run::Zeros(count) => (Chunk::Zero, count),
                Run::Stored(digest) => (Chunk::Stored(digest), 1),
            };
            if count > most - chunks.len() as u64 {
                return Err(A::Error::custom(format!("more than {most} chunks")));
            }
            chunks.extend((0..count).map(|_| chunk));
        }
        Ok(Chunks(chunks))
    }
}

mod content;
#[cfg(test)]
pub(crate) mod tests;
