//! A second look at the erase methods that a plan is told to use.
//!
//! `erasure::method` chooses them by a table; this asks anew, from the other end and without that
//! table: given this command on this disk, how far does it reach? Both must agree before a plan names
//! a method, so that a slip in one of them erases nothing too little.

use contract::decision::SanitizeLevel;
use contract::inventory::{Composition, DiskFacts, SanitizeState, Transport};
use contract::plan::EraseMethod;
use contract::reading::Outcome;

/// Of which family a method's commands are.
#[derive(PartialEq, Eq)]
enum Family {
    Nvme,
    Ata,
    Scsi,
    /// Plain writes; every disk has them.
    Any,
}

/// How far a method reaches.
enum Reach {
    /// The device itself makes everything unreadable, also what is not addressable.
    Media,
    /// As above on magnetic media; on flash only what is addressable (NIST SP 800-88r1 table A-8).
    MediaIfMagnetic,
    /// What is addressable (NIST SP 800-88r2 section 3.1.1), or nobody knows.
    Addressable,
}

fn nature(method: EraseMethod) -> (Family, Reach) {
    match method {
        EraseMethod::NvmeFormatUserData => (Family::Nvme, Reach::Addressable),
        EraseMethod::NvmeFormatCrypto
        | EraseMethod::NvmeSanitizeBlock
        | EraseMethod::NvmeSanitizeCrypto
        | EraseMethod::NvmeSanitizeCryptoBlock
        | EraseMethod::NvmeSanitizeOverwrite => (Family::Nvme, Reach::Media),
        EraseMethod::AtaSanitizeBlock
        | EraseMethod::AtaSanitizeCrypto
        | EraseMethod::AtaSanitizeCryptoBlock => (Family::Ata, Reach::Media),
        EraseMethod::AtaSanitizeOverwrite | EraseMethod::AtaSecurityEraseEnhanced => {
            (Family::Ata, Reach::MediaIfMagnetic)
        }
        EraseMethod::AtaSecurityErase => (Family::Ata, Reach::Addressable),
        EraseMethod::ScsiSanitizeBlock
        | EraseMethod::ScsiSanitizeCrypto
        | EraseMethod::ScsiSanitizeCryptoBlock => (Family::Scsi, Reach::Media),
        EraseMethod::ScsiSanitizeOverwrite => (Family::Scsi, Reach::MediaIfMagnetic),
        EraseMethod::ScsiWriteSame => (Family::Scsi, Reach::Addressable),
        EraseMethod::Overwrite => (Family::Any, Reach::Addressable),
        EraseMethod::NvmeFoundClean => (Family::Nvme, Reach::Media),
    }
}

/// Whether this method on this disk delivers the level, or why not, in words.
pub(crate) fn delivers(disk: &DiskFacts, method: EraseMethod, level: SanitizeLevel) -> Result<(), String> {
    let (family, reach) = nature(method);
    let behind = match disk.transport {
        Transport::Nvme => family == Family::Nvme || family == Family::Any,
        Transport::Ata => family == Family::Ata || family == Family::Any,
        Transport::Scsi => family == Family::Scsi || family == Family::Any,
        Transport::Virtio => family == Family::Any,
        Transport::Usb | Transport::Other => false,
    };
    if !behind || disk.composition != Composition::Single {
        return Err(format!("{method:?} does not reach what is behind this disk"));
    }
    let one_namespace = match &disk.nvme {
        Outcome::Value(nvme) => nvme.namespaces == Outcome::Value(1),
        Outcome::Absent | Outcome::Unreadable(_) => false,
    };
    if disk.transport == Transport::Nvme && !one_namespace {
        return Err(format!("{method:?} may erase more or less than this one namespace"));
    }
    if method == EraseMethod::NvmeFoundClean && !says_clean(disk) {
        return Err("it does not say that it was sanitized and not written since".to_owned());
    }
    if method == EraseMethod::ScsiWriteSame && disk.write_same.value().is_none() {
        return Err("it does not say that it has WRITE SAME".to_owned());
    }
    let magnetic = disk.rotational == Outcome::Value(true);
    let reached = match reach {
        Reach::Media => SanitizeLevel::Purge,
        Reach::MediaIfMagnetic if magnetic => SanitizeLevel::Purge,
        Reach::MediaIfMagnetic | Reach::Addressable => SanitizeLevel::Clear,
    };
    if reached < level {
        return Err(format!("the chosen method {method:?} does not deliver it on this disk"));
    }
    Ok(())
}

