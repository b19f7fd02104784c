//! What a ramdisk shows of its boot, and what the service makes of it for people.

use serde::{Deserialize, Serialize};

use crate::assignment::BootTrust;
use crate::id::{Digest, UnixMillis};
use crate::reading::Outcome;
use crate::secret::Secret;

/// The answer to the challenge of [`crate::agent_api::EnrollReply`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootProof {
    /// What the machine shows; absent where it has no TPM 2.0.
    pub shown: Outcome<ShownBoot>,
}

/// What a TPM and the firmware say of this boot. Bytes are in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownBoot {
    /// Registers of the SHA-256 bank, as the kernel reads them, by number.
    pub registers: Vec<(u8, Digest)>,
    /// The firmware's event log.
    pub event_log: String,
    /// What the TPM signed (`TPMS_ATTEST`).
    pub attested: String,
    /// Its signature (`TPMT_SIGNATURE`).
    pub signature: String,
    /// The public part of the attestation key (`TPMT_PUBLIC`).
    pub public: String,
    /// The kernel's command line, with the one-time token, which is used up by now: its digest was measured.
    pub command_line: Secret,
}

/// What is known of how a node boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootView {
    /// When a person recorded a boot that later ones are compared with; none while nobody has.
    pub recorded_at: Option<UnixMillis>,
    /// Why, in that person's words.
    pub why: Option<String>,
    /// When the last boot was shown.
    pub shown_at: Option<UnixMillis>,
    /// What it proves against what is recorded.
    pub trust: BootTrust,
}

/// Records the last boot of a node as the one that later ones are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustBootRequest {
    /// Why, such as `firmware 2.4 was installed`; at most 200 characters.
    pub why: String,
}
