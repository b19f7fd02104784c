//! What to try that writes no disk: a ladder for each thing that was found, light fixes first.
//!
//! A remedy that was named, after which the finding went away and came back, did not hold: the next rung is
//! named. So the ladder depends on the history alone, and a finding that stays keeps its rung.

use contract::assignment::{PastFinding, Recalled};
use contract::decision::{Axis, Finding, Severity};
use contract::outlook::{Fix, Remedy};
use contract::reading::Subject;

use crate::facts::Facts;

/// How many remedies a decision names.
const REMEDIES_MAX: usize = 20;

/// Rules, by the beginning of their names, and what to try for what they find. The first that fits counts.
const LADDERS: &[(&str, &[Fix])] = &[
    // NVIDIA Xid catalogue, by the class that the rule's name says.
    ("fitness/gpu-xid-logged", &[Fix::CallPerson]),
    (
        "fitness/gpu-xid-restart-application",
        &[Fix::RestartApplication, Fix::ResetGpu, Fix::RunDiagnosis, Fix::ReplacePart],
    ),
    ("fitness/gpu-xid-restart-machine", &[Fix::Reboot, Fix::PowerCycle, Fix::CallPerson]),
    ("fitness/gpu-xid-reset-gpu", &[Fix::ResetGpu, Fix::Reboot, Fix::PowerCycle, Fix::ReplacePart]),
    ("fitness/gpu-xid-reboot", &[Fix::Reboot, Fix::PowerCycle, Fix::Reseat, Fix::ReplacePart]),
    ("fitness/gpu-xid-check-power", &[Fix::CheckPower, Fix::Reseat, Fix::ReplacePart]),
    ("fitness/gpu-xid-power-smoothing", &[Fix::UpdateFirmware, Fix::CheckPower, Fix::CallPerson]),
    ("fitness/gpu-xid-update-software", &[Fix::UpdateFirmware, Fix::CallPerson]),
    ("fitness/gpu-xid", &[Fix::RunDiagnosis, Fix::CallPerson]),
    // NVIDIA GPU memory error management: a pending remap is done by a reset; a failed one is for the maker.
    ("fitness/gpu-row-remap-pending", &[Fix::ResetGpu, Fix::Reboot, Fix::ReplacePart]),
    ("fitness/gpu-row-remap-failed", &[Fix::ReplacePart]),
    ("fitness/gpu-rows-remapped", &[Fix::RunDiagnosis, Fix::ReplacePart]),
    ("fitness/gpu-sram", &[Fix::ReplacePart]),
    ("fitness/gpu-uncorrected", &[Fix::ResetGpu, Fix::RunDiagnosis, Fix::ReplacePart]),
    ("fitness/gpu-nvlink", &[Fix::ResetGpu, Fix::Reseat, Fix::ReplacePart]),
    ("fitness/gpu-slowdown", &[Fix::CheckCooling, Fix::CheckPower, Fix::ReplacePart]),
    ("fitness/gpu-test", &[Fix::RunDiagnosis, Fix::ReplacePart]),
    ("fitness/expected-gpu", &[Fix::PowerCycle, Fix::Reseat, Fix::ReplacePart]),
    // Decision model 2.3 rows 1 to 15: a disk that fails is replaced; a cable is reseated first.
    ("fitness/ata-interface-crc", &[Fix::Reseat, Fix::ReplacePart]),
    ("fitness/ata-command-timeouts", &[Fix::Reseat, Fix::ReplacePart]),
    ("fitness/nvme-media-errors", &[Fix::TestDisk, Fix::ReplacePart]),
    ("fitness/nvme-warning-temperature", &[Fix::CheckCooling, Fix::ReplacePart]),
    ("fitness/nvme-critical-temperature", &[Fix::CheckCooling, Fix::ReplacePart]),
    ("fitness/nvme-", &[Fix::ReplacePart]),
    ("fitness/disk-read-errors", &[Fix::TestDisk, Fix::ReplacePart]),
    ("fitness/disk-sanitize", &[Fix::PowerCycle, Fix::ReplacePart]),
    ("fitness/disk-", &[Fix::ReplacePart]),
    ("fitness/ata-security", &[Fix::PowerCycle, Fix::CallPerson]),
    ("fitness/ata-reallocated", &[Fix::TestDisk, Fix::ReplacePart]),
    ("fitness/ata-", &[Fix::ReplacePart]),
    ("fitness/scsi-grown", &[Fix::TestDisk, Fix::ReplacePart]),
    ("fitness/scsi-", &[Fix::ReplacePart]),
    ("fitness/expected-disk", &[Fix::Reseat, Fix::ReplacePart]),
    ("fitness/raid-degraded", &[Fix::ReplacePart]),
    // Rows 13, 17 and 18: check while it is not mounted, then look at the disk.
    ("fitness/file-system", &[Fix::CheckFileSystem, Fix::TestDisk, Fix::CallPerson]),
    ("fitness/kernel-storage", &[Fix::TestDisk, Fix::Reseat, Fix::ReplacePart]),
    // Rows 19 to 21: pages with errors are taken out of use, then the module.
    ("fitness/memory-corrected", &[Fix::OfflinePages, Fix::Reboot, Fix::ReplacePart]),
    ("fitness/memory-", &[Fix::ReplacePart]),
    ("fitness/expected-memory", &[Fix::Reseat, Fix::ReplacePart]),
    // Rows 22, 23 and 40.
    ("fitness/processor-throttles", &[Fix::CheckCooling, Fix::CheckPower, Fix::ReplacePart]),
    ("fitness/processor-", &[Fix::ReplacePart]),
    ("fitness/kernel-lockups", &[Fix::Reboot, Fix::BurnIn, Fix::CallPerson]),
    ("fitness/kernel-out-of-memory", &[Fix::RestartApplication, Fix::CallPerson]),
    ("fitness/kernel-hardware", &[Fix::Reboot, Fix::BurnIn, Fix::ReplacePart]),
    ("fitness/kernel-taint", &[Fix::Reboot, Fix::CallPerson]),
    ("fitness/crash-records", &[Fix::BurnIn, Fix::CallPerson]),
    // Rows 24 to 30.
    ("fitness/pcie-link", &[Fix::Reboot, Fix::Reseat, Fix::ReplacePart]),
    ("fitness/pcie-", &[Fix::Reseat, Fix::ReplacePart]),
    ("fitness/nic-", &[Fix::Reseat, Fix::ReplacePart]),
    ("fitness/expected-nic", &[Fix::PowerCycle, Fix::Reseat, Fix::ReplacePart]),
    ("fitness/fabric-", &[Fix::Reseat, Fix::ReplacePart]),
    // Rows 39 and 42.
    ("fitness/sensor-alarms", &[Fix::CheckCooling, Fix::CheckPower, Fix::CallPerson]),
    ("fitness/bmc-temperature", &[Fix::CheckCooling, Fix::CallPerson]),
    ("fitness/bmc-fan", &[Fix::CheckCooling, Fix::ReplacePart]),
    ("fitness/bmc-power", &[Fix::CheckPower, Fix::Reseat, Fix::ReplacePart]),
    ("fitness/bmc-redundancy", &[Fix::CheckCooling, Fix::CheckPower, Fix::CallPerson]),
    ("fitness/firmware-version", &[Fix::UpdateFirmware, Fix::CallPerson]),
    // What history and forecast say is for a person, after hardware was given the long test (tier T3).
    ("fitness/recently-watched", &[]),
    ("fitness/failure-likely", &[Fix::BurnIn, Fix::CallPerson]),
    ("fitness/forecast-unread", &[]),
    ("fitness/put-right-too-often", &[Fix::BurnIn, Fix::CallPerson]),
    ("fitness/same-cause-again", &[Fix::BurnIn, Fix::CallPerson]),
    // A rate of half a second is made sure of first; what a burn-in finds too is not for a fix of ours.
    ("fitness/slower-than-peers", &[Fix::BurnIn, Fix::CheckCooling, Fix::CallPerson]),
    ("fitness/", &[Fix::CallPerson]),
    // The disk under a file system that goes wrong again and again.
    ("integrity/file-system-errors", &[Fix::CheckFileSystem, Fix::TestDisk, Fix::CallPerson]),
];

