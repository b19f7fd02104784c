//! One network and what may be given out in it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use contract::id::MacAddress;
use serde::{Deserialize, Serialize};

use super::request::DhcpRequest;

/// The most addresses that one pool may have: the table of leases is bounded by it.
pub const POOL_ADDRESSES_MAX: u32 = 65_536;

/// Why settings make no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A prefix that leaves no room for hosts.
    #[error("network {network}/{prefix}: use a prefix from 8 to 30")]
    Prefix {
        /// As given.
        network: Ipv4Addr,
        /// As given.
        prefix: u8,
    },
    /// An address that must be in the network is not.
    #[error("{what} {address} is not a host address of network {network}/{prefix}")]
    OutsideNetwork {
        /// What the address is for.
        what: &'static str,
        /// As given.
        address: Ipv4Addr,
        /// As given.
        network: Ipv4Addr,
        /// As given.
        prefix: u8,
    },
    /// First after last, or more than [`POOL_ADDRESSES_MAX`].
    #[error(
        "pool {first} to {last}: the last must not be before the first, and pools have {POOL_ADDRESSES_MAX} addresses at most"
    )]
    Pool {
        /// As given.
        first: Ipv4Addr,
        /// As given.
        last: Ipv4Addr,
    },
    /// One address is reserved for two machines, or the server's own is reserved.
    #[error("{address} is reserved twice or is the server's own; reserve each address once")]
    ReservedTwice {
        /// Which.
        address: Ipv4Addr,
    },
    /// A time that makes leases useless.
    #[error("lease_seconds {0}: use 60 or more")]
    LeaseSeconds(u32),
    /// Not a domain name, or too long for a reply.
    #[error("domain {0:?}: use at most 64 letters, digits, '-' and '.'")]
    Domain(String),
    /// More name servers or routers than fit into a reply.
    #[error("{0} name servers and routers: use at most 8")]
    TooManyServers(usize),
}

/// The settings of a scope as they stand in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeSettings {
    /// Network address.
    pub network: Ipv4Addr,
    /// Prefix length in bits.
    pub prefix: u8,
    /// The service's own address, sent as option 54. For a network behind a relay: the address that
    /// the relay forwards to.
    pub server: Ipv4Addr,
    /// First and last addresses of the pools; empty: reservations only.
    #[serde(default)]
    pub pools: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// Default gateways.
    #[serde(default)]
    pub routers: Vec<Ipv4Addr>,
    /// Name servers.
    #[serde(default)]
    pub name_servers: Vec<Ipv4Addr>,
    /// Domain name.
    #[serde(default)]
    pub domain: Option<String>,
    /// How long a lease is good, in seconds.
    #[serde(default = "default_lease_seconds")]
    pub lease_seconds: u32,
    /// Fixed addresses by hardware address; they may lie outside the pool.
    #[serde(default)]
    pub reservations: BTreeMap<MacAddress, Ipv4Addr>,
}

fn default_lease_seconds() -> u32 {
    3600
}

/// A checked scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope(ScopeSettings);

