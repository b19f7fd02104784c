//! What DHCP and TFTP need from the service: the boot decision, a place for leases, and their settings.

use std::sync::Arc;

use anyhow::Context as _;
use contract::id::UnixMillis;
use netboot::dhcp::lease::{LeaseRecord, LeaseRecordState};
use netboot::directive::{BootDirective, boot_decision};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::dhcp::{self, BoxFuture, Decider, DhcpConfig, LeaseStore, Seen};
use crate::readiness::Listener;
use crate::service::Service;
use crate::store::{self, leases::LeaseRow};
use crate::tftp::{self, TftpAddress, TftpConfig};

/// The service as DHCP sees it.
struct Network(Arc<Service>);

impl Decider for Network {
    fn boot_directive<'a>(&'a self, seen: &'a Seen) -> BoxFuture<'a, anyhow::Result<BootDirective>> {
        Box::pin(async move {
            let facts = self.0.boot_facts(seen.mac).await.with_context(|| format!("look {} up", seen.mac))?;
            Ok(boot_decision(&facts))
        })
    }
}

impl LeaseStore for Network {
    fn load<'a>(&'a self, interface: &'a str) -> BoxFuture<'a, anyhow::Result<Vec<LeaseRecord>>> {
        Box::pin(async move {
            let mut reading = self.0.store.read().await?;
            let rows = store::leases::all(&mut reading, interface).await?;
            rows.iter()
                .map(|row| {
                    serde_json::from_str(&row.body).with_context(|| {
                        format!("the stored lease of {} on {interface} cannot be read", row.address)
                    })
                })
                .collect()
        })
    }

    fn save<'a>(&'a self, interface: &'a str, record: &'a LeaseRecord) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let (client, expires_at) = match &record.state {
                LeaseRecordState::Bound { mac, until } => (mac.to_string(), *until),
                LeaseRecordState::Released { mac } => (mac.to_string(), UnixMillis(0)),
                LeaseRecordState::Quarantined { until } => (String::new(), *until),
            };
            let row = LeaseRow {
                interface: interface.to_owned(),
                address: record.address.to_string(),
                client,
                expires_at,
                body: serde_json::to_string(record)?,
            };
            let mut transaction = self.0.store.write().await?;
            store::leases::put(&mut transaction, &row).await?;
            store::commit(transaction).await?;
            Ok(())
        })
    }
}

/// Serves DHCP and TFTP as configured until `shutdown` becomes true; at once done if both are off.
///
/// # Errors
/// If one of them cannot start or ends by itself.
pub async fn serve(
    service: Arc<Service>,
    http_port: u16,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let settings = &service.settings;
    let mut servers = JoinSet::new();
    if !settings.tftp.listen.is_empty() {
        let servers_at = settings.tftp.listen.iter().map(|listen| TftpAddress {
            listen: *listen,
            http_base_url: format!("http://{}", std::net::SocketAddr::new(listen.ip(), http_port)),
        });
        let config = TftpConfig {
            servers: servers_at.collect(),
            loaders: Arc::clone(&service.loaders),
            transfers_max: settings.tftp.transfers_max,
        };
        let (counters, ready) = (Arc::clone(&service.counters), Arc::clone(&service));
        let listening = move || ready.readiness.listens(Listener::Tftp);
        servers.spawn(tftp::serve(config, counters, shutdown.clone(), listening));
    }
    if !settings.dhcp.is_empty() {
        let config = DhcpConfig::from_settings(&settings.dhcp, http_port)?;
        let network = Arc::new(Network(Arc::clone(&service)));
        let (counters, ready) = (Arc::clone(&service.counters), Arc::clone(&service));
        let listening = move || ready.readiness.listens(Listener::Dhcp);
        servers.spawn(dhcp::serve(config, network.clone(), network, counters, shutdown, listening));
    }
    while let Some(ended) = servers.join_next().await {
        ended.context("DHCP or TFTP failed")??;
    }
    Ok(())
}
