//! Will the disks last? No reading here is a reason to wipe.

use contract::decision::{Axis, Fitness};
use contract::inventory::{DiskFacts, Transport};
use contract::reading::{Outcome, ReadingKey, Subject};

use super::{
    Demand, Rule, Ruled, Seen, bmc, disk_counters, disk_signs, disk_states, golden, gpu_test, gpus, hardware,
    links, machine, memory, network, peers, strongest,
};
use crate::facts::Facts;
use crate::policy::HealthUnreadable;

const NVME_LOG: &str = "NVM Express Base Specification, SMART / Health Information log";

/// F1: no bit of the critical warning that means data are in danger.
const NVME_CRITICAL: Rule =
    Rule { id: "fitness/nvme-critical-warning", axis: Axis::Fitness, source: NVME_LOG };
/// F2: spare blocks not below the disk's own threshold.
const NVME_SPARE: Rule = Rule { id: "fitness/nvme-available-spare", axis: Axis::Fitness, source: NVME_LOG };
/// F3: the disk's own SMART verdict.
const ATA_THRESHOLD: Rule = Rule {
    id: "fitness/ata-smart-threshold",
    axis: Axis::Fitness,
    source: "ATA SMART RETURN STATUS: a pre-fail attribute is below its threshold",
};
/// F4: the disk takes writes.
const READ_ONLY: Rule = Rule {
    id: "fitness/disk-read-only",
    axis: Axis::Fitness,
    source: "NVM Express critical warning bit 3; kernel read-only flag",
};

/// The verdict of the third axis and its findings.
pub(crate) fn judge(facts: &Facts<'_>) -> (Fitness, Vec<Ruled>) {
    let mut ruled = Vec::new();
    if let Ok(disks) = facts.disks() {
        for disk in disks {
            judge_disk(facts, disk, &mut ruled);
        }
    }
    disk_counters::judge_others(facts, &mut ruled);
    hardware::judge(facts, &mut ruled);
    memory::judge(facts, &mut ruled);
    machine::judge(facts, &mut ruled);
    golden::judge(facts, &mut ruled);
    links::judge(facts, &mut ruled);
    gpus::judge(facts, &mut ruled);
    peers::judge(facts, &mut ruled);
    network::judge(facts, &mut ruled);
    gpu_test::judge(facts, &mut ruled);
    bmc::judge(facts, &mut ruled);
    let verdict = match strongest(&ruled) {
        Demand::Nothing => Fitness::Fit,
        Demand::Quarantine => Fitness::Quarantine,
        _ => Fitness::Watch,
    };
    if facts.leaves_empty() {
        ruled.iter_mut().for_each(goes_before_fitness);
    }
    (verdict, ruled)
}

/// A person who orders that disks are erased and left empty means failing ones above all: they go back
/// to who made them. Nothing is installed on them, and what cannot be read back does not count as erased.
/// What is missing cannot be erased, so that keeps its say.
fn goes_before_fitness(ruled: &mut Ruled) {
    if ruled.demand == Demand::Quarantine && !hardware::says_missing_disk(&ruled.finding.rule) {
        ruled.demand = Demand::Watch;
        ruled.finding.statement.push_str(" The order to erase and install nothing goes before that.");
    }
}

/// What follows if a reading that could have demanded quarantine could not be had.
pub(super) fn cautious(facts: &Facts<'_>) -> Demand {
    match facts.thresholds().fitness.health_unreadable {
        _ if !facts.in_ramdisk() => Demand::LookDeeper,
        HealthUnreadable::Quarantine => Demand::Quarantine,
        HealthUnreadable::Watch => Demand::Watch,
    }
}

