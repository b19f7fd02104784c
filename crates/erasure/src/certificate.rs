//! The signed proof of one disk's sanitization, and how anybody checks it without the service.
//!
//! - [`Certificate`]: the form. What nobody knows is there as absent (`null`), never invented.
//! - [`issue`]: the only way from a finished erase to a certificate, and the reasons why there is none.
//! - [`signed`]: signature, one spelling for each certificate, and the chain per disk.
//! - [`wording`]: the words for methods and standards.
//! - [`fields`]: all of it as rows for people; [`html`]: the page.
//!
//! Fields: NIST SP 800-88r2 section 4.6 and appendix C, and what the device and the service say beside
//! them.

#[cfg(test)]
mod clean_tests;
pub mod fields;
pub mod html;
pub mod issue;
pub mod signed;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod wording;
#[cfg(test)]
mod write_same_tests;

use contract::certificate_api::UncoveredArea;
use contract::decision::SanitizeLevel;
use contract::id::{
    CertificateId, Digest, DiskId, EvidenceId, JobId, NodeId, OrderId, PlanDigest, PolicyDigest, UnixMillis,
};
use contract::inventory::Transport;
use contract::plan::{EraseMethod, VerifyDepth};
use contract::reading::Outcome;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The form of a certificate that this version makes and reads.
pub const FORM: &str = "reprieve-erase-certificate-1";

/// One disk was sanitized: what was done, what was seen, on whose word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// [`FORM`].
    pub form: String,
    /// Its name.
    pub id: CertificateId,
    /// When it was made, the service's time.
    pub issued_at: UnixMillis,
    /// Who made it.
    pub issuer: Issuer,
    /// What it says, in one paragraph.
    pub statement: String,
    /// Which disk.
    pub device: Device,
    /// In which machine.
    pub machine: Machine,
    /// What the organisation knows of the medium.
    pub media: Media,
    /// What was done.
    pub sanitization: Sanitization,
    /// How it was proven.
    pub verification: Verification,
    /// What is not covered, plainly.
    pub exclusions: Vec<String>,
    /// Which parts of the disk are beside what was erased, and whether this disk has them. Empty on
    /// certificates of before they were looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_covered: Vec<UncoveredArea>,
    /// On whose word.
    pub authority: Authority,
    /// Who verified and validated. A person's fields are absent until a person has signed.
    pub people: People,
    /// Which certificate of the same disk came before.
    pub chain: Chain,
    /// The agent's record of the erase, as it was reported.
    pub erase_record: serde_json::Value,
    /// The disk as the agent saw it before the erase, capabilities included, as it was reported.
    pub device_evidence: serde_json::Value,
}

/// Who made a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuer {
    /// The service account: name of the program.
    pub account: String,
    /// Its version.
    pub version: String,
    /// The site, where it has a name.
    pub site: Option<String>,
}

/// The disk, as it named itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its stable identity: EUI-64, NGUID or WWN where it has one, else model and serial number.
    pub id: DiskId,
    /// Its manufacturer. Disks do not say it apart from the model.
    pub manufacturer: Option<String>,
    /// Its model.
    pub model: Outcome<String>,
    /// Its serial number.
    pub serial: Outcome<String>,
    /// Its firmware revision.
    pub firmware_revision: Outcome<String>,
    /// How it is attached.
    pub transport: Transport,
    /// Whether it rotates, as the kernel says.
    pub rotational: Outcome<bool>,
    /// Its size in bytes, as it can be addressed.
    pub size_bytes: u64,
    /// Its logical sector size in bytes.
    pub logical_sector_bytes: u32,
    /// Bytes that it hides (host-protected area, device configuration overlay, accessible maximum
    /// address); absent where it has no such thing. SCSI disks are not asked.
    pub hidden_bytes: Outcome<u64>,
}

/// The machine that the disk was in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The node.
    pub node: NodeId,
    /// SMBIOS system UUID.
    pub system_uuid: Outcome<Uuid>,
    /// SMBIOS system manufacturer.
    pub vendor: Outcome<String>,
    /// SMBIOS system product name.
    pub product: Outcome<String>,
    /// SMBIOS system serial number.
    pub serial: Outcome<String>,
}