/// What to try for what was found, most pressing first.
pub(crate) fn remedies(facts: &Facts<'_>, findings: &[Finding]) -> Vec<Remedy> {
    let wanted = findings.iter().filter(|finding| {
        matches!(finding.axis, Axis::Fitness | Axis::Integrity)
            && matches!(finding.severity, Severity::Warning | Severity::Critical)
    });
    let mut named: Vec<(Severity, Remedy)> = Vec::new();
    for finding in wanted {
        let Some(remedy) = remedy(facts, finding) else { continue };
        let same =
            |(_, other): &(Severity, Remedy)| (other.fix, &other.subject) == (remedy.fix, &remedy.subject);
        match named.iter_mut().find(|other| same(other)) {
            Some(other) => other.0 = other.0.max(finding.severity),
            None => named.push((finding.severity, remedy)),
        }
    }
    // Stable: within one severity in the order of the rules.
    named.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
    named.truncate(REMEDIES_MAX);
    named.into_iter().map(|(_, remedy)| remedy).collect()
}

fn remedy(facts: &Facts<'_>, finding: &Finding) -> Option<Remedy> {
    let (_, ladder) = LADDERS.iter().find(|(rule, _)| finding.rule.starts_with(rule))?;
    let tried_before = came_back(facts, &finding.rule, &finding.subject);
    let rung = usize::try_from(tried_before).unwrap_or(usize::MAX).min(ladder.len().saturating_sub(1));
    let fix = *ladder.get(rung)?;
    let said = finding.statement.trim_end_matches('.');
    let because = match tried_before {
        0 => format!("{said}."),
        1 => format!("{said}; what was to be tried before did not hold."),
        times => format!("{said}; what was to be tried {times} times before did not hold."),
    };
    Some(Remedy { fix, subject: finding.subject.clone(), rule: finding.rule.clone(), because, tried_before })
}