impl Scope {
    /// Checks settings.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn new(settings: ScopeSettings) -> Result<Self, ScopeError> {
        let scope = Self(settings);
        let ScopeSettings { network, prefix, .. } = scope.0;
        if !(8..=30).contains(&prefix) {
            return Err(ScopeError::Prefix { network, prefix });
        }
        if network.to_bits() & !scope.mask_bits() != 0 {
            return Err(ScopeError::OutsideNetwork { what: "network", address: network, network, prefix });
        }
        let inside = |what: &'static str, address: Ipv4Addr| {
            let error = ScopeError::OutsideNetwork { what, address, network, prefix };
            if scope.is_host(address) { Ok(()) } else { Err(error) }
        };
        let mut addresses = 0;
        for &(first, last) in &scope.0.pools {
            inside("first address of a pool", first)?;
            inside("last address of a pool", last)?;
            addresses += last.to_bits().saturating_sub(first.to_bits()) + 1;
            if last < first || addresses > POOL_ADDRESSES_MAX {
                return Err(ScopeError::Pool { first, last });
            }
        }
        for router in &scope.0.routers {
            inside("router", *router)?;
        }
        let mut seen = vec![scope.0.server];
        for address in scope.0.reservations.values() {
            inside("reservation", *address)?;
            if seen.contains(address) {
                return Err(ScopeError::ReservedTwice { address: *address });
            }
            seen.push(*address);
        }
        if scope.0.lease_seconds < 60 {
            return Err(ScopeError::LeaseSeconds(scope.0.lease_seconds));
        }
        let servers = scope.0.routers.len() + scope.0.name_servers.len();
        if servers > 8 {
            return Err(ScopeError::TooManyServers(servers));
        }
        let plain = |name: &str| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        };
        match &scope.0.domain {
            Some(domain) if !plain(domain) => Err(ScopeError::Domain(domain.chars().take(80).collect())),
            _ => Ok(scope),
        }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &ScopeSettings {
        &self.0
    }

    fn mask_bits(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.0.prefix.min(32))).unwrap_or(0)
    }

    /// The network mask.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.mask_bits())
    }

    /// The address is in the network.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask_bits() == self.0.network.to_bits()
    }

    /// In the network, and neither its own nor its broadcast address.
    #[must_use]
    pub fn is_host(&self, address: Ipv4Addr) -> bool {
        let host = address.to_bits() & !self.mask_bits();
        self.contains(address) && host != 0 && host != !self.mask_bits()
    }

    /// The address reserved for a machine.
    #[must_use]
    pub fn reservation(&self, mac: MacAddress) -> Option<Ipv4Addr> {
        self.0.reservations.get(&mac).copied()
    }

    /// Addresses of the pools, in order.
    pub fn pool(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let bits = |(first, last): (Ipv4Addr, Ipv4Addr)| first.to_bits()..=last.to_bits();
        self.0.pools.clone().into_iter().flat_map(bits).map(Ipv4Addr::from_bits)
    }

    /// Whether this machine may ever have this address: its reservation, or, if it has none, one of
    /// the pool that is not reserved for another machine and is not the server's or a router's.
    #[must_use]
    pub fn may_give(&self, address: Ipv4Addr, mac: MacAddress) -> bool {
        if let Some(reserved) = self.reservation(mac) {
            return reserved == address;
        }
        let in_pool = self.0.pools.iter().any(|(first, last)| (*first..=*last).contains(&address));
        let taken = address == self.0.server
            || self.0.routers.contains(&address)
            || self.0.name_servers.contains(&address)
            || self.0.reservations.values().any(|reserved| *reserved == address);
        in_pool && !taken
    }
}

