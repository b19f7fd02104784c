//! Bodies in, bounded; JSON and refusals out.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use contract::operator_api::ErrorKind;
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// The longest body of a small request, in bytes.
pub const SMALL_BYTES_MAX: usize = 64 << 10;
/// The longest report, in bytes.
pub const REPORT_BYTES_MAX: usize = 8 << 20;
/// The longest list of chunks, in bytes.
pub const CHUNK_LIST_BYTES_MAX: usize = 1 << 20;
/// The longest chunk as it is sent, in bytes.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;
/// The longest manifest as it is sent, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 64 << 20;

/// For so much of an announced body there is memory at once, in bytes.
const HINT_BYTES_MAX: u64 = 2 << 20;

/// How much of a refused body is taken in, in bytes.
const DRAINED_BYTES_MAX: usize = 16 << 20;
/// For how long a refused body is taken in.
const DRAINED_FOR_MAX: Duration = Duration::from_secs(5);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.kind {
            ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Protected => StatusCode::FORBIDDEN,
            ErrorKind::Unconfirmed => StatusCode::PRECONDITION_REQUIRED,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Corrupt => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(self.body())).into_response()
    }
}

/// A JSON answer that nobody may keep.
#[derive(Debug)]
pub struct Answer<T>(pub T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        ([(header::CACHE_CONTROL, "no-store")], axum::Json(self.0)).into_response()
    }
}

/// Reads a body of at most `bytes_max` bytes.
///
/// # Errors
/// If it is longer or does not arrive whole.
pub async fn read(headers: &HeaderMap, mut body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal::new(
            ErrorKind::TooLarge,
            format!("the body is longer than {bytes_max} bytes"),
            "send less at once",
        )
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        // A client that asked first (RFC 9110 section 10.1.1) is answered before it sends anything: to
        // take a byte of the body would tell it to go on.
        if !headers.contains_key(header::EXPECT) {
            drain(body).await;
        }
        return Err(too_large());
    }
    // What is announced is a hint, and memory is not given for more than a chunk on a word alone.
    let hint = announced.map_or(0, |length| length.min(HINT_BYTES_MAX));
    let mut bytes = BytesMut::with_capacity(usize::try_from(hint).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Refusal::bad_request("the body did not arrive whole", "send it again"))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > bytes_max {
            drain(body).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes.freeze())
}

/// Takes in a little of what is refused: a client that is still sending when the connection closes
/// does not see the refusal.
async fn drain(mut body: Body) {
    let mut left = DRAINED_BYTES_MAX;
    let drained = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Time up or bytes up, the refusal goes out.
    let _ = tokio::time::timeout(DRAINED_FOR_MAX, drained).await;
}

/// Reads a JSON body of at most `bytes_max` bytes.
///
/// # Errors
/// If it is longer or not what is expected. The message says where, never what: it may be a secret.
pub async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<T, Refusal> {
    let bytes = read(headers, body, bytes_max).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "is JSON but not what is expected here",
            _ => "is not JSON",
        };
        Refusal::bad_request(
            format!("the body {what} (line {}, column {})", error.line(), error.column()),
            "see the documentation of this call",
        )
    })
}

/// The bearer of a request.
///
/// # Errors
/// If there is none.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .filter(|bearer| !bearer.is_empty() && bearer.len() <= 1024)
        .ok_or_else(Refusal::unauthorized)
}

/// Gives refusals that the routing layer makes (a path or query that is not UTF-8, a request that took
/// too long) the form of all others.
pub async fn refuse_in_our_form(response: Response) -> Response {
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let status = response.status();
    if json
        || !(status.is_client_error() || status.is_server_error())
        || status == StatusCode::RANGE_NOT_SATISFIABLE
    {
        return response;
    }
    let kind = if status.is_server_error() { ErrorKind::Internal } else { ErrorKind::BadRequest };
    let refusal = Refusal::new(kind, format!("the request was refused: {status}"), "see docs/api.md");
    (status, axum::Json(refusal.body())).into_response()
}

/// For paths that there are not.
pub async fn no_such_path() -> Result<Infallible, Refusal> {
    Err(Refusal::not_found("there is no such path", "see docs/api.md for those that there are"))
}

/// For methods that a path does not know.
pub async fn no_such_method() -> Response {
    let refusal = Refusal::bad_request("this path does not know this method", "see docs/api.md");
    (StatusCode::METHOD_NOT_ALLOWED, axum::Json(refusal.body())).into_response()
}
