//! From a finished erase to a certificate. Every fact that can be checked against another is; what
//! does not agree gives no certificate.

mod words;

use contract::assignment::DataOwner;
use contract::decision::{Decision, SanitizeLevel};
use contract::evidence::Evidence;
use contract::id::{CertificateId, Digest, JobId, OrderId, PlanDigest, UnixMillis};
use contract::inventory::{DiskFacts, SanitizeState, Transport};
use contract::plan::{DiskTarget, EraseMethod, Step, VerifyDepth};
use contract::reading::Outcome;
use serde::Deserialize;

use self::words::{all_exclusions, statement, verification_in_words};
use super::{
    Authority, Certificate, Chain, Device, FORM, Issuer, Machine, Media, People, Person, Sanitization,
    Verification, wording,
};
use crate::coverage::{not_asked_of_scsi, not_covered};
use crate::method::{Medium, TABLE, if_refused};
use crate::sample::BLOCK_BYTES;

/// What a certificate is made of, all of it from the service's own records but the agent's record.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The name that the certificate gets.
    pub id: CertificateId,
    /// Who makes it.
    pub issuer: Issuer,
    /// Now.
    pub now: UnixMillis,
    /// The order.
    pub order: OrderId,
    /// Its job.
    pub job: JobId,
    /// The digest of its plan.
    pub plan: PlanDigest,
    /// Which step, from 0.
    pub step_number: u32,
    /// The step as it was ordered.
    pub step: &'a Step,
    /// When the service recorded that the step begins.
    pub begun_at: UnixMillis,
    /// When this disk was begun before in the same job and not finished.
    pub begun_before: Vec<UnixMillis>,
    /// The evidence that the plan rests on.
    pub evidence: &'a Evidence,
    /// What was judged on it.
    pub decision: &'a Decision,
    /// Whose data the disk held.
    pub data_owner: &'a DataOwner,
    /// Who asked.
    pub requested_by: &'a str,
    /// Why.
    pub why: Option<&'a str>,
    /// The agent's record, as it was reported.
    pub record: &'a str,
    /// What the TPM signed of the boot of the ramdisk that erased, in words; none where it signed nothing.
    pub tpm_quote: Option<String>,
    /// The step at which the order failed otherwise, from 0, if it did.
    pub order_failed_at_step: Option<u32>,
    /// Where it stands among the certificates of the disk.
    pub chain: Chain,
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCertified {
    /// The step erases nothing.
    #[error("the step is not an erase")]
    NotAnErase,
    /// The record cannot be read.
    #[error("the erase record cannot be read: {0}")]
    Record(String),
    /// Record and order say different things.
    #[error("the erase record is about {what} {record}, but {what} {ordered} was ordered")]
    Disagrees {
        /// About what.
        what: &'static str,
        /// What the record says.
        record: String,
        /// What was ordered.
        ordered: String,
    },
    /// Fewer blocks were read back than the order asked for.
    #[error("the erase record says that {read} blocks were read back, but {ordered} were ordered")]
    TooFewReadBack {
        /// Blocks read back.
        read: u64,
        /// Blocks ordered.
        ordered: u64,
    },
    /// Less was read back than the depth of the order asks for.
    #[error("the erase record says that {read} bytes were read back, but at least {ordered} were ordered")]
    TooLittleReadBack {
        /// Bytes read back.
        read: u64,
        /// Bytes ordered.
        ordered: u64,
    },
    /// The technique does not deliver the level on this medium, whatever was ordered.
    #[error("{technique} does not deliver the level {level} on this medium")]
    DoesNotDeliver {
        /// The technique in words.
        technique: &'static str,
        /// The level in a word.
        level: &'static str,
    },
    /// The disk counts as found clean, and never said that it is.
    #[error("the disk was not erased now, and the evidence does not know that it said that it is clean")]
    NotSaidClean,
    /// The record's times contradict each other.
    #[error("the erase record ends before it starts")]
    Times,
    /// The evidence does not know the disk as the order names it.
    #[error("the evidence that the plan rests on does not know the disk {0} as it was ordered")]
    DeviceUnknown(String),
}

/// What of an erase record the certificate depends on. A newer record may say more; all of it is kept
/// beside these as it came.
#[derive(Debug, Deserialize)]
struct Record {
    disk: DiskTarget,
    level: SanitizeLevel,
    method: EraseMethod,
    seed: Digest,
    samples: u64,
    started_at: UnixMillis,
    ended_at: UnixMillis,
    device_status: Option<String>,
    markers_gone: Option<u64>,
    positions: Option<Digest>,
    bytes_read_back: Option<u64>,
    found_with_95_percent_ppm: Option<u32>,
    #[serde(default)]
    exclusions: Vec<String>,
    #[serde(default)]
    commands: Vec<Given>,
}

