//! An image goes to a pool in stages, halts by itself, and goes on through a kill.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::Instruction;
use contract::blast_radius::{Alike, Group, IncidentView};
use contract::decision::Action;
use contract::id::{IncidentId, JobId, NodeId, UnixMillis};
use contract::operator_api::{ErrorKind, JobState, JobView};
use contract::reading::{ReadingKey, ReadingValue, Subject, Trust};
use contract::wave::{NodeResult, Stage, WaveState, WaveView};
use reprieve_bootsvc::store;
use reqwest::Method;
use serde_json::json;
use support::flow::{fleet, job};
use support::machine::{Machine, order_in};
use support::{Bench, kind_of};

const HOUR: u64 = 3_600_000;

async fn start(
    bench: &Bench,
    changes: serde_json::Value,
) -> Result<WaveView, contract::operator_api::ErrorBody> {
    let mut request = json!({"pool": "default", "image": "newer", "dry_run": false, "confirmed": true});
    for (key, value) in changes.as_object().unwrap() {
        request[key] = value.clone();
    }
    bench.operator(Method::POST, "/v1/waves", &request).await
}

async fn show(bench: &Bench, wave: &WaveView) -> WaveView {
    bench.operator(Method::GET, &format!("/v1/waves/{}", wave.id.unwrap()), &()).await.unwrap()
}

async fn say(
    bench: &Bench,
    wave: &WaveView,
    word: &str,
) -> Result<WaveView, contract::operator_api::ErrorBody> {
    let path = format!("/v1/waves/{}/{word}", wave.id.unwrap());
    bench.operator(Method::POST, &path, &json!({"why": "looked at it"})).await
}

async fn sql(bench: &Bench, text: &'static str) {
    let mut transaction = bench.service.store.write().await.unwrap();
    sqlx::query(text).execute(&mut *transaction).await.unwrap();
    store::commit(transaction).await.unwrap();
}

/// Two looks at the waves: what became of nodes, then who begins.
async fn tick(bench: &Bench, at: u64) {
    for _ in 0..2 {
        bench.service.tick_waves(UnixMillis(at)).await.unwrap();
    }
}

async fn working(bench: &Bench) -> Vec<(usize, JobId)> {
    let jobs: Vec<JobView> = bench.operator(Method::GET, "/v1/jobs", &()).await.unwrap();
    jobs.iter()
        .enumerate()
        .filter(|(_, job)| job.state == JobState::Waiting)
        .map(|(at, job)| (at, job.id))
        .collect()
}

/// The machine of a job gets its image and reports.
async fn carry_out(bench: &Bench, machines: &mut [Machine], id: JobId) {
    let node = job(bench, id).await.node;
    let machine = machines.iter_mut().find(|machine| machine.node == node).unwrap();
    machine.come(bench).await;
    let (report, instruction) = machine.report(bench).await;
    let order = order_in(bench, &instruction);
    let (identity, _) = machine.carry_out(bench, &order, report.plan.as_ref().unwrap()).await;
    machine.come_up_and_settle(bench, &identity.unwrap()).await;
    assert_eq!(job(bench, id).await.state, JobState::Done { action: Action::Reimage });
}

