//! The right to write, made from a signed order and the plan that it names.
//!
//! Destructive code takes a [`StepPermit`] by value. There is no other way to get one than
//! [`Permit::grant`], and each can be used once:
//!
//! ```compile_fail
//! // The fields are private, so a permit cannot be put together by hand.
//! let forged = verdict::permit::Permit { order: todo!(), plan: todo!() };
//! ```
//! ```compile_fail
//! fn twice(permit: verdict::permit::StepPermit) -> (verdict::permit::StepPermit, verdict::permit::StepPermit) {
//!     (permit.clone(), permit)
//! }
//! ```
//! ```compile_fail
//! fn from_the_wire(text: &str) -> verdict::permit::StepPermit {
//!     serde_json::from_str(text).unwrap()
//! }
//! ```

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use contract::id::{Digest, DiskId, NodeId, OrderId, PlanDigest, UnixMillis};
use contract::inventory::DiskFacts;
use contract::order::{Order, OrderError, SignedOrder};
use contract::plan::{DiskTarget, Plan, Step};
use ed25519_dalek::VerifyingKey;

/// How far the service's clock may be ahead of ours, in milliseconds.
const SKEW_MAX_MILLIS: u64 = 5 * 60 * 1000;

/// How many orders one boot accepts; a boot that needs more is not doing what it should.
const SPENT_MAX: usize = 1024;

/// The orders that this boot has accepted. Keep one for the life of the process: an order is accepted
/// once. Orders of earlier boots carry another nonce and are refused by that.
#[derive(Debug, Default)]
pub struct SpentOrders {
    ids: Mutex<BTreeSet<OrderId>>,
}

impl SpentOrders {
    /// None spent yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn spend(&self, id: OrderId) -> Result<(), PermitRefusal> {
        // A set of ids is whole after any panic of another thread.
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.contains(&id) {
            return Err(PermitRefusal::Replayed { order: id });
        }
        if ids.len() >= SPENT_MAX {
            return Err(PermitRefusal::TooMany);
        }
        ids.insert(id);
        Ok(())
    }
}

/// What an order must agree with. None of it comes from the order.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The service's public key.
    pub order_key: VerifyingKey,
    /// This node.
    pub node: NodeId,
    /// The nonce that was drawn in this boot.
    pub nonce: Digest,
    /// The service's time.
    pub now: UnixMillis,
    /// The orders that this boot has accepted.
    pub spent: &'a SpentOrders,
}

