//! A technician asks for a burn-in: the machine works under load in the ramdisk and is compared with its like.
//!
//! It is a job as any other, but for its end: whatever the verdict says of the software, nothing is written.
//! Where the verdict is quarantine, or the agent did not burn the machine in, the job is held as always.

use contract::agent_api::Instruction;
use contract::burn_in::{BURN_IN_MINUTES_MAX, BurnInRequest};
use contract::decision::{Action, Axis, Decision};
use contract::id::{JobId, NodeId};
use contract::operator_api::ReimageReply;
use contract::plan::BootMethod;
use verdict::policy::Policy;

use crate::bearer;
use crate::jobs::change::Change;
use crate::jobs::next::wait;
use crate::jobs::request::check_allowed;
use crate::jobs::{empty, state};
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::jobs::JobRecord;

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
}

/// Whether a burn-in was asked for and done, and the node goes on as it was. What forbids only writing (no
/// image is assigned, the node is protected) is nothing against a node that is not written.
pub(super) fn is_done(change: &Change<'_>, decision: &Decision) -> bool {
    let asked = change.job.as_ref().is_some_and(|job| job.burn_in_minutes.is_some());
    let first = decision.reasons.first().map(|finding| finding.axis);
    asked
        && match decision.action {
            Action::LookDeeper => false,
            // The strongest reasons come first, and those of the other axes before those of the request.
            Action::Quarantine => first == Some(Axis::Request),
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
    change.job()?.verdict = Some(decision.evidence);
    change.take(state::keep)?;
    change.note("burned in; nothing was written");
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
