//! Jobs from request to ready, over the real API.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{FinishResult, Instruction};
use contract::assignment::DataOwner;
use contract::decision::Action;
use contract::id::{JobId, UnixMillis};
use contract::operator_api::{ErrorKind, JobState, JobView, NodeState, NodeView, ReimageReply};
use contract::plan::Step;
use contract::reading::Trust;
use reprieve_bootsvc::store;
use reqwest::Method;
use serde_json::{Value, json};
use support::flow::{approve, factory_new, installed, job, job_of, reimage, with_job};
use support::machine::{Machine, SERIAL, order_in, order_of, results};
use support::{Bench, kind_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_blank_machine_is_imaged_and_its_first_report_ends_the_job() {
    let bench = Bench::start().await;
    let (mut machine, id) = with_job(&bench).await;
    let view = bench.node(SERIAL).await;
    assert_eq!((view.state, view.data_owner, view.job), (NodeState::Busy, DataOwner::Nobody, Some(id)));
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    let plan = report.plan.unwrap();
    assert_eq!((order.plan, order.nonce, order.node), (plan.digest().unwrap(), machine.nonce, machine.node));
    let (identity, instruction) = machine.carry_out(&bench, &order, &plan).await;
    assert!(matches!(instruction, Instruction::BootLocal { .. }));
    let view = bench.node(SERIAL).await;
    assert_eq!(view.data_owner, DataOwner::Tenant("a".parse().unwrap()));
    assert_eq!(job(&bench, id).await.state, JobState::ComingUp);
    assert!(bench.script(&machine.mac.to_string()).await.contains("booting the local disk"));

    let resident = machine.into_resident(&identity.unwrap().credential);
    let report = resident.report_of(&bench, Trust::Resident).await;
    resident.send(&bench, &report).await.unwrap();
    let view = job(&bench, id).await;
    assert_eq!(view.state, JobState::Done { action: Action::Reimage }, "{:#?}", view.events);
    let view = bench.node(SERIAL).await;
    assert_eq!((view.state, view.agent_online), (NodeState::Idle, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn destructive_requests_are_confirmed_and_refused_for_protected_and_unapproved_nodes() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    machine.come(&bench).await;
    let path = format!("/v1/nodes/{}/approve", machine.node);
    let early = bench.operator::<NodeView>(Method::POST, &path, &factory_new()).await;
    assert_eq!(kind_of(early), ErrorKind::Conflict, "approved without an inventory");
    machine.report(&bench).await;
    bench.import("debian", 1).await;
    let wanted = json!({"image": "debian", "tenant": "a"});
    assert_eq!(kind_of(reimage(&bench, &machine, wanted.clone()).await), ErrorKind::Conflict, "unapproved");
    approve(&bench, &machine, factory_new()).await;
    assert_eq!(kind_of(reimage(&bench, &machine, wanted.clone()).await), ErrorKind::Unconfirmed);
    let wrong = json!({"image": "debian", "tenant": "a", "confirm_serial": "SN-2", "confirmed": true});
    assert_eq!(
        kind_of(reimage(&bench, &machine, wrong).await),
        ErrorKind::Unconfirmed,
        "another machine's serial"
    );
    let dry =
        reimage(&bench, &machine, json!({"image": "debian", "tenant": "a", "dry_run": true})).await.unwrap();
    assert!(matches!(dry, ReimageReply::Job { job: None, destructive: true, .. }), "{dry:?}");
    assert_eq!(bench.node(SERIAL).await.assignment.image, None, "a dry run changed something");
    let protect = format!("/v1/nodes/{}/protect", machine.node);
    bench.operator::<NodeView>(Method::POST, &protect, &json!({"protected": true})).await.unwrap();
    let confirmed = json!({"image": "debian", "tenant": "a", "confirmed": true});
    assert_eq!(kind_of(reimage(&bench, &machine, confirmed.clone()).await), ErrorKind::Protected);
    bench.operator::<NodeView>(Method::POST, &protect, &json!({"protected": false})).await.unwrap();
    job_of(&bench, &machine, confirmed.clone()).await;
    assert_eq!(kind_of(reimage(&bench, &machine, confirmed).await), ErrorKind::Conflict, "a second job");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_running_node_has_nothing_to_do() {
    let bench = Bench::start().await;
    let resident = installed(&bench).await;
    let agent = async {
        let instruction = resident.next(&bench).await;
        assert!(matches!(instruction, Instruction::LookAgain { .. }), "{instruction:?}");
        let report = resident.report_of(&bench, Trust::Resident).await;
        resident.send(&bench, &report).await.unwrap();
    };
    let (reply, ()) = tokio::join!(reimage(&bench, &resident, json!({})), agent);
    match reply.unwrap() {
        ReimageReply::NothingToDo { decision } => assert_eq!(decision.action, Action::Keep),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.node(SERIAL).await.job, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_is_taken_into_the_ramdisk_and_wiped_for_another_tenant() {
    let bench = Bench::start().await;
    let resident = installed(&bench).await;
    let id = job_of(&bench, &resident, json!({"tenant": "b", "confirmed": true})).await;
    assert_eq!(
        bench.node(SERIAL).await.data_owner,
        DataOwner::Tenant("a".parse().unwrap()),
        "changed by asking"
    );
    let instruction = resident.next(&bench).await;
    assert!(matches!(instruction, Instruction::EnterRamdisk { job, .. } if job == id), "{instruction:?}");
    let mut machine = resident;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    let plan = report.plan.unwrap();
    assert_eq!(plan.action, Action::Wipe);
    machine.begin(&bench, &order, 0).await.unwrap();
    let (_, instruction) = machine.carry_out(&bench, &order, &plan).await;
    assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
    assert_eq!(bench.node(SERIAL).await.data_owner, DataOwner::Tenant("b".parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_credential_ends_when_the_new_image_is_proven() {
    let bench = Bench::start().await;
    let resident = installed(&bench).await;
    let old = resident.session.clone();
    job_of(&bench, &resident, json!({"at_least": "reimage", "confirmed": true})).await;
    let mut machine = resident;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    assert!(bench.call::<Value>(Method::GET, "/v1/agent/context", &old, &()).await.is_ok());
    machine.carry_out(&bench, &order, &report.plan.unwrap()).await;
    let refused = bench.call::<Value>(Method::GET, "/v1/agent/context", &old, &()).await;
    assert_eq!(kind_of(refused), ErrorKind::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_same_machine_that_is_as_assigned_is_kept_from_the_ramdisk() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    let id = job_of(&bench, &machine, json!({"from_ramdisk": true})).await;
    machine.come(&bench).await;
    let (_, instruction) = machine.report(&bench).await;
    assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
    assert_eq!(job(&bench, id).await.state, JobState::Done { action: Action::Keep });
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_hardware_is_held_and_nothing_is_ordered() {
    let bench = Bench::start().await;
    let (mut machine, id) = with_job(&bench).await;
    machine.failing = true;
    let (_, instruction) = machine.report(&bench).await;
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    let state = job(&bench, id).await.state;
    assert!(matches!(&state, JobState::Held { reason } if reason.contains("quarantine")), "{state:?}");
    let node = bench.node(SERIAL).await;
    assert_eq!((node.state, node.last_action), (NodeState::Held, Some(Action::Quarantine)));
    assert!(bench.script(&machine.mac.to_string()).await.contains("holds this machine"));
    // A person has looked; it starts again.
    machine.failing = false;
    let path = format!("/v1/nodes/{}/release-hold", machine.node);
    bench.operator::<NodeView>(Method::POST, &path, &()).await.unwrap();
    assert!(matches!(machine.next(&bench).await, Instruction::LookAgain { .. }));
    let (_, instruction) = machine.report(&bench).await;
    order_in(&bench, &instruction);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_report_gets_the_same_order_and_another_plan_none() {
    let bench = Bench::start().await;
    let (machine, id) = with_job(&bench).await;
    let (report, first) = machine.report(&bench).await;
    let again = machine.send(&bench, &report).await.unwrap();
    assert_eq!(order_of(&bench, &first), order_of(&bench, &again), "a second order for one boot");
    assert_eq!(order_of(&bench, &machine.next(&bench).await), order_of(&bench, &first));
    let mut other = report.clone();
    other.plan.as_mut().unwrap().steps.clear();
    let held = machine.send(&bench, &other).await.unwrap();
    assert!(matches!(held, Instruction::Wait { .. }), "{held:?}");
    assert!(matches!(job(&bench, id).await.state, JobState::Held { .. }));
    let order = order_in(&bench, &first);
    assert_eq!(
        kind_of(machine.begin(&bench, &order, 0).await),
        ErrorKind::Conflict,
        "a held job began to write"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_judges_differently_looks_again_once_and_is_held_then() {
    let bench = Bench::start().await;
    let (machine, id) = with_job(&bench).await;
    let lie = |mut report: contract::agent_api::Report| {
        report.decision.as_mut().unwrap().engine = "another".to_owned();
        report
    };
    let first = lie(machine.report_of(&bench, Trust::Ramdisk).await);
    assert!(matches!(machine.send(&bench, &first).await.unwrap(), Instruction::LookAgain { .. }));
    let second = lie(machine.report_of(&bench, Trust::Ramdisk).await);
    assert!(matches!(machine.send(&bench, &second).await.unwrap(), Instruction::Wait { .. }));
    assert!(matches!(job(&bench, id).await.state, JobState::Held { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_the_service_does_not_make_itself_is_never_signed() {
    let bench = Bench::start().await;
    let (machine, id) = with_job(&bench).await;
    for round in 0..2 {
        let mut report = machine.report_of(&bench, Trust::Ramdisk).await;
        if let Some(Step::WriteImage { disk, .. }) = report.plan.as_mut().unwrap().steps.first_mut() {
            disk.id = "virtio-data".parse().unwrap();
        }
        let told = machine.send(&bench, &report).await.unwrap();
        let looks_again = matches!(told, Instruction::LookAgain { .. });
        assert!(looks_again == (round == 0) && !matches!(told, Instruction::Proceed { .. }), "{told:?}");
    }
    assert!(matches!(job(&bench, id).await.state, JobState::Held { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_holds_the_node_until_its_work_is_done_again() {
    let bench = Bench::start().await;
    let (mut machine, id) = with_job(&bench).await;
    let (_, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    machine.begin(&bench, &order, 0).await.unwrap();
    let failed = FinishResult::Failed { step: 0, error: "write of /dev/vda failed".into() };
    let told = machine.finish(&bench, &order, failed.clone(), Vec::new()).await.unwrap();
    assert!(matches!(told, Instruction::Wait { .. }), "{told:?}");
    let state = job(&bench, id).await.state;
    assert!(matches!(&state, JobState::Held { reason } if reason.contains("/dev/vda")), "{state:?}");
    // The answer was lost: the same end again changes nothing.
    assert!(matches!(
        machine.finish(&bench, &order, failed, Vec::new()).await.unwrap(),
        Instruction::Wait { .. }
    ));
    assert!(machine.context(&bench).await.node.unfinished.is_some());
    let path = format!("/v1/nodes/{}/release-hold", machine.node);
    bench.operator::<NodeView>(Method::POST, &path, &()).await.unwrap();
    // One order for each boot: the machine resets and comes with a new nonce.
    assert!(matches!(machine.next(&bench).await, Instruction::BootLocal { kexec: false, .. }));
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    machine.carry_out(&bench, &order, &report.plan.unwrap()).await;
    assert_eq!(job(&bench, id).await.state, JobState::ComingUp);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_begin_in_order_and_only_under_a_live_order() {
    let bench = Bench::start().await;
    let (machine, id) = with_job(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    assert_eq!(kind_of(machine.begin(&bench, &order, 1).await), ErrorKind::Conflict, "not the first step");
    let plan = report.plan.unwrap();
    let early = machine.finish(&bench, &order, FinishResult::Done, results(&plan)).await.unwrap();
    assert!(matches!(early, Instruction::Wait { .. }), "done without beginning: {early:?}");
    assert!(matches!(job(&bench, id).await.state, JobState::Held { .. }));
    assert_eq!(bench.node(SERIAL).await.data_owner, DataOwner::Nobody);
}

#[tokio::test(flavor = "multi_thread")]
async fn done_without_proof_is_not_done() {
    let bench = Bench::start().await;
    let (machine, id) = with_job(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    machine.begin(&bench, &order, 0).await.unwrap();
    let mut steps = results(&report.plan.unwrap());
    steps[0].proof.clear();
    machine.finish(&bench, &order, FinishResult::Done, steps).await.unwrap();
    assert!(matches!(job(&bench, id).await.state, JobState::Held { .. }));
    assert!(
        bench.script(&machine.mac.to_string()).await.contains("reprieve.token"),
        "a half-written disk was booted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_its_order_and_begun_work_cannot_be_cancelled() {
    let bench = Bench::start().await;
    let (machine, id) = with_job(&bench).await;
    let (_, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    let view: JobView = bench.operator(Method::POST, &format!("/v1/jobs/{id}/cancel"), &()).await.unwrap();
    assert_eq!(view.state, JobState::Cancelled);
    assert_eq!(kind_of(machine.begin(&bench, &order, 0).await), ErrorKind::Conflict);
    // Nothing was written to its disks and they are nobody's, so there is nothing to boot.
    let refused = FinishResult::Refused { error: "cancelled".to_owned() };
    let told = machine.finish(&bench, &order, refused, Vec::new()).await.unwrap();
    assert!(matches!(&told, Instruction::Wait { reason, .. } if reason.contains("nobody's")), "{told:?}");

    let id = job_of(&bench, &machine, json!({"confirmed": true})).await;
    let mut machine = machine;
    machine.come(&bench).await;
    let (_, instruction) = machine.report(&bench).await;
    machine.begin(&bench, &order_in(&bench, &instruction), 0).await.unwrap();
    let refused = bench.operator::<JobView>(Method::POST, &format!("/v1/jobs/{id}/cancel"), &()).await;
    assert_eq!(kind_of(refused), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_of_writing_goes_on_and_never_boots_the_disk() {
    let bench = Bench::start().await;
    let (mut machine, id) = with_job(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    machine.begin(&bench, &order, 0).await.unwrap();
    let bench = bench.restart().await;
    assert_eq!(job(&bench, id).await.state, JobState::Acting { step: 0, steps: 1 });
    // The same boot goes on: its session and order are still known.
    machine.begin(&bench, &order, 0).await.unwrap();
    // Then the machine loses power. Whatever comes next, its half-written disk is not booted.
    let old = machine.session.clone();
    machine.half_written = true;
    // From its first byte on it is the tenant's image that lies there.
    assert_eq!(bench.node(SERIAL).await.data_owner, DataOwner::Tenant("a".parse().unwrap()));
    machine.come(&bench).await;
    assert_eq!(
        kind_of(bench.call::<Value>(Method::GET, "/v1/agent/context", &old, &()).await),
        ErrorKind::Unauthorized
    );
    let context = machine.context(&bench).await;
    assert_eq!(context.node.unfinished.unwrap().plan, report.plan.unwrap());
    assert_eq!(
        kind_of(machine.begin(&bench, &order, 0).await),
        ErrorKind::NotFound,
        "an order of another boot"
    );
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    let plan = report.plan.unwrap();
    // What is on the disk is known to be of this write: it is gone on with, not erased first.
    assert_eq!(plan.action, Action::Reimage);
    let (_, instruction) = machine.carry_out(&bench, &order, &plan).await;
    assert!(matches!(instruction, Instruction::BootLocal { .. }));
    assert_eq!(job(&bench, id).await.state, JobState::ComingUp);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_never_loops() {
    let bench = Bench::start().await;
    let (mut machine, id) = with_job(&bench).await;
    for _ in 0..3 {
        assert!(machine.boot(&bench).await.is_some());
    }
    assert!(machine.boot(&bench).await.is_none(), "a fourth ramdisk");
    assert!(matches!(job(&bench, id).await.state, JobState::Held { .. }));
    let node = bench.node(SERIAL).await;
    assert!(node.hold_reason.unwrap().contains("used up"));

    let mut unknown = Machine::new(9);
    for _ in 0..3 {
        assert!(unknown.boot(&bench).await.is_some());
    }
    assert!(unknown.boot(&bench).await.is_none(), "an unknown machine loops");
    assert_eq!(bench.node(&unknown.mac.to_string()).await.state, NodeState::Held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_never_reports_is_held() {
    let bench = Bench::start().await;
    let (mut machine, id) = with_job(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    machine.carry_out(&bench, &order, &report.plan.unwrap()).await;
    for _ in 0..3 {
        assert!(bench.script(&machine.mac.to_string()).await.contains("booting the local disk"));
    }
    assert!(bench.script(&machine.mac.to_string()).await.contains("holds this machine"));
    assert!(matches!(job(&bench, id).await.state, JobState::Held { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_not_what_was_asked_for_is_held() {
    let bench = Bench::start().await;
    let (mut machine, id) = with_job(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    let (identity, _) = machine.carry_out(&bench, &order, &report.plan.unwrap()).await;
    machine.installed = Some(bench.import("other", 2).await.id);
    let resident = machine.into_resident(&identity.unwrap().credential);
    let report = resident.report_of(&bench, Trust::Resident).await;
    resident.send(&bench, &report).await.unwrap();
    assert!(matches!(job(&bench, id).await.state, JobState::Held { .. }));
}

/// Makes a job look as if it had been asked for, and had last changed, at these times.
async fn age(bench: &Bench, id: JobId, created_at: i64, changed_at: u64) {
    let mut transaction = bench.service.store.write().await.unwrap();
    let mut record = store::jobs::by_id(&mut transaction, id).await.unwrap().unwrap();
    record.changed_at = UnixMillis(changed_at);
    store::jobs::save(&mut transaction, &mut record).await.unwrap();
    sqlx::query("UPDATE jobs SET created_at = $1 WHERE id = $2")
        .bind(created_at)
        .bind(id.to_string())
        .execute(&mut *transaction)
        .await
        .unwrap();
    store::commit(transaction).await.unwrap();
}

async fn count(bench: &Bench, question: &'static str) -> i64 {
    let mut reading = bench.service.store.read().await.unwrap();
    sqlx::query_scalar(question).fetch_one(&mut *reading).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_jobs_are_forgotten_but_not_open_ones_nor_those_of_certificates() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    let first = bench.operator::<Vec<JobView>>(Method::GET, "/v1/jobs", &()).await.unwrap()[0].id;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let id = job_of(&bench, &machine, json!({"from_ramdisk": true})).await;
        machine.come(&bench).await;
        machine.report(&bench).await;
        kept.push(id);
    }
    let open = job_of(&bench, &machine, json!({"from_ramdisk": true})).await;
    let now = reprieve_bootsvc::clock::now();
    let years_later = now.plus_millis(9_000 * 86_400_000);
    assert_eq!(bench.service.forget_old(years_later).await.unwrap(), 0, "a clock that jumped");
    age(&bench, first, 1, 1).await;
    age(&bench, kept[0], 1, now.0).await;
    age(&bench, kept[1], 2, 2).await;
    let mut transaction = bench.service.store.write().await.unwrap();
    sqlx::query(
        "INSERT INTO certificates (id, disk, number, node, job, order_id, step, issued_at, summary, body) \
         VALUES ('c', 'd', 1, 'n', $1, 'o', 0, 1, '{}', '{}')",
    )
    .bind(kept[1].to_string())
    .execute(&mut *transaction)
    .await
    .unwrap();
    store::commit(transaction).await.unwrap();
    let jobs = "SELECT COUNT(*) FROM jobs";
    let orphans = "SELECT COUNT(*) FROM job_events WHERE job NOT IN (SELECT id FROM jobs)";
    let orders = "SELECT COUNT(*) FROM orders";
    let begun = "SELECT COUNT(*) FROM begun_steps";
    let before = [count(&bench, jobs).await, count(&bench, orders).await, count(&bench, begun).await];
    assert_eq!(before, [5, 1, 1]);
    assert_eq!(bench.service.forget_old(now).await.unwrap(), 1);
    let after = [count(&bench, jobs).await, count(&bench, orders).await, count(&bench, begun).await];
    assert_eq!((after, count(&bench, orphans).await), ([4, 0, 0], 0));
    for id in kept.into_iter().chain([open]) {
        job(&bench, id).await;
    }
    // An open job is kept however old it is.
    age(&bench, open, 3, 3).await;
    assert_eq!(bench.service.forget_old(now).await.unwrap(), 0);
    assert_eq!(bench.service.forget_old(now).await.unwrap(), 0, "twice");
}
