//! The calls of `contract::agent_api`, each bounded in time and in size.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use contract::agent_api::{
    Begin, ContextReply, EnrollReply, EnrollRequest, Finish, Instruction, Progress, Report, ResidentIdentity,
};
use contract::id::{ChunkDigest, ImageId, OrderId};
use contract::node_data::SeedFiles;
use contract::operator_api::ErrorBody;
use contract::secret::Secret;
use ed25519_dalek::VerifyingKey;
use imaging::chunk::STORED_BYTES_MAX;
use imaging::manifest::{MANIFEST_BYTES_MAX, Manifest};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backoff::{Backoff, chance};
use super::trust::{Pin, tls_configuration};
use crate::act::service::{Answer, Service};

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an ordinary call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long `next` may take: the service holds it open for 30 s.
const NEXT_TIMEOUT: Duration = Duration::from_secs(45);
/// How long fetching a manifest or a chunk may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);
/// No answer of the API is longer.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How often a call is tried that work under way depends on; with the waits between, about a minute.
const TRIES_MAX: u32 = 8;
/// The memory of so many chunks is kept.
const IDLE_MAX: usize = 16;
/// Refusals are shown up to this length.
const MESSAGE_CHARACTERS_MAX: usize = 400;

/// Why a call did not work.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service could not be reached, or the connection broke off.
    #[error("cannot reach the service to {what}")]
    Unreachable {
        /// What was asked.
        what: &'static str,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The service answered that it cannot just now.
    #[error("the service cannot {what} just now ({status})")]
    Busy {
        /// What was asked.
        what: &'static str,
        /// HTTP status.
        status: StatusCode,
    },
    /// The service refused.
    #[error("the service refused to {what} ({status}): {message}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// The answer cannot be understood.
    #[error("the service's answer when asked to {what} cannot be understood: {why}")]
    Malformed {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl CallError {
    /// Whether the same call may work later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }
}

/// Where images come from and by whom they are signed.
#[derive(Debug, Clone)]
struct Images {
    base_url: String,
    key: VerifyingKey,
}

/// A connection to the service.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    urls: Vec<String>,
    /// Which of the addresses worked last.
    current: AtomicUsize,
    bearer: RwLock<Option<Secret>>,
    images: RwLock<Option<Images>>,
    /// Memory of chunks, to be used again: new memory costs a fault for each page.
    idle: Mutex<Vec<Vec<u8>>>,
}

/// What a call carries.
struct Call<'a, B> {
    what: &'static str,
    method: Method,
    path: &'a str,
    body: Option<&'a B>,
    timeout: Duration,
}

impl Client {
    /// Prepares to speak to the service at any of these addresses. Nothing is sent yet.
    ///
    /// # Errors
    /// If there is no address or TLS cannot be set up.
    pub fn new(urls: Vec<String>, pin: Pin, bearer: Option<Secret>) -> anyhow::Result<Self> {
        anyhow::ensure!(!urls.is_empty(), "no address of the service is known");
        anyhow::ensure!(
            urls.iter().all(|url| url.starts_with("https://")),
            "the address of the service must begin with https://"
        );
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_configuration(pin)?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(Duration::from_secs(30))
            .build()?;
        let current = AtomicUsize::new(0);
        let (bearer, images) = (RwLock::new(bearer), RwLock::new(None));
        Ok(Self { http, urls, current, bearer, images, idle: Mutex::default() })
    }

    /// Introduces the machine; from then on the session is used.
    ///
    /// # Errors
    /// As every call: see [`CallError`].
    pub async fn enroll(&self, request: &EnrollRequest) -> Result<EnrollReply, CallError> {
        let reply: EnrollReply =
            self.post("enroll this machine", "/v1/agent/enroll", request, CALL_TIMEOUT).await?;
        if let Ok(mut bearer) = self.bearer.write() {
            *bearer = Some(reply.session.clone());
        }
        self.remember_images(&reply.context);
        Ok(reply)
    }

