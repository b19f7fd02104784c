//! Burn-ins and what is usual for the same hardware, over the real API.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{Instruction, Report};
use contract::assignment::PeerValue;
use contract::burn_in::{PartnerReply, PartnerRole};
use contract::decision::Action;
use contract::evidence::Evidence;
use contract::id::{JobId, NodeId, UnixMillis};
use contract::ledger::LedgerEntry;
use contract::operator_api::{ErrorBody, ErrorKind, JobState, NodeView, ReimageReply};
use contract::reading::{Outcome, Reading, ReadingKey, ReadingValue, Subject, Tier, Trust};
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
    if tier == Tier::T3 {
        // It was alone in its burn-in.
        let nobody = Outcome::Value(ReadingValue::list(Vec::new()));
        for (key, outcome) in
            [(ReadingKey::NetworkTestPartners, nobody), (ReadingKey::NetworkTestErrors, Outcome::Absent)]
        {
            evidence.readings.push(Reading { key, outcome, ..reading.clone() });
        }
    }
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

async fn ledger(bench: &Bench, machine: &Machine) -> Vec<LedgerEntry> {
    let mut reading = bench.service.store.read().await.unwrap();
    store::ledger::of_node(&mut reading, machine.node).await.unwrap()
}

async fn held_because(bench: &Bench, id: JobId) -> String {
    match job(bench, id).await.state {
        JobState::Held { reason } => reason,
        other => panic!("{other:?}"),
    }
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
    let booked = ledger(&bench, &machine).await;
    let id = burn_in(&bench, &machine, 20).await.unwrap();
    assert_eq!(burn_in(&bench, &machine, 20).await.unwrap_err().kind, ErrorKind::Conflict);
    let reply = machine.come(&bench).await;
    assert_eq!(reply.context.node.burn_in_minutes, Some(20));
    let report = report_of(&bench, &machine, Tier::T3, 1000).await;
    let instruction = machine.send(&bench, &report).await.unwrap();
    assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
    let ended = job(&bench, id).await;
    assert_eq!(ended.state, JobState::Done { action: Action::Keep }, "{:#?}", ended.events);
    assert_eq!(ledger(&bench, &machine).await, booked, "a burn-in is no wipe that was saved");
    assert!(ended.events.iter().any(|event| event.text.contains("network was not tested")), "{ended:#?}");

    let id = burn_in(&bench, &machine, 20).await.unwrap();
    machine.come(&bench).await;
    let report = report_of(&bench, &machine, Tier::T2, 1000).await;
    machine.send(&bench, &report).await.unwrap();
    let reason = held_because(&bench, id).await;
    assert!(reason.contains("not done"), "{reason}");
}

