//! One interface: hears requests, answers each once its lease is durable.

use std::net::SocketAddrV4;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use netboot::answer::{BootAnswer, boot_answer};
use netboot::client::{ClientKind, classify};
use netboot::dhcp::address::{PROXY_PORT, SERVER_PORT};
use netboot::dhcp::exchange::{Outcome, ProxyPort, respond, respond_as_proxy};
use netboot::dhcp::guard::DATAGRAM_BYTES_MAX;
use netboot::dhcp::lease::LeaseTable;
use netboot::dhcp::request::{DhcpRequest, MessageType};
use netboot::dhcp::scope::{Scope, select};
use tokio::sync::{Mutex, Semaphore, watch};

use super::config::{InterfaceConfig, Mode};
use super::socket::{InterfaceSocket, Sender, Sent};
use super::{Decider, LeaseStore, Seen};
use crate::clock;
use crate::counters::Counters;

/// How many requests are worked on at once on one interface; more are dropped, and clients ask again.
const REQUESTS_MAX: usize = 256;
/// How long a decision or a durable write may take before the client is left to ask again.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait after the kernel reported an error, so that a lasting one does not spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// What all requests of an interface share.
struct Shared {
    config: InterfaceConfig,
    decider: Arc<dyn Decider>,
    store: Arc<dyn LeaseStore>,
    counters: Arc<Counters>,
    leases: Mutex<LeaseTable>,
    server_port: InterfaceSocket,
    /// In proxy mode.
    proxy_port: Option<InterfaceSocket>,
    sender: Sender,
}

/// The listener of one interface.
pub struct Listener {
    shared: Arc<Shared>,
}

/// On which of our ports a datagram came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Server,
    Proxy,
}

