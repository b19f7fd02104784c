//! F47 to F54 (F51 is in `xid`): GPUs: whether those expected are there, and what their driver says of them.
//!
//! The driver's library speaks only to an agent that can load it, which the static one of the ramdisk cannot.
//! So what cannot be read of a GPU follows `gpu.unreadable` of the policy, "watch" as shipped, and not
//! `cautious`: each visit to the ramdisk would else take out every machine with a GPU. A GPU of which
//! something was read or counted before is one that tells, and then each of the readings is missed; one that
//! never told anything (a plain display adapter) is not.

use std::collections::BTreeSet;

use contract::decision::{Axis, Severity};
use contract::inventory::GpuFacts;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::counters::{Counter, Untried, named};
use super::fitness::cautious;
use super::flags::{Flag, demanded, if_lost};
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;
use crate::policy::HealthUnreadable;

const NVIDIA: &str = "NVIDIA GPU memory error management and RMA policy; policy: gpu";

/// F47: every expected GPU is there.
const MISSING: Rule = Rule {
    id: "fitness/expected-gpu",
    axis: Axis::Fitness,
    source: "NVIDIA DCGM: device count mismatch; policy: gpu.missing",
};

/// F48 to F50, F54.
const FLAGS: [Flag; 4] = [
    Flag {
        rule: Rule { id: "fitness/gpu-row-remap-pending", axis: Axis::Fitness, source: NVIDIA },
        key: ReadingKey::GpuRowRemapPending,
        response: |policy| policy.gpu.row_remap_pending,
        good: "waits for no row to be remapped",
        bad: "remaps a row of its memory at the next reset",
    },
    Flag {
        rule: Rule { id: "fitness/gpu-row-remap-failed", axis: Axis::Fitness, source: NVIDIA },
        key: ReadingKey::GpuRowRemapFailed,
        response: |policy| policy.gpu.row_remap_failed,
        good: "could remap every bad row of its memory",
        bad: "could not remap a bad row of its memory",
    },
    Flag {
        rule: Rule { id: "fitness/gpu-sram", axis: Axis::Fitness, source: NVIDIA },
        key: ReadingKey::GpuSramThresholdExceeded,
        response: |policy| policy.gpu.sram_threshold_exceeded,
        good: "has no more SRAM errors than its maker accepts",
        bad: "has more SRAM errors than its maker accepts",
    },
    Flag {
        rule: Rule {
            id: "fitness/gpu-slowdown",
            axis: Axis::Fitness,
            source: "gpud: clocks event reasons 08h, 40h, 80h; policy: gpu.hardware_slowdown",
        },
        key: ReadingKey::GpuHardwareSlowdown,
        response: |policy| policy.gpu.hardware_slowdown,
        good: "is not slowed down by its hardware",
        bad: "is slowed down by its hardware, for heat or power",
    },
];

/// F52.
const COUNTERS: [Counter; 3] = [
    Counter {
        rule: Rule { id: "fitness/gpu-rows-remapped", axis: Axis::Fitness, source: NVIDIA },
        key: ReadingKey::GpuRowsRemappedUncorrectable,
        limits: |policy| policy.gpu.rows_remapped,
        what: "rows remapped for errors that could not be corrected",
        always_there: false,
        untried: Untried::Unknown,
    },
    Counter {
        rule: Rule { id: "fitness/gpu-uncorrected", axis: Axis::Fitness, source: NVIDIA },
        key: ReadingKey::GpuUncorrectedErrors,
        limits: |policy| policy.gpu.uncorrected_errors,
        what: "memory errors that could not be corrected",
        always_there: false,
        untried: Untried::Unknown,
    },
    Counter {
        rule: Rule {
            id: "fitness/gpu-nvlink",
            axis: Axis::Fitness,
            source: "NVIDIA DCGM: DCGM_LIMIT_MAX_NVLINK_ERROR; policy: gpu.nvlink_errors",
        },
        key: ReadingKey::GpuNvlinkErrors,
        limits: |policy| policy.gpu.nvlink_errors,
        what: "errors of its NVLinks",
        always_there: false,
        untried: Untried::Unknown,
    },
];

