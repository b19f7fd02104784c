//! F62: signs of a failing hard disk that come together.
//!
//! One of the attributes alone is a weak word: Backblaze saw each on 0.2 % to 1.1 % of healthy disks, so that of
//! the disks with one of them fewer than half fail. Two together are hardly ever seen on a healthy disk: of the
//! failed ones with any sign about three in four had two of these four, and if healthy disks showed them
//! independently, one in five thousand would. So one is watched until it is large (the limits of the counters),
//! and several are a reason by themselves.
//!
//! At least one must be new since the node was last found right: what a person has seen and accepted is watched.
//! What cannot be read is not counted here: the counters' own rules are at their most cautious then.

use contract::decision::Axis;
use contract::inventory::DiskFacts;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;

const TOGETHER: Rule = Rule {
    id: "fitness/disk-signs-together",
    axis: Axis::Fitness,
    source: "Backblaze 2016: shares of failed and healthy disks with each attribute; policy: disks.signs_together",
};

/// The attributes, and what they are called.
const SIGNS: [(ReadingKey, &str); 4] = [
    (ReadingKey::AtaReallocatedSectors, "sectors reallocated"),
    (ReadingKey::AtaReportedUncorrectable, "uncorrectable errors"),
    (ReadingKey::AtaPendingSectors, "sectors pending"),
    (ReadingKey::AtaOfflineUncorrectable, "sectors uncorrectable offline"),
];

/// The finding about a disk; none where no sign is there or none is new.
pub(super) fn judge(facts: &Facts<'_>, disk: &DiskFacts) -> Option<Ruled> {
    let subject = Subject::Disk(disk.id.clone());
    let mut new = false;
    let mut shown: Vec<&str> = Vec::new();
    for (key, what) in SIGNS {
        let Outcome::Value(change) = facts.change(&subject, key) else { continue };
        new |= change.count > 0;
        if change.total > 0 {
            shown.push(what);
        }
    }
    if !new {
        return None;
    }
    let limits = facts.thresholds().disks.signs_together;
    let count = shown.len() as u64;
    let above = |limit: Option<u64>| limit.is_some_and(|limit| count > limit);
    let demand = if above(limits.quarantine_above) {
        Demand::Quarantine
    } else if above(limits.watch_above) {
        Demand::Watch
    } else {
        return None;
    };
    let threshold =
        limits.quarantine_above.map_or("none set".to_owned(), |most| format!("at most {most} of 4"));
    let statement =
        format!("Disk {} shows {count} signs of failing together: {}.", disk.id, shown.join(", "));
    Some(TOGETHER.found(demand, Seen::fact(subject, format!("{count} signs"), threshold), statement))
}
