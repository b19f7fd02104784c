//! The calls of `contract::agent_api`, each bounded in time and in size.

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use contract::agent_api::{
    Begin, ContextReply, EnrollReply, EnrollRequest, Finish, Instruction, Progress, Report, ResidentIdentity,
};
use contract::boot_proof::SystemProof;
use contract::burn_in::{PartnerReply, PartnerRequest};
use contract::id::{ChunkDigest, ImageId, OrderId};
use contract::node_data::SeedFiles;
use contract::secret::Secret;
use ed25519_dalek::VerifyingKey;
use imaging::chunk::STORED_BYTES_MAX;
use imaging::manifest::{MANIFEST_BYTES_MAX, Manifest};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::addresses::Addresses;
pub use super::answer::CallError;
use super::answer::{Bounds, parse, receive};
use super::backoff::{Backoff, chance};
use super::trust::{Pin, tls_configuration};
use crate::act::service::{Answer, Service};

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an ordinary call may take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long `next` may take: the service holds it open for 30 s.
const NEXT_TIMEOUT: Duration = Duration::from_secs(45);
/// How long fetching a manifest or a chunk may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a manifest or a chunk under way may bring nothing.
const FETCH_STALL: Duration = Duration::from_secs(15);
/// Addresses of the API are of this scheme; images come over either.
const API_SCHEMES: [&str; 1] = ["https://"];
const IMAGE_SCHEMES: [&str; 2] = ["http://", "https://"];
/// No answer of the API is longer.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How often a call is tried that work under way depends on; with the waits between, about a minute.
const TRIES_MAX: u32 = 8;
/// The memory of so many chunks is kept.
const IDLE_MAX: usize = 16;

