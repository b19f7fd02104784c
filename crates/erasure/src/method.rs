//! Which method delivers which level on which disk.
//!
//! | disk | clear | purge |
//! |---|---|---|
//! | NVMe, one namespace | Format SES 1, else sanitize, else overwrite | sanitize (crypto and block, block, crypto), else Format SES 2, else sanitize by overwrite |
//! | ATA, flash | sanitize (block, crypto), else security erase, else overwrite | sanitize (crypto and block, block, crypto) |
//! | ATA, magnetic | overwrite | sanitize (overwrite, crypto), else security erase, enhanced |
//! | SCSI, flash | WRITE SAME, else overwrite | sanitize (crypto and block, block, crypto) |
//! | SCSI, magnetic | WRITE SAME, else overwrite | sanitize (overwrite, crypto) |
//! | virtio | overwrite | – |
//! | USB, removable, read-only, RAID volume, one of several paths, unknown | – | – |
//!
//! An NVMe disk that says that it is clean already needs no new erase where the policy believes it; it is
//! read back then all the same ([`EraseMethod::NvmeFoundClean`], given by [`choose_for`] alone).
//!
//! The rows with their sources are [`TABLE`]. A disk that does not say that it rotates counts as flash.

#[cfg(test)]
mod clean_tests;
mod obstacle;
#[cfg(test)]
mod scsi_tests;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use contract::decision::{Confidentiality, Decision, SanitizeLevel};
use contract::evidence::Evidence;
use contract::id::DiskId;
use contract::inventory::{
    AtaCapabilities, Composition, DiskFacts, LockingState, NvmeCapabilities, SanitizeCapabilities,
    SanitizeObstacle, SanitizeState, Transport,
};
use contract::plan::{EraseMethod, Plan, Step};
use contract::reading::Outcome;

pub use self::obstacle::Obstacle;
pub use self::table::{Medium, Row, TABLE, if_refused, may_deliver};
use crate::command::{DeviceCommand, SanitizeAction, commands};

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

/// The method that delivers `level` on `disk`.
///
/// # Errors
/// [`CannotErase`] if none does. A level is never lowered.
pub fn choose(disk: &DiskFacts, level: SanitizeLevel) -> Result<EraseMethod, CannotErase> {
    method_for(disk, level).map_err(|why| CannotErase {
        disk: disk.id.clone(),
        level,
        remedy: why.remedy(),
        why,
    })
}

/// As [`choose`], or that the disk is proven clean instead, where it says that it is and `may_be_clean`.
///
/// # Errors
/// As [`choose`].
pub fn choose_or_clean(
    disk: &DiskFacts,
    level: SanitizeLevel,
    may_be_clean: bool,
) -> Result<EraseMethod, CannotErase> {
    if may_be_clean && says_clean(disk, level) {
        return Ok(EraseMethod::NvmeFoundClean);
    }
    choose(disk, level)
}

/// How each disk of a machine can be sanitized as a decision demands, or why it cannot, in words.
///
/// Agent and service both ask this with the same evidence: plans are compared byte for byte, so there
/// is one way to come to it. `otherwise` is the level where the decision itself demands none,
/// `may_be_clean` are the disks whose word that they are clean may be taken and proven, if they give it
/// (`verdict::already_clean::disks`), and `unfinished` is the plan that was begun and not finished.
#[must_use]
pub fn choose_for(
    decision: &Decision,
    evidence: &Evidence,
    otherwise: SanitizeLevel,
    may_be_clean: &BTreeSet<DiskId>,
    unfinished: Option<&Plan>,
) -> BTreeMap<DiskId, Result<EraseMethod, String>> {
    let level = match &decision.confidentiality {
        Confidentiality::Sanitize { level, .. } => *level,
        Confidentiality::KeepData | Confidentiality::Undetermined { .. } => otherwise,
    };
    let disks: &[DiskFacts] = evidence.inventory.disks.value().map(Vec::as_slice).unwrap_or_default();
    let method = |disk: &DiskFacts| {
        let chosen = choose_or_clean(disk, level, may_be_clean.contains(&disk.id));
        chosen.map(|method| again(method, &disk.id, unfinished)).map_err(|refusal| refusal.to_string())
    };
    disks.iter().map(|disk| (disk.id.clone(), method(disk))).collect()
}

