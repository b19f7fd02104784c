//! What technicians ask the service about the model. Beside [`crate::operator_api`], with the same bearer.
//!
//! | call | carries |
//! |---|---|
//! | `GET /v1/model` | → [`ModelView`] |

use serde::{Deserialize, Serialize};

use crate::id::ModelDigest;

/// The model that verdicts are made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelView {
    /// The digest that verdicts name.
    pub digest: ModelDigest,
    /// What stands in its file, or the built-in one.
    pub text: String,
}
