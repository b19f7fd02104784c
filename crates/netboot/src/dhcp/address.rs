//! Where a reply goes (RFC 2131 §4.1), as one function.

use std::net::{Ipv4Addr, SocketAddrV4};

use contract::id::MacAddress;

/// The port of servers and relays.
pub const SERVER_PORT: u16 = 67;
/// The port of clients.
pub const CLIENT_PORT: u16 = 68;
/// The port on which PXE clients ask a ProxyDHCP server a second time (PXE 2.1 §2.2.3).
pub const PROXY_PORT: u16 = 4011;

/// What the address of a reply depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyFacts {
    /// It is a DHCPNAK.
    pub is_nak: bool,
    /// Relay in the request.
    pub giaddr: Ipv4Addr,
    /// Client's address in the request.
    pub ciaddr: Ipv4Addr,
    /// Address in the reply.
    pub yiaddr: Ipv4Addr,
    /// The client asks for broadcast.
    pub wants_broadcast: bool,
    /// The client's hardware address.
    pub mac: MacAddress,
    /// The request came in on [`PROXY_PORT`], from here.
    pub proxy_source: Option<SocketAddrV4>,
}

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Ordinary UDP to this address and port.
    Unicast(SocketAddrV4),
    /// To a client that has no address yet and does not answer ARP.
    LinkLayer {
        /// The address it will have.
        address: Ipv4Addr,
        /// Its hardware address.
        mac: MacAddress,
    },
    /// To 255.255.255.255, client port, on the interface that the request came in by.
    Broadcast,
}

/// Decides, in the order of RFC 2131 §4.1.
#[must_use]
pub fn destination(facts: &ReplyFacts) -> Destination {
    if !facts.giaddr.is_unspecified() {
        return Destination::Unicast(SocketAddrV4::new(facts.giaddr, SERVER_PORT));
    }
    if let Some(source) = facts.proxy_source.filter(|source| !source.ip().is_unspecified()) {
        return Destination::Unicast(source);
    }
    if facts.is_nak {
        return Destination::Broadcast;
    }
    if !facts.ciaddr.is_unspecified() {
        return Destination::Unicast(SocketAddrV4::new(facts.ciaddr, CLIENT_PORT));
    }
    if facts.wants_broadcast || facts.yiaddr.is_unspecified() {
        return Destination::Broadcast;
    }
    Destination::LinkLayer { address: facts.yiaddr, mac: facts.mac }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
    const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    const HAS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 8);
    const GETS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    fn unicast(address: Ipv4Addr, port: u16) -> Destination {
        Destination::Unicast(SocketAddrV4::new(address, port))
    }

    #[test]
    fn every_row_of_the_table() {
        let link = Destination::LinkLayer { address: GETS, mac: MAC };
        let source = Some(SocketAddrV4::new(HAS, 4011));
        let nobody = Some(SocketAddrV4::new(NONE, 68));
        // NAK, giaddr, ciaddr, yiaddr, broadcast, source on 4011
        let table = [
            ("relayed", false, RELAY, NONE, GETS, false, None, unicast(RELAY, 67)),
            ("relayed, wants broadcast", false, RELAY, NONE, GETS, true, None, unicast(RELAY, 67)),
            ("relayed renewal", false, RELAY, HAS, HAS, false, None, unicast(RELAY, 67)),
            ("relayed NAK", true, RELAY, NONE, NONE, false, None, unicast(RELAY, 67)),
            ("NAK", true, NONE, NONE, NONE, false, None, Destination::Broadcast),
            ("NAK of a renewal", true, NONE, HAS, NONE, false, None, Destination::Broadcast),
            ("renewal", false, NONE, HAS, HAS, false, None, unicast(HAS, 68)),
            ("renewal, wants broadcast", false, NONE, HAS, HAS, true, None, unicast(HAS, 68)),
            ("inform", false, NONE, HAS, NONE, false, None, unicast(HAS, 68)),
            ("new, wants broadcast", false, NONE, NONE, GETS, true, None, Destination::Broadcast),
            ("new", false, NONE, NONE, GETS, false, None, link),
            ("proxy offer", false, NONE, NONE, NONE, false, None, Destination::Broadcast),
            ("proxy on 4011", false, NONE, HAS, NONE, false, source, unicast(HAS, 4011)),
            ("proxy on 4011 without address", false, NONE, NONE, NONE, false, nobody, Destination::Broadcast),
        ];
        for (name, is_nak, giaddr, ciaddr, yiaddr, wants_broadcast, proxy_source, expected) in table {
            let facts =
                ReplyFacts { is_nak, giaddr, ciaddr, yiaddr, wants_broadcast, mac: MAC, proxy_source };
            assert_eq!(destination(&facts), expected, "{name}");
        }
    }
}
