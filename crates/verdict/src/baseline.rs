//! Which counters later looks are compared with, and from when on.
//!
//! A counter of a part (the subject holds its serial) gets its first baseline at a look that ends in nothing
//! worse than watch, or when a person finds the node right. It is renewed when it is older than
//! [`BASELINE_AGE_MILLIS`] and nothing was found against it. What was found stays found until a person has
//! looked, or the part is another: a baseline is never moved over a finding.

use contract::assignment::Baseline;
use contract::decision::{Decision, Fitness, Severity};
use contract::evidence::Evidence;
use contract::id::UnixMillis;
use contract::reading::{Counting, Reading, ReadingValue};

use crate::policy::Policy;

/// ours: a day's change is large enough to be a rate and small enough to be of now.
pub const BASELINE_AGE_MILLIS: u64 = 86_400_000;

/// The baselines after a look. What the look did not show stays as it was: the part may be back tomorrow.
#[must_use]
pub fn next(
    previous: &[Baseline],
    evidence: &Evidence,
    decision: &Decision,
    accepted_by_person: bool,
    _policy: &Policy,
    now: UnixMillis,
) -> Vec<Baseline> {
    // What is to be written on its disks says nothing of what its parts count.
    let well = decision.fitness <= Fitness::Watch;
    let mut next = previous.to_vec();
    for reading in &evidence.readings {
        let Some(seen) = counter(reading, now) else { continue };
        let same = |old: &Baseline| old.subject == seen.subject && old.key == seen.key;
        let found = found_against(decision, &seen);
        match next.iter_mut().find(|old| same(old)) {
            Some(old)
                if accepted_by_person
                    || (!found && now.millis_since(old.observed_at) > BASELINE_AGE_MILLIS) =>
            {
                *old = seen;
            }
            Some(_) => {}
            None if accepted_by_person || (well && !found) => next.push(seen),
            None => {}
        }
    }
    next.sort_by(|a, b| (&a.subject, a.key).cmp(&(&b.subject, b.key)));
    next
}

fn counter(reading: &Reading, now: UnixMillis) -> Option<Baseline> {
    let (ReadingValue::Count(count), true) =
        (reading.outcome.value()?, reading.key.counting() != Counting::Present)
    else {
        return None;
    };
    Some(Baseline {
        subject: reading.subject.clone(),
        key: reading.key,
        count: *count,
        boot_id: reading.boot_id,
        // A machine's clock that runs ahead must not keep its baselines young.
        observed_at: reading.observed_at.min(now),
    })
}

fn found_against(decision: &Decision, seen: &Baseline) -> bool {
    decision.findings.iter().any(|finding| {
        finding.severity > Severity::Good && finding.key == Some(seen.key) && finding.subject == seen.subject
    })
}