/// What only forbids to write is nothing against a burn-in, and hides nothing from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_burn_in_without_a_tenant_ends_and_one_that_was_not_done_does_not() {
    let bench = Bench::start().await;
    let machine = discovered(&bench).await;
    let path = format!("/v1/nodes/{}/assign", machine.node);
    let _: NodeView = bench.operator(Method::POST, &path, &json!({"image": "debian"})).await.unwrap();
    let id = burn_in(&bench, &machine, 5).await.unwrap();
    machine.next(&bench).await;
    let report = report_of(&bench, &machine, Tier::T3, 1000).await;
    let first = &report.decision.as_ref().unwrap().reasons[0];
    assert_eq!(first.rule, "request/tenant-assigned");
    machine.send(&bench, &report).await.unwrap();
    assert_eq!(job(&bench, id).await.state, JobState::Done { action: Action::Keep });

    let id = burn_in(&bench, &machine, 5).await.unwrap();
    machine.next(&bench).await;
    let report = report_of(&bench, &machine, Tier::T2, 1000).await;
    machine.send(&bench, &report).await.unwrap();
    let reason = held_because(&bench, id).await;
    assert!(
        reason.contains("tenant") && reason.contains("burn-in that was asked for was not done"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burn_in_does_not_end_against_an_operators_quarantine() {
    let bench = Bench::start_with_policy("").await;
    let mut machine = installed(&bench).await;
    let policy = bench.folder.path().join("policy.toml");
    let unknown = "evidence.nvme_media_errors.size() > 0";
    for (when, words) in [("node.pool == 'default'", "we know better"), (unknown, "could not be said")] {
        let rule = format!(
            "[[rule]]\nname = \"mine\"\nwhen = \"{when}\"\naction = \"quarantine\"\nwhy = \"we know better\"\n"
        );
        std::fs::write(&policy, "").unwrap();
        bench.service.read_policies_again().await;
        let id = burn_in(&bench, &machine, 5).await.unwrap();
        std::fs::write(&policy, rule).unwrap();
        bench.service.read_policies_again().await;
        machine.come(&bench).await;
        let report = report_of(&bench, &machine, Tier::T3, 1000).await;
        machine.send(&bench, &report).await.unwrap();
        let reason = held_because(&bench, id).await;
        assert!(reason.contains(words), "{reason}");
        for path in [format!("/v1/jobs/{id}/cancel"), format!("/v1/nodes/{}/release-hold", machine.node)] {
            bench.operator::<serde_json::Value>(Method::POST, &path, &()).await.unwrap();
        }
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

async fn partner(bench: &Bench, machine: &Machine, tried: &[NodeId]) -> Result<PartnerReply, ErrorBody> {
    let request = json!({"tried": tried, "link_megabits": 10_000});
    bench.call(Method::POST, "/v1/agent/burn-in-partner", &machine.session, &request).await
}

/// Nodes of one pool that are burned in at the same time are told of each other, and nobody else is.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_burned_in_together_are_told_of_each_other() {
    let bench = Bench::start().await;
    let mut machines = Vec::new();
    for last in 1..=4 {
        let mut machine = Machine::new(last);
        machine.come(&bench).await;
        machine.report(&bench).await;
        let pool = if last == 4 { "elsewhere" } else { "here" };
        let how = json!({"pool": pool, "factory_new": true, "data_of": null});
        approve(&bench, &machine, how).await;
        machines.push(machine);
    }
    let [one, two, three, elsewhere] = machines.try_into().ok().unwrap();
    assert_eq!(partner(&bench, &one, &[]).await.unwrap_err().kind, ErrorKind::Conflict, "no burn-in");
    for machine in [&one, &elsewhere] {
        burn_in(&bench, machine, 5).await.unwrap();
        machine.next(&bench).await;
        assert_eq!(partner(&bench, machine, &[]).await.unwrap(), PartnerReply::Nobody);
    }
    // It is asked for, and not there yet.
    burn_in(&bench, &two, 5).await.unwrap();
    assert!(matches!(partner(&bench, &one, &[]).await.unwrap(), PartnerReply::Wait { .. }));
    two.next(&bench).await;
    let Ok(PartnerReply::Found(told)) = partner(&bench, &two, &[]).await else { panic!("nobody") };
    let Ok(PartnerReply::Found(other)) = partner(&bench, &one, &[]).await else { panic!("nobody") };
    assert_eq!((told.node, told.role), (one.node, PartnerRole::Connect));
    assert_eq!((other.node, other.role), (two.node, PartnerRole::Listen));
    assert!(told.secret == other.secret && told.secret.reveal().len() == 64);
    assert!(told.address.is_loopback() && told.own_address.is_loopback(), "as the service sees them");
    assert_eq!(told.link_megabits, Some(10_000));

    assert_eq!(partner(&bench, &one, &[two.node]).await.unwrap(), PartnerReply::Nobody);
    let many = [two.node, three.node, elsewhere.node];
    assert_eq!(partner(&bench, &one, &many).await.unwrap_err().kind, ErrorKind::BadRequest);
    assert_eq!(partner(&bench, &one, &many[..2]).await.unwrap(), PartnerReply::Nobody);
    // A resident agent, or nobody at all, finds no partners.
    let request = json!({"tried": [], "link_megabits": null});
    let stranger: Result<PartnerReply, ErrorBody> =
        bench.call(Method::POST, "/v1/agent/burn-in-partner", "none", &request).await;
    assert_eq!(stranger.unwrap_err().kind, ErrorKind::Unauthorized);

    // A restart forgets pairs; agents that still ask find each other again.
    let bench = bench.restart().await;
    assert!(matches!(partner(&bench, &two, &[]).await.unwrap(), PartnerReply::Wait { .. }));
    let Ok(PartnerReply::Found(again)) = partner(&bench, &one, &[]).await else { panic!("nobody") };
    assert!(again.node == two.node && again.secret != told.secret);
}

/// A part that calls itself otherwise at each boot leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_usual_is_forgotten_with_the_last_node_that_measured_it() {
    let bench = Bench::start().await;
    let machine = discovered(&bench).await;
    let now = reprieve_bootsvc::clock::now();
    let disk = |number: u32| HardwareModel::Part(format!("disk {number}"));
    learn(&bench, &machine, &disk(0), 100, now).await;
    let usual = async |model: HardwareModel| {
        let mut reading = bench.service.store.read().await.unwrap();
        store::peers::usual(&mut reading, &[model]).await.unwrap().len()
    };
    assert_eq!(usual(disk(0)).await, 1);
    let measure = |number| PeerMeasure {
        hardware_model: disk(number),
        key: ReadingKey::ProcessorRounds,
        tier: Tier::T3,
        value: 100,
    };
    let others: Vec<PeerMeasure> = (1..=1000).map(measure).collect();
    let mut transaction = bench.service.store.write().await.unwrap();
    store::peers::learn(&mut transaction, machine.node, &others, now.plus_millis(1)).await.unwrap();
    store::commit(transaction).await.unwrap();
    assert_eq!((usual(disk(0)).await, usual(disk(1000)).await), (0, 1));
}
