//! Numbers with limits in the policy: one rule each, all judged in one way.
//!
//! What follows from a number that is not there:
//!
//! - unreadable: if the number could have demanded quarantine, `cautious`; if it is only watched, watch;
//! - absent: fine where such a part need not count it;
//! - never tried: an older agent does not know every key, and must not take a fleet out by that. So it
//!   matters where the rule needs it anyway, or where it was counted when the node was last found right.

use contract::reading::{Outcome, ReadingKey, Subject};

use super::change::Change;
use super::fitness::cautious;
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;
use crate::policy::{Limits, Sections};

/// What it means that nobody tried to read a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untried {
    /// As bad as unreadable: every agent reads it.
    Unknown,
    /// As bad as unreadable if it was counted before.
    UnknownIfCounted,
    /// Watched if it was counted before: it needs a driver that the ramdisk does not have, or its part is
    /// known by a place that may change.
    WatchIfCounted,
}

/// A number with limits in the policy.
pub(super) struct Counter {
    pub rule: Rule,
    pub key: ReadingKey,
    pub limits: fn(&Sections) -> Limits,
    /// What is counted, behind the number.
    pub what: &'static str,
    /// `false` if a part that lacks it (`Absent`) is fine.
    pub always_there: bool,
    pub untried: Untried,
}

impl Counter {
    /// The rule's finding about `subject`; none if nobody looks at it there, and need not.
    pub fn judge(&self, facts: &Facts<'_>, subject: &Subject) -> Option<Ruled> {
        self.judge_within(facts, subject, (self.limits)(facts.thresholds()))
    }

    /// As [`Counter::judge`], with limits that depend on the part.
    pub fn judge_within(&self, facts: &Facts<'_>, subject: &Subject, limits: Limits) -> Option<Ruled> {
        let tried = facts.was_tried(subject, self.key);
        let counted = facts.was_counted(subject, self.key);
        if !tried && !counted && self.untried != Untried::Unknown {
            return None;
        }
        let unknown = match limits {
            _ if !tried && self.untried == Untried::WatchIfCounted => Demand::Watch,
            Limits { quarantine_above: Some(_), .. } | Limits { total_quarantine_above: Some(_), .. } => {
                cautious(facts)
            }
            Limits { watch_above: Some(_), .. } | Limits { total_watch_above: Some(_), .. } => Demand::Watch,
            Limits { .. } => Demand::Nothing,
        };
        let threshold = in_words(&limits);
        let seen = |observed: &dyn ToString| {
            Seen::reading(subject.clone(), self.key, observed.to_string(), &threshold)
        };
        let (name, what) = (named(subject), self.what);
        Some(match facts.change(subject, self.key) {
            Outcome::Value(change) => {
                let observed = format!("{}{}", change.count, change.since());
                let statement = format!("{name}: {} {what}{}.", change.count, change.since());
                self.rule.found(demand(&limits, &change), seen(&observed), statement)
            }
            Outcome::Absent if !self.always_there => {
                self.rule.found(Demand::Nothing, seen(&"not kept"), format!("{name} does not count {what}."))
            }
            Outcome::Absent => {
                self.rule.unknown(unknown, seen(&"absent"), format!("{name} has no count of {what}."))
            }
            Outcome::Unreadable(why) => self.rule.unknown(
                unknown,
                seen(&why),
                format!("{name}: the count of {what} could not be read: {why}."),
            ),
        })
    }
}

fn demand(limits: &Limits, change: &Change) -> Demand {
    let new = limits.per_hours.map_or(change.count, |hours| change.within_hours(hours));
    let above = |limit: Option<u64>, count: u64| limit.is_some_and(|limit| count > limit);
    if above(limits.quarantine_above, new) || above(limits.total_quarantine_above, change.total) {
        Demand::Quarantine
    } else if above(limits.watch_above, new) || above(limits.total_watch_above, change.total) {
        Demand::Watch
    } else {
        Demand::Nothing
    }
}

fn in_words(limits: &Limits) -> String {
    let per = limits.per_hours.map_or(String::new(), |hours| format!(" in {hours} h"));
    let new = match (limits.watch_above, limits.quarantine_above) {
        (Some(watch), Some(quarantine)) => {
            Some(format!("at most {watch}{per}; more than {quarantine}{per} is quarantine"))
        }
        (Some(limit), None) | (None, Some(limit)) => Some(format!("at most {limit}{per}")),
        (None, None) => None,
    };
    let total = match (limits.total_watch_above, limits.total_quarantine_above) {
        (Some(watch), Some(quarantine)) => {
            Some(format!("at most {watch} in all; more than {quarantine} in all is quarantine"))
        }
        (Some(limit), None) | (None, Some(limit)) => Some(format!("at most {limit} in all")),
        (None, None) => None,
    };
    match (new, total) {
        (Some(new), Some(total)) => format!("{new}; {total}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "none set".to_owned(),
    }
}

/// A part as a sentence begins with it.
pub(super) fn named(subject: &Subject) -> String {
    match subject {
        Subject::Node => "The node".to_owned(),
        Subject::Nic(mac) => format!("Network interface {mac}"),
        other => {
            let text = other.to_string();
            let mut characters = text.chars();
            characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
        }
    }
}
