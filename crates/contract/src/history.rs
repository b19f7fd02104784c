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
    /// The kernel's command line at its system's first report that was what was asked for, after it was written:
    /// how this image starts on this node, whenever it is written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// The same where a person found another one right, or where it was found later than at the first report.
    /// Holds until an image is written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_command_line: Option<String>,
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
    /// The work may begin outside of the policy's windows too; the job's events say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside_windows: bool,
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
