//! What a ramdisk or a running system shows of its boot, and what the service makes of it for people.

use serde::{Deserialize, Serialize};

use crate::assignment::BootTrust;
use crate::boot_key::BootKey;
use crate::id::{BootId, Digest, ImageId, NodeId, UnixMillis};
use crate::reading::Outcome;
use crate::secret::Secret;

/// The longest event log that is sent, in bytes: twice as long in hexadecimal it still fits, with the rest of the
/// proof, into what the service reads.
pub const EVENT_LOG_BYTES_MAX: usize = 3 << 20;

/// The answer to the challenge of [`crate::agent_api::EnrollReply`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootProof {
    /// What the machine shows; absent where it has no TPM 2.0.
    pub shown: Outcome<ShownBoot>,
    /// The secret of the session's [`crate::boot_key::BootKeyReply`], in hexadecimal; none where there was none,
    /// or the TPM did not open it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Secret>,
}

/// What the agent of a running system shows of its boot, in answer to the challenge of
/// [`crate::agent_api::ContextReply`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemProof {
    /// Which boot.
    pub boot_id: BootId,
    /// What the machine shows; absent where it has no TPM 2.0. The event log is empty where the kernel was given
    /// none by its loader.
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
    /// By what the key is known that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<BootKey>,
    /// The same of the running system; none while its agent has shown nothing and nothing is recorded of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemBootView>,
}

/// What is known of how a node's running system boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemBootView {
    /// The image whose boot is recorded; none while none is.
    pub image: Option<ImageId>,
    /// When it was recorded, by a person or by its first use.
    pub recorded_at: Option<UnixMillis>,
    /// Why.
    pub why: Option<String>,
    /// When the last boot was shown; none while none was.
    pub shown_at: Option<UnixMillis>,
    /// What it proves against what is recorded; none while none was shown.
    pub trust: Option<BootTrust>,
}

/// Records the last boot of a node as the one that later ones are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustBootRequest {
    /// Why, such as `firmware 2.4 was installed`; at most 200 characters.
    pub why: String,
    /// Which boot the person looked at ([`BootView::shown_at`]); another one that was shown since is not recorded.
    pub shown_at: UnixMillis,
    /// It is right for every node of the same hardware model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_model: bool,
    /// The boot of the running system is meant, under its image, and [`SystemBootView::shown_at`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
}

/// Forgets how a node boots, as where its TPM is gone for good: later boots are unproven, and none is missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetBootRequest {
    /// Why, such as `the new mainboard has no TPM`; at most 200 characters.
    pub why: String,
    /// Forgets what is recorded for every node of the same hardware model instead, and nothing of the node's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_model: bool,
}

/// A part of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GoldenPart {
    /// Firmware, option ROMs and Secure Boot policy.
    Firmware,
    /// Boot programs, kernel, ramdisk and command line.
    Booted,
    /// Boot programs, loader's commands and files of an image's system.
    System,
}

/// A part of a boot that a person found right for every node of a hardware model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenBootView {
    /// The hardware model: maker and product.
    pub hardware_model: String,
    /// Which part.
    pub part: GoldenPart,
    /// What it is known by.
    pub digest: Digest,
    /// Of which node's boot it is.
    pub node: NodeId,
    /// For people: the firmware's version, or the ramdisk's or the image's digest.
    pub label: String,
    /// Why, in that person's words.
    pub why: String,
    /// When.
    pub recorded_at: UnixMillis,
}