/// What the organisation knows of the medium (NIST SP 800-88r2 appendix C).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// The organisation's property number.
    pub property_number: Option<String>,
    /// Where it came from.
    pub source: Option<String>,
    /// Where it goes.
    pub destination: Option<String>,
    /// Whose data it held, in words.
    pub held_data_of: String,
    /// Its confidentiality category before.
    pub category_before: Option<String>,
    /// Its confidentiality category after.
    pub category_after: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sanitization {
    /// Clear or purge: the method in the sense of NIST SP 800-88r2 section 3.1.
    pub method: SanitizeLevel,
    /// The technique, for programs.
    pub technique: EraseMethod,
    /// The technique, in words.
    pub technique_name: String,
    /// By which standard's technique, and what is not claimed.
    pub technique_standard: String,
    /// Where it stands that this technique delivers the method on this medium.
    pub technique_source: String,
    /// What did it.
    pub tool: String,
    /// Its version.
    pub tool_version: String,
    /// What the device answered.
    pub device_status: Option<String>,
    /// Whether the device said beforehand that it had been sanitized and that nothing was written since
    /// (NVMe: Global Data Erased). Recorded only, unless the technique says that the disk was found clean.
    /// Absent where the device does not say.
    #[serde(default = "absent", skip_serializing_if = "is_absent")]
    pub said_clean_before: Outcome<bool>,
    /// When the erase started, the service's time.
    pub started_at: UnixMillis,
    /// When the last block was read back, the service's time.
    pub ended_at: UnixMillis,
    /// When this disk was begun before in the same job and not finished: a loss of power, a reset or a
    /// failure lies between.
    pub begun_before: Vec<UnixMillis>,
}

fn absent<T>() -> Outcome<T> {
    Outcome::Absent
}

fn is_absent<T>(outcome: &Outcome<T>) -> bool {
    matches!(outcome, Outcome::Absent)
}

/// How it was proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// In words and figures.
    pub method: String,
    /// How much of the disk was read back.
    pub depth: VerifyDepth,
    /// Seed of the positions that were read back and of the markers.
    pub seed: Digest,
    /// BLAKE3 of the positions, each as 8 bytes little-endian.
    pub positions: Option<Digest>,
    /// How many blocks of 4 KiB were read back at positions from the seed.
    pub samples: u64,
    /// How many markers were written before and found gone afterwards.
    pub markers_gone: Option<u64>,
    /// How many bytes were read back in all.
    pub bytes_read_back: Option<u64>,
    /// The share of un-erased blocks that the samples find with 95 % probability, parts per million.
    pub found_with_95_percent_ppm: Option<u32>,
}

/// On whose word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Who asked.
    pub requested_by: String,
    /// Why, in their words.
    pub why: Option<String>,
    /// In which job.
    pub job: JobId,
    /// Under which signed order.
    pub order: OrderId,
    /// Which step of its plan, from 0.
    pub step: u32,
    /// Digest of the plan.
    pub plan: PlanDigest,
    /// The evidence and the decision that rests on it.
    pub decision: EvidenceId,
    /// The policy that approved it.
    pub policy: PolicyDigest,
    /// The rules that judged: name and version.
    pub engine: String,
    /// The human approver, where two persons have to agree.
    pub approver: Option<String>,
    /// When the service recorded the intent, before the first byte.
    pub begun_at: UnixMillis,
    /// When the service was told that everything is proven.
    pub finished_at: UnixMillis,
    /// The step of the plan, from 0, at which the order failed, before or after this disk was proven erased;
    /// absent where the whole order was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_failed_at_step: Option<u32>,
    /// TPM quote of the system that ran the erase.
    pub tpm_quote: Option<String>,
}

/// Who verified and validated (NIST SP 800-88r2 sections 4.5.1 and 4.5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// What verified in place of a person.
    pub verified_automatically_by: String,
    /// The person that verified.
    pub verified_by: Person,
    /// The person that accepted the result for the organisation.
    pub validated_by: Person,
}

/// A person; everything is absent until one has signed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Name.
    pub name: Option<String>,
    /// Title.
    pub title: Option<String>,
    /// Date.
    pub date: Option<String>,
    /// Location.
    pub location: Option<String>,
    /// How to reach them.
    pub contact: Option<String>,
    /// Signature.
    pub signature: Option<String>,
}

/// Which certificate of the same disk came before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Counts the certificates of this disk, from 1.
    pub number: u64,
    /// The one before; none for the first.
    pub previous: Option<Previous>,
}

/// The certificate before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its name.
    pub id: CertificateId,
    /// BLAKE3 of its file.
    pub digest: Digest,
}
