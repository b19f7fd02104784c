//! The messages between the technician's command (or any program) and the service: JSON over TLS
//! under `/v1/`, with `Authorization: Bearer …` (the operator token).
//!
//! | call | carries |
//! |---|---|
//! | `GET /v1/status` | → [`StatusView`] |
//! | `GET /v1/nodes` | → list of [`NodeView`] |
//! | `GET /v1/nodes/REF` | → [`NodeView`]; REF is an id, an unambiguous start of one, a serial or a MAC |
//! | `POST /v1/nodes/REF/approve` | [`ApproveRequest`] → [`NodeView`] |
//! | `POST /v1/nodes/REF/assign` | [`AssignRequest`] → [`NodeView`] |
//! | `POST /v1/nodes/REF/protect` | [`ProtectRequest`] → [`NodeView`] |
//! | `POST /v1/nodes/REF/release-hold` | → [`NodeView`] |
//! | `POST /v1/nodes/REF/reimage` | [`ReimageRequest`] → [`ReimageReply`] |
//! | `POST /v1/nodes/REF/rollback` | [`RollbackRequest`](crate::history::RollbackRequest) → [`ReimageReply`] |
//! | `GET /v1/nodes/REF/decision` | the last decision with its evidence → [`DecisionView`] |
//! | `GET /v1/nodes/REF/decision-record` | all that the last decision was made of → [`DecisionRecord`](crate::policy_api::DecisionRecord) |
//! | `GET /v1/policy` | `?pool=`; the policy in force → [`PolicyView`](crate::policy_api::PolicyView) |
//! | `POST /v1/policy/diff` | [`PolicyDiffRequest`](crate::policy_api::PolicyDiffRequest) → [`PolicyDiff`](crate::policy_api::PolicyDiff); changes nothing |
//! | `GET /v1/jobs`, `GET /v1/jobs/ID` | → [`JobView`] |
//! | `POST /v1/jobs/ID/cancel` | only before anything irreversible → [`JobView`] |
//! | `GET /v1/images`, `GET /v1/images/REF` | → [`ImageView`]; REF is an id, a start of one or a name |
//! | `POST /v1/imports` | [`ImportRequest`] → [`ImportReply`] |
//! | `POST /v1/imports/ID/missing` | [`ChunkList`] → those that are not stored: [`ChunkList`] |
//! | `PUT /v1/imports/ID/chunks/DIGEST` | the chunk, zstd → empty |
//! | `POST /v1/imports/ID/commit` | the manifest's bytes, zstd → [`ImageView`] |
//! | `DELETE /v1/imports/ID` | gives the import up and frees what only it had stored |
//!
//! Every refusal is an [`ErrorBody`].

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::agent_api::StepResult;
use crate::assignment::{Assignment, DataOwner, ExpectedHardware, Floor, OsDiskRule, RootSize};
use crate::blast_radius::IncidentView;
use crate::bmc::{BmcStatus, BmcView};
use crate::boot_proof::{BootView, GoldenBootView};
use crate::data_image::DataImageRequest;
use crate::decision::{Action, Decision, SanitizeLevel};
use crate::evidence::Evidence;
use crate::history::{GoingBack, PastImage};
use crate::id::{JobId, MacAddress, NodeId, PoolName, RackName, TenantId, UnixMillis};
pub use crate::image_api::{ChunkList, ImageView, ImportReply, ImportRequest};
use crate::inventory::Inventory;
use crate::model_api::ModelStatus;
use crate::policy_api::PolicyStatus;

/// A refusal: a bounded kind for programs, a sentence for people, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What kind.
    pub kind: ErrorKind,
    /// What was refused and why.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// No or a wrong bearer.
    Unauthorized,
    /// No such thing, or an ambiguous reference.
    NotFound,
    /// The request cannot be understood or contradicts itself.
    BadRequest,
    /// The request is understood and the state does not allow it.
    Conflict,
    /// The node is protected.
    Protected,
    /// A destructive request without the right confirmation.
    Unconfirmed,
    /// Too large.
    TooLarge,
    /// Bytes do not match their digest or signature.
    Corrupt,
    /// The service failed; nothing was changed.
    Internal,
}

