//! `[[rule]]`: the operator's own rules.

use serde::{Deserialize, Serialize};

use super::expression::Expression;
use super::hold::{is_name, is_reason};
use super::section::BadValue;

/// How many rules a policy may have.
const RULES_MAX: usize = 64;

/// The least action that a rule demands. There is none that makes an action milder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RuleAction {
    Watch,
    Repair,
    Reimage,
    Sanitize,
    Quarantine,
}

/// One rule as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorRule {
    /// What people call it.
    pub name: String,
    /// When it applies: CEL over `evidence`, `node` and `now`.
    pub when: String,
    /// The least that follows.
    pub action: RuleAction,
    /// Why, in the words that the finding repeats.
    pub why: String,
}

/// A rule, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Compiled {
    pub rule: OperatorRule,
    pub when: Expression,
}

/// Reads the expressions of all rules.
///
/// # Errors
/// The first rule that cannot be meant, by name, and the nearest known name to one that is unknown.
pub(super) fn compile(rules: &[OperatorRule]) -> Result<Vec<Compiled>, (String, BadValue, Option<String>)> {
    if rules.len() > RULES_MAX {
        let problem = format!("there are more than {RULES_MAX} rules");
        return Err((String::new(), BadValue::new("rule", problem), None));
    }
    let mut compiled = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let bad = |bad| (rule.name.clone(), bad, None);
        if !is_name(&rule.name) {
            return Err(bad(BadValue::new("name", "use 1 to 64 small letters, digits and hyphens")));
        }
        if rules[..at].iter().any(|other| other.name == rule.name) {
            return Err(bad(BadValue::new("name", "is there twice")));
        }
        is_reason(&rule.why).map_err(bad)?;
        let when = Expression::parse(&rule.when)
            .map_err(|error| (rule.name.clone(), BadValue::new("when", error.problem), error.suggestion))?;
        compiled.push(Compiled { rule: rule.clone(), when });
    }
    Ok(compiled)
}
