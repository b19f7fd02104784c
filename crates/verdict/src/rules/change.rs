//! How much a counter has changed since the node was last found right.
//!
//! A count over the life of a disk says what once was; the change says what is. So *Life* and *Boot*
//! counters ([`Counting`]) are judged by their change against `NodeContext::baselines`:
//!
//! | baseline | change |
//! |---|---|
//! | none | all of it: nobody knows since when |
//! | counter went backwards | all of it: somebody reset it, or the part is another |
//! | *Life*, or *Boot* in the same boot | now minus then |
//! | *Boot* in another boot | all of it |
//!
//! A rate is the change over the time since the baseline, which counts as no shorter than the hours that the
//! limit is about: ten errors within a minute are ten errors a day until a day has shown more. Where all of a
//! counter is new, nobody knows how fast it came, and it counts as having come within those hours. A clock
//! that jumped back makes the time short, never long, so it makes no rate smaller.
//!
//! From the baseline upwards more is never less; losing the baseline never makes a change or a rate smaller.

use contract::assignment::Baseline;
use contract::id::UnixMillis;
use contract::reading::{Counting, Outcome, ReadingKey, Subject};

use crate::civil::day;
use crate::facts::Facts;

const HOUR_MILLIS: u64 = 3_600_000;

/// What a change was measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// Nothing: the number is judged as it stands.
    Present,
    /// Nothing: there is no baseline.
    Unknown,
    /// The baseline of this time.
    Earlier(UnixMillis),
    /// The beginning of this boot, which is later than the baseline.
    ThisBoot,
    /// Zero: the counter said this much at this time, and says less now.
    Reset(u64, UnixMillis),
}

/// A counter, and how much of it is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// How much is new.
    pub count: u64,
    /// What the counter says.
    pub total: u64,
    /// Since when.
    pub against: Against,
    /// How long that took, at the least.
    elapsed_millis: u64,
}

impl Change {
    /// How much of the change falls on so many hours, rounded up. No time shorter than that is counted.
    pub fn within_hours(&self, hours: u64) -> u64 {
        let window = u128::from(hours.max(1).saturating_mul(HOUR_MILLIS));
        let elapsed = u128::from(self.elapsed_millis).max(window);
        let rate = (u128::from(self.count) * window).div_ceil(elapsed);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// Behind a number and what it counts: since when, and how many there are in all.
    pub fn since(&self) -> String {
        let total = self.total;
        match self.against {
            _ if total == 0 => String::new(),
            Against::Present => String::new(),
            Against::Unknown => ", and nothing earlier to compare with".to_owned(),
            Against::Earlier(then) => format!(" since {} ({total} in all)", day(then)),
            Against::ThisBoot => " in this boot".to_owned(),
            Against::Reset(before, then) => {
                format!(" since the count began anew (it was {before} on {})", day(then))
            }
        }
    }
}

impl Facts<'_> {
    /// What a counter says and how much of it is new.
    pub fn change(&self, subject: &Subject, key: ReadingKey) -> Outcome<Change> {
        self.count(subject, key).map(|total| self.changed(subject, key, total))
    }

    /// Whether this counter was there when the node was last found right.
    pub fn was_counted(&self, subject: &Subject, key: ReadingKey) -> bool {
        self.baselines_of(subject, key).next().is_some()
    }

    fn changed(&self, subject: &Subject, key: ReadingKey, total: u64) -> Change {
        let whole = |against| Change { count: total, total, against, elapsed_millis: 0 };
        if key.counting() == Counting::Present {
            return whole(Against::Present);
        }
        // Whichever clock says that less time has passed.
        let observed_at = self.observed_at(subject, key).unwrap_or(self.now).min(self.now);
        let against = |baseline: &Baseline| {
            let elapsed_millis = observed_at.millis_since(baseline.observed_at);
            let then = baseline.observed_at;
            let same_boot = baseline.boot_id == self.evidence.boot_id;
            if key.counting() == Counting::Boot && !same_boot {
                whole(Against::ThisBoot)
            } else if total < baseline.count {
                whole(Against::Reset(baseline.count, then))
            } else {
                let count = total - baseline.count;
                Change { count, total, against: Against::Earlier(then), elapsed_millis }
            }
        };
        // There is one baseline of a counter; were there more, the one that shows most would count.
        let most = |change: &Change| (change.count, std::cmp::Reverse(change.elapsed_millis));
        self.baselines_of(subject, key).map(against).max_by_key(most).unwrap_or(whole(Against::Unknown))
    }
}

