//! An image goes to a pool in stages. When it goes on is decided in `verdict::waves`; here its nodes are asked
//! for the image, one request each with all the checks of one, and it is looked at what became of them.
//!
//! Everything is durable before anything begins: a node's turn is written down, then its job is asked for. After
//! a crash in between, the next tick finds the job by who asked for it, or asks again.

mod requests;
mod watching;

pub use requests::{Word, no_wave};

use std::collections::BTreeSet;
use std::time::Duration;

use contract::assignment::DataOwner;
use contract::id::{JobId, NodeId, UnixMillis, WaveId};
use contract::operator_api::{JobState, ReimageReply, ReimageRequest};
use contract::wave::{NodeResult, WaveState};

use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;
use crate::store::jobs::JobRecord;
use crate::store::waves::WaveRecord;

/// How often waves are looked at.
const INTERVAL: Duration = Duration::from_secs(15);

/// Who asks for a wave's jobs.
fn requested_by(wave: WaveId) -> String {
    format!("wave {wave}")
}

/// The wave that asked for a job.
#[must_use]
pub fn wave_of(job: &JobRecord) -> Option<WaveId> {
    job.requested_by.strip_prefix("wave ")?.parse().ok()
}

impl Service {
    /// Looks at all open waves: what became of their nodes, and who comes next. One that cannot be looked at is
    /// said in the log and stops no other.
    ///
    /// # Errors
    /// If the waves cannot be read.
    pub async fn tick_waves(&self, now: UnixMillis) -> Result<(), Refusal> {
        let mut reading = self.store.read().await?;
        let open = store::waves::open(&mut reading).await?;
        drop(reading);
        for wave in open {
            let id = wave.id;
            if let Err(error) = self.tick_wave(wave, now).await {
                tracing::error!(wave = %id, %error, "could not look at a wave; it is looked at again");
            }
        }
        Ok(())
    }

    /// Looks at waves until the process ends.
    pub async fn keep_rolling_waves(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = self.tick_waves(crate::clock::now()).await {
                tracing::error!(%error, "could not look at the waves");
            }
        }
    }

    /// Looks at one wave, as it was read. What a person says to it meanwhile goes before.
    ///
    /// # Errors
    /// If the database fails, or the wave was changed meanwhile.
    pub async fn tick_wave(&self, mut wave: WaveRecord, now: UnixMillis) -> Result<(), Refusal> {
        let mut nodes = self.nodes_now(&wave).await?;
        self.watch(wave.id, &mut nodes).await?;
        let tick = self.look(&wave, &nodes, now).await?;
        let next = nodes.iter().filter(|(_, result)| *result == NodeResult::Waiting).map(|(node, _)| *node);
        let begin = usize::try_from(tick.begin).unwrap_or(usize::MAX);
        let begin: Vec<NodeId> = next.take(begin).collect();
        if tick.state != wave.state {
            if let (WaveState::Halted(halted), id) = (&tick.state, wave.id) {
                self.counters.add("waves.halted");
                tracing::error!(wave = %id, because = halted.because, "a wave was halted; somebody must look");
            }
            if let Some(event) = tick.event {
                wave.note(now, event);
            }
            wave.state = tick.state;
            let mut transaction = self.store.write().await?;
            store::waves::save(&mut transaction, &mut wave).await?;
            store::commit(transaction).await?;
        }
        for node in begin {
            self.begin_node(&wave, node).await?;
        }
        // A turn that was written down and not taken, because the service ended in between.
        for (node, result) in nodes {
            if matches!(result, NodeResult::Begun { .. }) {
                self.ask_node(&wave, node, result).await?;
            }
        }
        Ok(())
    }

    /// What became of each node until now; what has changed is written down.
    async fn nodes_now(&self, wave: &WaveRecord) -> Result<Vec<(NodeId, NodeResult)>, Refusal> {
        let mut reading = self.store.read().await?;
        let mut nodes = store::waves::nodes(&mut reading, wave.id).await?;
        let failed = store::waves::failed_since(&mut reading, wave.id, wave.started_at).await?;
        let failed: BTreeSet<NodeId> = failed.into_iter().collect();
        let mut changed = Vec::new();
        for (node, result) in &mut nodes {
            let now = match result {
                NodeResult::Working { job, score_before }
                | NodeResult::Failed { job: Some(job), score_before, .. } => {
                    let (id, job) = (*job, store::jobs::by_id(&mut reading, *job).await?);
                    Some(became(&mut reading, *node, id, job.as_ref(), *score_before).await?)
                }
                NodeResult::Good { score_before, .. } if failed.contains(node) => {
                    let why = "it was taken out, or failed, since".to_owned();
                    Some(NodeResult::Failed { why, job: None, score_before: *score_before })
                }
                _ => None,
            };
            if let Some(now) = now.filter(|now| now != result) {
                changed.push((*node, now.clone()));
                *result = now;
            }
        }
        drop(reading);
        if !changed.is_empty() {
            let mut transaction = self.store.write().await?;
            for (node, result) in &changed {
                store::waves::set_result(&mut transaction, wave.id, *node, result).await?;
            }
            store::commit(transaction).await?;
        }
        Ok(nodes)
    }

    /// It is a node's turn, if the wave still goes on: that is written down, then it is asked.
    async fn begin_node(&self, wave: &WaveRecord, node: NodeId) -> Result<(), Refusal> {
        let mut transaction = self.store.write().await?;
        if !goes_on(&mut transaction, wave).await? {
            return Ok(());
        }
        let result = NodeResult::Begun { score_before: score(&mut transaction, node).await? };
        store::waves::set_result(&mut transaction, wave.id, node, &result).await?;
        store::commit(transaction).await?;
        self.ask_node(wave, node, result).await
    }

    /// Asks for the image on one node, unless that was done before. What may pass by itself leaves it its turn:
    /// it is asked again at the next look.
    async fn ask_node(&self, wave: &WaveRecord, node: NodeId, begun: NodeResult) -> Result<(), Refusal> {
        let NodeResult::Begun { score_before } = begun else { return Ok(()) };
        let result = match self.open_of_wave(wave, node).await? {
            Some(job) => NodeResult::Working { job, score_before },
            None if !self.still_goes_on(wave).await? => return Ok(()),
            None => match self.ask_for_image(wave, node, score_before).await {
                Ok(result) => result,
                Err(refusal) if refusal.is_passing() => {
                    tracing::error!(wave = %wave.id, %node, %refusal, "a node of a wave could not be asked; it is asked again");
                    return Ok(());
                }
                Err(refusal) => NodeResult::Skipped { why: refusal.message },
            },
        };
        let mut transaction = self.store.write().await?;
        store::waves::set_result(&mut transaction, wave.id, node, &result).await?;
        store::commit(transaction).await?;
        Ok(())
    }

    async fn still_goes_on(&self, wave: &WaveRecord) -> Result<bool, Refusal> {
        goes_on(&mut *self.store.read().await?, wave).await
    }

    /// The open job that this wave has asked for.
    async fn open_of_wave(&self, wave: &WaveRecord, node: NodeId) -> Result<Option<JobId>, Refusal> {
        let mut reading = self.store.read().await?;
        let open = store::jobs::open_of(&mut reading, node).await?;
        Ok(open.filter(|job| wave_of(job) == Some(wave.id)).map(|job| job.id))
    }

    /// What a node says to the image; refused as any request for it would be.
    async fn ask_for_image(
        &self,
        wave: &WaveRecord,
        id: NodeId,
        score_before: Option<u64>,
    ) -> Result<NodeResult, Refusal> {
        let skipped = |why: String| Ok(NodeResult::Skipped { why });
        let mut reading = self.store.read().await?;
        let node = node_by_id(&mut reading, id).await?;
        drop(reading);
        if node.assignment.image == Some(wave.image) {
            return skipped("it has the image already, or was asked to have it".to_owned());
        }
        if node.assignment.pool != wave.pool {
            return skipped(format!("it was moved to pool {}", node.assignment.pool));
        }
        if node.protected {
            return skipped("it is protected".to_owned());
        }
        // A wave brings an image; whose data are on a node, and that they go, is for a request of its own.
        let same_tenant =
            matches!((&node.data_owner, &node.assignment.tenant), (DataOwner::Tenant(a), Some(b)) if a == b);
        if !same_tenant {
            return skipped("its disks do not hold the data of the tenant that it is for".to_owned());
        }
        let request = ReimageRequest {
            image: Some(wave.image.to_string()),
            tenant: None,
            at_least: None,
            sanitize_level: None,
            why: None,
            outside_windows: false,
            dry_run: false,
            from_ramdisk: false,
            confirm_serial: None,
            confirmed: true,
        };
        match self.reimage(id, &request, &requested_by(wave.id)).await? {
            ReimageReply::Job { job: Some(job), .. } => Ok(NodeResult::Working { job, score_before }),
            ReimageReply::Job { job: None, .. } => skipped("no job was made for it".to_owned()),
            ReimageReply::NothingToDo { decision } => {
                let score_after = decision.readiness.map(|readiness| readiness.score);
                Ok(NodeResult::Good { score_before, score_after })
            }
        }
    }
}

