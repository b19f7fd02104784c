//! What a machine is made of.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{DiskId, MacAddress};
use crate::plan::EraseMethod;
use crate::reading::Outcome;

/// How the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// Legacy BIOS.
    Bios,
    /// UEFI.
    Uefi,
}

/// What a machine is made of, as far as could be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// SMBIOS system UUID (SMBIOS Reference Specification, type 1).
    pub system_uuid: Outcome<Uuid>,
    /// SMBIOS system manufacturer.
    pub vendor: Outcome<String>,
    /// SMBIOS system product name.
    pub product: Outcome<String>,
    /// SMBIOS system serial number.
    pub serial: Outcome<String>,
    /// SMBIOS BIOS version.
    pub bios_version: Outcome<String>,
    /// BIOS or UEFI.
    pub firmware: Outcome<Firmware>,
    /// Processor model.
    pub cpu_model: Outcome<String>,
    /// Logical processors online.
    pub cpu_count: Outcome<u32>,
    /// Memory that the kernel manages, in bytes.
    pub memory_bytes: Outcome<u64>,
    /// Disks, ordered by id.
    pub disks: Outcome<Vec<DiskFacts>>,
    /// Network interfaces with hardware, ordered by address.
    pub nics: Outcome<Vec<NicFacts>>,
    /// Memory modules, ordered by locator.
    #[serde(default = "not_looked_for")]
    pub memory_modules: Outcome<Vec<MemoryModuleFacts>>,
    /// GPUs, ordered by id.
    #[serde(default = "not_looked_for")]
    pub gpus: Outcome<Vec<GpuFacts>>,
    /// Version of the baseboard management controller's firmware.
    #[serde(default = "not_looked_for")]
    pub bmc_version: Outcome<String>,
}

/// One memory module (SMBIOS Reference Specification, type 17).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryModuleFacts {
    /// Where it stands on the board.
    pub locator: String,
    /// Serial number.
    pub serial: Outcome<String>,
    /// Part number.
    pub part: Outcome<String>,
    /// Size in bytes; 0 where the firmware does not know it.
    pub size_bytes: u64,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Serial number or UUID; the PCI address where the driver says neither.
    pub id: String,
    /// PCI address.
    pub pci_address: String,
    /// Product name.
    pub model: Outcome<String>,
    /// Version of its firmware.
    pub firmware_version: Outcome<String>,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// NVM Express.
    Nvme,
    /// ATA, behind the kernel's libata.
    Ata,
    /// SCSI or SAS.
    Scsi,
    /// virtio-blk.
    Virtio,
    /// Behind a USB bridge.
    Usb,
    /// Anything else.
    Other,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// The stable identity.
    pub id: DiskId,
    /// The kernel's name in this boot, such as `nvme0n1`. For people; never used to choose a disk.
    pub kernel_name: String,
    /// How it is attached.
    pub transport: Transport,
    /// Model name.
    pub model: Outcome<String>,
    /// Serial number.
    pub serial: Outcome<String>,
    /// Firmware revision.
    pub firmware_revision: Outcome<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Logical sector size in bytes.
    pub logical_sector_bytes: u32,
    /// Whether the kernel says that it rotates. Not a test for flash.
    pub rotational: Outcome<bool>,
    /// The kernel says that it can't be written.
    pub read_only: bool,
    /// The kernel says that it can be taken out.
    pub removable: bool,
    /// NVMe capabilities, for NVMe disks.
    pub nvme: Outcome<NvmeCapabilities>,
    /// ATA security and hidden areas, for ATA disks.
    #[serde(default = "absent")]
    pub ata: Outcome<AtaCapabilities>,
    /// The device's own sanitize commands, for NVMe, ATA and SCSI disks; absent where the device has
    /// none.
    #[serde(default = "absent")]
    pub sanitize: Outcome<SanitizeCapabilities>,
    /// Locking of a self-encrypting disk; absent where it has none.
    #[serde(default = "not_looked_for")]
    pub locking: Outcome<LockingState>,
    /// SCSI WRITE SAME, for SCSI disks; absent where the disk has none or does not say.
    #[serde(default = "not_looked_for")]
    pub write_same: Outcome<WriteSameCapabilities>,
    /// What this block device is made of or part of, where it is not simply a disk.
    #[serde(default)]
    pub composition: Composition,
}

fn absent<T>() -> Outcome<T> {
    Outcome::Absent
}

/// Whether a block device is one disk, all of it, reached one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Composition {
    /// One disk.
    #[default]
    Single,
    /// A volume of a RAID controller; the disks behind it are not seen.
    RaidVolume,
    /// One of several paths to the same disk.
    MultipathMember,
}

/// What a device's own sanitize commands can do, and what they are doing.
///
/// NVMe: Identify Controller SANICAP and log page 81h. ATA: IDENTIFY DEVICE word 59 and SANITIZE STATUS
/// EXT. SCSI: REPORT SUPPORTED OPERATION CODES for 48h and REQUEST SENSE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SanitizeCapabilities {
    /// Block erase is supported.
    pub block: bool,
    /// Cryptographic erase is supported.
    pub crypto: bool,
    /// Overwrite is supported.
    pub overwrite: bool,
    /// How long the device says each takes, in seconds; none where it does not say.
    pub block_estimate_seconds: Option<u32>,
    /// As above, cryptographic erase.
    pub crypto_estimate_seconds: Option<u32>,
    /// As above, overwrite, one pass.
    pub overwrite_estimate_seconds: Option<u32>,
    /// What the last or present sanitize is doing.
    pub state: SanitizeState,
    /// What would make the device refuse a sanitize now.
    pub obstacles: Vec<SanitizeObstacle>,
    /// Which sanitize the state is about (NVMe: dword 10 in log page 81h); none where the device does not
    /// say, or says what nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sanitized_by: Option<EraseMethod>,
}

