//! The same decision again: what was judged once must come out the same, byte for byte.

use contract::assignment::NodeContext;
use contract::decision::Decision;
use contract::evidence::Evidence;

use crate::judge::judge;
use crate::model::Model;
use crate::policy::Policy;

/// Why a decision is not what these facts give.
#[derive(Debug, thiserror::Error)]
pub enum Difference {
    /// Another engine made it; its rules may differ.
    #[error("the decision was made by {theirs}, this is {ours}; replay it with the same version")]
    Engine {
        /// Who made the decision.
        theirs: String,
        /// Who was asked to replay it.
        ours: String,
    },
    /// The bytes differ.
    #[error("the decision is not what evidence, facts and policy give: {part} differs")]
    Differs {
        /// The first part of the decision that differs.
        part: String,
    },
    /// A decision could not be written as JSON.
    #[error("could not encode a decision for comparison")]
    Encode(#[source] serde_json::Error),
}

/// Judges again at the decision's own time and compares.
///
/// # Errors
/// [`Difference`] says what differs.
pub fn replay(
    decision: &Decision,
    evidence: &Evidence,
    context: &NodeContext,
    policy: &Policy,
    model: &Model,
) -> Result<(), Difference> {
    let again = judge(evidence, context, policy, model, decision.decided_at);
    let theirs = serde_json::to_value(decision).map_err(Difference::Encode)?;
    let ours = serde_json::to_value(&again).map_err(Difference::Encode)?;
    if decision == &again {
        return Ok(());
    }
    if decision.engine != again.engine {
        return Err(Difference::Engine { theirs: decision.engine.clone(), ours: again.engine });
    }
    let part = match (&theirs, &ours) {
        (serde_json::Value::Object(theirs), serde_json::Value::Object(ours)) => {
            ours.iter().find(|(part, value)| theirs.get(*part) != Some(value)).map(|(part, _)| part.clone())
        }
        _ => None,
    };
    Err(Difference::Differs { part: part.unwrap_or_else(|| "something".to_owned()) })
}
