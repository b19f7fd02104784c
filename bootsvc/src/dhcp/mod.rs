//! DHCP on chosen interfaces: sockets around `netboot::dhcp`.
//!
//! Each interface has its own listener, its own table of leases and its own sockets bound to it, so
//! that a request can't be answered on another network than it came from. A datagram that panics a
//! parser costs one counter and nothing else.

mod config;
mod listener;
mod socket;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context;
use contract::id::MacAddress;
use netboot::client::ClientKind;
use netboot::dhcp::lease::LeaseRecord;
use netboot::directive::BootDirective;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

pub use config::{DhcpConfig, InterfaceConfig, Mode};

use crate::counters::Counters;

/// A future in a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A client, as DHCP saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its hardware address.
    pub mac: MacAddress,
    /// SMBIOS UUID of option 97; some firmware leaves it out.
    pub client_uuid: Option<Uuid>,
    /// What kind of client it is.
    pub kind: ClientKind,
    /// The interface that it was heard on.
    pub interface: String,
    /// The relay that it came through.
    pub relay: Option<Ipv4Addr>,
}

/// Who decides what machines boot. Asked for clients that boot from the network only.
pub trait Decider: Send + Sync {
    /// What this machine does next. An error gives the machine an address and nothing to boot.
    fn boot_directive<'a>(&'a self, seen: &'a Seen) -> BoxFuture<'a, anyhow::Result<BootDirective>>;
}

/// Where leases are kept. One record per interface and address; the latest counts.
pub trait LeaseStore: Send + Sync {
    /// All records of an interface.
    fn load<'a>(&'a self, interface: &'a str) -> BoxFuture<'a, anyhow::Result<Vec<LeaseRecord>>>;

    /// Makes a record durable before it returns; the reply leaves after that.
    fn save<'a>(&'a self, interface: &'a str, record: &'a LeaseRecord) -> BoxFuture<'a, anyhow::Result<()>>;
}

/// Serves until `shutdown` becomes true. Ends with an error if a listener can't start or ends by itself.
/// `listening` is called once all of them listen.
///
/// # Errors
/// If leases can't be loaded or sockets can't be opened (port 67 needs CAP_NET_BIND_SERVICE and
/// binding to an interface CAP_NET_RAW).
pub async fn serve(
    config: DhcpConfig,
    decider: Arc<dyn Decider>,
    leases: Arc<dyn LeaseStore>,
    counters: Arc<Counters>,
    shutdown: watch::Receiver<bool>,
    listening: impl FnOnce(),
) -> anyhow::Result<()> {
    let mut listeners = JoinSet::new();
    for interface in config.interfaces {
        let name = interface.name.clone();
        let listener =
            listener::Listener::start(interface, decider.clone(), leases.clone(), counters.clone())
                .await
                .with_context(|| format!("start DHCP on interface {name}"))?;
        let stopped = shutdown.clone();
        listeners.spawn(async move {
            listener.run(stopped).await.with_context(|| format!("DHCP on interface {name}"))
        });
    }
    listening();
    while let Some(ended) = listeners.join_next().await {
        ended.context("run a DHCP listener")??;
    }
    Ok(())
}
