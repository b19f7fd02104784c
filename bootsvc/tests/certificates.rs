//! Certificates of erased disks, over the real API.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{ContextReply, EnrollReply, FinishResult, Instruction, StepResult};
use contract::boot_proof::BootProof;
use contract::certificate_api::{CertificateKey, CertificateView, ErasePreview};
use contract::decision::SanitizeLevel;
use contract::id::{Digest, DiskId};
use contract::operator_api::{ErrorKind, JobState, JobView, NodeView, ReimageReply};
use contract::order::Order;
use contract::plan::{EraseMethod, Plan, Step};
use contract::reading::Outcome;
use ed25519_dalek::VerifyingKey;
use erasure::certificate::signed::SignedCertificate;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::machine::{DISK, Machine, SERIAL, order_in, results};
use support::tpm::Tpm;
use support::{Bench, kind_of};

/// A machine in the ramdisk with an order to wipe it.
async fn ordered(bench: &Bench, machine: &mut Machine, why: &str) -> (Order, Plan) {
    let request = json!({"image": "debian", "tenant": "a", "at_least": "wipe", "sanitize_level": "clear",
        "why": why, "dry_run": false, "from_ramdisk": false, "confirm_serial": SERIAL, "confirmed": false});
    let path = format!("/v1/nodes/{}/reimage", machine.node);
    let reply: ReimageReply = bench.operator(Method::POST, &path, &request).await.unwrap();
    assert!(matches!(reply, ReimageReply::Job { job: Some(_), .. }), "{reply:?}");
    comes_and_shows_its_boot(bench, machine).await;
    let (report, instruction) = machine.report(bench).await;
    (order_in(bench, &instruction), report.plan.unwrap())
}

/// Boots into the ramdisk, whose TPM signs for it.
async fn comes_and_shows_its_boot(bench: &Bench, machine: &mut Machine) {
    let request = machine.boot(bench).await.expect("the ramdisk");
    let line = format!("quiet reprieve.node={} reprieve.token={}", machine.node, request.token.reveal());
    let reply: EnrollReply = machine.enroll(bench, &request).await.unwrap();
    let shown = Outcome::Value(Tpm::new().show(reply.boot_challenge.unwrap(), &line));
    let proof = BootProof { shown, opened: None };
    let path = "/v1/agent/boot-proof";
    bench.call::<ContextReply>(Method::POST, path, &machine.session, &proof).await.unwrap();
}

async fn approved(bench: &Bench) -> Machine {
    let mut machine = Machine::new(1);
    machine.come(bench).await;
    machine.report(bench).await;
    let approve = json!({"pool": null, "factory_new": true, "data_of": null});
    let path = format!("/v1/nodes/{}/approve", machine.node);
    bench.operator::<NodeView>(Method::POST, &path, &approve).await.unwrap();
    bench.import("debian", 1).await;
    machine
}

async fn list(bench: &Bench, query: &str) -> Vec<CertificateView> {
    bench.operator(Method::GET, &format!("/v1/certificates{query}"), &()).await.unwrap()
}

async fn file(bench: &Bench, view: &CertificateView) -> Vec<u8> {
    let path = format!("/v1/certificates/{}", view.id);
    let response = bench.raw(Method::GET, &path, &bench.token, Vec::new()).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.bytes().await.unwrap().to_vec()
}

