//! F19 to F23: memory. What the memory controller counted, what the kernel took out of use, what the test of
//! this run found, and whether the modules are those that the node was approved with.
//!
//! Errors are counted for each module where the board names them, and for the node as a whole. Corrected ones
//! have their limit for a module, so the node's sum is judged only where no module is named. `Absent` about
//! the node says that no driver counts (the ramdisk has none for most boards); then modules that were counted
//! before are not missed. Otherwise one that was counted and is not any more is unknown, not well.

use contract::decision::Axis;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::counters::{Counter, Untried};
use super::flags::{demanded, if_lost};
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;

const EDAC: &str = "Linux EDAC; thresholds: rasdaemon page offlining, Google CACM'11, policy: memory";

/// F19: no error that could not be corrected.
const UNCORRECTED: Counter = Counter {
    rule: Rule { id: "fitness/memory-uncorrected", axis: Axis::Fitness, source: EDAC },
    key: ReadingKey::MemoryUncorrectedErrors,
    limits: |policy| policy.memory.uncorrected_errors,
    what: "memory errors that could not be corrected",
    always_there: false,
    untried: Untried::UnknownIfCounted,
};
/// F20: few that were corrected.
const CORRECTED: Counter = Counter {
    rule: Rule { id: "fitness/memory-corrected", axis: Axis::Fitness, source: EDAC },
    key: ReadingKey::MemoryCorrectedErrors,
    limits: |policy| policy.memory.corrected_errors,
    what: "corrected memory errors",
    always_there: false,
    untried: Untried::UnknownIfCounted,
};
/// F21: no memory taken out of use.
const POISONED: Counter = Counter {
    rule: Rule {
        id: "fitness/memory-poisoned",
        axis: Axis::Fitness,
        source: "Linux hwpoison: HardwareCorrupted in /proc/meminfo",
    },
    key: ReadingKey::MemoryPoisonedBytes,
    limits: |policy| policy.memory.poisoned_bytes,
    what: "bytes of memory taken out of use because of errors",
    always_there: false,
    untried: Untried::UnknownIfCounted,
};
/// F22: the memory test found nothing.
const TEST: Counter = Counter {
    rule: Rule {
        id: "fitness/memory-test",
        axis: Axis::Fitness,
        source: "the memory test of this run; policy: memory.test_errors",
    },
    key: ReadingKey::MemoryTestErrors,
    limits: |policy| policy.memory.test_errors,
    what: "words of memory that did not read back as written",
    always_there: false,
    untried: Untried::UnknownIfCounted,
};
/// F23: every expected module is there.
const MODULE_MISSING: Rule = Rule {
    id: "fitness/expected-memory-module",
    axis: Axis::Fitness,
    source: "what the node had when it was approved; policy: memory.module_missing",
};

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    for counter in [&UNCORRECTED, &CORRECTED] {
        let mut subjects = facts.subjects(counter.key);
        subjects.remove(&Subject::Node);
        let nobody_counts = facts.was_tried(&Subject::Node, counter.key)
            && facts.read(&Subject::Node, counter.key) == Outcome::Absent;
        if nobody_counts {
            subjects.retain(|module| facts.was_tried(module, counter.key));
        }
        // A module that is named but could not be read hides behind no other.
        let by_module = subjects.iter().any(|module| facts.count(module, counter.key).value().is_some());
        if !by_module || counter.key == ReadingKey::MemoryUncorrectedErrors {
            ruled.extend(counter.judge(facts, &Subject::Node));
        }
        ruled.extend(subjects.iter().filter_map(|module| counter.judge(facts, module)));
    }
    for counter in [&POISONED, &TEST] {
        ruled.extend(counter.judge(facts, &Subject::Node));
    }
    expected_modules(facts, ruled);
}

fn expected_modules(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let expected = facts.context.expected_hardware.as_ref();
    let Some(expected) = expected.and_then(|hardware| hardware.memory_modules.as_ref()) else { return };
    let response = facts.thresholds().memory.module_missing;
    let Some(demand) = demanded(response) else { return };
    let modules = match &facts.evidence.inventory.memory_modules {
        Outcome::Value(modules) => modules.as_slice(),
        Outcome::Absent => &[],
        Outcome::Unreadable(why) => {
            let seen = Seen::fact(Subject::Node, why, "all memory modules listed");
            let statement = format!("The memory modules could not be listed: {why}.");
            ruled.push(MODULE_MISSING.unknown(if_lost(facts, response), seen, statement));
            return;
        }
    };
    for locator in expected.iter().filter(|locator| !modules.iter().any(|module| &module.locator == *locator))
    {
        let seen = Seen::fact(Subject::MemoryModule(locator.clone()), "missing", "present");
        let statement = format!("Memory module {locator} is missing.");
        ruled.push(MODULE_MISSING.found(demand, seen, statement));
    }
    for module in modules.iter().filter(|module| !expected.contains(&module.locator)) {
        let subject = Subject::MemoryModule(module.locator.clone());
        let seen = Seen::fact(subject, "present", "only modules that the node was approved with");
        let statement = format!("Memory module {} is new to this node.", module.locator);
        ruled.push(MODULE_MISSING.found(Demand::Watch, seen, statement));
    }
}