impl Listener {
    /// Loads leases and opens sockets.
    ///
    /// # Errors
    /// If either fails.
    pub async fn start(
        config: InterfaceConfig,
        decider: Arc<dyn Decider>,
        store: Arc<dyn LeaseStore>,
        counters: Arc<Counters>,
    ) -> anyhow::Result<Self> {
        let records = store.load(&config.name).await.context("load leases")?;
        let (name, address) = (config.name.clone(), config.address);
        let proxy_port = match config.mode {
            Mode::Proxy => Some(InterfaceSocket::open(&name, address, PROXY_PORT)?),
            Mode::Authoritative { .. } => None,
        };
        let shared = Shared {
            server_port: InterfaceSocket::open(&name, address, SERVER_PORT)?,
            proxy_port,
            sender: Sender::open(&name, address)?,
            leases: Mutex::new(LeaseTable::restore(records)),
            config,
            decider,
            store,
            counters,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Answers until `shutdown` becomes true.
    ///
    /// # Errors
    /// None today: errors of single datagrams are counted and logged.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) -> anyhow::Result<()> {
        let shared = self.shared;
        tracing::info!(interface = shared.config.name, address = %shared.config.address, "DHCP listens");
        let places = Arc::new(Semaphore::new(REQUESTS_MAX));
        let mut on_server = [0; DATAGRAM_BYTES_MAX + 1];
        let mut on_proxy = [0; DATAGRAM_BYTES_MAX + 1];
        loop {
            let (port, received) = tokio::select! {
                received = shared.server_port.receive(&mut on_server) => (Port::Server, received),
                received = receive(shared.proxy_port.as_ref(), &mut on_proxy) => (Port::Proxy, received),
                // A dropped sender means that nobody is left to stop us: stop.
                _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
            };
            let (length, source) = match received {
                Ok(received) => received,
                Err(error) => {
                    shared.counters.add("dhcp.receive-errors");
                    tracing::warn!(interface = shared.config.name, %error, "receive a DHCP request");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                shared.counters.add("dhcp.dropped-busy");
                continue;
            };
            let buffer = if port == Port::Server { &on_server } else { &on_proxy };
            let datagram = buffer[..length].to_vec();
            let shared = shared.clone();
            tokio::spawn(async move {
                shared.answer_or_count(&datagram, source, port).await;
                drop(place);
            });
        }
    }
}

/// Waits for ever if there is no such socket.
async fn receive(
    socket: Option<&InterfaceSocket>,
    buffer: &mut [u8],
) -> std::io::Result<(usize, SocketAddrV4)> {
    match socket {
        Some(socket) => socket.receive(buffer).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    /// The edge: whatever one datagram does, the listener goes on.
    async fn answer_or_count(&self, datagram: &[u8], source: SocketAddrV4, port: Port) {
        match AssertUnwindSafe(self.answer(datagram, source, port)).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.counters.add("dhcp.errors");
                tracing::warn!(interface = self.config.name, %source, error = format!("{error:#}"), "answer a DHCP request");
            }
            Err(_) => {
                self.counters.add("dhcp.panics");
                tracing::error!(interface = self.config.name, %source, "a DHCP datagram panicked its parser; it was dropped");
            }
        }
    }

    async fn answer(&self, datagram: &[u8], source: SocketAddrV4, port: Port) -> anyhow::Result<()> {
        let request = match DhcpRequest::parse(datagram) {
            Ok(request) => request,
            Err(refusal) => {
                self.counters.add("dhcp.malformed");
                tracing::debug!(interface = self.config.name, %source, %refusal, "refuse a DHCP datagram");
                return Ok(());
            }
        };
        self.counters.add(received_counter(request.message_type));
        match &self.config.mode {
            Mode::Authoritative { scopes } => self.answer_as_server(&request, scopes).await,
            Mode::Proxy => self.answer_as_proxy(&request, source, port).await,
        }
    }

    async fn answer_as_server(&self, request: &DhcpRequest, scopes: &[Scope]) -> anyhow::Result<()> {
        let Some(scope) = select(scopes, self.config.address, request) else {
            self.counters.add("dhcp.foreign-network");
            return Ok(());
        };
        let boot = self.boot(request).await;
        // Held over the durable write: no second request sees a table that is not yet true on disk.
        let mut leases = self.leases.lock().await;
        let now = clock::now();
        let outcome = respond(request, scope, &leases, boot.as_ref(), now);
        if let Some(change) = &outcome.lease_change {
            if let Some(record) = change.record() {
                tokio::time::timeout(ANSWER_WITHIN, self.store.save(&self.config.name, &record))
                    .await
                    .context("save a lease in time")?
                    .with_context(|| format!("save the lease of {}", record.address))?;
            }
            leases.apply(change, now);
        }
        drop(leases);
        self.conclude(request, outcome, &self.server_port).await
    }

    async fn answer_as_proxy(
        &self,
        request: &DhcpRequest,
        source: SocketAddrV4,
        port: Port,
    ) -> anyhow::Result<()> {
        let boot = self.boot(request).await;
        let (asked, socket) = match (port, &self.proxy_port) {
            (Port::Proxy, Some(socket)) => (ProxyPort::Proxy(source), socket),
            _ => (ProxyPort::Server, &self.server_port),
        };
        let outcome = respond_as_proxy(request, self.config.address, asked, boot.as_ref());
        self.conclude(request, outcome, socket).await
    }

    /// What the client gets to boot; nothing if it does not boot from the network or nobody can say.
    async fn boot(&self, request: &DhcpRequest) -> Option<BootAnswer> {
        let kind = classify(request);
        match kind {
            ClientKind::NotNetboot => return None,
            ClientKind::Unsupported { architecture } => {
                self.counters.add("dhcp.unsupported-clients");
                tracing::warn!(mac = %request.mac, architecture, "no loader for this kind of client");
                return None;
            }
            _ => {}
        }
        if !matches!(request.message_type, MessageType::Discover | MessageType::Request | MessageType::Inform)
        {
            return None;
        }
        let seen = Seen {
            mac: request.mac,
            client_uuid: request.machine_uuid(),
            kind,
            interface: self.config.name.clone(),
            relay: request.relay(),
        };
        let decided = tokio::time::timeout(ANSWER_WITHIN, self.decider.boot_directive(&seen)).await;
        match decided.context("decide in time").and_then(|decided| decided) {
            Ok(directive) => {
                boot_answer(kind, &directive, request.mac, seen.client_uuid, &self.config.services)
            }
            Err(error) => {
                self.counters.add("dhcp.undecided");
                tracing::warn!(mac = %request.mac, error = format!("{error:#}"), "no boot decision; nothing is offered to boot");
                None
            }
        }
    }

    async fn conclude(
        &self,
        request: &DhcpRequest,
        outcome: Outcome,
        socket: &InterfaceSocket,
    ) -> anyhow::Result<()> {
        self.counters.add(outcome.event.counter_name());
        let Some(reply) = outcome.reply else {
            tracing::debug!(mac = %request.mac, event = ?outcome.event, "no DHCP reply");
            return Ok(());
        };
        let destination = reply.destination();
        let datagram = reply.encode()?;
        let sent = self.sender.send(socket, &datagram, destination).await;
        let sent = sent.with_context(|| format!("send a DHCP reply to {}", request.mac))?;
        if sent == Sent::ByBroadcastInstead {
            self.counters.add("dhcp.broadcast-instead");
        }
        tracing::info!(mac = %request.mac, address = %reply.address(), reply = ?reply.kind(), "DHCP reply");
        Ok(())
    }
}

fn received_counter(message_type: MessageType) -> &'static str {
    match message_type {
        MessageType::Discover => "dhcp.discover",
        MessageType::Request => "dhcp.request",
        MessageType::Decline => "dhcp.decline",
        MessageType::Release => "dhcp.release",
        MessageType::Inform => "dhcp.inform",
    }
}
