//! A node shows how it booted: what is believed, what is not, and what a person records.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{ContextReply, EnrollReply};
use contract::assignment::BootTrust;
use contract::boot_proof::{BootProof, ShownBoot};
use contract::decision::Action;
use contract::id::{JobId, UnixMillis};
use contract::operator_api::{DecisionView, ErrorBody, ErrorKind, NodeView};
use contract::reading::{Outcome, Trust};
use contract::secret::Secret;
use reprieve_bootsvc::{bearer, store};
use reqwest::Method;
use serde_json::json;
use support::Bench;
use support::flow::{approve, factory_new};
use support::machine::Machine;
use support::tpm::Tpm;

async fn send(
    bench: &Bench,
    machine: &Machine,
    shown: Outcome<ShownBoot>,
) -> Result<ContextReply, ErrorBody> {
    bench
        .call(Method::POST, "/v1/agent/boot-proof", &machine.session, &BootProof { shown, opened: None })
        .await
}

/// Boots into the ramdisk; the reply to its enrolment, and the kernel's command line.
async fn comes(bench: &Bench, machine: &mut Machine) -> (EnrollReply, String) {
    let request = machine.boot(bench).await.expect("the ramdisk");
    let line = format!("quiet reprieve.node={} reprieve.token={}", machine.node, request.token.reveal());
    (machine.enroll(bench, &request).await.unwrap(), line)
}

/// Boots into the ramdisk and shows it, with this boot's own token on the command line.
async fn boots(bench: &Bench, machine: &mut Machine, tpm: &Tpm) -> BootTrust {
    let (EnrollReply { boot_challenge, context, .. }, line) = comes(bench, machine).await;
    let earlier = context.node.boot_trust;
    let counts_for_nothing = matches!(&earlier, None | Some(BootTrust::Lost { .. }));
    assert!(counts_for_nothing, "what an earlier session showed counts for nothing: {earlier:?}");
    let shown = tpm.show(boot_challenge.unwrap(), &line);
    let reply = send(bench, machine, Outcome::Value(shown)).await.unwrap();
    assert_eq!(machine.context(bench).await.node.boot_trust, reply.node.boot_trust);
    reply.node.boot_trust.unwrap()
}

/// Records the boot that was shown last.
async fn trust_boot(bench: &Bench, machine: &Machine, why: &str) -> Result<NodeView, ErrorBody> {
    let path = format!("/v1/nodes/{}", machine.node);
    let node: NodeView = bench.operator(Method::GET, &path, &()).await.unwrap();
    trust_boot_of(bench, machine, why, node.boot.unwrap().shown_at.unwrap()).await
}

