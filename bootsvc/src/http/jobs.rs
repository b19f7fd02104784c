//! The technician's API for jobs that there are. What makes one is in `requests`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use contract::id::JobId;
use contract::operator_api::JobView;

use crate::http::body::Answer;
use crate::http::operator::authorize;
use crate::jobs::state;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::jobs::JobRecord;

/// The paths for jobs.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/jobs", get(jobs))
        .route("/v1/jobs/{job}", get(job))
        .route("/v1/jobs/{job}/cancel", post(cancel))
}

async fn job_view(
    service: &Service,
    connection: &mut sqlx::AnyConnection,
    job: JobRecord,
    events: bool,
) -> Result<JobView, Refusal> {
    let events = if events { store::jobs::events(connection, job.id).await? } else { Vec::new() };
    Ok(JobView {
        progress: service.live.progress(job.node, job.id),
        id: job.id,
        node: job.node,
        state: job.state,
        requested_by: job.requested_by,
        created_at: job.created_at,
        changed_at: job.changed_at,
        at_least: job.at_least,
        sanitize_level: job.sanitize_level,
        why: job.why,
        steps: job.steps,
        events,
        going_back: job.going_back,
    })
}

async fn jobs(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Answer<Vec<JobView>>, Refusal> {
    authorize(&service, &headers)?;
    let mut reading = service.store.read().await?;
    let mut views = Vec::new();
    for job in store::jobs::newest(&mut reading).await? {
        views.push(job_view(&service, &mut reading, job, false).await?);
    }
    Ok(Answer(views))
}

fn no_job(text: &str) -> Refusal {
    let text: String = text.chars().take(80).collect();
    Refusal::not_found(format!("there is no job {text:?}"), "list the jobs")
}

async fn job(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Answer<JobView>, Refusal> {
    authorize(&service, &headers)?;
    let job: JobId = id.parse().map_err(|_| no_job(&id))?;
    let mut reading = service.store.read().await?;
    let job = store::jobs::by_id(&mut reading, job).await?.ok_or_else(|| no_job(&id))?;
    job_view(&service, &mut reading, job, true).await.map(Answer)
}

async fn cancel(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Answer<JobView>, Refusal> {
    authorize(&service, &headers)?;
    let job: JobId = id.parse().map_err(|_| no_job(&id))?;
    let mut reading = service.store.read().await?;
    let known = store::jobs::by_id(&mut reading, job).await?.ok_or_else(|| no_job(&id))?;
    drop(reading);
    let mut change = service.change(known.node).await?;
    if change.job.as_ref().map(|open| open.id) != Some(job) {
        return Err(Refusal::conflict(format!("job {job} has ended"), "nothing to do"));
    }
    let irreversible = change.node.unfinished.is_some();
    if change.job()?.waits_for_window {
        // Nobody has to look at a node that only waited.
        change.node.hold_reason = None;
    }
    change.take(|job| state::cancel(job, irreversible))?;
    if let Some(order) = change.job()?.order {
        let now = change.now;
        // An order that is out must not be begun any more.
        store::orders::end(&mut change.transaction, order, now).await?;
    }
    change.note("cancelled by an operator");
    change.commit().await?;
    let mut reading = service.store.read().await?;
    let job = store::jobs::by_id(&mut reading, job).await?.ok_or_else(|| no_job(&id))?;
    job_view(&service, &mut reading, job, true).await.map(Answer)
}
