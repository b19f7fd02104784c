//! F63: the network between this node and another one that was burned in at the same time; and what a slow one
//! says (F60, in `peers`).
//!
//! Two alone cannot know which of them is slow. With two different partners it is this node; with its only partner
//! it is one of the two (policy: `burn_in.slower_with_one_partner`). Bytes that came otherwise than sent are so
//! wrong that both are taken out, until each was burned in with somebody else. Where nobody was there to test with
//! nothing is found, and what was not seen is said.

use contract::decision::Axis;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::counters::{Counter, Untried};
use super::flags::if_lost;
use super::{Demand, Rule, Ruled, Seen, shortened};
use crate::facts::Facts;
use crate::policy::Response;

/// F63: what goes over the network comes as it was sent.
const TEST: Counter = Counter {
    rule: Rule {
        id: "fitness/network-test",
        axis: Axis::Fitness,
        source: "the network test of this burn-in; policy: burn_in.network_errors",
    },
    key: ReadingKey::NetworkTestErrors,
    limits: |policy| policy.burn_in.network_errors,
    what: "bytes that came over the network otherwise than sent",
    always_there: false,
    untried: Untried::UnknownIfCounted,
};

/// With whom the network was tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Partners {
    /// Looked, and nobody was there, or nobody with as fast a link.
    Nobody,
    /// With one, and what came of it.
    One(String),
    /// With several, and what came of it.
    Several(Vec<String>),
    /// Nobody knows.
    Unknown,
}

impl Partners {
    pub fn of(facts: &Facts<'_>) -> Self {
        match facts.list(&Subject::Node, ReadingKey::NetworkTestPartners) {
            Outcome::Value(list) => match (list.total, list.items.as_slice()) {
                (0, _) => Self::Nobody,
                (1, [one]) => Self::One(one.clone()),
                _ => Self::Several(list.items),
            },
            Outcome::Absent | Outcome::Unreadable(_) => Self::Unknown,
        }
    }

    /// What follows if the network is slower than elsewhere.
    pub fn response(&self, facts: &Facts<'_>) -> Response {
        let policy = &facts.thresholds().burn_in;
        match self {
            Self::One(_) => policy.slower_with_one_partner,
            Self::Nobody | Self::Several(_) | Self::Unknown => policy.slower,
        }
    }

    /// What a statement about the network says of them.
    pub fn said_of(&self, statement: &str) -> String {
        let statement = statement.trim_end_matches('.');
        shortened(&match self {
            Self::Nobody | Self::Unknown => format!("{statement}."),
            Self::One(one) => format!(
                "{statement}; it or its only partner, which another burn-in with somebody else shows ({one})."
            ),
            Self::Several(all) => format!("{statement}, with each of its partners ({}).", all.join("; ")),
        })
    }
}

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let tried = |key| facts.was_tried(&Subject::Node, key);
    if !tried(ReadingKey::NetworkTestErrors) && !tried(ReadingKey::NetworkTestPartners) {
        return;
    }
    let partners = Partners::of(facts);
    ruled.push(match facts.count(&Subject::Node, TEST.key) {
        Outcome::Value(wrong) => {
            let Some(mut found) = TEST.judge(facts, &Subject::Node) else { return };
            if wrong > 0 {
                found.finding.statement = partners.said_of(&found.finding.statement);
            }
            found
        }
        Outcome::Absent if partners == Partners::Nobody => {
            let seen = seen(ReadingKey::NetworkTestPartners, "nobody was there");
            let statement =
                "The network was not tested: no other node of the pool was there that was burned in too.";
            TEST.rule.unknown(Demand::Nothing, seen, statement)
        }
        lost => {
            let why =
                if let Outcome::Unreadable(why) = lost { why } else { "it was not measured".to_owned() };
            let demand = if_lost(facts, facts.thresholds().burn_in.network_untested);
            let statement = format!("The network with another node could not be tested: {why}.");
            TEST.rule.unknown(demand, seen(TEST.key, &why), statement)
        }
    });
}

fn seen(key: ReadingKey, observed: &str) -> Seen {
    Seen::reading(Subject::Node, key, observed, "tested with another node")
}