/// What of a command that the disk was given matters here.
#[derive(Debug, Deserialize)]
struct Given {
    #[serde(default)]
    purpose: String,
}

impl Record {
    /// The technique that was ordered and that the disk refused, if what was done is what it means then.
    fn refused(&self) -> Option<EraseMethod> {
        let refused = self.commands.iter().any(|given| given.purpose == "refused");
        let mut ordered = TABLE.iter().map(|row| row.method);
        ordered.find(|ordered| refused && if_refused(*ordered) == Some(self.method))
    }
}

/// Makes the certificate of one finished erase step.
///
/// # Errors
/// [`NotCertified`] says what does not agree.
pub fn certify(facts: Facts<'_>) -> Result<Certificate, NotCertified> {
    let ordered = Ordered::of(facts.step)?;
    let value: serde_json::Value =
        serde_json::from_str(facts.record).map_err(|error| NotCertified::Record(error.to_string()))?;
    let record: Record =
        serde_json::from_str(facts.record).map_err(|error| NotCertified::Record(error.to_string()))?;
    ordered.check(&record)?;
    let disk = disk_of(facts.evidence, ordered.disk)?;
    let technique_source = technique_source(disk, &record)?;
    let device_evidence =
        serde_json::to_value(disk).map_err(|error| NotCertified::Record(error.to_string()))?;
    let inventory = &facts.evidence.inventory;
    let tool = "reprieve-agent".to_owned();
    Ok(Certificate {
        form: FORM.to_owned(),
        id: facts.id,
        issued_at: facts.now,
        issuer: facts.issuer,
        statement: statement(&record),
        device: device(disk),
        machine: Machine {
            node: facts.evidence.node,
            system_uuid: inventory.system_uuid.clone(),
            vendor: inventory.vendor.clone(),
            product: inventory.product.clone(),
            serial: inventory.serial.clone(),
        },
        media: Media {
            property_number: None,
            source: Some(source(facts.evidence)),
            destination: None,
            held_data_of: held_data_of(facts.data_owner),
            category_before: None,
            category_after: None,
        },
        verification: Verification {
            method: verification_in_words(&record, ordered.depth),
            depth: ordered.depth,
            seed: record.seed,
            positions: record.positions,
            samples: record.samples,
            markers_gone: record.markers_gone.filter(|_| record.method != EraseMethod::NvmeFoundClean),
            bytes_read_back: record.bytes_read_back,
            found_with_95_percent_ppm: record.found_with_95_percent_ppm,
        },
        exclusions: all_exclusions(record.method, record.exclusions),
        not_covered: not_covered(disk),
        sanitization: Sanitization {
            method: record.level,
            technique: record.method,
            technique_name: wording::technique(record.method).to_owned(),
            technique_standard: wording::technique_standard(record.method).to_owned(),
            technique_source: technique_source.to_owned(),
            tool: tool.clone(),
            tool_version: facts.evidence.agent_version.clone(),
            device_status: record.device_status,
            said_clean_before: said_clean(disk),
            started_at: record.started_at,
            ended_at: record.ended_at,
            begun_before: facts.begun_before,
        },
        authority: Authority {
            requested_by: facts.requested_by.to_owned(),
            why: facts.why.map(str::to_owned),
            job: facts.job,
            order: facts.order,
            step: facts.step_number,
            plan: facts.plan,
            decision: facts.evidence.id,
            policy: facts.decision.policy,
            engine: facts.decision.engine.clone(),
            approver: None,
            begun_at: facts.begun_at,
            finished_at: facts.now,
            order_failed_at_step: facts.order_failed_at_step,
            tpm_quote: facts.tpm_quote,
        },
        people: People {
            verified_automatically_by: format!("{tool} {}, by reading back", facts.evidence.agent_version),
            verified_by: Person::default(),
            validated_by: Person::default(),
        },
        chain: facts.chain,
        erase_record: value,
        device_evidence,
    })
}

/// What was ordered.
struct Ordered<'a> {
    disk: &'a DiskTarget,
    method: EraseMethod,
    level: SanitizeLevel,
    seed: Digest,
    samples: u32,
    depth: VerifyDepth,
}

impl<'a> Ordered<'a> {
    fn of(step: &'a Step) -> Result<Self, NotCertified> {
        match step {
            Step::Erase { disk, method, level, verify_seed, verify_samples, verify_depth } => Ok(Self {
                disk,
                method: *method,
                level: *level,
                seed: *verify_seed,
                samples: *verify_samples,
                depth: *verify_depth,
            }),
            _ => Err(NotCertified::NotAnErase),
        }
    }

