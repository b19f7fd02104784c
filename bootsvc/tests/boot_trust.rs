//! A node shows how it booted: what is believed, what is not, and what a person records.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use attest::event_log::replay;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use contract::agent_api::{ContextReply, EnrollReply};
use contract::assignment::BootTrust;
use contract::boot_proof::{BootProof, ShownBoot};
use contract::decision::Action;
use contract::id::Digest;
use contract::operator_api::{DecisionView, ErrorBody, ErrorKind, NodeView};
use contract::reading::{Outcome, Trust};
use contract::secret::Secret;
use reqwest::Method;
use serde_json::json;
use support::Bench;
use support::flow::{approve, factory_new};
use support::machine::Machine;

/// SHA-256 of the command line below as the kernel measures it: UTF-16 with the zero at its end.
fn measured(command_line: &str) -> [u8; 32] {
    let mut bytes: Vec<u8> = command_line.encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.extend([0, 0]);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    digest.as_ref().try_into().unwrap()
}

/// A TPM with a firmware around it; `firmware` and `ramdisk` are what it measures of them.
struct Tpm {
    key: EcdsaKeyPair,
    firmware: u8,
    ramdisk: u8,
}

impl Tpm {
    fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { key, firmware: 1, ramdisk: 1 }
    }

    fn public(&self) -> Vec<u8> {
        let mut public =
            vec![0, 0x23, 0, 0x0B, 0, 5, 4, 0x72, 0, 0, 0, 0x10, 0, 0x18, 0, 0x0B, 0, 3, 0, 0x10];
        let point = self.key.public_key().as_ref();
        for coordinate in [&point[1..33], &point[33..]] {
            public.extend([0, 32]);
            public.extend(coordinate);
        }
        public
    }

    fn event_log(&self, command_line: &str) -> Vec<u8> {
        let mut head = b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02\x01\0\0\0\x0B\0\x20\0\0".to_vec();
        let mut log =
            [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &[u8::try_from(head.len()).unwrap(), 0, 0, 0]].concat();
        log.append(&mut head);
        let mut event = |register: u32, kind: u32, digest: [u8; 32], data: u32| {
            log.extend([register, kind, 1].map(u32::to_le_bytes).concat());
            log.extend([0x0B, 0]);
            log.extend(digest);
            log.extend([4_u32, data].map(u32::to_le_bytes).concat());
        };
        event(0, 8, [self.firmware; 32], 0);
        event(4, 0x8000_0003, [3; 32], 0);
        event(9, 6, measured(command_line), 0x8F3B_22ED);
        event(9, 6, [self.ramdisk; 32], 0x8F3B_22EC);
        log
    }

    fn show(&self, challenge: Digest, command_line: &str) -> ShownBoot {
        let event_log = self.event_log(command_line);
        let registers = replay(&event_log).unwrap().registers;
        let mut attested = vec![0xFF, b'T', b'C', b'G', 0x80, 0x18, 0, 0, 0, 32];
        attested.extend(challenge.0);
        attested.extend([0; 8 + 4 + 5 + 8]);
        attested.extend([0, 0, 0, 1, 0, 0x0B, 3, 0xFF, 0x43, 0, 0, 32]);
        attested.extend(registers.digest());
        let numbers = self.key.sign(&SystemRandom::new(), &attested).unwrap();
        let mut signature = vec![0, 0x18, 0, 0x0B];
        for number in numbers.as_ref().chunks(32) {
            signature.extend([0, 32]);
            signature.extend(number);
        }
        ShownBoot {
            registers: registers.iter().map(|(index, register)| (index, Digest(*register))).collect(),
            event_log: hex::encode(event_log),
            attested: hex::encode(attested),
            signature: hex::encode(signature),
            public: hex::encode(self.public()),
            command_line: Secret::new(command_line.to_owned()),
        }
    }
}

async fn send(
    bench: &Bench,
    machine: &Machine,
    shown: Outcome<ShownBoot>,
) -> Result<ContextReply, ErrorBody> {
    bench.call(Method::POST, "/v1/agent/boot-proof", &machine.session, &BootProof { shown }).await
}

/// Boots into the ramdisk and shows it, with this boot's own token on the command line.
async fn boots(bench: &Bench, machine: &mut Machine, tpm: &Tpm) -> BootTrust {
    let EnrollReply { boot_challenge, context, .. } = machine.come(bench).await;
    assert_eq!(context.node.boot_trust, None, "what an earlier session showed counts for nothing");
    let line = format!("quiet reprieve.node={} reprieve.token={}", machine.node, machine.session);
    let shown = tpm.show(boot_challenge.unwrap(), &line);
    let reply = send(bench, machine, Outcome::Value(shown)).await.unwrap();
    assert_eq!(machine.context(bench).await.node.boot_trust, reply.node.boot_trust);
    reply.node.boot_trust.unwrap()
}

