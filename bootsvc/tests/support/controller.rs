//! A management controller on loopback: real TLS, real HTTP, and answers that a test sets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, LOCATION};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::machine::SERIAL;

pub const PASSWORD: &str = "correct horse";
pub const ROOT: &str = "/redfish/v1/";
pub const THERMAL: &str = "/redfish/v1/Chassis/1/Thermal";

/// What a controller answers to one question.
#[derive(Clone)]
pub enum Answer {
    Json(Value),
    Text(&'static str),
    Status(u16),
    Elsewhere(String),
    WithoutEnd,
    Never,
}

/// What the controller does, and what it was asked.
struct Script {
    answers: BTreeMap<String, Answer>,
    asked: Vec<String>,
    closes: bool,
}

/// A controller that listens.
pub struct Controller {
    pub address: SocketAddr,
    /// SHA-256 of its certificate, hexadecimal.
    pub fingerprint: String,
    pub folder: tempfile::TempDir,
    script: Arc<Mutex<Script>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn fan(name: &str, health: &str) -> Value {
    json!({"Name": name, "Status": {"State": "Enabled", "Health": health}})
}

/// Temperatures and fans, one of them in this health; the inlet is this warm.
pub fn thermal(health: &str, inlet_celsius: u32) -> Answer {
    Answer::Json(json!({
        "Temperatures": [{"Name": "Inlet", "ReadingCelsius": inlet_celsius, "UpperThresholdCritical": 42}],
        "Fans": [fan("Fan 1", "OK"), fan("Fan 2", health)],
    }))
}

/// A machine that is well: one system, one chassis, the older schema.
fn well() -> BTreeMap<String, Answer> {
    let at = |path: &str| json!({"@odata.id": path});
    let answers = [
        (ROOT, json!({"Systems": at("/redfish/v1/Systems"), "Chassis": at("/redfish/v1/Chassis")})),
        ("/redfish/v1/Systems", json!({"Members": [at("/redfish/v1/Systems/1")]})),
        (
            "/redfish/v1/Systems/1",
            json!({"SerialNumber": SERIAL, "PowerState": "On", "Status": {"HealthRollup": "OK"}}),
        ),
        ("/redfish/v1/Chassis", json!({"Members": [at("/redfish/v1/Chassis/1")]})),
        (
            "/redfish/v1/Chassis/1",
            json!({"Thermal": at(THERMAL), "Power": at("/redfish/v1/Chassis/1/Power")}),
        ),
        ("/redfish/v1/Chassis/1/Power", json!({"PowerSupplies": [fan("PSU 1", "OK"), fan("PSU 2", "OK")]})),
    ];
    let mut answers: BTreeMap<String, Answer> =
        answers.into_iter().map(|(path, answer)| (path.to_owned(), Answer::Json(answer))).collect();
    answers.insert(THERMAL.to_owned(), thermal("OK", 21));
    answers
}

impl Controller {
    /// A controller of a machine that is well.
    pub async fn start() -> Self {
        // A second test in the same process finds it installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        write_password(folder.path(), PASSWORD);
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        let key = KeyPair::generate().unwrap();
        let certificate: CertificateDer<'static> = params.signed_by(&key, &ca).unwrap().der().clone();
        let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script { answers: well(), asked: Vec::new(), closes: false }));
        let task = tokio::spawn(serve(listener, acceptor, Arc::clone(&script)));
        Self { address, fingerprint: hex::encode(fingerprint), folder, script, task }
    }

    pub fn set(&self, path: &str, answer: Answer) {
        self.script.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    /// Answers as if nothing was ever set.
    pub fn be_well(&self) {
        self.script.lock().unwrap().answers = well();
    }

    /// Closes its connections after each answer, as some do.
    pub fn close_after_each(&self) {
        self.script.lock().unwrap().closes = true;
    }

    /// What it was asked since the last time, with the user and password that came along.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().asked)
    }

    pub fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// The block of the service's configuration for it.
    pub fn block(&self) -> String {
        format!(
            "[[bmc]]\nserial = {SERIAL:?}\naddress = \"https://{}\"\nuser = \"watcher\"\npassword_file = {:?}\n\
             certificate_sha256 = {:?}\n[bmc_polling]\nanswer_seconds = 1\n",
            self.address,
            self.password_file(),
            self.fingerprint
        )
    }
}

pub fn write_password(folder: &Path, password: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("password");
    std::fs::write(&path, format!("{password}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, script: Arc<Mutex<Script>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
        tokio::spawn(async move {
            // Whoever does not believe the certificate goes away here.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let closes = script.lock().unwrap().closes;
            let service = service_fn(|request| answer(request, Arc::clone(&script)));
            let connection = hyper::server::conn::http1::Builder::new()
                .keep_alive(!closes)
                .serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        });
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

async fn answer(
    request: Request<Incoming>,
    script: Arc<Mutex<Script>>,
) -> Result<Response<Body>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let login = request.headers().get(AUTHORIZATION).map(|login| login.to_str().unwrap().to_owned());
    let answer = {
        let mut script = script.lock().unwrap();
        script.asked.push(format!("{} {path} {}", request.method(), login.unwrap_or_default()));
        script.answers.get(&path).cloned().unwrap_or(Answer::Status(404))
    };
    let whole = |text: String| Full::from(text).map_err(|never| match never {}).boxed();
    let with = |status: u16, body: Body| {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    };
    Ok(match answer {
        Answer::Json(value) => with(200, whole(value.to_string())),
        Answer::Text(text) => with(200, whole(text.to_owned())),
        Answer::Status(status) => with(status, whole("{}".to_owned())),
        Answer::Elsewhere(url) => {
            let mut response = with(307, whole(String::new()));
            response.headers_mut().insert(LOCATION, url.parse().unwrap());
            response
        }
        Answer::WithoutEnd => {
            let piece = || Ok(Frame::data(Bytes::from(vec![b' '; 16 << 10])));
            with(200, BodyExt::boxed(StreamBody::new(stream::repeat_with(piece).fuse())))
        }
        Answer::Never => std::future::pending().await,
    })
}
