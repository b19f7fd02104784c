//! What the agent makes of its evidence: the same judgement that the service makes again for itself.

use anyhow::Context;
use contract::agent_api::ContextReply;
use contract::decision::Decision;
use contract::evidence::Evidence;
use contract::id::{Digest, UnixMillis};
use contract::plan::Plan;
use verdict::model::Model;
use verdict::policy::Policy;

/// A judgement and what follows from it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What was decided.
    pub decision: Decision,
    /// What would be done, if that is anything destructive.
    pub plan: Option<Plan>,
    /// Why there is no plan although the decision asks for one.
    pub plan_refusal: Option<String>,
}

/// Judges evidence with the service's facts and policy. `seed` is this boot's nonce.
///
/// # Errors
/// If the policy or the model cannot be read by this version.
pub fn judge(
    evidence: &Evidence,
    context: &ContextReply,
    now: UnixMillis,
    seed: Digest,
) -> anyhow::Result<Judged> {
    let policy = Policy::parse(&context.policy)
        .context("cannot read the service's policy; the agent may be older than the service")?;
    let model = Model::parse(&context.model)
        .context("cannot read the service's model; the agent may be older than the service")?;
    let decision = verdict::judge::judge(evidence, &context.node, &policy, &model, now);
    let may_be_clean = verdict::already_clean::disks(evidence, &context.node, &policy);
    let level = policy.tenant_change_level();
    let unfinished = context.node.unfinished.as_ref().map(|work| &work.plan);
    let methods = erasure::method::choose_for(&decision, evidence, level, &may_be_clean, unfinished);
    let planned = verdict::plan::plan(&decision, evidence, &context.node, &policy, &methods, seed);
    let (plan, plan_refusal) = match planned {
        Ok(plan) => (plan, None),
        Err(refusal) => (None, Some(refusal.to_string())),
    };
    Ok(Judged { decision, plan, plan_refusal })
}
