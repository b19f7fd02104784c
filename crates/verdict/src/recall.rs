//! What later verdicts remember of this one.

use contract::assignment::{PastRemedy, Recalled};
use contract::decision::{Axis, Decision, Finding, Fitness, Severity};

/// The rule that only remembers: it must not keep itself alive.
pub(crate) const RECENTLY_WATCHED: &str = "fitness/recently-watched";

/// What is kept of a decision in the node's history.
#[must_use]
pub fn recall(decision: &Decision) -> Recalled {
    let remembers = |finding: &&Finding| finding.rule == RECENTLY_WATCHED;
    let found = |finding: &&Finding| finding.axis == Axis::Fitness && finding.severity != Severity::Good;
    let itself = match decision.fitness {
        Fitness::Watch if decision.findings.iter().filter(found).all(|finding| remembers(&finding)) => {
            Fitness::Fit
        }
        as_judged => as_judged,
    };
    let remedies = decision.remedies.iter().map(|remedy| PastRemedy {
        fix: remedy.fix,
        subject: remedy.subject.clone(),
        rule: remedy.rule.clone(),
    });
    Recalled {
        fitness: Some(itself),
        rule: decision.reasons.first().map(|reason| reason.rule.clone()),
        remedies: remedies.collect(),
    }
}