fn judge_disk(facts: &Facts<'_>, disk: &DiskFacts, ruled: &mut Vec<Ruled>) {
    let subject = Subject::Disk(disk.id.clone());
    // A reading that is there counts on any disk; one that is missing only where the disk should have it.
    let concerns = |key, transport| disk.transport == transport || facts.concerns(&subject, key);
    if concerns(ReadingKey::NvmeCriticalWarning, Transport::Nvme) {
        ruled.push(critical_warning(facts, disk, &subject));
    }
    if concerns(ReadingKey::NvmeAvailableSparePercent, Transport::Nvme)
        || facts.concerns(&subject, ReadingKey::NvmeAvailableSpareThresholdPercent)
    {
        ruled.push(available_spare(facts, disk, &subject));
    }
    if concerns(ReadingKey::AtaSmartThresholdExceeded, Transport::Ata) {
        ruled.push(smart_threshold(facts, disk, &subject));
    }
    ruled.extend(read_only(facts, disk, &subject));
    disk_counters::judge_disk(facts, disk, ruled);
    ruled.extend(disk_signs::judge(facts, disk));
    disk_states::judge(facts, disk, ruled);
}

fn critical_warning(facts: &Facts<'_>, disk: &DiskFacts, subject: &Subject) -> Ruled {
    let key = ReadingKey::NvmeCriticalWarning;
    let fitness = &facts.thresholds().fitness;
    let threshold = format!("none of the bits {:#04x}", fitness.nvme_critical_warning_quarantine_mask);
    let seen = |observed: String| Seen::reading(subject.clone(), key, observed, &threshold);
    let id = &disk.id;
    match facts.count(subject, key) {
        Outcome::Value(bits) => {
            // A bit that has no name is new to us, and so is watched.
            let unknown = u64::MAX << NVME_WARNINGS.len();
            let demand = if bits & fitness.nvme_critical_warning_quarantine_mask != 0 {
                Demand::Quarantine
            } else if bits & (fitness.nvme_critical_warning_watch_mask | unknown) != 0 {
                Demand::Watch
            } else {
                Demand::Nothing
            };
            let said = if bits == 0 {
                "raises no critical warning".to_owned()
            } else {
                format!("raises critical warning {bits:#04x}: {}", bit_names(bits))
            };
            NVME_CRITICAL.found(demand, seen(format!("{bits:#04x}")), format!("Disk {id} {said}."))
        }
        Outcome::Absent => NVME_CRITICAL.unknown(
            cautious(facts),
            seen("absent".to_owned()),
            format!("Disk {id} keeps no health log, which NVMe demands."),
        ),
        Outcome::Unreadable(why) => NVME_CRITICAL.unknown(
            cautious(facts),
            seen(why.clone()),
            format!("The health log of disk {id} could not be read: {why}."),
        ),
    }
}

/// NVM Express Base Specification, SMART / Health Information log, byte 0: its bits, from the lowest.
const NVME_WARNINGS: [&str; 7] = [
    "spare blocks below threshold",
    "temperature beyond a threshold",
    "reliability degraded",
    "media read-only",
    "volatile memory backup failed",
    "persistent memory region read-only",
    "personality indeterminate",
];

fn bit_names(bits: u64) -> String {
    let named =
        NVME_WARNINGS.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name);
    let mut names: Vec<&str> = named.collect();
    if bits >> NVME_WARNINGS.len() != 0 {
        names.push("unknown bits");
    }
    names.join(", ")
}