/// Whether the controller's own log says so, and by which sanitize.
fn says_clean(disk: &DiskFacts) -> bool {
    disk.sanitize.value().is_some_and(|sanitize| {
        let by_itself = matches!(
            sanitize.sanitized_by,
            Some(
                EraseMethod::NvmeSanitizeBlock
                    | EraseMethod::NvmeSanitizeCrypto
                    | EraseMethod::NvmeSanitizeOverwrite
            )
        );
        by_itself && sanitize.state == SanitizeState::Done { erased_since: true }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{disk, nvme};
    use contract::decision::SanitizeLevel::{Clear, Purge};
    use contract::inventory::WriteSameCapabilities;

    fn rotating(transport: Transport, rotational: Outcome<bool>) -> DiskFacts {
        DiskFacts { rotational, ..disk("disk-1", "x", transport, 1 << 30) }
    }

    #[test]
    fn how_far_each_method_reaches() {
        let magnetic = |transport| rotating(transport, Outcome::Value(true));
        let flash = |transport| rotating(transport, Outcome::Value(false));
        let unknown = |transport| rotating(transport, Outcome::Unreadable("EIO".to_owned()));
        let nvme = |namespaces| DiskFacts {
            nvme: Outcome::Value(nvme(namespaces)),
            ..disk("disk-1", "x", Transport::Nvme, 1 << 30)
        };
        let same = |transport| DiskFacts {
            write_same: Outcome::Value(WriteSameCapabilities { blocks_max: None }),
            ..magnetic(transport)
        };
        let raid = DiskFacts { composition: Composition::RaidVolume, ..magnetic(Transport::Scsi) };
        let cases = [
            (nvme(1), EraseMethod::NvmeSanitizeCryptoBlock, true, true),
            (nvme(1), EraseMethod::NvmeFormatCrypto, true, true),
            (nvme(1), EraseMethod::NvmeFormatUserData, true, false),
            (nvme(1), EraseMethod::Overwrite, true, false),
            (nvme(2), EraseMethod::NvmeSanitizeBlock, false, false),
            (disk("disk-1", "x", Transport::Nvme, 1), EraseMethod::Overwrite, false, false),
            (nvme(1), EraseMethod::AtaSanitizeBlock, false, false),
            (flash(Transport::Ata), EraseMethod::AtaSanitizeBlock, true, true),
            (flash(Transport::Ata), EraseMethod::AtaSecurityEraseEnhanced, true, false),
            (unknown(Transport::Ata), EraseMethod::AtaSecurityEraseEnhanced, true, false),
            (unknown(Transport::Ata), EraseMethod::AtaSanitizeOverwrite, true, false),
            (magnetic(Transport::Ata), EraseMethod::AtaSecurityEraseEnhanced, true, true),
            (magnetic(Transport::Ata), EraseMethod::AtaSecurityErase, true, false),
            (magnetic(Transport::Ata), EraseMethod::AtaSanitizeOverwrite, true, true),
            (magnetic(Transport::Ata), EraseMethod::ScsiSanitizeOverwrite, false, false),
            (magnetic(Transport::Scsi), EraseMethod::ScsiSanitizeOverwrite, true, true),
            (flash(Transport::Scsi), EraseMethod::ScsiSanitizeOverwrite, true, false),
            (flash(Transport::Scsi), EraseMethod::ScsiSanitizeCrypto, true, true),
            (same(Transport::Scsi), EraseMethod::ScsiWriteSame, true, false),
            (same(Transport::Ata), EraseMethod::ScsiWriteSame, false, false),
            (magnetic(Transport::Scsi), EraseMethod::ScsiWriteSame, false, false),
            (flash(Transport::Virtio), EraseMethod::Overwrite, true, false),
            (flash(Transport::Virtio), EraseMethod::ScsiSanitizeCrypto, false, false),
            (raid, EraseMethod::Overwrite, false, false),
            (magnetic(Transport::Usb), EraseMethod::Overwrite, false, false),
        ];
        for (disk, method, clear, purge) in cases {
            assert_eq!(delivers(&disk, method, Clear).is_ok(), clear, "{disk:?} {method:?}");
            assert_eq!(delivers(&disk, method, Purge).is_ok(), purge, "{disk:?} {method:?}");
        }
    }
}
