//! Replies: built with the codec's owned types, padded, addressed.

use std::net::{Ipv4Addr, SocketAddrV4};

use contract::id::MacAddress;
use dhcproto::v4::{DhcpOption, Flags, HType, Message, MessageType, Opcode, OptionCode, UnknownOption};
use dhcproto::{Encodable, Encoder};

use super::address::{Destination, ReplyFacts, destination};
use super::option::{Encapsulated, code, ipxe, pxe};
use super::request::DhcpRequest;
use super::scope::Scope;
use crate::answer::BootAnswer;

/// BOOTP's size (RFC 951); relays and old ROMs drop what is shorter.
const REPLY_BYTES_MIN: usize = 300;
/// The size of the header's `file` field, with room for the final NUL.
const FILE_BYTES_MAX: usize = 127;
/// The longest option 97 that is echoed; the specified one has 17 bytes.
const MACHINE_IDENTIFIER_BYTES_MAX: usize = 64;

/// A reply that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write a DHCP reply")]
pub struct ReplyError(#[from] dhcproto::error::EncodeError);

/// What kind of reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyType {
    /// DHCPOFFER.
    Offer,
    /// DHCPACK.
    Ack,
    /// DHCPNAK.
    Nak,
}

/// A reply, ready to be written and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    kind: ReplyType,
    message: Message,
    /// Option 82, echoed. Kept apart from the message: dhcproto 0.15 writes it twice if it is given raw,
    /// and can't give it back unchanged if it is not.
    relay_agent: Option<Vec<u8>>,
    facts: ReplyFacts,
}

/// What makes the boot fields of a reply differ between the modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BootSource {
    /// This service gives the address too.
    Authoritative,
    /// Another server gives the address.
    Proxy,
}

