//! When many nodes want the same at once: what is counted, and how a person lets it go on. Beside
//! [`crate::operator_api`], with the same bearer.
//!
//! | call | carries |
//! |---|---|
//! | `GET /v1/blast-radius` | open incidents and the newest that are closed, at most 100 → list of [`IncidentView`] |
//! | `POST /v1/blast-radius/ID/release` | [`ReleaseRequest`] → [`IncidentView`] |

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::decision::Action;
use crate::id::{IncidentId, NodeId, PoolName, RackName, UnixMillis};

/// Nodes that share something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "group", content = "name")]
pub enum Group {
    /// What they are for.
    Pool(PoolName),
    /// Where they stand.
    Rack(RackName),
    /// Manufacturer and product (SMBIOS). From the machine: hostile.
    HardwareModel(String),
    /// All of them.
    Site,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(pool) => write!(f, "pool {pool}"),
            Self::Rack(rack) => write!(f, "rack {rack}"),
            Self::HardwareModel(model) => write!(f, "hardware model {model}"),
            Self::Site => f.write_str("the site"),
        }
    }
}

/// What is the same about them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "alike", content = "is")]
pub enum Alike {
    /// What is to be done to them.
    Action(Action),
    /// The rule that their first reason comes from.
    Cause(String),
}

impl fmt::Display for Alike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(action) => match serde_json::to_value(action) {
                Ok(serde_json::Value::String(name)) => f.write_str(&name),
                _ => Err(fmt::Error),
            },
            Self::Cause(rule) => write!(f, "the same cause {rule}"),
        }
    }
}

/// More nodes wanted the same than the policy lets through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Its id.
    pub id: IncidentId,
    /// Among which nodes.
    pub group: Group,
    /// What they want.
    pub alike: Alike,
    /// When it was found.
    pub opened_at: UnixMillis,
    /// How many wanted it then, the one that was too many among them.
    pub wanting: u64,
    /// Of how many.
    pub nodes: u64,
    /// How many the policy lets through.
    pub most: u64,
    /// Within how many minutes.
    pub window_minutes: u64,
    /// The nodes that are or were held for it, at most 1000, first held first.
    pub held: Vec<NodeId>,
    /// How many those are in all.
    pub held_total: u64,
    /// What a person said about it; none while it is open.
    pub release: Option<Release>,
}

/// A person has looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When.
    pub at: UnixMillis,
    /// Why, in the person's words.
    pub why: String,
    /// Until then nothing is held for the same among the same nodes.
    pub allowed_until: UnixMillis,
    /// How many nodes went on.
    pub released: u64,
}

/// Let what was held go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Why, in one line; at most 200 characters.
    pub why: String,
    /// For how many minutes the same may go on among the same nodes without being held; at most a day. 0: the
    /// nodes look again, and are held again if they still want it.
    pub allow_minutes: u64,
    /// Leave the nodes held.
    pub keep_held: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_what_is_alike_are_told_apart_on_the_wire() {
        let pool = Group::Pool("batch".parse().unwrap());
        let rack = Group::Rack("batch".parse().unwrap());
        let model = Group::HardwareModel("batch".to_owned());
        let texts = [&pool, &rack, &model, &Group::Site].map(|group| serde_json::to_string(group).unwrap());
        for (group, text) in [pool, rack, model, Group::Site].iter().zip(&texts) {
            assert_eq!(&serde_json::from_str::<Group>(text).unwrap(), group);
        }
        let all: std::collections::BTreeSet<&String> = texts.iter().collect();
        assert_eq!(all.len(), texts.len());
        assert_eq!(Alike::Action(Action::Wipe).to_string(), "wipe");
    }
}
