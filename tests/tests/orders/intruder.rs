//! Somebody between the agents and the service: has the service's certificate authority, so that agents
//! believe the connection, and reads and changes what the service answers.
//!
//! This is more than an intruder on the wire can do, who would have to break TLS first. What is left to
//! hold is what an agent checks of an order itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use reprieve_tests::namespace::{ADDRESS, Namespace};
use reprieve_tests::service::{API_PORT, Service};

/// Where the intruder listens, on the service's address.
pub const PORT: u16 = 9443;
/// No head is longer.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// No body of the agents' API is longer.
const BODY_BYTES_MAX: usize = 16 << 20;
/// The service holds a question open for 30 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Changes the answer to a path; none leaves it as it is.
pub type Alter = dyn Fn(&str, &Value) -> Option<Value> + Send + Sync;

/// The intruder, until it is dropped.
pub struct Intruder {
    listener: Arc<TcpListener>,
    accepting: Option<JoinHandle<()>>,
}

struct Identity {
    as_service: Arc<ServerConfig>,
    as_agent: Arc<ClientConfig>,
    alter: Box<Alter>,
}

impl Intruder {
    /// Stands in front of a service from now on, for those who are sent to [`PORT`].
    ///
    /// # Errors
    /// If the service's keys cannot be used or the port is taken.
    pub fn start(network: &Namespace, service: &Service<'_>, alter: Box<Alter>) -> Result<Self> {
        let (as_service, as_agent) = identities(&service.state())?;
        let identity = Arc::new(Identity { as_service, as_agent, alter });
        let address = SocketAddr::from((ADDRESS, PORT));
        // A thread that is begun inside the namespace stays inside, and so do those that it begins.
        network.enter(|| {
            let listener = Arc::new(TcpListener::bind(address).context("the intruder could not listen")?);
            let accepting = std::thread::spawn({
                let listener = Arc::clone(&listener);
                move || {
                    while let Ok((stream, _)) = listener.accept() {
                        let identity = Arc::clone(&identity);
                        // How a connection ends is the agent's affair; tests look at the job.
                        std::thread::spawn(move || identity.serve(stream));
                    }
                }
            });
            Ok(Self { listener, accepting: Some(accepting) })
        })?
    }

    /// A kernel line that sends the agent here instead of to the service.
    #[must_use]
    pub fn redirect(arguments: &str) -> String {
        arguments.replace(&format!("{ADDRESS}:{API_PORT}"), &format!("{ADDRESS}:{PORT}"))
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        // On a listening socket this ends the `accept` that waits.
        let _ = nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

/// A certificate like the service's own, and what believes the service.
fn identities(state: &Path) -> Result<(Arc<ServerConfig>, Arc<ClientConfig>)> {
    let read = |name: &str| {
        std::fs::read_to_string(state.join(name))
            .with_context(|| format!("could not read the service's {name}"))
    };
    let (ca_pem, ca_key) = (read("ca.pem")?, KeyPair::from_pem(&read("ca.key")?)?);
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key)?;
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).context("ca.pem is no certificate")?;
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters.subject_alt_names.push(SanType::IpAddress(ADDRESS.into()));
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, &issuer)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![certificate.der().clone(), ca.clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let as_service = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    let as_agent = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((Arc::new(as_service), Arc::new(as_agent)))
}

impl Identity {
    fn serve(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut agent = StreamOwned::new(ServerConnection::new(Arc::clone(&self.as_service))?, stream);
        while let Some(request) = Message::read(&mut agent)? {
            let path = request.head.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut answer = self.ask(&request)?;
            if let Ok(said) = serde_json::from_slice(&answer.body)
                && let Some(changed) = (self.alter)(&path, &said)
            {
                answer.body = serde_json::to_vec(&changed)?;
            }
            answer.write(&mut agent, "keep-alive")?;
        }
        Ok(())
    }

    fn ask(&self, request: &Message) -> Result<Message> {
        let stream = TcpStream::connect(SocketAddr::from((ADDRESS, API_PORT)))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let name = ServerName::IpAddress(std::net::IpAddr::V4(ADDRESS).into());
        let connection = ClientConnection::new(Arc::clone(&self.as_agent), name)?;
        let mut service = StreamOwned::new(connection, stream);
        request.write(&mut service, "close")?;
        Message::read(&mut service)?.context("the service said nothing")
    }
}

/// A request or an answer of HTTP/1.1 with a body of known length, which is all that agents and service
/// say to each other.
struct Message {
    head: String,
    body: Vec<u8>,
}

impl Message {
    /// The next one; none at the end of the connection.
    fn read(stream: &mut impl Read) -> Result<Option<Self>> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte)? == 0 {
                return Ok(None);
            }
            head.push(byte[0]);
            if head.len() > HEAD_BYTES_MAX {
                bail!("a head without an end");
            }
        }
        let head = String::from_utf8(head).context("a head that is not text")?;
        let length = header(&head, "content-length").map_or(Ok(0), str::parse::<usize>)?;
        if length > BODY_BYTES_MAX || header(&head, "transfer-encoding").is_some() {
            bail!("a body of no known length, or of too much");
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok(Some(Self { head, body }))
    }

    fn write(&self, stream: &mut impl Write, connection: &str) -> Result<()> {
        let mut lines = self.head.trim_end().split("\r\n");
        let mut text = format!("{}\r\n", lines.next().unwrap_or_default());
        let replaced = ["content-length", "connection"];
        for line in lines {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            if !replaced.contains(&name.as_str()) {
                text.push_str(&format!("{line}\r\n"));
            }
        }
        // An answer without content has no length either.
        if !self.head.contains(" 204 ") {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        text.push_str(&format!("connection: {connection}\r\n\r\n"));
        stream.write_all(text.as_bytes())?;
        stream.write_all(&self.body)?;
        stream.flush()?;
        Ok(())
    }
}

fn header<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    let named = |line: &&str| line.split(':').next().is_some_and(|it| it.eq_ignore_ascii_case(name));
    head.lines().find(named)?.split_once(':').map(|(_, value)| value.trim())
}
