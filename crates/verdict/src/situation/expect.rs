//! What must follow from a situation, and how a decision differs from it.

use contract::decision::Decision;
use serde::Deserialize;
use serde_json::Value;

use crate::explain::explain;

/// What must follow; what is left out may be anything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The action, such as "keep".
    pub action: Option<String>,
    /// The first axis: "keep-data", "sanitize" or "undetermined".
    pub confidentiality: Option<String>,
    /// The second axis: "intact", "repair" or "reimage".
    pub integrity: Option<String>,
    /// The third axis: "fit", "watch" or "quarantine".
    pub fitness: Option<String>,
    /// The rule of the first reason.
    pub reason: Option<String>,
    /// A rule that must have found something that is not good.
    pub rule: Option<String>,
    /// No rule may have found anything that is not good.
    #[serde(default)]
    pub nothing_found: bool,
    /// What the explanation must say.
    #[serde(default)]
    pub says: Vec<String>,
    /// What the explanation may not say.
    #[serde(default)]
    pub never_says: Vec<String>,
}

impl Expected {
    pub(super) fn differences(&self, decision: &Decision) -> Vec<String> {
        let mut differences = Vec::new();
        let confidentiality = word(&decision.confidentiality, Some("verdict"));
        for (what, expected, found) in [
            ("action", &self.action, word(&decision.action, None)),
            ("confidentiality", &self.confidentiality, confidentiality),
            ("integrity", &self.integrity, word(&decision.integrity, None)),
            ("fitness", &self.fitness, word(&decision.fitness, None)),
        ] {
            if let Some(expected) = expected
                && *expected != found
            {
                differences.push(format!("{what} is {found}, not {expected}"));
            }
        }
        self.rules(decision, &mut differences);
        let told = explain(decision);
        for phrase in self.says.iter().filter(|phrase| !told.contains(phrase.as_str())) {
            differences.push(format!("the explanation does not say {phrase:?}"));
        }
        for phrase in self.never_says.iter().filter(|phrase| told.contains(phrase.as_str())) {
            differences.push(format!("the explanation says {phrase:?}"));
        }
        differences
    }

    fn rules(&self, decision: &Decision, differences: &mut Vec<String>) {
        let first = decision.reasons.first().map(|finding| &finding.rule);
        if self.reason.is_some() && self.reason.as_ref() != first {
            differences.push(format!("the first reason is {first:?}, not {:?}", self.reason));
        }
        let bad: Vec<String> = decision
            .findings
            .iter()
            .filter(|finding| finding.severity > contract::decision::Severity::Good)
            .map(|finding| format!("{}: {}", finding.rule, finding.statement))
            .collect();
        if let Some(rule) = &self.rule
            && !bad.iter().any(|found| found.split(':').next() == Some(rule))
        {
            differences.push(format!("{rule} found nothing; found was: {bad:?}"));
        }
        if self.nothing_found && !bad.is_empty() {
            differences.push(format!("something was found: {bad:?}"));
        }
    }
}

/// A value of an enum as it is written on the wire.
fn word(value: &impl serde::Serialize, tag: Option<&str>) -> String {
    let value = serde_json::to_value(value).unwrap_or(Value::Null);
    let word = tag.map_or(Some(&value), |tag| value.get(tag)).and_then(Value::as_str);
    word.unwrap_or_default().to_owned()
}
