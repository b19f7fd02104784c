//! Which counters later looks are compared with, and from when on.
//!
//! A counter of a part (the subject holds its serial) gets its first baseline at a look that ends in nothing
//! worse than watch, or when a person finds the node right. It is renewed when it is older than
//! `evidence.baseline_age_seconds` and nothing was found against it. What was found stays found until a person
//! has looked, or the part is another: a baseline is never moved over a finding.
//!
//! What a look does not show stays as it was: the part may be back tomorrow, and the ramdisk has no driver for
//! some. When a person has found the node right, parts that are gone from among others of their kind are
//! forgotten, or they would be missed for ever.

use std::cmp::Ordering;
use std::mem::discriminant;

use contract::assignment::Baseline;
use contract::decision::{Finding, Fitness, Severity};
use contract::evidence::Evidence;
use contract::id::UnixMillis;
use contract::reading::{Counting, Reading, ReadingValue};

use crate::policy::Policy;

/// The most baselines that one node has; a server with eight GPUs and sixteen disks has under five hundred.
/// What comes after has none, so all of it counts.
pub const BASELINES_MAX: usize = 4_000;

/// The baselines after a look of which the verdict said this, ordered by subject and key. `now` is the
/// service's time.
#[must_use]
pub fn next(
    previous: &[Baseline],
    evidence: &Evidence,
    (fitness, findings): (Fitness, &[Finding]),
    accepted_by_person: bool,
    policy: &Policy,
    now: UnixMillis,
) -> Vec<Baseline> {
    // What is to be written on its disks says nothing of what its parts count.
    let well = fitness <= Fitness::Watch;
    let age_millis = policy.sections().evidence.baseline_age_seconds.saturating_mul(1000);
    let mut next = previous.to_vec();
    if accepted_by_person {
        next.retain(|baseline| !is_gone(baseline, evidence));
    }
    next.sort_by(by_part);
    let mut added = Vec::new();
    for seen in counters(evidence, policy, now) {
        match next.binary_search_by(|old| by_part(old, &seen)) {
            Ok(at) => {
                let old = &mut next[at];
                let old_enough = now.millis_since(old.observed_at) > age_millis;
                if accepted_by_person || (old_enough && !found_against(findings, &seen)) {
                    *old = seen;
                }
            }
            Err(_) if accepted_by_person || well => added.push(seen),
            Err(_) => {}
        }
    }
    next.extend(added);
    next.sort_by(by_part);
    next.truncate(BASELINES_MAX);
    next
}

fn by_part(a: &Baseline, b: &Baseline) -> Ordering {
    (&a.subject, a.key).cmp(&(&b.subject, b.key))
}

/// What the counters say; of two readings of one counter the smaller, which shows more of what comes.
fn counters(evidence: &Evidence, policy: &Policy, now: UnixMillis) -> Vec<Baseline> {
    let counters = evidence.readings.iter().filter_map(|reading| counter(reading, evidence, policy, now));
    let mut seen: Vec<Baseline> = counters.collect();
    seen.sort_by(by_part);
    seen.dedup_by(|again, first| {
        let same = by_part(again, first).is_eq();
        if same {
            first.count = first.count.min(again.count);
        }
        same
    });
    seen
}

fn counter(reading: &Reading, evidence: &Evidence, policy: &Policy, now: UnixMillis) -> Option<Baseline> {
    let ReadingValue::Count(count) = reading.outcome.value()? else { return None };
    let age_max = policy.sections().evidence.reading_age_max_seconds.saturating_mul(1000);
    let believable =
        reading.boot_id == evidence.boot_id && evidence.taken_at.millis_since(reading.observed_at) <= age_max;
    let counts = reading.key.counting() != Counting::Present;
    (believable && counts).then(|| Baseline {
        subject: reading.subject.clone(),
        key: reading.key,
        count: *count,
        boot_id: reading.boot_id,
        // A clock that runs ahead must not keep baselines young, nor one that stands in the past make much of
        // the time since: both clocks agree, or it was just now.
        observed_at: UnixMillis(reading.observed_at.0.clamp(now.0.saturating_sub(age_max), now.0)),
    })
}

/// Whether the part of a baseline is not shown while others of its kind are.
fn is_gone(baseline: &Baseline, evidence: &Evidence) -> bool {
    let kind = discriminant(&baseline.subject);
    let shown = evidence.readings.iter().any(|reading| reading.subject == baseline.subject);
    let others_shown = evidence.readings.iter().any(|reading| {
        reading.key == baseline.key
            && discriminant(&reading.subject) == kind
            && reading.outcome.value().is_some()
    });
    !shown && others_shown
}

fn found_against(findings: &[Finding], seen: &Baseline) -> bool {
    findings.iter().any(|finding| {
        finding.severity > Severity::Good && finding.key == Some(seen.key) && finding.subject == seen.subject
    })
}