    /// What to judge with.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn context(&self) -> Result<ContextReply, CallError> {
        let reply: ContextReply =
            self.get("say what to judge with", "/v1/agent/context", CALL_TIMEOUT).await?;
        self.remember_images(&reply);
        Ok(reply)
    }

    /// Where images come from, as a context says. A key that cannot be read leaves none: then no image
    /// is believed.
    pub fn remember_images(&self, context: &ContextReply) {
        let mut bytes = [0; 32];
        let key = hex::decode_to_slice(&context.image_key, &mut bytes)
            .ok()
            .and_then(|()| VerifyingKey::from_bytes(&bytes).ok());
        let base_url = context.image_base_url.trim_end_matches('/').to_owned();
        if let Ok(mut images) = self.images.write() {
            *images = key.map(|key| Images { base_url, key });
        }
    }

    /// Hands in evidence and what the agent makes of it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn report(&self, report: &Report) -> Result<Instruction, CallError> {
        self.post("take a report", "/v1/agent/report", report, CALL_TIMEOUT).await
    }

    /// What to do next; held open by the service until there is something, up to 30 s.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn next(&self) -> Result<Instruction, CallError> {
        self.get("say what is next", "/v1/agent/next", NEXT_TIMEOUT).await
    }

    /// Hands in how an order ended.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn finish(&self, finish: &Finish) -> Result<Instruction, CallError> {
        self.post("take the end of an order", "/v1/agent/finish", finish, CALL_TIMEOUT).await
    }

    async fn post<B: Serialize, R: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        body: &B,
        timeout: Duration,
    ) -> Result<R, CallError> {
        let call = Call { what, method: Method::POST, path, body: Some(body), timeout };
        parse(what, &self.call(&call).await?)
    }

    async fn get<R: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        timeout: Duration,
    ) -> Result<R, CallError> {
        let call = Call::<()> { what, method: Method::GET, path, body: None, timeout };
        parse(what, &self.call(&call).await?)
    }

    /// Sends to the address that worked last; if that cannot be reached the next call tries the next one.
    async fn call<B: Serialize>(&self, call: &Call<'_, B>) -> Result<Vec<u8>, CallError> {
        let index = self.current.load(Ordering::Relaxed);
        let base = self.urls[index % self.urls.len()].trim_end_matches('/');
        let mut request =
            self.http.request(call.method.clone(), format!("{base}{}", call.path)).timeout(call.timeout);
        let bearer = self.bearer.read().ok().and_then(|bearer| bearer.clone());
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer.reveal());
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let answer = receive(call.what, request, ANSWER_BYTES_MAX, Vec::new()).await;
        if matches!(answer, Err(CallError::Unreachable { .. })) {
            self.current.store(index.wrapping_add(1), Ordering::Relaxed);
        }
        answer
    }

    /// Fetches something of an image.
    async fn fetch(
        &self,
        what: &'static str,
        path: &str,
        bytes_max: usize,
        memory: Vec<u8>,
    ) -> Result<Vec<u8>, CallError> {
        let images = self.images.read().ok().and_then(|images| images.clone());
        let Some(images) = images else {
            let why = "the service has not said where images are".to_owned();
            return Err(CallError::Malformed { what, why });
        };
        let url = format!("{}{path}", images.base_url);
        receive(what, self.http.get(url).timeout(FETCH_TIMEOUT), bytes_max, memory).await
    }

    /// Memory that a chunk was in, if there is any.
    fn idle_memory(&self) -> Vec<u8> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// The signed manifest of an image as it came; whoever opens it checks it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn sealed_manifest(&self, image: ImageId) -> Result<Vec<u8>, CallError> {
        let path = format!("/images/{image}/manifest");
        self.fetch("hand out an image's manifest", &path, MANIFEST_BYTES_MAX, Vec::new()).await
    }

    async fn try_manifest(&self, image: ImageId) -> Result<Manifest, CallError> {
        let what = "hand out an image's manifest";
        let sealed = self.sealed_manifest(image).await?;
        let key = self.images.read().ok().and_then(|images| images.as_ref().map(|images| images.key));
        let malformed = |why: String| CallError::Malformed { what, why };
        let key = key.ok_or_else(|| malformed("no key of images is known".to_owned()))?;
        imaging::signed::open(&sealed, &key, image).map_err(|error| malformed(error.to_string()))
    }
}

