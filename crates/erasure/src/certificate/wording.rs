//! The words for methods and standards. No claim of conformance is made anywhere: conformance to
//! IEEE 2883 is for others to assess.

use contract::decision::SanitizeLevel;
use contract::inventory::Transport;
use contract::plan::{EraseMethod, VerifyDepth};
use contract::reading::Outcome;

/// Techniques of the device itself.
const DEVICE_STANDARD: &str = "vendor sanitize command per IEEE 2883 as delegated by SP 800-88r2 \u{a7}4.4; \
                               conformance not independently assessed";

/// Overwriting by the host.
const OVERWRITE_STANDARD: &str = "overwrite by the host, one pass, after the tables of SP 800-88r1 \
                                  appendix A (clear); conformance not independently assessed";

/// Overwriting by the device, as the host tells it.
const WRITE_SAME_STANDARD: &str = "overwrite with zeros by the disk at the host's command, one pass, after the \
                                   tables of SP 800-88r1 appendix A (clear); conformance not independently \
                                   assessed";

/// Nothing was erased now.
const FOUND_CLEAN_STANDARD: &str = "none applied now; the controller reports a vendor sanitize command of \
                                    earlier, which nobody here saw; conformance not independently assessed";

/// The standard that a technique follows, and what is not claimed.
#[must_use]
pub fn technique_standard(method: EraseMethod) -> &'static str {
    match method {
        EraseMethod::Overwrite => OVERWRITE_STANDARD,
        EraseMethod::ScsiWriteSame => WRITE_SAME_STANDARD,
        EraseMethod::NvmeFoundClean => FOUND_CLEAN_STANDARD,
        _ => DEVICE_STANDARD,
    }
}

/// How much was read back, in words.
#[must_use]
pub fn depth(depth: VerifyDepth) -> &'static str {
    match depth {
        VerifyDepth::Sampling => "sampling",
        VerifyDepth::TenPercent => "a tenth",
        VerifyDepth::Full => "full",
    }
}

/// A technique in words.
#[must_use]
pub fn technique(method: EraseMethod) -> &'static str {
    match method {
        EraseMethod::NvmeFormatUserData => "NVMe Format, secure erase setting 1 (user data erase)",
        EraseMethod::NvmeFormatCrypto => "NVMe Format, secure erase setting 2 (cryptographic erase)",
        EraseMethod::NvmeSanitizeBlock => "NVMe Sanitize, block erase",
        EraseMethod::NvmeSanitizeCrypto => "NVMe Sanitize, cryptographic erase",
        EraseMethod::NvmeSanitizeCryptoBlock => "NVMe Sanitize, cryptographic erase and then block erase",
        EraseMethod::NvmeSanitizeOverwrite => "NVMe Sanitize, overwrite, one pass",
        EraseMethod::AtaSanitizeBlock => "ATA SANITIZE DEVICE, block erase",
        EraseMethod::AtaSanitizeCrypto => "ATA SANITIZE DEVICE, crypto scramble",
        EraseMethod::AtaSanitizeCryptoBlock => "ATA SANITIZE DEVICE, crypto scramble and then block erase",
        EraseMethod::AtaSanitizeOverwrite => "ATA SANITIZE DEVICE, overwrite, one pass",
        EraseMethod::AtaSecurityErase => "ATA SECURITY ERASE UNIT, normal",
        EraseMethod::AtaSecurityEraseEnhanced => "ATA SECURITY ERASE UNIT, enhanced",
        EraseMethod::ScsiSanitizeBlock => "SCSI SANITIZE, block erase",
        EraseMethod::ScsiSanitizeCrypto => "SCSI SANITIZE, cryptographic erase",
        EraseMethod::ScsiSanitizeCryptoBlock => "SCSI SANITIZE, cryptographic erase and then block erase",
        EraseMethod::ScsiSanitizeOverwrite => "SCSI SANITIZE, overwrite, one pass",
        EraseMethod::ScsiWriteSame => "SCSI WRITE SAME of zeros to every addressable byte, one pass",
        EraseMethod::NvmeFoundClean => {
            "none now: found clean after an earlier NVMe Sanitize, as the controller's log says"
        }
        EraseMethod::Overwrite => "overwrite of every addressable byte by the host, one pass of zeros",
    }
}

/// A level in a word: the method in the sense of NIST SP 800-88r2 section 3.1.
#[must_use]
pub fn level(level: SanitizeLevel) -> &'static str {
    crate::method::level_name(level)
}

/// What kind of medium it is, in words, as far as anybody can tell.
#[must_use]
pub fn medium(transport: Transport, rotational: &Outcome<bool>) -> String {
    let attached = match transport {
        Transport::Nvme => "NVM Express",
        Transport::Ata => "ATA",
        Transport::Scsi => "SCSI or SAS",
        Transport::Virtio => "virtio (virtual machine)",
        Transport::Usb => "behind a USB bridge",
        Transport::Other => "attached in an unknown way",
    };
    let rotates = match rotational {
        Outcome::Value(true) => "rotating, as the kernel says",
        Outcome::Value(false) => "not rotating, as the kernel says",
        Outcome::Absent | Outcome::Unreadable(_) => "whether it rotates is not known",
    };
    format!("{attached}; {rotates}")
}
