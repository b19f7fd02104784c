//! Hard rule H8: when many nodes want the same at once, a bad policy, sensor, switch or image is likelier than
//! as many bad machines. So they are held until a person has looked.
//!
//! Pure: the service counts, here is decided. What is counted is in a [`Count`]: how many different nodes of a
//! group wanted the same within the window, the one in question among them, orders and holds alike; and how
//! many nodes the group has. Up to a share of the group, and always up to a least number, they go through.

use contract::blast_radius::{Alike, Group};
use contract::decision::{Action, Axis, Decision};

use crate::policy::Policy;
use crate::rules::operator_rules;

/// How many nodes of one group want the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Among which nodes.
    pub group: Group,
    /// What they want.
    pub alike: Alike,
    /// How many wanted it within the window, this one among them.
    pub wanting: u64,
    /// How many nodes the group has.
    pub nodes: u64,
}

/// More than may go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// What was counted.
    pub count: Count,
    /// How many go through.
    pub most: u64,
    /// Within how many minutes.
    pub window_minutes: u64,
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Count { group, alike, wanting, nodes } = &self.count;
        let (most, minutes) = (self.most, self.window_minutes);
        let what = match alike {
            Alike::Action(_) => format!("want {alike}"),
            Alike::Cause(_) => format!("have {alike}"),
        };
        write!(f, "{wanting} of {nodes} nodes of {group} {what} within {minutes} minutes, more than {most}")
    }
}

/// Whether many that want this at once are held back. Keep and a deeper look take nothing from anybody.
#[must_use]
pub fn counts(action: Action) -> bool {
    match action {
        Action::Keep | Action::LookDeeper => false,
        Action::Repair | Action::Reimage | Action::Wipe | Action::Quarantine => true,
    }
}

/// The rule behind a verdict, if many with the same would be suspicious. What somebody asked for or assigned
/// is the same for many on purpose: another tenant, another image, a floor. A rule of the operator's own stands
/// among the requests, but nobody asked for what it finds: in many at once it is likelier a slip of the pen.
#[must_use]
pub fn cause_of(decision: &Decision) -> Option<String> {
    const ASSIGNED: [&str; 2] = ["integrity/image-installed", "integrity/image-unfinished"];
    let first = decision.reasons.first().filter(|_| counts(decision.action))?;
    match first.axis {
        Axis::Request if first.rule.starts_with(operator_rules::NAMES) => Some(first.rule.clone()),
        Axis::Confidentiality | Axis::Request => None,
        Axis::Integrity if ASSIGNED.contains(&first.rule.as_str()) => None,
        Axis::Integrity | Axis::Fitness => Some(first.rule.clone()),
    }
}

/// The window in which nodes are counted that want the same.
#[must_use]
pub fn window_minutes(policy: &Policy, alike: &Alike) -> u64 {
    let limits = &policy.sections().blast_radius;
    match alike {
        Alike::Action(_) => limits.window_minutes,
        Alike::Cause(_) => limits.cause_window_minutes,
    }
}

/// How many nodes of a group may want the same.
fn most(policy: &Policy, alike: &Alike, nodes: u64) -> u64 {
    let limits = &policy.sections().blast_radius;
    let (share_percent, least) = match alike {
        Alike::Action(_) => (limits.share_percent, limits.nodes_min),
        Alike::Cause(_) => (limits.cause_share_percent, limits.cause_nodes_min),
    };
    // Wider than any count times a hundred, so nothing is cut off.
    let share = u128::from(nodes) * u128::from(share_percent) / 100;
    u64::try_from(share).unwrap_or(u64::MAX).max(least)
}

