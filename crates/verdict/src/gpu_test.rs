//! What came of working the GPUs, put together from the look that saw it, so that a look that cannot see it is
//! judged with it too: GPUs are worked in the running system, and a burn-in is judged in the ramdisk.

use std::collections::BTreeSet;

use contract::evidence::Evidence;
use contract::gpu_test::GpuTest;
use contract::inventory::GpuFacts;
use contract::reading::{Outcome, Reading, ReadingKey, ReadingValue, Subject};

use crate::forecast::parts::name;

/// No machine has more; what is more counts as not tested.
pub const GPUS_MAX: usize = 64;
/// The readings of a test.
pub const KEYS: [ReadingKey; 4] = [
    ReadingKey::GpuTestErrors,
    ReadingKey::GpuMemoryTestErrors,
    ReadingKey::GpuAnswers,
    ReadingKey::GpuMemoryMegabytes,
];

/// The GPUs that a look tested, or tried to, ordered by id.
#[must_use]
pub fn tested(evidence: &Evidence) -> Vec<GpuTest> {
    let readings = evidence.readings.iter().filter(|reading| KEYS.contains(&reading.key));
    let ids: BTreeSet<&String> = readings.filter_map(gpu_of).collect();
    ids.into_iter().take(GPUS_MAX).map(|id| one(evidence, id)).collect()
}

/// What is known after another test: the newer of each GPU, but for errors that were counted, which stay until a
/// person has looked.
#[must_use]
pub fn merged(before: &[GpuTest], newer: Vec<GpuTest>) -> Vec<GpuTest> {
    let has_errors = |test: &GpuTest| {
        let errors = [&test.wrong_answers, &test.memory_errors];
        errors.into_iter().any(|errors| errors.value().is_some_and(|count| *count > 0))
    };
    let renewed = |test: &GpuTest| !has_errors(test) && newer.iter().any(|one| one.gpu == test.gpu);
    let mut merged: Vec<GpuTest> = before.iter().filter(|test| !renewed(test)).cloned().collect();
    for test in newer {
        if !merged.iter().any(|one| one.gpu == test.gpu) {
            merged.push(test);
        }
    }
    merged.sort_by(|a, b| a.gpu.cmp(&b.gpu));
    merged.truncate(GPUS_MAX);
    merged
}

fn gpu_of(reading: &Reading) -> Option<&String> {
    match &reading.subject {
        Subject::Gpu(id) => Some(id),
        _ => None,
    }
}

fn one(evidence: &Evidence, id: &str) -> GpuTest {
    let gpus = evidence.inventory.gpus.value().map_or(&[][..], Vec::as_slice);
    let facts: Option<&GpuFacts> = gpus.iter().find(|gpu| gpu.id == id);
    GpuTest {
        gpu: id.to_owned(),
        pci_address: facts.map(|gpu| gpu.pci_address.clone()).unwrap_or_default(),
        hardware_model: facts.map(|gpu| name(&gpu.model).to_owned()).unwrap_or_default(),
        wrong_answers: count(evidence, id, ReadingKey::GpuTestErrors),
        memory_errors: count(evidence, id, ReadingKey::GpuMemoryTestErrors),
        answers: count(evidence, id, ReadingKey::GpuAnswers),
        memory_megabytes: count(evidence, id, ReadingKey::GpuMemoryMegabytes),
    }
}

/// A count of this boot. Of several the worst: errors that were counted, then what is unknown, then the most
/// errors, or the lowest rate.
fn count(evidence: &Evidence, id: &str, key: ReadingKey) -> Outcome<u64> {
    let all = evidence.readings.iter();
    let readings = all.filter(|one| one.key == key && gpu_of(one).is_some_and(|gpu| gpu == id));
    let outcomes = readings.map(|reading| match &reading.outcome {
        _ if reading.boot_id != evidence.boot_id => {
            Outcome::Unreadable(format!("{key} was read in another boot"))
        }
        Outcome::Value(ReadingValue::Count(count)) => Outcome::Value(*count),
        Outcome::Value(_) => Outcome::Unreadable(format!("{key} is not a count")),
        Outcome::Absent => Outcome::Unreadable(format!("{key} was not measured")),
        Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
    });
    let is_rate = crate::peers::is_gpu_rate(key);
    let worse = |one, other| match (one, other) {
        (Outcome::Value(one), Outcome::Value(other)) if is_rate => Outcome::Value(std::cmp::min(one, other)),
        (Outcome::Value(one), Outcome::Value(other)) => Outcome::Value(std::cmp::max(one, other)),
        (Outcome::Value(errors), _) | (_, Outcome::Value(errors)) if !is_rate && errors > 0 => {
            Outcome::Value(errors)
        }
        (Outcome::Value(_), lost) | (lost, _) => lost,
    };
    outcomes.reduce(worse).unwrap_or_else(|| Outcome::Unreadable(format!("{key} was not read")))
}

#[cfg(test)]
mod tests;
