//! Plain HTTP: what firmware and ramdisks fetch. Nothing here is secret but the one-time token in a
//! boot script, and nothing here is believed by its reader without a digest or a signature.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use contract::id::{ChunkDigest, ImageId};
use contract::operator_api::ErrorKind;
use netboot::loader::{ServedFile, served};
use serde::Deserialize;

use crate::http::body::{no_such_method, no_such_path};
use crate::http::content::{Caching, respond};
use crate::http::endpoints::Endpoints;
use crate::http::metadata;
use crate::refusal::Refusal;
use crate::service::{Service, parse_mac};
use crate::store;

/// The largest kernel or ramdisk, in bytes.
const BOOT_FILE_BYTES_MAX: u64 = 1 << 30;

/// The paths of plain HTTP.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/boot/script", get(script))
        .route(netboot::script::SCRIPT_PATH, get(script))
        .route("/boot/kernel", get(kernel))
        .route("/boot/ramdisk", get(ramdisk))
        .route("/images/{id}/manifest", get(manifest))
        .route("/chunks/{digest}", get(chunk))
        .merge(metadata::router())
        .fallback(get(loader).fallback(no_such_path))
        .method_not_allowed_fallback(no_such_method)
        .with_state(service)
        .layer(Extension(Arc::new(BootFiles::default())))
}

/// Whether everything that is configured to listen does.
pub async fn health(State(service): State<Arc<Service>>) -> Response {
    let Some(missing) = service.readiness.missing() else { return "ok\n".into_response() };
    let message = format!("the service does not listen for {missing} yet");
    let refusal = Refusal::new(ErrorKind::Internal, message, "ask again in a moment; its log says more");
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(refusal.body())).into_response()
}

/// What iPXE says about a machine. Other parameters are ignored: iPXE may learn to send more.
#[derive(Deserialize)]
struct ScriptQuery {
    mac: Option<String>,
}

async fn script(
    State(service): State<Arc<Service>>,
    Extension(endpoints): Extension<Endpoints>,
    Query(query): Query<ScriptQuery>,
) -> Result<Response, Refusal> {
    let mac = query.mac.ok_or_else(|| {
        Refusal::bad_request("the machine's address is missing", "add ?mac=52:54:00:12:34:56")
    })?;
    let text = service.boot_script(parse_mac(&mac)?, &endpoints).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-store")], text).into_response())
}

async fn kernel(
    State(service): State<Arc<Service>>,
    Extension(files): Extension<Arc<BootFiles>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    files.respond(&headers, service.settings.boot.kernel.clone()).await
}

async fn ramdisk(
    State(service): State<Arc<Service>>,
    Extension(files): Extension<Arc<BootFiles>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    files.respond(&headers, service.settings.boot.ramdisk.clone()).await
}

/// Loaders by their few names, wherever firmware looks: `/boot/ipxe.efi`, `/boot/loader/ipxe.efi`,
/// `/ipxe.efi` and, from UEFI HTTP Boot, `//ipxe.efi`. Never a redirect, which that firmware cannot
/// follow. The name is compared with a list; no byte of it becomes part of a path.
async fn loader(
    State(service): State<Arc<Service>>,
    Extension(endpoints): Extension<Endpoints>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let path = uri.path().trim_start_matches('/');
    let name = path.strip_prefix("boot/").unwrap_or(path).trim_start_matches('/');
    let name = name.strip_prefix("loader/").unwrap_or(name);
    match served(name) {
        Some(ServedFile::Autoexec) => {
            let text = netboot::script::autoexec(&endpoints.http_url).map_err(Refusal::internal)?;
            Ok(([(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-store")], text)
                .into_response())
        }
        Some(file) => {
            let bytes = service.loaders.get(file).ok_or_else(|| {
                Refusal::not_found(
                    "the service does not have this loader",
                    "put Debian's ipxe files where [boot] loaders says",
                )
            })?;
            let tag = contract::id::Digest::of(&bytes).to_string();
            Ok(respond(&headers, &bytes, "application/octet-stream", &tag, Caching::Revalidate))
        }
        None => Err(Refusal::not_found("there is no such path", "see docs/api.md for those that there are")),
    }
}

async fn manifest(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let missing = || Refusal::not_found("there is no such image", "list the images");
    let image: ImageId = id.parse().map_err(|_| missing())?;
    let mut reading = service.store.read().await?;
    store::images::by_id(&mut reading, image).await?.ok_or_else(missing)?;
    drop(reading);
    let bytes = tokio::fs::read(service.images.manifest_path(image)).await.map_err(|error| {
        Refusal::internal(format!("the manifest of image {image} cannot be read: {error}"))
    })?;
    Ok(respond(
        &headers,
        &Bytes::from(bytes),
        "application/octet-stream",
        &image.to_string(),
        Caching::Immutable,
    ))
}

/// A chunk is at most a little more than 1 MiB, so it is read whole: a file that shrinks under a memory
/// map would kill the service.
async fn chunk(
    State(service): State<Arc<Service>>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let missing = || Refusal::not_found("there is no such chunk", "import the image again");
    let digest: ChunkDigest = digest.parse().map_err(|_| missing())?;
    let bytes = match tokio::fs::read(service.images.chunk_path(digest)).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(Refusal::internal(format!("chunk {digest} cannot be read: {error}"))),
    };
    Ok(respond(&headers, &Bytes::from(bytes), "application/zstd", &digest.to_string(), Caching::Immutable))
}

/// Files that many machines fetch at once, kept in memory while they do not change.
#[derive(Debug, Default)]
struct BootFiles {
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    path: PathBuf,
    modified: SystemTime,
    bytes: Bytes,
    tag: String,
}

impl BootFiles {
    async fn respond(&self, headers: &HeaderMap, path: PathBuf) -> Result<Response, Refusal> {
        let kept = self.get(path).await?;
        Ok(respond(headers, &kept.bytes, "application/octet-stream", &kept.tag, Caching::Revalidate))
    }

    async fn get(&self, path: PathBuf) -> Result<Kept, Refusal> {
        let shown = path.display().to_string();
        let unreadable = |error: std::io::Error| {
            tracing::error!(path = %shown, %error, "a boot file cannot be read");
            Refusal::not_found("the service does not have this file", "look at [boot] in its configuration")
        };
        let metadata = tokio::fs::metadata(&path).await.map_err(unreadable)?;
        if metadata.len() > BOOT_FILE_BYTES_MAX {
            return Err(unreadable(std::io::Error::other("it is larger than 1 GiB")));
        }
        let modified = metadata.modified().map_err(unreadable)?;
        let fits = |kept: &&Kept| {
            kept.path == path && kept.modified == modified && kept.bytes.len() as u64 == metadata.len()
        };
        let known = self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().find(fits).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let bytes = Bytes::from(tokio::fs::read(&path).await.map_err(unreadable)?);
        let tag = contract::id::Digest::of(&bytes).to_string();
        let fresh = Kept { path: path.clone(), modified, bytes, tag };
        // As many entries as there are configured files: few.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| other.path != path);
        kept.push(fresh.clone());
        Ok(fresh)
    }
}
