//! What became of verdicts, and what they saved against wiping always. Beside [`crate::operator_api`], with the
//! same bearer.
//!
//! | call | carries |
//! |---|---|
//! | `POST /v1/nodes/REF/outcome` | what a person found → [`OutcomeRequest`] → [`LedgerEntry`] |
//! | `GET /v1/ledger?month=2026-11&after=EVIDENCE&limit=N` | the verdicts of a month, oldest first, at most 10,000, behind the one on EVIDENCE; ask until there are none → list of [`LedgerEntry`] |
//! | `GET /v1/savings?month=2026-11` | → [`SavingsReport`] |

use serde::{Deserialize, Serialize};

use crate::decision::Action;
use crate::id::{EvidenceId, JobId, ModelDigest, NodeId, PolicyDigest, UnixMillis};
use crate::outlook::ComponentKind;
use crate::reading::Subject;

/// What something costs, or what it saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// The node is away from its work for this long, in thousandths of a minute.
    pub milliminutes: u64,
    /// Written to flash, in bytes.
    pub flash_bytes: u64,
    /// Energy, in watt hours.
    pub watt_hours: u64,
}

/// What a verdict foretold of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// Which part.
    pub subject: Subject,
    /// What kind.
    pub kind: ComponentKind,
    /// The maker's name for it. From the device: hostile.
    pub hardware_model: String,
    /// The bucket that its readings put it into.
    pub bucket: String,
    /// How likely it fails within the horizon.
    pub failure_parts_per_million: u64,
}

/// What became of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "aftermath")]
pub enum Aftermath {
    /// Nobody knows yet.
    Pending,
    /// Nothing was found against it within the horizon.
    Held,
    /// It was wrong to go on: something failed within the horizon, or the same had to be done again.
    Failed {
        /// What.
        subject: Subject,
        /// How that is known.
        because: String,
        /// The later verdict that says so; none if a person does.
        by: Option<EvidenceId>,
    },
    /// A person has looked at what was taken out, and it was right to take it out.
    Confirmed {
        /// What had failed.
        subject: Subject,
        /// Why the person says so.
        why: String,
    },
    /// A person has looked at what was taken out, and nothing was wrong with it.
    Fine {
        /// Why the person says so.
        why: String,
    },
}

/// One verdict that decided something: what it cost, what wiping would have cost, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// On what evidence.
    pub evidence: EvidenceId,
    /// Whose.
    pub node: NodeId,
    /// In which job; none if the running system's word was enough.
    pub job: Option<JobId>,
    /// When it was carried out.
    pub at: UnixMillis,
    /// What was done.
    pub action: Action,
    /// The rule of the first reason.
    pub rule: String,
    /// Which policy.
    pub policy: PolicyDigest,
    /// Which model; none in old decisions.
    pub model: Option<ModelDigest>,
    /// The formula that was counted with.
    pub formula: u64,
    /// What wiping would have cost, as the model has it; none if the verdict does not say.
    pub always_wipe: Option<Amount>,
    /// What it took, as it was measured.
    pub spent: Amount,
    /// What it foretold.
    pub forecast: Vec<Prediction>,
    /// Until when it has to hold.
    pub due_at: UnixMillis,
    /// What became of it.
    #[serde(flatten)]
    pub aftermath: Aftermath,
    /// When that was known; the time of the entry while nobody knows.
    pub aftermath_at: UnixMillis,
}

/// What a person found out about a node's last verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeRequest {
    /// What failed: the node, or a part as the verdict names it (`disk ID`, `GPU ID`, or the id alone); none if
    /// nothing was wrong.
    pub failed: Option<String>,
    /// Why, in one line; at most 200 characters.
    pub why: String,
}

/// A sum with the range that it lies in with 95 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Total {
    /// The sum.
    pub sum: i64,
    /// Not less than this; none with fewer than two verdicts.
    pub low: Option<i64>,
    /// Not more than this; none with fewer than two verdicts.
    pub high: Option<i64>,
}

/// How often one action was taken, and what it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionTotal {
    /// Which.
    pub action: Action,
    /// How often.
    pub verdicts: u64,
    /// What all of them took.
    pub spent: Amount,
}

/// A node that was kept or put right and failed all the same, or one that is seen too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNote {
    /// Which.
    pub node: NodeId,
    /// How often.
    pub times: u64,
    /// In words.
    pub because: String,
}

/// How many parts of a kind are foretold to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedFailures {
    /// Which kind.
    pub kind: ComponentKind,
    /// How many parts there are.
    pub parts: u64,
    /// How many are expected to fail within the horizon, in thousandths.
    pub failures_thousandths: u64,
}

/// What a month's verdicts saved against wiping always, and how right they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavingsReport {
    /// Which month, such as `2026-11`, in UTC.
    pub month: String,
    /// Version of the formula.
    pub formula: u64,
    /// The formula and what it takes for granted, line by line.
    pub assumptions: Vec<String>,
    /// By action, mildest first.
    pub actions: Vec<ActionTotal>,
    /// Verdicts that say nothing of what wiping would have cost, and are not in the sums.
    pub not_counted: u64,
    /// Saved, in thousandths of a minute.
    pub milliminutes: Total,
    /// Not written to flash, in bytes.
    pub flash_bytes: Total,
    /// Saved, in watt hours.
    pub watt_hours: Total,
    /// Kept or put right, and failed within the horizon.
    pub escapes: Vec<NodeNote>,
    /// Taken out.
    pub quarantines: u64,
    /// Taken out, and a person found nothing wrong.
    pub false_quarantines: u64,
    /// Taken out, and nobody has said yet what was found.
    pub quarantines_pending: u64,
    /// Certificates that were issued.
    pub certificates: u64,
    /// Nodes that were put right or taken out most often, at most 10.
    pub repeat_offenders: Vec<NodeNote>,
    /// What the newest verdict of each node foretells.
    pub expected_failures: Vec<ExpectedFailures>,
    /// How far those foretell, in days.
    pub horizon_days: u64,
}
