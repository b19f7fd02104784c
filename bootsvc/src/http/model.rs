//! The technician's API for the model, as `contract::model_api` says. Nothing here changes anything.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use contract::model_api::ModelView;

use crate::http::body::Answer;
use crate::http::operator::authorize;
use crate::refusal::Refusal;
use crate::service::Service;

/// The paths for the model.
pub fn router() -> Router<Arc<Service>> {
    Router::new().route("/v1/model", get(show))
}

async fn show(State(service): State<Arc<Service>>, headers: HeaderMap) -> Result<Answer<ModelView>, Refusal> {
    authorize(&service, &headers)?;
    let (in_force, status) = (service.models.current(), service.models.status());
    Ok(Answer(ModelView {
        digest: in_force.model.digest(),
        text: in_force.text.clone(),
        read_at: Some(status.read_at),
        problem: status.problem,
    }))
}
