//! What a node should be, what it was, and what is being asked: the facts that only the service knows.

use serde::{Deserialize, Serialize};

use crate::bmc::BmcView;
use crate::boot_key::BootKey;
use crate::command_line::CommandLines;
use crate::data_image::DataImage;
use crate::decision::{Action, Fitness, SanitizeLevel};
use crate::gpu_test::GpuTest;
use crate::id::{BootId, Digest, DiskId, EvidenceId, ImageId, JobId, NodeId, PoolName, TenantId, UnixMillis};
pub use crate::os_disk::OsDiskRule;
use crate::outlook::Fix;
use crate::plan::Plan;
use crate::reading::{ReadingKey, ReadingValue, Subject, Tier};
pub use crate::root_size::RootSize;

/// Whose data the disks hold. It changes only when an erase is proven, when an image is proven written
/// for a tenant, or when disks that were nobody's begin to be written for one; never because somebody
/// asked for another tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "owner", content = "tenant")]
pub enum DataOwner {
    /// Nobody knows. Treated as somebody else's.
    Unknown,
    /// Nobody: declared factory-new by an operator, or erased with proof.
    Nobody,
    /// This tenant.
    Tenant(TenantId),
}

/// What a node should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// What it is for.
    pub pool: PoolName,
    /// The image; none while nothing is assigned.
    pub image: Option<ImageId>,
    /// The smallest disk the assigned image fits on, in bytes; none while nothing is assigned.
    pub image_disk_bytes: Option<u64>,
    /// The tenant; none while nothing is assigned.
    pub tenant: Option<TenantId>,
    /// Which disk carries the operating system.
    pub os_disk: OsDiskRule,
    /// How large the root partition becomes when an image is written.
    #[serde(default, skip_serializing_if = "RootSize::is_grow")]
    pub root_size: RootSize,
    /// Images for other disks, which they get when they hold nobody's data; see
    /// [`crate::data_image::check_data_images`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_images: Vec<DataImage>,
}

/// The least that a request asks for. There is no ceiling below what the rules demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Floor {
    /// Put immutable files back even if only suspected.
    Repair,
    /// Make the OS disk bit-identical to the image.
    Reimage,
    /// Sanitize, then image.
    Wipe,
    /// Sanitize and install nothing. Neither an image nor a tenant has to be assigned.
    Empty,
}

/// The hardware that a node is expected to have: what it had when it was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedHardware {
    /// Disks by identity, ordered.
    pub disks: Vec<DiskId>,
    /// Network interfaces, ordered.
    pub nics: Vec<crate::id::MacAddress>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory modules by locator, ordered; none where it was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_modules: Option<Vec<String>>,
    /// GPUs by id, ordered; none where it was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Vec<String>>,
    /// Values that links and versions had: compared, because what a slot can do says nothing about what this
    /// machine does when it is well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub golden: Vec<GoldenValue>,
}

/// A present value of a healthy machine, for comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenValue {
    /// About what.
    pub subject: Subject,
    /// Which reading.
    pub key: ReadingKey,
    /// What it was.
    pub value: ReadingValue,
}

/// What a counter said at an earlier look: what has changed since is what is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// About what.
    pub subject: Subject,
    /// Which counter.
    pub key: ReadingKey,
    /// What it said.
    pub count: u64,
    /// In which boot.
    pub boot_id: BootId,
    /// When.
    pub observed_at: UnixMillis,
}

/// How far the way from power-on into the running kernel is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "boot_trust")]
pub enum BootTrust {
    /// The service checked a quote of this boot, and every register is as recorded.
    Verified,
    /// The service checked a quote of this boot, and these registers are not as recorded.
    Mismatch {
        /// Which, in words.
        registers: Vec<String>,
    },
    /// The firmware is as recorded, and what the running system was started from is not as it was under the same
    /// image.
    Changed {
        /// What, in words.
        what: Vec<String>,
    },
    /// There is none, or it could not be checked, and why.
    Unproven {
        /// Why.
        why: String,
    },
    /// How the node boots is recorded, and this boot does not show it: the TPM was silent, another one signed, or
    /// nobody showed anything.
    Lost {
        /// Why.
        why: String,
    },
}

