//! Destructive work waits for the policy's windows, and goes on by itself when one opens.
//!
//! What waits is held, so that the machine stays as it is however often it comes, and is marked as held for
//! that alone: whatever else holds it takes the mark away, and then only a person lets it go on. Work that was
//! begun is never made to wait (`verdict::plan::waits_until`).

use std::time::Duration;

use contract::id::{NodeId, UnixMillis};
use contract::operator_api::ReimageRequest;
use verdict::plan::waits_until;
use verdict::policy::written;

use crate::jobs::change::Change;
use crate::jobs::state;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::nodes::NodeRecord;

/// How often the service looks whether a window has opened.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Lets a job wait until its window opens.
pub(super) fn wait_for_window(change: &mut Change<'_>, opens_at: UnixMillis) -> Result<(), Refusal> {
    change.hold(&reason(opens_at))?;
    change.job()?.waits_for_window = true;
    Ok(())
}

fn reason(opens_at: UnixMillis) -> String {
    format!(
        "waits for a window of the policy, which opens at {}; it goes on by itself then (`--outside-windows` asks for the work at any time)",
        written(opens_at)
    )
}

impl Service {
    /// When work that a request makes certain may begin, if it may not begin now.
    pub(super) fn queued_until(
        &self,
        node: &NodeRecord,
        request: &ReimageRequest,
        now: UnixMillis,
    ) -> Option<UnixMillis> {
        let waits = node.unfinished.is_none() && !request.outside_windows;
        let in_force = self.policies.of(&node.assignment.pool);
        in_force.policy.window_opens_at(now).filter(|_| waits)
    }

    /// Lets everything go on whose window is open at `now`, and says anew until when the rest waits where the
    /// policy has changed. Returns how many go on.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn open_windows(&self, now: UnixMillis) -> Result<usize, Refusal> {
        let mut reading = self.store.read().await?;
        let waiting = store::jobs::waiting_for_window(&mut reading).await?;
        drop(reading);
        let mut going_on = 0;
        for job in waiting {
            going_on += usize::from(self.open_window(job.node, now).await?);
        }
        Ok(going_on)
    }

    async fn open_window(&self, node: NodeId, now: UnixMillis) -> Result<bool, Refusal> {
        let mut change = self.change(node).await?;
        let waits = change.job.as_ref().is_some_and(|job| job.waits_for_window);
        if !waits {
            return Ok(false);
        }
        let (node, job) = (change.node.clone(), change.job.clone());
        let context = self.context_of(&mut change.transaction, &node, job.as_ref()).await?;
        let in_force = self.policies.of(&context.assignment.pool);
        let opens_at = waits_until(&context, &in_force.policy, now);
        match opens_at {
            Some(opens_at) if change.node.hold_reason.as_ref() == Some(&reason(opens_at)) => {
                return Ok(false);
            }
            Some(opens_at) => wait_for_window(&mut change, opens_at)?,
            None => {
                change.node.hold_reason = None;
                let job = change.job()?;
                (job.attempts, job.coming_up_boots, job.disagreements) = (0, 0, 0);
                change.take(state::release)?;
                change.note("work that changes disks may begin now");
            }
        }
        change.commit().await?;
        Ok(opens_at.is_none())
    }

    /// Lets what waits for a window go on when it opens, until the process ends.
    pub async fn keep_opening_windows(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if let Err(error) = self.open_windows(crate::clock::now()).await {
                tracing::error!(%error, "could not look for windows that have opened");
            }
        }
    }
}
