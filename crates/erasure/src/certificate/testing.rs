//! An erase as the service knows it, for tests.

use contract::assignment::DataOwner;
use contract::decision::{Action, Confidentiality, Decision, Fitness, Integrity, SanitizeLevel};
use contract::evidence::Evidence;
use contract::id::{
    BootId, CertificateId, Digest, EvidenceId, JobId, NodeId, OrderId, PlanDigest, PolicyDigest, UnixMillis,
};
use contract::inventory::{Composition, DiskFacts, Firmware, Inventory, Transport};
use contract::plan::{DiskTarget, EraseMethod, Step, VerifyDepth};
use contract::reading::{Outcome, Tier, Trust};
use ed25519_dalek::SigningKey;
use uuid::Uuid;

use super::issue::{Facts, NotCertified, certify};
use super::signed::SignedCertificate;
use super::{Certificate, Chain, Issuer, Previous};
use crate::record::EraseRecord;

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Everything that a certificate is made of, to be changed by a test.
pub(crate) struct Known {
    pub step: Step,
    pub evidence: Evidence,
    pub decision: Decision,
    pub record: serde_json::Value,
    pub chain: Chain,
    pub why: String,
    pub order_failed_at_step: Option<u32>,
}

impl Known {
    pub fn good() -> Self {
        let target =
            DiskTarget { id: "nvme-eui.1".parse().unwrap(), size_bytes: 1 << 30, logical_sector_bytes: 512 };
        let seed = Digest::of(b"seed");
        let step = Step::Erase {
            disk: target.clone(),
            method: EraseMethod::NvmeFormatCrypto,
            level: SanitizeLevel::Purge,
            verify_seed: seed,
            verify_samples: 2000,
            verify_depth: VerifyDepth::default(),
        };
        let record = serde_json::json!({
            "disk": target, "level": "purge", "method": "nvme-format-crypto", "seed": seed,
            "device_status": "NVMe status 0x0", "markers_gone": 512, "samples": 2000,
            "positions": Digest::of(b"positions"), "bytes_read_back": 12_386_304,
            "found": {"zeros": 2000, "ones": 0, "noise": 512}, "found_with_95_percent_ppm": 1497,
            "started_at": 5000, "ended_at": 9000, "exclusions": ["something that the agent saw"],
        });
        let chain = Chain { number: 1, previous: None };
        let why = "RMA <b>\"Größe\"</b> 中".to_owned();
        Self {
            step,
            evidence: evidence(&target),
            decision: decision(),
            record,
            chain,
            why,
            order_failed_at_step: None,
        }
    }

    pub fn certify(&self) -> Result<Certificate, NotCertified> {
        certify(Facts {
            id: CertificateId(Uuid::from_u128(u128::from(self.chain.number) + 100)),
            issuer: Issuer { account: "reprieve-bootsvc".into(), version: "0.1.0".into(), site: None },
            now: UnixMillis(10_000 + self.chain.number),
            order: OrderId(Uuid::from_u128(1)),
            job: JobId(Uuid::from_u128(2)),
            plan: PlanDigest(Digest::of(b"plan")),
            step_number: 0,
            step: &self.step,
            begun_at: UnixMillis(4000),
            begun_before: vec![UnixMillis(1000)],
            evidence: &self.evidence,
            decision: &self.decision,
            data_owner: &DataOwner::Tenant("acme".parse().unwrap()),
            requested_by: "operator",
            why: Some(&self.why),
            record: &self.record.to_string(),
            tpm_quote: None,
            order_failed_at_step: self.order_failed_at_step,
            chain: self.chain.clone(),
        })
    }

    pub fn signed(&self) -> SignedCertificate {
        SignedCertificate::sign(&self.certify().unwrap(), &key()).unwrap()
    }

    /// What the next certificate of the same disk is made of.
    pub fn after(signed: &SignedCertificate) -> Self {
        let certificate = signed.read_unchecked().unwrap();
        let previous = Previous { id: certificate.id, digest: signed.digest().unwrap() };
        let chain = Chain { number: certificate.chain.number + 1, previous: Some(previous) };
        Self { chain, ..Self::good() }
    }
}

/// The record as this version's agent makes it, so that a change there that we depend on is found.
pub(crate) fn record_of_this_version(known: &Known) -> EraseRecord {
    serde_json::from_value(known.record.clone()).unwrap()
}

fn decision() -> Decision {
    Decision {
        node: NodeId(Uuid::from_u128(3)),
        evidence: EvidenceId(Uuid::from_u128(4)),
        decided_at: UnixMillis(3000),
        confidentiality: Confidentiality::KeepData,
        integrity: Integrity::Intact,
        fitness: Fitness::Fit,
        action: Action::Wipe,
        reasons: Vec::new(),
        findings: Vec::new(),
        rejected: Vec::new(),
        what_would_change_it: Vec::new(),
        policy: PolicyDigest(Digest::of(b"policy")),
        engine: "verdict 1".to_owned(),
        model: None,
        costs: Vec::new(),
        forecast: Vec::new(),
        readiness: None,
        remedies: Vec::new(),
    }
}

fn evidence(target: &DiskTarget) -> Evidence {
    let text = |text: &str| Outcome::Value(text.to_owned());
    let disk = DiskFacts {
        id: target.id.clone(),
        kernel_name: "nvme0n1".to_owned(),
        transport: Transport::Nvme,
        model: text("Fast & Sons 3000"),
        serial: text("S3R1AL-0123456789-0123456789-0123456789"),
        firmware_revision: Outcome::Unreadable("EIO".to_owned()),
        size_bytes: target.size_bytes,
        logical_sector_bytes: target.logical_sector_bytes,
        rotational: Outcome::Value(false),
        read_only: false,
        removable: false,
        nvme: Outcome::Absent,
        ata: Outcome::Absent,
        sanitize: Outcome::Absent,
        locking: Outcome::Absent,
        write_same: Outcome::Absent,
        composition: Composition::Single,
    };
    Evidence {
        id: EvidenceId(Uuid::from_u128(4)),
        node: NodeId(Uuid::from_u128(3)),
        taken_at: UnixMillis(3000),
        boot_id: BootId(Uuid::from_u128(5)),
        trust: Trust::Ramdisk,
        tier: Tier::T2,
        agent_version: "0.1.0".to_owned(),
        inventory: Inventory {
            system_uuid: Outcome::Value(Uuid::from_u128(6)),
            vendor: text("Vendor"),
            product: Outcome::Absent,
            serial: text("SN-1"),
            bios_version: Outcome::Absent,
            firmware: Outcome::Value(Firmware::Uefi),
            cpu_model: Outcome::Absent,
            cpu_count: Outcome::Value(2),
            memory_bytes: Outcome::Value(1 << 30),
            disks: Outcome::Value(vec![disk]),
            nics: Outcome::Absent,
            memory_modules: Outcome::Absent,
            gpus: Outcome::Absent,
            bmc_version: Outcome::Absent,
        },
        readings: Vec::new(),
    }
}