fn available_spare(facts: &Facts<'_>, disk: &DiskFacts, subject: &Subject) -> Ruled {
    let key = ReadingKey::NvmeAvailableSparePercent;
    let id = &disk.id;
    let spare = facts.count(subject, key);
    let least = facts.count(subject, ReadingKey::NvmeAvailableSpareThresholdPercent);
    match (spare, least) {
        // Virtual disks report 0 of 0; a threshold of 0 means that the disk sets none.
        (Outcome::Value(spare), Outcome::Value(least)) if least == 0 || spare >= least => NVME_SPARE.found(
            Demand::Nothing,
            Seen::reading(subject.clone(), key, format!("{spare} %"), format!("at least {least} %")),
            format!("Disk {id} has {spare} % of its spare blocks; its threshold is {least} %."),
        ),
        (Outcome::Value(spare), Outcome::Value(least)) => NVME_SPARE.found(
            Demand::Quarantine,
            Seen::reading(subject.clone(), key, format!("{spare} %"), format!("at least {least} %")),
            format!("Disk {id} has only {spare} % of its spare blocks; its threshold is {least} %."),
        ),
        (spare, least) => {
            let whys = [&spare, &least].into_iter().filter_map(|outcome| match outcome {
                Outcome::Unreadable(why) => Some(why.as_str()),
                Outcome::Absent => Some("absent"),
                Outcome::Value(_) => None,
            });
            let why = whys.collect::<Vec<_>>().join("; ");
            NVME_SPARE.unknown(
                cautious(facts),
                Seen::reading(subject.clone(), key, &why, "at least the disk's own threshold"),
                format!("The spare blocks of disk {id} could not be read: {why}."),
            )
        }
    }
}

fn smart_threshold(facts: &Facts<'_>, disk: &DiskFacts, subject: &Subject) -> Ruled {
    let key = ReadingKey::AtaSmartThresholdExceeded;
    let seen = |observed: &str| Seen::reading(subject.clone(), key, observed, "no threshold exceeded");
    let id = &disk.id;
    match facts.flag(subject, key) {
        Outcome::Value(false) => {
            ATA_THRESHOLD.found(Demand::Nothing, seen("no"), format!("Disk {id} says that it is well."))
        }
        Outcome::Value(true) => ATA_THRESHOLD.found(
            Demand::Quarantine,
            seen("yes"),
            format!("Disk {id} says that it is failing."),
        ),
        Outcome::Absent => {
            ATA_THRESHOLD.found(Demand::Nothing, seen("has no SMART"), format!("Disk {id} has no SMART."))
        }
        Outcome::Unreadable(why) => ATA_THRESHOLD.unknown(
            cautious(facts),
            seen(&why),
            format!("The SMART status of disk {id} could not be read: {why}."),
        ),
    }
}

/// F4. The inventory always says whether the kernel takes writes; the reading can only add to it.
/// Removable media are often read-only for good reason.
fn read_only(facts: &Facts<'_>, disk: &DiskFacts, subject: &Subject) -> Option<Ruled> {
    let key = ReadingKey::DiskReadOnly;
    let refused = disk.read_only || facts.flag(subject, key) == Outcome::Value(true);
    (refused && !disk.removable).then(|| {
        READ_ONLY.found(
            Demand::Quarantine,
            Seen::reading(subject.clone(), key, "yes", "no"),
            format!("Disk {} can no longer be written.", disk.id),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, DATA_DISK, disk_subject};

    /// Each bit is what the masks say of it; one without a name is watched.
    #[test]
    fn each_bit_of_the_critical_warning_counts_as_the_policy_says() {
        let masks = "[fitness]\nnvme_critical_warning_quarantine_mask = 0b0000_0101\nnvme_critical_warning_watch_mask = 0b0000_1010\n";
        let fitness = |policy: &str, bits| {
            let case = Case::healthy().policy(policy);
            case.count(disk_subject(DATA_DISK), ReadingKey::NvmeCriticalWarning, bits).judge().fitness
        };
        for (policy, quarantined, watched) in
            [("", 0b0001_1101, 0b0110_0010_u64), (masks, 0b0000_0101, 0b0000_1010)]
        {
            for bit in 0..10 {
                let expected = match 1 << bit {
                    bits if bits & quarantined != 0 => Fitness::Quarantine,
                    bits if bits & watched != 0 || bit > 6 => Fitness::Watch,
                    _ => Fitness::Fit,
                };
                assert_eq!(fitness(policy, 1 << bit), expected, "bit {bit} {policy}");
            }
            assert_eq!(fitness(policy, 0), Fitness::Fit);
            assert_eq!(fitness(policy, quarantined | watched), Fitness::Quarantine);
        }
    }
}