/// The machine of a job fails in the ramdisk, so that the job is held.
async fn fail(bench: &Bench, machines: &mut [Machine], id: JobId) {
    let node = job(bench, id).await.node;
    let machine = machines.iter_mut().find(|machine| machine.node == node).unwrap();
    machine.failing = true;
    machine.come(bench).await;
    let (_, instruction) = machine.report(bench).await;
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_to_one_node_first_and_to_all_when_that_stays_well() {
    // Stricter than any wave: what a wave means to do is braked by its own stages.
    let policy = "[blast_radius]\nnodes_min = 1\nshare_percent = 1\n[waves]\nbake_minutes = 60\n";
    let bench = Bench::start_with_policy(policy).await;
    let mut machines = fleet(&bench, 3).await;
    bench.import("newer", 2).await;
    let dry = start(&bench, json!({"dry_run": true, "confirmed": false})).await.unwrap();
    assert_eq!((dry.id, dry.counts.nodes), (None, 3));
    assert_eq!(kind_of(start(&bench, json!({"confirmed": false})).await), ErrorKind::Unconfirmed);
    assert_eq!(kind_of(start(&bench, json!({"pool": "empty"})).await), ErrorKind::NotFound);
    let wave = start(&bench, json!({})).await.unwrap();
    assert_eq!(kind_of(start(&bench, json!({})).await), ErrorKind::Conflict, "a second wave in a pool");

    let now = wave.started_at.0;
    // What fails in the service passes nobody over: the node keeps its turn.
    sql(&bench, "UPDATE nodes SET body = '{' || body").await;
    tick(&bench, now).await;
    sql(&bench, "UPDATE nodes SET body = substr(body, 2)").await;
    let counts = show(&bench, &wave).await.counts;
    assert_eq!((counts.working, counts.skipped, counts.waiting), (1, 0, 2));
    tick(&bench, now).await;
    let [(_, canary)] = working(&bench).await.try_into().unwrap();
    // A kill changes nothing, and nobody is asked twice.
    let bench = bench.restart().await;
    tick(&bench, now).await;
    assert_eq!(working(&bench).await.len(), 1);
    carry_out(&bench, &mut machines, canary).await;
    tick(&bench, now).await;
    assert!(
        matches!(show(&bench, &wave).await.state, WaveState::Baking(baking) if baking.stage == Stage::Canary)
    );
    tick(&bench, now + HOUR - 1).await;
    assert_eq!(working(&bench).await, [], "nobody comes before the canary has baked");
    tick(&bench, now + HOUR).await;
    let all = working(&bench).await;
    assert_eq!(all.len(), 2);
    for (_, id) in all {
        carry_out(&bench, &mut machines, id).await;
    }
    tick(&bench, now + HOUR).await;
    tick(&bench, now + 2 * HOUR).await;
    let ended = show(&bench, &wave).await;
    assert!(matches!(&ended.state, WaveState::Ended(ended) if ended.given_up.is_none()), "{ended:?}");
    assert_eq!((ended.counts.good, ended.counts.failed), (3, 0));
    assert_eq!(kind_of(say(&bench, &wave, "halt").await), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_is_the_last_until_a_person_has_looked() {
    let bench = Bench::start_with_policy("[waves]\nbake_minutes = 0\n").await;
    let mut machines = fleet(&bench, 3).await;
    bench.import("newer", 2).await;
    let protect = format!("/v1/nodes/{}/protect", machines[0].node);
    bench.operator::<serde_json::Value>(Method::POST, &protect, &json!({"protected": true})).await.unwrap();
    let wave = start(&bench, json!({})).await.unwrap();
    let now = wave.started_at.0;
    // The first one may be the protected node, which is passed over and is no canary.
    for _ in 0..3 {
        tick(&bench, now).await;
    }
    let first = working(&bench).await;
    assert_eq!(first.len(), 1, "nobody comes beside the canary");
    fail(&bench, &mut machines, first[0].1).await;
    tick(&bench, now).await;
    let halted = show(&bench, &wave).await;
    let WaveState::Halted(state) = &halted.state else { panic!("{halted:?}") };
    assert!(state.because.contains("failed"), "{state:?}");
    assert!(halted.exceptions.iter().any(|(_, why)| why.starts_with("failed: quarantine")), "{halted:?}");
    let bench = bench.restart().await;
    let before = working(&bench).await.len();
    tick(&bench, now + HOUR).await;
    assert_eq!(working(&bench).await.len(), before, "a halted wave begins nothing");

    say(&bench, &wave, "resume").await.unwrap();
    for _ in 0..3 {
        tick(&bench, now + HOUR).await;
    }
    let next = working(&bench).await;
    assert_eq!(next.len(), 1, "the third node");
    carry_out(&bench, &mut machines, next[0].1).await;
    for _ in 0..3 {
        tick(&bench, now + HOUR).await;
    }
    let ended = show(&bench, &wave).await;
    assert!(matches!(ended.state, WaveState::Ended(_)), "{ended:?}");
    assert_eq!((ended.counts.good, ended.counts.failed, ended.counts.skipped), (1, 1, 1));
    assert!(ended.exceptions.iter().any(|(_, why)| why == "skipped: it is protected"), "{ended:?}");
}

/// What became of the nodes of a wave, in their order.
async fn results(bench: &Bench, wave: &WaveView) -> Vec<(NodeId, NodeResult)> {
    let mut reading = bench.service.store.read().await.unwrap();
    store::waves::nodes(&mut reading, wave.id.unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_begins_nothing_where_it_is_not_meant_any_more_and_stops_no_other() {
    let bench = Bench::start_with_policy("[waves]\nbake_minutes = 0\n").await;
    let machines = fleet(&bench, 3).await;
    bench.import("newer", 2).await;
    let move_to = async |node: NodeId, pool: &str| {
        let path = format!("/v1/nodes/{node}/assign");
        bench.operator::<serde_json::Value>(Method::POST, &path, &json!({"pool": pool})).await.unwrap();
    };
    move_to(machines[2].node, "other").await;
    let wave = start(&bench, json!({})).await.unwrap();
    start(&bench, json!({"pool": "other"})).await.unwrap();
    let now = wave.started_at.0;
    let mut reading = bench.service.store.read().await.unwrap();
    let read = store::waves::by_id(&mut reading, wave.id.unwrap()).await.unwrap().unwrap();
    drop(reading);
    say(&bench, &wave, "halt").await.unwrap();
    // A look that began before the halt was answered.
    bench.service.tick_wave(read, UnixMillis(now)).await.unwrap();
    assert_eq!(show(&bench, &wave).await.counts.waiting, 2, "a halted wave begins nothing");

    // Nor does it take a turn that was written down before. And what cannot be read stops no other wave.
    let [(first, _), (second, _)] = results(&bench, &wave).await.try_into().unwrap();
    let mut transaction = bench.service.store.write().await.unwrap();
    let begun = NodeResult::Begun { score_before: None };
    store::waves::set_result(&mut transaction, wave.id.unwrap(), first, &begun).await.unwrap();
    store::commit(transaction).await.unwrap();
    tick(&bench, now).await;
    let jobs: Vec<JobView> = bench.operator(Method::GET, "/v1/jobs", &()).await.unwrap();
    let open = |node| jobs.iter().any(|job| job.node == node && job.state == JobState::Waiting);
    assert_eq!([first, second, machines[2].node].map(open), [false, false, true]);

    // Whoever was moved meanwhile does not get the pool's image.
    move_to(first, "elsewhere").await;
    say(&bench, &wave, "resume").await.unwrap();
    for _ in 0..2 {
        tick(&bench, now).await;
    }
    let moved = NodeResult::Skipped { why: "it was moved to pool elsewhere".to_owned() };
    let [(_, of_first), (_, of_second)] = results(&bench, &wave).await.try_into().unwrap();
    assert_eq!(of_first, moved);
    assert!(matches!(of_second, NodeResult::Working { .. }), "{of_second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_that_cannot_be_read_stops_no_other() {
    let bench = Bench::start_with_policy("").await;
    let machines = fleet(&bench, 2).await;
    bench.import("newer", 2).await;
    let path = format!("/v1/nodes/{}/assign", machines[1].node);
    bench.operator::<serde_json::Value>(Method::POST, &path, &json!({"pool": "other"})).await.unwrap();
    let broken = start(&bench, json!({})).await.unwrap();
    start(&bench, json!({"pool": "other"})).await.unwrap();
    sql(&bench, "UPDATE wave_nodes SET result = '{' || result WHERE wave = (SELECT MIN(id) FROM waves WHERE pool = 'default')").await;
    tick(&bench, broken.started_at.0).await;
    assert_eq!(working(&bench).await.len(), 1);
}

/// The one node that has the image.
async fn good(bench: &Bench, wave: &WaveView) -> (Option<u64>, NodeId) {
    let found = results(bench, wave).await.into_iter().find_map(|(node, result)| match result {
        NodeResult::Good { score_after, .. } => Some((score_after, node)),
        _ => None,
    });
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_have_the_image_are_watched_until_the_wave_ends() {
    let bench = Bench::start_with_policy("[waves]\nbake_minutes = 60\nscore_drop_max = 100\n").await;
    let mut machines = fleet(&bench, 2).await;
    bench.import("newer", 2).await;
    let wave = start(&bench, json!({})).await.unwrap();
    let now = wave.started_at.0;
    tick(&bench, now).await;
    let [(_, canary)] = working(&bench).await.try_into().unwrap();
    carry_out(&bench, &mut machines, canary).await;
    tick(&bench, now).await;
    let (before, node) = good(&bench, &wave).await;
    let machine = machines.iter_mut().find(|machine| machine.node == node).unwrap();

    // Its readiness is that of its newest verdict.
    machine.more_readings = vec![(Subject::Node, ReadingKey::KernelTaint, ReadingValue::Count(1 << 7))];
    let report = machine.report_of(&bench, Trust::Resident).await;
    let score = report.decision.as_ref().unwrap().readiness.as_ref().unwrap().score;
    assert!(Some(score) < before, "{score}, {before:?}");
    machine.send(&bench, &report).await.unwrap();
    tick(&bench, now).await;
    assert_eq!(good(&bench, &wave).await.0, Some(score));

    // What too many want at once in its pool is looked at first.
    let incident = incident();
    let mut transaction = bench.service.store.write().await.unwrap();
    store::incidents::insert(&mut transaction, &incident).await.unwrap();
    store::commit(transaction).await.unwrap();
    tick(&bench, now).await;
    let state = show(&bench, &wave).await.state;
    let WaveState::Halted(halted) = state else { panic!("{state:?}") };
    assert!(halted.because.contains("reprieve blast-radius release"), "{halted:?}");
    assert_eq!(kind_of(say(&bench, &wave, "resume").await), ErrorKind::Conflict);
    let release = format!("/v1/blast-radius/{}/release", incident.id);
    let why = json!({"why": "a switch had failed", "allow_minutes": 0, "keep_held": false});
    bench.operator::<IncidentView>(Method::POST, &release, &why).await.unwrap();
    say(&bench, &wave, "resume").await.unwrap();

    // What its running system finds is a failure of the wave.
    machine.failing = true;
    let report = machine.report_of(&bench, Trust::Resident).await;
    machine.send(&bench, &report).await.unwrap();
    tick(&bench, now).await;
    let halted = show(&bench, &wave).await;
    assert!(matches!(halted.state, WaveState::Halted(_)), "{halted:?}");
    let [(failed, why)] = halted.exceptions.try_into().unwrap();
    assert!(failed == node && why.starts_with("failed: quarantine since it has the image"), "{why}");
}

fn incident() -> IncidentView {
    IncidentView {
        id: IncidentId(uuid::Uuid::from_u128(1)),
        group: Group::Pool("default".parse().unwrap()),
        alike: Alike::Cause("fitness/nic-link".to_owned()),
        opened_at: UnixMillis(1),
        wanting: 11,
        nodes: 12,
        most: 10,
        window_minutes: 5,
        held: Vec::new(),
        held_total: 0,
        release: None,
    }
}
