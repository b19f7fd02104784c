//! What technicians ask the service about the model. Beside [`crate::operator_api`], with the same bearer.
//!
//! | call | carries |
//! |---|---|
//! | `GET /v1/model` | → [`ModelView`] |

use serde::{Deserialize, Serialize};

use crate::id::{ModelDigest, UnixMillis};

/// The model that verdicts are made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelView {
    /// The digest that verdicts name.
    pub digest: ModelDigest,
    /// What stands in its file, or the built-in one.
    pub text: String,
    /// When the file was read that is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<UnixMillis>,
    /// Why the file as it is now was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelStatus {
    /// The digest that verdicts name.
    pub digest: ModelDigest,
    /// When the file was read that is in force.
    pub read_at: UnixMillis,
    /// Why the file as it is now was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
