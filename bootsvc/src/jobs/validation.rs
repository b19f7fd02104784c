//! Whether a system that was written came up as what was asked for, and what follows if it did not.
//!
//! | rule | when | what follows |
//! |---|---|---|
//! | V1 | the first report agrees with the assignment | the job is done |
//! | V2 | the first report says that the image is another or altered | the image has failed |
//! | V3 | the machine came to the network too often without a report | the image has failed |
//! | V4 | no report came in time | the image has failed |
//! | V5 | the first report speaks against the hardware, or could not see enough | the node is held |
//! | V6 | the image has no agent, so that no report will come | the job is done when its work is proven |
//!
//! A failed image is taken back to the one before, once in a job, if [`way_back`] finds one; else the
//! node is held.

use std::time::Duration;

use contract::decision::{Action, Decision, Fitness, Integrity};
use contract::history::{GoingBack, PastImage};
use contract::id::{ImageId, JobId, NodeId, TenantId, UnixMillis};
use contract::operator_api::JobState;

use crate::command_lines;
use crate::jobs::change::Change;
use crate::jobs::{history, state};
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;

/// How often the service looks for systems that do not report.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// The only finding that may speak against a first report: the policy wants every node that is kept to
/// be seen from the ramdisk, and this one was, when it was written.
const SEEN_FROM_RAMDISK: &str = "request/evidence-trust";

/// For the technician who finds the node held.
const WHAT_TO_DO: &str = "Look at the console; release the hold to go on with this image, or cancel the job, release the hold and ask for another image (`reprieve rollback`, `reprieve reimage --image`)";

/// What a first report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstReport {
    /// The node is what was asked for.
    AsAsked,
    /// The image is another one, or altered.
    ImageFailed,
    /// Something else, which another image would not help.
    Otherwise,
}

/// Reads a first report.
#[must_use]
pub fn first_report(
    assigned: Option<ImageId>,
    installed: Option<ImageId>,
    decision: &Decision,
) -> FirstReport {
    let as_assigned = assigned.is_some() && installed == assigned;
    let only_trust = decision.integrity == Integrity::Intact
        && decision.fitness != Fitness::Quarantine
        && !decision.reasons.is_empty()
        && decision.reasons.iter().all(|reason| reason.rule == SEEN_FROM_RAMDISK);
    match decision.action {
        Action::Keep if as_assigned => FirstReport::AsAsked,
        Action::LookDeeper if as_assigned && only_trust => FirstReport::AsAsked,
        Action::Repair | Action::Reimage => FirstReport::ImageFailed,
        Action::Keep | Action::LookDeeper | Action::Wipe | Action::Quarantine => FirstReport::Otherwise,
    }
}

/// What decides whether a node is taken back.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The service may do it by itself.
    pub automatic: bool,
    /// Nothing destructive may be done to the node.
    pub protected: bool,
    /// It was done in this job already.
    pub went_back: bool,
    /// The images that the node had, newest first.
    pub images: &'a [PastImage],
    /// The job whose image failed.
    pub job: JobId,
    /// Whose the node is.
    pub tenant: Option<&'a TenantId>,
}

/// The image to go back to.
///
/// # Errors
/// Says why there is no way back, in words.
pub fn way_back(facts: Facts<'_>) -> Result<ImageId, String> {
    if facts.went_back {
        return Err("it was on the way back already".to_owned());
    }
    if !facts.automatic {
        return Err("going back by itself is turned off (rollback.automatic)".to_owned());
    }
    if facts.protected {
        return Err("the node is protected".to_owned());
    }
    let past = history::before(facts.images, facts.job, facts.tenant);
    past.map(|past| past.image).map_err(|none| none.to_string())
}

impl Service {
    /// V1, V2 and V5: the first report after the work.
    pub(crate) async fn validate(
        &self,
        change: &mut Change<'_>,
        installed: Option<ImageId>,
        decision: &Decision,
        summary: &str,
    ) -> Result<(), Refusal> {
        let found = installed.map_or("no image".to_owned(), |image| format!("image {image}"));
        let failed = format!(
            "the installed system's first report is not what was asked for: it carries {found}; {summary}"
        );
        match first_report(change.node.assignment.image, installed, decision) {
            FirstReport::AsAsked => come_up(change),
            FirstReport::ImageFailed => self.image_failed(change, &failed).await,
            FirstReport::Otherwise => change.hold(&failed),
        }
    }

    /// What a job wrote is not what was asked for: back to the image before, or the node is held.
    pub(crate) async fn image_failed(&self, change: &mut Change<'_>, failed: &str) -> Result<(), Refusal> {
        let job = change.job()?;
        let (id, went_back) = (job.id, job.going_back.is_some());
        let facts = Facts {
            automatic: self.settings.rollback.automatic,
            protected: change.node.protected,
            went_back,
            images: &change.node.images,
            job: id,
            tenant: change.node.assignment.tenant.as_ref(),
        };
        let to = match way_back(facts) {
            Ok(to) => to,
            // The way back is told by the hold itself.
            Err(_) if went_back => return change.hold(failed),
            Err(none) => return change.hold(&format!("{failed}. Not taken back: {none}. {WHAT_TO_DO}")),
        };
        let disk_bytes = store::images::minimum_disk_bytes(&mut change.transaction, to).await?;
        match disk_bytes {
            Some(disk_bytes) => go_back(change, to, disk_bytes, failed),
            None => change.hold(&format!(
                "{failed}. Not taken back: image {to}, which the node had before, is not stored any more. {WHAT_TO_DO}"
            )),
        }
    }

