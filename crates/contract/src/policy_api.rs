//! What technicians and the service say to each other about policies, under `/v1/policy`.

use serde::{Deserialize, Serialize};

use crate::assignment::NodeContext;
use crate::decision::{Action, Confidentiality, Decision, Fitness, Integrity};
use crate::evidence::Evidence;
use crate::id::{NodeId, PolicyDigest, PoolName, UnixMillis};

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// The site's policy, for pools without one of their own.
    pub site: PolicyDigest,
    /// The policies of pools that have one, ordered by name.
    pub pools: Vec<(PoolName, PolicyDigest)>,
    /// When the files were read that are in force.
    pub read_at: UnixMillis,
    /// Why the files as they are now were not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One file of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyLayer {
    /// Its path, as the service knows it.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// The policy that a pool's nodes are judged with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Which pool; none for the site.
    pub pool: Option<PoolName>,
    /// The digest that verdicts name.
    pub digest: PolicyDigest,
    /// The files, the site's first; none where the built-in policy is in force.
    pub layers: Vec<PolicyLayer>,
}

/// Which nodes would get another verdict under another policy. Changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDiffRequest {
    /// The file to try.
    pub new: PolicyLayer,
    /// The pool whose own file it would be; the site's file if none.
    pub pool: Option<PoolName>,
    /// Go on behind this node.
    #[serde(default)]
    pub after: Option<NodeId>,
}

/// The three axes of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axes {
    /// May the next user read what is on the media?
    pub confidentiality: Confidentiality,
    /// Is the installed software exactly what was assigned?
    pub integrity: Integrity,
    /// Will the hardware last?
    pub fitness: Fitness,
}

/// A node that would get another verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictChange {
    /// Which.
    pub node: NodeId,
    /// In which pool.
    pub pool: PoolName,
    /// The evidence that was judged twice was taken then.
    pub taken_at: UnixMillis,
    /// The action under the policy in force.
    pub before: Action,
    /// Its axes; none in answers of before they were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_axes: Option<Axes>,
    /// Its first reason; the first finding that the other verdict does not have, if the action is the same.
    pub before_because: String,
    /// The action under the other policy.
    pub after: Action,
    /// Its axes; none in answers of before they were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_axes: Option<Axes>,
    /// Its first reason; the first finding that the other verdict does not have, if the action is the same.
    pub after_because: String,
}

/// A part of the answer; ask again behind `next` until there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDiff {
    /// How many nodes were judged twice in this part.
    pub judged: u64,
    /// How many have never been judged, or not by this version in a way that can be done again.
    pub not_judged: u64,
    /// Those whose action would be another, or any axis.
    pub changes: Vec<VerdictChange>,
    /// Ask again behind this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NodeId>,
}

/// Everything that a verdict was made of, to be made again anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// What was judged.
    pub decision: Decision,
    /// On what.
    pub evidence: Evidence,
    /// With which facts of the service.
    pub context: NodeContext,
    /// Under which policy, complete, as TOML.
    pub policy: String,
    /// With which model, complete, as TOML.
    pub model: String,
    /// Names of files were taken out, because the node's data do not leave the site. The decision is that of
    /// what is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names_withheld: bool,
}