impl Reply {
    /// An empty reply to a request (RFC 2131 §4.3.1, table 3).
    pub(super) fn new(kind: ReplyType, request: &DhcpRequest, server: Ipv4Addr) -> Self {
        let mut message = Message::default();
        message
            .set_opcode(Opcode::BootReply)
            .set_htype(HType::Eth)
            .set_xid(request.xid)
            .set_flags(Flags::from(request.flags))
            .set_giaddr(request.giaddr)
            .set_chaddr(&request.mac.0);
        let message_type = match kind {
            ReplyType::Offer => MessageType::Offer,
            ReplyType::Ack => MessageType::Ack,
            ReplyType::Nak => MessageType::Nak,
        };
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(message_type));
        options.insert(DhcpOption::ServerIdentifier(server));
        let facts = ReplyFacts {
            is_nak: kind == ReplyType::Nak,
            giaddr: request.giaddr,
            ciaddr: request.ciaddr,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            wants_broadcast: request.wants_broadcast(),
            mac: request.mac,
            proxy_source: None,
        };
        match kind {
            ReplyType::Ack => drop(message.set_ciaddr(request.ciaddr)),
            // RFC 2131 §4.3.2: the relay must broadcast a NAK, as the client's address is not valid.
            ReplyType::Nak if request.relay().is_some() => {
                message.set_flags(Flags::from(request.flags | 0x8000));
            }
            ReplyType::Nak | ReplyType::Offer => {}
        }
        Self { kind, message, relay_agent: request.relay_agent.clone(), facts }
    }

    /// Adds an address and how long it is good.
    pub(super) fn with_address(mut self, address: Ipv4Addr, lease_seconds: u32) -> Self {
        self.message.set_yiaddr(address);
        self.facts.yiaddr = address;
        let options = self.message.opts_mut();
        options.insert(DhcpOption::AddressLeaseTime(lease_seconds));
        options.insert(DhcpOption::Renewal(lease_seconds / 2));
        options.insert(DhcpOption::Rebinding(lease_seconds / 8 * 7));
        self
    }

    /// Adds what a client must know about its network.
    pub(super) fn with_network(mut self, scope: &Scope) -> Self {
        let settings = scope.settings();
        let options = self.message.opts_mut();
        options.insert(DhcpOption::SubnetMask(scope.mask()));
        if !settings.routers.is_empty() {
            options.insert(DhcpOption::Router(settings.routers.clone()));
        }
        if !settings.name_servers.is_empty() {
            options.insert(DhcpOption::DomainNameServer(settings.name_servers.clone()));
        }
        if let Some(domain) = &settings.domain {
            options.insert(DhcpOption::DomainName(domain.clone()));
        }
        self
    }

    /// Adds what to boot.
    pub(super) fn with_boot(
        mut self,
        answer: &BootAnswer,
        request: &DhcpRequest,
        server: Ipv4Addr,
        source: BootSource,
    ) -> Self {
        let (class, file, next_server, terminated) = match answer {
            BootAnswer::Tftp { server, file } => (b"PXEClient".as_slice(), file.name(), *server, true),
            BootAnswer::HttpLoader { url } => (b"HTTPClient".as_slice(), url.as_str(), server, false),
            BootAnswer::Script { url } => (b"PXEClient".as_slice(), url.as_str(), server, false),
        };
        self.message.set_siaddr(next_server);
        if file.len() <= FILE_BYTES_MAX {
            self.message.set_fname(file.as_bytes());
        }
        let options = self.message.opts_mut();
        // Some ROMs take what follows option 67 as part of the name unless it ends in NUL.
        let mut name = file.as_bytes().to_vec();
        name.extend(terminated.then_some(0));
        options.insert(DhcpOption::BootfileName(name));
        if let BootAnswer::Tftp { server, .. } = answer {
            options.insert(DhcpOption::TFTPServerName(server.to_string().into_bytes()));
            let control = Encapsulated::default().with(pxe::DISCOVERY_CONTROL, &[pxe::USE_OFFERED_FILE]);
            options.insert(DhcpOption::VendorExtensions(control.into_bytes()));
        }
        // iPXE takes an offer with this class for a ProxyDHCP offer, so it gets it from the proxy only.
        if source == BootSource::Proxy || !matches!(answer, BootAnswer::Script { .. }) {
            options.insert(DhcpOption::ClassIdentifier(class.to_vec()));
        }
        if source == BootSource::Authoritative && matches!(answer, BootAnswer::Script { .. }) {
            let no_proxy = Encapsulated::default().with(ipxe::NO_PROXY_DHCP, &[1]);
            options.insert(raw(code::IPXE, no_proxy.into_bytes()));
        }
        // RFC 4578 §2.3 has servers ignore it, but firmware drops offers without its own GUID.
        let identifier = request.machine_identifier.as_ref();
        if let Some(identifier) = identifier.filter(|bytes| bytes.len() <= MACHINE_IDENTIFIER_BYTES_MAX) {
            options.insert(DhcpOption::ClientMachineIdentifier(identifier.clone()));
        }
        self
    }

    /// Notes that the request came in on the ProxyDHCP port, from here.
    pub(super) fn on_proxy_port(mut self, source: SocketAddrV4) -> Self {
        self.facts.proxy_source = Some(source);
        self
    }

    /// What kind of reply it is.
    #[must_use]
    pub fn kind(&self) -> ReplyType {
        self.kind
    }

    /// Where it goes.
    #[must_use]
    pub fn destination(&self) -> Destination {
        destination(&self.facts)
    }

    /// The client that it is for.
    #[must_use]
    pub fn mac(&self) -> MacAddress {
        self.facts.mac
    }

    /// The address that it gives; 0.0.0.0 if none.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.facts.yiaddr
    }

    /// The datagram.
    ///
    /// # Errors
    /// If the codec refuses; the sizes that are checked on the way in rule it out.
    pub fn encode(&self) -> Result<Vec<u8>, ReplyError> {
        let mut bytes = Vec::with_capacity(REPLY_BYTES_MIN);
        self.message.encode(&mut Encoder::new(&mut bytes))?;
        if let Some(relay_agent) = &self.relay_agent {
            // RFC 3046 §2.1: the last option before the end.
            let end = bytes.pop();
            for part in relay_agent.chunks(usize::from(u8::MAX)) {
                bytes.extend([code::RELAY_AGENT, u8::try_from(part.len()).unwrap_or(u8::MAX)]);
                bytes.extend(part);
            }
            bytes.extend(end);
        }
        if bytes.len() < REPLY_BYTES_MIN {
            bytes.resize(REPLY_BYTES_MIN, 0);
        }
        Ok(bytes)
    }
}

/// An option byte for byte, so that the codec's idea of its inside does not matter.
fn raw(code: u8, data: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), data))
}
