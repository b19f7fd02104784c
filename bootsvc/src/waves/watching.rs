//! Whether nodes that have the image stay well, and whether anything else speaks against going on.
//!
//! A node that is through was well when its system first reported. What its running system finds afterwards is
//! in its newest verdict, which is looked at until the wave ends: one that takes the node out is a failure of
//! the wave, and the readiness of any other is the one that counts.

use std::collections::BTreeMap;

use contract::decision::{Action, Decision};
use contract::id::{NodeId, UnixMillis, WaveId};
use contract::wave::{NodeResult, WaveState};
use verdict::waves::{self, Tick};

use crate::jobs::gates;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::waves::WaveRecord;

impl Service {
    /// Takes the new verdicts of nodes in that have the image.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn watch(
        &self,
        wave: WaveId,
        nodes: &mut [(NodeId, NodeResult)],
    ) -> Result<(), Refusal> {
        let mut reading = self.store.read().await?;
        let new = store::waves::new_verdicts(&mut reading, wave).await?;
        drop(reading);
        if new.is_empty() {
            return Ok(());
        }
        let new: BTreeMap<NodeId, Decision> =
            new.into_iter().map(|decision| (decision.node, decision)).collect();
        let mut transaction = self.store.write().await?;
        for (node, result) in nodes {
            let (Some(decision), NodeResult::Good { score_before, .. }) = (new.get(node), &*result) else {
                continue;
            };
            let now = stays(decision, *score_before);
            store::waves::set_seen(&mut transaction, wave, *node, decision.evidence).await?;
            if now != *result {
                store::waves::set_result(&mut transaction, wave, *node, &now).await?;
                *result = now;
            }
        }
        store::commit(transaction).await?;
        Ok(())
    }

    /// What follows now: from its nodes, unless an incident is open that nobody has looked at.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn look(
        &self,
        wave: &WaveRecord,
        nodes: &[(NodeId, NodeResult)],
        now: UnixMillis,
    ) -> Result<Tick, Refusal> {
        if matches!(wave.state, WaveState::Rolling(_) | WaveState::Baking(_)) {
            let mut reading = self.store.read().await?;
            if let Some(because) = open_incident(&mut reading, wave).await?
                && let Ok(state) = waves::halt(wave.state.clone(), &because, now)
            {
                return Ok(Tick { state, begin: 0, event: Some(format!("halted: {because}")) });
            }
        }
        let in_force = self.policies.of(&wave.pool);
        let facts = waves::facts(nodes.iter().map(|(_, result)| result));
        Ok(waves::tick(wave.state.clone(), &facts, &in_force.policy, now))
    }
}

/// What a node's newest verdict makes of one that has the image. One that only forbids to write (the node was
/// protected since) says nothing of the image.
fn stays(decision: &Decision, score_before: Option<u64>) -> NodeResult {
    if decision.action == Action::Quarantine && !gates::only_forbids(decision) {
        let because = decision.reasons.first().map_or("no reason given", |it| it.statement.as_str());
        let why = format!("quarantine since it has the image: {because}").chars().take(500).collect();
        return NodeResult::Failed { why, job: None, score_before };
    }
    let score_after = decision.readiness.as_ref().map(|readiness| readiness.score);
    NodeResult::Good { score_before, score_after }
}

/// The incident among a wave's nodes, its pool or the site that nobody has looked at yet, in words; none if
/// there is none.
///
/// # Errors
/// If the database fails.
pub(super) async fn open_incident(
    connection: &mut sqlx::AnyConnection,
    wave: &WaveRecord,
) -> Result<Option<String>, Refusal> {
    let incident = store::incidents::open_about(connection, &wave.pool, wave.id).await?;
    Ok(incident.map(|incident| {
        format!(
            "{} of {} nodes of {} wanted {}; look at it first (`reprieve blast-radius release {} --why …`)",
            incident.wanting, incident.nodes, incident.group, incident.alike, incident.id
        )
    }))
}
