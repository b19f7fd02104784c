//! The technician's API for what became of verdicts, as `contract::ledger` says.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use contract::id::EvidenceId;
use contract::ledger::{LedgerEntry, OutcomeRequest, SavingsReport};
use serde::Deserialize;

use crate::http::body::{self, Answer, SMALL_BYTES_MAX};
use crate::http::operator::{authorize, find};
use crate::ledger::LISTED_MAX;
use crate::refusal::Refusal;
use crate::service::Service;

/// The paths for outcomes and savings.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/nodes/{node}/outcome", post(outcome))
        .route("/v1/ledger", get(entries))
        .route("/v1/savings", get(savings))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MonthQuery {
    month: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntriesQuery {
    month: String,
    after: Option<EvidenceId>,
    limit: Option<usize>,
}

async fn outcome(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<LedgerEntry>, Refusal> {
    authorize(&service, &headers)?;
    let request: OutcomeRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    let node = find(&service, &reference).await?;
    service.outcome(node, &request).await.map(Answer)
}

async fn entries(
    State(service): State<Arc<Service>>,
    Query(query): Query<EntriesQuery>,
    headers: HeaderMap,
) -> Result<Answer<Vec<LedgerEntry>>, Refusal> {
    authorize(&service, &headers)?;
    let most = query.limit.unwrap_or(LISTED_MAX);
    service.ledger_of(&query.month, query.after, most).await.map(Answer)
}

async fn savings(
    State(service): State<Arc<Service>>,
    Query(query): Query<MonthQuery>,
    headers: HeaderMap,
) -> Result<Answer<SavingsReport>, Refusal> {
    authorize(&service, &headers)?;
    service.savings_report(&query.month).await.map(Answer)
}