/// How the service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Version of the service.
    pub version: String,
    /// Nodes known.
    pub nodes: u64,
    /// Jobs not ended.
    pub jobs_open: u64,
    /// Images stored.
    pub images: u64,
    /// Counters of protocol events since the start: name and count, ordered by name.
    pub counters: Vec<(String, u64)>,
    /// More nodes want the same than the policy lets through, and nobody has looked yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<IncidentView>,
    /// The policies in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// The model in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelStatus>,
    /// Management controllers; none where the service has none to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<BmcStatus>,
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Seen, not yet approved.
    Discovered,
    /// Approved, nothing to do.
    Idle,
    /// A job is open.
    Busy,
    /// Taken out until a person has looked; the reason is beside it.
    Held,
}

/// A node, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Where it stands.
    pub state: NodeState,
    /// Why it is held.
    pub hold_reason: Option<String>,
    /// SMBIOS UUID.
    pub system_uuid: Option<Uuid>,
    /// Serial number.
    pub serial: Option<String>,
    /// All known addresses.
    pub macs: Vec<MacAddress>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<RackName>,
    /// What it should have.
    pub assignment: Assignment,
    /// Whose data its disks hold.
    pub data_owner: DataOwner,
    /// The hardware it should have.
    pub expected_hardware: Option<ExpectedHardware>,
    /// Nothing destructive may be done to it.
    pub protected: bool,
    /// First and last seen by DHCP, HTTP or an agent.
    pub first_seen: UnixMillis,
    /// Last seen by DHCP, HTTP or an agent.
    pub last_seen: UnixMillis,
    /// The resident agent has spoken within the last 90 seconds.
    pub agent_online: bool,
    /// The last verdict.
    pub last_action: Option<Action>,
    /// When it was made.
    pub last_decided_at: Option<UnixMillis>,
    /// The open job.
    pub job: Option<JobId>,
    /// The last inventory.
    pub inventory: Option<Inventory>,
    /// The images that it had, newest first.
    #[serde(default)]
    pub images: Vec<PastImage>,
    /// What is known of how it boots; none while no TPM has shown anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootView>,
    /// Boots that are right for every node of its hardware model, newest first; only where one node is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub golden_boots: Vec<GoldenBootView>,
    /// What its management controller says; none where the service has none to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<BmcView>,
}

/// Take a discovered node in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// The pool it belongs to; `default` if none.
    pub pool: Option<PoolName>,
    /// The operator's word that it never held anybody's data. Recorded; a disk that shows any
    /// signature of data is sanitized all the same.
    pub factory_new: bool,
    /// The operator's word that the data on it are this tenant's.
    pub data_of: Option<TenantId>,
}

/// Say what a node should have. Starts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignRequest {
    /// The image: id, start of one, or name.
    pub image: Option<String>,
    /// The tenant.
    pub tenant: Option<TenantId>,
    /// The pool.
    pub pool: Option<PoolName>,
    /// Where it stands.
    #[serde(default)]
    pub rack: Option<RackName>,
    /// Which disk carries the operating system.
    pub os_disk: Option<OsDiskRule>,
    /// How large the root partition becomes at the next writing of an image.
    #[serde(default)]
    pub root_size: Option<RootSize>,
    /// The images for other disks, instead of those that were assigned before; an empty list takes them
    /// off.
    #[serde(default)]
    pub data_images: Option<Vec<DataImageRequest>>,
}

/// Protect a node or end that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtectRequest {
    /// Whether nothing destructive may be done to it.
    pub protected: bool,
}

