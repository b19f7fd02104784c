//! Wipes that fail after a disk was proven, and wipes that install nothing, over the real API.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{FinishResult, Instruction, StepResult};
use contract::assignment::DataOwner;
use contract::certificate_api::CertificateView;
use contract::operator_api::{ErrorKind, JobState, NodeState, NodeView, ReimageReply};
use contract::order::Order;
use contract::plan::{Plan, Step};
use contract::reading::Trust;
use erasure::certificate::signed::SignedCertificate;
use reqwest::Method;
use serde_json::{Value, json};
use support::flow::{job, job_of};
use support::machine::{DISK, Machine, SERIAL, order_in, results};
use support::{Bench, kind_of};

const OTHER: &str = "virtio-other";

/// An approved machine with two disks.
async fn approved(bench: &Bench) -> Machine {
    let mut machine = Machine::new(1);
    machine.more_disks = vec![OTHER];
    machine.come(bench).await;
    machine.report(bench).await;
    let approve = json!({"pool": null, "factory_new": false, "data_of": null});
    let path = format!("/v1/nodes/{}/approve", machine.node);
    bench.operator::<NodeView>(Method::POST, &path, &approve).await.unwrap();
    bench.import("debian", 1).await;
    machine
}

/// With an order for a wipe: both disks, then the image.
async fn ordered(bench: &Bench, changes: Value) -> (Machine, Order, Plan) {
    let mut machine = approved(bench).await;
    job_of(bench, &machine, changes).await;
    machine.come(bench).await;
    let (report, instruction) = machine.report(bench).await;
    let order = order_in(bench, &instruction);
    (machine, order, report.plan.unwrap())
}

fn wipe() -> Value {
    json!({"image": "debian", "tenant": "a", "at_least": "wipe", "sanitize_level": "clear", "why": "RMA",
        "confirm_serial": SERIAL})
}

fn leave_empty() -> Value {
    json!({"image": null, "tenant": null, "at_least": "empty", "sanitize_level": "clear", "why": "RMA",
        "confirm_serial": SERIAL})
}

async fn certified(bench: &Bench) -> Vec<String> {
    let views: Vec<CertificateView> = bench.operator(Method::GET, "/v1/certificates", &()).await.unwrap();
    let mut disks: Vec<String> = views.iter().map(|view| view.disk.to_string()).collect();
    disks.sort();
    disks
}

/// Changes what is reported of the steps that were done.
type Change = fn(&mut Vec<StepResult>);

fn erase_record(steps: &mut [StepResult], change: fn(&mut Value)) {
    let text = steps[0].erase_record.as_mut().unwrap();
    let mut record: Value = serde_json::from_str(text).unwrap();
    change(&mut record);
    *text = record.to_string();
}

