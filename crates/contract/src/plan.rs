//! The exact disks, methods, order and proofs. Nothing is left to choose at execution time.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::decision::{Action, SanitizeLevel};
use crate::id::{Digest, DiskId, EvidenceId, ImageId, NodeId, PlanDigest};
pub use crate::kept_partition::KeptPartition;
use crate::root_size::RootSize;

/// A disk that a plan may touch, with enough to notice that it is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskTarget {
    /// Its stable identity.
    pub id: DiskId,
    /// Its size in bytes when the plan was made.
    pub size_bytes: u64,
    /// Its logical sector size in bytes when the plan was made.
    pub logical_sector_bytes: u32,
}

/// How a disk is sanitized. Which level each of these delivers on which medium is the table in
/// `erasure::method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EraseMethod {
    /// NVMe Format with Secure Erase Settings 1, user data erase.
    NvmeFormatUserData,
    /// NVMe Format with Secure Erase Settings 2, cryptographic erase.
    NvmeFormatCrypto,
    /// NVMe Sanitize, block erase.
    NvmeSanitizeBlock,
    /// NVMe Sanitize, cryptographic erase.
    NvmeSanitizeCrypto,
    /// NVMe Sanitize, cryptographic erase and then block erase: survives a broken encryption.
    NvmeSanitizeCryptoBlock,
    /// NVMe Sanitize, overwrite, one pass.
    NvmeSanitizeOverwrite,
    /// ATA SANITIZE DEVICE, block erase.
    AtaSanitizeBlock,
    /// ATA SANITIZE DEVICE, crypto scramble.
    AtaSanitizeCrypto,
    /// ATA SANITIZE DEVICE, crypto scramble and then block erase.
    AtaSanitizeCryptoBlock,
    /// ATA SANITIZE DEVICE, overwrite, one pass.
    AtaSanitizeOverwrite,
    /// ATA SECURITY ERASE UNIT, normal.
    AtaSecurityErase,
    /// ATA SECURITY ERASE UNIT, enhanced.
    AtaSecurityEraseEnhanced,
    /// SCSI SANITIZE, block erase.
    ScsiSanitizeBlock,
    /// SCSI SANITIZE, cryptographic erase.
    ScsiSanitizeCrypto,
    /// SCSI SANITIZE, cryptographic erase and then block erase.
    ScsiSanitizeCryptoBlock,
    /// SCSI SANITIZE, overwrite, one pass.
    ScsiSanitizeOverwrite,
    /// Zeros in every addressable byte, written by the disk itself: SCSI WRITE SAME, a bounded piece at a
    /// time. It means this too: where the disk refuses the command, the agent writes every byte
    /// ([`EraseMethod::Overwrite`]), and record and certificate say so.
    ScsiWriteSame,
    /// Every addressable byte written once by the agent.
    Overwrite,
    /// Nothing is erased now. The NVMe controller says that a sanitize of everything ended well and that
    /// nothing was written since (Global Data Erased); that is asked again, and the disk is read back.
    NvmeFoundClean,
}

/// How much of a disk is read back after an erase, besides markers, samples and both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyDepth {
    /// Nothing more.
    #[default]
    Sampling,
    /// A tenth: two stretches in each of a thousand equal parts (NIST SP 800-88r1 section 4.7.3).
    TenPercent,
    /// Everything that is addressable.
    Full,
}

impl VerifyDepth {
    /// Whether it is the default, which is left out of the wire form: plans made before there was a
    /// choice keep their digest.
    #[must_use]
    pub fn is_sampling(&self) -> bool {
        matches!(self, Self::Sampling)
    }
}

