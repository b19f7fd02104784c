//! What rules look at: evidence, the service's facts, policy and time, with hostile readings sorted out.

use std::collections::BTreeSet;

use contract::assignment::{Baseline, Floor, NodeContext};
use contract::evidence::Evidence;
use contract::id::UnixMillis;
use contract::inventory::DiskFacts;
use contract::reading::{LIST_ITEMS_MAX, Outcome, Reading, ReadingKey, ReadingValue, Subject, Trust};

use crate::policy::{Policy, Sections};

/// Everything a verdict depends on.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub evidence: &'a Evidence,
    pub context: &'a NodeContext,
    pub policy: &'a Policy,
    pub now: UnixMillis,
    /// The readings stand in the order of [`Evidence::sort`], so that one of them is found without going through
    /// all. What a machine sends need not.
    in_order: bool,
    /// So do the baselines.
    baselines_in_order: bool,
}

/// A list as it was read: the items that were kept, and how many there are in all.
pub(crate) struct Listed {
    pub items: Vec<String>,
    pub total: u64,
}

impl<'a> Facts<'a> {
    pub fn of(evidence: &'a Evidence, context: &'a NodeContext, policy: &'a Policy, now: UnixMillis) -> Self {
        let in_order = evidence.readings.is_sorted_by_key(|reading| (&reading.subject, reading.key));
        let baselines_in_order =
            context.baselines.is_sorted_by_key(|baseline| (&baseline.subject, baseline.key));
        Self { evidence, context, policy, now, in_order, baselines_in_order }
    }

    pub fn thresholds(&self) -> &'a Sections {
        self.policy.sections()
    }

    /// Whether the run as a whole can be believed as much as a network-booted ramdisk.
    pub fn in_ramdisk(&self) -> bool {
        self.evidence.trust >= Trust::Ramdisk
    }

    /// Whether the disks are to be sanitized and nothing is installed on them.
    pub fn leaves_empty(&self) -> bool {
        self.context.floor == Some(Floor::Empty)
    }

    /// How far a reading can be believed: no further than itself and no further than its run; several
    /// readings of one thing no further than the weakest.
    pub fn trust_of(&self, subject: &Subject, key: ReadingKey) -> Option<Trust> {
        self.readings_of(subject, key).map(|reading| reading.trust.min(self.evidence.trust)).min()
    }

    /// Whether anybody looked and found something, or could not look; `Absent` and untried are neither.
    pub fn concerns(&self, subject: &Subject, key: ReadingKey) -> bool {
        self.readings_of(subject, key).any(|reading| reading.outcome != Outcome::Absent)
    }

    /// Whether anybody looked at all, whatever came of it.
    pub fn was_tried(&self, subject: &Subject, key: ReadingKey) -> bool {
        self.readings_of(subject, key).next().is_some()
    }

    /// All that anybody read `key` of, or that had it when the node was last found right.
    pub fn subjects(&self, key: ReadingKey) -> BTreeSet<Subject> {
        let read = self.evidence.readings.iter().filter(|reading| reading.key == key);
        let counted = self.context.baselines.iter().filter(|baseline| baseline.key == key);
        read.map(|reading| &reading.subject)
            .chain(counted.map(|baseline| &baseline.subject))
            .cloned()
            .collect()
    }

    /// When `key` of `subject` was read; the earliest of several.
    pub fn observed_at(&self, subject: &Subject, key: ReadingKey) -> Option<UnixMillis> {
        self.readings_of(subject, key).map(|reading| reading.observed_at).min()
    }

    fn readings_of(&self, subject: &Subject, key: ReadingKey) -> impl Iterator<Item = &'a Reading> {
        let all = &self.evidence.readings;
        let part = around(all, self.in_order, (subject, key), |one| (&one.subject, one.key));
        part.iter().filter(move |reading| reading.key == key && &reading.subject == subject)
    }

    /// What a counter of a part said when it was last found right.
    pub fn baselines_of(&self, subject: &Subject, key: ReadingKey) -> impl Iterator<Item = &'a Baseline> {
        let all = &self.context.baselines;
        let part = around(all, self.baselines_in_order, (subject, key), |one| (&one.subject, one.key));
        part.iter().filter(move |baseline| baseline.key == key && &baseline.subject == subject)
    }

    /// The outcome of `key` about `subject`. Not tried, of another boot and too old are all unreadable.
    /// Probes may look at the same thing in different ways; the worst of what they saw counts.
    pub fn read(&self, subject: &Subject, key: ReadingKey) -> Outcome<ReadingValue> {
        let outcomes = self.readings_of(subject, key).map(|reading| self.believable(reading));
        outcomes
            .reduce(|one, other| worse(key, one, other))
            .unwrap_or_else(|| Outcome::Unreadable(format!("{key} was not read")))
    }

    pub(crate) fn believable(&self, reading: &Reading) -> Outcome<ReadingValue> {
        let key = reading.key;
        if reading.boot_id != self.evidence.boot_id {
            return Outcome::Unreadable(format!("{key} was read in another boot"));
        }
        let age_seconds = self.evidence.taken_at.millis_since(reading.observed_at) / 1000;
        if age_seconds > self.thresholds().evidence.reading_age_max_seconds {
            return Outcome::Unreadable(format!("{key} was read {age_seconds} s before the run ended"));
        }
        reading.outcome.clone()
    }

    pub fn count(&self, subject: &Subject, key: ReadingKey) -> Outcome<u64> {
        typed(key, self.read(subject, key), "a count", |value| match value {
            ReadingValue::Count(count) => Some(count),
            _ => None,
        })
    }

    pub fn flag(&self, subject: &Subject, key: ReadingKey) -> Outcome<bool> {
        typed(key, self.read(subject, key), "yes or no", |value| match value {
            ReadingValue::Flag(flag) => Some(flag),
            _ => None,
        })
    }

    pub fn text(&self, subject: &Subject, key: ReadingKey) -> Outcome<String> {
        typed(key, self.read(subject, key), "a text", |value| match value {
            ReadingValue::Text(text) => Some(text),
            _ => None,
        })
    }

    pub fn list(&self, subject: &Subject, key: ReadingKey) -> Outcome<Listed> {
        typed(key, self.read(subject, key), "a list that agrees with its total", |value| match value {
            ReadingValue::List { items, total } => {
                let kept = items.len() as u64;
                let consistent = kept == total || (items.len() == LIST_ITEMS_MAX && kept < total);
                consistent.then_some(Listed { items, total })
            }
            _ => None,
        })
    }

    /// The disks; anything but at least one disk with distinct ids is "could not see the disks".
    pub fn disks(&self) -> Result<&'a [DiskFacts], String> {
        let disks = match &self.evidence.inventory.disks {
            Outcome::Value(disks) if disks.is_empty() => return Err("no disk was found".to_owned()),
            Outcome::Value(disks) => disks,
            Outcome::Absent => return Err("no disk was found".to_owned()),
            Outcome::Unreadable(why) => return Err(format!("the disks could not be listed: {why}")),
        };
        let mut ids: Vec<_> = disks.iter().map(|disk| &disk.id).collect();
        ids.sort();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("two disks call themselves {}", pair[0])),
            None => Ok(disks),
        }
    }
}