async fn key(bench: &Bench) -> VerifyingKey {
    let key: CertificateKey = bench.operator(Method::GET, "/v1/certificate-key", &()).await.unwrap();
    assert!(key.pem.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{}", key.pem);
    let mut bytes = [0; 32];
    hex::decode_to_slice(&key.public_key, &mut bytes).unwrap();
    VerifyingKey::from_bytes(&bytes).unwrap()
}

async fn open_job(bench: &Bench) -> JobView {
    let job = bench.node(SERIAL).await.job.unwrap();
    bench.operator(Method::GET, &format!("/v1/jobs/{job}"), &()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wipe_gives_a_certificate_that_is_verified_offline_and_chained() {
    let bench = Bench::start().await;
    let mut machine = approved(&bench).await;
    let mut files = Vec::new();
    for why in ["RMA 1", "RMA 2"] {
        let (order, plan) = ordered(&bench, &mut machine, why).await;
        let (identity, instruction) = machine.carry_out(&bench, &order, &plan).await;
        assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
        let job = open_job(&bench).await;
        let made = list(&bench, &format!("?job={}", job.id)).await;
        assert_eq!(made.len(), 1, "{:#?}", job.events);
        assert!(job.events.iter().any(|event| event.text.contains(&made[0].id.to_string())));
        // The answer was lost, the agent says it again: no second certificate.
        machine.finish(&bench, &order, FinishResult::Done, results(&plan)).await.unwrap();
        assert_eq!(list(&bench, &format!("?job={}", job.id)).await, made);
        files.push(file(&bench, &made[0]).await);
        machine.come_up_and_settle(&bench, &identity.unwrap()).await;
    }
    let key = key(&bench).await;
    let [first, second] = [0, 1].map(|at| SignedCertificate::from_bytes(&files[at]).unwrap());
    let one = first.verify(&key).unwrap();
    let two = second.verify(&key).unwrap();
    two.check_follows(&one, &first).unwrap();
    assert_eq!((one.chain.number, two.chain.number), (1, 2));
    assert_eq!(one.authority.why.as_deref(), Some("RMA 1"));
    assert_eq!(one.authority.requested_by, "operator");
    assert_eq!(one.sanitization.method, SanitizeLevel::Clear);
    assert_eq!(one.machine.node, machine.node);
    assert!(one.authority.begun_at <= one.authority.finished_at);
    assert_eq!(two.media.held_data_of, "tenant a");
    let quotes = [&one, &two].map(|of| of.authority.tpm_quote.clone().unwrap());
    assert!(quotes[0].contains("attestation key") && quotes[0] != quotes[1], "{quotes:?}");
    let disk: DiskId = DISK.parse().unwrap();
    let listed = list(&bench, &format!("?disk={disk}&node={SERIAL}")).await;
    assert_eq!(listed.iter().map(|view| view.number).collect::<Vec<_>>(), [2, 1], "newest first");
    assert_eq!(listed[0].digest, Digest::of(&files[1]));
    assert_eq!(list(&bench, "?disk=another").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_survives_a_restart_and_its_key_too() {
    let bench = Bench::start().await;
    let mut machine = approved(&bench).await;
    let (order, plan) = ordered(&bench, &mut machine, "RMA").await;
    machine.carry_out(&bench, &order, &plan).await;
    let before = list(&bench, "").await;
    let bytes = file(&bench, &before[0]).await;
    let key_before = key(&bench).await;
    let bench = bench.restart().await;
    assert_eq!(list(&bench, "").await, before);
    assert_eq!(file(&bench, &before[0]).await, bytes);
    assert_eq!(key(&bench).await, key_before);
    SignedCertificate::from_bytes(&bytes).unwrap().verify(&key_before).unwrap();
}

/// Changes a record into one that is not true.
type Lie = fn(&mut Value);

/// What an agent says that does not agree with the order: no certificate, and the node is held.
#[tokio::test(flavor = "multi_thread")]
async fn an_erase_that_does_not_agree_with_its_order_is_not_certified() {
    let lies: [(&str, Lie); 7] = [
        ("about disk", |record| record["disk"]["id"] = json!("virtio-other")),
        ("the level", |record| record["level"] = json!("purge")),
        ("the technique", |record| record["method"] = json!("nvme-sanitize-crypto")),
        ("the seed", |record| record["seed"] = json!(Digest::of(b"another"))),
        ("blocks were read back", |record| record["samples"] = json!(10)),
        ("bytes were read back", |record| record["bytes_read_back"] = json!(0)),
        ("cannot be read", |record| *record = json!({})),
    ];
    for (reason, lie) in lies {
        let bench = Bench::start().await;
        let mut machine = approved(&bench).await;
        let (order, plan) = ordered(&bench, &mut machine, "RMA").await;
        for step in 0..u32::try_from(plan.steps.len()).unwrap() {
            machine.begin(&bench, &order, step).await.unwrap();
        }
        let mut steps = results(&plan);
        lie_about(&mut steps, lie);
        let instruction = machine.finish(&bench, &order, FinishResult::Done, steps).await.unwrap();
        assert!(matches!(instruction, Instruction::Wait { .. }), "{reason}: {instruction:?}");
        let job = open_job(&bench).await;
        let JobState::Held { reason: held } = &job.state else { panic!("{reason}: {:?}", job.state) };
        assert!(held.contains(reason), "{reason}: {held}");
        assert_eq!(list(&bench, "").await, []);
    }
}

fn lie_about(steps: &mut [StepResult], lie: Lie) {
    for step in steps {
        if let Some(text) = &mut step.erase_record {
            let mut record: Value = serde_json::from_str(text).unwrap();
            lie(&mut record);
            *text = record.to_string();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_or_was_never_begun_is_not_certified() {
    let bench = Bench::start().await;
    let mut machine = approved(&bench).await;
    let (order, plan) = ordered(&bench, &mut machine, "RMA").await;
    // The image step begins, the erase never did.
    let instruction = machine.finish(&bench, &order, FinishResult::Done, results(&plan)).await.unwrap();
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    assert_eq!(list(&bench, "").await, []);

    let bench = Bench::start().await;
    let mut machine = approved(&bench).await;
    let (order, plan) = ordered(&bench, &mut machine, "RMA").await;
    machine.begin(&bench, &order, 0).await.unwrap();
    let failed = FinishResult::Failed { step: 0, error: "the marker survived".to_owned() };
    machine.finish(&bench, &order, failed, results(&plan)).await.unwrap();
    assert_eq!(list(&bench, "").await, []);
}

/// The power went while the disk was erased; the second attempt is certified and names the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_names_what_was_begun_before() {
    let bench = Bench::start().await;
    let mut machine = approved(&bench).await;
    let (order, _) = ordered(&bench, &mut machine, "RMA").await;
    machine.begin(&bench, &order, 0).await.unwrap();
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    machine.carry_out(&bench, &order, &report.plan.unwrap()).await;
    let made = list(&bench, "").await;
    let signed = SignedCertificate::from_bytes(&file(&bench, &made[0]).await).unwrap();
    let certificate = signed.verify(&key(&bench).await).unwrap();
    assert_eq!(certificate.sanitization.begun_before.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_would_be_done_and_what_cannot() {
    let bench = Bench::start().await;
    let machine = approved(&bench).await;
    let path = format!("/v1/nodes/{}/erase-preview", machine.node);
    let clear: ErasePreview = bench.operator(Method::GET, &format!("{path}?level=clear"), &()).await.unwrap();
    assert_eq!((clear.level, clear.disks.len()), (SanitizeLevel::Clear, 1));
    assert_eq!(clear.disks[0].method, Some(EraseMethod::Overwrite));
    assert!(!clear.disks[0].exclusions.is_empty());
    let purge: ErasePreview = bench.operator(Method::GET, &format!("{path}?level=purge"), &()).await.unwrap();
    assert_eq!(purge.level, SanitizeLevel::Purge);
    assert_eq!(purge.disks[0].method, None);
    assert!(purge.disks[0].refusal.as_ref().is_some_and(|why| why.contains("purge")), "{purge:?}");
    let wrong = bench.operator::<ErasePreview>(Method::GET, &format!("{path}?level=hope"), &()).await;
    assert_eq!(kind_of(wrong), ErrorKind::BadRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_that_cannot_be_delivered_is_never_lowered() {
    let bench = Bench::start().await;
    let mut machine = approved(&bench).await;
    let request = json!({"image": "debian", "tenant": "a", "at_least": "wipe", "sanitize_level": "purge",
        "why": "RMA", "dry_run": false, "from_ramdisk": false, "confirm_serial": SERIAL, "confirmed": false});
    let path = format!("/v1/nodes/{}/reimage", machine.node);
    bench.operator::<ReimageReply>(Method::POST, &path, &request).await.unwrap();
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    assert!(report.plan.is_none_or(|plan| !plan.steps.iter().any(|s| matches!(s, Step::Erase { .. }))));
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    let job = open_job(&bench).await;
    let JobState::Held { reason } = &job.state else { panic!("{:?}", job.state) };
    assert!(reason.to_lowercase().contains("purge"), "{reason}");
    assert_eq!(job.sanitize_level, Some(SanitizeLevel::Purge));
}

#[tokio::test(flavor = "multi_thread")]
async fn references_that_fit_nothing_and_strangers_are_refused() {
    let bench = Bench::start().await;
    for path in ["/v1/certificates/17", "/v1/certificates?node=nobody"] {
        let refused = bench.operator::<Value>(Method::GET, path, &()).await;
        assert_eq!(kind_of(refused), ErrorKind::NotFound, "{path}");
    }
    let unknown = bench.operator::<Value>(Method::GET, "/v1/certificates?colour=red", &()).await;
    assert_eq!(kind_of(unknown), ErrorKind::BadRequest);
    for path in ["/v1/certificates", "/v1/certificate-key", "/v1/nodes/x/erase-preview"] {
        let refused = bench.call::<Value>(Method::GET, path, "a stranger", &()).await;
        assert_eq!(kind_of(refused), ErrorKind::Unauthorized, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_one_short_line() {
    let bench = Bench::start().await;
    let machine = approved(&bench).await;
    let path = format!("/v1/nodes/{}/reimage", machine.node);
    for why in ["", "two\nlines", &"x".repeat(201)] {
        let request = json!({"image": "debian", "tenant": "a", "at_least": "wipe", "why": why, "dry_run": true,
            "from_ramdisk": false, "confirm_serial": null, "confirmed": true});
        let refused = bench.operator::<ReimageReply>(Method::POST, &path, &request).await;
        assert_eq!(kind_of(refused), ErrorKind::BadRequest, "{why:?}");
    }
}

/// Certificates are checked for years: a key that is gone, or another one, is not taken in silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_foreign_certificate_key_is_not_replaced() {
    let bench = Bench::start().await;
    let state = bench.folder.path().to_owned();
    let served: CertificateKey = bench.operator(Method::GET, "/v1/certificate-key", &()).await.unwrap();
    assert_eq!(std::fs::read_to_string(state.join("certificate-key.pem")).unwrap(), served.pem);
    let open =
        || reprieve_bootsvc::ca::Authority::open(&state).map(|_| ()).map_err(|error| error.to_string());
    open().unwrap();
    let key = std::fs::read_to_string(state.join("certificate.key")).unwrap();
    std::fs::remove_file(state.join("certificate.key")).unwrap();
    assert!(open().unwrap_err().contains("restore the key from a backup"));
    assert!(!state.join("certificate.key").exists(), "a new key was made");
    std::fs::write(state.join("certificate.key"), "11".repeat(32)).unwrap();
    assert!(open().unwrap_err().contains("is not the public half"));
    std::fs::write(state.join("certificate.key"), key).unwrap();
    open().unwrap();
}
