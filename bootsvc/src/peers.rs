//! What is usual for the same hardware in other nodes. What is compared, and what the middle of it is, is said
//! in `verdict::peers`; here it is kept.
//!
//! The values of a look are taken in the transaction that takes its report, after it was judged, if it was deep
//! enough and ended in nothing worse than watch. So what was taken out for being slow is never the measure of
//! others. Middles change at any time by the reports of other nodes; agent and service judge with the same,
//! because what an agent in the ramdisk was told is kept with its session.

use contract::assignment::{NodeContext, PeerValue};
use contract::decision::{Decision, Fitness};
use contract::evidence::Evidence;
use contract::gpu_test::GpuTest;
use contract::id::Digest;
use contract::reading::{Tier, Trust};

use crate::jobs::change::Change;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::nodes::NodeRecord;

/// What is usual for the hardware that a node showed last, and for the GPUs that its running system tested, which
/// the ramdisk cannot name; nothing for one that was never looked at.
///
/// # Errors
/// If the database fails.
pub(crate) async fn usual_for(
    connection: &mut sqlx::AnyConnection,
    node: &NodeRecord,
    gpu_tests: &[GpuTest],
) -> Result<Vec<PeerValue>, Refusal> {
    let mut models = node.inventory.as_ref().map(verdict::peers::models).unwrap_or_default();
    models.extend(verdict::peers::models_of_gpus(gpu_tests));
    models.sort();
    models.dedup();
    Ok(store::peers::usual(connection, &models).await?)
}

/// An agent in the ramdisk is judged with what it was told, whatever became usual meanwhile.
///
/// # Errors
/// If the database fails.
pub(crate) async fn as_told(
    change: &mut Change<'_>,
    context: &mut NodeContext,
    trust: Trust,
) -> Result<(), Refusal> {
    if trust >= Trust::Ramdisk {
        context.peers = store::peers::frozen(&mut change.transaction, context.node).await?;
    }
    Ok(())
}

/// Takes in what a look measured, if it may be the measure of others.
///
/// # Errors
/// If the database fails.
pub(crate) async fn learn(
    change: &mut Change<'_>,
    evidence: &Evidence,
    context: &NodeContext,
    decision: &Decision,
) -> Result<(), Refusal> {
    let deep = evidence.trust >= Trust::Ramdisk && evidence.tier >= Tier::T2;
    if !deep || !change.node.approved || decision.fitness > Fitness::Watch {
        return Ok(());
    }
    let (node, now) = (change.node.id, change.now);
    let mut measures = verdict::peers::measures(evidence);
    if evidence.tier == Tier::T3 {
        measures.extend(verdict::peers::measures_of_gpus(&context.gpu_tests));
    }
    Ok(store::peers::learn(&mut change.transaction, node, &measures, now).await?)
}

impl Service {
    /// Keeps with a session what its agent is told now of others and of its management controller, so that it is
    /// judged with the same.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn freeze_told(&self, session: Digest, told: &NodeContext) -> Result<(), Refusal> {
        let mut transaction = self.store.write().await?;
        store::peers::freeze(&mut transaction, session, &told.peers).await?;
        store::bmc::freeze(&mut transaction, session, told.bmc.as_ref()).await?;
        store::commit(transaction).await?;
        Ok(())
    }
}