/// A connection to the service.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    services: Addresses,
    bearer: RwLock<Option<Secret>>,
    /// Where images come from. What comes is checked, so it does not matter from which.
    images: Addresses,
    /// By whom images are signed; none before the service has said it.
    image_key: RwLock<Option<VerifyingKey>>,
    fetch_stall: Duration,
    /// How often a chunk or a manifest is tried.
    tries_max: u32,
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
    pub fn new(urls: &[String], pin: Pin, bearer: Option<Secret>) -> anyhow::Result<Self> {
        anyhow::ensure!(!urls.is_empty(), "no address of the service is known");
        anyhow::ensure!(
            urls.iter().all(|url| url.starts_with(API_SCHEMES[0])),
            "the address of the service must begin with https://"
        );
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_configuration(pin)?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(Duration::from_secs(30))
            .build()?;
        Ok(Self {
            http,
            services: Addresses::new(urls, &API_SCHEMES),
            bearer: RwLock::new(bearer),
            images: Addresses::default(),
            image_key: RwLock::new(None),
            fetch_stall: FETCH_STALL,
            tries_max: TRIES_MAX,
            idle: Mutex::default(),
        })
    }

    /// A client that knows where images are and has little patience, for tests.
    #[cfg(test)]
    pub fn for_images(urls: &[String], fetch_stall: Duration, tries_max: u32) -> Self {
        let nowhere = ["https://127.0.0.1:1".to_owned()];
        let client = Self::new(&nowhere, Pin::Fingerprint([0; 32]), None).unwrap();
        client.images.learn(urls, &IMAGE_SCHEMES);
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        *client.image_key.write().unwrap() = Some(key);
        Self { fetch_stall, tries_max, ..client }
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
        if let Ok(mut image_key) = self.image_key.write() {
            *image_key = key;
        }
        self.images.learn(std::slice::from_ref(&context.image_base_url), &IMAGE_SCHEMES);
        self.images.learn(&context.image_base_urls, &IMAGE_SCHEMES);
        self.learn_services(&context.service_urls);
    }

    /// Other addresses of the service. That they are the same service is for its certificate to say.
    pub fn learn_services(&self, urls: &[String]) {
        self.services.learn(urls, &API_SCHEMES);
    }

    /// Shows how the running system was started; what to judge with from then on.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn system_proof(&self, proof: &SystemProof) -> Result<ContextReply, CallError> {
        self.post("check how this system was started", "/v1/agent/system-proof", proof, CALL_TIMEOUT).await
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

    /// Whom to test the network with, in a burn-in; asked once.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn burn_in_partner(&self, request: &PartnerRequest) -> Result<PartnerReply, CallError> {
        self.post("name a partner", "/v1/agent/burn-in-partner", request, CALL_TIMEOUT).await
    }

    /// Hands in how an order ended.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn finish(&self, finish: &Finish) -> Result<Instruction, CallError> {
        self.post("take the end of an order", "/v1/agent/finish", finish, CALL_TIMEOUT).await
    }

    pub(super) async fn post<B: Serialize, R: DeserializeOwned>(
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

    /// Sends to the address that worked last; if that cannot be reached, to the others, each once.
    async fn call<B: Serialize>(&self, call: &Call<'_, B>) -> Result<Vec<u8>, CallError> {
        self.at_any(&self.services, call.what, |base| {
            let url = format!("{base}{}", call.path);
            let mut request = self.http.request(call.method.clone(), url).timeout(call.timeout);
            let bearer = self.bearer.read().ok().and_then(|bearer| bearer.clone());
            if let Some(bearer) = bearer {
                request = request.bearer_auth(bearer.reveal());
            }
            if let Some(body) = call.body {
                request = request.json(body);
            }
            receive(call.what, request, Bounds { bytes: ANSWER_BYTES_MAX, stall: call.timeout }, Vec::new())
        })
        .await
    }

    /// Fetches something of an image, from wherever it comes.
    async fn fetch(
        &self,
        what: &'static str,
        path: &str,
        bytes_max: usize,
        memory: impl Fn() -> Vec<u8>,
    ) -> Result<Vec<u8>, CallError> {
        self.image_key(what)?;
        let bounds = Bounds { bytes: bytes_max, stall: self.fetch_stall };
        self.at_any(&self.images, what, |base| {
            let request = self.http.get(format!("{base}{path}")).timeout(FETCH_TIMEOUT);
            receive(what, request, bounds, memory())
        })
        .await
    }

    /// Tries the address that worked last and then the others, each once, until one of them answers.
    async fn at_any<F>(
        &self,
        addresses: &Addresses,
        what: &'static str,
        attempt: impl Fn(String) -> F,
    ) -> Result<Vec<u8>, CallError>
    where
        F: Future<Output = Result<Vec<u8>, CallError>>,
    {
        let mut left = addresses.count();
        loop {
            let none = || CallError::Malformed { what, why: "no address for it is known".to_owned() };
            let (mark, base) = addresses.current().ok_or_else(none)?;
            let answer = attempt(base.clone()).await;
            let Err(error) = &answer else { return answer };
            if !error.is_of_the_address() {
                return answer;
            }
            addresses.failed(mark);
            left = left.saturating_sub(1);
            if left == 0 {
                return answer;
            }
            tracing::warn!("{error} at {base}; trying another address");
        }
    }

    fn image_key(&self, what: &'static str) -> Result<VerifyingKey, CallError> {
        let why = "the service has not said where images are and who signs them".to_owned();
        let key = self.image_key.read().ok().and_then(|key| *key);
        key.ok_or(CallError::Malformed { what, why })
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
        self.fetch("hand out an image's manifest", &path, MANIFEST_BYTES_MAX, Vec::new).await
    }

    async fn try_manifest(&self, image: ImageId) -> Result<Manifest, CallError> {
        let what = "hand out an image's manifest";
        let sealed = self.sealed_manifest(image).await?;
        let key = self.image_key(what)?;
        let malformed = |why: String| CallError::Malformed { what, why };
        imaging::signed::open(&sealed, &key, image).map_err(|error| malformed(error.to_string()))
    }
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
        Box::pin(async move { Ok(persist(self.tries_max, || self.try_manifest(image)).await?) })
    }

    fn chunk(&self, digest: ChunkDigest) -> Answer<'_, Vec<u8>> {
        Box::pin(async move {
            let path = format!("/chunks/{digest}");
            let what = "hand out a chunk";
            Ok(persist(self.tries_max, || self.fetch(what, &path, STORED_BYTES_MAX, || self.idle_memory()))
                .await?)
        })
    }

    fn take_back(&self, stored: Vec<u8>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(stored);
        }
    }
}