/// The method of a disk after a plan that was begun and not finished. What takes the place of a method that
/// is refused takes it too where that method failed or was cut off: else a disk that fails at the one would
/// be told to do it again for ever.
#[must_use]
pub fn again(method: EraseMethod, disk: &DiskId, unfinished: Option<&Plan>) -> EraseMethod {
    let Some(instead) = if_refused(method) else { return method };
    let begun = |step: &Step| matches!(step, Step::Erase { disk: of, method: by, .. } if of.id == *disk && [method, instead].contains(by));
    let begun = unfinished.is_some_and(|plan| plan.steps.iter().any(begun));
    if begun { instead } else { method }
}

/// Whether an NVMe disk says that it was sanitized at least to this level, and that nothing was written
/// since, and nothing stands against erasing it. Other command sets have no such word: never theirs.
fn says_clean(disk: &DiskFacts, level: SanitizeLevel) -> bool {
    let Some(sanitize) = disk.sanitize.value() else { return false };
    let delivers = sanitize.sanitized_by.is_some_and(|by| is_one_sanitize(by) && may_deliver(by, level));
    Medium::of(disk) == Some(Medium::Nvme)
        && sanitize.state == SanitizeState::Done { erased_since: true }
        && delivers
        && against_the_disk(disk).is_ok()
}

/// Whether this is one of the sanitizes that an NVMe log can be about.
pub(crate) fn is_one_sanitize(method: EraseMethod) -> bool {
    matches!(
        method,
        EraseMethod::NvmeSanitizeBlock | EraseMethod::NvmeSanitizeCrypto | EraseMethod::NvmeSanitizeOverwrite
    )
}

/// How long the device says that a method takes, in seconds, all its commands together; none where it
/// does not say of one of them, and for an overwrite by the agent.
#[must_use]
pub fn estimate_seconds(disk: &DiskFacts, method: EraseMethod) -> Option<u32> {
    let seconds = |action| {
        let sanitize = disk.sanitize.value()?;
        match action {
            SanitizeAction::Block => sanitize.block_estimate_seconds,
            SanitizeAction::Crypto => sanitize.crypto_estimate_seconds,
            SanitizeAction::Overwrite => sanitize.overwrite_estimate_seconds,
        }
    };
    let commands = commands(method);
    if commands.is_empty() {
        return None;
    }
    commands.iter().try_fold(0_u32, |sum, command| {
        let one = match command {
            DeviceCommand::NvmeFormat { .. } | DeviceCommand::ScsiWriteSame => None,
            DeviceCommand::NvmeSanitize(action)
            | DeviceCommand::AtaSanitize(action)
            | DeviceCommand::ScsiSanitize(action) => seconds(*action),
            DeviceCommand::AtaSecurityErase { enhanced } => disk.ata.value().and_then(|ata| {
                let minutes =
                    if *enhanced { ata.enhanced_estimate_minutes } else { ata.erase_estimate_minutes };
                minutes.map(|minutes| minutes.saturating_mul(60))
            }),
        };
        one.map(|one| sum.saturating_add(one))
    })
}

fn method_for(disk: &DiskFacts, level: SanitizeLevel) -> Result<EraseMethod, Obstacle> {
    against_the_disk(disk)?;
    let medium = Medium::of(disk).ok_or(Obstacle::UnknownTransport)?;
    let mut first = None;
    for row in rows(disk, medium, level) {
        match against_the_method(disk, row.method) {
            Ok(()) => return Ok(row.method),
            // That a better method does not exist explains less than what stands against one that does.
            Err(Obstacle::Unsupported(_)) => {}
            Err(obstacle) => first = first.or(Some(obstacle)),
        }
    }
    Err(first.unwrap_or(Obstacle::NoPurge))
}

