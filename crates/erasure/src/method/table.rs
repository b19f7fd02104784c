//! The table: on which medium which method delivers which level, and where that stands.

use contract::decision::SanitizeLevel::{self, Clear, Purge};
use contract::inventory::{DiskFacts, Transport};
use contract::plan::EraseMethod;
use contract::reading::Outcome;

/// A kind of medium behind a kind of interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Medium {
    /// NVMe; always taken for flash.
    Nvme,
    /// ATA and flash, or nobody knows.
    AtaFlash,
    /// ATA and certainly magnetic.
    AtaMagnetic,
    /// SCSI or SAS and flash, or nobody knows.
    ScsiFlash,
    /// SCSI or SAS and certainly magnetic.
    ScsiMagnetic,
    /// A virtual disk of a host that we do not see.
    Virtual,
}

impl Medium {
    /// What a disk is, as far as a method may count on it; none where no method may be used at all.
    ///
    /// Only a disk that says that it rotates is magnetic: what is not known is treated as flash, on
    /// which fewer methods reach everything.
    #[must_use]
    pub fn of(disk: &DiskFacts) -> Option<Self> {
        let rotates = disk.rotational == Outcome::Value(true);
        match (disk.transport, rotates) {
            (Transport::Nvme, _) => Some(Self::Nvme),
            (Transport::Ata, false) => Some(Self::AtaFlash),
            (Transport::Ata, true) => Some(Self::AtaMagnetic),
            (Transport::Scsi, false) => Some(Self::ScsiFlash),
            (Transport::Scsi, true) => Some(Self::ScsiMagnetic),
            (Transport::Virtio, _) => Some(Self::Virtual),
            (Transport::Usb | Transport::Other, _) => None,
        }
    }
}

/// One row: this method delivers this level on this medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// On which medium.
    pub medium: Medium,
    /// Which level.
    pub level: SanitizeLevel,
    /// Which method.
    pub method: EraseMethod,
    /// Where it stands.
    pub source: &'static str,
}

const fn row(medium: Medium, level: SanitizeLevel, method: EraseMethod, source: &'static str) -> Row {
    Row { medium, level, method, source }
}

const NVME_ANNEX_A: &str =
    "NVM Express Base Specification 2.x, annex A: sanitize is purge as IEEE 2883 defines it";
const NVME_GDE: &str = "NVM Express Base Specification 2.x, Sanitize Status log, Global Data Erased: a sanitize \
                        (annex A: purge as IEEE 2883 defines it) ended well and nothing was written since";
const R1_A8_NVME: &str = "NIST SP 800-88r1 table A-8, NVM Express SSDs";
const R1_A8_ATA: &str = "NIST SP 800-88r1 table A-8, ATA solid state drives";
const R1_A8_SCSI: &str = "NIST SP 800-88r1 table A-8, SCSI solid state drives";
const R1_A5_ATA: &str = "NIST SP 800-88r1 table A-5, ATA hard disk drives";
const R1_A5_SCSI: &str = "NIST SP 800-88r1 table A-5, SCSI hard disk drives";
const R2_CLEAR: &str = "NIST SP 800-88r2 section 3.1.1: an overwrite of what is addressable";
const WRITE_SAME: &str = "NIST SP 800-88r2 section 3.1.1: an overwrite of what is addressable, which the disk does \
                          itself (SCSI Block Commands 4, WRITE SAME)";
const BOTH: &str = "NIST SP 800-88r1 table A-8, both in turn: survives an encryption that is broken (ours)";

