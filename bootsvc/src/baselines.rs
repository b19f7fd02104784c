//! What later looks at a node are compared with: what its counters said when they were last found right, and
//! what its links and versions were when a person found it right. When a counter gets a baseline is decided in
//! `verdict::baseline`; here it is kept.
//!
//! Agent and service must judge with the same baselines. The agent gets them with its context; they change only
//! in the transaction that takes its report, after it was judged, or by a person, who makes the agent look
//! again. A report whose answer was lost comes twice: the second time it is judged with what it was judged with
//! the first time ([`Service::facts_for`]), and changes nothing.

use contract::assignment::NodeContext;
use contract::decision::Decision;
use contract::evidence::Evidence;
use contract::id::EvidenceId;
use verdict::golden_values;

use crate::command_lines;
use crate::jobs::change::Change;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::jobs::JobRecord;
use crate::store::nodes::NodeRecord;

impl Service {
    /// The facts to judge one run of looking with, and whether it was judged before.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn facts_for(
        &self,
        connection: &mut sqlx::AnyConnection,
        node: &NodeRecord,
        job: Option<&JobRecord>,
        evidence: EvidenceId,
    ) -> Result<(NodeContext, bool), Refusal> {
        let mut context = self.context_of(connection, node, job).await?;
        // Its own verdict is not part of its history, nor are its own counters its baselines.
        context.history.retain(|past| past.evidence != evidence);
        let before = store::evidence::context(connection, evidence).await?;
        let repeated = before.is_some();
        if let Some(before) = before {
            context.baselines = before.baselines;
            context.peers = before.peers;
            context.gpu_tests = before.gpu_tests;
            context.bmc = before.bmc;
            context.boot_trust = before.boot_trust;
            context.boot_key = before.boot_key;
            context.command_lines = before.command_lines;
        }
        Ok((context, repeated))
    }

    /// Lets the counters of a run that was judged become baselines, as far as nothing was found against them.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn learn_baselines(
        &self,
        change: &mut Change<'_>,
        evidence: &Evidence,
        decision: &Decision,
    ) -> Result<(), Refusal> {
        self.next_baselines(change, evidence, decision, false).await
    }

    /// A person has found the node right: what its counters, links and versions were at its last look is what
    /// later looks are compared with.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn accept_as_it_is(&self, change: &mut Change<'_>) -> Result<(), Refusal> {
        let last = store::evidence::last_decision(&mut change.transaction, change.node.id).await?;
        let Some(last) = last else { return Ok(()) };
        if let Some(expected) = &mut change.node.expected_hardware {
            expected.golden = golden_values::merged(&expected.golden, &last.evidence);
        }
        command_lines::accept(&mut change.node);
        self.next_baselines(change, &last.evidence, &last.decision, true).await
    }

    async fn next_baselines(
        &self,
        change: &mut Change<'_>,
        evidence: &Evidence,
        decision: &Decision,
        accepted_by_person: bool,
    ) -> Result<(), Refusal> {
        let (node, now) = (change.node.id, change.now);
        let before = store::baselines::of(&mut change.transaction, node).await?;
        let in_force = self.policies.of(&change.node.assignment.pool);
        let policy = &in_force.policy;
        let said = (decision.fitness, decision.findings.as_slice());
        let next = verdict::baseline::next(&before, evidence, said, accepted_by_person, policy, now);
        if next != before {
            store::baselines::set(&mut change.transaction, node, &next, now).await?;
        }
        Ok(())
    }
}
