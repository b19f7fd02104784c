//! What was judged, and why. Made by `verdict`; carried, stored, explained and replayed by everybody.

use serde::{Deserialize, Serialize};

use crate::id::{DiskId, EvidenceId, ModelDigest, NodeId, PolicyDigest, UnixMillis};
use crate::outlook::{ActionCost, ComponentForecast, Readiness, Remedy};
use crate::reading::{ReadingKey, Subject};

/// How thoroughly data must be made unreadable (NIST SP 800-88r2 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SanitizeLevel {
    /// Against simple, non-invasive recovery through the device's own interface.
    Clear,
    /// Against laboratory recovery.
    Purge,
}

/// May the next user read what is on the media?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Confidentiality {
    /// The data may stay.
    KeepData,
    /// These disks must be sanitized to at least this level.
    Sanitize {
        /// At least this level.
        level: SanitizeLevel,
        /// Which disks, ordered.
        disks: Vec<DiskId>,
    },
    /// The data may not stay, but which disks hold it could not be seen.
    Undetermined {
        /// What could not be seen.
        why: String,
    },
}

/// Is the installed software exactly what was assigned? Ordered from mild to severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Integrity {
    /// Yes.
    Intact,
    /// Some immutable files or partitions are not.
    Repair,
    /// It is another image, or none, or cannot be seen.
    Reimage,
}

/// Will the hardware last? Ordered from mild to severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fitness {
    /// Nothing speaks against it.
    Fit,
    /// Something should be looked at again.
    Watch,
    /// Take it out before it hurts anybody.
    Quarantine,
}

/// The one action that follows. Ordered from mild to severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing is written; the machine goes back to work.
    Keep,
    /// This evidence is too weak to allow the mild action: look again in the ramdisk.
    LookDeeper,
    /// Put back altered or missing immutable files and partitions; local state stays.
    Repair,
    /// Make the OS disk bit-identical to the image, writing only what differs.
    Reimage,
    /// Sanitize, then image.
    Wipe,
    /// Nothing is written; the machine is taken out until a person has looked.
    Quarantine,
}

/// Which question a finding or a reason belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// May the next user read what is on the media?
    Confidentiality,
    /// Is the installed software exactly what was assigned?
    Integrity,
    /// Will the hardware last?
    Fitness,
    /// What was asked for.
    Request,
}

/// How bad a finding is. Ordered from mild to severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Demands action.
    Critical,
    /// The rule needed a reading that could not be had.
    Unknown,
}

/// What a check concludes from a reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that looked, such as `fitness/nvme-critical-warning`.
    pub rule: String,
    /// Which question it belongs to.
    pub axis: Axis,
    /// How bad.
    pub severity: Severity,
    /// About what.
    pub subject: Subject,
    /// The reading it rests on; none for facts of the service (tenant, assignment, request).
    pub key: Option<ReadingKey>,
    /// What was seen, in words.
    pub observed: String,
    /// What would have been acceptable, in words.
    pub threshold: String,
    /// Where the threshold comes from: a standard, a paper, the policy.
    pub source: String,
    /// One sentence for a person.
    pub statement: String,
}

/// An action that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which action.
    pub action: Action,
    /// Why not.
    pub because: String,
}

/// What was judged. The same evidence, context, policy, model and time give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whose.
    pub node: NodeId,
    /// On what evidence.
    pub evidence: EvidenceId,
    /// When.
    pub decided_at: UnixMillis,
    /// The first axis.
    pub confidentiality: Confidentiality,
    /// The second axis.
    pub integrity: Integrity,
    /// The third axis.
    pub fitness: Fitness,
    /// What follows.
    pub action: Action,
    /// Why: the findings that decided, most important first. Never empty.
    pub reasons: Vec<Finding>,
    /// All findings, in the order of the rules.
    pub findings: Vec<Finding>,
    /// The other actions, and why not.
    pub rejected: Vec<Rejected>,
    /// What would have given another action, in words.
    pub what_would_change_it: Vec<String>,
    /// Which policy.
    pub policy: PolicyDigest,
    /// Which rules: name and version of the engine.
    pub engine: String,
    /// Which model; none in decisions of before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelDigest>,
    /// What each action costs, and which of them costs could choose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<ActionCost>,
    /// What may fail within the horizon, likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forecast: Vec<ComponentForecast>,
    /// How ready the node is for work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
    /// What to try that writes no disk, most pressing first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<Remedy>,
}