    fn check(&self, record: &Record) -> Result<(), NotCertified> {
        let differs = |what, record: String, ordered: String| {
            if record == ordered { Ok(()) } else { Err(NotCertified::Disagrees { what, record, ordered }) }
        };
        differs("disk", record.disk.id.to_string(), self.disk.id.to_string())?;
        differs("a size of", record.disk.size_bytes.to_string(), self.disk.size_bytes.to_string())?;
        differs(
            "sectors of",
            record.disk.logical_sector_bytes.to_string(),
            self.disk.logical_sector_bytes.to_string(),
        )?;
        if record.refused() != Some(self.method) {
            differs(
                "the technique",
                wording::technique(record.method).to_owned(),
                wording::technique(self.method).to_owned(),
            )?;
        }
        differs("the level", wording::level(record.level).to_owned(), wording::level(self.level).to_owned())?;
        differs("the seed", record.seed.to_string(), self.seed.to_string())?;
        let least = u64::from(self.samples).min(self.disk.size_bytes / BLOCK_BYTES).max(1);
        if record.samples < least {
            return Err(NotCertified::TooFewReadBack { read: record.samples, ordered: least });
        }
        let (read, ordered) = (record.bytes_read_back.unwrap_or(0), self.bytes_least());
        if read < ordered {
            return Err(NotCertified::TooLittleReadBack { read, ordered });
        }
        if record.ended_at < record.started_at {
            return Err(NotCertified::Times);
        }
        Ok(())
    }
}

impl Ordered<'_> {
    /// The least that is read back at the depth that was ordered, in bytes. Stretches of a tenth are
    /// cut to whole blocks, so a little less than a tenth is allowed for.
    fn bytes_least(&self) -> u64 {
        let size = self.disk.size_bytes;
        match self.depth {
            VerifyDepth::Sampling => 1,
            VerifyDepth::TenPercent => size / 10 - size / 200,
            VerifyDepth::Full => size,
        }
    }
}

/// Where it stands that the technique delivers the level on this medium: a look at the table that is
/// taken again, after the plan's.
fn technique_source(disk: &DiskFacts, record: &Record) -> Result<&'static str, NotCertified> {
    let medium = Medium::of(disk);
    let row = TABLE
        .iter()
        .find(|row| medium == Some(row.medium) && row.method == record.method && row.level >= record.level);
    let row = row.ok_or(NotCertified::DoesNotDeliver {
        technique: wording::technique(record.method),
        level: wording::level(record.level),
    })?;
    if record.method == EraseMethod::NvmeFoundClean && said_clean(disk) != Outcome::Value(true) {
        return Err(NotCertified::NotSaidClean);
    }
    Ok(row.source)
}

fn disk_of<'a>(evidence: &'a Evidence, ordered: &DiskTarget) -> Result<&'a DiskFacts, NotCertified> {
    let disks = evidence.inventory.disks.value().map(Vec::as_slice).unwrap_or_default();
    disks
        .iter()
        .find(|disk| {
            disk.id == ordered.id
                && disk.size_bytes == ordered.size_bytes
                && disk.logical_sector_bytes == ordered.logical_sector_bytes
        })
        .ok_or_else(|| NotCertified::DeviceUnknown(ordered.id.to_string()))
}

fn device(disk: &DiskFacts) -> Device {
    let hidden_bytes = match &disk.ata {
        Outcome::Value(ata) => ata.hidden_bytes.clone(),
        Outcome::Absent if disk.transport == Transport::Scsi => not_asked_of_scsi(),
        Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
    };
    Device {
        id: disk.id.clone(),
        manufacturer: None,
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        firmware_revision: disk.firmware_revision.clone(),
        transport: disk.transport,
        rotational: disk.rotational.clone(),
        size_bytes: disk.size_bytes,
        logical_sector_bytes: disk.logical_sector_bytes,
        hidden_bytes,
    }
}

/// What NVMe says of itself in log page 81h; the other command sets have no such word.
fn said_clean(disk: &DiskFacts) -> Outcome<bool> {
    match (disk.transport, &disk.sanitize) {
        (Transport::Nvme, Outcome::Value(sanitize)) => {
            Outcome::Value(matches!(sanitize.state, SanitizeState::Done { erased_since: true }))
        }
        (Transport::Nvme, Outcome::Unreadable(why)) => Outcome::Unreadable(why.clone()),
        _ => Outcome::Absent,
    }
}

fn source(evidence: &Evidence) -> String {
    match &evidence.inventory.serial {
        Outcome::Value(serial) => format!("machine with serial number {serial}, node {}", evidence.node),
        Outcome::Absent | Outcome::Unreadable(_) => format!("node {}", evidence.node),
    }
}

fn held_data_of(owner: &DataOwner) -> String {
    match owner {
        DataOwner::Unknown => "nobody knows whom".to_owned(),
        DataOwner::Nobody => "nobody".to_owned(),
        DataOwner::Tenant(tenant) => format!("tenant {tenant}"),
    }
}
