//! Is the hardware there that should be, and does the kernel report failures of it?

use contract::decision::{Action, Axis};
use contract::reading::{Outcome, ReadingKey, Subject};

use super::fitness::cautious;
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::{Facts, Listed};

const EXPECTED_SOURCE: &str =
    "design: missing expected hardware means quarantine (what the node had when it was approved)";

/// F6: the disks can be listed.
const DISKS: Rule = Rule {
    id: "fitness/disks-seen",
    axis: Axis::Fitness,
    source: "design: could not look is not nothing there",
};
/// F7: every expected disk is there.
const DISK_MISSING: Rule = Rule { id: "fitness/expected-disk", axis: Axis::Fitness, source: EXPECTED_SOURCE };
/// F8: every expected network interface is there.
const NIC_MISSING: Rule = Rule { id: "fitness/expected-nic", axis: Axis::Fitness, source: EXPECTED_SOURCE };
/// F9: the expected memory is there.
const MEMORY: Rule =
    Rule { id: "fitness/expected-memory", axis: Axis::Fitness, source: "policy: fitness.memory_percent_min" };
/// F10: no hardware error that the policy calls fatal.
const HARDWARE_ERRORS: Rule = Rule {
    id: "fitness/kernel-hardware-errors",
    axis: Axis::Fitness,
    source: "Node Problem Detector: CPER fatal is permanent; policy: fitness.kernel_hardware_errors_fatal",
};
/// F11: no storage errors in the kernel log of this boot.
const STORAGE_ERRORS: Rule = Rule {
    id: "fitness/kernel-storage-errors",
    axis: Axis::Fitness,
    source: "Node Problem Detector: IOError is temporary",
};
/// F12: not put right again and again.
const REPEATED: Rule = Rule {
    id: "fitness/repeated-remediation",
    axis: Axis::Fitness,
    source: "NVSentinel: five remediations in seven days; policy: fitness.remediations_watch_from",
};

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    expected_disks(facts, ruled);
    expected_nics(facts, ruled);
    expected_memory(facts, ruled);
    ruled.push(hardware_errors(facts));
    ruled.push(storage_errors(facts));
    ruled.extend(repeated(facts));
}

/// Whether a rule says that a disk is not there, or that nobody knows which are.
pub(super) fn says_missing_disk(rule: &str) -> bool {
    [DISKS.id, DISK_MISSING.id].contains(&rule)
}

fn node(observed: impl ToString, threshold: impl ToString) -> Seen {
    Seen::fact(Subject::Node, observed, threshold)
}

fn expected_disks(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let disks = match facts.disks() {
        Ok(disks) => disks,
        Err(why) => {
            let statement = format!("The disks could not be seen: {why}.");
            ruled.push(DISKS.unknown(
                if facts.in_ramdisk() { Demand::Quarantine } else { Demand::LookDeeper },
                node(&why, "all disks listed"),
                statement,
            ));
            return;
        }
    };
    let Some(expected) = &facts.context.expected_hardware else { return };
    for id in expected.disks.iter().filter(|id| !disks.iter().any(|disk| &disk.id == *id)) {
        let seen = Seen::fact(Subject::Disk(id.clone()), "missing", "present");
        ruled.push(DISK_MISSING.found(Demand::Quarantine, seen, format!("Disk {id} is missing.")));
    }
    for disk in disks.iter().filter(|disk| !expected.disks.contains(&disk.id)) {
        let seen = Seen::fact(
            Subject::Disk(disk.id.clone()),
            "present",
            "only disks that the node was approved with",
        );
        ruled.push(DISK_MISSING.found(Demand::Watch, seen, format!("Disk {} is new to this node.", disk.id)));
    }
}

fn expected_nics(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let expected = match &facts.context.expected_hardware {
        Some(expected) if !expected.nics.is_empty() => &expected.nics,
        _ => return,
    };
    let nics = match &facts.evidence.inventory.nics {
        Outcome::Value(nics) => nics.as_slice(),
        Outcome::Absent => &[],
        Outcome::Unreadable(why) => {
            let statement = format!("The network interfaces could not be listed: {why}.");
            ruled.push(NIC_MISSING.unknown(cautious(facts), node(why, "all interfaces listed"), statement));
            return;
        }
    };
    for mac in expected.iter().filter(|mac| !nics.iter().any(|nic| &nic.mac == *mac)) {
        let seen = Seen::fact(Subject::Nic(*mac), "missing", "present");
        ruled.push(NIC_MISSING.found(
            Demand::Quarantine,
            seen,
            format!("Network interface {mac} is missing."),
        ));
    }
}

