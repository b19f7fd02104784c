//! How ready a node is for work, from 0 to 100: weighted parts, then caps (decision model 6.7).
//!
//! A part of the node that nobody looked at counts as one that could not be seen, in its score and in the
//! coverage. One that was looked for and is not there is not missed.

use contract::assignment::BootTrust;
use contract::decision::{Action, Axis, Finding, Severity};
use contract::outlook::{
    ComponentForecast, ComponentKind, Readiness, ReadinessArea, ReadinessCap, ReadinessPart,
};
use contract::reading::{Outcome, ReadingKey, Subject};

use crate::facts::Facts;
use crate::forecast::MILLION;
use crate::model::ReadinessModel;

/// The readiness that follows from what was found, what may fail, and what is to be done.
pub(crate) fn readiness(
    facts: &Facts<'_>,
    model: &ReadinessModel,
    findings: &[Finding],
    forecast: &[ComponentForecast],
    action: Action,
) -> Readiness {
    let mut parts = Vec::new();
    let mut unseen = 0;
    for (name, weight) in spread(facts, model) {
        let looked_at = was_looked_at(facts, findings, name);
        unseen += u64::from(!looked_at);
        let score = score(facts, model, findings, forecast, name);
        let score = if looked_at { score } else { score.min(model.unseen_score) };
        parts.push(ReadinessPart { name, weight, score });
    }
    let sum: u64 = parts.iter().map(|part| part.weight * part.score).sum();
    let uncapped = sum / 100;
    let coverage_percent = coverage(findings, unseen);
    let caps = caps(model, action, coverage_percent);
    let score = caps.iter().map(|cap| cap.most).fold(uncapped, u64::min);
    Readiness {
        score,
        uncapped,
        parts,
        caps,
        coverage_percent,
        age_seconds: facts.now.millis_since(facts.evidence.taken_at) / 1000,
    }
}

/// The weights; what the node does not have is spread over the rest, largest remainders first, so that they
/// are 100 together.
fn spread(facts: &Facts<'_>, model: &ReadinessModel) -> Vec<(ReadinessArea, u64)> {
    let all = [
        (ReadinessArea::Storage, model.storage),
        (ReadinessArea::Memory, model.memory),
        (ReadinessArea::Processor, model.processor),
        (ReadinessArea::Gpu, if has_gpus(facts) { model.gpu } else { 0 }),
        (ReadinessArea::Network, model.network),
        (ReadinessArea::Power, model.power),
        (ReadinessArea::BootTrust, model.boot_trust),
        (ReadinessArea::Image, model.image),
    ];
    let there: Vec<_> = all.into_iter().filter(|(_, weight)| *weight > 0).collect();
    let sum: u64 = there.iter().map(|(_, weight)| weight).sum();
    if sum == 0 {
        return Vec::new();
    }
    let mut spread: Vec<_> = there.iter().map(|(name, weight)| (*name, weight * 100 / sum)).collect();
    let missing = 100 - spread.iter().map(|(_, weight)| weight).sum::<u64>();
    let mut by_remainder: Vec<usize> = (0..there.len()).collect();
    by_remainder.sort_by_key(|at| std::cmp::Reverse(there[*at].1 * 100 % sum));
    for at in by_remainder.into_iter().take(usize::try_from(missing).unwrap_or(0)) {
        spread[at].1 += 1;
    }
    spread
}

fn has_gpus(facts: &Facts<'_>) -> bool {
    let seen = matches!(&facts.evidence.inventory.gpus, Outcome::Value(gpus) if !gpus.is_empty());
    let expected = facts.context.expected_hardware.as_ref().and_then(|hardware| hardware.gpus.as_ref());
    seen || expected.is_some_and(|gpus| !gpus.is_empty())
}

fn score(
    facts: &Facts<'_>,
    model: &ReadinessModel,
    findings: &[Finding],
    forecast: &[ComponentForecast],
    area: ReadinessArea,
) -> u64 {
    let found = findings.iter().filter(|finding| area_of(finding) == Some(area)).map(|finding| match finding
        .severity
    {
        Severity::Good => 100,
        Severity::Warning => model.watched_score,
        Severity::Critical => 0,
        Severity::Unknown => model.unseen_score,
    });
    let proven = (area == ReadinessArea::BootTrust).then_some(match facts.context.boot_trust {
        Some(BootTrust::Verified) => 100,
        Some(BootTrust::Mismatch { .. } | BootTrust::Lost { .. }) => 0,
        Some(BootTrust::Changed { .. }) => model.watched_score.min(model.unseen_score),
        Some(BootTrust::Unproven { .. }) | None => model.unseen_score,
    });
    let worst = found.chain(proven).min().unwrap_or(100);
    let sound = forecast
        .iter()
        .filter(|part| area_of_kind(part.kind) == area)
        .map(|part| (MILLION - part.failure_parts_per_million.min(MILLION)) * 100 / MILLION);
    worst * sound.min().unwrap_or(100) / 100
}

