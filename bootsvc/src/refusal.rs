//! Why a request is refused: what every fallible path of the API ends in.

use contract::operator_api::{ErrorBody, ErrorKind};

use crate::store::StoreError;

/// A refusal, with what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind.
    pub kind: ErrorKind,
    /// What was refused and why.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

impl Refusal {
    /// A refusal of any kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: hint.into() }
    }

    /// No or a wrong bearer. Says nothing about what would have been right.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(
            ErrorKind::Unauthorized,
            "no valid bearer was given",
            "send `Authorization: Bearer …`; a ramdisk's session lapses after two hours, then the machine must boot again",
        )
    }

    /// The state does not allow it.
    pub fn conflict(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message, hint)
    }

    /// The request cannot be understood.
    pub fn bad_request(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, message, hint)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message, hint)
    }

    /// The service failed. The cause goes to the log, not over the wire.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(
            ErrorKind::Internal,
            "the service failed; nothing was changed",
            "try again; the service's log has the cause",
        )
    }

    /// What goes over the wire.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        ErrorBody { kind: self.kind, message: self.message.clone(), hint: self.hint.clone() }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Changed { what } => {
                Self::conflict(format!("{what} was changed meanwhile"), "try again")
            }
            StoreError::Database { .. } | StoreError::Decode { .. } => {
                Self::internal(format!("{:#}", anyhow::Error::new(error)))
            }
        }
    }
}

impl From<crate::bearer::NoRandomness> for Refusal {
    fn from(error: crate::bearer::NoRandomness) -> Self {
        Self::internal(error)
    }
}
