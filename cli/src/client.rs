//! The calls of the operator's API.

use std::time::Duration;

use anyhow::Context as _;
use contract::operator_api::{ErrorBody, ErrorKind};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::settings::Settings;

/// The largest answer in bytes that is read.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// How long the service may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the service may be silent in the middle of an answer.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(120);

/// The service said no.
#[derive(Debug, thiserror::Error)]
#[error("{}", .body.message)]
pub struct Refused {
    /// What it said.
    pub body: ErrorBody,
}

/// The service could not be reached, or broke off.
#[derive(Debug, thiserror::Error)]
#[error("could not reach the service at {service}")]
pub struct Unreachable {
    service: String,
    #[source]
    source: reqwest::Error,
}

/// What to do about an error, if anybody knows.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return Some(refused.body.hint.clone()).filter(|hint| !hint.is_empty());
    }
    let unreachable = error.downcast_ref::<Unreachable>()?;
    Some(format!(
        "check that the service runs, that {} is its address and that --ca is its own certificate",
        unreachable.service
    ))
}

/// A connection to the service.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    service: String,
    authorization: reqwest::header::HeaderValue,
}

impl Client {
    /// Prepares a connection; nothing is sent yet.
    ///
    /// # Errors
    /// If the CA certificate or the token cannot be used.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        // Fails only if a provider is installed already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = &settings.ca {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .context("the CA certificate cannot be understood; --ca takes a PEM file")?;
            anyhow::ensure!(!certificates.is_empty(), "the file given with --ca holds no certificate (PEM)");
            builder = builder.tls_certs_only(certificates);
        }
        let mut authorization: reqwest::header::HeaderValue = format!("Bearer {}", settings.token.reveal())
            .parse()
            .context("the operator token cannot be sent")?;
        authorization.set_sensitive(true);
        let http = builder.build().context("could not prepare the connection to the service")?;
        Ok(Self { http, service: settings.service.clone(), authorization })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`Refused`], [`Unreachable`], or an answer that cannot be understood.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.answer(self.request(Method::GET, path)).await
    }

    /// Sends JSON and reads the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.answer(self.request(Method::POST, path).json(body)).await
    }

    /// Sends nothing but the call itself and reads the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post_empty<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.answer(self.request(Method::POST, path)).await
    }

    /// Sends bytes and reads the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post_bytes<T: DeserializeOwned>(&self, path: &str, bytes: Vec<u8>) -> anyhow::Result<T> {
        self.answer(self.request(Method::POST, path).body(bytes)).await
    }

    /// Sends JSON in the place of what was there and reads the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.answer(self.request(Method::PUT, path).json(body)).await
    }

    /// Stores bytes; the answer is empty.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn put_bytes(&self, path: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        self.send(self.request(Method::PUT, path).body(bytes)).await.map(|_| ())
    }

    /// Takes something away; the answer is empty.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.send(self.request(Method::DELETE, path)).await.map(|_| ())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.service);
        self.http.request(method, url).header(reqwest::header::AUTHORIZATION, self.authorization.clone())
    }

    fn unreachable(&self, source: reqwest::Error) -> Unreachable {
        Unreachable { service: self.service.clone(), source: source.without_url() }
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let response = self.send(request).await?;
        let bytes = self.read(response).await?;
        serde_json::from_slice(&bytes)
            .context("the service's answer cannot be understood; use the same version of command and service")
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = self.read(response).await?;
        Err(Refused { body: refusal(status, &bytes) }.into())
    }

    async fn read(&self, mut response: Response) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            anyhow::ensure!(
                bytes.len() + piece.len() <= ANSWER_BYTES_MAX,
                "the service's answer does not end"
            );
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

/// What a refusal says; something in front of the service may not speak our language.
fn refusal(status: StatusCode, bytes: &[u8]) -> ErrorBody {
    serde_json::from_slice(bytes).unwrap_or_else(|_| ErrorBody {
        kind: ErrorKind::Internal,
        message: format!("the service answered {status}"),
        hint: "check that the address is the service's API".to_owned(),
    })
}

/// A reference from the command line as one part of a path: everything that is not plain is escaped.
pub fn escape(reference: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    let escaped: String = reference
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    // A part of only dots would walk through the path, and URLs take %2E for a dot; escaped twice it is
    // a name that nothing has.
    if escaped.bytes().all(|byte| byte == b'.') { escaped.replace('.', "%252E") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::{Refused, escape, hint, refusal};
    use reqwest::StatusCode;

    #[test]
    fn a_reference_stays_one_part_of_the_path() {
        assert_eq!(escape("52:54:00:12:34:56"), "52:54:00:12:34:56");
        assert_eq!(escape("../jobs?x#y z"), "..%2Fjobs%3Fx%23y%20z");
        assert_eq!(escape(".."), "%252E%252E");
    }

    #[test]
    fn refusals_are_shown_with_their_hint() {
        let json =
            br#"{"kind":"protected","message":"node X is protected","hint":"reprieve protect X --off"}"#;
        let error = anyhow::Error::from(Refused { body: refusal(StatusCode::CONFLICT, json) });
        assert_eq!(error.to_string(), "node X is protected");
        assert_eq!(hint(&error).unwrap(), "reprieve protect X --off");
        let foreign = Refused { body: refusal(StatusCode::BAD_GATEWAY, b"<html>") };
        assert!(foreign.to_string().contains("502"));
        assert_eq!(hint(&anyhow::anyhow!("else")), None);
    }
}