/// Whether anybody looked at this part of the node, whatever came of it.
fn was_looked_at(facts: &Facts<'_>, findings: &[Finding], area: ReadinessArea) -> bool {
    let readings = &facts.evidence.readings;
    let by_itself = match area {
        // The service says something of it or nothing, which counts as unseen already.
        ReadinessArea::BootTrust => true,
        // State and speed of the links stand in the inventory.
        ReadinessArea::Network => !matches!(facts.evidence.inventory.nics, Outcome::Unreadable(_)),
        _ => false,
    };
    by_itself
        || findings.iter().any(|finding| area_of(finding) == Some(area))
        || readings.iter().any(|reading| area_of_part(&reading.subject, Some(reading.key), "") == Some(area))
}

fn area_of_kind(kind: ComponentKind) -> ReadinessArea {
    match kind {
        ComponentKind::HardDisk | ComponentKind::FlashDisk | ComponentKind::VirtualDisk => {
            ReadinessArea::Storage
        }
        ComponentKind::Memory => ReadinessArea::Memory,
        ComponentKind::Processor => ReadinessArea::Processor,
        ComponentKind::Gpu => ReadinessArea::Gpu,
    }
}

/// Which part of the node a finding speaks of; none for what was asked, and whose the data are.
fn area_of(finding: &Finding) -> Option<ReadinessArea> {
    match finding.axis {
        Axis::Confidentiality | Axis::Request => return None,
        Axis::Integrity if finding.rule.contains("boot") || finding.rule.contains("ramdisk") => {
            return Some(ReadinessArea::BootTrust);
        }
        Axis::Integrity => return Some(ReadinessArea::Image),
        Axis::Fitness => {}
    }
    area_of_part(&finding.subject, finding.key, &finding.rule)
}

fn area_of_part(subject: &Subject, key: Option<ReadingKey>, rule: &str) -> Option<ReadinessArea> {
    match subject {
        Subject::Disk(_) | Subject::FileSystem(_) | Subject::RaidArray(_) => Some(ReadinessArea::Storage),
        Subject::MemoryModule(_) => Some(ReadinessArea::Memory),
        Subject::Gpu(_) => Some(ReadinessArea::Gpu),
        Subject::Nic(_) | Subject::FabricPort(_) | Subject::PciDevice(_) => Some(ReadinessArea::Network),
        Subject::Sensor(_) => Some(ReadinessArea::Power),
        Subject::Image => Some(ReadinessArea::Image),
        Subject::Node => area_of_key(key, rule),
    }
}

fn area_of_key(key: Option<ReadingKey>, rule: &str) -> Option<ReadinessArea> {
    let name = key.map_or_else(|| rule.trim_start_matches("fitness/").to_owned(), |key| key.to_string());
    let areas = [
        (ReadinessArea::Memory, &["memory", "expected-memory"][..]),
        (ReadinessArea::Gpu, &["gpu", "expected-gpu"]),
        (ReadinessArea::Storage, &["disk", "kernel-storage", "expected-disk", "file-system", "raid"]),
        (
            ReadinessArea::Network,
            &[
                "nic",
                "fabric",
                "pcie",
                "expected-nic",
                "network-send",
                "network-receive",
                "network-test-errors",
            ],
        ),
        (ReadinessArea::Power, &["sensor", "temperature", "firmware", "bmc"]),
        (ReadinessArea::BootTrust, &["secure-boot", "boot"]),
        (ReadinessArea::Processor, &["processor", "kernel", "crash", "operator"]),
    ];
    let named = areas.iter().find(|(_, starts)| starts.iter().any(|start| name.starts_with(start)));
    named.map(|(area, _)| *area)
}

/// The share of what was asked of readings that could be answered; of a part that nobody looked at, one thing
/// was asked.
fn coverage(findings: &[Finding], unseen_areas: u64) -> u64 {
    let asked = findings.iter().filter(|finding| finding.key.is_some());
    let (seen, all) = asked.fold((0_u64, unseen_areas), |(seen, all), finding| {
        (seen + u64::from(finding.severity != Severity::Unknown), all + 1)
    });
    (seen * 100).checked_div(all).unwrap_or(0)
}

fn caps(model: &ReadinessModel, action: Action, coverage_percent: u64) -> Vec<ReadinessCap> {
    let pending = match action {
        Action::Keep | Action::LookDeeper => None,
        Action::Repair => Some((model.repair_pending_most, "a repair is to be done")),
        Action::Reimage => Some((model.reimage_pending_most, "a reimage is to be done")),
        Action::Wipe => Some((model.sanitize_pending_most, "disks are to be sanitized")),
        Action::Quarantine => Some((model.quarantine_most, "the node is taken out")),
    };
    let unseen = (coverage_percent < model.coverage_percent_min).then(|| ReadinessCap {
        most: model.coverage_most,
        because: format!(
            "only {coverage_percent} % of what should have been seen was seen, not {} %",
            model.coverage_percent_min
        ),
    });
    let pending = pending.map(|(most, because)| ReadinessCap { most, because: because.to_owned() });
    let mut caps: Vec<ReadinessCap> = pending.into_iter().chain(unseen).collect();
    caps.sort_by_key(|cap| cap.most);
    caps
}