/// F53: a GPU that told of itself before still does.
const SILENT: Rule = Rule {
    id: "fitness/gpu-readings",
    axis: Axis::Fitness,
    source: "design: a missing sensor is unknown, never good; policy: gpu.unreadable",
};

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    expected(facts, ruled);
    for gpu in gpus_that_tell(facts) {
        if keys().any(|key| facts.was_tried(&gpu, key)) {
            judge_gpu(facts, &gpu, ruled);
        } else {
            let seen = Seen::fact(gpu.clone(), "nothing read", "what was read before");
            let statement = format!("{} tells nothing of itself now.", named(&gpu));
            ruled.push(SILENT.unknown(lost(facts), seen, statement));
        }
    }
    super::xid::judge(facts, ruled);
}

fn judge_gpu(facts: &Facts<'_>, gpu: &Subject, ruled: &mut Vec<Ruled>) {
    let before = ruled.len();
    for flag in &FLAGS {
        let read = flag.judge_with(facts, gpu, lost(facts));
        ruled.extend(read.or_else(|| flag_lost(facts, gpu, flag)));
    }
    ruled.extend(COUNTERS.iter().filter_map(|counter| counter.judge(facts, gpu)));
    let unknown = lost(facts);
    for one in ruled.iter_mut().skip(before).filter(|one| one.finding.severity == Severity::Unknown) {
        one.demand = one.demand.min(unknown);
    }
}

/// What follows if something of a GPU could not be read.
pub(super) fn lost(facts: &Facts<'_>) -> Demand {
    match facts.thresholds().gpu.unreadable {
        HealthUnreadable::Watch => Demand::Watch,
        HealthUnreadable::Quarantine => cautious(facts),
    }
}

/// A flag that nobody tried to read of a GPU that tells.
fn flag_lost(facts: &Facts<'_>, gpu: &Subject, flag: &Flag) -> Option<Ruled> {
    let demand = demanded((flag.response)(facts.thresholds()))?.min(lost(facts));
    (!facts.was_tried(gpu, flag.key)).then(|| {
        let seen = Seen::reading(gpu.clone(), flag.key, "not read", "no");
        flag.rule.unknown(demand, seen, format!("{}: whether it {} was not read.", named(gpu), flag.bad))
    })
}

fn keys() -> impl Iterator<Item = ReadingKey> {
    FLAGS.iter().map(|flag| flag.key).chain(COUNTERS.iter().map(|counter| counter.key))
}

fn gpus_that_tell(facts: &Facts<'_>) -> BTreeSet<Subject> {
    keys().flat_map(|key| facts.subjects(key)).collect()
}

/// F47. A GPU is known by its serial number or UUID where the driver says it, else by its PCI address; the
/// ramdisk has no driver. So GPUs that cannot be told apart are counted: as many as there were is not fewer.
fn expected(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let expected = facts.context.expected_hardware.as_ref().and_then(|hardware| hardware.gpus.as_ref());
    let Some(expected) = expected else { return };
    let response = facts.thresholds().gpu.missing;
    let Some(demand) = demanded(response) else { return };
    let gpus = match &facts.evidence.inventory.gpus {
        Outcome::Value(gpus) => gpus.as_slice(),
        Outcome::Absent => &[],
        Outcome::Unreadable(_) if expected.is_empty() => return,
        Outcome::Unreadable(why) => {
            let seen = Seen::fact(Subject::Node, why, "all GPUs listed");
            let statement = format!("The GPUs could not be listed: {why}.");
            ruled.push(MISSING.unknown(if_lost(facts, response), seen, statement));
            return;
        }
    };
    let is = |id: &String, gpu: &GpuFacts| *id == gpu.id || *id == gpu.pci_address;
    let unseen: Vec<&String> = expected.iter().filter(|id| !gpus.iter().any(|gpu| is(id, gpu))).collect();
    let strange: Vec<&GpuFacts> = gpus.iter().filter(|gpu| !expected.iter().any(|id| is(id, gpu))).collect();
    if unseen.len() > strange.len() {
        for id in unseen {
            let seen = Seen::fact(Subject::Gpu(id.clone()), "missing", "present");
            ruled.push(MISSING.found(demand, seen, format!("GPU {id} is missing.")));
        }
        return;
    }
    let nameless = |gpu: &&&GpuFacts| gpu.id == gpu.pci_address && !unseen.is_empty();
    for gpu in strange.iter().filter(|gpu| !nameless(gpu)) {
        let seen =
            Seen::fact(Subject::Gpu(gpu.id.clone()), "present", "only GPUs that the node was approved with");
        ruled.push(MISSING.found(Demand::Watch, seen, format!("GPU {} is new to this node.", gpu.id)));
    }
}