async fn trust_boot_of(
    bench: &Bench,
    machine: &Machine,
    why: &str,
    shown_at: UnixMillis,
) -> Result<NodeView, ErrorBody> {
    let path = format!("/v1/nodes/{}/trust-boot", machine.node);
    bench.operator(Method::POST, &path, &json!({ "why": why, "shown_at": shown_at })).await
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

fn is_lost_for(trust: &BootTrust, part: &str) -> bool {
    matches!(trust, BootTrust::Lost { why } if why.contains(part))
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
    let before =
        trust_boot_of(&bench, &machine, "a boot that nobody looked at", UnixMillis(1)).await.unwrap_err();
    assert_eq!((before.kind, before.message.contains("another boot since")), (ErrorKind::Conflict, true));
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
    let (EnrollReply { boot_challenge, .. }, line) = comes(&bench, &mut machine).await;
    let old_challenge = boot_challenge.unwrap();
    send(&bench, &machine, Outcome::Value(tpm.show(old_challenge, &line))).await.unwrap();
    trust_boot(&bench, &machine, "new").await.unwrap();

    let (_, line) = comes(&bench, &mut machine).await;
    let trust = |reply: ContextReply| reply.node.boot_trust.unwrap();
    let reply = send(&bench, &machine, Outcome::Value(tpm.show(old_challenge, &line))).await.unwrap();
    assert!(is_lost_for(&trust(reply), "another challenge"));
    assert_eq!(trust_boot(&bench, &machine, "x").await.unwrap_err().kind, ErrorKind::Conflict);
    let reply = send(&bench, &machine, Outcome::Absent).await.unwrap();
    assert!(is_lost_for(&trust(reply), "no TPM"));
    let reply = send(&bench, &machine, Outcome::Unreadable("\u{1b}[2J refused".to_owned())).await.unwrap();
    assert!(is_lost_for(&trust(reply), "asked: [2J refused"));
    assert!(is_lost_for(&boots(&bench, &mut machine, &Tpm::new()).await, "another TPM"));
    assert!(judged(&bench, &machine, Trust::RamdiskAttested).await.is_err());
    assert_eq!(judged(&bench, &machine, Trust::Ramdisk).await.unwrap(), Action::Quarantine);
}

/// To show nothing is never milder than to show what was changed; and only a ramdisk is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_not_shown_any_more_is_missed() {
    let bench = bench().await;
    let (mut machine, tpm) = (Machine::new(1), Tpm::new());
    machine.come(&bench).await;
    let unasked = judged(&bench, &machine, Trust::Ramdisk).await.unwrap();
    assert_ne!(unasked, Action::Quarantine, "nothing is recorded that could be missed");
    boots(&bench, &mut machine, &tpm).await;
    trust_boot(&bench, &machine, "new").await.unwrap();

    let told = machine.come(&bench).await.context.node.boot_trust;
    assert_eq!(told, machine.context(&bench).await.node.boot_trust);
    assert!(is_lost_for(&told.unwrap(), "shown nothing"));
    assert_eq!(judged(&bench, &machine, Trust::Ramdisk).await.unwrap(), Action::Quarantine);

    let path = format!("/v1/nodes/{}/forget-boot", machine.node);
    let forget = async |why: &str| -> Result<NodeView, ErrorBody> {
        bench.operator(Method::POST, &path, &json!({ "why": why })).await
    };
    let mut resident = as_resident(&bench, &machine).await;
    assert_eq!(resident.context(&bench).await.node.boot_trust, None);
    assert_ne!(judged(&bench, &resident, Trust::Resident).await.unwrap(), Action::Quarantine);

    assert_eq!(forget("\n").await.unwrap_err().kind, ErrorKind::BadRequest);
    assert_eq!(forget("its TPM is gone").await.unwrap().boot.unwrap().recorded_at, None);
    assert_eq!(forget("its TPM is gone").await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(resident.come(&bench).await.context.node.boot_trust, None);
    assert_eq!(judged(&bench, &resident, Trust::Ramdisk).await.unwrap(), unasked);
}

/// The same machine, running its system.
async fn as_resident(bench: &Bench, machine: &Machine) -> Machine {
    let credential = Secret::new("of the running system".to_owned());
    let mut transaction = bench.service.store.write().await.unwrap();
    let (hash, job) = (bearer::hash(credential.reveal()), JobId(uuid::Uuid::new_v4()));
    let now = reprieve_bootsvc::clock::now();
    store::sessions::insert_credential(&mut transaction, hash, machine.node, job, now).await.unwrap();
    store::commit(transaction).await.unwrap();
    Machine { node: machine.node, ..Machine::new(1) }.into_resident(&credential)
}

/// A kernel that is started by another one finds the registers of the boot before. Root there can fetch a script,
/// enroll with its token, and have the TPM sign the new challenge over the old boot.
#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_another_session_enrolled_from_proves_nothing() {
    let bench = bench().await;
    let (mut machine, tpm) = (Machine::new(1), Tpm::new());
    boots(&bench, &mut machine, &tpm).await;
    trust_boot(&bench, &machine, "new").await.unwrap();
    let (_, measured) = comes(&bench, &mut machine).await;

    let (EnrollReply { boot_challenge, .. }, given) = comes(&bench, &mut machine).await;
    let challenge = boot_challenge.unwrap();
    for line in [measured.clone(), format!("{given} {measured}"), "quiet".to_owned()] {
        let reply = send(&bench, &machine, Outcome::Value(tpm.show(challenge, &line))).await.unwrap();
        let found = reply.node.boot_trust.unwrap();
        assert!(is_lost_for(&found, "not the one that enrolled"), "{line}: {found:?}");
    }
    assert!(judged(&bench, &machine, Trust::RamdiskAttested).await.is_err());
    let reply = send(&bench, &machine, Outcome::Value(tpm.show(challenge, &given))).await.unwrap();
    assert_eq!(reply.node.boot_trust, Some(BootTrust::Verified));
}
