//! GPUs are worked in the running system and judged with the burn-in, over the real API.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{Instruction, Report};
use contract::decision::Action;
use contract::evidence::Evidence;
use contract::id::JobId;
use contract::inventory::GpuFacts;
use contract::operator_api::{JobState, NodeView, ReimageReply};
use contract::reading::{Outcome, Reading, ReadingKey as Key, ReadingValue, Subject, Tier, Trust};
use contract::secret::Secret;
use reprieve_bootsvc::{clock, judging, store};
use reqwest::Method;
use serde_json::json;
use support::Bench;
use support::flow::{installed, job};
use support::machine::Machine;
use verdict::model::Model;
use verdict::peers::{HardwareModel, PeerMeasure};
use verdict::policy::Policy;

const ADDRESS: &str = "0000:3b:00.0";

async fn burn_in(bench: &Bench, machine: &Machine) -> JobId {
    let path = format!("/v1/nodes/{}/burn-in", machine.node);
    match bench.operator(Method::POST, &path, &json!({"minutes": 10})).await.unwrap() {
        ReimageReply::Job { job, .. } => job.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The machine has a GPU, which has a name where there is a driver.
fn with_gpu(evidence: &mut Evidence) {
    let in_ramdisk = evidence.trust >= Trust::Ramdisk;
    let nameless = || Outcome::Unreadable("no driver".to_owned());
    evidence.inventory.gpus = Outcome::Value(vec![GpuFacts {
        id: if in_ramdisk { ADDRESS } else { "GPU-1234" }.to_owned(),
        pci_address: ADDRESS.to_owned(),
        model: if in_ramdisk { nameless() } else { Outcome::Value("GPU 9".to_owned()) },
        firmware_version: nameless(),
    }]);
}

fn put(evidence: &mut Evidence, subject: Subject, key: Key, outcome: Outcome<ReadingValue>) {
    let like = evidence.readings[0].clone();
    evidence.readings.push(Reading { subject, key, outcome, ..like });
    evidence.sort();
}

/// A look of a running system that worked its GPU, with so many wrong answers and this rate.
fn worked(machine: &Machine, wrong: u64, rate: u64) -> Evidence {
    let mut evidence = machine.look(Trust::Resident);
    with_gpu(&mut evidence);
    let counts = [
        (Key::GpuTestErrors, wrong),
        (Key::GpuMemoryTestErrors, 0),
        (Key::GpuAnswers, rate),
        (Key::GpuMemoryMegabytes, 7),
    ];
    for (key, count) in counts {
        let outcome = Outcome::Value(ReadingValue::Count(count));
        put(&mut evidence, Subject::Gpu("GPU-1234".to_owned()), key, outcome);
    }
    evidence
}

/// The look of a burn-in in the ramdisk, where nobody was there to test the network with.
fn burned_in(machine: &Machine) -> Evidence {
    let mut evidence = machine.look(Trust::Ramdisk);
    evidence.tier = Tier::T3;
    with_gpu(&mut evidence);
    let nobody = Outcome::Value(ReadingValue::list(Vec::new()));
    put(&mut evidence, Subject::Node, Key::NetworkTestPartners, nobody);
    put(&mut evidence, Subject::Node, Key::NetworkTestErrors, Outcome::Absent);
    evidence
}

/// Reports this, judged with what the agent is told now.
async fn send(bench: &Bench, machine: &Machine, evidence: Evidence) -> (Report, Instruction) {
    let context = machine.context(bench).await;
    let policy = Policy::parse(&context.policy).unwrap();
    let model = Model::parse(&context.model).unwrap();
    let decision = judging::judge(&evidence, &context.node, &policy, &model, context.now);
    let report = Report { evidence, decision: Some(decision), plan: None, nonce: machine.nonce };
    let instruction = machine.send(bench, &report).await.unwrap();
    (report, instruction)
}

/// The running system works its GPU, and the node is burned in.
async fn worked_and_burned_in(bench: &Bench, machine: &mut Machine, wrong: u64, rate: u64) -> JobId {
    let id = burn_in(bench, machine).await;
    let (_, instruction) = send(bench, machine, worked(machine, wrong, rate)).await;
    assert!(matches!(instruction, Instruction::EnterRamdisk { .. }), "{instruction:?}");
    let reply = machine.come(bench).await;
    assert_eq!(reply.context.node.gpu_tests.len(), 1, "the ramdisk is told");
    send(bench, machine, burned_in(machine)).await;
    id
}

/// Whatever held the machine is over, and it is in its running system again.
async fn back(bench: &Bench, machine: Machine, credential: &Secret, id: JobId) -> Machine {
    for path in [format!("/v1/jobs/{id}/cancel"), format!("/v1/nodes/{}/release-hold", machine.node)] {
        bench.operator::<serde_json::Value>(Method::POST, &path, &()).await.unwrap();
    }
    machine.into_resident(credential)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_running_system_found_in_a_gpu_holds_the_burn_in_that_cannot_see_it() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    let id = worked_and_burned_in(&bench, &mut machine, 3, 1000).await;
    let held = job(&bench, id).await;
    let JobState::Held { reason } = &held.state else { panic!("{held:#?}") };
    assert!(reason.contains("3 known answers wrong"), "{reason}");
    assert!(held.events.iter().any(|event| event.text.contains("0 of 1 gave no wrong answer")), "{held:#?}");
    let release = format!("/v1/nodes/{}/release-hold", machine.node);
    let _: NodeView = bench.operator(Method::POST, &release, &()).await.unwrap();
    let reply = machine.come(&bench).await;
    assert_eq!(reply.context.node.gpu_tests, [], "a person has looked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_was_found_is_not_taken_back_and_another_job_knows_nothing_of_it() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    let id = burn_in(&bench, &machine).await;
    for wrong in [1, 0] {
        send(&bench, &machine, worked(&machine, wrong, 1000)).await;
    }
    let told = machine.context(&bench).await.node.gpu_tests;
    assert_eq!(told[0].wrong_answers, Outcome::Value(1));
    let _: serde_json::Value =
        bench.operator(Method::POST, &format!("/v1/jobs/{id}/cancel"), &()).await.unwrap();
    assert_eq!(machine.context(&bench).await.node.gpu_tests, []);
    // Without a burn-in nobody asked for it.
    send(&bench, &machine, worked(&machine, 1, 1000)).await;
    let id = worked_and_burned_in(&bench, &mut machine, 0, 1000).await;
    let ended = job(&bench, id).await;
    assert_eq!(ended.state, JobState::Done { action: Action::Keep }, "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_nobody_worked_is_said_at_the_end() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    let id = burn_in(&bench, &machine).await;
    machine.come(&bench).await;
    send(&bench, &machine, burned_in(&machine)).await;
    let ended = job(&bench, id).await;
    assert_eq!(ended.state, JobState::Done { action: Action::Keep }, "{ended:#?}");
    let said = |event: &contract::operator_api::JobEvent| {
        event.text.contains("GPU 0000:3b:00.0 could not be tested")
    };
    assert!(ended.events.iter().any(said), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rates_of_a_gpu_are_compared_by_its_name_and_those_of_a_slow_one_are_no_measure() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    let credential = Secret::new(machine.session.clone());
    let hardware_model = HardwareModel::Part("GPU 9".to_owned());
    let now = clock::now();
    for last in 2..=11 {
        let mut like = Machine::new(last);
        like.come(&bench).await;
        let value = 2000 + u64::from(last);
        let measure = PeerMeasure {
            hardware_model: hardware_model.clone(),
            key: Key::GpuAnswers,
            tier: Tier::T3,
            value,
        };
        let mut transaction = bench.service.store.write().await.unwrap();
        store::peers::learn(&mut transaction, like.node, &[measure], now).await.unwrap();
        store::commit(transaction).await.unwrap();
    }
    let of_others = async |bench: &Bench| {
        let mut reading = bench.service.store.read().await.unwrap();
        let usual = store::peers::usual(&mut reading, std::slice::from_ref(&hardware_model)).await.unwrap();
        usual.iter().find(|peer| peer.key == Key::GpuAnswers).map(|peer| peer.nodes)
    };
    let id = worked_and_burned_in(&bench, &mut machine, 0, 1500).await;
    let held = job(&bench, id).await;
    let JobState::Held { reason } = &held.state else { panic!("{held:#?}") };
    assert!(reason.contains("1500 known answers a second") && reason.contains("10 nodes"), "{reason}");
    assert_eq!(of_others(&bench).await, Some(10));

    let mut machine = back(&bench, machine, &credential, id).await;
    let id = worked_and_burned_in(&bench, &mut machine, 0, 2000).await;
    let ended = job(&bench, id).await;
    assert_eq!(ended.state, JobState::Done { action: Action::Keep }, "{ended:#?}");
    assert_eq!(of_others(&bench).await, Some(11), "this one is as others are, and counts");
}
