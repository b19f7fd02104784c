//! Yes or no, and lists of what was reported: one rule each, all judged in one way.
//!
//! The policy says of each what follows: nothing, watch or quarantine. Unreadable is `cautious` where yes
//! would be quarantine, else watch. Absent and never tried say that such a part does not tell; what every
//! agent reads of every machine has its rule elsewhere.

use contract::reading::{Outcome, ReadingKey, Subject};

use super::counters::named;
use super::fitness::cautious;
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;
use crate::policy::{Response, Sections};

/// A reading that says that something is wrong, or that nothing is.
pub(super) struct Flag {
    pub rule: Rule,
    pub key: ReadingKey,
    pub response: fn(&Sections) -> Response,
    /// What is said of the part if it is not so.
    pub good: &'static str,
    /// What is said of the part if it is so.
    pub bad: &'static str,
}

impl Flag {
    /// The rule's finding about `subject`; none if the policy does not care, or the part does not tell.
    pub fn judge(&self, facts: &Facts<'_>, subject: &Subject) -> Option<Ruled> {
        let response = (self.response)(facts.thresholds());
        self.judge_with(facts, subject, if_lost(facts, response))
    }

    /// As [`Flag::judge`], with what follows if it cannot be read.
    pub fn judge_with(&self, facts: &Facts<'_>, subject: &Subject, lost: Demand) -> Option<Ruled> {
        let demand = demanded((self.response)(facts.thresholds()))?;
        if !facts.was_tried(subject, self.key) {
            return None;
        }
        let seen = |observed: &str| Seen::reading(subject.clone(), self.key, observed, "no");
        let name = named(subject);
        Some(match facts.flag(subject, self.key) {
            Outcome::Value(true) => self.rule.found(demand, seen("yes"), format!("{name} {}.", self.bad)),
            Outcome::Value(false) => {
                self.rule.found(Demand::Nothing, seen("no"), format!("{name} {}.", self.good))
            }
            Outcome::Absent => return None,
            Outcome::Unreadable(why) => self.rule.unknown(
                lost.min(if demand == Demand::Watch { Demand::Watch } else { Demand::Quarantine }),
                seen(&why),
                format!("{name}: whether it {} could not be read: {why}.", self.bad),
            ),
        })
    }
}

/// A list of what was reported; the good list is empty.
pub(super) struct Reports {
    pub rule: Rule,
    pub key: ReadingKey,
    pub response: fn(&Sections) -> Response,
    /// What is listed, in the plural.
    pub what: &'static str,
}

impl Reports {
    /// The rule's finding about `subject`; none if the policy does not care, or nobody looks there.
    pub fn judge(&self, facts: &Facts<'_>, subject: &Subject) -> Option<Ruled> {
        let response = (self.response)(facts.thresholds());
        let demand = demanded(response)?;
        if !facts.was_tried(subject, self.key) {
            return None;
        }
        let seen =
            |observed: &dyn ToString| Seen::reading(subject.clone(), self.key, observed.to_string(), "none");
        let (name, what) = (named(subject), self.what);
        Some(match facts.list(subject, self.key) {
            Outcome::Value(list) if list.total == 0 => {
                self.rule.found(Demand::Nothing, seen(&0), format!("{name}: no {what}."))
            }
            Outcome::Value(list) => {
                let first = list.items.first().map_or("", String::as_str);
                let statement = format!("{name}: {} {what}, such as: {first}.", list.total);
                self.rule.found(demand, seen(&list.total), statement)
            }
            Outcome::Absent => return None,
            Outcome::Unreadable(why) => self.rule.unknown(
                if_lost(facts, response),
                seen(&why),
                format!("{name}: {what} could not be looked for: {why}."),
            ),
        })
    }
}

/// What the policy's word demands; none if it does not care.
pub(super) fn demanded(response: Response) -> Option<Demand> {
    match response {
        Response::Ignore => None,
        Response::Watch => Some(Demand::Watch),
        Response::Quarantine => Some(Demand::Quarantine),
    }
}

/// What follows if what the policy has this word for could not be read.
pub(super) fn if_lost(facts: &Facts<'_>, response: Response) -> Demand {
    match response {
        Response::Ignore => Demand::Nothing,
        Response::Watch => Demand::Watch,
        Response::Quarantine => cautious(facts),
    }
}
