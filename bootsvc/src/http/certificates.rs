//! The technician's API for erasing, as `contract::certificate_api` says.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contract::certificate_api::{CertificateKey, CertificateView, ErasePreview};
use contract::decision::SanitizeLevel;
use contract::id::{CertificateId, DiskId, JobId};
use serde::Deserialize;

use crate::http::body::Answer;
use crate::http::operator::{authorize, find};
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::certificates::Wanted;

/// The paths for previews and certificates.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/nodes/{node}/erase-preview", get(preview))
        .route("/v1/certificates", get(certificates))
        .route("/v1/certificates/{certificate}", get(certificate))
        .route("/v1/certificate-key", get(key))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviewQuery {
    level: Option<SanitizeLevel>,
}

async fn preview(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    Query(query): Query<PreviewQuery>,
    headers: HeaderMap,
) -> Result<Answer<ErasePreview>, Refusal> {
    authorize(&service, &headers)?;
    let node = find(&service, &reference).await?;
    service.erase_preview(node, query.level).await.map(Answer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    node: Option<String>,
    disk: Option<DiskId>,
    job: Option<JobId>,
}

async fn certificates(
    State(service): State<Arc<Service>>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Result<Answer<Vec<CertificateView>>, Refusal> {
    authorize(&service, &headers)?;
    let node = match &query.node {
        Some(reference) => Some(find(&service, reference).await?),
        None => None,
    };
    let mut reading = service.store.read().await?;
    let wanted = Wanted { node, disk: query.disk, job: query.job };
    Ok(Answer(store::certificates::list(&mut reading, &wanted).await?))
}

async fn certificate(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    authorize(&service, &headers)?;
    let none = || {
        let id: String = id.chars().take(80).collect();
        Refusal::not_found(format!("there is no certificate {id:?}"), "list the certificates")
    };
    let known: CertificateId = id.parse().map_err(|_| none())?;
    let mut reading = service.store.read().await?;
    let file = store::certificates::file_by_id(&mut reading, known).await?.ok_or_else(none)?;
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "application/json")];
    Ok((headers, file).into_response())
}

async fn key(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Answer<CertificateKey>, Refusal> {
    authorize(&service, &headers)?;
    service.certificate_key().map(Answer)
}
