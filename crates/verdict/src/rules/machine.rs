//! F24 to F31: processors, what firmware and kernel report of the machine, and its sensors.
//!
//! All of it is optional: a machine without such a sensor, and an agent that does not look, give no finding.
//! The tests of processors are of this run; what was found wrong by a resident agent's test is found again by
//! the ramdisk's.

use contract::decision::Axis;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::counters::{Counter, Untried};
use super::flags::Reports;
use super::{Demand, Rule, Ruled, Seen, shortened};
use crate::facts::Facts;

const NODE_PROBLEM_DETECTOR: &str = "Node Problem Detector and gpud: kernel log patterns; policy: kernel";

/// F24 and F25.
const COUNTERS: [Counter; 2] = [
    Counter {
        rule: Rule {
            id: "fitness/processor-test",
            axis: Axis::Fitness,
            source: "known answers of this run; Meta, Google: silent data corruption; policy: processor.test_errors",
        },
        key: ReadingKey::ProcessorTestErrors,
        limits: |policy| policy.processor.test_errors,
        what: "known answers that a processor got wrong",
        always_there: false,
        untried: Untried::UnknownIfCounted,
    },
    Counter {
        rule: Rule {
            id: "fitness/processor-throttles",
            axis: Axis::Fitness,
            source: "Linux thermal_throttle; policy: processor.throttles",
        },
        key: ReadingKey::ProcessorThrottles,
        limits: |policy| policy.processor.throttles,
        what: "times that a processor slowed down for heat",
        always_there: false,
        untried: Untried::WatchIfCounted,
    },
];

/// F26 to F30.
const REPORTS: [Reports; 5] = [
    Reports {
        rule: Rule {
            id: "fitness/crash-records",
            axis: Axis::Fitness,
            source: "Linux pstore; policy: kernel.crash_records",
        },
        key: ReadingKey::CrashRecords,
        response: |policy| policy.kernel.crash_records,
        what: "records of crashes kept by the firmware",
    },
    Reports {
        rule: Rule { id: "fitness/kernel-lockups", axis: Axis::Fitness, source: NODE_PROBLEM_DETECTOR },
        key: ReadingKey::KernelLockups,
        response: |policy| policy.kernel.lockups,
        what: "lockups and hung tasks in this boot",
    },
    Reports {
        rule: Rule { id: "fitness/kernel-out-of-memory", axis: Axis::Fitness, source: NODE_PROBLEM_DETECTOR },
        key: ReadingKey::KernelOutOfMemory,
        response: |policy| policy.kernel.out_of_memory,
        what: "processes killed for want of memory in this boot",
    },
    Reports {
        rule: Rule {
            id: "fitness/operator-log-matches",
            axis: Axis::Fitness,
            source: "the operator's own patterns; policy: kernel.operator_matches",
        },
        key: ReadingKey::OperatorLogMatches,
        response: |policy| policy.kernel.operator_matches,
        what: "lines of the kernel log that match the operator's patterns",
    },
    Reports {
        rule: Rule {
            id: "fitness/sensor-alarms",
            axis: Axis::Fitness,
            source: "hwmon critical alarms, Redfish health; policy: sensors.alarms",
        },
        key: ReadingKey::SensorAlarms,
        response: |policy| policy.sensors.alarms,
        what: "sensors beyond their critical limit",
    },
];

/// F31: the kernel has not seen what taints it for a reason of hardware.
const TAINT: Rule = Rule {
    id: "fitness/kernel-taint",
    axis: Axis::Fitness,
    source: "Linux Documentation/admin-guide/tainted-kernels; policy: kernel.taint_watch_mask",
};

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    ruled.extend(
        COUNTERS
            .iter()
            .filter_map(|counter| counter.judge(facts, &Subject::Node))
            .map(|found| named(facts, found)),
    );
    ruled.extend(REPORTS.iter().filter_map(|reports| reports.judge(facts, &Subject::Node)));
    ruled.extend(taint(facts));
}

/// Which processors were wrong, where the test says it: somebody has to replace them.
fn named(facts: &Facts<'_>, mut found: Ruled) -> Ruled {
    let Outcome::Value(processors) = facts.list(&Subject::Node, ReadingKey::ProcessorsFailed) else {
        return found;
    };
    if found.finding.key == Some(ReadingKey::ProcessorTestErrors) && !processors.items.is_empty() {
        let statement = found.finding.statement.trim_end_matches('.').to_owned();
        found.finding.statement = shortened(&format!("{statement}: {}.", processors.items.join(", ")));
    }
    found
}

fn taint(facts: &Facts<'_>) -> Option<Ruled> {
    let (subject, key) = (Subject::Node, ReadingKey::KernelTaint);
    let mask = facts.thresholds().kernel.taint_watch_mask;
    if !facts.was_tried(&subject, key) || mask == 0 {
        return None;
    }
    let seen = |observed: &dyn ToString| {
        Seen::reading(subject.clone(), key, observed.to_string(), format!("none of the bits {mask:#x}"))
    };
    Some(match facts.count(&subject, key) {
        Outcome::Value(bits) if bits & mask != 0 => TAINT.found(
            Demand::Watch,
            seen(&format!("{bits:#x}")),
            format!("The kernel is tainted: {}.", taints(bits & mask)),
        ),
        Outcome::Value(bits) => TAINT.found(
            Demand::Nothing,
            seen(&format!("{bits:#x}")),
            "The kernel is not tainted by a fault of the machine.",
        ),
        Outcome::Absent => return None,
        Outcome::Unreadable(why) => TAINT.unknown(
            Demand::Watch,
            seen(&why),
            format!("Whether the kernel is tainted could not be read: {why}."),
        ),
    })
}

/// Linux, Documentation/admin-guide/tainted-kernels.
fn taints(bits: u64) -> String {
    const NAMES: [(u32, &str); 5] = [
        (4, "a processor reported a machine check"),
        (5, "a page of memory was found bad"),
        (7, "the kernel has crashed before (oops)"),
        (9, "the kernel has warned of itself"),
        (14, "a processor was locked up"),
    ];
    let named = NAMES.iter().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name);
    let mut names: Vec<String> = named.map(str::to_owned).collect();
    let rest = NAMES.iter().fold(bits, |rest, (bit, _)| rest & !(1 << bit));
    if rest != 0 {
        names.push(format!("bits {rest:#x}"));
    }
    names.join(", ")
}