/// The rows to try, best first. A disk whose sanitize is running or failed takes nothing but a
/// sanitize, so a clear is done by what purges it.
fn rows(disk: &DiskFacts, medium: Medium, level: SanitizeLevel) -> impl Iterator<Item = &'static Row> {
    let of_level = move |wanted: SanitizeLevel| {
        let chosen = |row: &&Row| row.method != EraseMethod::NvmeFoundClean;
        TABLE.iter().filter(chosen).filter(move |row| row.medium == medium && row.level == wanted)
    };
    let stuck = sanitize_state(disk)
        .is_some_and(|state| matches!(state, SanitizeState::Running { .. } | SanitizeState::Failed));
    let stronger = (stuck && level == SanitizeLevel::Clear).then(|| of_level(SanitizeLevel::Purge));
    of_level(level).chain(stronger.into_iter().flatten())
}

fn sanitize_state(disk: &DiskFacts) -> Option<SanitizeState> {
    disk.sanitize.value().map(|sanitize| sanitize.state)
}

/// What stands against every method.
fn against_the_disk(disk: &DiskFacts) -> Result<(), Obstacle> {
    if disk.read_only {
        return Err(Obstacle::ReadOnly);
    }
    if disk.removable {
        return Err(Obstacle::Removable);
    }
    match disk.composition {
        Composition::Single => {}
        Composition::RaidVolume => return Err(Obstacle::RaidVolume),
        Composition::MultipathMember => return Err(Obstacle::MultipathMember),
    }
    let sector_bytes = disk.logical_sector_bytes;
    let odd = !matches!(sector_bytes, 512 | 1024 | 2048 | 4096)
        || disk.size_bytes == 0
        || !disk.size_bytes.is_multiple_of(u64::from(sector_bytes));
    if odd {
        return Err(Obstacle::OddGeometry {
            size_bytes: disk.size_bytes,
            logical_sector_bytes: sector_bytes,
        });
    }
    // A state that could not be read is no obstacle of its own: what is locked is not read back, and what
    // is not read back is not erased.
    if disk.locking.value().is_some_and(LockingState::hides_content) {
        return Err(Obstacle::SelfEncryptionLocked);
    }
    match disk.transport {
        Transport::Usb => Err(Obstacle::UsbBridge),
        Transport::Other => Err(Obstacle::UnknownTransport),
        Transport::Nvme => {
            one_namespace(known(&disk.nvme)?)?;
            not_write_protected(disk)
        }
        Transport::Ata => against_ata(known(&disk.ata)?),
        Transport::Scsi | Transport::Virtio => Ok(()),
    }
}

fn known<T>(outcome: &Outcome<T>) -> Result<&T, Obstacle> {
    match outcome {
        Outcome::Value(value) => Ok(value),
        Outcome::Absent => Err(Obstacle::CapabilitiesUnknown("not reported".to_owned())),
        Outcome::Unreadable(why) => Err(Obstacle::CapabilitiesUnknown(why.clone())),
    }
}

fn not_write_protected(disk: &DiskFacts) -> Result<(), Obstacle> {
    let protected = SanitizeObstacle::NamespaceWriteProtected;
    match disk.sanitize.value() {
        Some(sanitize) if sanitize.obstacles.contains(&protected) => Err(Obstacle::Sanitize(protected)),
        _ => Ok(()),
    }
}

/// A password alone is no obstacle: an erase of ours that was cut off leaves one, and the run removes
/// it before anything else, or ends there if it is somebody else's.
fn against_ata(ata: &AtaCapabilities) -> Result<(), Obstacle> {
    match &ata.hidden_bytes {
        Outcome::Value(0) | Outcome::Absent => {}
        Outcome::Value(bytes) => return Err(Obstacle::HiddenBytes(*bytes)),
        Outcome::Unreadable(why) => return Err(Obstacle::HiddenBytesUnknown(why.clone())),
    }
    let password = ata.security_enabled || ata.security_locked;
    if password && ata.security_frozen {
        return Err(Obstacle::SecurityLocked("a password is set and it is frozen"));
    }
    if password && ata.security_count_expired {
        return Err(Obstacle::SecurityLocked("too many wrong passwords were tried"));
    }
    Ok(())
}

