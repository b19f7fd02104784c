//! The technician's word on how a node boots, as `contract::boot_proof` says.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use contract::boot_proof::{ForgetBootRequest, TrustBootRequest};
use contract::operator_api::NodeView;

use crate::attestation::golden;
use crate::http::body::{self, Answer, SMALL_BYTES_MAX};
use crate::http::nodes::view;
use crate::http::operator::{authorize, find};
use crate::jobs::change::Change;
use crate::refusal::Refusal;
use crate::service::Service;

/// How long a reason may be, in characters.
const WHY_MAX: usize = 200;

/// The paths for it.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/nodes/{node}/trust-boot", post(trust_boot))
        .route("/v1/nodes/{node}/forget-boot", post(forget_boot))
}

/// One line that says something.
fn checked<'a>(why: &'a str, what: &str) -> Result<&'a str, Refusal> {
    let why = why.trim();
    if why.is_empty() || why.chars().count() > WHY_MAX || why.contains(char::is_control) {
        return Err(Refusal::bad_request(
            format!("the reason is empty, longer than {WHY_MAX} characters, or more than one line"),
            format!("say in a few words why {what}"),
        ));
    }
    Ok(why)
}

async fn trust_boot(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<NodeView>, Refusal> {
    authorize(&service, &headers)?;
    let request: TrustBootRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    let why = checked(&request.why, "this boot is right")?;
    let mut change = service.change(find(&service, &reference).await?).await?;
    let boot = &change.node.boot;
    let shown_at = if request.system { boot.system_shown_at() } else { boot.shown_at() };
    if shown_at.is_some_and(|shown_at| shown_at != request.shown_at) {
        return Err(Refusal::conflict(
            format!("node {} has shown another boot since the one that was looked at", change.node.id),
            "look at it (`reprieve node show NODE`) and record it then",
        ));
    }
    if request.system {
        record_system(&service, &mut change, why, request.for_model).await?;
    } else {
        record_ramdisk(&service, &mut change, why, request.for_model).await?;
    }
    if change.job.is_some() {
        change.note(format!("the boot was recorded as right: {why}"));
    }
    let (node, job) = change.commit().await?;
    tracing::info!(node = %node.id, why, "the boot was recorded as right");
    let mut reading = service.store.read().await?;
    let golden_boots = golden::of(&mut reading, &node).await?;
    Ok(Answer(NodeView { golden_boots, ..view(&service, node, job.map(|job| job.id)) }))
}

async fn record_ramdisk(
    service: &Service,
    change: &mut Change<'_>,
    why: &str,
    for_model: bool,
) -> Result<(), Refusal> {
    let now = change.now;
    change.node.boot.record_last(why, now).map_err(|error| {
        Refusal::conflict(
            format!("the last boot of node {} cannot be recorded: {error}", change.node.id),
            "boot it from the network and look again (`reprieve node show NODE`)",
        )
    })?;
    if for_model { service.record_golden(change, why).await } else { Ok(()) }
}

async fn record_system(
    service: &Service,
    change: &mut Change<'_>,
    why: &str,
    for_model: bool,
) -> Result<(), Refusal> {
    let (images, now) = (change.node.images.clone(), change.now);
    let recorded = change.node.boot.record_system(&images, why, now);
    let (image, measured) = recorded.map_err(|error| {
        Refusal::conflict(
            format!("how the system of node {} boots cannot be recorded: {error}", change.node.id),
            "look at what was shown (`reprieve node show NODE`)",
        )
    })?;
    if for_model { service.record_golden_system(change, (image, &measured), why).await } else { Ok(()) }
}

async fn forget_boot(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<NodeView>, Refusal> {
    authorize(&service, &headers)?;
    let request: ForgetBootRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    let why = checked(&request.why, "no proof of this node's boots is to be missed")?;
    let mut change = service.change(find(&service, &reference).await?).await?;
    if request.for_model {
        service.forget_golden(&mut change).await?;
    } else if !change.node.boot.forget() {
        return Err(Refusal::conflict(
            format!("nobody has recorded how node {} boots", change.node.id),
            "nothing to forget",
        ));
    }
    if change.job.is_some() {
        change.note(format!("how the node boots was forgotten: {why}"));
    }
    let (node, job) = change.commit().await?;
    let of_model = request.for_model;
    tracing::warn!(node = %node.id, of_model, why, "how the node boots was forgotten");
    let mut reading = service.store.read().await?;
    let golden_boots = golden::of(&mut reading, &node).await?;
    Ok(Answer(NodeView { golden_boots, ..view(&service, node, job.map(|job| job.id)) }))
}
