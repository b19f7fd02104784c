//! Sockets and connections: accepted up to a limit, with time limits on handshakes and headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower_http::timeout::TimeoutLayer;

use crate::http::body::{no_such_method, no_such_path, refuse_in_our_form};
use crate::http::endpoints::Endpoints;
use crate::http::metadata::Peer;
use crate::http::{agent, imports, operator, plain};
use crate::service::Service;

/// How many connections each kind of listener serves at once; more wait in the kernel's queue.
const PLAIN_CONNECTIONS_MAX: usize = 8192;
/// The same for TLS. Every waiting agent holds one.
const TLS_CONNECTIONS_MAX: usize = 8192;
/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);
/// How long a request's head may take to arrive.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long a request may take in all. A question is held open for 30 s; an image's commit reads it all.
const REQUEST_MAX: Duration = Duration::from_secs(900);
/// The same for plain HTTP, until the answer begins; how long its bytes take is the client's affair.
const PLAIN_REQUEST_MAX: Duration = Duration::from_secs(60);
/// How long to wait after the kernel refused to accept (out of file descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All listeners, bound.
#[derive(Debug)]
pub struct Listeners {
    plain: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    /// Where plain HTTP listens, ports filled in.
    pub http: Vec<SocketAddr>,
    /// Where the API listens, ports filled in.
    pub api: Vec<SocketAddr>,
}

async fn bind(addresses: &[SocketAddr], what: &str) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("could not listen on {address} for {what}"))?,
        );
    }
    Ok(listeners)
}

impl Listeners {
    /// Binds all addresses.
    ///
    /// # Errors
    /// Names the address that cannot be listened on.
    pub async fn bind(http: &[SocketAddr], api: &[SocketAddr]) -> anyhow::Result<Self> {
        let (plain, tls) = (bind(http, "HTTP").await?, bind(api, "the API").await?);
        let addresses = |listeners: &[TcpListener]| {
            listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { http: addresses(&plain)?, api: addresses(&tls)?, plain, tls })
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// If the server certificate cannot be made.
    pub async fn serve(self, service: Arc<Service>) -> anyhow::Result<()> {
        let tls = crate::ca::tls::server_config(&service.authority, &self.api, crate::clock::now())?;
        let acceptor = TlsAcceptor::from(tls);
        let seen = Arc::new(Seen { service: Arc::clone(&service), http: self.http, api: self.api });
        let plain_limit = Arc::new(Semaphore::new(PLAIN_CONNECTIONS_MAX));
        let tls_limit = Arc::new(Semaphore::new(TLS_CONNECTIONS_MAX));
        let mut tasks = tokio::task::JoinSet::new();
        let router = plain_router(Arc::clone(&service));
        for listener in self.plain {
            tasks.spawn(accept(listener, router.clone(), None, Arc::clone(&seen), Arc::clone(&plain_limit)));
        }
        let router = api_router(service);
        for listener in self.tls {
            tasks.spawn(accept(
                listener,
                router.clone(),
                Some(acceptor.clone()),
                Arc::clone(&seen),
                Arc::clone(&tls_limit),
            ));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("a listener failed")?;
        }
        Ok(())
    }
}

fn plain_router(service: Arc<Service>) -> Router {
    plain::router(service)
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, PLAIN_REQUEST_MAX))
        .layer(map_response(refuse_in_our_form))
}

fn api_router(service: Arc<Service>) -> Router {
    Router::new()
        .merge(agent::router())
        .merge(operator::router())
        .merge(imports::router())
        .route("/healthz", axum::routing::get(plain::health))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(service)
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_MAX))
        .layer(map_response(refuse_in_our_form))
}

/// What connections need to know about the listeners.
struct Seen {
    service: Arc<Service>,
    http: Vec<SocketAddr>,
    api: Vec<SocketAddr>,
}

async fn accept(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    seen: Arc<Seen>,
    limit: Arc<Semaphore>,
) {
    loop {
        let Ok(permit) = Arc::clone(&limit).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, tls, seen) = (router.clone(), tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            // Held until the connection ends.
            let _permit = permit;
            connection(stream, router, tls, &seen).await;
        });
    }
}

async fn connection(stream: TcpStream, router: Router, tls: Option<TlsAcceptor>, seen: &Seen) {
    let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return };
    // Small answers are to leave at once; a failure to say so only costs time.
    let _ = stream.set_nodelay(true);
    let endpoints = Endpoints::seen_at(&seen.service.settings, &seen.http, &seen.api, local.ip());
    let router = router.layer(Extension(endpoints)).layer(Extension(Peer(peer.ip())));
    match tls {
        None => serve(stream, router).await,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve(stream, router).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(64 << 10);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await
    {
        tracing::debug!(%error, "a connection ended early");
    }
}