/// What a SCSI disk says of WRITE SAME (16) (SBC-4): that it has it, by REPORT SUPPORTED OPERATION CODES
/// for 93h, and how much one command may write, by VPD page B0h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteSameCapabilities {
    /// The most logical blocks of one command; none where the disk names no limit.
    pub blocks_max: Option<u64>,
}

/// Where a device's sanitize is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "sanitize_state")]
pub enum SanitizeState {
    /// None was ever started.
    Never,
    /// The last one ended well.
    Done {
        /// The device says that nothing was written since (NVMe: Global Data Erased). Recorded only;
        /// nothing is skipped on it unless the policy says so.
        erased_since: bool,
    },
    /// One is running.
    Running {
        /// How far, in parts of 65536.
        progress_65536: u16,
    },
    /// The last one failed; the device may refuse everything else.
    Failed,
}

/// What makes a device refuse a sanitize (NVM Express Base Specification, Sanitize command; ACS,
/// SANITIZE FREEZE LOCK EXT).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SanitizeObstacle {
    /// The persistent memory region is enabled.
    PersistentMemoryRegion,
    /// A namespace is write-protected.
    NamespaceWriteProtected,
    /// A firmware waits for a reset to become active.
    FirmwareActivationPending,
    /// A sanitize is running already.
    SanitizeRunning,
    /// The sanitize commands are frozen until the next power cycle.
    Frozen,
}

/// Locking of a self-encrypting disk (TCG Storage Architecture Core Specification, Level 0 Discovery,
/// Locking feature).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockingState {
    /// Somebody has taken the disk's locking into use.
    pub enabled: bool,
    /// At least one range cannot be read or written.
    pub locked: bool,
    /// The disk can show another content at its beginning (shadow MBR).
    pub shadow_enabled: bool,
    /// It shows its own content there, although it could show another.
    pub shadow_done: bool,
}

impl LockingState {
    /// Whether some of what can be addressed is not the disk's own content, or cannot be had.
    #[must_use]
    pub fn hides_content(&self) -> bool {
        self.locked || (self.shadow_enabled && !self.shadow_done)
    }
}

/// ATA security state and hidden areas (ACS, IDENTIFY DEVICE words 89, 90 and 128).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtaCapabilities {
    /// The security feature set is supported.
    pub security_supported: bool,
    /// A password is set.
    pub security_enabled: bool,
    /// The disk is locked with a password.
    pub security_locked: bool,
    /// Security commands are refused until the next power cycle.
    pub security_frozen: bool,
    /// Too many wrong passwords were tried; a power cycle is needed.
    pub security_count_expired: bool,
    /// Enhanced erase is supported.
    pub enhanced_erase: bool,
    /// How long the disk says a normal erase takes, in minutes; none where it does not say.
    pub erase_estimate_minutes: Option<u32>,
    /// How long the disk says an enhanced erase takes, in minutes.
    pub enhanced_estimate_minutes: Option<u32>,
    /// Bytes that a host-protected area, a device configuration overlay or an accessible maximum
    /// address hides.
    pub hidden_bytes: Outcome<u64>,
}

/// What an NVMe controller says it can do (NVM Express Base Specification, Identify Controller).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NvmeCapabilities {
    /// OACS bit 1: Format NVM is supported.
    pub format: bool,
    /// FNA bit 0: a format applies to all namespaces.
    pub format_covers_all_namespaces: bool,
    /// FNA bit 1: a secure erase applies to all namespaces.
    pub erase_covers_all_namespaces: bool,
    /// FNA bit 2: cryptographic erase is supported as part of a format.
    pub crypto_erase: bool,
    /// How many namespaces are allocated on the subsystem.
    pub namespaces: Outcome<u32>,
    /// Replay-protected memory blocks (RPMBS).
    #[serde(default = "not_looked_for")]
    pub replay_protected: Outcome<SeparateMemory>,
    /// Boot partitions. That there are some stands in a register; only some controllers say it in a log
    /// page too.
    #[serde(default = "not_looked_for")]
    pub boot_partitions: Outcome<SeparateMemory>,
}

/// Memory of a device beside the blocks that can be addressed. No erase reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeparateMemory {
    /// How many there are.
    pub count: u32,
    /// How large each is, in bytes; none where the device does not say.
    pub bytes_each: Option<u64>,
}

/// An agent that did not look has not found that nothing is there.
fn not_looked_for<T>() -> Outcome<T> {
    Outcome::Unreadable("this version of the agent did not look for it".to_owned())
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicFacts {
    /// Its address.
    pub mac: MacAddress,
    /// The kernel's name in this boot.
    pub kernel_name: String,
    /// The kernel's driver.
    pub driver: Outcome<String>,
    /// Whether the link is up.
    pub link_up: Outcome<bool>,
    /// Link speed, megabits a second.
    pub speed_megabits: Outcome<u64>,
}
