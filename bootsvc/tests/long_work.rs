//! Work that takes longer than a session and an order are good for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{FinishResult, Progress};
use contract::operator_api::ErrorKind;
use reqwest::Method;
use serde_json::json;
use support::flow::{discovered, job_of};
use support::machine::{SERIAL, order_in, results};
use support::{Bench, kind_of};

async fn set(bench: &Bench, table: &str, expires_at: u64) {
    let mut transaction = bench.service.store.write().await.unwrap();
    let text = match table {
        "sessions" => "UPDATE sessions SET expires_at = $1",
        _ => "UPDATE orders SET expires_at = $1",
    };
    let at = i64::try_from(expires_at).unwrap();
    sqlx::query(text).bind(at).execute(&mut *transaction).await.unwrap();
    reprieve_bootsvc::store::commit(transaction).await.unwrap();
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
