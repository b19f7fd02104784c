//! The messages between agent and service, all JSON over TLS under `/v1/agent/`.
//!
//! | call | who | carries |
//! |---|---|---|
//! | `POST /v1/agent/enroll` | ramdisk, with the one-time token in the body | [`EnrollRequest`] → [`EnrollReply`] |
//! | `POST /v1/agent/boot-key` | ramdisk, with its TPM's keys | [`BootKeyRequest`](crate::boot_key::BootKeyRequest) → [`BootKeyReply`](crate::boot_key::BootKeyReply) |
//! | `POST /v1/agent/boot-proof` | ramdisk, with what its TPM says | [`BootProof`](crate::boot_proof::BootProof) → [`ContextReply`] |
//! | `POST /v1/agent/system-proof` | resident, with what its TPM says | [`SystemProof`](crate::boot_proof::SystemProof) → [`ContextReply`] |
//! | `GET /v1/agent/context` | resident, with its credential | → [`ContextReply`] |
//! | `POST /v1/agent/report` | both | [`Report`] → [`Instruction`] |
//! | `GET /v1/agent/next` | both; held open up to 30 s | → [`Instruction`] |
//! | `POST /v1/agent/begin` | ramdisk, before the first irreversible byte of a step | [`Begin`] → empty |
//! | `POST /v1/agent/progress` | ramdisk | [`Progress`] → empty |
//! | `POST /v1/agent/burn-in-partner` | ramdisk, in a burn-in | [`PartnerRequest`](crate::burn_in::PartnerRequest) → [`PartnerReply`](crate::burn_in::PartnerReply) |
//! | `POST /v1/agent/credential` | ramdisk, under an order that writes an image | → [`ResidentIdentity`] |
//! | `POST /v1/agent/finish` | ramdisk | [`Finish`] → [`Instruction`] |
//!
//! All but `enroll` carry `Authorization: Bearer …` with the session of the enrolment or the
//! resident credential. Images are fetched over plain HTTP by digest: `/images/ID/manifest`,
//! `/chunks/DIGEST`; what they say is checked against digest and signature.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::assignment::NodeContext;
use crate::decision::Decision;
use crate::evidence::Evidence;
use crate::id::{BootId, Digest, ImageId, JobId, MacAddress, NodeId, OrderId, UnixMillis};
use crate::order::SignedOrder;
use crate::plan::Plan;
use crate::reading::Outcome;
use crate::secret::Secret;

/// The ramdisk introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollRequest {
    /// The node that the boot script named.
    pub node: NodeId,
    /// The one-time token of the boot script.
    pub token: Secret,
    /// This boot.
    pub boot_id: BootId,
    /// Drawn by the agent for this boot; orders must carry it.
    pub nonce: Digest,
    /// SMBIOS system UUID.
    pub system_uuid: Outcome<Uuid>,
    /// Addresses of all interfaces; the one the token is bound to must be among them.
    pub macs: Vec<MacAddress>,
    /// Version of the agent.
    pub agent_version: String,
    /// Milliseconds from kernel start to this call, as the kernel counts.
    pub since_kernel_start_millis: u64,
}

/// What the service tells a ramdisk that it believes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollReply {
    /// Bearer of this session; good until the job ends or two hours have passed; longer while it
    /// carries out an order and says how far it is.
    pub session: Secret,
    /// What to judge with.
    pub context: ContextReply,
    /// The job that brought the machine here; none when it is only being discovered.
    pub job: Option<JobId>,
    /// What the TPM is to sign together with its registers; none from a service that asks for no proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_challenge: Option<Digest>,
}

/// What an agent judges with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextReply {
    /// The service's time; the machine's own clock is not trusted.
    pub now: UnixMillis,
    /// The service's facts about the node.
    pub node: NodeContext,
    /// The policy as TOML, exactly the text that the service judges with.
    pub policy: String,
    /// The model as TOML, exactly the text that the service judges with; empty means the default model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Ed25519 public key of orders, 32 bytes in hexadecimal.
    pub order_key: String,
    /// Ed25519 public key of image manifests, 32 bytes in hexadecimal.
    pub image_key: String,
    /// Where images are fetched, such as `http://192.0.2.1:8080`.
    pub image_base_url: String,
    /// All API addresses of the service. An agent that cannot reach one tries the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_urls: Vec<String>,
    /// All places where images are fetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_base_urls: Vec<String>,
    /// What the TPM of a running system is to sign together with its registers, once and soon; none for a ramdisk,
    /// and from a service that asks for no proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_challenge: Option<Digest>,
}

