//! The client against a TLS server on the loopback that answers what it is told to.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use contract::agent_api::{Finish, FinishResult, Instruction, Progress};
use contract::id::{ChunkDigest, Digest, ImageId, OrderId};
use contract::secret::Secret;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use super::client::{CallError, Client, persist};
use super::trust::Pin;
use crate::act::service::Service;

type Ca = CertifiedIssuer<'static, KeyPair>;

/// First line, bearer and body of a request.
type Heard = (String, Option<String>, String);

struct Server {
    url: String,
    ca: Vec<u8>,
    seen: Arc<Mutex<Vec<Heard>>>,
}

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn acceptor(ca: &Ca) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    let leaf: CertificateDer<'static> = params.signed_by(&key, ca).unwrap().der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf, ca.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Answers one request a connection, in order.
async fn serve(answers: Vec<(u16, Vec<u8>)>) -> Server {
    serve_as(&ca(), answers).await
}

/// The same with a certificate of this CA.
async fn serve_as(ca: &Ca, answers: Vec<(u16, Vec<u8>)>) -> Server {
    let acceptor = acceptor(ca);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<Heard>>> = Arc::default();
    let recorded = seen.clone();
    tokio::spawn(async move {
        let mut answers = VecDeque::from(answers);
        while let Ok((connection, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(connection).await else { continue };
            let mut stream = BufReader::new(stream);
            let (mut first, mut bearer, mut length) = (String::new(), None, 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) <= 2 {
                    break;
                }
                let lower = line.to_ascii_lowercase();
                if first.is_empty() {
                    first = line.trim().to_owned();
                } else if let Some(value) = lower.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                } else if lower.starts_with("authorization: bearer ") {
                    bearer = Some(line["authorization: bearer ".len()..].trim().to_owned());
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            recorded.lock().unwrap().push((first, bearer, String::from_utf8(body).unwrap()));
            let Some((status, body)) = answers.pop_front() else { break };
            let head =
                format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
            let _ = stream.shutdown().await;
        }
    });
    Server { url, ca: ca.der().to_vec(), seen }
}

impl Server {
    fn client(&self) -> Client {
        let bearer = Some(Secret::new("bearer".to_owned()));
        Client::new(std::slice::from_ref(&self.url), Pin::Certificate(self.ca.clone()), bearer).unwrap()
    }
}

fn wait() -> (Instruction, Vec<u8>) {
    let instruction = Instruction::Wait { poll_after_millis: 5, reason: "nothing yet".to_owned() };
    let body = serde_json::to_vec(&instruction).unwrap();
    (instruction, body)
}

fn finish() -> Finish {
    Finish { order: OrderId(Uuid::from_u128(1)), result: FinishResult::Done, steps: vec![] }
}

#[tokio::test]
async fn a_call_carries_bearer_and_body_and_brings_the_answer() {
    let (instruction, body) = wait();
    let server = serve(vec![(200, body)]).await;
    assert_eq!(server.client().finish(&finish()).await.unwrap(), instruction);
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen[0].0, "POST /v1/agent/finish HTTP/1.1");
    assert_eq!(seen[0].1.as_deref(), Some("bearer"));
    assert_eq!(seen[0].2, serde_json::to_string(&finish()).unwrap());
}

#[tokio::test]
async fn nobody_but_the_pinned_service_is_spoken_to() {
    let server = serve(vec![(200, wait().1)]).await;
    let pin = Pin::Certificate(ca().der().to_vec());
    let client =
        Client::new(std::slice::from_ref(&server.url), pin, Some(Secret::new("bearer".to_owned()))).unwrap();
    assert!(matches!(client.next().await, Err(CallError::Unreachable { .. })));
    assert!(server.seen.lock().unwrap().is_empty(), "the bearer must not reach an impostor");
    assert!(Client::new(&["http://192.0.2.1".to_owned()], Pin::Fingerprint([0; 32]), None).is_err());
}

/// An address where nobody listens.
async fn dead() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    format!("https://{}", listener.local_addr().unwrap())
}

