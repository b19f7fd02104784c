//! Jobs: what a request for a state becomes, and how a machine is led through it.
//!
//! | file | what |
//! |---|---|
//! | [`state`] | the states and edges, pure |
//! | [`boot`] | a machine asks the network |
//! | [`enroll`] | a ramdisk introduces itself |
//! | [`report`] | evidence arrives and is judged |
//! | `claims` | what a report may claim |
//! | `gates` | verdicts that only forbid to write, pure |
//! | [`act`] | begin, finish, credential: destructive work under an order |
//! | [`next`] | what an agent is told when it asks |
//! | [`request`] | a technician asks for a state |
//! | `burn_in` | a technician asks for a burn-in |
//! | [`rollback`] | a technician asks for the image before |
//! | [`validation`] | whether a written system came up; going back by itself |
//! | [`history`] | which images a node had, pure |
//! | `owner` | whose data the disks hold while a plan is carried out and after it, pure |
//! | `long_work` | work that takes longer than a session is good for |
//! | [`blast_radius`] | what too many nodes want at once is held |
//! | `windows` | destructive work waits for the policy's windows |
//! | [`change`] | how a change becomes durable |

pub mod act;
pub mod blast_radius;
pub mod boot;
mod burn_in;
pub mod change;
mod claims;
mod empty;
pub mod enroll;
pub(crate) mod gates;
pub mod history;
mod long_work;
pub mod next;
mod owner;
pub mod report;
pub mod request;
pub mod rollback;
pub mod state;
pub mod validation;
mod windows;

use contract::id::{JobId, NodeId};

use crate::store::sessions::SessionRow;

/// Who speaks, proven by its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A network-booted ramdisk.
    Ramdisk(SessionRow),
    /// The agent of the installed system.
    Resident {
        /// Of which node.
        node: NodeId,
        /// The job that installed it.
        job: JobId,
    },
}

impl Caller {
    /// The node that speaks.
    #[must_use]
    pub fn node(&self) -> NodeId {
        match self {
            Self::Ramdisk(session) => session.node,
            Self::Resident { node, .. } => *node,
        }
    }
}
