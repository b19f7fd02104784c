//! The connection to a controller: one question after the other over TLS, each bounded in time and in size. It only
//! asks (GET); redirects are not followed, and nothing that comes is believed to be anything but text.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contract::secret::Secret;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use redfish::identity::Expected;
use redfish::look::{ANSWER_BYTES_MAX, Look};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::configuration::BmcSettings;

/// How long making a connection may take, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a look may take in all; a controller that takes a second for each answer is read.
const LOOK_MAX: Duration = Duration::from_secs(240);
/// Longest head of an answer in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Why a controller could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It cannot be reached, does not answer in time, or is not who it should be.
    #[error("{0}")]
    Unreachable(String),
    /// It does not let this user in. Asked again and again it would lock the user out.
    #[error("it refuses the user ({0}); check user and password, and that the user may read")]
    Refused(StatusCode),
}

/// Who asks whom, and with what.
pub struct Target<'a> {
    /// The controller.
    pub settings: &'a BmcSettings,
    /// Whom to believe.
    pub tls: Arc<ClientConfig>,
    /// The user's password.
    pub password: Secret,
    /// How long an answer may take.
    pub answer_max: Duration,
}

/// Asks a controller all that there is to be asked.
///
/// # Errors
/// If it cannot be asked to the end. What one answer lacks is told in the look.
pub async fn ask(target: &Target<'_>, expected: Expected) -> Result<Look, AskError> {
    let look = async {
        let mut connection = Connection::to(target)?;
        let mut look = Look::at(expected);
        while let Some(path) = look.next_question() {
            match connection.get(&path).await? {
                Ok(body) => look.answered(Ok(&body)),
                Err(why) => look.answered(Err(&why)),
            }
        }
        Ok(look)
    };
    let slow = || AskError::Unreachable(format!("it could not be asked within {} s", LOOK_MAX.as_secs()));
    tokio::time::timeout(LOOK_MAX, look).await.map_err(|_| slow())?
}

/// A body, or why there is none that could be used.
type Answer = Result<Vec<u8>, String>;

struct Connection<'a> {
    target: &'a Target<'a>,
    authority: HeaderValue,
    authorization: HeaderValue,
    open: Option<Open>,
}

/// An open connection; what moves its bytes ends with it.
struct Open {
    sender: SendRequest<Empty<Bytes>>,
    _driver: JoinSet<()>,
    asked: bool,
}

impl<'a> Connection<'a> {
    fn to(target: &'a Target<'a>) -> Result<Self, AskError> {
        let unusable = |_| AskError::Unreachable("its address or its user cannot be sent".to_owned());
        let login = format!("{}:{}", target.settings.user, target.password.reveal());
        let mut authorization: HeaderValue =
            format!("Basic {}", STANDARD.encode(login)).parse().map_err(unusable)?;
        authorization.set_sensitive(true);
        let authority = target.settings.authority().parse().map_err(unusable)?;
        Ok(Self { target, authority, authorization, open: None })
    }

    /// Asks one question. Some controllers close the connection after each answer, so one that was used before and
    /// fails is opened once more.
    async fn get(&mut self, path: &str) -> Result<Answer, AskError> {
        let used = self.open.as_ref().is_some_and(|open| open.asked);
        match self.try_get(path).await {
            Err(AskError::Unreachable(_)) if used => {
                self.open = None;
                self.try_get(path).await
            }
            answer => answer,
        }
    }

    async fn try_get(&mut self, path: &str) -> Result<Answer, AskError> {
        let answer_max = self.target.answer_max;
        let slow = |_| AskError::Unreachable(format!("no answer within {} s", answer_max.as_secs()));
        let mut open = match self.open.take() {
            Some(open) if !open.sender.is_closed() => open,
            _ => connect(self.target).await?,
        };
        open.asked = true;
        let request = self.request(path)?;
        let broken =
            |error: hyper::Error| AskError::Unreachable(with_causes("the connection broke off", &error));
        let exchange = async {
            open.sender.ready().await.map_err(broken)?;
            let response = open.sender.send_request(request).await.map_err(broken)?;
            take(response).await.map_err(broken)
        };
        let answer = tokio::time::timeout(answer_max, exchange).await.map_err(slow)??;
        match answer {
            Taken::Whole(status, body) => {
                self.open = Some(open);
                answered(status, body)
            }
            // What is left of it is not waited for: the connection ends here.
            Taken::TooLong => Ok(Err(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"))),
        }
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, AskError> {
        Request::get(path)
            .header(HOST, self.authority.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json")
            .header("OData-Version", "4.0")
            .header(USER_AGENT, "reprieve-bootsvc")
            .body(Empty::new())
            .map_err(|_| AskError::Unreachable("a question cannot be sent".to_owned()))
    }
}

fn answered(status: StatusCode, body: Vec<u8>) -> Result<Answer, AskError> {
    match status {
        StatusCode::OK => Ok(Ok(body)),
        StatusCode::UNAUTHORIZED => Err(AskError::Refused(status)),
        // Of some things only: the others are asked for all the same.
        StatusCode::FORBIDDEN => Ok(Err("the user may not read it (HTTP 403)".to_owned())),
        status if status.is_redirection() => Ok(Err(format!(
            "it sends the question elsewhere (HTTP {}), which is not followed",
            status.as_u16()
        ))),
        status => Ok(Err(format!("HTTP {}", status.as_u16()))),
    }
}

async fn connect(target: &Target<'_>) -> Result<Open, AskError> {
    let BmcSettings { host, port, .. } = target.settings;
    let unreachable = |what: &str, error: &(dyn std::error::Error + 'static)| {
        AskError::Unreachable(with_causes(what, error))
    };
    let name = ServerName::try_from(host.clone()).map_err(|error| unreachable("its name", &error))?;
    let connecting = async {
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.map_err(|error| unreachable("it cannot be reached", &error))?;
        let connector = TlsConnector::from(Arc::clone(&target.tls));
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| unreachable("TLS with it failed", &error))?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable("HTTP with it failed", &error))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // How it ends is told to whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Open { sender, _driver: driver, asked: false })
    };
    let slow = |_| AskError::Unreachable(format!("no connection within {} s", CONNECT_MAX.as_secs()));
    tokio::time::timeout(CONNECT_MAX, connecting).await.map_err(slow)?
}

/// An answer that was taken.
enum Taken {
    Whole(StatusCode, Vec<u8>),
    TooLong,
}

async fn take(response: Response<hyper::body::Incoming>) -> Result<Taken, hyper::Error> {
    let status = response.status();
    let mut body = response.into_body();
    let mut taken = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let Some(data) = frame.data_ref() else { continue };
        if taken.len() + data.len() > ANSWER_BYTES_MAX {
            return Ok(Taken::TooLong);
        }
        taken.extend_from_slice(data);
    }
    Ok(Taken::Whole(status, taken))
}

/// An error with what caused it, in one line.
fn with_causes(what: &str, error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_told = next.to_string();
        // Some errors tell their cause themselves.
        if !told.contains(&next_told) {
            told = format!("{told}: {next_told}");
        }
        cause = next.source();
    }
    told.chars().filter(|c| !c.is_control()).take(400).collect()
}
