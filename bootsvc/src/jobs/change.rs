//! How a change to a node and its job becomes durable: read under the node's lock, changed in memory,
//! written with its events in one transaction.

use contract::id::{NodeId, UnixMillis};
use contract::operator_api::JobState;
use sqlx::{Any, Transaction};

use crate::jobs::history;
use crate::jobs::state::{self, TransitionRefused};
use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;
use crate::store::jobs::JobRecord;
use crate::store::nodes::NodeRecord;

/// A node and its open job, about to change. Holds the node's lock; nothing has happened until
/// [`Change::commit`].
pub struct Change<'a> {
    service: &'a Service,
    /// The transaction; for what is written beside node and job.
    pub transaction: Transaction<'static, Any>,
    /// The node.
    pub node: NodeRecord,
    /// Its open job.
    pub job: Option<JobRecord>,
    /// Now.
    pub now: UnixMillis,
    events: Vec<String>,
    _lock: tokio::sync::OwnedMutexGuard<()>,
}

impl Service {
    /// Begins a change to a node.
    ///
    /// # Errors
    /// If there is no such node or the database fails.
    pub async fn change(&self, node: NodeId) -> Result<Change<'_>, Refusal> {
        let lock = self.locks.lock(node).await;
        let mut transaction = self.store.write().await?;
        let node = node_by_id(&mut transaction, node).await?;
        let job = store::jobs::open_of(&mut transaction, node.id).await?;
        Ok(Change {
            service: self,
            transaction,
            node,
            job,
            now: crate::clock::now(),
            events: Vec::new(),
            _lock: lock,
        })
    }
}

impl Change<'_> {
    /// Writes down that something happened in the job.
    pub fn note(&mut self, text: impl Into<String>) {
        self.events.push(text.into());
    }

    /// The open job.
    ///
    /// # Errors
    /// If there is none.
    pub fn job(&mut self) -> Result<&mut JobRecord, Refusal> {
        self.job.as_mut().ok_or_else(|| {
            Refusal::conflict("the node has no open job", "ask for a state first (`reprieve reimage NODE`)")
        })
    }

    /// Takes an edge of the job.
    ///
    /// # Errors
    /// If the job's state does not allow it.
    pub fn take(
        &mut self,
        edge: impl FnOnce(JobState) -> Result<JobState, TransitionRefused>,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let job = self.job()?;
        job.state = edge(job.state.clone()).map_err(|refused| {
            Refusal::conflict(format!("job {}: {refused}", job.id), "look at the job (`reprieve job show`)")
        })?;
        job.changed_at = now;
        job.waits_for_window &= matches!(job.state, JobState::Held { .. });
        if matches!(job.state, JobState::Booting { .. } | JobState::Looking) {
            job.began_at.get_or_insert(now);
        }
        Ok(())
    }

    /// Takes node and job out until a person has looked. On the way back to an earlier image, the reason
    /// why it was taken is told too.
    ///
    /// # Errors
    /// If the job has ended meanwhile.
    pub fn hold(&mut self, reason: &str) -> Result<(), Refusal> {
        let mut reason = reason.to_owned();
        if let Some(job) = &self.job {
            history::failed(&mut self.node.images, job.id, &reason, self.now);
            if let Some(back) = &job.going_back {
                reason = format!(
                    "{reason}; this was on the way back to image {}, because image {} had failed: {}",
                    back.to, back.from, back.because
                );
            }
        }
        self.node.hold_reason = Some(reason.clone());
        if let Some(job) = &mut self.job {
            job.waits_for_window = false;
        }
        if self.job.is_some() {
            self.take(|state| state::hold(state, reason.clone()))?;
            self.note(format!("held: {reason}"));
        }
        tracing::warn!(node = %self.node.id, reason, "node is held");
        Ok(())
    }

    /// Makes everything durable and lets those who wait look again.
    ///
    /// # Errors
    /// If the database fails; then nothing has happened.
    pub async fn commit(mut self) -> Result<(NodeRecord, Option<JobRecord>), Refusal> {
        store::nodes::save(&mut self.transaction, &mut self.node).await?;
        if let Some(job) = &mut self.job {
            for text in &self.events {
                store::jobs::note(&mut self.transaction, job.id, self.now, text).await?;
            }
            store::jobs::save(&mut self.transaction, job).await?;
            self.service.enter_ended(&mut self.transaction, job, self.now).await?;
        }
        store::commit(self.transaction).await?;
        self.service.live.changed(self.node.id);
        Ok((self.node, self.job))
    }
}
