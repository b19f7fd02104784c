//! What a server answers (RFC 2131 §4.3), in two modes.
//!
//! *Authoritative*: gives addresses and boot options. *Proxy*: gives boot options beside the site's own
//! server (PXE 2.1 §2.2) and never an address.

use std::net::{Ipv4Addr, SocketAddrV4};

use contract::id::UnixMillis;

use super::lease::{Holder, LeaseChange, LeaseTable, OFFER_MILLIS, QUARANTINE_MILLIS};
use super::reply::{BootSource, Reply, ReplyType};
use super::request::{DhcpRequest, MessageType};
use super::scope::Scope;
use crate::answer::BootAnswer;

/// What a request leads to. The change is made durable, then applied; then the reply leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What changes in the table of leases.
    pub lease_change: Option<LeaseChange>,
    /// What is sent.
    pub reply: Option<Reply>,
    /// What happened, for counters and log.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// An address was offered.
    Offered,
    /// An address was given or confirmed.
    Acknowledged,
    /// A client was told that it can't have the address.
    Refused,
    /// An address came back.
    Released,
    /// An address is in use by somebody else.
    Declined,
    /// A client with an address was told the rest.
    Informed,
    /// There is no address left.
    PoolExhausted,
    /// The client took another server's offer, or speaks to another server.
    OtherServer,
    /// Nothing is known about the client's lease: silence (RFC 2131 §4.3.2).
    UnknownLease,
    /// A field that the message needs is missing or makes no sense.
    Senseless,
    /// Boot options were offered beside another server.
    ProxyOffered,
    /// Boot options were confirmed on the ProxyDHCP port.
    ProxyAcknowledged,
    /// Not for the proxy: the client does not boot from the network, or the message is for the site's server.
    ProxyIgnored,
}

impl Event {
    /// The name of its counter.
    #[must_use]
    pub fn counter_name(self) -> &'static str {
        match self {
            Self::Offered => "dhcp.offered",
            Self::Acknowledged => "dhcp.acknowledged",
            Self::Refused => "dhcp.refused",
            Self::Released => "dhcp.released",
            Self::Declined => "dhcp.declined",
            Self::Informed => "dhcp.informed",
            Self::PoolExhausted => "dhcp.pool-exhausted",
            Self::OtherServer => "dhcp.other-server",
            Self::UnknownLease => "dhcp.unknown-lease",
            Self::Senseless => "dhcp.senseless",
            Self::ProxyOffered => "dhcp.proxy-offered",
            Self::ProxyAcknowledged => "dhcp.proxy-acknowledged",
            Self::ProxyIgnored => "dhcp.proxy-ignored",
        }
    }
}

/// Answers as the network's DHCP server.
#[must_use]
pub fn respond(
    request: &DhcpRequest,
    scope: &Scope,
    leases: &LeaseTable,
    boot: Option<&BootAnswer>,
    now: UnixMillis,
) -> Outcome {
    let exchange = Exchange { request, scope, leases, boot, now };
    match request.message_type {
        MessageType::Discover => exchange.discover(),
        MessageType::Request => exchange.request(),
        MessageType::Decline => exchange.decline(),
        MessageType::Release => exchange.release(),
        MessageType::Inform => exchange.inform(),
    }
}

/// On which port a proxy was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyPort {
    /// 67, where clients look for servers.
    Server,
    /// 4011, where they ask this one, from here.
    Proxy(SocketAddrV4),
}

/// Answers as a ProxyDHCP server. `boot` is none for clients that get nothing to boot.
#[must_use]
pub fn respond_as_proxy(
    request: &DhcpRequest,
    server: Ipv4Addr,
    port: ProxyPort,
    boot: Option<&BootAnswer>,
) -> Outcome {
    let Some(boot) = boot else { return silent(Event::ProxyIgnored) };
    let reply = |kind| Reply::new(kind, request, server).with_boot(boot, request, server, BootSource::Proxy);
    match (port, request.message_type) {
        (ProxyPort::Server, MessageType::Discover) => {
            Outcome { lease_change: None, reply: Some(reply(ReplyType::Offer)), event: Event::ProxyOffered }
        }
        (ProxyPort::Proxy(source), MessageType::Request | MessageType::Inform | MessageType::Discover) => {
            let for_other = request.server_identifier.is_some_and(|wanted| wanted != server);
            if for_other {
                return silent(Event::OtherServer);
            }
            let reply = reply(ReplyType::Ack).on_proxy_port(source);
            Outcome { lease_change: None, reply: Some(reply), event: Event::ProxyAcknowledged }
        }
        _ => silent(Event::ProxyIgnored),
    }
}

fn silent(event: Event) -> Outcome {
    Outcome { lease_change: None, reply: None, event }
}

struct Exchange<'facts> {
    request: &'facts DhcpRequest,
    scope: &'facts Scope,
    leases: &'facts LeaseTable,
    boot: Option<&'facts BootAnswer>,
    now: UnixMillis,
}

