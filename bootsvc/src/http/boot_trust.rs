//! The technician's word on how a node boots, as `contract::boot_proof` says.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use contract::boot_proof::TrustBootRequest;
use contract::operator_api::NodeView;

use crate::http::body::{self, Answer, SMALL_BYTES_MAX};
use crate::http::operator::{authorize, find, view};
use crate::refusal::Refusal;
use crate::service::Service;

/// How long a reason may be, in characters.
const WHY_MAX: usize = 200;

/// The path for it.
pub fn router() -> Router<Arc<Service>> {
    Router::new().route("/v1/nodes/{node}/trust-boot", post(trust_boot))
}

async fn trust_boot(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<NodeView>, Refusal> {
    authorize(&service, &headers)?;
    let request: TrustBootRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    let why = request.why.trim();
    if why.is_empty() || why.chars().count() > WHY_MAX || why.contains(char::is_control) {
        return Err(Refusal::bad_request(
            format!("the reason is empty, longer than {WHY_MAX} characters, or more than one line"),
            "say in a few words why this boot is right",
        ));
    }
    let mut change = service.change(find(&service, &reference).await?).await?;
    let now = change.now;
    change.node.boot.record_last(why, now).map_err(|error| {
        Refusal::conflict(
            format!("the last boot of node {} cannot be recorded: {error}", change.node.id),
            "boot it from the network and look again (`reprieve node show NODE`)",
        )
    })?;
    if change.job.is_some() {
        change.note(format!("the boot was recorded as right: {why}"));
    }
    let (node, job) = change.commit().await?;
    tracing::info!(node = %node.id, why, "the boot was recorded as right");
    Ok(Answer(view(&service, node, job.map(|job| job.id))))
}
