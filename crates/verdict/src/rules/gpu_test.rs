//! F71: what a GPU computes is right, and its memory keeps what is written to it.
//!
//! GPUs are worked in the running system; what came of it stands in the evidence of that look, and for the look
//! from the ramdisk, which judges the burn-in, in the service's facts. A GPU that a burn-in sees and that was not
//! tested follows `burn_in.gpu_untested`: a node whose system does not run, or whose GPUs are in use, is no bad
//! one. What was counted counts, whatever else was lost.

use contract::decision::Axis;
use contract::gpu_test::GpuTest;
use contract::inventory::GpuFacts;
use contract::reading::{Outcome, ReadingKey, Subject, Tier};

use super::counters::named;
use super::flags::{demanded, if_lost};
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;
use crate::gpu_test::tested;

/// F71.
const TEST: Rule = Rule {
    id: "fitness/gpu-test",
    axis: Axis::Fitness,
    source: "the test of the GPUs in this burn-in; policy: burn_in.gpu_errors, burn_in.gpu_untested",
};

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let tests = of(facts);
    for test in &tests {
        judge_gpu(facts, test, ruled);
    }
    if in_burn_in(facts) {
        ruled.extend(untested(facts, &tests));
    }
}

/// The tests that this look is judged with: its own, and in a burn-in those of the running system.
pub(super) fn of(facts: &Facts<'_>) -> Vec<GpuTest> {
    let mut tests = tested(facts.evidence);
    if in_burn_in(facts) {
        let own: Vec<String> = tests.iter().map(|test| test.gpu.clone()).collect();
        let told = facts.context.gpu_tests.iter().filter(|test| !own.contains(&test.gpu));
        tests.extend(told.cloned());
    }
    tests
}

fn in_burn_in(facts: &Facts<'_>) -> bool {
    facts.in_ramdisk() && facts.evidence.tier == Tier::T3
}

fn judge_gpu(facts: &Facts<'_>, test: &GpuTest, ruled: &mut Vec<Ruled>) {
    let subject = Subject::Gpu(test.gpu.clone());
    let counted = [
        (ReadingKey::GpuTestErrors, &test.wrong_answers, "known answers wrong"),
        (ReadingKey::GpuMemoryTestErrors, &test.memory_errors, "words of its memory not as written"),
    ];
    let mut said: Option<&str> = None;
    for (key, outcome, what) in counted {
        match outcome {
            Outcome::Value(count) => ruled.push(errors(facts, &subject, key, *count, what)),
            Outcome::Absent => ruled.extend(lost(facts, &subject, Some(key), "it was not measured")),
            // What kept the whole GPU from being tested is said once.
            Outcome::Unreadable(why) if said == Some(why.as_str()) => {}
            Outcome::Unreadable(why) => {
                said = Some(why.as_str());
                ruled.extend(lost(facts, &subject, Some(key), why));
            }
        }
    }
}

fn errors(facts: &Facts<'_>, subject: &Subject, key: ReadingKey, count: u64, what: &str) -> Ruled {
    let limits = facts.thresholds().burn_in.gpu_errors;
    // All of a test is new: what is new and what there is in all are one.
    let above =
        |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).any(|limit| count > limit);
    let demand = if above(limits.quarantine_above, limits.total_quarantine_above) {
        Demand::Quarantine
    } else if above(limits.watch_above, limits.total_watch_above) {
        Demand::Watch
    } else {
        Demand::Nothing
    };
    let seen = Seen::reading(subject.clone(), key, count, "none");
    TEST.found(demand, seen, format!("{}: {count} {what}.", named(subject)))
}

fn lost(facts: &Facts<'_>, subject: &Subject, key: Option<ReadingKey>, why: &str) -> Option<Ruled> {
    let response = facts.thresholds().burn_in.gpu_untested;
    demanded(response)?;
    let (observed, threshold) = (why.to_owned(), "tested".to_owned());
    let seen = Seen { subject: subject.clone(), key, observed, threshold };
    let statement = format!("{} could not be tested: {why}.", named(subject));
    Some(TEST.unknown(if_lost(facts, response), seen, statement))
}

/// The GPUs that this burn-in sees, and that nobody tried to test.
fn untested(facts: &Facts<'_>, tests: &[GpuTest]) -> Vec<Ruled> {
    let was_tried =
        |gpu: &GpuFacts| tests.iter().any(|test| test.gpu == gpu.id || test.pci_address == gpu.pci_address);
    match &facts.evidence.inventory.gpus {
        Outcome::Value(gpus) => {
            let left = gpus.iter().filter(|gpu| !was_tried(gpu));
            let why = "no running system of this node was there to do it, or its agent is too old for it";
            left.filter_map(|gpu| lost(facts, &Subject::Gpu(gpu.id.clone()), None, why)).collect()
        }
        Outcome::Absent => Vec::new(),
        Outcome::Unreadable(why) => {
            let why = format!("the GPUs could not be listed: {why}");
            lost(facts, &Subject::Node, Some(ReadingKey::GpuTestErrors), &why).into_iter().collect()
        }
    }
}
