//! A machine tells the service that it refused an order which the service never gave to it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{FinishResult, Instruction};
use contract::id::OrderId;
use contract::operator_api::{JobState, NodeState};
use contract::order::Order;
use support::Bench;
use support::flow::{job, with_job};
use support::machine::{SERIAL, order_in};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_order_that_was_refused_holds_the_node_and_says_why() {
    let bench = Bench::start().await;
    let (mut machine, id) = with_job(&bench).await;
    machine.come(&bench).await;
    let (_, instruction) = machine.report(&bench).await;
    let own = order_in(&bench, &instruction);
    let foreign = Order { id: OrderId(Uuid::from_u128(77)), ..own.clone() };
    // Only a refusal is heard: nothing was done under an order that there is not.
    for result in [FinishResult::Done, FinishResult::Failed { step: 0, error: "x".to_owned() }] {
        assert!(machine.finish(&bench, &foreign, result, Vec::new()).await.is_err());
    }
    assert_eq!(job(&bench, id).await.state, JobState::Ordered);
    let refused = FinishResult::Refused { error: "the order is of another boot".to_owned() };
    let told = machine.finish(&bench, &foreign, refused, Vec::new()).await.unwrap();
    assert!(matches!(told, Instruction::Wait { .. }), "{told:?}");
    let JobState::Held { reason } = job(&bench, id).await.state else { panic!("not held") };
    assert!(reason.contains("another boot") && reason.contains("did not give"), "{reason}");
    assert_eq!(bench.node(SERIAL).await.state, NodeState::Held);
    // The order that it should have got is over too.
    assert!(machine.begin(&bench, &own, 0).await.is_err());
}
