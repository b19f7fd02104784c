//! A real service on loopback, over real TLS, and a machine that speaks to it. What the machine sees
//! is invented; what it makes of that is judged by the same code as on real machines.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

pub mod flow;
pub mod machine;
pub mod tpm;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use contract::id::ImageId;
use contract::operator_api::{ErrorBody, ErrorKind, ImageView, ImportReply, NodeView};
use imaging::chunk::{CHUNK_BYTES, compress, digest_of};
use imaging::manifest::{Chunk, Manifest, ManifestPartition, PartitionRole};
use reprieve_bootsvc::config::{Flags, Fragment, Input, Settings};
use reprieve_bootsvc::http::listen::Listeners;
use reprieve_bootsvc::service::Service;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// A service that listens, and what an operator needs to use it.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub service: Arc<Service>,
    pub http: SocketAddr,
    pub api: SocketAddr,
    pub client: reqwest::Client,
    pub token: String,
    task: tokio::task::JoinHandle<()>,
}

pub fn settings(state: &Path) -> Settings {
    settings_with(state, "")
}

pub fn settings_with(state: &Path, more: &str) -> Settings {
    // A test may bring addresses of its own.
    let listen = if more.contains("[http]") {
        ""
    } else {
        "[http]\nlisten = [\"127.0.0.1:0\"]\n[api]\nlisten = [\"127.0.0.1:0\"]\n"
    };
    // A test may have put a policy there.
    let policy = state.join("policy.toml");
    let policy = if policy.exists() { format!("policy = {policy:?}\n") } else { String::new() };
    let model = state.join("model.toml");
    let model = if model.exists() { format!("model = {model:?}\n") } else { String::new() };
    let text = format!(
        "state_directory = {state:?}\n{policy}{model}{listen}\
         [boot]\nkernel = \"{0}/vmlinuz\"\nramdisk = \"{0}/initrd\"\nloaders = \"{0}\"\n{more}",
        state.display()
    );
    Settings::try_from(Input::merge(Fragment::parse(&text).unwrap(), &Flags::default())).unwrap()
}