/// Evidence and what the agent makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What was seen.
    pub evidence: Evidence,
    /// What the agent makes of it; none while it has no context to judge with.
    pub decision: Option<Decision>,
    /// What it would do, if that is anything destructive.
    pub plan: Option<Plan>,
    /// The nonce of this boot, for orders.
    pub nonce: Digest,
}

/// What the service tells an agent to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "instruction")]
pub enum Instruction {
    /// Nothing; ask again after this long.
    Wait {
        /// Milliseconds.
        poll_after_millis: u64,
        /// For the console and the log.
        reason: String,
    },
    /// Carry out the plan that was reported.
    Proceed {
        /// The authority.
        order: SignedOrder,
    },
    /// Boot the installed system.
    BootLocal {
        /// For the console and the log.
        reason: String,
        /// Jump into the installed kernel instead of resetting the machine.
        kexec: bool,
    },
    /// Look again now and report (resident and ramdisk). The context may have changed.
    LookAgain {
        /// For the log.
        reason: String,
    },
    /// Reboot into the ramdisk (resident only).
    EnterRamdisk {
        /// The job that wants it.
        job: JobId,
        /// For the log.
        reason: String,
    },
}

/// A step is about to do what cannot be undone. Nothing is written before this is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// Under which order.
    pub order: OrderId,
    /// Which step of the plan, from 0.
    pub step: u32,
}

/// How far the work is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// What is being done: `looking`, `erasing`, `verifying`, `writing`, `repairing`.
    pub phase: String,
    /// Done so far, in bytes.
    pub done_bytes: u64,
    /// In all, in bytes; 0 if nobody knows.
    pub total_bytes: u64,
}

/// What the resident agent needs to speak to the service; written into the node's own partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidentIdentity {
    /// Which node.
    pub node: NodeId,
    /// API addresses of the service, such as `https://192.0.2.1:8443`.
    pub service_urls: Vec<String>,
    /// The service's CA certificate, PEM.
    pub ca_certificate: String,
    /// The bearer.
    pub credential: Secret,
    /// The image that is being installed.
    pub image: ImageId,
}

/// What one step did and proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepResult {
    /// Which step of the plan, from 0.
    pub step: u32,
    /// Read from disks, in bytes, verification included.
    pub bytes_read: u64,
    /// Fetched from the service as they came over the wire, in bytes.
    pub bytes_fetched: u64,
    /// Written to disks, in bytes.
    pub bytes_written: u64,
    /// Wall time in milliseconds.
    pub millis: u64,
    /// What was proven, in words and figures: what was read back and how it compared.
    pub proof: String,
    /// The erase record as JSON, for steps that erase (`erasure::EraseRecord`).
    pub erase_record: Option<String>,
}

/// How carrying out an order ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum FinishResult {
    /// Every step was done and proven.
    Done,
    /// A step was not done or not proven. The node stays held until the work is finished.
    Failed {
        /// Which step, from 0.
        step: u32,
        /// Operation, object and what to do next.
        error: String,
    },
    /// The agent refused the order; nothing was written.
    Refused {
        /// Why.
        error: String,
    },
}

/// The end of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// Which order.
    pub order: OrderId,
    /// How it ended.
    pub result: FinishResult,
    /// What each finished step did and proved.
    pub steps: Vec<StepResult>,
}

/// Parameters of the kernel command line that the boot script sets and the ramdisk reads.
pub mod boot_parameter {
    /// API address of the service: `reprieve.service=https://192.0.2.1:8443`; several with commas
    /// between them.
    pub const SERVICE: &str = "reprieve.service";
    /// SHA-256 of the service's CA certificate (DER), hexadecimal.
    pub const CA_SHA256: &str = "reprieve.ca";
    /// The node's id.
    pub const NODE: &str = "reprieve.node";
    /// The one-time token. Removed from everything that is shown or sent.
    pub const TOKEN: &str = "reprieve.token";
    /// Address of the boot interface: `192.0.2.9/255.255.255.0`.
    pub const ADDRESS: &str = "reprieve.address";
    /// Gateway of the boot interface; empty or missing if there is none.
    pub const GATEWAY: &str = "reprieve.gateway";
    /// Hardware address of the boot interface.
    pub const INTERFACE: &str = "reprieve.interface";
}
