//! The calls for what belongs to one node, as `contract::node_data` says.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use contract::node_data::{NODE_DATA_BYTES_MAX, NodeData, NodeDataView, SeedFiles};

use crate::http::agent::ramdisk;
use crate::http::body::{self, Answer};
use crate::http::operator::{authorize, find};
use crate::refusal::Refusal;
use crate::service::Service;

/// The technician's paths.
pub fn router() -> Router<Arc<Service>> {
    Router::new().route("/v1/nodes/{node}/data", get(show).put(set).delete(clear))
}

/// The agent's path.
pub fn agent_router() -> Router<Arc<Service>> {
    Router::new().route("/v1/agent/node-data", get(files))
}

async fn show(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<Answer<NodeDataView>, Refusal> {
    authorize(&service, &headers)?;
    let node = find(&service, &reference).await?;
    service.node_data(node).await.map(Answer)
}

async fn set(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<NodeDataView>, Refusal> {
    authorize(&service, &headers)?;
    let data: NodeData = body::read_json(&headers, body, NODE_DATA_BYTES_MAX).await?;
    let node = find(&service, &reference).await?;
    service.set_node_data(node, &data).await.map(Answer)
}

async fn clear(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    authorize(&service, &headers)?;
    let node = find(&service, &reference).await?;
    service.clear_node_data(node).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn files(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Answer<SeedFiles>, Refusal> {
    let session = ramdisk(&service, &headers).await?;
    service.seed_files(&session).await.map(Answer)
}
