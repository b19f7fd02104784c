//! By what the key that signs for a node's boots is known: the endorsement key that a ramdisk shows, the
//! credential that only a TPM with both keys opens, and what the service makes of it.

use serde::{Deserialize, Serialize};

use crate::reading::Outcome;

/// What a ramdisk shows of its TPM's keys before it proves its boot. Bytes are in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootKeyRequest {
    /// The public part of the attestation key (`TPMT_PUBLIC`).
    pub attestation: String,
    /// The public part of the endorsement key (`TPMT_PUBLIC`).
    pub endorsement: String,
    /// Its maker's certificate (DER); absent where the TPM holds none.
    pub certificate: Outcome<String>,
}

/// A secret that only a TPM with both keys can read. Bytes are in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootKeyReply {
    /// The secret, encrypted and bound to the attestation key (`TPMS_ID_OBJECT`).
    pub credential: String,
    /// What it was encrypted with, encrypted for the endorsement key (`TPM2B_ENCRYPTED_SECRET`).
    pub encrypted_seed: String,
}

/// What shows whose key it is that signs for a node's boots; more comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KnownBy {
    /// Nothing but that it signed before, when a person found the node right.
    #[default]
    FirstUse,
    /// A device showed that it holds it beside its endorsement key. No certificate says who made that device: it
    /// may be a program.
    Endorsement,
    /// The same, and a maker whom the operator trusts certified the endorsement key: it is a TPM's.
    CertifiedTpm,
}

/// By what the key of this boot is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootKey {
    /// By what.
    pub known_by: KnownBy,
    /// The maker of the TPM, or why no more is known, in words.
    pub why: String,
    /// Why the certificate that was shown is not believed; only where the operator configured roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_certificate: Option<String>,
}
