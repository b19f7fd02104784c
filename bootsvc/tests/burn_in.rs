//! Burn-ins and what is usual for the same hardware, over the real API.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{Instruction, Report};
use contract::assignment::PeerValue;
use contract::decision::Action;
use contract::evidence::Evidence;
use contract::id::{JobId, UnixMillis};
use contract::operator_api::{ErrorBody, ErrorKind, JobState, NodeView, ReimageReply};
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier, Trust};
use reprieve_bootsvc::{judging, store};
use reqwest::Method;
use serde_json::json;
use support::Bench;
use support::flow::{approve, discovered, factory_new, installed, job};
use support::machine::Machine;
use verdict::model::Model;
use verdict::peers::{HardwareModel, PeerMeasure};
use verdict::policy::Policy;

async fn burn_in(bench: &Bench, machine: &Machine, minutes: u32) -> Result<JobId, ErrorBody> {
    let path = format!("/v1/nodes/{}/burn-in", machine.node);
    let reply: ReimageReply = bench.operator(Method::POST, &path, &json!({"minutes": minutes})).await?;
    match reply {
        ReimageReply::Job { job, destructive: false, .. } => Ok(job.unwrap()),
        other => panic!("{other:?}"),
    }
}

/// A look of this depth at a machine with this processor, which did so many rounds.
fn working(evidence: &mut Evidence, tier: Tier, rounds: u64) {
    evidence.tier = tier;
    evidence.inventory.cpu_model = Outcome::Value("CPU".to_owned());
    let mut reading = evidence.readings[0].clone();
    reading.subject = Subject::Node;
    reading.key = ReadingKey::ProcessorRounds;
    reading.outcome = Outcome::Value(ReadingValue::Count(rounds));
    evidence.readings.push(reading);
    evidence.sort();
}

/// What an agent reports that looked so, judged with what it is told now.
async fn report_of(bench: &Bench, machine: &Machine, tier: Tier, rounds: u64) -> Report {
    let context = machine.context(bench).await;
    let mut evidence = machine.look(Trust::Ramdisk);
    working(&mut evidence, tier, rounds);
    let policy = Policy::parse(&context.policy).unwrap();
    let model = Model::parse(&context.model).unwrap();
    let decision = judging::judge(&evidence, &context.node, &policy, &model, context.now);
    let plan = judging::plan(&decision, &evidence, &context.node, &policy, machine.nonce).unwrap_or(None);
    Report { evidence, decision: Some(decision), plan, nonce: machine.nonce }
}

