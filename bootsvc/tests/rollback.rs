//! Going back to the image before, by hand and by itself, over the real API.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::Instruction;
use contract::decision::{Action, Severity};
use contract::history::ImageOutcome;
use contract::id::{ImageId, JobId};
use contract::operator_api::{
    DecisionView, ErrorBody, ErrorKind, JobState, JobView, NodeState, NodeView, ReimageReply,
};
use contract::reading::Trust;
use reqwest::Method;
use serde_json::{Value, json};
use support::flow::{installed, job, job_of};
use support::machine::{Machine, SERIAL, order_in};
use support::{Bench, kind_of};

async fn rollback(bench: &Bench, changes: Value) -> Result<ReimageReply, ErrorBody> {
    let mut request = json!({"dry_run": false, "confirm_serial": null, "confirmed": false});
    for (key, value) in changes.as_object().unwrap() {
        request[key] = value.clone();
    }
    bench.operator(Method::POST, &format!("/v1/nodes/{SERIAL}/rollback"), &request).await
}

/// The machine comes into the ramdisk and carries out what it is ordered; its system's agent.
async fn obey(bench: &Bench, mut machine: Machine) -> Machine {
    machine.come(bench).await;
    let (report, instruction) = machine.report(bench).await;
    let order = order_in(bench, &instruction);
    let plan = report.plan.unwrap();
    assert_eq!(plan.action, Action::Reimage);
    let (identity, instruction) = machine.carry_out(bench, &order, &plan).await;
    assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
    machine.into_resident(&identity.unwrap().credential)
}

async fn reports(bench: &Bench, resident: &Machine) -> Instruction {
    let report = resident.report_of(bench, Trust::Resident).await;
    resident.send(bench, &report).await.unwrap()
}

/// A machine that had image `debian`, was changed to `other` and has that on its disk.
async fn changed(bench: &Bench) -> (Machine, JobId, [ImageId; 2]) {
    let machine = installed(bench).await;
    let before = machine.installed.unwrap();
    let other = bench.import("other", 2).await.id;
    let id = job_of(bench, &machine, json!({"image": "other", "confirmed": true})).await;
    let resident = obey(bench, machine).await;
    assert_eq!(job(bench, id).await.state, JobState::ComingUp);
    (resident, id, [before, other])
}

fn outcomes(node: &NodeView) -> Vec<&'static str> {
    let name = |outcome: &ImageOutcome| match outcome {
        ImageOutcome::Writing => "writing",
        ImageOutcome::ComingUp => "coming up",
        ImageOutcome::Unreported => "unreported",
        ImageOutcome::Good => "good",
        ImageOutcome::Failed { .. } => "failed",
    };
    node.images.iter().map(|past| name(&past.outcome)).collect()
}

