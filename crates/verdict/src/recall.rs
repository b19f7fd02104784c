//! What later verdicts remember of this one.

use contract::assignment::{PastFinding, PastRemedy, Recalled};
use contract::decision::{Axis, Decision, Finding, Fitness, Severity};
use contract::outlook::Remedy;
use contract::reading::Tier;

use crate::judge::Conclusion;

/// The rule that only remembers: it must not keep itself alive.
pub(crate) const RECENTLY_WATCHED: &str = "fitness/recently-watched";

/// How many findings are remembered of one look.
const FOUND_MAX: usize = 64;

/// What is kept of a decision in the node's history. `tier`: how deep that look went.
#[must_use]
pub fn recall(decision: &Decision, tier: Tier) -> Recalled {
    let rule = decision.reasons.first().map(|reason| reason.rule.clone());
    recalled(decision.fitness, &decision.findings, rule, &decision.remedies, tier)
}

/// The same of what was concluded without words.
#[must_use]
pub fn recall_conclusion(conclusion: &Conclusion, tier: Tier) -> Recalled {
    let rule = conclusion.first_rule.clone();
    recalled(conclusion.fitness, &conclusion.findings, rule, &conclusion.remedies, tier)
}

fn recalled(
    fitness: Fitness,
    findings: &[Finding],
    rule: Option<String>,
    remedies: &[Remedy],
    tier: Tier,
) -> Recalled {
    let remembers = |finding: &&Finding| finding.rule == RECENTLY_WATCHED;
    let found = |finding: &&Finding| finding.axis == Axis::Fitness && finding.severity != Severity::Good;
    let itself = match fitness {
        Fitness::Watch if findings.iter().filter(found).all(|finding| remembers(&finding)) => Fitness::Fit,
        as_judged => as_judged,
    };
    let remedies = remedies.iter().map(|remedy| PastRemedy {
        fix: remedy.fix,
        subject: remedy.subject.clone(),
        rule: remedy.rule.clone(),
    });
    let bad = findings.iter().filter(|finding| {
        matches!(finding.axis, Axis::Integrity | Axis::Fitness) && finding.severity != Severity::Good
    });
    let mut found: Vec<PastFinding> = bad
        .take(FOUND_MAX + 1)
        .map(|finding| PastFinding {
            rule: finding.rule.clone(),
            subject: finding.subject.clone(),
            unseen: finding.severity == Severity::Unknown,
        })
        .collect();
    let all = found.len() <= FOUND_MAX;
    found.truncate(FOUND_MAX);
    Recalled { fitness: Some(itself), rule, remedies: remedies.collect(), tier: all.then_some(tier), found }
}
