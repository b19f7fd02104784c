//! The agent's API, as `contract::agent_api` says.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Extension, Router};
use contract::agent_api::{
    Begin, ContextReply, EnrollReply, EnrollRequest, Finish, Instruction, Progress, Report, ResidentIdentity,
};
use contract::boot_key::{BootKeyReply, BootKeyRequest};
use contract::boot_proof::{BootProof, EVENT_LOG_BYTES_MAX, SystemProof};
use contract::burn_in::{PartnerReply, PartnerRequest};

use crate::bearer;
use crate::http::body::{self, Answer, REPORT_BYTES_MAX, SMALL_BYTES_MAX};
use crate::http::endpoints::Endpoints;
use crate::http::metadata::Peer;
use crate::http::node_data;
use crate::jobs::Caller;
use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;
use crate::store::sessions::SessionRow;

// A proof with the longest event log, in hexadecimal, is read whole.
const _: () = assert!(2 * EVENT_LOG_BYTES_MAX + SMALL_BYTES_MAX <= REPORT_BYTES_MAX);

/// The paths of the agent's API.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/agent/enroll", post(enroll))
        .route("/v1/agent/boot-key", post(boot_key))
        .route("/v1/agent/boot-proof", post(boot_proof))
        .route("/v1/agent/system-proof", post(system_proof))
        .route("/v1/agent/context", get(context))
        .route("/v1/agent/report", post(report))
        .route("/v1/agent/next", get(next))
        .route("/v1/agent/begin", post(begin))
        .route("/v1/agent/progress", post(progress))
        .route("/v1/agent/burn-in-partner", post(partner))
        .route("/v1/agent/credential", post(credential))
        .route("/v1/agent/finish", post(finish))
        .merge(node_data::agent_router())
}

/// Who speaks. Bearers are looked up by hash, so the time it takes says nothing about them.
async fn caller(service: &Service, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let hash = bearer::hash(body::bearer(headers)?);
    let mut reading = service.store.read().await?;
    if let Some(session) = store::sessions::session(&mut reading, hash).await? {
        if session.expires_at <= crate::clock::now() {
            return Err(Refusal::unauthorized());
        }
        return Ok(Caller::Ramdisk(session));
    }
    match store::sessions::credential(&mut reading, hash).await? {
        Some((node, job)) => Ok(Caller::Resident { node, job }),
        None => Err(Refusal::unauthorized()),
    }
}

pub(super) async fn ramdisk(service: &Service, headers: &HeaderMap) -> Result<SessionRow, Refusal> {
    match caller(service, headers).await? {
        Caller::Ramdisk(session) => Ok(session),
        Caller::Resident { .. } => Err(Refusal::conflict(
            "only a ramdisk may do this",
            "the installed system reports and asks what is next",
        )),
    }
}

async fn enroll(
    State(service): State<Arc<Service>>,
    Extension(endpoints): Extension<Endpoints>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<EnrollReply>, Refusal> {
    let request: EnrollRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    service.enroll(&request, &endpoints).await.map(Answer)
}

async fn boot_key(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<BootKeyReply>, Refusal> {
    let session = ramdisk(&service, &headers).await?;
    let request: BootKeyRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    service.hand_out_credential(&session, &request).await.map(Answer)
}

async fn boot_proof(
    State(service): State<Arc<Service>>,
    Extension(endpoints): Extension<Endpoints>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<ContextReply>, Refusal> {
    let session = ramdisk(&service, &headers).await?;
    let proof: BootProof = body::read_json(&headers, body, REPORT_BYTES_MAX).await?;
    service.take_boot_proof(&session, &proof).await?;
    context(State(service), Extension(endpoints), headers).await
}

async fn system_proof(
    State(service): State<Arc<Service>>,
    Extension(endpoints): Extension<Endpoints>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<ContextReply>, Refusal> {
    let (node, job) = match caller(&service, &headers).await? {
        Caller::Resident { node, job } => (node, job),
        Caller::Ramdisk(_) => {
            return Err(Refusal::conflict("only an installed system may do this", "show the ramdisk's boot"));
        }
    };
    let proof: SystemProof = body::read_json(&headers, body, REPORT_BYTES_MAX).await?;
    service.take_system_proof((node, job), &proof).await?;
    context(State(service), Extension(endpoints), headers).await
}

async fn context(
    State(service): State<Arc<Service>>,
    Extension(endpoints): Extension<Endpoints>,
    headers: HeaderMap,
) -> Result<Answer<ContextReply>, Refusal> {
    let caller = caller(&service, &headers).await?;
    if let Caller::Resident { node, .. } = &caller {
        service.live.resident_spoke(*node);
    }
    let mut reading = service.store.read().await?;
    let node = node_by_id(&mut reading, caller.node()).await?;
    let job = store::jobs::open_of(&mut reading, node.id).await?;
    let mut facts = service.context_of(&mut reading, &node, job.as_ref()).await?;
    service.shown_boot(&node, &caller).tell(&mut facts);
    drop(reading);
    let boot_challenge = match &caller {
        Caller::Ramdisk(session) => {
            service.freeze_told(session.hash, &facts).await?;
            None
        }
        Caller::Resident { node, job } => Some(service.challenge_system(*node, *job)?),
    };
    let reply = service.context_reply(facts, &endpoints, crate::clock::now());
    Ok(Answer(ContextReply { boot_challenge, ..reply }))
}

async fn report(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Instruction>, Refusal> {
    // Who speaks is settled before a large body is read.
    let caller = caller(&service, &headers).await?;
    let report: Report = body::read_json(&headers, body, REPORT_BYTES_MAX).await?;
    service.report(&caller, report).await.map(Answer)
}

async fn next(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Answer<Instruction>, Refusal> {
    let caller = caller(&service, &headers).await?;
    service.next(&caller).await.map(Answer)
}

async fn begin(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let session = ramdisk(&service, &headers).await?;
    let begin: Begin = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    service.begin(&session, &begin).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn progress(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let session = ramdisk(&service, &headers).await?;
    let progress: Progress = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    service.progress(&session, progress).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn partner(
    State(service): State<Arc<Service>>,
    Extension(Peer(address)): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<PartnerReply>, Refusal> {
    let session = ramdisk(&service, &headers).await?;
    let request: PartnerRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    service.partner(&session, &request, address.to_canonical()).await.map(Answer)
}

async fn credential(
    State(service): State<Arc<Service>>,
    Extension(endpoints): Extension<Endpoints>,
    headers: HeaderMap,
) -> Result<Answer<ResidentIdentity>, Refusal> {
    let session = ramdisk(&service, &headers).await?;
    service.credential(&session, &endpoints).await.map(Answer)
}

async fn finish(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Instruction>, Refusal> {
    let session = ramdisk(&service, &headers).await?;
    let finish: Finish = body::read_json(&headers, body, REPORT_BYTES_MAX).await?;
    service.finish(&session, finish).await.map(Answer)
}