/// Whether a wave stands as it was read, and is one that begins nodes: a person may have halted it, or given it
/// up, since.
async fn goes_on(connection: &mut sqlx::AnyConnection, wave: &WaveRecord) -> Result<bool, Refusal> {
    let now = store::waves::by_id(connection, wave.id).await?;
    Ok(now.is_some_and(|now| {
        now.version == wave.version && matches!(now.state, WaveState::Rolling(_) | WaveState::Baking(_))
    }))
}

/// How ready a node is, as its last verdict has it.
async fn score(connection: &mut sqlx::AnyConnection, node: NodeId) -> Result<Option<u64>, Refusal> {
    let last = store::evidence::last_decision(connection, node).await?;
    Ok(last.and_then(|last| last.decision.readiness).map(|readiness| readiness.score))
}

/// What became of a job. A held one may yet be released, and counts as failed until then.
async fn became(
    connection: &mut sqlx::AnyConnection,
    node: NodeId,
    id: JobId,
    job: Option<&JobRecord>,
    score_before: Option<u64>,
) -> Result<NodeResult, Refusal> {
    let failed = |why: &str, job| {
        let why = why.chars().take(500).collect();
        NodeResult::Failed { why, job, score_before }
    };
    Ok(match job.map(|job| &job.state) {
        None => failed("its job is not known any more", None),
        Some(JobState::Done { .. }) => {
            let score_after = score(connection, node).await?;
            NodeResult::Good { score_before, score_after }
        }
        Some(JobState::Held { .. }) if job.is_some_and(|job| job.waits_for_window) => {
            NodeResult::Working { job: id, score_before }
        }
        Some(JobState::Held { reason }) => failed(reason, Some(id)),
        Some(JobState::RolledBack { reason }) => failed(reason, None),
        Some(JobState::Cancelled) => failed("its job was cancelled", None),
        Some(
            JobState::Waiting
            | JobState::Booting { .. }
            | JobState::Looking
            | JobState::Ordered
            | JobState::Acting { .. }
            | JobState::ComingUp,
        ) => NodeResult::Working { job: id, score_before },
    })
}