fn expected_memory(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let Some(expected) = facts.context.expected_hardware.as_ref().and_then(|hardware| hardware.memory_bytes)
    else {
        return;
    };
    let percent = facts.thresholds().fitness.memory_percent_min;
    let threshold = format!("at least {percent} % of {expected} bytes");
    ruled.push(match &facts.evidence.inventory.memory_bytes {
        Outcome::Value(found) => {
            let enough = u128::from(*found) * 100 >= u128::from(expected) * u128::from(percent);
            let demand = if enough { Demand::Nothing } else { Demand::Quarantine };
            MEMORY.found(
                demand,
                node(found, threshold),
                format!("The node has {found} bytes of memory; it was approved with {expected}."),
            )
        }
        Outcome::Absent => MEMORY.unknown(
            cautious(facts),
            node("absent", threshold),
            "How much memory the node has was not seen.",
        ),
        Outcome::Unreadable(why) => MEMORY.unknown(
            cautious(facts),
            node(why, threshold),
            format!("How much memory the node has could not be read: {why}."),
        ),
    });
}

fn log_reading(key: ReadingKey, observed: impl ToString) -> Seen {
    Seen::reading(Subject::Node, key, observed, "none")
}

fn hardware_errors(facts: &Facts<'_>) -> Ruled {
    let key = ReadingKey::KernelHardwareErrors;
    match facts.list(&Subject::Node, key) {
        Outcome::Value(list) if list.total == 0 => HARDWARE_ERRORS.found(
            Demand::Nothing,
            log_reading(key, 0),
            "The kernel reported no hardware errors in this boot.",
        ),
        Outcome::Value(list) => {
            // What was cut from the list may have been fatal.
            let fatal = fatal_line(facts, &list)
                .or((list.total > list.items.len() as u64).then_some("more than could be listed"));
            let demand = if fatal.is_some() { Demand::Quarantine } else { Demand::Watch };
            let first = fatal.or(list.items.first().map(String::as_str)).unwrap_or_default();
            HARDWARE_ERRORS.found(
                demand,
                log_reading(key, list.total),
                format!("The kernel reported {} hardware errors in this boot: {first}.", list.total),
            )
        }
        Outcome::Absent => HARDWARE_ERRORS.unknown(
            cautious(facts),
            log_reading(key, "absent"),
            "The kernel log was not looked at.",
        ),
        Outcome::Unreadable(why) => HARDWARE_ERRORS.unknown(
            cautious(facts),
            log_reading(key, &why),
            format!("The kernel log could not be read for hardware errors: {why}."),
        ),
    }
}

fn fatal_line<'a>(facts: &Facts<'_>, list: &'a Listed) -> Option<&'a str> {
    let patterns = &facts.thresholds().fitness.kernel_hardware_errors_fatal;
    let patterns: Vec<String> = patterns.iter().map(|pattern| pattern.to_lowercase()).collect();
    list.items.iter().map(String::as_str).find(|line| {
        let line = line.to_lowercase();
        patterns.iter().any(|pattern| line.contains(pattern.as_str()))
    })
}

fn storage_errors(facts: &Facts<'_>) -> Ruled {
    let key = ReadingKey::KernelStorageErrors;
    match facts.list(&Subject::Node, key) {
        Outcome::Value(list) if list.total == 0 => STORAGE_ERRORS.found(
            Demand::Nothing,
            log_reading(key, 0),
            "The kernel reported no storage errors in this boot.",
        ),
        Outcome::Value(list) => {
            let first = list.items.first().map_or("", String::as_str);
            STORAGE_ERRORS.found(
                Demand::Watch,
                log_reading(key, list.total),
                format!("The kernel reported {} storage errors in this boot: {first}.", list.total),
            )
        }
        Outcome::Absent => STORAGE_ERRORS.unknown(
            Demand::Watch,
            log_reading(key, "absent"),
            "The kernel log was not looked at.",
        ),
        Outcome::Unreadable(why) => STORAGE_ERRORS.unknown(
            Demand::Watch,
            log_reading(key, &why),
            format!("The kernel log could not be read for storage errors: {why}."),
        ),
    }
}

fn repeated(facts: &Facts<'_>) -> Option<Ruled> {
    let fitness = &facts.thresholds().fitness;
    let window_millis = fitness.remediations_window_hours.saturating_mul(3_600_000);
    let recent = facts.context.history.iter().filter(|past| {
        let remedied = matches!(past.action, Action::Repair | Action::Reimage | Action::Wipe);
        remedied && facts.now.millis_since(past.decided_at) <= window_millis
    });
    let count = recent.count() as u64;
    (count >= fitness.remediations_watch_from).then(|| {
        REPEATED.found(
            Demand::Watch,
            node(
                count,
                format!(
                    "fewer than {} in {} h",
                    fitness.remediations_watch_from, fitness.remediations_window_hours
                ),
            ),
            format!("The node had to be put right {count} times in {} h.", fitness.remediations_window_hours),
        )
    })
}
