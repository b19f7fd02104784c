//! What comes back when the service is asked, taken within bounds, and why nothing usable does.

use std::time::Duration;

use contract::operator_api::ErrorBody;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;

/// Refusals are shown up to this length.
const MESSAGE_CHARACTERS_MAX: usize = 400;

/// Why a call did not work.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service could not be reached, or the connection broke off.
    #[error("cannot reach the service to {what}")]
    Unreachable {
        /// What was asked.
        what: &'static str,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The connection stands, and nothing comes over it.
    #[error("the service was asked to {what}, and nothing has come for {} s", stalled.as_secs_f32())]
    Stalled {
        /// What was asked.
        what: &'static str,
        /// For how long.
        stalled: Duration,
    },
    /// The service answered that it cannot just now.
    #[error("the service cannot {what} just now ({status})")]
    Busy {
        /// What was asked.
        what: &'static str,
        /// HTTP status.
        status: StatusCode,
    },
    /// The service refused.
    #[error("the service refused to {what} ({status}): {message}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// The answer cannot be understood.
    #[error("the service's answer when asked to {what} cannot be understood: {why}")]
    Malformed {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl CallError {
    /// Whether the same call may work later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.is_of_the_address() || matches!(self, Self::Busy { .. })
    }

    /// Whether another address of the service may do better.
    pub(super) fn is_of_the_address(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Stalled { .. })
    }
}

/// How much an answer may be, and how long nothing of it may come.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub bytes: usize,
    pub stall: Duration,
}

/// Sends a request and takes the answer, within its bounds, into this memory.
pub(super) async fn receive(
    what: &'static str,
    request: reqwest::RequestBuilder,
    bounds: Bounds,
    mut body: Vec<u8>,
) -> Result<Vec<u8>, CallError> {
    let bytes_max = bounds.bytes;
    let unreachable = |source| CallError::Unreachable { what, source };
    let stalled = |_| CallError::Stalled { what, stalled: bounds.stall };
    let answered = tokio::time::timeout(bounds.stall, request.send()).await.map_err(stalled)?;
    let mut response = answered.map_err(unreachable)?;
    let status = response.status();
    // What the service says of the length is a hint, and bounded like the body itself.
    let expected = response.content_length().unwrap_or(0).min(bytes_max as u64);
    body.clear();
    body.reserve(usize::try_from(expected).unwrap_or(0));
    loop {
        let piece = tokio::time::timeout(bounds.stall, response.chunk()).await.map_err(stalled)?;
        let Some(piece) = piece.map_err(unreachable)? else { break };
        if body.len() + piece.len() > bytes_max {
            return Err(CallError::Malformed { what, why: format!("it is longer than {bytes_max} bytes") });
        }
        body.extend_from_slice(&piece);
    }
    if status.is_success() {
        return Ok(body);
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(CallError::Busy { what, status });
    }
    Err(CallError::Refused { what, status, message: refusal(&body) })
}

fn refusal(body: &[u8]) -> String {
    let message = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => format!("{}; {}", body.message, body.hint),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    message.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARACTERS_MAX).collect()
}

pub(super) fn parse<R: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<R, CallError> {
    // An empty answer is `null`, so that calls without an answer need no case of their own.
    let body = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| CallError::Malformed { what, why: error.to_string() })
}
