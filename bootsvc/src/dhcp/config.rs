//! What the DHCP listeners run with.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::Context;
use netboot::answer::BootServices;
use netboot::dhcp::scope::{Scope, ScopeSettings};

use crate::config::{DhcpMode, DhcpSettings};

/// All interfaces.
#[derive(Debug, Clone)]
pub struct DhcpConfig {
    /// Each listens for itself.
    pub interfaces: Vec<InterfaceConfig>,
}

/// One interface.
#[derive(Debug, Clone)]
pub struct InterfaceConfig {
    /// The kernel's name, such as `eth0`.
    pub name: String,
    /// The service's address on it.
    pub address: Ipv4Addr,
    /// Where clients on it find TFTP and HTTP.
    pub services: BootServices,
    /// What it does.
    pub mode: Mode,
}

/// What a listener does.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Gives addresses in these networks: the interface's own and those behind relays.
    Authoritative {
        /// The networks.
        scopes: Vec<Scope>,
    },
    /// Gives boot options only, beside another server.
    Proxy,
}

impl DhcpConfig {
    /// Makes it from settings. Several blocks of one interface become its networks; the first block
    /// names the service's address. `http_port` is where scripts and loaders are served.
    ///
    /// # Errors
    /// If the settings contradict each other.
    pub fn from_settings(blocks: &[DhcpSettings], http_port: u16) -> anyhow::Result<Self> {
        let mut interfaces: Vec<InterfaceConfig> = Vec::new();
        for block in blocks {
            let scope = match block.mode {
                DhcpMode::Authoritative => {
                    let context = || format!("read DHCP settings of interface {}", block.interface);
                    Some(Scope::new(scope_settings(block)).with_context(context)?)
                }
                DhcpMode::Proxy => None,
            };
            let known = interfaces.iter_mut().find(|known| known.name == block.interface);
            match (known.map(|known| &mut known.mode), scope) {
                (Some(Mode::Authoritative { scopes }), Some(scope)) => scopes.push(scope),
                (Some(_), _) => anyhow::bail!(
                    "interface {} has two DHCP blocks with mode proxy; use one block",
                    block.interface
                ),
                (None, scope) => interfaces.push(InterfaceConfig {
                    name: block.interface.clone(),
                    address: block.address,
                    services: BootServices {
                        tftp_server: block.address,
                        http_base_url: format!("http://{}:{http_port}", block.address),
                    },
                    mode: scope.map_or(Mode::Proxy, |scope| Mode::Authoritative { scopes: vec![scope] }),
                }),
            }
        }
        Ok(Self { interfaces })
    }
}

fn scope_settings(block: &DhcpSettings) -> ScopeSettings {
    let reservations: BTreeMap<_, _> =
        block.reservations.iter().map(|reservation| (reservation.mac, reservation.address)).collect();
    ScopeSettings {
        network: block.subnet.network,
        prefix: block.subnet.prefix_bits,
        server: block.address,
        pools: block.pool.iter().map(|range| (range.first, range.last)).collect(),
        routers: block.router.into_iter().collect(),
        name_servers: block.dns.clone(),
        domain: None,
        lease_seconds: block.lease_seconds,
        reservations,
    }
}