fn held(job: &JobView) -> &str {
    match &job.state {
        JobState::Held { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// The system that comes up is another one than was written.
fn comes_up_as(mut resident: Machine, image: ImageId) -> Machine {
    resident.installed = Some(image);
    resident
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_goes_back_and_forth_between_images_that_worked() {
    let bench = Bench::start().await;
    let first = installed(&bench).await;
    let refused = rollback(&bench, json!({"confirmed": true})).await;
    assert!(refused.as_ref().unwrap_err().message.contains("no earlier image"), "{refused:?}");
    drop(first);

    let bench = Bench::start().await;
    let (resident, id, [before, other]) = changed(&bench).await;
    reports(&bench, &resident).await;
    assert_eq!(job(&bench, id).await.state, JobState::Done { action: Action::Reimage });
    assert_eq!(outcomes(&bench.node(SERIAL).await), ["good", "good"]);
    assert_eq!(kind_of(rollback(&bench, json!({})).await), ErrorKind::Unconfirmed);
    let reply = rollback(&bench, json!({"dry_run": true})).await.unwrap();
    let ReimageReply::Job { job: None, expectation, destructive: true, .. } = reply else {
        panic!("{reply:?}")
    };
    assert!(expectation.contains(&before.to_string()) && expectation.contains("debian"), "{expectation}");
    assert_eq!(bench.node(SERIAL).await.assignment.image, Some(other), "a dry run changed something");
    let protect = format!("/v1/nodes/{SERIAL}/protect");
    bench.operator::<NodeView>(Method::POST, &protect, &json!({"protected": true})).await.unwrap();
    assert_eq!(kind_of(rollback(&bench, json!({"confirmed": true})).await), ErrorKind::Protected);
    bench.operator::<NodeView>(Method::POST, &protect, &json!({"protected": false})).await.unwrap();

    let mut resident = resident;
    for (to, from) in [(before, other), (other, before)] {
        let reply = rollback(&bench, json!({"confirm_serial": SERIAL})).await.unwrap();
        let ReimageReply::Job { job: Some(id), .. } = reply else { panic!("{reply:?}") };
        let second = rollback(&bench, json!({"confirmed": true})).await.unwrap_err();
        assert!(second.message.contains("open job"), "{second:?}");
        assert_eq!(resident.installed, Some(from));
        resident = obey(&bench, resident).await;
        assert_eq!(resident.installed, Some(to));
        reports(&bench, &resident).await;
        assert_eq!(job(&bench, id).await.state, JobState::Done { action: Action::Reimage });
    }
}

/// The findings about command lines that the last look came to, with what follows.
async fn line_found(bench: &Bench) -> (Action, Vec<String>) {
    let path = format!("/v1/nodes/{SERIAL}/decision");
    let view: DecisionView = bench.operator(Method::GET, &path, &()).await.unwrap();
    let bad = view.decision.findings.into_iter().filter(|found| found.severity != Severity::Good);
    let lines = bad.filter(|found| found.rule.ends_with("command-line"));
    (view.decision.action, lines.map(|found| found.statement).collect())
}

/// Each image starts with words of its own, and going to and fro between them is no finding.
#[tokio::test(flavor = "multi_thread")]
async fn another_image_may_start_with_another_command_line_and_the_same_one_may_not() {
    let bench = Bench::start().await;
    let (mut resident, id, [before, _]) = changed(&bench).await;
    resident.system_line = "root=LABEL=other ro mitigations=off";
    reports(&bench, &resident).await;
    assert_eq!(job(&bench, id).await.state, JobState::Done { action: Action::Reimage });
    assert_eq!(line_found(&bench).await, (Action::Keep, vec![]), "another image");

    let reply = rollback(&bench, json!({"confirmed": true})).await.unwrap();
    let ReimageReply::Job { job: Some(id), .. } = reply else { panic!("{reply:?}") };
    let mut resident = obey(&bench, resident).await;
    assert_eq!(line_found(&bench).await.1, Vec::<String>::new(), "in the ramdisk");
    resident.system_line = "BOOT_IMAGE=/vmlinuz root=LABEL=system ro";
    reports(&bench, &resident).await;
    assert_eq!(job(&bench, id).await.state, JobState::Done { action: Action::Reimage });
    assert_eq!((resident.installed, line_found(&bench).await), (Some(before), (Action::Keep, vec![])));

    // The system's word is not forgotten in the ramdisk, which cannot see the line, nor after a restart.
    resident.system_line = "root=LABEL=system ro init=/bin/sh";
    reports(&bench, &resident).await;
    let (action, found) = line_found(&bench).await;
    assert!(action == Action::Reimage && found[0].contains("added init=/bin/sh"), "{action:?} {found:?}");
    let bench = bench.restart().await;
    let id = job_of(&bench, &resident, json!({"confirmed": true})).await;
    let resident = obey(&bench, resident).await;
    // Written again, it starts as before: nobody learns that, and the node is held.
    reports(&bench, &resident).await;
    let view = job(&bench, id).await;
    assert!(held(&view).contains("added init=/bin/sh"), "{view:?}");
    assert_eq!(line_found(&bench).await.0, Action::Reimage);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_a_person_found_right_is_what_is_compared_with() {
    let bench = Bench::start().await;
    let mut resident = installed(&bench).await;
    resident.system_line = "root=LABEL=system ro hugepages=8";
    reports(&bench, &resident).await;
    let (action, found) = line_found(&bench).await;
    assert!(action == Action::Keep && found[0].contains("added hugepages=8"), "{action:?} {found:?}");
    reports(&bench, &resident).await;
    assert_eq!(line_found(&bench).await.1.len(), 1, "what is found stays found");
    let mut change = bench.service.change(resident.node).await.unwrap();
    change.hold("a test").unwrap();
    change.commit().await.unwrap();
    let path = format!("/v1/nodes/{SERIAL}/release-hold");
    bench.operator::<NodeView>(Method::POST, &path, &()).await.unwrap();
    reports(&bench, &resident).await;
    assert_eq!(line_found(&bench).await, (Action::Keep, vec![]));

    // Somebody starts the ramdisk with a word that its script did not have.
    resident.ramdisk_words = "rdinit=/own";
    let id = job_of(&bench, &resident, json!({"from_ramdisk": true, "confirmed": true})).await;
    resident.come(&bench).await;
    resident.report(&bench).await;
    let view = job(&bench, id).await;
    assert!(held(&view).contains("added rdinit=/own"), "{view:?}");
    assert_eq!(line_found(&bench).await.0, Action::Quarantine);
}

/// Its job is done when it is proven; it never counts as an image that worked, and a person can still go
/// back to it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_an_image_without_an_agent() {
    let bench = Bench::start().await;
    let machine = installed(&bench).await;
    let (mut stock, chunk) = support::image("stock", 3);
    stock.without_agent = true;
    let stock = bench.import_of(&stock, &chunk).await;
    assert!(stock.without_agent);
    let id = job_of(&bench, &machine, json!({"image": "stock", "confirmed": true})).await;
    let machine = obey(&bench, machine).await;
    let done = job(&bench, id).await;
    assert_eq!(done.state, JobState::Done { action: Action::Reimage });
    assert!(done.events.iter().any(|event| event.text.contains("has no agent")), "{:?}", done.events);
    assert_eq!(outcomes(&bench.node(SERIAL).await), ["unreported", "good"]);
    // It boots its own disk like any other.
    assert!(bench.script(&machine.mac.to_string()).await.contains("sanboot"));

    job_of(&bench, &machine, json!({"image": "debian", "confirmed": true})).await;
    let resident = obey(&bench, machine).await;
    reports(&bench, &resident).await;
    assert_eq!(outcomes(&bench.node(SERIAL).await), ["good", "unreported", "good"]);
    let reply = rollback(&bench, json!({"dry_run": true})).await.unwrap();
    let ReimageReply::Job { expectation, .. } = reply else { panic!("{reply:?}") };
    assert!(expectation.contains("stock"), "{expectation}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_another_tenant_is_no_way_back() {
    let bench = Bench::start().await;
    let machine = installed(&bench).await;
    bench.import("other", 2).await;
    job_of(&bench, &machine, json!({"image": "other", "tenant": "b", "confirmed": true})).await;
    let mut machine = machine;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    let (identity, _) = machine.carry_out(&bench, &order, &report.plan.unwrap()).await;
    let id = bench.node(SERIAL).await.job.unwrap();
    let resident =
        comes_up_as(machine.into_resident(&identity.unwrap().credential), bench.import("x", 3).await.id);
    reports(&bench, &resident).await;
    let view = job(&bench, id).await;
    assert!(held(&view).contains("another tenant"), "{}", held(&view));
    assert_eq!(kind_of(rollback(&bench, json!({"confirmed": true})).await), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_comes_up_wrong_is_taken_back_once() {
    let bench = Bench::start().await;
    let (resident, id, [before, other]) = changed(&bench).await;
    let strange = bench.import("strange", 3).await.id;
    let resident = comes_up_as(resident, strange);
    let told = reports(&bench, &resident).await;
    assert!(matches!(told, Instruction::EnterRamdisk { job, .. } if job == id), "{told:?}");
    let view = job(&bench, id).await;
    let back = view.going_back.clone().unwrap();
    assert_eq!((view.state.clone(), back.from, back.to), (JobState::Waiting, other, before));
    let node = bench.node(SERIAL).await;
    assert_eq!((node.assignment.image, node.state), (Some(before), NodeState::Busy));
    assert_eq!(outcomes(&node), ["failed", "good"]);

    let resident = obey(&bench, resident).await;
    assert_eq!(resident.installed, Some(before));
    reports(&bench, &resident).await;
    let view = job(&bench, id).await;
    assert!(matches!(&view.state, JobState::RolledBack { reason } if reason.contains(&other.to_string())));
    assert!(view.events.iter().any(|event| event.text.contains("taken back")), "{:#?}", view.events);
    let node = bench.node(SERIAL).await;
    assert_eq!((node.state, node.job, node.hold_reason.clone()), (NodeState::Idle, None, None));
    assert_eq!(outcomes(&node), ["good", "failed", "good"]);
    // The image that failed is nothing to go back to.
    assert_eq!(kind_of(rollback(&bench, json!({"confirmed": true})).await), ErrorKind::Conflict);
}

/// The tenant's own file system had its errors before, and they say nothing of the image beside it.
#[tokio::test(flavor = "multi_thread")]
async fn errors_on_a_partition_that_was_kept_take_no_image_back() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    let other = bench.import("other", 2).await.id;
    machine.errors_beside = Some(7);
    let id = job_of(&bench, &machine, json!({"image": "other", "confirmed": true})).await;
    let resident = obey(&bench, machine).await;
    assert_eq!(resident.installed, Some(other));
    reports(&bench, &resident).await;
    assert_eq!(job(&bench, id).await.state, JobState::Done { action: Action::Reimage });
}

#[tokio::test(flavor = "multi_thread")]
async fn if_the_way_back_fails_too_the_node_is_held_with_both_reasons() {
    let bench = Bench::start().await;
    let (resident, id, _) = changed(&bench).await;
    let strange = bench.import("strange", 3).await.id;
    let resident = comes_up_as(resident, strange);
    reports(&bench, &resident).await;
    let resident = comes_up_as(obey(&bench, resident).await, strange);
    let told = reports(&bench, &resident).await;
    assert!(matches!(told, Instruction::Wait { .. }), "{told:?}");
    let view = job(&bench, id).await;
    let reason = held(&view);
    assert!(
        reason.contains("on the way back") && reason.matches("not what was asked for").count() == 2,
        "{reason}"
    );
    let node = bench.node(SERIAL).await;
    assert_eq!((node.state, outcomes(&node)), (NodeState::Held, vec!["failed", "failed", "good"]));
    assert!(bench.script(&resident.mac.to_string()).await.contains("holds this machine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_never_reports_is_taken_back_and_never_loops() {
    let bench = Bench::start().await;
    let (mut machine, id, [before, _]) = changed(&bench).await;
    let mac = machine.mac.to_string();
    for _ in 0..3 {
        assert!(bench.script(&mac).await.contains("booting the local disk"));
    }
    // The fourth time it gets the ramdisk at once, and its order.
    machine = obey(&bench, machine).await;
    assert_eq!(machine.installed, Some(before));
    for _ in 0..3 {
        assert!(bench.script(&mac).await.contains("booting the local disk"));
    }
    assert!(bench.script(&mac).await.contains("holds this machine"));
    let view = job(&bench, id).await;
    assert_eq!(held(&view).matches("never reported").count(), 2, "{}", held(&view));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_does_not_report_in_time_is_taken_back_even_after_a_restart() {
    let bench = Bench::start().await;
    let (_, id, _) = changed(&bench).await;
    let minute = 60_000;
    let service = &bench.service;
    let started = service.started_at;
    assert_eq!(service.look_for_overdue(started.plus_millis(29 * minute)).await.unwrap(), 0);
    // A service that was away gives everybody the whole time again.
    let bench = bench.restart().await;
    let now = reprieve_bootsvc::clock::now();
    assert_eq!(bench.service.look_for_overdue(now.plus_millis(29 * minute)).await.unwrap(), 0);
    assert_eq!(job(&bench, id).await.state, JobState::ComingUp);
    assert_eq!(bench.service.look_for_overdue(now.plus_millis(31 * minute)).await.unwrap(), 1);
    let view = job(&bench, id).await;
    assert_eq!(view.state, JobState::Waiting);
    assert!(view.going_back.unwrap().because.contains("within 30 minutes"));
    assert_eq!(bench.service.look_for_overdue(now.plus_millis(90 * minute)).await.unwrap(), 0, "twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_hardware_a_protected_node_and_an_image_that_was_there_before_are_held() {
    let bench = Bench::start().await;
    let (mut resident, id, _) = changed(&bench).await;
    resident.failing = true;
    reports(&bench, &resident).await;
    assert!(held(&job(&bench, id).await).contains("quarantine"));

    let bench = Bench::start().await;
    let (resident, id, [_, other]) = changed(&bench).await;
    let protect = format!("/v1/nodes/{SERIAL}/protect");
    bench.operator::<NodeView>(Method::POST, &protect, &json!({"protected": true})).await.unwrap();
    for _ in 0..4 {
        bench.script(&resident.mac.to_string()).await;
    }
    assert!(held(&job(&bench, id).await).contains("protected"));
    assert_eq!(bench.node(SERIAL).await.assignment.image, Some(other));

    let bench = Bench::start().await;
    let machine = installed(&bench).await;
    let id = job_of(&bench, &machine, json!({"at_least": "reimage", "confirmed": true})).await;
    let resident = obey(&bench, machine).await;
    for _ in 0..4 {
        bench.script(&resident.mac.to_string()).await;
    }
    assert!(held(&job(&bench, id).await).contains("had this image before"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_system_that_is_as_assigned_is_remembered_once() {
    let bench = Bench::start().await;
    let resident = installed(&bench).await;
    let images = bench.node(SERIAL).await.images;
    for _ in 0..2 {
        reports(&bench, &resident).await;
    }
    assert_eq!(bench.node(SERIAL).await.images, images);
    assert_eq!(images.len(), 1);
}
