//! A running system shows how it was started: what is recorded by itself, what is found, and what a person says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{ContextReply, ResidentIdentity};
use contract::assignment::BootTrust;
use contract::boot_proof::{BootProof, ShownBoot, SystemBootView, SystemProof};
use contract::decision::{Action, Decision};
use contract::id::{BootId, Digest, UnixMillis};
use contract::operator_api::{DecisionView, ErrorBody, ErrorKind, JobState, NodeView};
use contract::reading::{Outcome, Trust};
use reqwest::Method;
use serde_json::{Value, json};
use support::Bench;
use support::flow::{approve, factory_new, job, job_of};
use support::machine::{Machine, order_in};
use support::tpm::Tpm;
use uuid::Uuid;

/// An image that is called so, and a machine that was approved in a boot that its TPM has shown.
async fn approved(bench: &Bench, last: u8, tpm: &Tpm) -> Machine {
    let mut machine = Machine { product: Some("Laboratory"), ..Machine::new(last) };
    boots(bench, &mut machine, tpm).await;
    machine.report(bench).await;
    approve(bench, &machine, factory_new()).await;
    machine
}

/// Boots into the ramdisk and proves it; the command line.
async fn boots(bench: &Bench, machine: &mut Machine, tpm: &Tpm) -> String {
    let request = machine.boot(bench).await.expect("the ramdisk");
    let line = format!("quiet reprieve.node={} reprieve.token={}", machine.node, request.token.reveal());
    let reply = machine.enroll(bench, &request).await.unwrap();
    let shown = Outcome::Value(tpm.show(reply.boot_challenge.unwrap(), &line));
    let proof = BootProof { shown, opened: None };
    let _: ContextReply =
        bench.call(Method::POST, "/v1/agent/boot-proof", &machine.session, &proof).await.unwrap();
    line
}

/// Has the image written from a proven ramdisk; it runs now and has said nothing yet.
async fn written(bench: &Bench, machine: &mut Machine, tpm: &Tpm) -> ResidentIdentity {
    let wanted = json!({"image": "debian", "tenant": "a", "confirmed": true});
    let id = job_of(bench, machine, wanted).await;
    boots(bench, machine, tpm).await;
    let (report, instruction) = machine.report(bench).await;
    let order = order_in(bench, &instruction);
    let (identity, _) = machine.carry_out(bench, &order, report.plan.as_ref().unwrap()).await;
    assert_eq!(job(bench, id).await.state, JobState::ComingUp);
    let identity = identity.unwrap();
    machine.session = identity.credential.reveal().to_owned();
    machine.boot_id = BootId(Uuid::new_v4());
    identity
}

async fn send(
    bench: &Bench,
    machine: &Machine,
    shown: Outcome<ShownBoot>,
) -> Result<ContextReply, ErrorBody> {
    let proof = SystemProof { boot_id: machine.boot_id, shown };
    bench.call(Method::POST, "/v1/agent/system-proof", &machine.session, &proof).await
}

async fn challenge(bench: &Bench, machine: &Machine) -> Digest {
    machine.context(bench).await.boot_challenge.unwrap()
}

/// Shows how the system was started; what is found.
async fn shows(bench: &Bench, machine: &Machine, tpm: &Tpm) -> BootTrust {
    let shown = tpm.show_system(challenge(bench, machine).await);
    send(bench, machine, Outcome::Value(shown)).await.unwrap().node.boot_trust.unwrap()
}

/// The same in a new boot.
async fn restarts(bench: &Bench, machine: &mut Machine, tpm: &Tpm) -> BootTrust {
    machine.boot_id = BootId(Uuid::new_v4());
    shows(bench, machine, tpm).await
}

/// Reports, as the resident agent does.
async fn judged(bench: &Bench, machine: &Machine) -> Decision {
    let report = machine.report_of(bench, Trust::Resident).await;
    machine.send(bench, &report).await.unwrap();
    let path = format!("/v1/nodes/{}/decision", machine.node);
    let view: DecisionView = bench.operator(Method::GET, &path, &()).await.unwrap();
    view.decision
}

async fn view(bench: &Bench, machine: &Machine) -> SystemBootView {
    let path = format!("/v1/nodes/{}", machine.node);
    let node: NodeView = bench.operator(Method::GET, &path, &()).await.unwrap();
    node.boot.unwrap().system.unwrap()
}

async fn trust_boot(bench: &Bench, machine: &Machine, changes: Value) -> Result<NodeView, ErrorBody> {
    let mut request = json!({"why": "looked at", "system": true});
    request["shown_at"] = json!(view(bench, machine).await.shown_at.unwrap());
    for (key, value) in changes.as_object().unwrap() {
        request[key] = value.clone();
    }
    bench.operator(Method::POST, &format!("/v1/nodes/{}/trust-boot", machine.node), &request).await
}