/// The first of these counts that is more than may go through. Causes explain more than actions do, so they
/// are looked at first.
#[must_use]
pub fn exceeded(policy: &Policy, counted: &[Count]) -> Option<Exceeded> {
    let too_many = |count: &&Count| count.wanting > most(policy, &count.alike, count.nodes);
    let causes = counted.iter().filter(|count| matches!(count.alike, Alike::Cause(_)));
    let actions = counted.iter().filter(|count| matches!(count.alike, Alike::Action(_)));
    causes.chain(actions).find(too_many).map(|count| Exceeded {
        most: most(policy, &count.alike, count.nodes),
        window_minutes: window_minutes(policy, &count.alike),
        count: count.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Case;
    use contract::reading::{ReadingKey, Subject};
    use proptest::prelude::*;

    fn count(alike: Alike, wanting: u64, nodes: u64) -> Count {
        Count { group: Group::Pool("batch".parse().unwrap()), alike, wanting, nodes }
    }

    fn wipes(wanting: u64, nodes: u64) -> Count {
        count(Alike::Action(Action::Wipe), wanting, nodes)
    }

    fn cause(wanting: u64, nodes: u64) -> Count {
        count(Alike::Cause("fitness/nic-link".to_owned()), wanting, nodes)
    }

    #[test]
    fn a_share_goes_through_and_small_pools_work() {
        let policy = Policy::parse("").unwrap();
        let table = [
            (wipes(10, 4), false),
            (wipes(10, 100), false),
            (wipes(11, 100), true),
            (wipes(50, 1000), false),
            (wipes(51, 1000), true),
            (cause(10, 12), false),
            (cause(11, 12), true),
            (cause(500, 1000), false),
            (cause(501, 1000), true),
            // A size that is not known is as small as can be.
            (wipes(11, 0), true),
            (wipes(u64::MAX, u64::MAX), true),
        ];
        for (counted, held) in table {
            assert_eq!(exceeded(&policy, std::slice::from_ref(&counted)).is_some(), held, "{counted:?}");
        }
    }

    #[test]
    fn it_is_said_what_was_counted_and_a_cause_goes_before_an_action() {
        let policy = Policy::parse("").unwrap();
        let found = exceeded(&policy, &[wipes(51, 1000), cause(501, 1000)]).unwrap();
        assert_eq!(
            found.to_string(),
            "501 of 1000 nodes of pool batch have the same cause fitness/nic-link within 5 minutes, more than 500"
        );
        let found = exceeded(&policy, &[cause(500, 1000), wipes(51, 1000)]).unwrap();
        assert_eq!(
            found.to_string(),
            "51 of 1000 nodes of pool batch want wipe within 60 minutes, more than 50"
        );
    }

    #[test]
    fn what_was_asked_for_is_no_cause() {
        let disk = Subject::Disk(crate::testing::OS_DISK.parse().unwrap());
        let failing = Case::healthy().count(disk, ReadingKey::DiskReadErrors, 7).judge();
        assert_eq!(cause_of(&failing).as_deref(), Some("fitness/disk-read-errors"));
        let another = Case::healthy().context(|context| {
            context.assignment.tenant = Some("another".parse().unwrap());
        });
        assert_eq!((another.action(), cause_of(&another.judge())), (Action::Wipe, None));
        assert_eq!(cause_of(&Case::healthy().judge()), None);
    }

    #[test]
    fn a_rule_of_the_operators_own_is_a_cause() {
        for (action, expected) in [
            ("reimage", Some("policy/rule-mine")),
            ("sanitize", Some("policy/rule-mine")),
            ("quarantine", Some("policy/rule-mine")),
            // It takes nothing from anybody.
            ("watch", None),
        ] {
            let text =
                format!("[[rule]]\nname = \"mine\"\nwhen = \"true\"\naction = \"{action}\"\nwhy = \"w\"\n");
            let decision = Case::healthy().resident().policy(&text).judge();
            assert_eq!(cause_of(&decision).as_deref(), expected, "{action}");
        }
    }

    /// Read once: the properties ask for it often.
    static DEFAULT: std::sync::LazyLock<Policy> = std::sync::LazyLock::new(|| Policy::parse("").unwrap());

    proptest! {
        #[test]
        fn more_that_want_it_are_never_let_through_where_fewer_were_held(
            wanting in 0_u64..10_000, more in 0_u64..10_000, nodes in 0_u64..200_000, fewer in 0_u64..200_000,
        ) {
            let smaller = nodes.min(fewer);
            for make in [wipes, cause] {
                if exceeded(&DEFAULT, &[make(wanting, nodes)]).is_some() {
                    prop_assert!(exceeded(&DEFAULT, &[make(wanting + more, nodes)]).is_some());
                    prop_assert!(exceeded(&DEFAULT, &[make(wanting, smaller)]).is_some());
                }
            }
        }
    }
}
