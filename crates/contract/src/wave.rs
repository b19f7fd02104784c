//! An image that goes to a pool in stages: one node, one percent, ten percent, all. Beside
//! [`crate::operator_api`], with the same bearer.
//!
//! | call | carries |
//! |---|---|
//! | `GET /v1/waves` | open ones, then the newest, at most 100 → list of [`WaveView`] |
//! | `POST /v1/waves` | [`StartWave`] → [`WaveView`] |
//! | `GET /v1/waves/ID` | → [`WaveView`] with the nodes that did not get it |
//! | `POST /v1/waves/ID/halt`, `…/resume`, `…/cancel` | [`WaveWord`] → [`WaveView`] |

use serde::{Deserialize, Serialize};

use crate::id::{ImageId, JobId, NodeId, PoolName, UnixMillis, WaveId};

/// How far a wave reaches. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// One node.
    Canary,
    /// A hundredth of the pool.
    OnePercent,
    /// A tenth of the pool.
    TenPercent,
    /// All of it.
    All,
}

/// What a person has seen and lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Forgiven {
    /// So many failures do not count any more.
    pub failed: u64,
    /// A drop of the readiness by so many points does not count any more.
    pub score_drop: u64,
}

/// Nodes of a stage are asked for and worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolling {
    /// Which stage.
    pub stage: Stage,
    /// What a person lets pass.
    #[serde(default)]
    pub forgiven: Forgiven,
}

/// All nodes of a stage are through; it is waited for whether they stay well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baking {
    /// Which stage.
    pub stage: Stage,
    /// Since when.
    pub since: UnixMillis,
    /// What a person lets pass.
    #[serde(default)]
    pub forgiven: Forgiven,
}

/// Nothing begins until a person has looked. What was begun goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halted {
    /// In which stage.
    pub stage: Stage,
    /// Why.
    pub because: String,
    /// Since when.
    pub since: UnixMillis,
    /// What a person let pass before.
    #[serde(default)]
    pub forgiven: Forgiven,
}

/// It has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: UnixMillis,
    /// All stages went through; else a person gave it up, and why.
    pub given_up: Option<String>,
}

/// Where a wave stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum WaveState {
    /// Nodes of a stage are asked for and worked on.
    Rolling(Rolling),
    /// All nodes of a stage are through.
    Baking(Baking),
    /// Nothing begins until a person has looked.
    Halted(Halted),
    /// It has ended.
    Ended(Ended),
}

/// What became of one node in a wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum NodeResult {
    /// Its turn has not come.
    Waiting,
    /// It is its turn; the job may or may not be there yet.
    Begun {
        /// Its readiness before, if it was known.
        score_before: Option<u64>,
    },
    /// A job is under way.
    Working {
        /// The job.
        job: JobId,
        /// Its readiness before, if it was known.
        score_before: Option<u64>,
    },
    /// It has the image.
    Good {
        /// Its readiness before, if it was known.
        score_before: Option<u64>,
        /// Its readiness after, if it is known.
        score_after: Option<u64>,
    },
    /// It was not asked: it has the image, or its state did not allow it.
    Skipped {
        /// Why.
        why: String,
    },
    /// The job did not end with the image, or the node was taken out since.
    Failed {
        /// How.
        why: String,
        /// The job, if it is held and may yet be released.
        job: Option<JobId>,
        /// Its readiness before, if it was known.
        score_before: Option<u64>,
    },
}

/// Begin a wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartWave {
    /// The nodes: those that are approved and in this pool now.
    pub pool: PoolName,
    /// The image: id, start of one, or name.
    pub image: String,
    /// Say what would happen and change nothing.
    pub dry_run: bool,
    /// The caller has confirmed that disks are written.
    pub confirmed: bool,
}

/// What a person says to a wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaveWord {
    /// Why, in one line; at most 200 characters.
    pub why: String,
}

/// How many nodes stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WaveCounts {
    /// Nodes of the wave.
    pub nodes: u64,
    /// Their turn has not come.
    pub waiting: u64,
    /// Worked on.
    pub working: u64,
    /// They have the image.
    pub good: u64,
    /// Not asked.
    pub skipped: u64,
    /// Failed.
    pub failed: u64,
}

/// A wave, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveView {
    /// Its id; none with `dry_run`.
    pub id: Option<WaveId>,
    /// In which pool.
    pub pool: PoolName,
    /// Which image.
    pub image: ImageId,
    /// When it began.
    pub started_at: UnixMillis,
    /// Where it stands.
    #[serde(flatten)]
    pub state: WaveState,
    /// How many nodes each stage reaches, all before it included.
    pub stages: Vec<(Stage, u64)>,
    /// How many nodes stand where.
    pub counts: WaveCounts,
    /// Nodes that failed or were skipped, with why; at most 100, and none in lists.
    pub exceptions: Vec<(NodeId, String)>,
    /// What happened, oldest first, bounded.
    pub events: Vec<(UnixMillis, String)>,
}
