//! What stands against sanitizing a disk, and what a person can do about it.

use contract::inventory::SanitizeObstacle;

/// What stands against sanitizing a disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The kernel or the device refuses writes.
    #[error("it is read-only")]
    ReadOnly,
    /// It can be taken out; whether it belongs to the machine is not known.
    #[error("it is removable")]
    Removable,
    /// A bridge stands between us and the disk and may answer for it.
    #[error("it is behind a USB bridge")]
    UsbBridge,
    /// A controller stands between us and the disks and may answer for them.
    #[error("it is a volume of a RAID controller; the disks behind it are not seen")]
    RaidVolume,
    /// The same disk is there twice, and what one path does the other does not see.
    #[error("it is one of several paths to the same disk")]
    MultipathMember,
    /// How it is attached is not known, so nobody knows what a write does.
    #[error("how it is attached is not known")]
    UnknownTransport,
    /// Its size or sector size makes no sense.
    #[error("it says that it has {size_bytes} bytes in sectors of {logical_sector_bytes}")]
    OddGeometry {
        /// Its size in bytes.
        size_bytes: u64,
        /// Its sector size in bytes.
        logical_sector_bytes: u32,
    },
    /// The device's capabilities could not be read.
    #[error("what it can do could not be read: {0}")]
    CapabilitiesUnknown(String),
    /// More than this namespace is on the subsystem, or nobody knows.
    #[error("{0}")]
    Namespaces(String),
    /// The disk hides part of itself, which may hold data that nobody reaches.
    #[error("{0} of its bytes are hidden (host-protected area, configuration overlay or accessible maximum)")]
    HiddenBytes(u64),
    /// Whether the disk hides part of itself could not be read.
    #[error("whether it hides part of itself could not be read: {0}")]
    HiddenBytesUnknown(String),
    /// The disk's own locking (TCG) keeps content from us.
    #[error("its self-encryption is locked, or shows another content than the disk's own (TCG Opal)")]
    SelfEncryptionLocked,
    /// The disk's ATA security refuses everything until the next power cycle.
    #[error("its ATA security is locked and cannot be unlocked now ({0})")]
    SecurityLocked(&'static str),
    /// The disk refuses ATA security commands until the next power cycle.
    #[error("its ATA security is frozen")]
    SecurityFrozen,
    /// Something makes the device refuse a sanitize.
    #[error("{}", obstacle_text(*.0))]
    Sanitize(SanitizeObstacle),
    /// A sanitize is running, and the device has no other method that waits for it.
    #[error("a sanitize is running on it")]
    SanitizeRunning,
    /// The last sanitize failed; the device refuses everything but another one.
    #[error("its last sanitize failed, and it takes no other command until one succeeds")]
    SanitizeFailed,
    /// The device has no such command.
    #[error("it has no {0}")]
    Unsupported(&'static str),
    /// No method of the table delivers the level on this disk.
    #[error("it has no command that purges it, and an overwrite only clears")]
    NoPurge,
}

fn obstacle_text(obstacle: SanitizeObstacle) -> &'static str {
    match obstacle {
        SanitizeObstacle::PersistentMemoryRegion => "its persistent memory region is enabled",
        SanitizeObstacle::NamespaceWriteProtected => "its namespace is write-protected",
        SanitizeObstacle::FirmwareActivationPending => "a firmware waits for a reset to become active",
        SanitizeObstacle::SanitizeRunning => "a sanitize is running on it",
        SanitizeObstacle::Frozen => "its sanitize commands are frozen",
    }
}

impl Obstacle {
    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::ReadOnly => "replace and destroy it",
            Self::Removable => "take it out if it is not part of the machine",
            Self::UsbBridge => "attach the disk directly, or take it out",
            Self::RaidVolume => {
                "delete the volume and let the controller pass its disks through (HBA or JBOD mode), then look again"
            }
            Self::MultipathMember => "leave one path connected, then look again",
            Self::UnknownTransport => "take it out, or sanitize it by other means",
            Self::OddGeometry { .. } => "look at the disk; replace it if it stays so",
            Self::CapabilitiesUnknown(_) => "look again from the ramdisk",
            Self::Namespaces(_) => {
                "leave one namespace on the controller, or sanitize the whole subsystem by hand"
            }
            Self::HiddenBytes(_) => "make the whole disk accessible and power-cycle it, then look again",
            Self::HiddenBytesUnknown(_) => {
                "look again from the ramdisk; attach the disk directly if a controller is between"
            }
            Self::SelfEncryptionLocked => {
                "unlock it, or revert it with the PSID on its label, which destroys its key; switch the machine off and on again, then look again"
            }
            Self::SecurityLocked(_) | Self::SecurityFrozen => {
                "switch the machine off and on again, or attach the disk where the firmware does not freeze it"
            }
            Self::Sanitize(SanitizeObstacle::PersistentMemoryRegion) => {
                "disable the persistent memory region, then look again"
            }
            Self::Sanitize(SanitizeObstacle::NamespaceWriteProtected) => {
                "take the write protection off (a permanent one: destroy the disk), then look again"
            }
            Self::Sanitize(SanitizeObstacle::FirmwareActivationPending) => {
                "reset the controller or the machine, then look again"
            }
            Self::Sanitize(SanitizeObstacle::Frozen) => {
                "switch the machine off and on again, then look again"
            }
            Self::SanitizeRunning | Self::Sanitize(SanitizeObstacle::SanitizeRunning) => {
                "wait until it ends, then look again"
            }
            Self::SanitizeFailed => "destroy the disk",
            Self::Unsupported(_) | Self::NoPurge => {
                "set the policy's level to clear, or take the disk out and destroy it"
            }
        }
    }
}