/// The table. Of the rows that fit a disk the first is used that nothing stands against.
///
/// Flash is never overwritten to purge it while the device has a block or cryptographic erase: that
/// wears it and does not reach what is not addressable. ATA SECURITY ERASE UNIT, even enhanced, is
/// only clear on flash. Cryptographic erase alone comes last where the device can do more, because
/// whether its encryption is sound cannot be seen from outside. A disk that is found clean is never
/// chosen by its row alone: only [`super::choose_for`] does, where the policy says so.
pub const TABLE: &[Row] = &[
    row(Medium::Nvme, Purge, EraseMethod::NvmeSanitizeCryptoBlock, BOTH),
    row(Medium::Nvme, Purge, EraseMethod::NvmeSanitizeBlock, NVME_ANNEX_A),
    row(Medium::Nvme, Purge, EraseMethod::NvmeSanitizeCrypto, NVME_ANNEX_A),
    row(Medium::Nvme, Purge, EraseMethod::NvmeFormatCrypto, R1_A8_NVME),
    row(Medium::Nvme, Purge, EraseMethod::NvmeSanitizeOverwrite, NVME_ANNEX_A),
    row(Medium::Nvme, Purge, EraseMethod::NvmeFoundClean, NVME_GDE),
    row(Medium::Nvme, Clear, EraseMethod::NvmeFormatUserData, R1_A8_NVME),
    row(Medium::Nvme, Clear, EraseMethod::NvmeSanitizeBlock, NVME_ANNEX_A),
    row(Medium::Nvme, Clear, EraseMethod::NvmeSanitizeCrypto, NVME_ANNEX_A),
    row(Medium::Nvme, Clear, EraseMethod::Overwrite, R2_CLEAR),
    row(Medium::AtaFlash, Purge, EraseMethod::AtaSanitizeCryptoBlock, BOTH),
    row(Medium::AtaFlash, Purge, EraseMethod::AtaSanitizeBlock, R1_A8_ATA),
    row(Medium::AtaFlash, Purge, EraseMethod::AtaSanitizeCrypto, R1_A8_ATA),
    row(Medium::AtaFlash, Clear, EraseMethod::AtaSanitizeBlock, R1_A8_ATA),
    row(Medium::AtaFlash, Clear, EraseMethod::AtaSanitizeCrypto, R1_A8_ATA),
    row(Medium::AtaFlash, Clear, EraseMethod::AtaSecurityErase, R1_A8_ATA),
    row(Medium::AtaFlash, Clear, EraseMethod::Overwrite, R2_CLEAR),
    row(Medium::AtaMagnetic, Purge, EraseMethod::AtaSanitizeOverwrite, R1_A5_ATA),
    row(Medium::AtaMagnetic, Purge, EraseMethod::AtaSanitizeCrypto, R1_A5_ATA),
    row(Medium::AtaMagnetic, Purge, EraseMethod::AtaSecurityEraseEnhanced, R1_A5_ATA),
    row(Medium::AtaMagnetic, Clear, EraseMethod::Overwrite, R2_CLEAR),
    row(Medium::ScsiFlash, Purge, EraseMethod::ScsiSanitizeCryptoBlock, BOTH),
    row(Medium::ScsiFlash, Purge, EraseMethod::ScsiSanitizeBlock, R1_A8_SCSI),
    row(Medium::ScsiFlash, Purge, EraseMethod::ScsiSanitizeCrypto, R1_A8_SCSI),
    row(Medium::ScsiFlash, Clear, EraseMethod::ScsiWriteSame, WRITE_SAME),
    row(Medium::ScsiFlash, Clear, EraseMethod::Overwrite, R2_CLEAR),
    row(Medium::ScsiMagnetic, Purge, EraseMethod::ScsiSanitizeOverwrite, R1_A5_SCSI),
    row(Medium::ScsiMagnetic, Purge, EraseMethod::ScsiSanitizeCrypto, R1_A5_SCSI),
    row(Medium::ScsiMagnetic, Clear, EraseMethod::ScsiWriteSame, WRITE_SAME),
    row(Medium::ScsiMagnetic, Clear, EraseMethod::Overwrite, R2_CLEAR),
    row(Medium::Virtual, Clear, EraseMethod::Overwrite, R2_CLEAR),
];

/// What a method means where the disk refuses its command: another one that delivers the same levels on
/// the same media. Agent and service know it alike, so that an order for the one is an order for the
/// other; what was done stands in the record.
#[must_use]
pub fn if_refused(method: EraseMethod) -> Option<EraseMethod> {
    (method == EraseMethod::ScsiWriteSame).then_some(EraseMethod::Overwrite)
}

/// Whether a method delivers a level on any medium at all: what a run can check, which knows only the
/// disk's identity.
#[must_use]
pub fn may_deliver(method: EraseMethod, level: SanitizeLevel) -> bool {
    TABLE.iter().any(|row| row.method == method && row.level >= level)
}