/// Why an order gives no right to write. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PermitRefusal {
    /// The order is not the service's, or not an order.
    #[error("the order was refused")]
    NotTheServices(#[from] OrderError),
    /// It is for another node.
    #[error("the order is for node {order}, this is {ours}; nothing was done")]
    OtherNode {
        /// Whom the order names.
        order: NodeId,
        /// Who we are.
        ours: NodeId,
    },
    /// The plan or its digest could not be computed.
    #[error("could not compute the plan's digest; nothing was done")]
    PlanDigest(#[source] serde_json::Error),
    /// It is for another plan.
    #[error("the order is for plan {order}, ours is {ours}; report again")]
    OtherPlan {
        /// What the order names.
        order: PlanDigest,
        /// What we would do.
        ours: PlanDigest,
    },
    /// The plan is for another node.
    #[error("the plan is for node {plan}; nothing was done")]
    PlanOfOtherNode {
        /// Whom the plan names.
        plan: NodeId,
    },
    /// It is of another boot.
    #[error("the order is of another boot; report again")]
    OtherBoot,
    /// It was signed in the future.
    #[error("the order was issued {ahead_millis} ms in the future; check the clocks")]
    NotYet {
        /// How far.
        ahead_millis: u64,
    },
    /// It lapsed.
    #[error("the order lapsed {late_millis} ms ago; report again")]
    Expired {
        /// How long ago.
        late_millis: u64,
    },
    /// Its disks are not the plan's.
    #[error("the order allows other disks than the plan writes; nothing was done")]
    OtherDisks,
    /// The plan does nothing.
    #[error("the plan has no steps; nothing was done")]
    EmptyPlan,
    /// A disk of the plan is not there, or not as it was.
    #[error("disk {disk} {why}; look again")]
    Disk {
        /// Which.
        disk: DiskId,
        /// What is wrong with it.
        why: String,
    },
    /// It was accepted before.
    #[error("order {order} was accepted before; nothing was done")]
    Replayed {
        /// Which.
        order: OrderId,
    },
    /// This boot accepted too many orders.
    #[error("this boot has accepted {SPENT_MAX} orders; restart the machine")]
    TooMany,
}

/// The right to carry out one plan, once.
#[derive(Debug)]
#[must_use = "a permit that is not used is an order that is lost"]
pub struct Permit {
    order: Order,
    plan: Plan,
}

/// The right to carry out one step, once.
#[derive(Debug)]
#[must_use = "a permit that is not used is a step that is not done"]
pub struct StepPermit {
    order: OrderId,
    index: u32,
    step: Step,
}

impl Permit {
    /// Checks an order, in this order: signature, node, plan, nonce, time, disks as named, disks as
    /// they are now, and last that it was never accepted before.
    ///
    /// `present` are the disks as seen just now, not those of the evidence.
    ///
    /// # Errors
    /// [`PermitRefusal`]; a refused order is not spent.
    pub fn grant(
        order: &SignedOrder,
        plan: Plan,
        expected: &Expected<'_>,
        present: &[DiskFacts],
    ) -> Result<Self, PermitRefusal> {
        let order = order.verify(&expected.order_key)?;
        if order.node != expected.node {
            return Err(PermitRefusal::OtherNode { order: order.node, ours: expected.node });
        }
        let digest = plan.digest().map_err(PermitRefusal::PlanDigest)?;
        if order.plan != digest {
            return Err(PermitRefusal::OtherPlan { order: order.plan, ours: digest });
        }
        if plan.node != expected.node {
            return Err(PermitRefusal::PlanOfOtherNode { plan: plan.node });
        }
        if order.nonce != expected.nonce {
            return Err(PermitRefusal::OtherBoot);
        }
        check_time(&order, expected.now)?;
        if plan.steps.is_empty() {
            return Err(PermitRefusal::EmptyPlan);
        }
        if order.disks != plan.disks() {
            return Err(PermitRefusal::OtherDisks);
        }
        for step in &plan.steps {
            check_disk(step.disk(), present)?;
        }
        expected.spent.spend(order.id)?;
        Ok(Self { order, plan })
    }

    /// The order that this permit was made from.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// The plan that it allows.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// One permit for each step, in order.
    #[must_use]
    pub fn into_steps(self) -> Vec<StepPermit> {
        let order = self.order.id;
        let numbered = (0..).zip(self.plan.steps);
        numbered.map(|(index, step)| StepPermit { order, index, step }).collect()
    }
}

impl StepPermit {
    /// What may be done.
    #[must_use]
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// Which step of the plan it is, from 0.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Under which order.
    #[must_use]
    pub fn order(&self) -> OrderId {
        self.order
    }
}

fn check_time(order: &Order, now: UnixMillis) -> Result<(), PermitRefusal> {
    let ahead_millis = order.issued_at.millis_since(now);
    if ahead_millis > SKEW_MAX_MILLIS {
        return Err(PermitRefusal::NotYet { ahead_millis });
    }
    if order.expires_at <= now {
        return Err(PermitRefusal::Expired { late_millis: now.millis_since(order.expires_at) });
    }
    Ok(())
}

fn check_disk(target: &DiskTarget, present: &[DiskFacts]) -> Result<(), PermitRefusal> {
    let refuse = |why: String| Err(PermitRefusal::Disk { disk: target.id.clone(), why });
    let mut found = present.iter().filter(|disk| disk.id == target.id);
    let Some(disk) = found.next() else { return refuse("is missing".to_owned()) };
    if found.next().is_some() {
        return refuse("is there twice".to_owned());
    }
    if disk.size_bytes != target.size_bytes {
        return refuse(format!("has {} bytes, the plan says {}", disk.size_bytes, target.size_bytes));
    }
    if disk.logical_sector_bytes != target.logical_sector_bytes {
        return refuse(format!(
            "has sectors of {} bytes, the plan says {}",
            disk.logical_sector_bytes, target.logical_sector_bytes
        ));
    }
    if disk.read_only {
        return refuse("is read-only".to_owned());
    }
    Ok(())
}