#[cfg(test)]
mod tests {
    use contract::decision::Decision;
    use contract::id::BootId;
    use contract::reading::{Outcome, ReadingKey, Subject};
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Case, DATA_DISK, NOW, disk_subject};

    const KEY: ReadingKey = ReadingKey::AtaReallocatedSectors;
    const DAY_MILLIS: u64 = 86_400_000;

    fn baseline(count: u64, age_millis: u64) -> Baseline {
        Baseline {
            subject: disk_subject(DATA_DISK),
            key: KEY,
            count,
            boot_id: BootId(Uuid::from_u128(77)),
            observed_at: UnixMillis(NOW.0 - age_millis),
        }
    }

    fn said(decision: &Decision) -> (Fitness, &[Finding]) {
        (decision.fitness, &decision.findings)
    }

    /// The baseline of the counter after a look that showed `count`.
    fn after(previous: &[Baseline], count: u64, accepted: bool) -> Option<Baseline> {
        let case = Case::healthy().count(disk_subject(DATA_DISK), KEY, count);
        let case = case.context(|context| context.baselines = previous.to_vec());
        let decision = case.judge();
        let next = next(previous, &case.evidence, said(&decision), accepted, &case.policy, NOW);
        next.into_iter().find(|baseline| baseline.key == KEY)
    }

    fn count_after(previous: &[Baseline], count: u64, accepted: bool) -> Option<u64> {
        after(previous, count, accepted).map(|baseline| baseline.count)
    }

    #[test]
    fn the_first_look_that_is_not_worse_than_watch_gives_a_baseline() {
        assert_eq!(count_after(&[], 0, false), Some(0));
        assert_eq!(count_after(&[], 260, false), Some(260), "watched");
        assert_eq!(count_after(&[], 261, false), None, "taken out");
        assert_eq!(count_after(&[], 261, true), Some(261), "a person has looked");
    }

    #[test]
    fn a_baseline_is_renewed_when_it_is_old_and_never_over_a_finding() {
        let (old, young) = ([baseline(5, DAY_MILLIS + 1)], [baseline(5, DAY_MILLIS)]);
        assert_eq!(after(&old, 5, false).unwrap().observed_at, NOW);
        assert_eq!(after(&young, 5, false).unwrap().observed_at.0, NOW.0 - DAY_MILLIS);
        for found in [6, 5 + 17, 4] {
            assert_eq!(count_after(&old, found, false), Some(5), "{found}");
            assert_eq!(count_after(&old, found, true), Some(found), "{found}");
        }
        // One a day is not forgotten day by day.
        let mut kept = vec![baseline(0, 3 * DAY_MILLIS)];
        for day in 1..=3 {
            kept = after(&kept, day, false).into_iter().collect();
        }
        assert_eq!(kept[0].count, 0);
    }

    #[test]
    fn a_baseline_is_of_what_can_be_believed() {
        let previous = [];
        let case = Case::healthy().count(disk_subject(DATA_DISK), KEY, 3);
        let decision = case.judge();
        let of = |case: &Case, now| {
            let all = next(&previous, &case.evidence, said(&decision), false, &case.policy, now);
            all.into_iter().find(|baseline| baseline.key == KEY)
        };
        let change = |change: &dyn Fn(&mut Reading)| {
            let mut case = case.clone();
            case.evidence.readings.iter_mut().filter(|reading| reading.key == KEY).for_each(change);
            case
        };
        assert_eq!(of(&case, NOW).unwrap().count, 3);
        assert_eq!(of(&change(&|reading| reading.boot_id = BootId(Uuid::from_u128(9))), NOW), None);
        assert_eq!(of(&change(&|reading| reading.observed_at.0 -= 2 * DAY_MILLIS), NOW), None);
        assert_eq!(of(&change(&|reading| reading.outcome = Outcome::Absent), NOW), None);
        let ahead = of(&change(&|reading| reading.observed_at.0 += DAY_MILLIS), NOW).unwrap();
        assert_eq!(ahead.observed_at, NOW);
        let behind = of(&case, UnixMillis(NOW.0 + 40 * DAY_MILLIS)).unwrap();
        assert_eq!(behind.observed_at.0, NOW.0 + 39 * DAY_MILLIS, "a clock that is far behind makes no time");
        let mut twice = case.clone();
        let mut second = twice.evidence.readings.iter().find(|reading| reading.key == KEY).unwrap().clone();
        second.outcome = Outcome::Value(ReadingValue::Count(1));
        twice.evidence.readings.push(second);
        assert_eq!(of(&twice, NOW).unwrap().count, 1);
        assert!(
            next(&previous, &case.evidence, said(&decision), false, &case.policy, NOW)
                .iter()
                .all(|baseline| { baseline.key.counting() != Counting::Present })
        );
    }

    #[test]
    fn what_is_not_shown_is_kept_and_forgotten_only_by_a_person_who_saw_others() {
        let module = |name: &str| Subject::MemoryModule(name.to_owned());
        let key = ReadingKey::MemoryCorrectedErrors;
        let previous = ["A", "B"].map(|name| Baseline { subject: module(name), key, ..baseline(1, 0) });
        let left = |case: &Case, accepted| {
            let all = next(&previous, &case.evidence, said(&case.judge()), accepted, &case.policy, NOW);
            all.iter().filter(|baseline| baseline.key == key).count()
        };
        let none_shown = Case::healthy();
        let one_shown = Case::healthy().count(module("A"), key, 1);
        assert_eq!(left(&none_shown, false), 2);
        assert_eq!(left(&none_shown, true), 2, "the ramdisk has no driver");
        assert_eq!(left(&one_shown, false), 2);
        assert_eq!(left(&one_shown, true), 1, "a module was taken out, and a person released the node");
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let mut case = Case::healthy();
        for slot in 0..BASELINES_MAX + 10 {
            let subject = Subject::PciDevice(format!("{slot:05}"));
            let template = case.evidence.readings[0].clone();
            let outcome = Outcome::Value(ReadingValue::Count(0));
            let key = ReadingKey::PcieFatalErrors;
            case.evidence.readings.push(Reading { subject, key, outcome, ..template });
        }
        let decision = Case::healthy().judge();
        assert_eq!(next(&[], &case.evidence, said(&decision), false, &case.policy, NOW).len(), BASELINES_MAX);
    }
}
