//! What a technician does in tests, and machines that are brought to where a test begins.

use contract::agent_api::Instruction;
use contract::decision::Action;
use contract::id::JobId;
use contract::operator_api::{ErrorBody, JobState, JobView, NodeView, ReimageReply};
use contract::reading::Trust;
use reqwest::Method;
use serde_json::{Value, json};

use super::Bench;
use super::machine::{Machine, SERIAL, order_in};

pub async fn approve(bench: &Bench, machine: &Machine, how: Value) -> NodeView {
    bench.operator(Method::POST, &format!("/v1/nodes/{}/approve", machine.node), &how).await.unwrap()
}

pub fn factory_new() -> Value {
    json!({"pool": null, "factory_new": true, "data_of": null})
}

pub fn request(changes: Value) -> Value {
    let mut request = json!({"image": null, "tenant": null, "at_least": null, "dry_run": false,
        "from_ramdisk": false, "confirm_serial": null, "confirmed": false});
    for (key, value) in changes.as_object().unwrap() {
        request[key] = value.clone();
    }
    request
}

pub async fn reimage(bench: &Bench, machine: &Machine, changes: Value) -> Result<ReimageReply, ErrorBody> {
    bench.operator(Method::POST, &format!("/v1/nodes/{}/reimage", machine.node), &request(changes)).await
}

pub async fn job_of(bench: &Bench, machine: &Machine, changes: Value) -> JobId {
    match reimage(bench, machine, changes).await.unwrap() {
        ReimageReply::Job { job, .. } => job.unwrap(),
        other => panic!("{other:?}"),
    }
}

pub async fn job(bench: &Bench, id: JobId) -> JobView {
    bench.operator(Method::GET, &format!("/v1/jobs/{id}"), &()).await.unwrap()
}

/// A machine that was discovered, approved as factory-new and waits in the ramdisk; an image is there.
pub async fn discovered(bench: &Bench) -> Machine {
    let mut machine = Machine::new(1);
    machine.come(bench).await;
    let (_, instruction) = machine.report(bench).await;
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    approve(bench, &machine, factory_new()).await;
    bench.import("debian", 1).await;
    machine
}

/// The same with a job that the machine has gone over to.
pub async fn with_job(bench: &Bench) -> (Machine, JobId) {
    let machine = discovered(bench).await;
    let id =
        job_of(bench, &machine, json!({"image": "debian", "tenant": "a", "confirm_serial": SERIAL})).await;
    let instruction = machine.next(bench).await;
    assert!(matches!(instruction, Instruction::LookAgain { .. }), "{instruction:?}");
    (machine, id)
}

/// An installed machine whose job is done, and its resident agent.
pub async fn installed(bench: &Bench) -> Machine {
    let (mut machine, id) = with_job(bench).await;
    let (report, instruction) = machine.report(bench).await;
    let order = order_in(bench, &instruction);
    let (identity, instruction) = machine.carry_out(bench, &order, report.plan.as_ref().unwrap()).await;
    assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
    let resident = machine.into_resident(&identity.unwrap().credential);
    let report = resident.report_of(bench, Trust::Resident).await;
    resident.send(bench, &report).await.unwrap();
    let ended = job(bench, id).await;
    assert_eq!(ended.state, JobState::Done { action: Action::Reimage }, "{:#?}", ended.events);
    resident
}

/// Several installed machines of tenant a, in the running system; the image is `debian`.
pub async fn fleet(bench: &Bench, count: u8) -> Vec<Machine> {
    bench.import("debian", 1).await;
    let mut fleet = Vec::new();
    for last in 1..=count {
        let mut machine = Machine::new(last);
        machine.come(bench).await;
        machine.report(bench).await;
        approve(bench, &machine, factory_new()).await;
        job_of(bench, &machine, json!({"image": "debian", "tenant": "a", "confirmed": true})).await;
        machine.next(bench).await;
        let (report, instruction) = machine.report(bench).await;
        let order = order_in(bench, &instruction);
        let (identity, _) = machine.carry_out(bench, &order, report.plan.as_ref().unwrap()).await;
        machine.come_up_and_settle(bench, &identity.unwrap()).await;
        fleet.push(machine);
    }
    fleet
}

/// A job for an installed machine, which comes into the ramdisk for it and reports.
pub async fn asked(bench: &Bench, machine: &mut Machine, changes: Value) -> (JobId, Instruction) {
    let id = job_of(bench, machine, changes).await;
    machine.come(bench).await;
    let (_, instruction) = machine.report(bench).await;
    (id, instruction)
}