    /// V4. Finds systems that should have reported by `now` and have not. Returns how many there were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn look_for_overdue(&self, now: UnixMillis) -> Result<usize, Refusal> {
        let minutes = self.settings.boot.first_report_minutes;
        let limit_millis = u64::from(minutes) * 60_000;
        // Nobody can report to a service that is not there.
        if now.millis_since(self.started_at) <= limit_millis {
            return Ok(0);
        }
        let mut reading = self.store.read().await?;
        let waiting = store::jobs::coming_up(&mut reading).await?;
        drop(reading);
        let overdue: Vec<(NodeId, JobId)> = waiting
            .iter()
            .filter(|job| now.millis_since(job.changed_at) > limit_millis)
            .map(|job| (job.node, job.id))
            .collect();
        for (node, job) in &overdue {
            let mut change = self.change(*node).await?;
            let still = |open: &store::jobs::JobRecord| open.id == *job && open.state == JobState::ComingUp;
            if change.job.as_ref().is_some_and(still) {
                let failed = format!("the installed system did not report within {minutes} minutes");
                self.image_failed(&mut change, &failed).await?;
                change.commit().await?;
            }
        }
        Ok(overdue.len())
    }

    /// Looks for overdue systems until the process ends.
    pub async fn keep_looking_for_overdue(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if let Err(error) = self.look_for_overdue(crate::clock::now()).await {
                tracing::error!(%error, "could not look for systems that do not report");
            }
        }
    }
}

/// V1.
fn come_up(change: &mut Change<'_>) -> Result<(), Refusal> {
    let now = change.now;
    match settle(change)? {
        None => change.note("the installed system has reported and is what was asked for"),
        Some(back) => change.note(format!("the system of the image before has reported; {back}")),
    }
    record_good(change, now);
    Ok(())
}

/// Ends the job; if the node went back, with which words.
fn settle(change: &mut Change<'_>) -> Result<Option<String>, Refusal> {
    let job = change.job()?;
    let action = job.action.unwrap_or(Action::Keep);
    match job.going_back.clone() {
        None => {
            change.take(|job| state::settle(job, action))?;
            Ok(None)
        }
        Some(GoingBack { from, to, because, .. }) => {
            let reason = format!("image {from} failed: {because}. The node is back on image {to}");
            change.take(|job| state::settle_back(job, reason.clone()))?;
            Ok(Some(reason))
        }
    }
}

/// V6: what a job wrote is proven, and nobody will report from it. Whether its system comes up is not known,
/// and it does not count as an image that worked.
pub(super) async fn without_agent(change: &mut Change<'_>) -> Result<bool, Refusal> {
    let Some(image) = change.node.assignment.image else { return Ok(false) };
    let image = store::images::by_id(&mut change.transaction, image).await?;
    if !image.is_some_and(|image| image.without_agent) {
        return Ok(false);
    }
    let (now, job) = (change.now, change.job()?.id);
    let back = settle(change)?.map_or(String::new(), |back| format!("; {back}"));
    change.note(format!("the image has no agent, so no report of the installed system is waited for{back}"));
    history::unreported(&mut change.node.images, job, now);
    Ok(true)
}

/// A running system is what the node should have: one more image that is known to work on it.
pub(crate) fn record_good(change: &mut Change<'_>, now: UnixMillis) {
    let assignment = &change.node.assignment;
    if let Some(image) = assignment.image {
        history::good(&mut change.node.images, image, assignment.tenant.clone(), now);
        command_lines::learn(&mut change.node, change.job.as_ref().map(|job| job.id));
    }
}

/// The node should have the image before again, and the job starts over for it.
fn go_back(change: &mut Change<'_>, to: ImageId, disk_bytes: u64, failed: &str) -> Result<(), Refusal> {
    let now = change.now;
    change.take(state::go_back)?;
    let job = change.job()?;
    let id = job.id;
    (job.attempts, job.coming_up_boots, job.disagreements) = (0, 0, 0);
    job.action = None;
    history::failed(&mut change.node.images, id, failed, now);
    let assignment = &mut change.node.assignment;
    let from = assignment.image.replace(to).unwrap_or(to);
    assignment.image_disk_bytes = Some(disk_bytes);
    let back = GoingBack { from, to, because: failed.to_owned(), at: now };
    change.job()?.going_back = Some(back);
    tracing::warn!(node = %change.node.id, %from, %to, failed, "a node is taken back");
    change.note(format!(
        "{failed}; the node is taken back to image {to}, which it had before. If it does not come to the network by itself, reset it"
    ));
    Ok(())
}

#[cfg(test)]
mod tests;
