//! Sockets of one interface: UDP bound to it, and a packet socket for clients without an address.

use std::io::{self, IoSlice};
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket as StdUdpSocket};
use std::os::fd::AsRawFd;

use anyhow::Context;
use netboot::dhcp::address::{CLIENT_PORT, Destination};
use netboot::dhcp::frame;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// EtherType of IPv4 (RFC 894).
const ETHERTYPE_IPV4: u16 = 0x0800;

/// A UDP socket that hears one interface only.
pub struct InterfaceSocket {
    udp: UdpSocket,
    interface_index: u32,
    /// The address that replies come from; the kernel would take the interface's first.
    source: Ipv4Addr,
}

impl InterfaceSocket {
    /// Opens the port on the interface.
    ///
    /// # Errors
    /// If the interface is not there, the port is taken, or the capabilities are missing.
    pub fn open(interface: &str, source: Ipv4Addr, port: u16) -> anyhow::Result<Self> {
        let interface_index = if_nametoindex(interface)
            .with_context(|| format!("look up interface {interface}; is it there?"))?;
        let open = || -> io::Result<UdpSocket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM.cloexec().nonblocking(), Some(Protocol::UDP))?;
            // Two listeners on two interfaces share the port.
            socket.set_reuse_address(true)?;
            socket.set_broadcast(true)?;
            socket.bind_device(Some(interface.as_bytes()))?;
            socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
            UdpSocket::from_std(StdUdpSocket::from(socket))
        };
        let udp = open().with_context(|| {
            format!("open UDP port {port} on interface {interface}; is another DHCP server running, or a capability missing?")
        })?;
        Ok(Self { udp, interface_index, source })
    }

    /// The next datagram and who sent it. Never from IPv6, the socket is IPv4.
    ///
    /// # Errors
    /// What the kernel reports.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddrV4)> {
        loop {
            let (length, source) = self.udp.recv_from(buffer).await?;
            if let std::net::SocketAddr::V4(source) = source {
                return Ok((length, source));
            }
        }
    }

    /// Sends from our address on this interface.
    async fn send(&self, datagram: &[u8], to: SocketAddrV4) -> io::Result<()> {
        let pktinfo = libc::in_pktinfo {
            ipi_ifindex: i32::try_from(self.interface_index).map_err(io::Error::other)?,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(self.source.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let to = SockaddrIn::from(to);
        self.udp
            .async_io(Interest::WRITABLE, || {
                let control = [ControlMessage::Ipv4PacketInfo(&pktinfo)];
                let parts = [IoSlice::new(datagram)];
                sendmsg(self.udp.as_raw_fd(), &parts, &control, MsgFlags::empty(), Some(&to))?;
                Ok(())
            })
            .await
    }
}

/// How a reply went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// As it should.
    AsAddressed,
    /// By broadcast, because the packet socket could not be used.
    ByBroadcastInstead,
}

/// Sends replies on one interface.
pub struct Sender {
    /// None if the capability for it is missing; then clients without an address get broadcasts.
    packets: Option<Socket>,
    interface_index: u32,
    source: Ipv4Addr,
}

impl Sender {
    /// Opens the packet socket. Without CAP_NET_RAW it does without.
    ///
    /// # Errors
    /// If the interface is not there.
    pub fn open(interface: &str, source: Ipv4Addr) -> anyhow::Result<Self> {
        let interface_index = if_nametoindex(interface)
            .with_context(|| format!("look up interface {interface}; is it there?"))?;
        // Protocol 0 receives nothing: this socket only sends.
        let packets = Socket::new(Domain::PACKET, Type::DGRAM.cloexec().nonblocking(), None);
        let packets = packets
            .inspect_err(|error| {
                tracing::warn!(interface, %error, "no packet socket (CAP_NET_RAW?); new clients are answered by broadcast");
            })
            .ok();
        Ok(Self { packets, interface_index, source })
    }

    /// Sends a reply where it belongs.
    ///
    /// # Errors
    /// What the kernel reports.
    pub async fn send(
        &self,
        through: &InterfaceSocket,
        datagram: &[u8],
        destination: Destination,
    ) -> io::Result<Sent> {
        let broadcast = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
        match destination {
            Destination::Unicast(to) => through.send(datagram, to).await.map(|()| Sent::AsAddressed),
            Destination::Broadcast => through.send(datagram, broadcast).await.map(|()| Sent::AsAddressed),
            Destination::LinkLayer { address, mac } => match self.send_to_station(datagram, address, mac.0) {
                Ok(()) => Ok(Sent::AsAddressed),
                Err(error) => {
                    tracing::debug!(%mac, %error, "answer by broadcast");
                    through.send(datagram, broadcast).await.map(|()| Sent::ByBroadcastInstead)
                }
            },
        }
    }

    fn send_to_station(&self, datagram: &[u8], address: Ipv4Addr, mac: [u8; 6]) -> io::Result<()> {
        let packets = self.packets.as_ref().ok_or(io::ErrorKind::PermissionDenied)?;
        let packet = frame::packet(self.source, address, datagram).ok_or(io::ErrorKind::InvalidInput)?;
        let to = station(self.interface_index, mac)?;
        match packets.send_to(&packet, &to)? {
            sent if sent == packet.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

/// `packet(7)`: where a packet socket of type DGRAM sends to.
pub(super) fn station(interface_index: u32, mac: [u8; 6]) -> io::Result<SockAddr> {
    let mut hardware_address = [0; 8];
    hardware_address[..6].copy_from_slice(&mac);
    let link = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: ETHERTYPE_IPV4.to_be(),
        sll_ifindex: i32::try_from(interface_index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: hardware_address,
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the socket address structures that the storage is made for.
    *unsafe { storage.view_as::<libc::sockaddr_ll>() } = link;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the storage holds a whole sockaddr_ll, and `length` is its size.
    Ok(unsafe { SockAddr::new(storage, length) })
}