#[cfg(test)]
mod tests {
    use contract::id::BootId;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Case, DATA_DISK, NOW, disk_subject};

    const LIFE: ReadingKey = ReadingKey::NvmeMediaErrors;
    const BOOT: ReadingKey = ReadingKey::MemoryCorrectedErrors;

    /// The change of a counter that says `now`, and said `then` so many hours ago.
    fn change(key: ReadingKey, now: u64, then: Option<(u64, i64)>, same_boot: bool) -> Change {
        let subject = if key == LIFE { disk_subject(DATA_DISK) } else { Subject::Node };
        let case = Case::healthy().count(subject.clone(), key, now).context(|context| {
            let boot_id = BootId(Uuid::from_u128(if same_boot { 2 } else { 77 }));
            context.baselines = then
                .map(|(count, hours_ago)| Baseline {
                    subject: subject.clone(),
                    key,
                    count,
                    boot_id,
                    observed_at: UnixMillis(NOW.0.saturating_add_signed(-hours_ago * 3_600_000)),
                })
                .into_iter()
                .collect();
        });
        let facts = Facts::of(&case.evidence, &case.context, &case.policy, case.now);
        facts.change(&subject, key).value().copied().unwrap()
    }

    #[test]
    fn what_is_new_of_a_counter() {
        for (name, key, now, then, same_boot, expected) in [
            ("no baseline", LIFE, 17, None, true, 17),
            ("life, nothing new", LIFE, 17, Some((17, 24)), true, 0),
            ("life, three new", LIFE, 17, Some((14, 24)), true, 3),
            ("life, another boot", LIFE, 17, Some((14, 24)), false, 3),
            ("life, backwards", LIFE, 9, Some((14, 24)), true, 9),
            ("boot, same boot", BOOT, 17, Some((14, 24)), true, 3),
            ("boot, another boot", BOOT, 17, Some((14, 24)), false, 17),
            ("boot, backwards in the same boot", BOOT, 9, Some((14, 24)), true, 9),
            ("as much as there is", LIFE, u64::MAX, Some((0, 24)), true, u64::MAX),
        ] {
            assert_eq!(change(key, now, then, same_boot).count, expected, "{name}");
        }
    }

    #[test]
    fn a_rate_is_over_the_time_that_passed_and_no_less_than_its_own_hours() {
        let rate = |now, hours_ago, hours| change(BOOT, now, Some((0, hours_ago)), true).within_hours(hours);
        assert_eq!(rate(48, 48, 24), 24);
        assert_eq!(rate(49, 48, 24), 25, "rounded up, so that more than a limit is more");
        assert_eq!(rate(10, 0, 24), 10, "ten within a minute are not thousands a day");
        assert_eq!(rate(10, -5, 24), 10, "a clock that jumped back makes no time");
        assert_eq!(rate(100, 10, 1), 10);
        assert_eq!(rate(u64::MAX, 0, u64::MAX), u64::MAX);
        assert_eq!(change(BOOT, 240, None, true).within_hours(24), 240);
    }

    #[test]
    fn a_change_says_since_when() {
        let since = |now, then, same_boot| change(BOOT, now, then, same_boot).since();
        assert_eq!(since(17, Some((14, 24)), true), " since 2027-01-14 (17 in all)");
        assert_eq!(since(17, Some((14, 24)), false), " in this boot");
        assert_eq!(since(9, Some((14, 24)), true), " since the count began anew (it was 14 on 2027-01-14)");
        assert_eq!(since(9, None, true), ", and nothing earlier to compare with");
        assert_eq!(since(0, None, true), "");
    }
}
