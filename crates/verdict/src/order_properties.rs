//! Nothing destructive without an order: whatever is planned for any node, only an order for exactly that gives
//! the right to it.

use contract::id::{Digest, JobId, NodeId, OrderId, PlanDigest};
use contract::order::{Order, SignedOrder};
use contract::plan::{Plan, Step};
use ed25519_dalek::SigningKey;
use proptest::prelude::{ProptestConfig, prop_assert, proptest};
use uuid::Uuid;

use crate::permit::{Expected, Permit, SpentOrders};
use crate::properties::case;
use crate::testing::{Case, NOW};

/// What of an order is not what it has to be.
const FAULTS: u8 = 10;

/// The order for a plan with one fault, and the key that signed it; none of them is a fault above [`FAULTS`].
fn order(plan: &Plan, fault: u8) -> (Order, SigningKey) {
    let mut order = Order {
        id: OrderId(Uuid::from_u128(1)),
        job: JobId(Uuid::from_u128(2)),
        node: plan.node,
        plan: plan.digest().unwrap(),
        disks: plan.disks(),
        nonce: Digest::of(b"nonce"),
        issued_at: NOW,
        expires_at: NOW.plus_millis(60_000),
    };
    let mut key = SigningKey::from_bytes(&[7; 32]);
    match fault {
        0 => order.node = NodeId(Uuid::from_u128(99)),
        1 => order.plan = PlanDigest(Digest::of(b"another plan")),
        2 => drop(order.disks.pop()),
        3 => order.disks.push("nvme-eui.another".parse().unwrap()),
        4 => order.nonce = Digest::of(b"another boot"),
        5 => order.issued_at = NOW.plus_millis(86_400_000),
        6 => order.expires_at = NOW,
        7 => order.disks.clear(),
        8 => key = SigningKey::from_bytes(&[8; 32]),
        9 => (order.issued_at, order.expires_at) = (NOW.plus_millis(1), NOW),
        _ => {}
    }
    (order, key)
}

fn grant(case: &Case, plan: &Plan, fault: u8) -> Option<Vec<Step>> {
    let (order, key) = order(plan, fault);
    let expected = Expected {
        order_key: SigningKey::from_bytes(&[7; 32]).verifying_key(),
        node: plan.node,
        nonce: Digest::of(b"nonce"),
        now: NOW.plus_millis(if fault == 6 { 1 } else { 0 }),
        spent: &SpentOrders::new(),
    };
    let signed = SignedOrder::sign(&order, &key).unwrap();
    let permit = Permit::grant(&signed, plan.clone(), &expected, &case.disks()).ok()?;
    Some(permit.into_steps().iter().map(|permit| permit.step().clone()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn only_the_order_for_exactly_this_plan_gives_the_right_to_it(case in case(), fault in 0..FAULTS) {
        let Ok(Some(plan)) = case.plan() else { return Ok(()) };
        prop_assert!(grant(&case, &plan, fault).is_none(), "fault {}", fault);
        if let Some(steps) = grant(&case, &plan, u8::MAX) {
            prop_assert!(steps == plan.steps);
        }
        let mut other = plan.clone();
        other.steps.reverse();
        other.steps.extend(plan.steps.first().cloned());
        let (order, key) = order(&plan, u8::MAX);
        let signed = SignedOrder::sign(&order, &key).unwrap();
        let expected = Expected {
            order_key: key.verifying_key(),
            node: plan.node,
            nonce: Digest::of(b"nonce"),
            now: NOW,
            spent: &SpentOrders::new(),
        };
        prop_assert!(Permit::grant(&signed, other, &expected, &case.disks()).is_err());
    }
}

/// The orders above without a fault are accepted, or refusing those with one says little.
#[test]
fn the_order_for_this_plan_is_accepted() {
    let wipe = Case::healthy().context(|context| context.floor = Some(contract::assignment::Floor::Wipe));
    let plan = wipe.plan().unwrap().unwrap();
    assert_eq!(grant(&wipe, &plan, u8::MAX).unwrap(), plan.steps);
}