async fn trust_boot(bench: &Bench, machine: &Machine, why: &str) -> Result<NodeView, ErrorBody> {
    let path = format!("/v1/nodes/{}/trust-boot", machine.node);
    bench.operator(Method::POST, &path, &json!({ "why": why })).await
}

/// Reports with this trust; the action that follows.
async fn judged(bench: &Bench, machine: &Machine, trust: Trust) -> Result<Action, ErrorBody> {
    let report = machine.report_of(bench, trust).await;
    machine.send(bench, &report).await?;
    let path = format!("/v1/nodes/{}/decision", machine.node);
    let view: DecisionView = bench.operator(Method::GET, &path, &()).await.unwrap();
    assert_eq!(Some(&view.decision), report.decision.as_ref(), "agent and service judge alike");
    Ok(view.decision.action)
}

fn is_unproven_for(trust: &BootTrust, part: &str) -> bool {
    matches!(trust, BootTrust::Unproven { why } if why.contains(part))
}

/// Machines that nobody has approved, so that they come to the ramdisk each time.
async fn bench() -> Bench {
    Bench::start_with("discovery_attempts_max = 20\n").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_is_verified_after_a_person_recorded_it_and_until_the_firmware_changes() {
    let bench = bench().await;
    let (mut machine, mut tpm) = (Machine::new(1), Tpm::new());
    assert!(is_unproven_for(&boots(&bench, &mut machine, &tpm).await, "nobody has recorded"));
    assert!(judged(&bench, &machine, Trust::RamdiskAttested).await.is_err(), "nothing is verified yet");
    judged(&bench, &machine, Trust::Ramdisk).await.unwrap();
    let node = trust_boot(&bench, &machine, "new").await.unwrap();
    assert_eq!(node.boot.unwrap().trust, BootTrust::Verified);

    assert_eq!(boots(&bench, &mut machine, &tpm).await, BootTrust::Verified);
    assert_ne!(judged(&bench, &machine, Trust::RamdiskAttested).await.unwrap(), Action::Quarantine);

    tpm.ramdisk = 2;
    assert!(is_unproven_for(&boots(&bench, &mut machine, &tpm).await, "ramdisk"));
    assert!(judged(&bench, &machine, Trust::RamdiskAttested).await.is_err());
    assert_ne!(judged(&bench, &machine, Trust::Ramdisk).await.unwrap(), Action::Quarantine);

    tpm.firmware = 2;
    let found = boots(&bench, &mut machine, &tpm).await;
    assert_eq!(found, BootTrust::Mismatch { registers: vec!["PCR 0 (firmware)".to_owned()] });
    assert_eq!(judged(&bench, &machine, Trust::Ramdisk).await.unwrap(), Action::Quarantine);

    assert_eq!(trust_boot(&bench, &machine, " ").await.unwrap_err().kind, ErrorKind::BadRequest);
    let node = trust_boot(&bench, &machine, "firmware 2 and a new ramdisk").await.unwrap();
    assert_eq!(node.boot.unwrap().why.as_deref(), Some("firmware 2 and a new ramdisk"));
    assert_eq!(boots(&bench, &mut machine, &tpm).await, BootTrust::Verified);
    let boot = approve(&bench, &machine, factory_new()).await.boot.unwrap();
    assert_eq!((boot.why.as_deref(), boot.trust), (Some("approved"), BootTrust::Verified));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_another_tpms_or_not_there_proves_nothing() {
    let bench = bench().await;
    let (mut machine, tpm) = (Machine::new(1), Tpm::new());
    let challenge = machine.come(&bench).await.boot_challenge.unwrap();
    let old = tpm.show(challenge, "quiet");
    send(&bench, &machine, Outcome::Value(old.clone())).await.unwrap();
    trust_boot(&bench, &machine, "new").await.unwrap();

    machine.come(&bench).await;
    let trust = |reply: ContextReply| reply.node.boot_trust.unwrap();
    let reply = send(&bench, &machine, Outcome::Value(old)).await.unwrap();
    assert!(is_unproven_for(&trust(reply), "another challenge"));
    assert_eq!(trust_boot(&bench, &machine, "x").await.unwrap_err().kind, ErrorKind::Conflict);
    let reply = send(&bench, &machine, Outcome::Absent).await.unwrap();
    assert!(is_unproven_for(&trust(reply), "no TPM"));
    let reply = send(&bench, &machine, Outcome::Unreadable("\u{1b}[2J refused".to_owned())).await.unwrap();
    assert!(is_unproven_for(&trust(reply), "asked: [2J refused"));
    assert!(is_unproven_for(&boots(&bench, &mut machine, &Tpm::new()).await, "another TPM"));
    assert!(judged(&bench, &machine, Trust::RamdiskAttested).await.is_err());
}
