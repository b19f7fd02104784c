//! A node shows whose key signs for its boots: what a certified TPM, one of an unknown maker, and one that shows
//! nothing are good for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{ContextReply, EnrollReply};
use contract::assignment::{BootTrust, NodeContext};
use contract::boot_key::{BootKey, BootKeyReply, BootKeyRequest, KnownBy};
use contract::boot_proof::BootProof;
use contract::decision::Decision;
use contract::operator_api::{DecisionView, ErrorBody, ErrorKind, NodeView};
use contract::reading::{Outcome, Trust};
use contract::secret::Secret;
use reqwest::Method;
use serde_json::json;
use support::machine::Machine;
use support::tpm::{Tpm, bench_that_believes, maker};
use support::{Bench, kind_of};

const CERTIFIED: &str = "[boot_trust]\nkey_known_by = \"certified-tpm\"\n";

/// One boot: what the service asks to be signed, and the command line.
struct Boot {
    challenge: contract::id::Digest,
    line: String,
}

async fn comes(bench: &Bench, machine: &mut Machine) -> Boot {
    let request = machine.boot(bench).await.expect("the ramdisk");
    let line = format!("quiet reprieve.node={} reprieve.token={}", machine.node, request.token.reveal());
    let EnrollReply { boot_challenge, context, .. } = machine.enroll(bench, &request).await.unwrap();
    assert_eq!(context.node.boot_key, None, "what an earlier session showed counts for nothing");
    Boot { challenge: boot_challenge.unwrap(), line }
}

async fn show_keys(
    bench: &Bench,
    machine: &Machine,
    keys: &BootKeyRequest,
) -> Result<BootKeyReply, ErrorBody> {
    bench.call(Method::POST, "/v1/agent/boot-key", &machine.session, keys).await
}

async fn prove(
    bench: &Bench,
    machine: &Machine,
    (boot, tpm): (&Boot, &Tpm),
    opened: Option<Secret>,
) -> NodeContext {
    let shown = Outcome::Value(tpm.show(boot.challenge, &boot.line));
    let proof = BootProof { shown, opened };
    let reply: ContextReply =
        bench.call(Method::POST, "/v1/agent/boot-proof", &machine.session, &proof).await.unwrap();
    assert_eq!(machine.context(bench).await.node.boot_key, reply.node.boot_key);
    reply.node
}

/// Boots, shows its keys and proves its boot, as the agent does.
async fn boots(bench: &Bench, machine: &mut Machine, tpm: &Tpm) -> (BootTrust, BootKey) {
    let boot = comes(bench, machine).await;
    let credential = show_keys(bench, machine, &tpm.keys()).await.unwrap();
    let opened = tpm.open(&credential);
    assert!(opened.is_some(), "the TPM holds both keys");
    let node = prove(bench, machine, (&boot, tpm), opened).await;
    (node.boot_trust.unwrap(), node.boot_key.unwrap())
}

async fn trust_boot(bench: &Bench, machine: &Machine) -> NodeView {
    let path = format!("/v1/nodes/{}", machine.node);
    let node: NodeView = bench.operator(Method::GET, &path, &()).await.unwrap();
    let request = json!({ "why": "new", "shown_at": node.boot.unwrap().shown_at });
    bench.operator(Method::POST, &format!("{path}/trust-boot"), &request).await.unwrap()
}

async fn judged(bench: &Bench, machine: &Machine, trust: Trust) -> Result<Decision, ErrorBody> {
    let report = machine.report_of(bench, trust).await;
    machine.send(bench, &report).await?;
    let path = format!("/v1/nodes/{}/decision", machine.node);
    let view: DecisionView = bench.operator(Method::GET, &path, &()).await.unwrap();
    assert_eq!(Some(&view.decision), report.decision.as_ref(), "agent and service judge alike");
    Ok(view.decision)
}

