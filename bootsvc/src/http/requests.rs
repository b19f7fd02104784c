//! What a technician asks of a node, and what makes a job: a state, the image before, a burn-in.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use contract::burn_in::BurnInRequest;
use contract::history::RollbackRequest;
use contract::id::NodeId;
use contract::operator_api::{ReimageReply, ReimageRequest};
use serde::de::DeserializeOwned;

use crate::http::body::{self, Answer, SMALL_BYTES_MAX};
use crate::http::operator::{authorize, find};
use crate::refusal::Refusal;
use crate::service::Service;

/// Who asks, in the words of the job.
const REQUESTED_BY: &str = "operator";

/// The paths of requests.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/nodes/{node}/reimage", post(reimage))
        .route("/v1/nodes/{node}/rollback", post(rollback))
        .route("/v1/nodes/{node}/burn-in", post(burn_in))
}

async fn reimage(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<ReimageReply>, Refusal> {
    let (node, request): (NodeId, ReimageRequest) = asked(&service, &reference, &headers, body).await?;
    service.reimage(node, &request, REQUESTED_BY).await.map(Answer)
}

async fn rollback(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<ReimageReply>, Refusal> {
    let (node, request): (NodeId, RollbackRequest) = asked(&service, &reference, &headers, body).await?;
    service.rollback(node, &request, REQUESTED_BY).await.map(Answer)
}

async fn burn_in(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<ReimageReply>, Refusal> {
    let (node, request): (NodeId, BurnInRequest) = asked(&service, &reference, &headers, body).await?;
    service.burn_in(node, &request, REQUESTED_BY).await.map(Answer)
}

/// Of which node what is asked, if the operator asks.
async fn asked<T: DeserializeOwned>(
    service: &Service,
    reference: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(NodeId, T), Refusal> {
    authorize(service, headers)?;
    let request = body::read_json(headers, body, SMALL_BYTES_MAX).await?;
    Ok((find(service, reference).await?, request))
}
