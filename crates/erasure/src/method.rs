//! Which method delivers which level on which disk.
//!
//! | disk | clear | purge |
//! |---|---|---|
//! | NVMe with Format, one namespace | Format SES 1 | Format SES 2 if the controller has it |
//! | NVMe without Format, one namespace | overwrite | – |
//! | ATA, SCSI, virtio | overwrite | – |
//! | USB, removable, read-only, unknown | – | – |
//!
//! Sources: NIST SP 800-88r1 Appendix A (tables: overwrite and Format SES 1 are clear,
//! cryptographic erase by Format is purge), 800-88r2 section 3.1; NVM Express Base Specification,
//! Format NVM and Identify Controller (OACS bit 1, FNA bits 0 to 2). The device's own sanitize
//! commands are not used yet, so a purge of other media is refused rather than lowered.

use std::collections::BTreeMap;

use contract::decision::{Confidentiality, Decision, SanitizeLevel};
use contract::evidence::Evidence;
use contract::id::DiskId;
use contract::inventory::{DiskFacts, NvmeCapabilities, Transport};
use contract::plan::EraseMethod;
use contract::reading::Outcome;

/// Why no method delivers the level on a disk. Nothing is written then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("disk {disk} cannot be sanitized to the level {}: {why}; {remedy}", level_name(*level))]
pub struct CannotErase {
    /// Which disk.
    pub disk: DiskId,
    /// What was asked for.
    pub level: SanitizeLevel,
    /// What stands against it.
    pub why: Obstacle,
    /// What a person can do.
    pub remedy: &'static str,
}

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
    /// The controller's capabilities could not be read.
    #[error("what its controller can do could not be read: {0}")]
    CapabilitiesUnknown(String),
    /// More than this namespace is on the subsystem, or nobody knows.
    #[error("{0}")]
    Namespaces(String),
    /// The controller has no method of this level.
    #[error("the controller has no cryptographic erase as part of a format")]
    NoCryptoErase,
    /// No method of ours delivers the level on this kind of disk.
    #[error("an overwrite only clears, and other methods for this kind of disk are not built yet")]
    OnlyOverwrite,
}

/// The method that delivers `level` on `disk`.
///
/// # Errors
/// [`CannotErase`] if none does. A level is never lowered.
pub fn choose(disk: &DiskFacts, level: SanitizeLevel) -> Result<EraseMethod, CannotErase> {
    let refuse = |why, remedy| CannotErase { disk: disk.id.clone(), level, why, remedy };
    if disk.read_only {
        return Err(refuse(Obstacle::ReadOnly, "replace and destroy it"));
    }
    if disk.removable {
        return Err(refuse(Obstacle::Removable, "take it out if it is not part of the machine"));
    }
    let sector_bytes = disk.logical_sector_bytes;
    let odd = !matches!(sector_bytes, 512 | 1024 | 2048 | 4096)
        || disk.size_bytes == 0
        || !disk.size_bytes.is_multiple_of(u64::from(sector_bytes));
    if odd {
        let why = Obstacle::OddGeometry { size_bytes: disk.size_bytes, logical_sector_bytes: sector_bytes };
        return Err(refuse(why, "look at the disk; replace it if it stays so"));
    }
    match disk.transport {
        Transport::Usb => Err(refuse(Obstacle::UsbBridge, "attach the disk directly, or take it out")),
        Transport::Other => {
            Err(refuse(Obstacle::UnknownTransport, "take it out, or sanitize it by other means"))
        }
        Transport::Nvme => nvme(disk, level).map_err(|(why, remedy)| refuse(why, remedy)),
        Transport::Ata | Transport::Scsi | Transport::Virtio => match level {
            SanitizeLevel::Clear => Ok(EraseMethod::Overwrite),
            SanitizeLevel::Purge => Err(refuse(
                Obstacle::OnlyOverwrite,
                "set the policy's level to clear, or take the disk out and destroy it",
            )),
        },
    }
}

/// How each disk of a machine can be sanitized as a decision demands, or why it cannot, in words.
///
/// Agent and service both ask this with the same evidence: plans are compared byte for byte, so there
/// is one way to come to it. `otherwise` is the level where the decision itself demands none.
#[must_use]
pub fn choose_for(
    decision: &Decision,
    evidence: &Evidence,
    otherwise: SanitizeLevel,
) -> BTreeMap<DiskId, Result<EraseMethod, String>> {
    let level = match &decision.confidentiality {
        Confidentiality::Sanitize { level, .. } => *level,
        Confidentiality::KeepData | Confidentiality::Undetermined { .. } => otherwise,
    };
    let disks: &[DiskFacts] = evidence.inventory.disks.value().map(Vec::as_slice).unwrap_or_default();
    let method = |disk: &DiskFacts| choose(disk, level).map_err(|refusal| refusal.to_string());
    disks.iter().map(|disk| (disk.id.clone(), method(disk))).collect()
}