fn finding<'a>(decision: &'a Decision, rule: &str) -> Option<&'a str> {
    decision.findings.iter().find(|finding| finding.rule == rule).map(|finding| finding.statement.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_signed_by_a_certified_tpm_is_verified_where_the_policy_wants_one() {
    let believed = maker("believed");
    let bench = bench_that_believes(&[&maker("beside"), &believed], CERTIFIED).await;
    let (mut machine, mut tpm) = (Machine::new(1), Tpm::new());
    tpm.certify(&believed);
    boots(&bench, &mut machine, &tpm).await;
    let view = trust_boot(&bench, &machine).await.boot.unwrap();
    assert_eq!(view.key.unwrap().known_by, KnownBy::CertifiedTpm);
    let (trust, key) = boots(&bench, &mut machine, &tpm).await;
    assert_eq!((trust, key.known_by), (BootTrust::Verified, KnownBy::CertifiedTpm));
    assert!(key.why.contains("IFX"), "{key:?}");
    let decision = judged(&bench, &machine, Trust::RamdiskAttested).await.unwrap();
    assert_eq!(finding(&decision, "integrity/boot-key"), None);

    // The same TPM shows its keys no more: it signs the same registers with the same key.
    let boot = comes(&bench, &mut machine).await;
    let node = prove(&bench, &machine, (&boot, &tpm), None).await;
    assert_eq!(node.boot_key.unwrap().known_by, KnownBy::FirstUse);
    let BootTrust::Unproven { why } = node.boot_trust.unwrap() else { panic!("too little is known") };
    assert!(why.contains("too little is known of the key: the machine showed no endorsement key"), "{why}");
    assert!(judged(&bench, &machine, Trust::RamdiskAttested).await.is_err(), "no more than any ramdisk");
    judged(&bench, &machine, Trust::Ramdisk).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_believed_is_found_and_the_key_is_as_good_as_without() {
    let (believed, stranger) = (maker("believed"), maker("stranger"));
    let bench = bench_that_believes(&[&believed], "").await;
    let (mut machine, mut tpm, mut other) = (Machine::new(1), Tpm::new(), Tpm::new());
    let (_, key) = boots(&bench, &mut machine, &tpm).await;
    assert_eq!((key.known_by, key.refused_certificate), (KnownBy::Endorsement, None));
    trust_boot(&bench, &machine).await;

    tpm.certify(&stranger);
    other.certify(&believed);
    tpm.certificate = other.certificate;
    for part in ["another key's", "no configured root"] {
        let (trust, key) = boots(&bench, &mut machine, &tpm).await;
        assert_eq!((trust, key.known_by), (BootTrust::Verified, KnownBy::Endorsement), "as before");
        assert!(key.refused_certificate.unwrap().contains(part), "{part}");
        let decision = judged(&bench, &machine, Trust::RamdiskAttested).await.unwrap();
        assert!(finding(&decision, "integrity/boot-key").unwrap().contains(part));
        tpm.certify(&stranger);
    }
    tpm.certificate = Some(vec![0x30, 0x82, 1]);
    let (_, key) = boots(&bench, &mut machine, &tpm).await;
    assert!(key.refused_certificate.unwrap().contains("X.509"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_makers_are_configured_all_is_as_before() {
    let bench = bench_that_believes(&[], "").await;
    let (mut machine, mut tpm) = (Machine::new(1), Tpm::new());
    tpm.certify(&maker("anyone"));
    boots(&bench, &mut machine, &tpm).await;
    trust_boot(&bench, &machine).await;
    let (trust, key) = boots(&bench, &mut machine, &tpm).await;
    assert_eq!((trust, key.known_by), (BootTrust::Verified, KnownBy::Endorsement));
    assert_eq!(key.refused_certificate, None);
    let boot = comes(&bench, &mut machine).await;
    let node = prove(&bench, &machine, (&boot, &tpm), None).await;
    assert_eq!(node.boot_trust, Some(BootTrust::Verified), "known by its first use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_good_for_one_tpm_one_session_and_one_answer() {
    let believed = maker("believed");
    let bench = bench_that_believes(&[&believed], CERTIFIED).await;
    let (mut machine, mut tpm, attacker) = (Machine::new(1), Tpm::new(), Tpm::new());
    tpm.certify(&believed);
    let known_by = |node: NodeContext| node.boot_key.unwrap().known_by;

    // The attacker's key with the endorsement key of a good TPM, which does not open it.
    let boot = comes(&bench, &mut machine).await;
    let mixed = BootKeyRequest { attestation: attacker.keys().attestation, ..tpm.keys() };
    let credential = show_keys(&bench, &machine, &mixed).await.unwrap();
    assert!(tpm.open(&credential).is_none() && attacker.open(&credential).is_none());
    let guess = Some(Secret::new("00".repeat(32)));
    assert_eq!(known_by(prove(&bench, &machine, (&boot, &attacker), guess).await), KnownBy::FirstUse);

    // The good TPM opens its own, and the attacker signs.
    let boot = comes(&bench, &mut machine).await;
    let opened = tpm.open(&show_keys(&bench, &machine, &tpm.keys()).await.unwrap());
    assert_eq!(
        known_by(prove(&bench, &machine, (&boot, &attacker), opened.clone()).await),
        KnownBy::FirstUse
    );
    assert_eq!(
        known_by(prove(&bench, &machine, (&boot, &tpm), opened.clone()).await),
        KnownBy::FirstUse,
        "used up"
    );

    // Of an earlier session.
    let boot = comes(&bench, &mut machine).await;
    let credential = show_keys(&bench, &machine, &tpm.keys()).await.unwrap();
    assert_eq!(known_by(prove(&bench, &machine, (&boot, &tpm), opened).await), KnownBy::FirstUse);

    // As it should be; the same again after a lost answer; and then it is used up.
    let boot = comes(&bench, &mut machine).await;
    assert_ne!(show_keys(&bench, &machine, &tpm.keys()).await.unwrap(), credential);
    let opened = tpm.open(&show_keys(&bench, &machine, &tpm.keys()).await.unwrap());
    for _ in 0..2 {
        assert_eq!(
            known_by(prove(&bench, &machine, (&boot, &tpm), opened.clone()).await),
            KnownBy::CertifiedTpm
        );
    }
    let other = prove(&bench, &machine, (&boot, &attacker), opened).await;
    assert_eq!(known_by(other), KnownBy::FirstUse);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_kind_are_refused() {
    let bench = bench_that_believes(&[], "").await;
    let (mut machine, tpm) = (Machine::new(1), Tpm::new());
    comes(&bench, &mut machine).await;
    let good = tpm.keys();
    let off_the_curve =
        format!("{}0020{}", &good.endorsement[..good.endorsement.len() - 68], "11".repeat(32));
    for keys in [
        BootKeyRequest { attestation: "zz".to_owned(), ..good.clone() },
        BootKeyRequest { attestation: good.endorsement.clone(), ..good.clone() },
        BootKeyRequest { endorsement: good.attestation.clone(), ..good.clone() },
        BootKeyRequest { endorsement: off_the_curve, ..good.clone() },
    ] {
        assert_eq!(kind_of(show_keys(&bench, &machine, &keys).await), ErrorKind::BadRequest);
    }
    machine.session = "0".repeat(64);
    assert_eq!(kind_of(show_keys(&bench, &machine, &good).await), ErrorKind::Unauthorized);
}

/// Records the last boot of this node, as right for every node of its hardware model.
async fn trust_for_model(bench: &Bench, machine: &Machine) -> Result<NodeView, ErrorBody> {
    let path = format!("/v1/nodes/{}", machine.node);
    let node: NodeView = bench.operator(Method::GET, &path, &()).await.unwrap();
    let shown_at = node.boot.unwrap().shown_at;
    let request = json!({ "why": "firmware 2", "shown_at": shown_at, "for_model": true });
    bench.operator(Method::POST, &format!("{path}/trust-boot"), &request).await
}

/// A machine of this model that was looked at once.
async fn seen(bench: &Bench, last: u8, model: Option<&'static str>, tpm: &Tpm) -> Machine {
    let mut machine = Machine::new(last);
    machine.product = model;
    boots(bench, &mut machine, tpm).await;
    judged(bench, &machine, Trust::Ramdisk).await.unwrap();
    machine
}

fn is_unproven_for(trust: &BootTrust, part: &str) -> bool {
    matches!(trust, BootTrust::Unproven { why } if why.contains(part))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_is_right_for_a_model_is_verified_on_its_other_nodes() {
    let believed = maker("believed");
    let bench = bench_that_believes(&[&believed], "").await;
    let mut tpms = [(); 5].map(|()| Tpm::new());
    for tpm in &mut tpms[..3] {
        tpm.certify(&believed);
    }
    let [first, second, mut third, uncertified, other_model] = tpms;
    let one = seen(&bench, 1, Some("R1"), &first).await;
    let mut two = seen(&bench, 2, Some("R1"), &second).await;
    assert!(is_unproven_for(&boots(&bench, &mut two, &second).await.0, "nobody has recorded"));
    let view = trust_for_model(&bench, &one).await.unwrap();
    assert_eq!(view.golden_boots.len(), 2, "its firmware, and what it booted");

    assert_eq!(boots(&bench, &mut two, &second).await.0, BootTrust::Verified);
    judged(&bench, &two, Trust::RamdiskAttested).await.unwrap();
    let mut three = seen(&bench, 3, Some("R1"), &uncertified).await;
    let found = boots(&bench, &mut three, &uncertified).await.0;
    assert!(is_unproven_for(&found, "no certified TPM"), "anybody can claim these registers: {found:?}");
    let mut four = seen(&bench, 4, Some("R2"), &third).await;
    assert!(
        is_unproven_for(&boots(&bench, &mut four, &third).await.0, "nobody has recorded"),
        "another model"
    );
    third.firmware = 9;
    let mut five = seen(&bench, 5, Some("R1"), &third).await;
    assert!(
        is_unproven_for(&boots(&bench, &mut five, &third).await.0, "nobody has recorded"),
        "other firmware"
    );
    let mut six = seen(&bench, 6, None, &other_model).await;
    boots(&bench, &mut six, &other_model).await;
    assert_eq!(kind_of(trust_for_model(&bench, &six).await), ErrorKind::Conflict, "of no model");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_node_goes_along_with_its_model_and_no_further() {
    let bench = bench_that_believes(&[], "").await;
    let (mut new, mut tpm) = (Tpm::new(), Tpm::new());
    let mut one = seen(&bench, 1, Some("R1"), &new).await;
    let mut two = seen(&bench, 2, Some("R1"), &tpm).await;
    trust_boot(&bench, &two).await;
    assert_eq!(boots(&bench, &mut two, &tpm).await.0, BootTrust::Verified);

    (new.firmware, new.ramdisk) = (2, 2);
    boots(&bench, &mut one, &new).await;
    trust_for_model(&bench, &one).await.unwrap();
    assert_eq!(boots(&bench, &mut two, &tpm).await.0, BootTrust::Verified, "as it was recorded");
    tpm.ramdisk = 2;
    assert_eq!(
        boots(&bench, &mut two, &tpm).await.0,
        BootTrust::Verified,
        "the old firmware, the new ramdisk"
    );
    tpm.firmware = 2;
    assert_eq!(boots(&bench, &mut two, &tpm).await.0, BootTrust::Verified);
    tpm.ramdisk = 3;
    assert!(is_unproven_for(&boots(&bench, &mut two, &tpm).await.0, "ramdisk"));
    (tpm.firmware, tpm.ramdisk) = (3, 2);
    assert!(matches!(boots(&bench, &mut two, &tpm).await.0, BootTrust::Mismatch { .. }));
    tpm.firmware = 2;
    assert!(matches!(boots(&bench, &mut two, &new).await.0, BootTrust::Lost { .. }), "another TPM");

    let path = format!("/v1/nodes/{}/forget-boot", two.node);
    let forget = json!({ "why": "firmware 2 is taken back", "for_model": true });
    let view: NodeView = bench.operator(Method::POST, &path, &forget).await.unwrap();
    assert!(view.golden_boots.is_empty() && view.boot.unwrap().recorded_at.is_some());
    assert!(matches!(boots(&bench, &mut two, &tpm).await.0, BootTrust::Mismatch { .. }), "as before");
    let again = bench.operator::<NodeView>(Method::POST, &path, &forget).await;
    assert_eq!(kind_of(again), ErrorKind::Conflict);
}
