//! A technician asks for a burn-in: the machine works under load in the ramdisk and is compared with its like.
//!
//! It is a job as any other, but for its end: whatever the verdict says of the software, nothing is written.
//! Where the verdict is quarantine, or the agent did not burn the machine in, the job is held as always.
//!
//! Nodes of one pool that are burned in at the same time are told of each other, for the network between them
//! ([`crate::partners`]).

use std::net::IpAddr;
use std::time::Instant;

use contract::agent_api::Instruction;
use contract::burn_in::{BURN_IN_MINUTES_MAX, BurnInRequest, PARTNERS_MAX, PartnerReply, PartnerRequest};
use contract::decision::{Action, Decision, Severity};
use contract::evidence::Evidence;
use contract::gpu_test::GpuTest;
use contract::id::{JobId, NodeId};
use contract::operator_api::{JobState, ReimageReply};
use contract::plan::BootMethod;
use verdict::policy::Policy;

use crate::bearer;
use crate::jobs::change::Change;
use crate::jobs::next::wait;
use crate::jobs::request::check_allowed;
use crate::jobs::{empty, gates, state};
use crate::partners::Asking;
use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;
use crate::store::jobs::JobRecord;
use crate::store::sessions::SessionRow;

/// How long a node that waits for a partner waits before it asks again, in milliseconds.
const PARTNER_POLL_MILLIS: u64 = 2_000;
/// The rules of what is tested in a burn-in alone.
const TESTS: [&str; 2] = ["fitness/network-test", "fitness/gpu-test"];

impl Service {
    /// Asks for a burn-in of a node.
    ///
    /// # Errors
    /// If the time is out of range, or the node's state does not allow a job.
    pub async fn burn_in(
        &self,
        id: NodeId,
        request: &BurnInRequest,
        requested_by: &str,
    ) -> Result<ReimageReply, Refusal> {
        let minutes = request.minutes;
        if !(1..=BURN_IN_MINUTES_MAX).contains(&minutes) {
            return Err(Refusal::bad_request(
                format!("a burn-in of {minutes} minutes is not between 1 and {BURN_IN_MINUTES_MAX}"),
                "give a time in that range (`--minutes`)",
            ));
        }
        let mut change = self.change(id).await?;
        check_allowed(&change.node, change.job.as_ref())?;
        if change.node.unfinished.is_some() {
            return Err(Refusal::conflict(
                format!("work on the disks of node {id} was begun and never finished"),
                "let it be finished first (`reprieve reimage NODE`)",
            ));
        }
        let waiting = JobRecord::waiting(JobId(bearer::new_uuid()), id, requested_by, change.now);
        let job = JobRecord { burn_in_minutes: Some(minutes), ..waiting };
        store::jobs::insert(&mut change.transaction, &job).await?;
        let job_id = job.id;
        change.job = Some(job);
        change.note(format!("asked for by {requested_by}: a burn-in of {minutes} min"));
        change.commit().await?;
        Ok(ReimageReply::Job {
            job: Some(job_id),
            expectation: format!("it works under load in the ramdisk for {minutes} min; nothing is written"),
            destructive: false,
            entry: self.entry(id),
        })
    }

