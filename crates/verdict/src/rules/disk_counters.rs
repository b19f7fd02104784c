//! F5: what disks, arrays and file systems count, one rule each.
//!
//! Of the counters that every agent reads, one that was not tried is as bad as unreadable; of the others only
//! if it was counted when the node was last found right (an older agent does not know them).

use contract::decision::{Axis, Severity};
use contract::inventory::{DiskFacts, SanitizeState, Transport};
use contract::plan::Step;
use contract::reading::{ReadingKey, Subject};

use super::counters::{Counter, Untried};
use super::{Demand, Rule, Ruled};
use crate::facts::Facts;

const NVME_LOG: &str = "NVM Express Base Specification, SMART / Health Information log";
const BACKBLAZE: &str = "Backblaze annual failure rates by attribute value, as tabulated by Scrutiny";

const fn rule(id: &'static str, source: &'static str) -> Rule {
    Rule { id, axis: Axis::Fitness, source }
}

/// A counter, and on which disks it is needed; none means on all.
struct OfDisk {
    transport: Option<Transport>,
    counter: Counter,
}

const fn old(
    transport: Option<Transport>,
    always_there: bool,
    (id, source): (&'static str, &'static str),
    (key, what): (ReadingKey, &'static str),
    limits: fn(&crate::policy::Sections) -> crate::policy::Limits,
) -> OfDisk {
    let counter =
        Counter { rule: rule(id, source), key, limits, what, always_there, untried: Untried::Unknown };
    OfDisk { transport, counter }
}

const fn new(
    (id, source): (&'static str, &'static str),
    (key, what): (ReadingKey, &'static str),
    limits: fn(&crate::policy::Sections) -> crate::policy::Limits,
) -> Counter {
    let untried = Untried::UnknownIfCounted;
    Counter { rule: rule(id, source), key, limits, what, always_there: false, untried }
}

const NVME: Option<Transport> = Some(Transport::Nvme);
const ATA: Option<Transport> = Some(Transport::Ata);

/// What every agent reads.
const NEEDED: [OfDisk; 7] = [
    old(
        None,
        true,
        (
            "fitness/disk-read-errors",
            "Google FAST'07: a first scan error makes failure within 60 days 39 times as likely",
        ),
        (ReadingKey::DiskReadErrors, "reads answered with an unrecoverable error in this run"),
        |policy| policy.fitness.disk_read_errors,
    ),
    old(
        NVME,
        true,
        ("fitness/nvme-percentage-used", NVME_LOG),
        (ReadingKey::NvmePercentageUsed, "percent of the rated life used"),
        |policy| policy.fitness.nvme_percentage_used,
    ),
    old(
        NVME,
        true,
        ("fitness/nvme-media-errors", NVME_LOG),
        (ReadingKey::NvmeMediaErrors, "media errors"),
        |policy| policy.fitness.nvme_media_errors,
    ),
    old(
        ATA,
        false,
        ("fitness/ata-reallocated-sectors", BACKBLAZE),
        (ReadingKey::AtaReallocatedSectors, "sectors reallocated"),
        |policy| policy.fitness.ata_reallocated_sectors,
    ),
    old(
        ATA,
        false,
        ("fitness/ata-reported-uncorrectable", BACKBLAZE),
        (ReadingKey::AtaReportedUncorrectable, "uncorrectable errors reported to the host"),
        |policy| policy.fitness.ata_reported_uncorrectable,
    ),
    old(
        ATA,
        false,
        ("fitness/ata-pending-sectors", BACKBLAZE),
        (ReadingKey::AtaPendingSectors, "sectors waiting to be reallocated"),
        |policy| policy.fitness.ata_pending_sectors,
    ),
    old(
        ATA,
        false,
        ("fitness/ata-offline-uncorrectable", BACKBLAZE),
        (ReadingKey::AtaOfflineUncorrectable, "sectors found uncorrectable in the disk's own scan"),
        |policy| policy.fitness.ata_offline_uncorrectable,
    ),
];

/// What newer agents read besides.
const FURTHER: [Counter; 6] = [
    new(
        ("fitness/ata-spin-retries", BACKBLAZE),
        (ReadingKey::AtaSpinRetries, "retries to spin up"),
        |policy| policy.disks.ata_spin_retries,
    ),
    new(
        ("fitness/ata-command-timeouts", BACKBLAZE),
        (ReadingKey::AtaCommandTimeouts, "commands that timed out"),
        |policy| policy.disks.ata_command_timeouts,
    ),
    new(
        ("fitness/ata-interface-crc-errors", BACKBLAZE),
        (ReadingKey::AtaInterfaceCrcErrors, "errors on the cable to the disk"),
        |policy| policy.disks.ata_interface_crc_errors,
    ),
    new(
        ("fitness/nvme-critical-temperature", NVME_LOG),
        (ReadingKey::NvmeCriticalTemperatureMinutes, "minutes above the critical temperature"),
        |policy| policy.disks.nvme_critical_temperature_minutes,
    ),
    new(
        ("fitness/nvme-warning-temperature", NVME_LOG),
        (ReadingKey::NvmeWarningTemperatureMinutes, "minutes above the warning temperature"),
        |policy| policy.disks.nvme_warning_temperature_minutes,
    ),
    new(
        ("fitness/scsi-grown-defects", "SCSI READ DEFECT DATA; policy: disks.scsi_grown_defects"),
        (ReadingKey::ScsiGrownDefects, "defects grown since the disk was made"),
        |policy| policy.disks.scsi_grown_defects,
    ),
];

/// F13: arrays have all their members.
const RAID: Counter = new(
    ("fitness/raid-degraded", "gpud: a degraded array; kernel md sysfs"),
    (ReadingKey::RaidMembersMissing, "members missing"),
    |policy| policy.disks.raid_members_missing,
);

/// F14: what file systems count of their devices.
const FILE_SYSTEM: Counter = new(
    ("fitness/file-system-device-errors", "btrfs device statistics; policy: disks.file_system_device_errors"),
    (ReadingKey::FileSystemDeviceErrors, "errors of its devices"),
    |policy| policy.disks.file_system_device_errors,
);

/// Whether every agent reads this of such a disk, so that it is missed where nobody tried: what [`NEEDED`] has,
/// and what `fitness` judges by itself.
pub(super) fn every_agent_reads(key: ReadingKey, transport: Transport) -> bool {
    let needs = |one: &OfDisk| one.counter.key == key && one.transport.is_none_or(|of| of == transport);
    let by_itself = match key {
        ReadingKey::NvmeCriticalWarning
        | ReadingKey::NvmeAvailableSparePercent
        | ReadingKey::NvmeAvailableSpareThresholdPercent => transport == Transport::Nvme,
        ReadingKey::AtaSmartThresholdExceeded => transport == Transport::Ata,
        _ => false,
    };
    by_itself || NEEDED.iter().any(needs)
}

/// The counters of one disk.
pub(super) fn judge_disk(facts: &Facts<'_>, disk: &DiskFacts, ruled: &mut Vec<Ruled>) {
    let subject = Subject::Disk(disk.id.clone());
    let before = ruled.len();
    for OfDisk { transport, counter } in &NEEDED {
        // A reading that is there counts on any disk; one that is missing only where the disk should have it.
        let needed = transport.is_none_or(|transport| disk.transport == transport);
        if !needed && !facts.concerns(&subject, counter.key) && !facts.was_counted(&subject, counter.key) {
            continue;
        }
        ruled.extend(counter.judge(facts, &subject));
    }
    ruled.extend(FURTHER.iter().filter_map(|counter| counter.judge(facts, &subject)));
    excuse_silence(facts, disk, &mut ruled[before..]);
}

/// Arrays and file systems, as far as anybody tells of them.
pub(super) fn judge_others(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    for counter in [&RAID, &FILE_SYSTEM] {
        for subject in facts.subjects(counter.key) {
            ruled.extend(counter.judge(facts, &subject));
        }
    }
}

/// What a disk does not say because of an erase of ours is watched and not more.
pub(super) fn excuse_silence(facts: &Facts<'_>, disk: &DiskFacts, ruled: &mut [Ruled]) {
    if silent_for_our_erase(facts, disk) {
        for unknown in ruled.iter_mut().filter(|one| one.finding.severity == Severity::Unknown) {
            unknown.demand = unknown.demand.min(Demand::Watch);
        }
    }
}

/// Whether a disk gives nothing to read because a sanitize that was begun here and cut off runs on, or
/// has failed. It is sanitized again, which rests on what is read back from it then: a disk that cannot
/// be read is not erased, and nothing is installed on it.
fn silent_for_our_erase(facts: &Facts<'_>, disk: &DiskFacts) -> bool {
    let refuses_reads = disk.sanitize.value().is_some_and(|sanitize| {
        matches!(sanitize.state, SanitizeState::Running { .. } | SanitizeState::Failed)
    });
    refuses_reads && erase_begun_here(facts, disk)
}

/// Whether an erase of this disk was begun here and never reported done; from the ramdisk it is done again.
pub(super) fn erase_begun_here(facts: &Facts<'_>, disk: &DiskFacts) -> bool {
    let begun = facts.context.unfinished.as_ref().is_some_and(|work| {
        work.plan.steps.iter().any(|step| matches!(step, Step::Erase { disk: of, .. } if of.id == disk.id))
    });
    facts.in_ramdisk() && begun
}
