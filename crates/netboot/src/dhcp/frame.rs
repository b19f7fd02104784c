//! An IPv4 packet with a UDP datagram in it, for clients that have no address yet: the kernel would
//! ask for their hardware address by ARP, and they could not answer.

use std::net::Ipv4Addr;

use super::address::{CLIENT_PORT, SERVER_PORT};

const IP_HEADER_BYTES: usize = 20;
const UDP_HEADER_BYTES: usize = 8;
const PROTOCOL_UDP: u8 = 17;
const TIME_TO_LIVE: u8 = 64;

/// The packet (RFC 791, RFC 768) from server port to client port; none if the payload is too long.
#[must_use]
pub fn packet(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(UDP_HEADER_BYTES + payload.len()).ok()?;
    let total_length = u16::try_from(IP_HEADER_BYTES + UDP_HEADER_BYTES + payload.len()).ok()?;
    let mut ip = Vec::with_capacity(usize::from(total_length));
    ip.extend([0x45, 0]);
    ip.extend(total_length.to_be_bytes());
    // No identification, don't fragment.
    ip.extend([0, 0, 0x40, 0, TIME_TO_LIVE, PROTOCOL_UDP, 0, 0]);
    ip.extend(source.octets());
    ip.extend(destination.octets());
    let header_checksum = checksum(&ip);
    ip[10..12].copy_from_slice(&header_checksum.to_be_bytes());

    let mut udp = Vec::with_capacity(usize::from(udp_length));
    udp.extend(SERVER_PORT.to_be_bytes());
    udp.extend(CLIENT_PORT.to_be_bytes());
    udp.extend(udp_length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    let mut pseudo = Vec::with_capacity(12 + udp.len());
    pseudo.extend(source.octets());
    pseudo.extend(destination.octets());
    pseudo.extend([0, PROTOCOL_UDP]);
    pseudo.extend(udp_length.to_be_bytes());
    pseudo.extend(&udp);
    // RFC 768: a checksum of zero is sent as all ones, because zero means none.
    let udp_checksum = match checksum(&pseudo) {
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&udp_checksum.to_be_bytes());
    ip.extend(udp);
    Some(ip)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_add_up_to_nothing_at_the_receiver() {
        let (source, destination) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 9));
        for payload in [&b""[..], b"a", b"ab", &[0xff; 301]] {
            let packet = packet(source, destination, payload).unwrap();
            assert_eq!(packet.len(), 28 + payload.len());
            assert_eq!(checksum(&packet[..20]), 0, "header");
            let mut pseudo = [source.octets(), destination.octets()].concat();
            pseudo.extend([0, 17]);
            pseudo.extend(&packet[24..26]);
            pseudo.extend(&packet[20..]);
            assert_eq!(checksum(&pseudo), 0, "datagram");
            assert_eq!(&packet[20..24], [0, 67, 0, 68]);
            assert_eq!(&packet[28..], payload);
        }
        assert_eq!(packet(source, destination, &[0; 65_508]), None);
    }

    #[test]
    fn the_header_of_a_known_packet() {
        // The example of RFC 1071 in use everywhere: 45 00 00 73 … checksum b861.
        let header =
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(checksum(&header), 0xb861);
    }
}