/// The scope that a request belongs to: the relay's network, else the network of the address that the
/// client has, else the network of the interface that the request came in by. None: not ours.
#[must_use]
pub fn select<'scopes>(
    scopes: &'scopes [Scope],
    interface_address: Ipv4Addr,
    request: &DhcpRequest,
) -> Option<&'scopes Scope> {
    let of = |address: Ipv4Addr| scopes.iter().find(|scope| scope.contains(address));
    if let Some(relay) = request.relay() {
        return of(relay);
    }
    if !request.ciaddr.is_unspecified()
        && let Some(scope) = of(request.ciaddr)
    {
        return Some(scope);
    }
    of(interface_address)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dhcp::request::tests::{MAC, datagram};

    pub(crate) fn settings() -> ScopeSettings {
        ScopeSettings {
            network: Ipv4Addr::new(192, 0, 2, 0),
            prefix: 24,
            server: Ipv4Addr::new(192, 0, 2, 1),
            pools: vec![(Ipv4Addr::new(192, 0, 2, 100), Ipv4Addr::new(192, 0, 2, 103))],
            routers: vec![Ipv4Addr::new(192, 0, 2, 254)],
            name_servers: vec![Ipv4Addr::new(192, 0, 2, 53)],
            domain: Some("example.test".to_owned()),
            lease_seconds: 3600,
            reservations: BTreeMap::from([(MacAddress([2, 0, 0, 0, 0, 9]), Ipv4Addr::new(192, 0, 2, 50))]),
        }
    }

    fn refusal(change: impl FnOnce(&mut ScopeSettings)) -> String {
        let mut settings = settings();
        change(&mut settings);
        Scope::new(settings).unwrap_err().to_string()
    }

    #[test]
    fn settings_are_checked() {
        assert!(Scope::new(settings()).is_ok());
        assert!(refusal(|s| s.prefix = 31).contains("8 to 30"));
        assert!(refusal(|s| s.prefix = 200).contains("8 to 30"));
        assert!(refusal(|s| s.network = Ipv4Addr::new(192, 0, 2, 4)).contains("not a host address"));
        let broadcast = Ipv4Addr::new(192, 0, 2, 255);
        assert!(refusal(|s| s.pools = vec![(s.server, broadcast)]).contains("last address of a pool"));
        assert!(
            refusal(|s| s.pools = s.pools.iter().map(|(a, b)| (*b, *a)).collect())
                .contains("before the first")
        );
        let wide = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 255, 255, 254));
        let widen = |s: &mut ScopeSettings| {
            (s.network, s.prefix, s.pools) = (Ipv4Addr::new(10, 0, 0, 0), 8, vec![wide])
        };
        assert!(refusal(widen).contains("at most"));
        assert!(refusal(|s| s.routers = vec![Ipv4Addr::new(10, 0, 0, 1)]).contains("router"));
        let double = |s: &mut ScopeSettings| {
            s.reservations.insert(MacAddress(MAC), Ipv4Addr::new(192, 0, 2, 50));
        };
        assert!(refusal(double).contains("reserved twice"));
        let own = |s: &mut ScopeSettings| {
            s.reservations.insert(MacAddress(MAC), s.server);
        };
        assert!(refusal(own).contains("reserved twice"));
        assert!(refusal(|s| s.lease_seconds = 1).contains("60 or more"));
        assert!(refusal(|s| s.domain = Some("a b".into())).contains("domain"));
        assert!(refusal(|s| s.name_servers = vec![s.server; 9]).contains("at most 8"));
    }

    #[test]
    fn who_may_have_what() {
        let mut with_server_in_pool = settings();
        with_server_in_pool.server = Ipv4Addr::new(192, 0, 2, 101);
        let scope = Scope::new(with_server_in_pool).unwrap();
        let (other, reserved) = (MacAddress(MAC), MacAddress([2, 0, 0, 0, 0, 9]));
        let host = |last| Ipv4Addr::new(192, 0, 2, last);
        assert!(scope.may_give(host(100), other));
        assert!(!scope.may_give(host(101), other), "the server's own");
        assert!(!scope.may_give(host(104), other), "outside the pool");
        assert!(!scope.may_give(host(50), other), "reserved for another");
        assert!(scope.may_give(host(50), reserved));
        assert!(!scope.may_give(host(100), reserved), "it has its own");
        assert_eq!(scope.pool().count(), 4);
    }

    #[test]
    fn a_request_finds_its_scope() {
        let near = Scope::new(settings()).unwrap();
        let mut far = settings();
        far.network = Ipv4Addr::new(198, 51, 100, 0);
        (far.pools, far.routers, far.reservations) = (Vec::new(), Vec::new(), BTreeMap::new());
        let scopes = [near, Scope::new(far).unwrap()];
        let request = |ciaddr: [u8; 4], giaddr: [u8; 4]| {
            let mut bytes = datagram(MAC, &[(53, &[1])]);
            bytes[12..16].copy_from_slice(&ciaddr);
            bytes[24..28].copy_from_slice(&giaddr);
            DhcpRequest::parse(&bytes).unwrap()
        };
        let here = Ipv4Addr::new(192, 0, 2, 1);
        let found =
            |request: &DhcpRequest, at| select(&scopes, at, request).map(|scope| scope.settings().network);
        let (near, far) = (Some(Ipv4Addr::new(192, 0, 2, 0)), Some(Ipv4Addr::new(198, 51, 100, 0)));
        assert_eq!(found(&request([0; 4], [0; 4]), here), near);
        assert_eq!(found(&request([0; 4], [198, 51, 100, 7]), here), far);
        assert_eq!(found(&request([0; 4], [203, 0, 113, 7]), here), None, "a relay that we don't know");
        assert_eq!(found(&request([198, 51, 100, 8], [0; 4]), here), far, "renews from afar");
        assert_eq!(found(&request([10, 0, 0, 1], [0; 4]), here), near, "moved here from elsewhere");
        assert_eq!(found(&request([0; 4], [0; 4]), Ipv4Addr::new(10, 0, 0, 1)), None);
    }
}
