//! Work that takes longer than a session and an order are good for, or that was cut off and waits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{FinishResult, Progress};
use contract::assignment::UnfinishedWork;
use contract::id::{DiskId, JobId};
use contract::kept_partition::KeptPartition;
use contract::operator_api::ErrorKind;
use contract::plan::{Plan, Step};
use reprieve_bootsvc::store;
use reqwest::Method;
use serde_json::json;
use support::flow::{discovered, installed, job_of};
use support::machine::{Machine, SERIAL, order_in, results};
use support::{Bench, kind_of};
use uuid::Uuid;

async fn set(bench: &Bench, table: &str, expires_at: u64) {
    let mut transaction = bench.service.store.write().await.unwrap();
    let text = match table {
        "sessions" => "UPDATE sessions SET expires_at = $1",
        _ => "UPDATE orders SET expires_at = $1",
    };
    let at = i64::try_from(expires_at).unwrap();
    sqlx::query(text).bind(at).execute(&mut *transaction).await.unwrap();
    store::commit(transaction).await.unwrap();
}

async fn session_expires_at(bench: &Bench) -> u64 {
    let mut reading = bench.service.store.read().await.unwrap();
    let at: i64 =
        sqlx::query_scalar("SELECT MAX(expires_at) FROM sessions").fetch_one(&mut *reading).await.unwrap();
    u64::try_from(at).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erase_that_takes_a_day_can_say_that_it_is_done() {
    let bench = Bench::start().await;
    let mut machine = discovered(&bench).await;
    let wipe = json!({"image": "debian", "tenant": "a", "at_least": "wipe", "confirm_serial": SERIAL});
    job_of(&bench, &machine, wipe).await;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let (order, plan) = (order_in(&bench, &instruction), report.plan.unwrap());
    assert!(plan.steps.len() >= 2, "{plan:?}");

    // An order that lapsed before it was begun is not begun.
    let now = reprieve_bootsvc::clock::now().0;
    set(&bench, "orders", now - 1).await;
    assert_eq!(kind_of(machine.begin(&bench, &order, 0).await), ErrorKind::Conflict);
    set(&bench, "orders", now + 60_000).await;
    machine.begin(&bench, &order, 0).await.unwrap();

    // Hours later: the order has lapsed meanwhile, the session nearly has.
    set(&bench, "orders", now - 1).await;
    set(&bench, "sessions", now + 60_000).await;
    let progress = Progress { phase: "erasing".to_owned(), done_bytes: 1, total_bytes: 2 };
    let said = bench.call::<()>(Method::POST, "/v1/agent/progress", &machine.session, &progress).await;
    said.unwrap();
    assert!(session_expires_at(&bench).await > now + 3_600_000);
    for step in 1..plan.steps.len() {
        machine.begin(&bench, &order, u32::try_from(step).unwrap()).await.unwrap();
    }
    machine.finish(&bench, &order, FinishResult::Done, results(&plan)).await.unwrap();

    // One that falls silent lapses.
    set(&bench, "sessions", now - 1).await;
    let late = bench.call::<()>(Method::POST, "/v1/agent/progress", &machine.session, &progress).await;
    assert_eq!(kind_of(late), ErrorKind::Unauthorized);
}

/// Makes the node look as if the same plan had been begun for this disk and was to keep a partition there.
async fn keeps_on(bench: &Bench, machine: &Machine, plan: &Plan, disk: &DiskId) {
    let mut plan = plan.clone();
    for step in &mut plan.steps {
        if let Step::WriteImage { disk: target, keep, .. } = step {
            target.id = disk.clone();
            *keep = vec![KeptPartition {
                number: 5,
                type_guid: Uuid::from_u128(1),
                unique_guid: Uuid::from_u128(2),
                first_byte: 1 << 30,
                length_bytes: 1 << 20,
                attributes: 0,
                name: "data".to_owned(),
            }];
        }
    }
    let begun_at = reprieve_bootsvc::clock::now();
    let mut transaction = bench.service.store.write().await.unwrap();
    let mut node = store::nodes::by_id(&mut transaction, machine.node).await.unwrap().unwrap();
    node.unfinished = Some(UnfinishedWork { job: JobId(Uuid::from_u128(3)), begun_at, plan });
    store::nodes::save(&mut transaction, &mut node).await.unwrap();
    store::commit(transaction).await.unwrap();
}

/// The record of work that was cut off may be all that is left of a partition's entry. An order that was
/// signed before there was such a record must not take its place.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_not_begun_while_partitions_wait_on_another_disk() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    job_of(&bench, &machine, json!({"at_least": "reimage", "confirmed": true})).await;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let (order, plan) = (order_in(&bench, &instruction), report.plan.unwrap());
    let own = plan.steps[0].disk().id.clone();
    let other: DiskId = "nvme-eui.other".parse().unwrap();

    keeps_on(&bench, &machine, &plan, &other).await;
    let refused = machine.begin(&bench, &order, 0).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict);
    assert!(refused.message.contains("nvme-eui.other may have no partition table"), "{}", refused.message);
    let waits = machine.context(&bench).await.node.unfinished.unwrap();
    assert_eq!(waits.plan.steps[0].disk().id, other, "the record was replaced");

    // The same on its own disk is gone on with.
    keeps_on(&bench, &machine, &plan, &own).await;
    machine.begin(&bench, &order, 0).await.unwrap();
    assert_eq!(machine.context(&bench).await.node.unfinished.unwrap().plan, plan);
}
