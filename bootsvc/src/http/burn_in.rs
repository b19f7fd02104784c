//! The path of burn-ins, as `contract::burn_in` says.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use contract::burn_in::BurnInRequest;
use contract::operator_api::ReimageReply;

use crate::http::body::{self, Answer, SMALL_BYTES_MAX};
use crate::http::operator::{authorize, find};
use crate::refusal::Refusal;
use crate::service::Service;

/// The path of burn-ins.
pub fn router() -> Router<Arc<Service>> {
    Router::new().route("/v1/nodes/{node}/burn-in", post(burn_in))
}

async fn burn_in(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<ReimageReply>, Refusal> {
    authorize(&service, &headers)?;
    let request: BurnInRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    let id = find(&service, &reference).await?;
    service.burn_in(id, &request, "operator").await.map(Answer)
}
