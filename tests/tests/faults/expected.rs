//! What a look must come to: the action, all three axes, every rule that found something, and why.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use contract::decision::{Action, Confidentiality, Fitness, Integrity, Severity};
use contract::operator_api::DecisionView;

/// What a node's history adds for a while after something was found.
pub const RECENTLY_WATCHED: &str = "fitness/recently-watched";

/// What a look must come to.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub action: Action,
    pub confidentiality: Data,
    pub integrity: Integrity,
    pub fitness: Fitness,
    /// The rule of the first reason.
    pub first: &'static str,
    /// Every rule that found something.
    pub rules: &'static [&'static str],
    /// What the explanation says.
    pub words: &'static [&'static str],
}

/// The first axis, without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    Stay,
    AreErased,
}

/// A machine to which nothing was done.
pub const UNTOUCHED: Expected = Expected {
    action: Action::Keep,
    confidentiality: Data::Stay,
    integrity: Integrity::Intact,
    fitness: Fitness::Fit,
    first: "confidentiality/data-owner",
    rules: &[],
    words: &["tenant amber, who keeps the node"],
};

impl Expected {
    /// Fails unless the look came to exactly this. That something was found lately may be said besides.
    pub fn check(&self, what: &str, view: &DecisionView, explanation: &str) -> Result<()> {
        let decision = &view.decision;
        let beyond = decision.findings.iter().filter(|finding| finding.severity != Severity::Good);
        let said: Vec<String> = beyond
            .clone()
            .map(|it| format!("{} ({:?}, {}): {}", it.rule, it.severity, it.subject, it.statement))
            .collect();
        println!("{what}: {:?}\n  {}", decision.action, said.join("\n  "));
        let context = || format!("{what}: {said:#?}\n{explanation}");
        let mut rules: BTreeSet<&str> = beyond.map(|finding| finding.rule.as_str()).collect();
        let recently = !self.rules.contains(&RECENTLY_WATCHED) && rules.remove(RECENTLY_WATCHED);
        let expected: BTreeSet<&str> = self.rules.iter().copied().collect();
        ensure!(rules == expected, "not found as expected: {expected:?} but {}", context());
        let data = match decision.confidentiality {
            Confidentiality::KeepData => Data::Stay,
            Confidentiality::Sanitize { .. } | Confidentiality::Undetermined { .. } => Data::AreErased,
        };
        let fitness = if recently { self.fitness.max(Fitness::Watch) } else { self.fitness };
        let axes = (data, decision.integrity, decision.fitness);
        ensure!(axes == (self.confidentiality, self.integrity, fitness), "{axes:?}: {}", context());
        ensure!(decision.action == self.action, "{:?} instead: {}", decision.action, context());
        let first = decision.reasons.first().map(|finding| finding.rule.as_str());
        ensure!(first == Some(self.first), "the first reason is {first:?}: {}", context());
        for word in self.words {
            ensure!(explanation.contains(word), "{word:?} is not explained: {}", context());
        }
        Ok(())
    }
}