fn nvme(disk: &DiskFacts, level: SanitizeLevel) -> Result<EraseMethod, (Obstacle, &'static str)> {
    let capabilities = match &disk.nvme {
        Outcome::Value(capabilities) => capabilities,
        Outcome::Absent => {
            return Err((
                Obstacle::CapabilitiesUnknown("not reported".to_owned()),
                "look again from the ramdisk",
            ));
        }
        Outcome::Unreadable(why) => {
            return Err((Obstacle::CapabilitiesUnknown(why.clone()), "look again from the ramdisk"));
        }
    };
    one_namespace(capabilities)?;
    match (level, capabilities.format) {
        (SanitizeLevel::Clear, true) => Ok(EraseMethod::NvmeFormatUserData),
        (SanitizeLevel::Clear, false) => Ok(EraseMethod::Overwrite),
        (SanitizeLevel::Purge, true) if capabilities.crypto_erase => Ok(EraseMethod::NvmeFormatCrypto),
        (SanitizeLevel::Purge, true) => Err((
            Obstacle::NoCryptoErase,
            "set the policy's level to clear, or take the disk out and destroy it",
        )),
        (SanitizeLevel::Purge, false) => Err((
            Obstacle::OnlyOverwrite,
            "set the policy's level to clear, or take the disk out and destroy it",
        )),
    }
}

/// With several namespaces a format may reach more than the plan names (FNA bits 0 and 1), or data may
/// lie in one that is not attached and that nobody sees. Only one namespace is a disk that we know.
fn one_namespace(capabilities: &NvmeCapabilities) -> Result<(), (Obstacle, &'static str)> {
    let covers_all = capabilities.format_covers_all_namespaces || capabilities.erase_covers_all_namespaces;
    let why = match &capabilities.namespaces {
        Outcome::Value(1) => return Ok(()),
        Outcome::Value(count) if covers_all => {
            format!("the controller has {count} namespaces and a format would erase all of them")
        }
        Outcome::Value(count) => {
            format!("the controller has {count} namespaces, of which some may not be visible")
        }
        Outcome::Absent => "how many namespaces the controller has was not reported".to_owned(),
        Outcome::Unreadable(why) => {
            format!("how many namespaces the controller has could not be read: {why}")
        }
    };
    Err((
        Obstacle::Namespaces(why),
        "leave one namespace on the controller, or sanitize the whole subsystem by hand",
    ))
}

pub(crate) fn level_name(level: SanitizeLevel) -> &'static str {
    match level {
        SanitizeLevel::Clear => "clear",
        SanitizeLevel::Purge => "purge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::inventory::Composition;

    fn disk(transport: Transport) -> DiskFacts {
        DiskFacts {
            id: "disk-1".parse().unwrap(),
            kernel_name: "x".to_owned(),
            transport,
            model: Outcome::Absent,
            serial: Outcome::Absent,
            firmware_revision: Outcome::Absent,
            size_bytes: 1 << 30,
            logical_sector_bytes: 512,
            rotational: Outcome::Absent,
            read_only: false,
            removable: false,
            nvme: Outcome::Absent,
            ata: Outcome::Absent,
            sanitize: Outcome::Absent,
            composition: Composition::Single,
        }
    }

    fn nvme_disk(format: bool, crypto_erase: bool, namespaces: Outcome<u32>) -> DiskFacts {
        let capabilities = NvmeCapabilities {
            format,
            format_covers_all_namespaces: false,
            erase_covers_all_namespaces: true,
            crypto_erase,
            namespaces,
        };
        DiskFacts { nvme: Outcome::Value(capabilities), ..disk(Transport::Nvme) }
    }

    #[test]
    fn the_table() {
        let one = || Outcome::Value(1);
        let broken = || Outcome::Unreadable("EIO".to_owned());
        let unread = DiskFacts { nvme: Outcome::Unreadable("EIO".to_owned()), ..disk(Transport::Nvme) };
        let cases = [
            (nvme_disk(true, true, one()), "NvmeFormatUserData", "NvmeFormatCrypto"),
            (nvme_disk(true, false, one()), "NvmeFormatUserData", "no cryptographic erase"),
            (nvme_disk(false, true, one()), "Overwrite", "only clears"),
            (nvme_disk(true, true, Outcome::Value(2)), "would erase all of them", "would erase all of them"),
            (nvme_disk(true, true, Outcome::Value(0)), "0 namespaces", "0 namespaces"),
            (nvme_disk(true, true, Outcome::Absent), "not reported", "not reported"),
            (nvme_disk(false, false, broken()), "could not be read: EIO", "could not be read: EIO"),
            (disk(Transport::Nvme), "not reported", "not reported"),
            (unread, "could not be read: EIO", "could not be read: EIO"),
            (disk(Transport::Virtio), "Overwrite", "only clears"),
            (disk(Transport::Scsi), "Overwrite", "only clears"),
            (disk(Transport::Ata), "Overwrite", "only clears"),
            (disk(Transport::Usb), "USB bridge", "USB bridge"),
            (disk(Transport::Other), "not known", "not known"),
            (DiskFacts { read_only: true, ..disk(Transport::Ata) }, "read-only", "read-only"),
            (DiskFacts { removable: true, ..disk(Transport::Ata) }, "removable", "removable"),
            (DiskFacts { size_bytes: 0, ..disk(Transport::Ata) }, "0 bytes", "0 bytes"),
            (DiskFacts { size_bytes: 1000, ..disk(Transport::Ata) }, "1000 bytes", "1000 bytes"),
            (
                DiskFacts { logical_sector_bytes: 520, ..disk(Transport::Scsi) },
                "sectors of 520",
                "sectors of 520",
            ),
        ];
        for (disk, clear, purge) in cases {
            for (level, expected) in [(SanitizeLevel::Clear, clear), (SanitizeLevel::Purge, purge)] {
                let chosen = match choose(&disk, level) {
                    Ok(method) => format!("{method:?}"),
                    Err(error) => error.to_string(),
                };
                assert!(chosen.contains(expected), "{disk:?} {level:?}: {chosen}, not {expected}");
            }
        }
    }
}
