//! The technician's API, as `contract::operator_api` says: all of its paths, who may use them, and how the
//! service is.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use contract::id::NodeId;
use contract::operator_api::StatusView;

use crate::bearer;
use crate::http::body::{self, Answer};
use crate::http::{
    blast_radius, boot_trust, certificates, jobs, ledger, model, node_data, nodes, policy, requests, waves,
};
use crate::refusal::Refusal;
use crate::service::{Service, no_node};
use crate::store;

/// The paths of the technician's API, without those for images.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/status", get(status))
        .merge(nodes::router())
        .merge(jobs::router())
        .merge(requests::router())
        .merge(blast_radius::router())
        .merge(boot_trust::router())
        .merge(certificates::router())
        .merge(ledger::router())
        .merge(model::router())
        .merge(waves::router())
        .merge(node_data::router())
        .merge(policy::router())
}

/// Lets only the operator pass. Hashes are compared, so the time it takes says nothing about the token.
///
/// # Errors
/// If the bearer is not the operator's token.
pub fn authorize(service: &Service, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = bearer::hash(body::bearer(headers)?);
    if given == service.authority.operator_token_hash { Ok(()) } else { Err(Refusal::unauthorized()) }
}

/// The node that a technician means.
///
/// # Errors
/// If there is none, or the reference fits several.
pub(super) async fn find(service: &Service, reference: &str) -> Result<NodeId, Refusal> {
    let mut reading = service.store.read().await?;
    let found = store::nodes::matching(&mut reading, reference).await?;
    match found.as_slice() {
        [node] => Ok(*node),
        [] => Err(no_node(reference)),
        _ => Err(Refusal::not_found("the reference fits several nodes", "give more of the id")),
    }
}

async fn status(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Answer<StatusView>, Refusal> {
    authorize(&service, &headers)?;
    let mut reading = service.store.read().await?;
    Ok(Answer(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        nodes: store::nodes::count(&mut reading).await?,
        jobs_open: store::jobs::count_open(&mut reading).await?,
        images: store::images::count(&mut reading).await?,
        counters: service
            .counters
            .snapshot()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        incidents: store::incidents::open(&mut reading).await?,
        policy: Some(service.policies.status()),
        model: Some(service.models.status()),
        bmc: service.controllers.status(),
    }))
}
