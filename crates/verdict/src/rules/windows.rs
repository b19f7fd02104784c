//! Destructive work begins when the policy says; what waits is still what the evidence demands.

use contract::assignment::NodeContext;
use contract::decision::Axis;
use contract::id::UnixMillis;
use contract::reading::Subject;

use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;
use crate::policy::{Policy, written};

/// R9: now is a time at which destructive work may begin. Not being one makes no verdict another: the work
/// waits, it is not left.
const WINDOW: Rule = Rule { id: "request/window", axis: Axis::Request, source: "policy: [windows]" };

/// R9, of a node that needs what `word` says.
pub(super) fn judge(facts: &Facts<'_>, word: &str) -> Option<Ruled> {
    let opens_at = written(waits_until(facts.context, facts.policy, facts.now)?);
    let seen = Seen::fact(Subject::Node, format!("closed until {opens_at}"), "a window of the policy");
    let statement =
        format!("The node needs a {word}, which waits for a window of the policy; it opens at {opens_at}.");
    Some(WINDOW.found(Demand::Watch, seen, statement))
}

/// When destructive work may begin on this node, if it may not begin now. Work that was begun is finished,
/// and a person may have asked for it at any time.
pub(crate) fn waits_until(context: &NodeContext, policy: &Policy, now: UnixMillis) -> Option<UnixMillis> {
    let waits = context.unfinished.is_none() && !context.outside_windows;
    policy.window_opens_at(now).filter(|_| waits)
}
