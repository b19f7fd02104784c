//! The technician's API for waves, as `contract::wave` says.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use contract::id::WaveId;
use contract::wave::{StartWave, WaveView, WaveWord};

use crate::http::body::{self, Answer, SMALL_BYTES_MAX};
use crate::http::operator::authorize;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::waves::{Word, no_wave};

/// The paths for waves.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/waves", get(waves).post(start))
        .route("/v1/waves/{wave}", get(wave))
        .route("/v1/waves/{wave}/{word}", post(say))
}

async fn waves(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Answer<Vec<WaveView>>, Refusal> {
    authorize(&service, &headers)?;
    service.waves().await.map(Answer)
}

async fn start(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<WaveView>, Refusal> {
    authorize(&service, &headers)?;
    let request: StartWave = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    service.start_wave(&request).await.map(Answer)
}

async fn wave(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Answer<WaveView>, Refusal> {
    authorize(&service, &headers)?;
    let wave: WaveId = id.parse().map_err(|_| no_wave(&id))?;
    service.wave(wave).await.map(Answer)
}

async fn say(
    State(service): State<Arc<Service>>,
    Path((id, word)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<WaveView>, Refusal> {
    authorize(&service, &headers)?;
    let wave: WaveId = id.parse().map_err(|_| no_wave(&id))?;
    let word = match word.as_str() {
        "halt" => Word::Halt,
        "resume" => Word::Resume,
        "cancel" => Word::Cancel,
        _ => return Err(Refusal::not_found("there is no such call", "say halt, resume or cancel")),
    };
    let request: WaveWord = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    service.say_to_wave(wave, word, &request.why).await.map(Answer)
}
