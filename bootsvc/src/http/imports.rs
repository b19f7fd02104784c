//! The technician's API for images.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post, put};
use contract::id::ChunkDigest;
use contract::operator_api::{ChunkList, ErrorKind, ImageView, ImportReply, ImportRequest};
use uuid::Uuid;

use crate::http::body::{
    self, Answer, CHUNK_BYTES_MAX, CHUNK_LIST_BYTES_MAX, MANIFEST_BYTES_MAX, SMALL_BYTES_MAX,
};
use crate::http::operator::authorize;
use crate::images::chunks::{ChunkRefused, verify_upload};
use crate::images::import::Upload;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;

/// The paths for images and imports.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/images", get(images))
        .route("/v1/images/{image}", get(image))
        .route("/v1/imports", post(begin))
        .route("/v1/imports/{import}/missing", post(missing))
        .route("/v1/imports/{import}/chunks/{digest}", put(chunk))
        .route("/v1/imports/{import}/commit", post(commit))
        .route("/v1/imports/{import}", delete(abandon))
}

fn import_id(text: &str) -> Result<Uuid, Refusal> {
    Uuid::parse_str(text).map_err(|_| Refusal::not_found("there is no such import", "begin the import again"))
}

async fn images(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Answer<Vec<ImageView>>, Refusal> {
    authorize(&service, &headers)?;
    let mut reading = service.store.read().await?;
    Ok(Answer(store::images::all(&mut reading).await?))
}

async fn image(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<Answer<ImageView>, Refusal> {
    authorize(&service, &headers)?;
    let mut reading = service.store.read().await?;
    service.image_by_reference(&mut reading, &reference).await.map(Answer)
}

async fn begin(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<ImportReply>, Refusal> {
    authorize(&service, &headers)?;
    let request: ImportRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    service.images.begin_import(&service.store, &request.name, crate::clock::now()).await.map(Answer)
}

async fn missing(
    State(service): State<Arc<Service>>,
    Path(import): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<ChunkList>, Refusal> {
    authorize(&service, &headers)?;
    let asked: ChunkList = body::read_json(&headers, body, CHUNK_LIST_BYTES_MAX).await?;
    let now = crate::clock::now();
    let chunks = service.images.missing(&service.store, import_id(&import)?, &asked.chunks, now).await?;
    Ok(Answer(ChunkList { chunks }))
}

async fn chunk(
    State(service): State<Arc<Service>>,
    Path((import, digest)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    authorize(&service, &headers)?;
    let import = import_id(&import)?;
    let digest: ChunkDigest = digest.parse().map_err(|error: contract::id::IdError| {
        Refusal::bad_request(error.to_string(), "name the chunk by its digest")
    })?;
    let stored = body::read(&headers, body, CHUNK_BYTES_MAX).await?;
    let checked = stored.clone();
    let length_bytes = tokio::task::spawn_blocking(move || verify_upload(&checked, digest))
        .await
        .map_err(Refusal::internal)?
        .map_err(|refused| {
            let kind = if matches!(refused, ChunkRefused::TooLong) {
                ErrorKind::TooLarge
            } else {
                ErrorKind::Corrupt
            };
            Refusal::new(kind, format!("chunk {digest} was not taken: {refused}"), "send the chunk again")
        })?;
    service.images.put_chunk(&service.store, import, Upload { digest, length_bytes, stored }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn commit(
    State(service): State<Arc<Service>>,
    Path(import): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<ImageView>, Refusal> {
    authorize(&service, &headers)?;
    let import = import_id(&import)?;
    let packed = body::read(&headers, body, MANIFEST_BYTES_MAX).await?;
    let key = service.authority.image_key.clone();
    let view = service.images.commit(&service.store, import, packed, key, crate::clock::now()).await?;
    tracing::info!(image = %view.id, name = view.name, "an image was imported");
    Ok(Answer(view))
}

async fn abandon(
    State(service): State<Arc<Service>>,
    Path(import): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    authorize(&service, &headers)?;
    service.images.abandon(&service.store, import_id(&import)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
