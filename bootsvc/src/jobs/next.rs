//! What an agent is told when it asks. Computed from what is stored, so a repeated question gets the
//! same answer and a restart of the service changes nothing.

use std::time::Duration;

use contract::agent_api::Instruction;
use contract::operator_api::JobState;
use contract::plan::BootMethod;

use crate::jobs::{Caller, empty, state};
use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;
use crate::store::sessions::SessionRow;

/// How long a question is held open.
pub const HELD_OPEN: Duration = Duration::from_secs(30);
/// What a ramdisk waits between questions, in milliseconds.
const RAMDISK_POLL_MILLIS: u64 = 5_000;
/// What a resident agent waits between questions, in milliseconds.
const RESIDENT_POLL_MILLIS: u64 = 1_000;

/// Nothing to do for a ramdisk.
#[must_use]
pub fn wait(reason: impl Into<String>) -> Instruction {
    Instruction::Wait { poll_after_millis: RAMDISK_POLL_MILLIS, reason: reason.into() }
}

/// Nothing to do for a resident agent.
#[must_use]
pub fn watch_on() -> Instruction {
    Instruction::Wait { poll_after_millis: RESIDENT_POLL_MILLIS, reason: "nothing is wanted".to_owned() }
}

impl Service {
    /// Answers an agent's question, at once or when there is something to do.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn next(&self, caller: &Caller) -> Result<Instruction, Refusal> {
        let deadline = tokio::time::Instant::now() + HELD_OPEN;
        let mut changes = self.live.follow(caller.node());
        loop {
            changes.borrow_and_update();
            let instruction = match caller {
                Caller::Ramdisk(session) => self.next_of_ramdisk(session).await?,
                Caller::Resident { node, .. } => {
                    self.live.resident_spoke(*node);
                    self.next_of_resident(*node).await?
                }
            };
            let waits = matches!(instruction, Instruction::Wait { .. });
            if !waits || tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return Ok(instruction);
            }
        }
    }

    async fn next_of_resident(&self, node: contract::id::NodeId) -> Result<Instruction, Refusal> {
        if let Some(reason) = self.live.take_look(node) {
            return Ok(Instruction::LookAgain { reason });
        }
        let mut reading = self.store.read().await?;
        let job = store::jobs::open_of(&mut reading, node).await?;
        Ok(match job {
            Some(job) if state::wants_ramdisk(&job.state) => Instruction::EnterRamdisk {
                job: job.id,
                reason: format!("job {} wants a look from outside", job.id),
            },
            Some(job) if job.state == JobState::ComingUp => {
                // The report that settles the job may have been lost on the way.
                if store::evidence::resident_since(&mut reading, node, job.changed_at).await? {
                    watch_on()
                } else {
                    Instruction::LookAgain {
                        reason: format!("job {} waits for this system's first report", job.id),
                    }
                }
            }
            _ => watch_on(),
        })
    }

    /// What a ramdisk is told. A machine that waits in the ramdisk goes over to a job that has appeared.
    pub(crate) async fn next_of_ramdisk(&self, session: &SessionRow) -> Result<Instruction, Refusal> {
        let mut reading = self.store.read().await?;
        let open = store::jobs::open_of(&mut reading, session.node).await?;
        let order = store::orders::by_nonce(&mut reading, session.nonce).await?;
        let own = match session.job {
            Some(job) => store::jobs::by_id(&mut reading, job).await?,
            None => None,
        };
        let node = node_by_id(&mut reading, session.node).await?;
        drop(reading);
        let boot_local = |reason: String| Instruction::BootLocal { reason, kexec: false };
        let Some(job) = open else {
            if own.is_some() && empty::is_empty(&node) {
                let held = node.hold_reason.map_or(String::new(), |reason| format!("held: {reason}; "));
                return Ok(wait(format!("{held}its disks are nobody's; waits for something to do")));
            }
            return Ok(match own {
                Some(job) => boot_local(format!("job {} is {}", job.id, state::name(&job.state))),
                None => wait("waits to be approved and given something to do"),
            });
        };
        match &job.state {
            JobState::Held { reason } => Ok(wait(format!("held: {reason}"))),
            JobState::ComingUp => {
                let kexec = order.is_some_and(|order| order.plan.boot == BootMethod::Kexec);
                Ok(Instruction::BootLocal { reason: format!("job {}: all steps are proven", job.id), kexec })
            }
            JobState::Acting { .. } => Ok(wait(format!("job {} is under way", job.id))),
            JobState::Ordered => Ok(match order {
                Some(order) if order.ended_at.is_none() && order.job == job.id => {
                    Instruction::Proceed { order: order.signed }
                }
                _ => wait(format!("job {} has an order for another boot", job.id)),
            }),
            // One order for each boot: a machine that has used its order up comes again with a new nonce.
            JobState::Waiting | JobState::Booting { .. } | JobState::Looking if order.is_some() => {
                Ok(boot_local(format!(
                    "job {}: this boot has had its order; come again from the network",
                    job.id
                )))
            }
            JobState::Waiting | JobState::Booting { .. } | JobState::Looking => {
                self.go_over(session, job.id).await?;
                Ok(Instruction::LookAgain { reason: format!("job {} wants a fresh look", job.id) })
            }
            JobState::Done { .. } | JobState::Cancelled | JobState::RolledBack { .. } => {
                Ok(boot_local(format!("job {} has ended", job.id)))
            }
        }
    }

    /// Ties a waiting ramdisk to the node's open job.
    async fn go_over(&self, session: &SessionRow, job: contract::id::JobId) -> Result<(), Refusal> {
        let mut change = self.change(session.node).await?;
        let open = change.job()?;
        if open.id != job {
            return Err(Refusal::conflict("the job has ended meanwhile", "ask again"));
        }
        if session.job == Some(job) && open.state == JobState::Looking {
            return Ok(());
        }
        change.take(state::enroll)?;
        change.note("the machine was in the ramdisk already; it looks again for this job");
        store::sessions::set_session_job(&mut change.transaction, session.hash, job).await?;
        change.commit().await?;
        Ok(())
    }
}