/// Ask for a state; evidence decides the least action that reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReimageRequest {
    /// The image, if it should be another one: id, start of one, or name.
    pub image: Option<String>,
    /// The tenant, if it should be another one.
    pub tenant: Option<TenantId>,
    /// The least that must be done.
    pub at_least: Option<Floor>,
    /// The level to which disks are sanitized, if they are. The policy may demand more.
    #[serde(default)]
    pub sanitize_level: Option<SanitizeLevel>,
    /// Why, in the technician's words; it stands on the certificates. At most 200 characters.
    #[serde(default)]
    pub why: Option<String>,
    /// Begin outside the policy's windows too. It is recorded with the job.
    #[serde(default)]
    pub outside_windows: bool,
    /// Say what would happen and change nothing.
    pub dry_run: bool,
    /// Look from the ramdisk even if the resident agent could answer.
    pub from_ramdisk: bool,
    /// The node's serial number, as the technician typed it; needed when data may be destroyed.
    pub confirm_serial: Option<String>,
    /// The caller has confirmed by other means (`--yes`).
    pub confirmed: bool,
}

/// What became of a request for a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum ReimageReply {
    /// The node is already in that state; nothing is written.
    NothingToDo {
        /// The decision that says so.
        decision: Box<Decision>,
    },
    /// A job was made (or, with `dry_run`, would be).
    Job {
        /// None with `dry_run`.
        job: Option<JobId>,
        /// The least and the most that may happen, in words.
        expectation: String,
        /// Data may be destroyed.
        destructive: bool,
        /// How the node gets into the ramdisk, in words.
        entry: String,
    },
}

/// The last decision of a node with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionView {
    /// What was judged.
    pub decision: Decision,
    /// On what.
    pub evidence: Evidence,
    /// Names of files were taken out, because the node's data do not leave the site. The decision is that of what
    /// is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names_withheld: bool,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum JobState {
    /// The machine has not come to the network yet.
    Waiting,
    /// The machine was given the ramdisk; this many times.
    Booting {
        /// How often the ramdisk was handed out.
        attempt: u32,
    },
    /// The agent gathers evidence and judges.
    Looking,
    /// An order is signed; nothing irreversible has begun.
    Ordered,
    /// Something irreversible has begun.
    Acting {
        /// Which step, from 0.
        step: u32,
        /// Of how many. Named apart in JSON, because [`JobView`] has `steps` of its own beside it.
        #[serde(rename = "steps_total")]
        steps: u32,
    },
    /// All steps are proven; the operating system has not reported yet.
    ComingUp,
    /// The node is in the state that was asked for.
    Done {
        /// What it took.
        action: Action,
    },
    /// It stopped and waits for a person.
    Held {
        /// Why, and what to do.
        reason: String,
    },
    /// Given up before anything irreversible.
    Cancelled,
    /// What was asked for failed; the node is back on the image that it had before.
    RolledBack {
        /// What failed.
        reason: String,
    },
}

/// One thing that happened in a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent {
    /// When.
    pub at: UnixMillis,
    /// What.
    pub text: String,
}

/// A job, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Whose.
    pub node: NodeId,
    /// Where it stands.
    #[serde(flatten)]
    pub state: JobState,
    /// Who or what asked for it.
    pub requested_by: String,
    /// When.
    pub created_at: UnixMillis,
    /// When it last changed.
    pub changed_at: UnixMillis,
    /// The floor of the request.
    pub at_least: Option<Floor>,
    /// The level that the request asks for where disks are sanitized.
    #[serde(default)]
    pub sanitize_level: Option<SanitizeLevel>,
    /// Why, in the technician's words.
    #[serde(default)]
    pub why: Option<String>,
    /// What is being done now, and how far.
    pub progress: Option<crate::agent_api::Progress>,
    /// What each finished step did and proved.
    pub steps: Vec<StepResult>,
    /// What happened, oldest first, bounded.
    pub events: Vec<JobEvent>,
    /// The service takes, or took, the node back to the image before.
    #[serde(default)]
    pub going_back: Option<GoingBack>,
}

#[cfg(test)]
mod tests;