/// The disk that was proven before something else failed is certified, if nothing about it is in doubt,
/// and the one that failed never is.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_proven_before_the_order_failed_is_certified() {
    let keep: Change = |_| {};
    let table: [(&str, u32, u32, Change, &[&str]); 9] = [
        ("the image could not be written", 2, 3, keep, &[DISK, OTHER]),
        ("the second disk failed", 1, 2, |steps| steps.truncate(1), &[DISK]),
        ("the second disk failed and claims a record", 1, 2, keep, &[DISK]),
        ("the first disk failed, the second ended well", 0, 2, |steps| drop(steps.remove(0)), &[OTHER]),
        ("the second was never begun", 2, 1, keep, &[DISK]),
        ("two records for one disk", 2, 3, |steps| steps.push(steps[0].clone()), &[OTHER]),
        ("no proof", 2, 3, |steps| steps[0].proof.clear(), &[OTHER]),
        (
            "another seed",
            2,
            3,
            |steps| erase_record(steps, |record| record["seed"] = json!("00".repeat(32))),
            &[OTHER],
        ),
        ("a failure that the plan does not have", 3, 3, keep, &[]),
    ];
    for (what, failed, begun, change, expected) in table {
        let bench = Bench::start().await;
        let (machine, order, plan) = ordered(&bench, wipe()).await;
        assert!(matches!(&plan.steps[..], [Step::Erase { .. }, Step::Erase { .. }, Step::WriteImage { .. }]));
        for step in 0..begun {
            machine.begin(&bench, &order, step).await.unwrap();
        }
        let mut steps = results(&plan);
        steps.pop();
        change(&mut steps);
        let result = FinishResult::Failed { step: failed, error: "EIO".to_owned() };
        let instruction = machine.finish(&bench, &order, result.clone(), steps.clone()).await.unwrap();
        assert!(matches!(instruction, Instruction::Wait { .. }), "{what}: {instruction:?}");
        assert_eq!(certified(&bench).await, expected, "{what}");
        // The answer was lost, the agent says it again: nothing more.
        machine.finish(&bench, &order, result, steps).await.unwrap();
        assert_eq!(certified(&bench).await, expected, "{what}, again");
        let node = bench.node(SERIAL).await;
        let view = job(&bench, node.job.unwrap()).await;
        assert!(matches!(view.state, JobState::Held { .. }), "{what}");
        let said = view.events.iter().any(|event| event.text.contains("no disk is certified"));
        assert_eq!(said, expected.is_empty(), "{what}: {:?}", view.events);
        assert_eq!(node.data_owner, DataOwner::Unknown, "{what}: the node is nobody's only as a whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn such_a_certificate_says_that_the_order_failed_and_the_next_one_follows_it() {
    let bench = Bench::start().await;
    let (mut machine, order, plan) = ordered(&bench, wipe()).await;
    for step in 0..3 {
        machine.begin(&bench, &order, step).await.unwrap();
    }
    let mut steps = results(&plan);
    steps.pop();
    machine
        .finish(&bench, &order, FinishResult::Failed { step: 2, error: "EIO".to_owned() }, steps)
        .await
        .unwrap();
    let release = format!("/v1/nodes/{}/release-hold", machine.node);
    bench.operator::<NodeView>(Method::POST, &release, &()).await.unwrap();
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    machine.carry_out(&bench, &order_in(&bench, &instruction), &report.plan.unwrap()).await;
    let path = format!("/v1/certificates?disk={DISK}");
    let views: Vec<CertificateView> = bench.operator(Method::GET, &path, &()).await.unwrap();
    let mut read = Vec::new();
    for view in &views {
        let path = format!("/v1/certificates/{}", view.id);
        let bytes = bench.raw(Method::GET, &path, &bench.token, Vec::new()).await.bytes().await.unwrap();
        let signed = SignedCertificate::from_bytes(&bytes).unwrap();
        read.push((signed.read_unchecked().unwrap(), signed));
    }
    let [(second, _), (first, signed)] = &read[..] else { panic!("{views:?}") };
    assert_eq!(first.authority.order_failed_at_step, Some(2));
    assert_eq!(second.authority.order_failed_at_step, None);
    second.check_follows(first, signed).unwrap();
}

/// Erased, certified, held, and nobody boots what is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_left_empty_and_is_held() {
    let bench = Bench::start().await;
    let (mut machine, order, plan) = ordered(&bench, leave_empty()).await;
    assert!(matches!(&plan.steps[..], [Step::Erase { .. }, Step::Erase { .. }]), "{plan:?}");
    let id = bench.node(SERIAL).await.job.unwrap();
    let (identity, instruction) = machine.carry_out(&bench, &order, &plan).await;
    assert!(identity.is_none() && matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    assert_eq!(certified(&bench).await, [DISK, OTHER]);
    assert!(matches!(job(&bench, id).await.state, JobState::Done { .. }));
    let node = bench.node(SERIAL).await;
    assert_eq!((node.state, &node.data_owner), (NodeState::Held, &DataOwner::Nobody));
    assert!(node.hold_reason.unwrap().contains("left them empty"));
    assert_eq!((node.assignment.image, node.assignment.tenant), (None, None));
    // Whoever asks is never told to boot the disk: the agent, again, and the firmware.
    let again = machine.finish(&bench, &order, FinishResult::Done, results(&plan)).await.unwrap();
    assert!(matches!(again, Instruction::Wait { .. }), "{again:?}");
    let script = bench.script(&machine.mac.to_string()).await;
    assert!(script.contains("is not booted") && !script.contains("exit"), "{script}");
    assert!(machine.boot(&bench).await.is_none(), "no ramdisk either");
    // What is assigned to it is not on its disks.
    let assign = json!({"image": "debian", "tenant": "a"});
    let path = format!("/v1/nodes/{}/assign", machine.node);
    bench.operator::<NodeView>(Method::POST, &path, &assign).await.unwrap();
    let script = bench.script(&machine.mac.to_string()).await;
    assert!(script.contains("is not booted") && !script.contains("exit"), "{script}");
    let again = machine.finish(&bench, &order, FinishResult::Done, results(&plan)).await.unwrap();
    assert!(matches!(again, Instruction::Wait { .. }), "{again:?}");

    // Released and asked for an image, it gets one like any node that is nobody's.
    let release = format!("/v1/nodes/{}/release-hold", machine.node);
    bench.operator::<NodeView>(Method::POST, &release, &()).await.unwrap();
    job_of(&bench, &machine, json!({"image": "debian", "tenant": "a", "confirm_serial": SERIAL})).await;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let plan = report.plan.unwrap();
    assert!(plan.steps.iter().any(|step| matches!(step, Step::WriteImage { .. })));
    let (identity, instruction) = machine.carry_out(&bench, &order_in(&bench, &instruction), &plan).await;
    assert!(identity.is_some() && matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
}

/// What fails goes back to who made it, erased if it can be; nothing is installed on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_disk_is_erased_for_its_return_and_gets_no_image() {
    let bench = Bench::start().await;
    let mut machine = approved(&bench).await;
    machine.failing = true;
    let again = async |machine: &mut Machine, changes: Value| {
        let id = job_of(&bench, machine, changes).await;
        machine.come(&bench).await;
        let (report, instruction) = machine.report(&bench).await;
        (id, report, instruction)
    };
    let (id, report, instruction) = again(&mut machine, wipe()).await;
    assert!(report.plan.is_none() && matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    let JobState::Held { reason } = job(&bench, id).await.state else { panic!("not held") };
    assert!(reason.contains("quarantine"), "{reason}");
    let cancel = format!("/v1/jobs/{id}/cancel");
    bench.operator::<contract::operator_api::JobView>(Method::POST, &cancel, &()).await.unwrap();
    let release = format!("/v1/nodes/{}/release-hold", machine.node);
    bench.operator::<NodeView>(Method::POST, &release, &()).await.unwrap();

    let (_, report, instruction) = again(&mut machine, leave_empty()).await;
    let plan = report.plan.unwrap();
    assert!(matches!(&plan.steps[..], [Step::Erase { .. }, Step::Erase { .. }]), "{plan:?}");
    machine.carry_out(&bench, &order_in(&bench, &instruction), &plan).await;
    assert_eq!(certified(&bench).await, [DISK, OTHER]);
    assert_eq!(bench.node(SERIAL).await.state, NodeState::Held);
}

/// A node in use keeps its assignment until its disks are proven empty.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_assigned_stays_until_the_disks_are_empty() {
    let bench = Bench::start().await;
    let mut machine = support::flow::installed(&bench).await;
    let before = bench.node(SERIAL).await.assignment;
    let id = job_of(&bench, &machine, leave_empty()).await;
    machine.come(&bench).await;
    let cancel = format!("/v1/jobs/{id}/cancel");
    bench.operator::<contract::operator_api::JobView>(Method::POST, &cancel, &()).await.unwrap();
    assert_eq!(bench.node(SERIAL).await.assignment, before);
    assert!(matches!(machine.next(&bench).await, Instruction::BootLocal { .. }), "it boots what it has");
}

/// An erase that fails leaves the node held with its old assignment, and it must not boot.
#[tokio::test(flavor = "multi_thread")]
async fn an_erase_that_fails_leaves_nothing_that_is_called_empty() {
    let bench = Bench::start().await;
    let (mut machine, order, plan) = ordered(&bench, leave_empty()).await;
    machine.begin(&bench, &order, 0).await.unwrap();
    let failed = FinishResult::Failed { step: 0, error: "the marker survived".to_owned() };
    machine.finish(&bench, &order, failed, results(&plan)).await.unwrap();
    assert_eq!(certified(&bench).await, Vec::<String>::new());
    let node = bench.node(SERIAL).await;
    assert_eq!((node.state, node.data_owner), (NodeState::Held, DataOwner::Unknown));
    // Half-erased: into the ramdisk, or nowhere.
    assert!(machine.boot(&bench).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_node_gets_no_image_and_a_destructive_request_is_confirmed() {
    let bench = Bench::start().await;
    let machine = approved(&bench).await;
    let path = format!("/v1/nodes/{}/reimage", machine.node);
    let mut with_image = support::flow::request(leave_empty());
    with_image["image"] = json!("debian");
    let refused = bench.operator::<ReimageReply>(Method::POST, &path, &with_image).await;
    assert_eq!(kind_of(refused), ErrorKind::BadRequest);
    let mut unconfirmed = support::flow::request(leave_empty());
    unconfirmed["confirm_serial"] = Value::Null;
    unconfirmed["confirmed"] = json!(false);
    let refused = bench.operator::<ReimageReply>(Method::POST, &path, &unconfirmed).await;
    assert_eq!(kind_of(refused), ErrorKind::Unconfirmed);
    let mut dry = support::flow::request(leave_empty());
    dry["dry_run"] = json!(true);
    let reply: ReimageReply = bench.operator(Method::POST, &path, &dry).await.unwrap();
    let ReimageReply::Job { job: None, expectation, destructive: true, .. } = reply else {
        panic!("{reply:?}")
    };
    assert!(expectation.contains("left empty"), "{expectation}");
    assert_eq!(machine.look(Trust::Ramdisk).node, machine.node);
}