/// One call finds the address that works, the next one begins there; an address that only the context
/// named is as good; and none of them is spoken to but with the one pinned CA.
#[tokio::test]
async fn another_address_is_tried_at_once_and_kept() {
    let (ca, (instruction, body)) = (ca(), wait());
    let alive = serve_as(&ca, vec![(200, body.clone()), (200, body.clone()), (200, body.clone())]).await;
    let pin = || Pin::Certificate(ca.der().to_vec());
    let client = |urls: &[String]| Client::new(urls, pin(), Some(Secret::new("bearer".to_owned()))).unwrap();
    let two = client(&[dead().await, alive.url.clone()]);
    assert_eq!(two.next().await.unwrap(), instruction);
    // It counts requests: the second one goes there without asking the dead one.
    assert_eq!(two.next().await.unwrap(), instruction);
    assert_eq!(alive.seen.lock().unwrap().len(), 2);
    let learned = client(&[dead().await]);
    assert!(matches!(learned.next().await, Err(CallError::Unreachable { .. })));
    learned.learn_services(&[alive.url.clone(), "http://127.0.0.1:1".to_owned()]);
    assert_eq!(learned.next().await.unwrap(), instruction);
    let impostor = serve(vec![(200, body)]).await;
    let trapped = client(&[dead().await, impostor.url.clone()]);
    assert!(matches!(trapped.next().await, Err(CallError::Unreachable { .. })));
    assert!(impostor.seen.lock().unwrap().is_empty(), "the bearer must not reach an impostor");
}

/// A service that says that it is busy is the same service at any address.
#[tokio::test]
async fn a_busy_service_is_not_asked_at_another_address() {
    let ca = ca();
    let (busy, other) =
        (serve_as(&ca, vec![(503, vec![])]).await, serve_as(&ca, vec![(200, wait().1)]).await);
    let urls = [busy.url.clone(), other.url.clone()];
    let client = Client::new(&urls, Pin::Certificate(ca.der().to_vec()), None).unwrap();
    assert!(matches!(client.next().await, Err(CallError::Busy { .. })));
    assert!(other.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let (instruction, body) = wait();
    let server = serve(vec![(503, vec![]), (200, body)]).await;
    let client = server.client();
    assert_eq!(persist(3, || client.next()).await.unwrap(), instruction);
    let refusal = br#"{"kind":"conflict","message":"no such job","hint":"look again"}"#.to_vec();
    let server = serve(vec![(409, refusal), (200, wait().1)]).await;
    let client = server.client();
    let error = persist(3, || client.next()).await.unwrap_err();
    assert!(error.to_string().contains("no such job; look again"), "{error}");
    assert_eq!(server.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn tries_are_used_up() {
    let server = serve(vec![(500, vec![]), (500, vec![]), (200, wait().1)]).await;
    let client = server.client();
    assert!(matches!(persist(2, || client.next()).await, Err(CallError::Busy { .. })));
}

#[tokio::test]
async fn an_endless_or_senseless_answer_is_refused() {
    let server = serve(vec![(200, vec![b' '; 9 << 20]), (200, b"[]".to_vec())]).await;
    let client = server.client();
    for _ in 0..2 {
        assert!(matches!(client.next().await, Err(CallError::Malformed { .. })));
    }
}

#[tokio::test]
async fn an_empty_answer_is_enough_where_nothing_is_said() {
    let server = serve(vec![(204, vec![]), (204, vec![])]).await;
    let client = server.client();
    client.begin(OrderId(Uuid::from_u128(1)), 0).await.unwrap();
    let progress = Progress { phase: "writing".to_owned(), done_bytes: 1, total_bytes: 2 };
    client.progress(progress).await.unwrap();
    assert_eq!(server.seen.lock().unwrap()[0].0, "POST /v1/agent/begin HTTP/1.1");
}

#[tokio::test]
async fn no_image_is_fetched_before_the_service_has_said_from_where() {
    let server = serve(vec![]).await;
    let client = server.client();
    assert!(client.manifest(ImageId(Digest([0; 32]))).await.is_err());
    assert!(client.chunk(ChunkDigest(Digest([0; 32]))).await.is_err());
    assert!(server.seen.lock().unwrap().is_empty());
}
