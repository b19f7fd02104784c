//! Which images a node had, and going back to an earlier one.

use serde::{Deserialize, Serialize};

use crate::id::{ImageId, JobId, TenantId, UnixMillis};

/// How many images a node's history holds at most.
pub const PAST_IMAGES_MAX: usize = 20;

/// One image that a node was given or was found with. In lists the newest is first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastImage {
    /// The image.
    pub image: ImageId,
    /// For whom.
    pub tenant: Option<TenantId>,
    /// The job that wrote it; none if it was found on the node.
    pub job: Option<JobId>,
    /// When its writing began, or when it was found.
    pub since: UnixMillis,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: ImageOutcome,
    /// When that was known.
    pub outcome_at: UnixMillis,
}

/// What became of an image on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum ImageOutcome {
    /// Writing has begun and is not proven.
    Writing,
    /// It is on the disk, proven; its system has not reported yet.
    ComingUp,
    /// It is on the disk, proven, and without an agent; nobody tells whether its system came up.
    Unreported,
    /// Its system has reported and was what was asked for.
    Good,
    /// It was not written, or its system did not come up as what was asked for.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Go back to the image that the node had before its last change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Say what would happen and change nothing.
    pub dry_run: bool,
    /// The node's serial number, as the technician typed it.
    pub confirm_serial: Option<String>,
    /// The caller has confirmed by other means (`--yes`).
    pub confirmed: bool,
}

/// The service took a node back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoingBack {
    /// The image that failed.
    pub from: ImageId,
    /// The image that the node had before.
    pub to: ImageId,
    /// How the first one failed.
    pub because: String,
    /// When.
    pub at: UnixMillis,
}