/// With several namespaces a format may reach more than the plan names (FNA bits 0 and 1), a sanitize
/// always does, and data may lie in one that is not attached and that nobody sees. Only one namespace
/// is a disk that we know.
fn one_namespace(capabilities: &NvmeCapabilities) -> Result<(), Obstacle> {
    let covers_all = capabilities.format_covers_all_namespaces || capabilities.erase_covers_all_namespaces;
    Err(Obstacle::Namespaces(match &capabilities.namespaces {
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
    }))
}

/// What stands against one method: a command that the device has not, or would refuse now.
fn against_the_method(disk: &DiskFacts, method: EraseMethod) -> Result<(), Obstacle> {
    let commands = commands(method);
    if commands.is_empty() {
        return idle(disk);
    }
    commands.iter().try_for_each(|command| match command {
        DeviceCommand::NvmeFormat { crypto } => {
            let nvme = known(&disk.nvme)?;
            supported(nvme.format, "Format NVM")?;
            supported(!crypto || nvme.crypto_erase, "cryptographic erase as part of a format")?;
            idle(disk)
        }
        DeviceCommand::NvmeSanitize(action)
        | DeviceCommand::AtaSanitize(action)
        | DeviceCommand::ScsiSanitize(action) => can_sanitize(&disk.sanitize, *action),
        DeviceCommand::ScsiWriteSame => {
            supported(disk.write_same.value().is_some(), "WRITE SAME")?;
            idle(disk)
        }
        DeviceCommand::AtaSecurityErase { enhanced } => {
            let ata = known(&disk.ata)?;
            supported(ata.security_supported, "ATA security")?;
            supported(!enhanced || ata.enhanced_erase, "enhanced security erase")?;
            if ata.security_frozen {
                return Err(Obstacle::SecurityFrozen);
            }
            if ata.security_count_expired {
                return Err(Obstacle::SecurityLocked("too many wrong passwords were tried"));
            }
            idle(disk)
        }
    })
}

fn supported(yes: bool, what: &'static str) -> Result<(), Obstacle> {
    if yes { Ok(()) } else { Err(Obstacle::Unsupported(what)) }
}

/// While a sanitize runs, and after one failed, a device takes no other command.
fn idle(disk: &DiskFacts) -> Result<(), Obstacle> {
    match sanitize_state(disk) {
        Some(SanitizeState::Running { .. }) => Err(Obstacle::SanitizeRunning),
        Some(SanitizeState::Failed) => Err(Obstacle::SanitizeFailed),
        Some(SanitizeState::Never | SanitizeState::Done { .. }) | None => Ok(()),
    }
}

/// A sanitize that is running already is no obstacle: the run waits for its end and starts its own.
fn can_sanitize(
    capabilities: &Outcome<SanitizeCapabilities>,
    action: SanitizeAction,
) -> Result<(), Obstacle> {
    let sanitize = match capabilities {
        Outcome::Absent => return Err(Obstacle::Unsupported("sanitize command")),
        other => known(other)?,
    };
    match action {
        SanitizeAction::Block => supported(sanitize.block, "sanitize by block erase")?,
        SanitizeAction::Crypto => supported(sanitize.crypto, "sanitize by cryptographic erase")?,
        SanitizeAction::Overwrite => supported(sanitize.overwrite, "sanitize by overwrite")?,
    }
    let running = matches!(sanitize.state, SanitizeState::Running { .. });
    let waited_for = |obstacle: &SanitizeObstacle| running && *obstacle == SanitizeObstacle::SanitizeRunning;
    match sanitize.obstacles.iter().find(|obstacle| !waited_for(obstacle)) {
        Some(obstacle) => Err(Obstacle::Sanitize(*obstacle)),
        None => Ok(()),
    }
}

pub(crate) fn level_name(level: SanitizeLevel) -> &'static str {
    match level {
        SanitizeLevel::Clear => "clear",
        SanitizeLevel::Purge => "purge",
    }
}