/// Destructive work that was begun and never reported done. Until it is finished the node is nobody's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedWork {
    /// In which job.
    pub job: JobId,
    /// When the intent was recorded.
    pub begun_at: UnixMillis,
    /// What was under way.
    pub plan: Plan,
}

/// One verdict of the past, newest first in lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastVerdict {
    /// On what evidence.
    pub evidence: EvidenceId,
    /// When.
    pub decided_at: UnixMillis,
    /// What it said.
    pub action: Action,
    /// The first reason.
    pub because: String,
    /// What it said of the hardware and of what to try.
    #[serde(default)]
    pub recalled: Recalled,
}

/// What later verdicts remember of an earlier one, so that a repair that did not hold is not tried for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recalled {
    /// What that look itself found of the hardware, before anything that only remembers; none in verdicts of
    /// before this was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitness: Option<Fitness>,
    /// The rule of the first reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What was to be tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<PastRemedy>,
    /// How deep it looked. None in verdicts of before this was recorded, and where more was found than is
    /// remembered: of such a look it cannot be said that something was gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// What it found or could not see, of software and hardware.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<PastFinding>,
}

/// Something that was found, or could not be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastFinding {
    /// By this rule.
    pub rule: String,
    /// Of what.
    pub subject: Subject,
    /// Whether it is so could not be said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

/// Something that was to be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRemedy {
    /// What.
    pub fix: Fix,
    /// On what.
    pub subject: Subject,
    /// For what this rule found.
    pub rule: String,
}

/// What a reading usually says on machines with the same part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerValue {
    /// The hardware model whose parts were compared, as the device names it; empty for the machine as a
    /// whole.
    #[serde(default)]
    pub hardware_model: String,
    /// Which reading.
    pub key: ReadingKey,
    /// How deep the looks went that were compared: a rate of half a second is no rate of a burn-in.
    #[serde(default = "deep_look")]
    pub tier: Tier,
    /// Half of them say no more than this.
    pub median: u64,
    /// Half of them are no further from the median than this.
    pub median_deviation: u64,
    /// How many machines.
    pub nodes: u64,
}

fn deep_look() -> Tier {
    Tier::T2
}

/// Everything besides evidence and policy that a verdict depends on. The service makes it, the agent
/// judges with it, and the service judges again with its own copy before it signs anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeContext {
    /// Which node.
    pub node: NodeId,
    /// What it should have.
    pub assignment: Assignment,
    /// Whose data its disks hold.
    pub data_owner: DataOwner,
    /// The least that the request asks for.
    pub floor: Option<Floor>,
    /// The level that the request asks for where disks are sanitized. A floor: the policy may demand
    /// more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sanitize_level: Option<SanitizeLevel>,
    /// The hardware it should have; none until it is approved.
    pub expected_hardware: Option<ExpectedHardware>,
    /// Nothing destructive may be done to it.
    pub protected: bool,
    /// Destructive work that was begun and never reported done.
    pub unfinished: Option<UnfinishedWork>,
    /// At most 20, newest first.
    pub history: Vec<PastVerdict>,
    /// Digest of the volume with the node's data (`imaging::seed`) that belongs to this image and this
    /// tenant; none where the node has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_data: Option<Digest>,
    /// What the node's counters said when they were last found to be right, ordered by subject and key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<Baseline>,
    /// How far this boot is proven; none where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_trust: Option<BootTrust>,
    /// By what the key is known that signed for this boot; none where nothing was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_key: Option<BootKey>,
    /// What is usual for machines with the same parts, ordered by hardware model and key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerValue>,
    /// A burn-in of so many minutes is asked for: the agent looks with [`Tier::T3`], and nothing less answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn_in_minutes: Option<u32>,
    /// What came of working the GPUs in the running system, for this burn-in; ordered by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_tests: Vec<GpuTest>,
    /// Destructive work may begin at any time, whatever the policy's windows say: a person asked for that, or
    /// it ends what was begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside_windows: bool,
    /// What the node's management controller says of it; none where the service has none to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<BmcView>,
    /// What its kernels are started with, as far as the service knows.
    #[serde(default, skip_serializing_if = "CommandLines::is_empty")]
    pub command_lines: CommandLines,
}
