//! An image goes to a pool in stages, halts by itself, and goes on through a kill.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::Instruction;
use contract::decision::Action;
use contract::id::{JobId, UnixMillis};
use contract::operator_api::{ErrorKind, JobState, JobView};
use contract::wave::{Stage, WaveState, WaveView};
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
    // The first stages may meet the protected node, which is passed over.
    for _ in 0..3 {
        tick(&bench, now).await;
    }
    let first = working(&bench).await;
    assert!(!first.is_empty());
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
