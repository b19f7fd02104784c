//! The permit: what an order must be to give the right to write.

use contract::assignment::DataOwner;
use contract::id::{Digest, JobId, NodeId, OrderId, UnixMillis};
use contract::inventory::DiskFacts;
use contract::order::{Order, SignedOrder};
use contract::plan::Plan;
use ed25519_dalek::SigningKey;
use uuid::Uuid;

use crate::permit::{Expected, Permit, PermitRefusal, SpentOrders};
use crate::testing::{Case, NOW};

struct Desk {
    key: SigningKey,
    order: Order,
    plan: Plan,
    present: Vec<DiskFacts>,
    spent: SpentOrders,
}

impl Desk {
    /// A valid order for a wipe of both disks.
    fn new() -> Self {
        let case = Case::healthy().context(|context| context.data_owner = DataOwner::Unknown);
        let plan = case.plan().unwrap().unwrap();
        let order = Order {
            id: OrderId(Uuid::from_u128(1)),
            job: JobId(Uuid::from_u128(2)),
            node: plan.node,
            plan: plan.digest().unwrap(),
            disks: plan.disks(),
            nonce: Digest::of(b"nonce"),
            issued_at: NOW,
            expires_at: NOW.plus_millis(60_000),
        };
        let key = SigningKey::from_bytes(&[7; 32]);
        Self { key, order, plan, present: case.disks(), spent: SpentOrders::new() }
    }

    fn grant(&self) -> Result<Permit, PermitRefusal> {
        let signed = SignedOrder::sign(&self.order, &self.key).unwrap();
        let expected = Expected {
            order_key: SigningKey::from_bytes(&[7; 32]).verifying_key(),
            node: NodeId(Uuid::from_u128(1)),
            nonce: Digest::of(b"nonce"),
            now: NOW,
            spent: &self.spent,
        };
        Permit::grant(&signed, self.plan.clone(), &expected, &self.present)
    }
}

#[test]
fn a_valid_order_gives_one_permit_for_each_step() {
    let desk = Desk::new();
    let permit = desk.grant().unwrap();
    assert_eq!(permit.plan(), &desk.plan);
    assert_eq!(permit.order(), &desk.order);
    let steps = permit.into_steps();
    assert_eq!(steps.len(), 3);
    for (index, (permit, step)) in (0..).zip(steps.iter().zip(&desk.plan.steps)) {
        assert_eq!((permit.index(), permit.step(), permit.order()), (index, step, desk.order.id));
    }
}

type Change = fn(&mut Desk);

#[test]
fn anything_that_does_not_agree_is_refused() {
    let cases: [(&str, Change); 18] = [
        ("NotTheServices", |desk| desk.key = SigningKey::from_bytes(&[8; 32])),
        ("OtherNode", |desk| desk.order.node = NodeId(Uuid::from_u128(9))),
        ("OtherPlan", |desk| desk.order.plan.0.0[0] ^= 1),
        ("OtherPlan", |desk| desk.plan.steps.truncate(1)),
        ("OtherPlan", |desk| desk.plan.steps.swap(0, 1)),
        ("PlanOfOtherNode", |desk| {
            desk.plan.node = NodeId(Uuid::from_u128(9));
            desk.order.plan = desk.plan.digest().unwrap();
        }),
        ("OtherBoot", |desk| desk.order.nonce = Digest::of(b"earlier boot")),
        ("NotYet", |desk| desk.order.issued_at = NOW.plus_millis(300_001)),
        ("Expired", |desk| desk.order.expires_at = NOW),
        ("Expired", |desk| desk.order.expires_at = UnixMillis(0)),
        ("EmptyPlan", |desk| {
            desk.plan.steps.clear();
            desk.order.plan = desk.plan.digest().unwrap();
            desk.order.disks.clear();
        }),
        ("OtherDisks", |desk| desk.order.disks.truncate(1)),
        ("OtherDisks", |desk| desk.order.disks.push("z-another".parse().unwrap())),
        ("missing", |desk| desk.present.truncate(1)),
        ("twice", |desk| {
            let copy = desk.present[0].clone();
            desk.present.push(copy);
        }),
        ("bytes, the plan says", |desk| desk.present[1].size_bytes += 512),
        ("sectors of 4096", |desk| desk.present[0].logical_sector_bytes = 4096),
        ("is read-only", |desk| desk.present[1].read_only = true),
    ];
    for (expected, change) in cases {
        let mut desk = Desk::new();
        change(&mut desk);
        let refused = desk.grant().unwrap_err();
        assert!(
            format!("{refused:?}").contains(expected) || refused.to_string().contains(expected),
            "{expected}: {refused:?}"
        );
    }
}

#[test]
fn an_order_is_accepted_once_and_a_refused_one_is_not_spent() {
    let mut desk = Desk::new();
    let present = std::mem::take(&mut desk.present);
    assert!(matches!(desk.grant(), Err(PermitRefusal::Disk { .. })));
    desk.present = present;
    assert!(desk.grant().is_ok());
    assert!(matches!(desk.grant(), Err(PermitRefusal::Replayed { .. })));
    desk.order.id = OrderId(Uuid::from_u128(5));
    assert!(desk.grant().is_ok());
}

#[test]
fn orders_that_one_boot_accepts_are_bounded() {
    let spent = SpentOrders::new();
    assert!((0..1024).all(|number| spent.spend(OrderId(Uuid::from_u128(number))).is_ok()));
    assert!(matches!(spent.spend(OrderId(Uuid::from_u128(9999))), Err(PermitRefusal::TooMany)));
    assert!(matches!(spent.spend(OrderId(Uuid::from_u128(0))), Err(PermitRefusal::Replayed { .. })));
}

#[test]
fn a_clock_a_little_ahead_is_allowed() {
    let mut desk = Desk::new();
    desk.order.issued_at = NOW.plus_millis(300_000);
    desk.order.expires_at = NOW.plus_millis(600_000);
    assert!(desk.grant().is_ok());
}
