//! Why a request is refused: what every fallible path of the API ends in.

use contract::operator_api::{ErrorBody, ErrorKind};

use crate::store::StoreError;

/// What to do about a change at the same time.
const CHANGED_HINT: &str = "try again";

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

    /// Whether the same request may be granted when it is made again and nobody has done anything: the service
    /// failed, or something was changed at the same time.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.kind == ErrorKind::Internal || (self.kind == ErrorKind::Conflict && self.hint == CHANGED_HINT)
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
                Self::conflict(format!("{what} was changed meanwhile"), CHANGED_HINT)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_by_itself_is_passing() {
        let changed = Refusal::from(StoreError::Changed { what: "node".to_owned() });
        let table = [
            (Refusal::internal("disk full"), true),
            (changed, true),
            (Refusal::conflict("the node has a job", "wait for it"), false),
            (Refusal::not_found("no such node", "list them"), false),
            (Refusal::unauthorized(), false),
        ];
        for (refusal, passing) in table {
            assert_eq!(refusal.is_passing(), passing, "{refusal}");
        }
    }
}
