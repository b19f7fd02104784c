//! The technician's API for what too many nodes want at once, as `contract::blast_radius` says.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use contract::blast_radius::{IncidentView, ReleaseRequest};
use contract::id::IncidentId;

use crate::http::body::{self, Answer, SMALL_BYTES_MAX};
use crate::http::operator::authorize;
use crate::jobs::blast_radius::no_incident;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;

/// The paths for incidents.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/blast-radius", get(incidents))
        .route("/v1/blast-radius/{incident}/release", post(release))
}

async fn incidents(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Answer<Vec<IncidentView>>, Refusal> {
    authorize(&service, &headers)?;
    let mut reading = service.store.read().await?;
    Ok(Answer(store::incidents::newest(&mut reading).await?))
}

async fn release(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<IncidentView>, Refusal> {
    authorize(&service, &headers)?;
    let request: ReleaseRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    let incident: IncidentId = id.parse().map_err(|_| no_incident(&id))?;
    // Whoever asks may go away; nodes that were to go on do not stay held for that.
    let releasing = tokio::spawn(async move { service.release_incident(incident, &request).await });
    releasing.await.map_err(Refusal::internal)?.map(Answer)
}