/// The stretch in which those of one place stand, if all stand in order; else all.
fn around<'a, T>(
    all: &'a [T],
    in_order: bool,
    place: (&Subject, ReadingKey),
    of: impl Fn(&T) -> (&Subject, ReadingKey),
) -> &'a [T] {
    if !in_order {
        return all;
    }
    let from = all.partition_point(|one| of(one) < place);
    let to = all.partition_point(|one| of(one) <= place);
    all.get(from..to).unwrap_or_default()
}

fn typed<T>(
    key: ReadingKey,
    outcome: Outcome<ReadingValue>,
    wanted: &str,
    take: impl FnOnce(ReadingValue) -> Option<T>,
) -> Outcome<T> {
    match outcome {
        Outcome::Value(value) => match take(value) {
            Some(taken) => Outcome::Value(taken),
            None => Outcome::Unreadable(format!("{key} is not {wanted}")),
        },
        Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why),
    }
}

/// The worse of two outcomes about one thing. Unreadable is the worst, as every rule that needs a
/// reading is at its most cautious without it; what contradicts itself is unreadable.
fn worse(key: ReadingKey, one: Outcome<ReadingValue>, other: Outcome<ReadingValue>) -> Outcome<ReadingValue> {
    use ReadingValue::{Count, Flag, List};
    let less_is_worse = matches!(
        key,
        ReadingKey::NvmeAvailableSparePercent
            | ReadingKey::ImageFilesChecked
            | ReadingKey::PcieLinkWidth
            | ReadingKey::PcieLinkMegatransfers
            | ReadingKey::FabricRateMegabits
            | ReadingKey::ProcessorRounds
            | ReadingKey::MemoryBandwidthMegabytes
            | ReadingKey::DiskReadMegabytes
            | ReadingKey::NetworkSendMegabytes
            | ReadingKey::NetworkReceiveMegabytes
            | ReadingKey::GpuAnswers
            | ReadingKey::GpuMemoryMegabytes
    );
    match (one, other) {
        (one, other) if one == other => one,
        (Outcome::Unreadable(why), _) | (_, Outcome::Unreadable(why)) => Outcome::Unreadable(why),
        (Outcome::Value(Count(one)), Outcome::Value(Count(other))) => {
            Outcome::Value(Count(if less_is_worse { one.min(other) } else { one.max(other) }))
        }
        // Every flag there is says that something is wrong.
        (Outcome::Value(Flag(one)), Outcome::Value(Flag(other))) => Outcome::Value(Flag(one || other)),
        (Outcome::Value(List { items: mut all, total }), Outcome::Value(List { items, total: more })) => {
            all.extend(items);
            all.truncate(LIST_ITEMS_MAX);
            Outcome::Value(List { items: all, total: total.saturating_add(more) })
        }
        _ => Outcome::Unreadable(format!("{key} was reported twice, and the two contradict each other")),
    }
}
