//! Verdicts of quarantine that find nothing against the machine, but forbid to write to it: it is protected or
//! under a hold, or no image or no tenant is assigned. Pure.
//!
//! The strongest reasons of a verdict come first, and among equals those of the other axes before those of the
//! request. So where a gate is the first reason, nothing of confidentiality, integrity or fitness takes the
//! node out.

use contract::decision::{Action, Axis, Decision, Finding, Severity};

/// How the names of the operator's own rules begin. They stand among the requests, but they find something.
const OPERATORS_RULE: &str = "policy/rule-";
/// Evidence of another machine says nothing of this one.
const EVIDENCE_OF_NODE: &str = "request/evidence-of-node";
/// Whether the burn-in that was asked for was done.
const BURN_IN: &str = "fitness/burn-in";

/// Whether a verdict is quarantine only because something forbids to write.
pub(crate) fn only_forbids(decision: &Decision) -> bool {
    decision.action == Action::Quarantine && decision.reasons.first().is_some_and(is_gate)
}

/// What stands beside a gate and is more than something to be written: a rule of the operator's own, or what
/// could not be seen. The gate must not hide it from whoever writes nothing anyway.
pub(super) fn beside(decision: &Decision) -> Option<&Finding> {
    let is_open = |finding: &&Finding| {
        let could_not_be_seen = finding.severity == Severity::Unknown;
        could_not_be_seen || [OPERATORS_RULE, EVIDENCE_OF_NODE].iter().any(|it| finding.rule.starts_with(it))
    };
    // Reasons are cut where they are many; this one is looked for among all findings.
    let not_burned_in = |finding: &&Finding| finding.rule == BURN_IN && finding.severity != Severity::Good;
    decision.reasons.iter().find(is_open).or_else(|| decision.findings.iter().find(not_burned_in))
}

fn is_gate(finding: &Finding) -> bool {
    finding.axis == Axis::Request
        && !finding.rule.starts_with(OPERATORS_RULE)
        && finding.rule != EVIDENCE_OF_NODE
}