fn rounds_of(peers: &[PeerValue]) -> Option<(u64, u64)> {
    let of = |peer: &&PeerValue| peer.key == ReadingKey::ProcessorRounds && peer.tier == Tier::T3;
    peers.iter().find(of).map(|peer| (peer.median, peer.nodes))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burn_in_ends_without_a_write_and_nothing_less_answers_it() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    for minutes in [0, 61] {
        assert_eq!(burn_in(&bench, &machine, minutes).await.unwrap_err().kind, ErrorKind::BadRequest);
    }
    let id = burn_in(&bench, &machine, 20).await.unwrap();
    assert_eq!(burn_in(&bench, &machine, 20).await.unwrap_err().kind, ErrorKind::Conflict);
    let reply = machine.come(&bench).await;
    assert_eq!(reply.context.node.burn_in_minutes, Some(20));
    let report = report_of(&bench, &machine, Tier::T3, 1000).await;
    let instruction = machine.send(&bench, &report).await.unwrap();
    assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
    let ended = job(&bench, id).await;
    assert_eq!(ended.state, JobState::Done { action: Action::Keep }, "{:#?}", ended.events);

    let id = burn_in(&bench, &machine, 20).await.unwrap();
    machine.come(&bench).await;
    let report = report_of(&bench, &machine, Tier::T2, 1000).await;
    machine.send(&bench, &report).await.unwrap();
    match job(&bench, id).await.state {
        JobState::Held { reason } => assert!(reason.contains("not done"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burn_in_of_a_machine_that_has_to_be_written_writes_nothing() {
    let bench = Bench::start().await;
    let machine = discovered(&bench).await;
    let path = format!("/v1/nodes/{}/assign", machine.node);
    let _: NodeView =
        bench.operator(Method::POST, &path, &json!({"image": "debian", "tenant": "a"})).await.unwrap();
    let id = burn_in(&bench, &machine, 5).await.unwrap();
    machine.next(&bench).await;
    let report = report_of(&bench, &machine, Tier::T3, 1000).await;
    assert_ne!(report.decision.as_ref().unwrap().action, Action::Keep, "a blank disk is to be written");
    let instruction = machine.send(&bench, &report).await.unwrap();
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    let ended = job(&bench, id).await;
    assert_eq!(ended.state, JobState::Done { action: Action::Keep }, "{:#?}", ended.events);
    assert!(ended.events.iter().all(|event| !event.text.contains("is signed")), "{:#?}", ended.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_machine_is_found_beside_its_like_and_judged_with_what_it_was_told() {
    let bench = Bench::start().await;
    let mut slow = installed(&bench).await;
    // What hardware it has is known from its last look.
    burn_in(&bench, &slow, 5).await.unwrap();
    slow.come(&bench).await;
    let report = report_of(&bench, &slow, Tier::T3, 1000).await;
    slow.send(&bench, &report).await.unwrap();
    let models = verdict::peers::models(&report.evidence.inventory);
    let of_machine = |model: &&HardwareModel| matches!(model, HardwareModel::Machine(_));
    let model = models.iter().find(of_machine).unwrap().clone();
    let now = reprieve_bootsvc::clock::now();
    for last in 2..=12 {
        let mut like = Machine::new(last);
        like.come(&bench).await;
        learn(&bench, &like, &model, 2000 + u64::from(last), now).await;
    }

    burn_in(&bench, &slow, 5).await.unwrap();
    slow.come(&bench).await;
    let report = report_of(&bench, &slow, Tier::T3, 1000).await;
    assert_eq!(report.decision.as_ref().unwrap().action, Action::Quarantine);
    let told = rounds_of(&slow.context(&bench).await.node.peers);
    assert_eq!(told.map(|(_, nodes)| nodes), Some(12), "eleven and itself");
    // Others report while this one looks; it is judged with what it was told all the same.
    let mut more = Machine::new(13);
    more.come(&bench).await;
    learn(&bench, &more, &model, 9000, now).await;
    let instruction = slow.send(&bench, &report).await.unwrap();
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    let mut reading = bench.service.store.read().await.unwrap();
    let judged = store::evidence::context(&mut reading, report.evidence.id).await.unwrap().unwrap();
    assert_eq!(rounds_of(&judged.peers), told);
    let node = store::nodes::by_id(&mut reading, slow.node).await.unwrap().unwrap();
    let reason = node.hold_reason.unwrap();
    assert!(reason.contains("of the same hardware"), "{reason}");
    let usual = store::peers::usual(&mut reading, &[model]).await.unwrap();
    assert_eq!(rounds_of(&usual).map(|(_, nodes)| nodes), Some(13), "what was found slow is no measure");
}

async fn learn(bench: &Bench, machine: &Machine, model: &HardwareModel, value: u64, now: UnixMillis) {
    let hardware_model = model.clone();
    let measure = PeerMeasure { hardware_model, key: ReadingKey::ProcessorRounds, tier: Tier::T3, value };
    let mut transaction = bench.service.store.write().await.unwrap();
    store::peers::learn(&mut transaction, machine.node, &[measure], now).await.unwrap();
    store::commit(transaction).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_usual_survives_a_kill_and_only_approved_nodes_count() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    machine.come(&bench).await;
    let told = async |bench: &Bench, machine: &Machine| rounds_of(&machine.context(bench).await.node.peers);
    let report = report_of(&bench, &machine, Tier::T3, 700).await;
    machine.send(&bench, &report).await.unwrap();
    assert_eq!(told(&bench, &machine).await, None, "nobody has taken it in");
    approve(&bench, &machine, factory_new()).await;
    let report = report_of(&bench, &machine, Tier::T3, 700).await;
    machine.send(&bench, &report).await.unwrap();
    assert_eq!(told(&bench, &machine).await, Some((700, 1)));
    let bench = bench.restart().await;
    assert_eq!(told(&bench, &machine).await, Some((700, 1)));
}
