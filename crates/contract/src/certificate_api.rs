//! The messages about erasing: what would be done, and the certificates of what was done. Beside
//! [`crate::operator_api`], with the same bearer.
//!
//! | call | carries |
//! |---|---|
//! | `GET /v1/nodes/REF/erase-preview?level=LEVEL` | what a wipe would do to each disk → [`ErasePreview`] |
//! | `GET /v1/certificates?node=REF&disk=ID&job=ID` | newest first, at most 1000 → list of [`CertificateView`] |
//! | `GET /v1/certificates/ID` | → the signed certificate's file, exactly |
//! | `GET /v1/certificate-key` | the public key that certificates are checked with → [`CertificateKey`] |

use serde::{Deserialize, Serialize};

use crate::decision::SanitizeLevel;
use crate::id::{CertificateId, Digest, DiskId, JobId, NodeId, UnixMillis};
use crate::plan::EraseMethod;
use crate::reading::{Outcome, Trust};

/// A certificate in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// Its id.
    pub id: CertificateId,
    /// When it was made.
    pub issued_at: UnixMillis,
    /// Of which disk.
    pub disk: DiskId,
    /// The disk's model.
    pub model: Outcome<String>,
    /// The disk's serial number.
    pub serial: Outcome<String>,
    /// In which node it was.
    pub node: NodeId,
    /// In which job.
    pub job: JobId,
    /// To which level.
    pub level: SanitizeLevel,
    /// How.
    pub method: EraseMethod,
    /// Counts the certificates of the disk, from 1.
    pub number: u64,
    /// BLAKE3 of its file.
    pub digest: Digest,
}

/// The public key that certificates are checked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateKey {
    /// Ed25519, 32 bytes in hexadecimal.
    pub public_key: String,
    /// The same as PEM (RFC 8410), as other programs read it.
    pub pem: String,
}

/// What a wipe would do, as far as the last look at the node tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasePreview {
    /// Which node.
    pub node: NodeId,
    /// The level that would be delivered: the stronger of request and policy.
    pub level: SanitizeLevel,
    /// When the node was looked at.
    pub seen_at: UnixMillis,
    /// How far that look can be believed. The look in the ramdisk decides, not this one.
    pub trust: Trust,
    /// Its disks.
    pub disks: Vec<DiskPreview>,
}

/// What a wipe would do to one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPreview {
    /// Which.
    pub disk: DiskId,
    /// The kernel's name at that look, for people.
    pub kernel_name: String,
    /// Its model.
    pub model: Outcome<String>,
    /// Its serial number.
    pub serial: Outcome<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How it would be erased; none if the level cannot be delivered.
    pub method: Option<EraseMethod>,
    /// The method in words.
    pub technique: Option<String>,
    /// Why the level cannot be delivered, and what to do.
    pub refusal: Option<String>,
    /// How long the device says that its commands take, in seconds; none where it does not say. Reading
    /// back comes on top.
    pub estimate_seconds: Option<u64>,
    /// What the method does not reach or cannot prove.
    pub exclusions: Vec<String>,
    /// Which parts of this disk are beside what is erased.
    #[serde(default)]
    pub not_covered: Vec<UncoveredArea>,
}

/// A part of a disk that is not erased, or erased on the device's word alone, and whether this disk has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncoveredArea {
    /// Which part.
    pub area: DiskArea,
    /// How much of it there is, in words; absent where the disk has none. That nobody could look is said,
    /// and is never "none".
    pub presence: Outcome<String>,
}

/// A part of a disk beside the blocks that can be addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskArea {
    /// The device's own program.
    Firmware,
    /// Blocks that were retired or are kept in reserve.
    RetiredAndSpareBlocks,
    /// NVMe: replay-protected memory blocks (RPMB).
    ReplayProtectedMemory,
    /// NVMe: boot partitions.
    BootPartitions,
    /// NVMe: the persistent memory region.
    PersistentMemoryRegion,
    /// What the locking of a self-encrypting disk keeps: shadow MBR, data store, credentials.
    LockingTables,
    /// ATA: what a host-protected area, a configuration overlay or an accessible maximum hides. SCSI: not
    /// asked, and never said to be none.
    HiddenBlocks,
}
