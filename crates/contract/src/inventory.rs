//! What a machine is made of.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{DiskId, MacAddress};
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
