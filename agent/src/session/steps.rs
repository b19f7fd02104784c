//! What a ramdisk session does next. No I/O: instructions go in, steps come out.
//!
//! ```text
//!            ┌────────────── look-again, enter-ramdisk ◄──────────────┐
//!            ▼                                                        │
//!  enrolled ─► LOOK ─► report ─► instruction ─┬─ wait ──► ASK ────────┤ (next)
//!                                             ├─ proceed ► ACT ► finish ► instruction
//!                                             │            (or REFUSE)
//!                                             └─ boot-local ► BOOT
//! ```

use std::time::Duration;

use contract::agent_api::Instruction;
use contract::order::SignedOrder;
use contract::plan::Plan;

/// A boot that is told to look more often than this is going in circles.
const LOOKS_MAX: u32 = 20;
/// A boot that gets more orders than this is going in circles.
const ORDERS_MAX: u32 = 5;
/// However long the service says to wait, it is asked again after this.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Gather evidence and report.
    Look,
    /// Wait this long, then ask what is next.
    Ask {
        /// How long.
        after: Duration,
    },
    /// Carry out the plan under this order, if it gives a permit.
    Act {
        /// The authority.
        order: SignedOrder,
        /// What was reported.
        plan: Box<Plan>,
    },
    /// Tell the service that the order is refused; nothing is written.
    Refuse {
        /// The order.
        order: SignedOrder,
        /// Why.
        why: String,
    },
    /// Boot the installed system.
    Boot {
        /// By kexec, if that works.
        kexec: bool,
    },
    /// Give up: show why, wait, reboot.
    GiveUp {
        /// Why.
        why: String,
    },
}

/// How often what has happened in this boot, and what was last reported.
#[derive(Debug, Default)]
pub struct Session {
    looks: u32,
    orders: u32,
    /// The plan of the newest report. Only this one can be ordered, once.
    plan: Option<Plan>,
}

impl Session {
    /// A report went out with this plan.
    pub fn reported(&mut self, plan: Option<Plan>) {
        self.looks += 1;
        self.plan = plan;
    }

    /// The service has answered.
    pub fn told(&mut self, instruction: Instruction) -> Step {
        match instruction {
            Instruction::Wait { poll_after_millis, .. } => {
                Step::Ask { after: Duration::from_millis(poll_after_millis).min(WAIT_MAX) }
            }
            // Already in the ramdisk: a job that wants it here wants it to look.
            Instruction::LookAgain { .. } | Instruction::EnterRamdisk { .. } if self.looks < LOOKS_MAX => {
                Step::Look
            }
            Instruction::LookAgain { reason } | Instruction::EnterRamdisk { reason, .. } => {
                Step::GiveUp { why: format!("looked {LOOKS_MAX} times and is to look again: {reason}") }
            }
            Instruction::Proceed { order } => self.ordered(order),
            Instruction::BootLocal { kexec, .. } => Step::Boot { kexec },
        }
    }

    fn ordered(&mut self, order: SignedOrder) -> Step {
        self.orders += 1;
        if self.orders > ORDERS_MAX {
            return Step::GiveUp { why: format!("got more than {ORDERS_MAX} orders in one boot") };
        }
        match self.plan.take() {
            Some(plan) => Step::Act { order, plan: Box::new(plan) },
            None => {
                Step::Refuse { order, why: "no plan was reported, or it was carried out already".to_owned() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::decision::Action;
    use contract::id::{EvidenceId, JobId, NodeId};
    use contract::plan::BootMethod;
    use uuid::Uuid;

    fn plan() -> Plan {
        Plan {
            node: NodeId(Uuid::from_u128(1)),
            evidence: EvidenceId(Uuid::from_u128(2)),
            action: Action::Reimage,
            steps: vec![],
            boot: BootMethod::Reboot,
        }
    }

    fn order() -> SignedOrder {
        SignedOrder { payload: "{}".to_owned(), signature: "00".to_owned() }
    }

    fn look_again() -> Instruction {
        Instruction::LookAgain { reason: "context changed".to_owned() }
    }

    #[test]
    fn instructions_become_steps() {
        let mut session = Session::default();
        let wait = Instruction::Wait { poll_after_millis: 2000, reason: String::new() };
        assert_eq!(session.told(wait), Step::Ask { after: Duration::from_secs(2) });
        let wait = Instruction::Wait { poll_after_millis: u64::MAX, reason: String::new() };
        assert_eq!(session.told(wait), Step::Ask { after: WAIT_MAX });
        assert_eq!(session.told(look_again()), Step::Look);
        let enter = Instruction::EnterRamdisk { job: JobId(Uuid::from_u128(1)), reason: String::new() };
        assert_eq!(session.told(enter), Step::Look);
        let boot = Instruction::BootLocal { reason: String::new(), kexec: true };
        assert_eq!(session.told(boot), Step::Boot { kexec: true });
    }

    #[test]
    fn an_order_without_a_reported_plan_is_refused() {
        let mut session = Session::default();
        assert!(matches!(session.told(Instruction::Proceed { order: order() }), Step::Refuse { .. }));
        session.reported(Some(plan()));
        session.reported(None);
        assert!(matches!(session.told(Instruction::Proceed { order: order() }), Step::Refuse { .. }));
    }

    #[test]
    fn a_plan_is_carried_out_once() {
        let mut session = Session::default();
        session.reported(Some(plan()));
        assert!(matches!(session.told(Instruction::Proceed { order: order() }), Step::Act { .. }));
        assert!(matches!(session.told(Instruction::Proceed { order: order() }), Step::Refuse { .. }));
    }

    #[test]
    fn going_in_circles_ends() {
        let mut session = Session::default();
        for _ in 0..LOOKS_MAX {
            assert_eq!(session.told(look_again()), Step::Look);
            session.reported(Some(plan()));
        }
        assert!(matches!(session.told(look_again()), Step::GiveUp { .. }));
        for _ in 0..ORDERS_MAX {
            session.told(Instruction::Proceed { order: order() });
        }
        assert!(matches!(session.told(Instruction::Proceed { order: order() }), Step::GiveUp { .. }));
    }
}