/// Sends a request and takes at most `bytes_max` bytes of answer, into this memory.
async fn receive(
    what: &'static str,
    request: reqwest::RequestBuilder,
    bytes_max: usize,
    mut body: Vec<u8>,
) -> Result<Vec<u8>, CallError> {
    let unreachable = |source| CallError::Unreachable { what, source };
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    // What the service says of the length is a hint, and bounded like the body itself.
    let expected = response.content_length().unwrap_or(0).min(bytes_max as u64);
    body.clear();
    body.reserve(usize::try_from(expected).unwrap_or(0));
    while let Some(piece) = response.chunk().await.map_err(unreachable)? {
        if body.len() + piece.len() > bytes_max {
            return Err(CallError::Malformed { what, why: format!("it is longer than {bytes_max} bytes") });
        }
        body.extend_from_slice(&piece);
    }
    if status.is_success() {
        return Ok(body);
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(CallError::Busy { what, status });
    }
    Err(CallError::Refused { what, status, message: refusal(&body) })
}

fn refusal(body: &[u8]) -> String {
    let message = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => format!("{}; {}", body.message, body.hint),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    message.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARACTERS_MAX).collect()
}

fn parse<R: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<R, CallError> {
    // An empty answer is `null`, so that calls without an answer need no case of their own.
    let body = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| CallError::Malformed { what, why: error.to_string() })
}

/// Tries until it works, cannot work, or `tries_max` is used up (0: no limit). Says what it waits for.
///
/// # Errors
/// The last error.
pub async fn persist<T, F>(tries_max: u32, mut attempt: impl FnMut() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut backoff = Backoff::default();
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let wait = backoff.next(chance());
        if !error.may_pass() || (tries_max > 0 && backoff.failures() >= tries_max) {
            return Err(error);
        }
        let cause = std::error::Error::source(&error).map(innermost).unwrap_or_default();
        tracing::warn!("{error}{cause}; trying again in {:.1} s", wait.as_secs_f64());
        tokio::time::sleep(wait).await;
    }
}

/// The root of a chain of errors, which is what a person can do something about.
fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    format!(": {error}")
}

impl Service for Client {
    fn begin(&self, order: OrderId, step: u32) -> Answer<'_, ()> {
        Box::pin(async move {
            let begin = Begin { order, step };
            let what = "record that a step begins";
            let path = "/v1/agent/begin";
            let call = || async {
                let call =
                    Call { what, method: Method::POST, path, body: Some(&begin), timeout: CALL_TIMEOUT };
                self.call(&call).await.map(|_| ())
            };
            Ok(persist(TRIES_MAX, call).await?)
        })
    }

    fn progress(&self, progress: Progress) -> Answer<'_, ()> {
        Box::pin(async move {
            let (what, path) = ("take progress", "/v1/agent/progress");
            let call =
                Call { what, method: Method::POST, path, body: Some(&progress), timeout: CALL_TIMEOUT };
            self.call(&call).await?;
            Ok(())
        })
    }

    fn credential(&self) -> Answer<'_, ResidentIdentity> {
        Box::pin(async move {
            let (what, path) = ("make a credential", "/v1/agent/credential");
            let call = || async {
                let call = Call::<()> { what, method: Method::POST, path, body: None, timeout: CALL_TIMEOUT };
                parse(what, &self.call(&call).await?)
            };
            Ok(persist(TRIES_MAX, call).await?)
        })
    }

    fn node_data(&self) -> Answer<'_, SeedFiles> {
        Box::pin(async move {
            let (what, path) = ("hand out the node's data", "/v1/agent/node-data");
            Ok(persist(TRIES_MAX, || self.get(what, path, CALL_TIMEOUT)).await?)
        })
    }

    fn manifest(&self, image: ImageId) -> Answer<'_, Manifest> {
        Box::pin(async move { Ok(persist(TRIES_MAX, || self.try_manifest(image)).await?) })
    }

    fn chunk(&self, digest: ChunkDigest) -> Answer<'_, Vec<u8>> {
        Box::pin(async move {
            let path = format!("/chunks/{digest}");
            let what = "hand out a chunk";
            Ok(persist(TRIES_MAX, || self.fetch(what, &path, STORED_BYTES_MAX, self.idle_memory())).await?)
        })
    }

    fn take_back(&self, stored: Vec<u8>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(stored);
        }
    }
}
