//! `[[hold]]`: nodes and tenants whose disks nobody may change, because a court or an investigation wants
//! them as they are.

use std::collections::BTreeSet;

use contract::assignment::{DataOwner, NodeContext};
use contract::id::{NodeId, TenantId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::instant::Instant;
use super::section::BadValue;

/// How many holds a policy may have, and how many nodes and tenants one of them may name.
const HOLDS_MAX: usize = 1000;
const NAMED_MAX: usize = 10_000;
const WHY_CHARACTERS_MAX: usize = 300;

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    /// What people call it.
    pub name: String,
    /// These nodes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub nodes: BTreeSet<NodeId>,
    /// Nodes with data of these tenants, and nodes that are theirs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tenants: BTreeSet<TenantId>,
    /// Whether data whose owner nobody knows may be one of these tenants'.
    #[serde(default = "yes")]
    pub unknown_owners: bool,
    /// Why, in the words that every refusal repeats.
    pub why: String,
    /// When it ends by itself; it stays until it is taken out if there is no such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
}

fn yes() -> bool {
    true
}

impl Hold {
    /// Why the hold is on this node now; none if it is not.
    pub fn on(&self, context: &NodeContext, now: UnixMillis) -> Option<String> {
        if self.until.as_ref().is_some_and(|until| until.at() <= now) {
            return None;
        }
        if self.nodes.contains(&context.node) {
            return Some("the node is named".to_owned());
        }
        if let Some(tenant) = context.assignment.tenant.as_ref().filter(|one| self.tenants.contains(one)) {
            return Some(format!("the node is tenant {tenant}'s"));
        }
        match &context.data_owner {
            DataOwner::Tenant(owner) if self.tenants.contains(owner) => {
                Some(format!("it holds data of tenant {owner}"))
            }
            DataOwner::Unknown if self.unknown_owners && !self.tenants.is_empty() => {
                Some("nobody knows whose data it holds".to_owned())
            }
            DataOwner::Tenant(_) | DataOwner::Unknown | DataOwner::Nobody => None,
        }
    }

    fn check(&self) -> Result<(), BadValue> {
        if !is_name(&self.name) {
            return Err(BadValue::new("name", "use 1 to 64 small letters, digits and hyphens"));
        }
        if self.nodes.is_empty() && self.tenants.is_empty() {
            return Err(BadValue::new("name", "the hold names no nodes and no tenants; name some"));
        }
        if self.nodes.len() + self.tenants.len() > NAMED_MAX {
            return Err(BadValue::new("nodes", format!("names more than {NAMED_MAX} nodes and tenants")));
        }
        is_reason(&self.why)
    }
}

/// Whether a name can stand in findings and on command lines.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=64).contains(&name.len()) && name.chars().all(fits)
}

/// Whether a reason is one line that says something.
pub(super) fn is_reason(why: &str) -> Result<(), BadValue> {
    let fits = (1..=WHY_CHARACTERS_MAX).contains(&why.trim().chars().count());
    if fits && why.chars().count() <= WHY_CHARACTERS_MAX && !why.chars().any(char::is_control) {
        return Ok(());
    }
    let problem = format!("say why in one line of at most {WHY_CHARACTERS_MAX} characters");
    Err(BadValue::new("why", problem))
}

/// The first hold that cannot be meant, by name.
pub(super) fn check(holds: &[Hold]) -> Result<(), (String, BadValue)> {
    if holds.len() > HOLDS_MAX {
        let problem = format!("there are more than {HOLDS_MAX} holds");
        return Err((String::new(), BadValue::new("hold", problem)));
    }
    for (at, hold) in holds.iter().enumerate() {
        hold.check().map_err(|bad| (hold.name.clone(), bad))?;
        if holds[..at].iter().any(|other| other.name == hold.name) {
            return Err((hold.name.clone(), BadValue::new("name", "is there twice")));
        }
    }
    Ok(())
}