/// One step. Steps run in order; each is proven before the next begins, but that erases which follow each
/// other run side by side, and so do images for different disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// Sanitize a disk and prove it by reading back.
    Erase {
        /// Which.
        disk: DiskTarget,
        /// How.
        method: EraseMethod,
        /// The level that was asked for and that the method must deliver.
        level: SanitizeLevel,
        /// Seed of the positions that are read back; on the certificate.
        verify_seed: Digest,
        /// How many blocks of 4 KiB are read back, besides the first and last MiB.
        verify_samples: u32,
        /// How much is read back in all.
        #[serde(default, skip_serializing_if = "VerifyDepth::is_sampling")]
        verify_depth: VerifyDepth,
    },
    /// Make a disk bit-identical to the image, writing only the chunks that differ.
    WriteImage {
        /// Which.
        disk: DiskTarget,
        /// The image.
        image: ImageId,
        /// GUID of the disk in its new partition table.
        disk_guid: Uuid,
        /// GUID of the node's own partition in the new partition table.
        node_partition_guid: Uuid,
        /// Digest of the volume with the node's data (`imaging::seed`) that goes into the seed
        /// partition; without one the partition is made blank.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node_data: Option<Digest>,
        /// How large the root partition becomes.
        #[serde(default, skip_serializing_if = "RootSize::is_grow")]
        root_size: RootSize,
        /// The partitions with data that stay, ordered by number.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keep: Vec<KeptPartition>,
    },
    /// Make a data disk, which holds nobody's data, identical to an image without a root. It gets no
    /// partition of ours.
    WriteDataImage {
        /// Which.
        disk: DiskTarget,
        /// The image.
        image: ImageId,
        /// GUID of the disk in its new partition table.
        disk_guid: Uuid,
        /// How large the last partition becomes.
        #[serde(default, skip_serializing_if = "RootSize::is_grow")]
        last_partition: RootSize,
    },
    /// Put whole immutable partitions back.
    RepairPartitions {
        /// On which disk.
        disk: DiskTarget,
        /// From which image.
        image: ImageId,
        /// Partition numbers, ordered.
        partitions: Vec<u32>,
    },
    /// Put the node's data into the seed partition, and nothing else.
    WriteSeed {
        /// On which disk.
        disk: DiskTarget,
        /// Digest of the volume with the node's data (`imaging::seed`); without one the partition is
        /// made blank.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node_data: Option<Digest>,
    },
    /// Put altered and missing immutable files back, and take foreign ones away.
    RepairFiles {
        /// On which disk.
        disk: DiskTarget,
        /// From which image.
        image: ImageId,
        /// Absolute paths, ordered.
        paths: Vec<String>,
        /// Absolute paths of what the image does not have and what is taken away, ordered. A folder is
        /// named together with everything in it, and goes only when it is empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remove: Vec<String>,
    },
}

impl Step {
    /// The disk that the step writes to.
    #[must_use]
    pub fn disk(&self) -> &DiskTarget {
        match self {
            Self::Erase { disk, .. }
            | Self::WriteImage { disk, .. }
            | Self::WriteDataImage { disk, .. }
            | Self::RepairPartitions { disk, .. }
            | Self::WriteSeed { disk, .. }
            | Self::RepairFiles { disk, .. } => disk,
        }
    }
}

/// How the machine gets from the ramdisk into its operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMethod {
    /// Load the installed kernel and jump.
    Kexec,
    /// Reset the machine; the firmware decides, the boot decision says local.
    Reboot,
}

/// What will be done, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// To which node.
    pub node: NodeId,
    /// On which evidence it rests.
    pub evidence: EvidenceId,
    /// The action that it carries out.
    pub action: Action,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// How the machine comes up afterwards.
    pub boot: BootMethod,
}

impl Plan {
    /// The digest of the plan's canonical JSON: fields in the order of their declaration, no spaces.
    ///
    /// # Errors
    /// Only if serialization fails, which the types rule out; passed on rather than assumed.
    pub fn digest(&self) -> Result<PlanDigest, serde_json::Error> {
        serde_json::to_vec(self).map(|bytes| PlanDigest(Digest::of(&bytes)))
    }

    /// The disks that the plan writes to, ordered, each once.
    #[must_use]
    pub fn disks(&self) -> Vec<DiskId> {
        let mut disks: Vec<DiskId> = self.steps.iter().map(|step| step.disk().id.clone()).collect();
        disks.sort();
        disks.dedup();
        disks
    }
}
