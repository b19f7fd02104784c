//! A situation as a person writes it down: a machine, what is different about it, and what must follow.
//!
//! One TOML file each; `tests/situations` holds those of the rules, and an operator may keep his own beside his
//! policy. A situation names a base machine and changes it:
//!
//! ```toml
//! about = "A sector was reallocated since yesterday."
//! base = "server"
//!
//! [[reading]]
//! of = "disk ata-wwn.bulk"
//! key = "ata-reallocated-sectors"
//! count = 1
//!
//! [expect]
//! action = "keep"
//! fitness = "watch"
//! rule = "fitness/ata-reallocated-sectors"
//! says = ["1 sectors reallocated since"]
//! ```
//!
//! | file | what |
//! |---|---|
//! | `text` | the words of the file |
//! | `build` | from words to evidence and context |
//! | `expect` | what must follow, and how it differs |

mod build;
mod expect;
mod text;

use contract::assignment::NodeContext;
use contract::decision::Decision;
use contract::evidence::Evidence;
use contract::id::UnixMillis;

use crate::judge::judge;
use crate::model::Model;
use crate::policy::{Policy, PolicyError};

pub use expect::Expected;

/// Why a situation cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SituationError {
    /// The text is not a situation.
    #[error("situation, {0}; see docs/situations.md for the words that there are")]
    Text(String),
    /// Its policy is not one.
    #[error("situation, its own policy: {0}")]
    Policy(#[from] PolicyError),
}

/// A machine in a state, and what must follow.
#[derive(Debug, Clone)]
pub struct Situation {
    /// What it is about, in a sentence.
    pub about: String,
    /// What was measured.
    pub evidence: Evidence,
    /// What the service knows.
    pub context: NodeContext,
    /// When it is judged.
    pub now: UnixMillis,
    /// What it changes in the policy, as TOML.
    pub policy: String,
    /// What must follow.
    pub expected: Expected,
}

impl Situation {
    /// Reads a situation.
    ///
    /// # Errors
    /// [`SituationError::Text`] names what is not understood.
    pub fn parse(text: &str) -> Result<Self, SituationError> {
        build::situation(text)
    }

    /// Judges it under these layers of policy, with its own over them.
    ///
    /// # Errors
    /// [`SituationError::Policy`] if its own policy is none.
    pub fn judge(&self, layers: &[(&str, &str)], model: &Model) -> Result<Decision, SituationError> {
        let mut layers = layers.to_vec();
        layers.push(("the situation", &self.policy));
        let policy = Policy::layered(&layers)?;
        Ok(judge(&self.evidence, &self.context, &policy, model, self.now))
    }

    /// How a decision differs from what must follow; empty if it does not.
    #[must_use]
    pub fn differences(&self, decision: &Decision) -> Vec<String> {
        self.expected.differences(decision)
    }
}