    /// Whom a node that is being burned in tests the network with.
    ///
    /// # Errors
    /// If no burn-in was asked for of the node, or it says that it tried more than it may.
    pub async fn partner(
        &self,
        session: &SessionRow,
        request: &PartnerRequest,
        address: IpAddr,
    ) -> Result<PartnerReply, Refusal> {
        if request.tried.len() > PARTNERS_MAX {
            return Err(Refusal::bad_request(
                format!("a node tests with at most {PARTNERS_MAX} partners"),
                "report what was measured",
            ));
        }
        let mut reading = self.store.read().await?;
        let node = node_by_id(&mut reading, session.node).await?;
        let job = store::jobs::open_of(&mut reading, node.id).await?;
        let asked = |job: &JobRecord| job.burn_in_minutes.is_some() && state::wants_ramdisk(&job.state);
        if !job.as_ref().is_some_and(asked) {
            return Err(Refusal::conflict("no burn-in was asked for of this node", "report what was seen"));
        }
        let pool = &node.assignment.pool;
        if request.tried.len() < PARTNERS_MAX {
            let asking = Asking {
                node: node.id,
                session: session.hash,
                pool,
                address,
                link_megabits: request.link_megabits,
                tried: &request.tried,
            };
            if let Some(found) = self.partners.ask(&asking, &bearer::random_bytes()?, Instant::now()) {
                return Ok(PartnerReply::Found(found));
            }
            let others = store::jobs::burned_in(&mut reading).await?;
            for other in
                others.into_iter().filter(|other| *other != node.id && !request.tried.contains(other))
            {
                let other = store::nodes::by_id(&mut reading, other).await?;
                if other.is_some_and(|other| other.assignment.pool == *pool) {
                    return Ok(PartnerReply::Wait { poll_after_millis: PARTNER_POLL_MILLIS });
                }
            }
        }
        self.partners.leave(node.id);
        Ok(PartnerReply::Nobody)
    }
}

/// Keeps what came of working the GPUs for a burn-in: the running system does that before it goes into the ramdisk,
/// which cannot, and the burn-in is judged with it. Once the ramdisk looks, the running system does not run.
pub(super) fn take_gpu_tests(change: &mut Change<'_>, evidence: &Evidence) {
    let tested = verdict::gpu_test::tested(evidence);
    let Some(job) = change.job.as_mut().filter(|job| job.burn_in_minutes.is_some()) else { return };
    if tested.is_empty() || !matches!(job.state, JobState::Waiting | JobState::Booting { .. }) {
        return;
    }
    let known = verdict::gpu_test::merged(&job.gpu_tests, tested);
    if known == job.gpu_tests {
        return;
    }
    let right = |test: &&GpuTest| {
        [&test.wrong_answers, &test.memory_errors].into_iter().all(|errors| errors.value() == Some(&0))
    };
    let text = format!(
        "the running system worked its GPUs: {} of {} gave no wrong answer and no memory error",
        known.iter().filter(right).count(),
        known.len()
    );
    job.gpu_tests = known;
    change.note(text);
}

/// Whether a burn-in was asked for and done, and the node goes on as it was. What forbids only writing (no
/// image is assigned, the node is protected) is nothing against a node that is not written; but it must not hide
/// that an operator's rule found something, or that the burn-in was not done.
pub(super) fn is_done(change: &Change<'_>, decision: &Decision) -> bool {
    let asked = change.job.as_ref().is_some_and(|job| job.burn_in_minutes.is_some());
    asked
        && match decision.action {
            Action::LookDeeper => false,
            Action::Quarantine => gates::only_forbids(decision) && gates::beside(decision).is_none(),
            Action::Keep | Action::Repair | Action::Reimage | Action::Wipe => true,
        }
}

/// The machine was burned in, and nothing is wrong with it that would take it out.
///
/// # Errors
/// If the job was not looking.
pub(super) fn end(
    change: &mut Change<'_>,
    decision: &Decision,
    policy: &Policy,
) -> Result<Instruction, Refusal> {
    // Nobody asked whether the node has to be wiped: the job has no verdict that the ledger could book as saved.
    change.take(state::keep)?;
    change.note("burned in; nothing was written");
    // What was not tested takes no node out (nobody was there, the GPUs were in use), and whoever asked wants to
    // know it.
    let tests = decision.findings.iter().filter(|found| TESTS.contains(&found.rule.as_str()));
    for found in tests.filter(|found| found.severity == Severity::Unknown) {
        change.note(found.statement.clone());
    }
    if decision.action != Action::Keep {
        change.note(format!(
            "beside the burn-in the verdict is {:?}; ask for that by itself (`reprieve reimage NODE`)",
            decision.action
        ));
    }
    if empty::is_empty(&change.node) {
        return Ok(wait("burned in; its disks are nobody's; waits for something to do"));
    }
    let kexec = policy.boot_method() == BootMethod::Kexec;
    Ok(Instruction::BootLocal { reason: "burned in; nothing was written".to_owned(), kexec })
}