impl Bench {
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// With more in its configuration.
    pub async fn start_with(more: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), more).await
    }

    /// With a policy of its own, also after a restart.
    pub async fn start_with_policy(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
        Self::start_in(folder, "").await
    }

    /// With a model of its own, `model.toml` in its folder.
    pub async fn start_with_model(model: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.toml"), model).unwrap();
        Self::start_in(folder, "").await
    }

    pub(crate) async fn start_in(folder: tempfile::TempDir, more: &str) -> Self {
        // A second test in the same process finds it installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let state = folder.path();
        std::fs::write(state.join("vmlinuz"), b"kernel").unwrap();
        std::fs::write(state.join("undionly.kpxe"), b"loader").unwrap();
        let service = Service::open(settings_with(state, more)).await.unwrap();
        let listeners = Listeners::bind(&service.settings.http, &service.settings.api).await.unwrap();
        let (http, api) = (listeners.http[0], listeners.api[0]);
        let serving = Arc::clone(&service);
        let task = tokio::spawn(async move { listeners.serve(serving).await.unwrap() });
        let ca = reqwest::Certificate::from_pem(&std::fs::read(state.join("ca.pem")).unwrap()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let token = std::fs::read_to_string(state.join("operator.token")).unwrap().trim().to_owned();
        Self { service, http, api, client, token, task, folder }
    }

    /// Ends the service without a word, as a kill would, and starts it again on the same state.
    pub async fn restart(self) -> Self {
        self.task.abort();
        let _ = self.task.await;
        drop(self.service);
        Self::start_in(self.folder, "").await
    }

    pub fn api_url(&self, path: &str) -> String {
        format!("https://{}{path}", self.api)
    }

    pub async fn raw(&self, method: Method, path: &str, bearer: &str, body: Vec<u8>) -> reqwest::Response {
        let request = self.client.request(method, self.api_url(path)).bearer_auth(bearer).body(body);
        request.send().await.unwrap()
    }

    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        bearer: &str,
        body: &impl Serialize,
    ) -> Result<T, ErrorBody> {
        let response = self.raw(method, path, bearer, serde_json::to_vec(body).unwrap()).await;
        let status = response.status();
        let bytes = response.bytes().await.unwrap();
        if status == StatusCode::NO_CONTENT {
            return Ok(serde_json::from_str("null").unwrap());
        }
        if status.is_success() {
            return Ok(serde_json::from_slice(&bytes).unwrap());
        }
        Err(serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{status}: {bytes:?}")))
    }

    pub async fn operator<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ErrorBody> {
        self.call(method, path, &self.token, body).await
    }

    pub async fn node(&self, reference: &str) -> NodeView {
        self.operator(Method::GET, &format!("/v1/nodes/{reference}"), &()).await.unwrap()
    }

    pub async fn plain(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("http://{}{path}", self.http)).send().await.unwrap()
    }

    pub async fn script(&self, mac: &str) -> String {
        let response = self.plain(&format!("/boot/script?mac={mac}")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        response.text().await.unwrap()
    }

    /// Imports an image of 8 MiB with one chunk that is not zero.
    pub async fn import(&self, name: &str, content: u8) -> ImageView {
        let (manifest, chunk) = image(name, content);
        self.import_of(&manifest, &chunk).await
    }

    /// Imports an image without a system, for a data disk.
    pub async fn import_data(&self, name: &str, content: u8) -> ImageView {
        let (mut manifest, chunk) = image(name, content);
        manifest.partitions[0].role = PartitionRole::Other;
        self.import_of(&manifest, &chunk).await
    }

    pub async fn import_of(&self, manifest: &Manifest, chunk: &[u8]) -> ImageView {
        let name = &manifest.name;
        let begun: ImportReply =
            self.operator(Method::POST, "/v1/imports", &serde_json::json!({"name": name})).await.unwrap();
        let path = format!("/v1/imports/{}", begun.import);
        let put = format!("{path}/chunks/{}", digest_of(chunk));
        let response = self.raw(Method::PUT, &put, &self.token, compress(chunk).unwrap()).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let packed = imaging::signed::pack(&manifest.to_bytes().unwrap()).unwrap();
        let response = self.raw(Method::POST, &format!("{path}/commit"), &self.token, packed).await;
        assert_eq!(response.status(), StatusCode::OK);
        let view: ImageView = response.json().await.unwrap();
        assert_eq!(view.id, manifest.id().unwrap());
        view
    }
}

/// An image of 8 MiB with one partition; its second chunk is filled with a byte, the others are zero.
pub fn image(name: &str, content: u8) -> (Manifest, Vec<u8>) {
    let chunk = vec![content; CHUNK_BYTES];
    let mut chunks = vec![Chunk::Zero; 8];
    chunks[1] = Chunk::Stored(digest_of(&chunk));
    let manifest = Manifest {
        version: 1,
        name: name.to_owned(),
        disk_bytes: 8 << 20,
        sector_bytes: 512,
        chunk_bytes: 1 << 20,
        chunks: chunks.into(),
        partitions: vec![ManifestPartition {
            number: 1,
            type_guid: Uuid::from_u128(1),
            unique_guid: Uuid::from_u128(2),
            name: "root".to_owned(),
            first_byte: 1 << 20,
            length_bytes: 2 << 20,
            attributes: 0,
            role: PartitionRole::Root,
            immutable: None,
        }],
        root: None,
        content: imaging::manifest::Chunks::default(),
        without_agent: false,
    };
    (manifest, chunk)
}

pub fn kind_of<T: std::fmt::Debug>(result: Result<T, ErrorBody>) -> ErrorKind {
    let error = result.unwrap_err();
    assert!(!error.message.is_empty() && !error.hint.is_empty(), "{error:?}");
    error.kind
}

pub fn short(image: ImageId) -> String {
    image.to_string()[..12].to_owned()
}
