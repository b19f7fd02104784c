//! The service's own judgement: the same evidence, with the service's facts and policy.

use contract::assignment::NodeContext;
use contract::decision::Decision;
use contract::evidence::Evidence;
use contract::id::{Digest, UnixMillis};
use contract::plan::Plan;
use verdict::model::Model;
use verdict::policy::Policy;

/// An agent's decision may be this much older or newer than the service's time.
const CLOCKS_MAY_DIFFER_MILLIS: u64 = 5 * 60_000;

/// The time to judge for: the agent's if it is near the service's, so that both get the same bytes.
#[must_use]
pub fn time_of(agents: Option<&Decision>, now: UnixMillis) -> UnixMillis {
    match agents.map(|decision| decision.decided_at) {
        Some(at) if now.millis_since(at).max(at.millis_since(now)) <= CLOCKS_MAY_DIFFER_MILLIS => at,
        _ => now,
    }
}

/// Judges.
#[must_use]
pub fn judge(
    evidence: &Evidence,
    context: &NodeContext,
    policy: &Policy,
    model: &Model,
    at: UnixMillis,
) -> Decision {
    verdict::judge::judge(evidence, context, policy, model, at)
}

/// Whether two decisions are the same, byte for byte.
#[must_use]
pub fn same(ours: &Decision, theirs: &Decision) -> bool {
    match (serde_json::to_vec(ours), serde_json::to_vec(theirs)) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        _ => false,
    }
}

/// Makes the plan that follows from a decision; none if nothing is written.
///
/// # Errors
/// Says why there can be none, in words.
pub fn plan(
    decision: &Decision,
    evidence: &Evidence,
    context: &NodeContext,
    policy: &Policy,
    seed: Digest,
) -> Result<Option<Plan>, String> {
    let may_be_clean = verdict::already_clean::disks(evidence, context, policy);
    let level = policy.tenant_change_level();
    let unfinished = context.unfinished.as_ref().map(|work| &work.plan);
    let methods = erasure::method::choose_for(decision, evidence, level, &may_be_clean, unfinished);
    verdict::plan::plan(decision, evidence, context, policy, &methods, seed)
        .map_err(|refusal| refusal.to_string())
}