/// How often something was to be tried for this finding, after which it was gone for at least one look: one that
/// would have seen it, because it was as deep as one that did, and could.
fn came_back(facts: &Facts<'_>, rule: &str, subject: &Subject) -> u64 {
    // Newest first; now it is there. Each stretch of looks without it, with one that found it behind it.
    let (mut seen_at, mut gone_at, mut times) = (facts.evidence.tier, None, 0);
    for Recalled { remedies, found, tier, .. } in facts.context.history.iter().map(|past| &past.recalled) {
        let was_there = remedies.iter().any(|one| one.rule == rule && &one.subject == subject)
            || found.iter().any(|one| !one.unseen && one.rule == rule && &one.subject == subject);
        if was_there {
            seen_at = tier.map_or(seen_at, |tier| seen_at.min(tier));
            times += u64::from(gone_at.take().is_some_and(|tier| tier >= seen_at));
        } else if !found.iter().any(|one| hides(one, rule, subject)) {
            gone_at = gone_at.max(*tier);
        }
    }
    times
}

/// Whether a rule that could not see may have missed this finding: itself, or the one for all of its kind.
fn hides(unseen: &PastFinding, rule: &str, subject: &Subject) -> bool {
    let there = &unseen.subject == subject || unseen.subject == Subject::Node;
    unseen.unseen && there && rule.starts_with(&unseen.rule)
}

/// What to do, as a person reads it.
pub(crate) fn fix_name(fix: Fix) -> &'static str {
    match fix {
        Fix::RestartApplication => "restart the application",
        Fix::ResetGpu => "reset the GPU",
        Fix::OfflinePages => "take the pages with errors out of use",
        Fix::CheckFileSystem => "check the file system while it is not mounted",
        Fix::TestDisk => "let the disk test itself, the long test",
        Fix::BurnIn => "burn the node in and compare it with its like",
        Fix::Reboot => "restart the machine",
        Fix::UpdateFirmware => "bring driver and firmware up to date",
        Fix::PowerCycle => "cut the power off and on again",
        Fix::CheckCooling => "look at cooling and airflow",
        Fix::CheckPower => "look at power supplies and connectors",
        Fix::Reseat => "pull card or cable and put it back",
        Fix::RunDiagnosis => "run the maker's diagnosis",
        Fix::ReplacePart => "replace the part",
        Fix::CallPerson => "have a person look",
    }
}

#[cfg(test)]
mod tests;