fn is_unproven_for(trust: &BootTrust, part: &str) -> bool {
    matches!(trust, BootTrust::Unproven { why } if why.contains(part))
}

fn is_lost_for(trust: &BootTrust, part: &str) -> bool {
    matches!(trust, BootTrust::Lost { why } if why.contains(part))
}

fn changed() -> BootTrust {
    BootTrust::Changed { what: vec!["PCR 4 (boot loader)".to_owned()] }
}

/// A bench with the image, and a machine that runs it and reported once.
async fn running(tpm: &Tpm) -> (Bench, Machine) {
    let bench = Bench::start_with("discovery_attempts_max = 20\n").await;
    let mut machine = approved(&bench, 1, tpm).await;
    bench.import("debian", 1).await;
    written(&bench, &mut machine, tpm).await;
    let first = shows(&bench, &machine, tpm).await;
    assert!(is_unproven_for(&first, "nobody has recorded how this image"), "{first:?}");
    assert_eq!(judged(&bench, &machine).await.action, Action::Keep);
    (bench, machine)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_boot_of_a_written_image_is_recorded_and_a_change_is_found() {
    let mut tpm = Tpm::new();
    let (bench, mut machine) = running(&tpm).await;
    let known = view(&bench, &machine).await;
    assert_eq!((known.trust, known.image), (Some(BootTrust::Verified), machine.installed));
    assert!(known.why.unwrap().contains("first boot"));
    assert_eq!(judged(&bench, &machine).await.action, Action::Keep);
    let report = machine.report_of(&bench, Trust::ResidentAttested).await;
    assert!(machine.send(&bench, &report).await.is_err(), "its word is no better for it");

    assert_eq!(restarts(&bench, &mut machine, &tpm).await, BootTrust::Verified);
    tpm.loader = 2;
    assert_eq!(restarts(&bench, &mut machine, &tpm).await, changed());
    let decision = judged(&bench, &machine).await;
    assert_eq!(decision.action, Action::Keep);
    assert!(decision.findings.iter().any(|finding| finding.rule == "integrity/system-boot"), "{decision:?}");
    assert_eq!(view(&bench, &machine).await.trust, Some(changed()), "it is not recorded by itself again");

    tpm.firmware = 2;
    let found = restarts(&bench, &mut machine, &tpm).await;
    assert_eq!(found, BootTrust::Mismatch { registers: vec!["PCR 0 (firmware)".to_owned()] });
    assert_eq!(judged(&bench, &machine).await.action, Action::Quarantine);

    let before = trust_boot(&bench, &machine, json!({"shown_at": UnixMillis(1)})).await.unwrap_err();
    assert_eq!(before.kind, ErrorKind::Conflict);
    trust_boot(&bench, &machine, json!({})).await.unwrap();
    let known = view(&bench, &machine).await;
    assert_eq!((known.trust, known.why.as_deref()), (Some(BootTrust::Verified), Some("looked at")));
    assert_eq!(restarts(&bench, &mut machine, &tpm).await, BootTrust::Verified);
}

/// To show nothing is never milder than to show what was changed, once there is something to be missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_not_shown_any_more_is_missed() {
    let tpm = Tpm::new();
    let (bench, mut machine) = running(&tpm).await;
    machine.boot_id = BootId(Uuid::new_v4());
    let told = machine.context(&bench).await.node.boot_trust;
    assert_eq!(told, Some(BootTrust::Verified), "the service does not know of another boot yet");
    let decision = judged(&bench, &machine).await;
    assert_eq!(decision.action, Action::LookDeeper, "what another boot showed counts for nothing");
    assert_eq!(decision.reasons[0].rule, "integrity/boot-proof-lost");

    for (shown, part) in [
        (Outcome::Absent, "no TPM"),
        (Outcome::Unreadable("busy".to_owned()), "busy"),
        (Outcome::Value(Tpm::new().show_system(challenge(&bench, &machine).await)), "another challenge"),
    ] {
        challenge(&bench, &machine).await;
        let found = send(&bench, &machine, shown).await.unwrap().node.boot_trust.unwrap();
        assert!(is_lost_for(&found, part), "{found:?}");
        assert_eq!(judged(&bench, &machine).await.action, Action::LookDeeper);
        assert_eq!(trust_boot(&bench, &machine, json!({})).await.unwrap_err().kind, ErrorKind::Conflict);
    }
    assert!(is_lost_for(&shows(&bench, &machine, &Tpm::new()).await, "another TPM"));
    assert_eq!(trust_boot(&bench, &machine, json!({})).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(shows(&bench, &machine, &tpm).await, BootTrust::Verified);
    assert_eq!(judged(&bench, &machine).await.action, Action::Keep);

    let path = format!("/v1/nodes/{}/forget-boot", machine.node);
    let _: NodeView = bench.operator(Method::POST, &path, &json!({"why": "its TPM is gone"})).await.unwrap();
    machine.boot_id = BootId(Uuid::new_v4());
    assert_eq!(judged(&bench, &machine).await.action, Action::Keep);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_counts_once_and_only_for_who_asked() {
    let tpm = Tpm::new();
    let (bench, machine) = running(&tpm).await;
    let old = challenge(&bench, &machine).await;
    let new = challenge(&bench, &machine).await;
    assert_ne!(old, new);
    let quote = |challenge| Outcome::Value(tpm.show_system(challenge));
    let found = send(&bench, &machine, quote(old)).await.unwrap().node.boot_trust.unwrap();
    assert!(is_lost_for(&found, "another challenge"), "{found:?}");
    // The answer brought a new one, which the same proof does not answer either.
    assert!(is_lost_for(
        &send(&bench, &machine, quote(new)).await.unwrap().node.boot_trust.unwrap(),
        "another"
    ));
    let fresh = challenge(&bench, &machine).await;
    assert!(
        bench.service.live.take_challenge(machine.node, contract::id::JobId(Uuid::nil()), LONG).is_none()
    );
    let late = send(&bench, &machine, quote(fresh)).await.unwrap_err();
    assert_eq!((late.kind, late.message.contains("no challenge waits")), (ErrorKind::Conflict, true));
}

const LONG: std::time::Duration = std::time::Duration::from_secs(60);

/// A kernel that is started by another one finds the registers of the boot before.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_was_started_without_a_reset_shows_nothing_of_itself() {
    let bench = Bench::start_with("discovery_attempts_max = 20\n").await;
    let tpm = Tpm::new();
    let mut machine = approved(&bench, 1, &tpm).await;
    bench.import("debian", 1).await;
    let wanted = json!({"image": "debian", "tenant": "a", "confirmed": true});
    job_of(&bench, &machine, wanted).await;
    let line = boots(&bench, &mut machine, &tpm).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    let (identity, _) = machine.carry_out(&bench, &order, report.plan.as_ref().unwrap()).await;
    machine.session = identity.unwrap().credential.reveal().to_owned();
    machine.boot_id = BootId(Uuid::new_v4());
    let inherited = tpm.show(challenge(&bench, &machine).await, &line);
    let reply = send(&bench, &machine, Outcome::Value(inherited)).await.unwrap();
    assert!(is_unproven_for(&reply.node.boot_trust.unwrap(), "kexec"));
    assert_eq!(judged(&bench, &machine).await.action, Action::Keep);
    assert_eq!(view(&bench, &machine).await.recorded_at, None);
    assert_eq!(trust_boot(&bench, &machine, json!({})).await.unwrap_err().kind, ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_is_golden_for_image_and_model_is_verified_on_another_node() {
    let (mut tpm, other) = (Tpm::new(), Tpm::new());
    let (bench, machine) = running(&tpm).await;
    tpm.loader = 2;
    assert_eq!(shows(&bench, &machine, &tpm).await, changed());
    let node = trust_boot(&bench, &machine, json!({"for_model": true})).await.unwrap();
    assert_eq!(node.golden_boots.len(), 1);
    assert_eq!(node.golden_boots[0].label, machine.installed.unwrap().to_string());

    // It was not verified when it was written, so that nothing is recorded of its system by itself.
    let mut second = approved(&bench, 2, &other).await;
    let mut differs = other;
    differs.ramdisk = 2;
    written(&bench, &mut second, &differs).await;
    assert!(is_unproven_for(&shows(&bench, &second, &differs).await, "nobody has recorded how this image"));
    judged(&bench, &second).await;
    assert_eq!(view(&bench, &second).await.recorded_at, None);
    differs.loader = 2;
    assert_eq!(restarts(&bench, &mut second, &differs).await, BootTrust::Verified);
    differs.firmware = 3;
    assert!(matches!(restarts(&bench, &mut second, &differs).await, BootTrust::Mismatch { .. }));
}

/// An agent of before shows nothing, and nothing is missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_never_showed_its_boot_goes_on_as_before() {
    let bench = Bench::start_with("discovery_attempts_max = 20\n").await;
    let tpm = Tpm::new();
    let mut machine = approved(&bench, 1, &tpm).await;
    bench.import("debian", 1).await;
    written(&bench, &mut machine, &tpm).await;
    assert_eq!(machine.context(&bench).await.node.boot_trust, None);
    assert_eq!(judged(&bench, &machine).await.action, Action::Keep);
    assert_eq!(machine.context(&bench).await.node.boot_trust, None);
}