impl Exchange<'_> {
    /// RFC 2131 §4.3.1.
    fn discover(&self) -> Outcome {
        let mac = self.request.mac;
        let wanted = self.request.requested_address;
        let Some(address) = self.leases.choose(mac, wanted, self.scope, self.now) else {
            return silent(Event::PoolExhausted);
        };
        let until = self.now.plus_millis(OFFER_MILLIS);
        Outcome {
            lease_change: Some(LeaseChange::Offer { address, mac, until }),
            reply: Some(self.grant(ReplyType::Offer, address)),
            event: Event::Offered,
        }
    }

    /// RFC 2131 §4.3.2: a client takes an offer (server identifier given), comes back after a restart
    /// (requested address given) or extends its lease (`ciaddr` given).
    fn request(&self) -> Outcome {
        let mac = self.request.mac;
        let has = Some(self.request.ciaddr).filter(|address| !address.is_unspecified());
        let Some(address) = self.request.requested_address.or(has) else { return silent(Event::Senseless) };
        let selecting = match self.request.server_identifier {
            Some(server) if server != self.scope.settings().server => return self.withdraw(),
            Some(_) => true,
            None => false,
        };
        if !self.scope.contains(address) {
            return self.refuse();
        }
        let ours_to_give = self.scope.may_give(address, mac);
        let free = self.leases.is_free_for(address, mac, self.now);
        let known = self.leases.remembers(address, mac) || self.scope.reservation(mac) == Some(address);
        if ours_to_give && free && (selecting || known) {
            let until = self.now.plus_millis(u64::from(self.scope.settings().lease_seconds) * 1000);
            return Outcome {
                lease_change: Some(LeaseChange::Bind { address, mac, until }),
                reply: Some(self.grant(ReplyType::Ack, address)),
                event: Event::Acknowledged,
            };
        }
        // Only what is certain is refused: a NAK ends PXE on some machines, silence makes them ask anew.
        if selecting || !free { self.refuse() } else { silent(Event::UnknownLease) }
    }

    fn withdraw(&self) -> Outcome {
        let mac = self.request.mac;
        let offered = self.leases.choose(mac, None, self.scope, self.now);
        let lease_change = offered.map(|address| LeaseChange::Withdraw { address, mac });
        Outcome { lease_change, reply: None, event: Event::OtherServer }
    }

    fn refuse(&self) -> Outcome {
        let reply = Reply::new(ReplyType::Nak, self.request, self.scope.settings().server);
        Outcome { lease_change: None, reply: Some(reply), event: Event::Refused }
    }

    /// RFC 2131 §4.3.3. Believed from the holder only, or one machine could decline the whole pool.
    fn decline(&self) -> Outcome {
        let Some(address) = self.request.requested_address else { return silent(Event::Senseless) };
        if let Some(ended) = self.not_from_holder(address) {
            return ended;
        }
        let until = self.now.plus_millis(QUARANTINE_MILLIS);
        Outcome {
            lease_change: Some(LeaseChange::Decline { address, until }),
            reply: None,
            event: Event::Declined,
        }
    }

    /// RFC 2131 §4.3.4.
    fn release(&self) -> Outcome {
        let (address, mac) = (self.request.ciaddr, self.request.mac);
        if let Some(ended) = self.not_from_holder(address) {
            return ended;
        }
        Outcome {
            lease_change: Some(LeaseChange::Release { address, mac }),
            reply: None,
            event: Event::Released,
        }
    }

    fn not_from_holder(&self, address: Ipv4Addr) -> Option<Outcome> {
        let other = |server| server != self.scope.settings().server;
        if self.request.server_identifier.is_some_and(other) {
            return Some(silent(Event::OtherServer));
        }
        let holds = self.leases.holder(address, self.now) == Holder::Machine(self.request.mac);
        (!holds || !self.scope.contains(address)).then(|| silent(Event::UnknownLease))
    }

    /// RFC 2131 §4.3.5: no address and no lease time.
    fn inform(&self) -> Outcome {
        if !self.scope.is_host(self.request.ciaddr) {
            return silent(Event::Senseless);
        }
        let reply = Reply::new(ReplyType::Ack, self.request, self.scope.settings().server);
        let reply = self.with_boot(reply.with_network(self.scope));
        Outcome { lease_change: None, reply: Some(reply), event: Event::Informed }
    }

    fn grant(&self, kind: ReplyType, address: Ipv4Addr) -> Reply {
        let settings = self.scope.settings();
        let reply = Reply::new(kind, self.request, settings.server);
        self.with_boot(reply.with_address(address, settings.lease_seconds).with_network(self.scope))
    }

    fn with_boot(&self, reply: Reply) -> Reply {
        match self.boot {
            Some(boot) => {
                let server = self.scope.settings().server;
                reply.with_boot(boot, self.request, server, BootSource::Authoritative)
            }
            None => reply,
        }
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
