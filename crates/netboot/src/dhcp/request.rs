//! A request as it was sent. Options are read raw: the codec's typed options stop at the first text
//! that is not UTF-8 and keep one entry of the list in option 93.

use std::net::Ipv4Addr;

use contract::id::MacAddress;
use dhcproto::v4::borrowed::Message;
use uuid::Uuid;

use super::guard::{self, Refusal};
use super::option::code;

/// What a client wants (RFC 2131 §3.1, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Looks for servers.
    Discover,
    /// Takes an offer, confirms or extends a lease.
    Request,
    /// Says that the address is in use by somebody else.
    Decline,
    /// Gives its address back.
    Release,
    /// Has an address and wants the rest.
    Inform,
}

/// A client's datagram, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpRequest {
    /// Option 53.
    pub message_type: MessageType,
    /// Transaction id, echoed.
    pub xid: u32,
    /// `flags` as sent, echoed (RFC 2131 table 3).
    pub flags: u16,
    /// The client's address if it has one and can answer ARP; else 0.0.0.0.
    pub ciaddr: Ipv4Addr,
    /// The relay's address; 0.0.0.0 if there is none.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub mac: MacAddress,
    /// Option 50.
    pub requested_address: Option<Ipv4Addr>,
    /// Option 54.
    pub server_identifier: Option<Ipv4Addr>,
    /// Option 60, raw.
    pub vendor_class: Option<Vec<u8>>,
    /// Option 77, raw.
    pub user_class: Option<Vec<u8>>,
    /// Option 82, raw, echoed (RFC 3046 §2.2).
    pub relay_agent: Option<Vec<u8>>,
    /// Option 93, the whole list; empty if it is missing or has no whole entry.
    pub architectures: Vec<u16>,
    /// Option 94, raw: type, major, minor.
    pub network_interface: Option<Vec<u8>>,
    /// Option 97, raw, echoed.
    pub machine_identifier: Option<Vec<u8>>,
    /// Option 175, raw.
    pub ipxe: Option<Vec<u8>>,
}

impl DhcpRequest {
    /// Reads a datagram. Bytes after the end option (padding) are ignored, and so are `sname` and
    /// `file`: nothing that matters here fits there, so option 52 needs no handling.
    ///
    /// # Errors
    /// [`Refusal`] if the datagram is no request of an Ethernet client.
    pub fn parse(datagram: &[u8]) -> Result<Self, Refusal> {
        guard::check(datagram)?;
        let message = Message::new(datagram).map_err(|_| Refusal::Length { length: datagram.len() })?;
        let mut mac = [0; 6];
        mac.copy_from_slice(&datagram[28..34]);
        let mut request = Self {
            message_type: MessageType::Discover,
            xid: message.xid(),
            flags: u16::from_be_bytes([datagram[10], datagram[11]]),
            ciaddr: message.ciaddr(),
            giaddr: message.giaddr(),
            mac: MacAddress(mac),
            requested_address: None,
            server_identifier: None,
            vendor_class: None,
            user_class: None,
            relay_agent: None,
            architectures: Vec::new(),
            network_interface: None,
            machine_identifier: None,
            ipxe: None,
        };
        let mut message_type = None;
        for option in message.opts() {
            let data = option.data();
            match u8::from(option.code()) {
                code::MESSAGE_TYPE => message_type = message_type.or(client_message_type(data)),
                code::REQUESTED_ADDRESS => set_once(&mut request.requested_address, address(data)),
                code::SERVER_IDENTIFIER => set_once(&mut request.server_identifier, address(data)),
                code::VENDOR_CLASS => set_once(&mut request.vendor_class, Some(data.to_vec())),
                code::USER_CLASS => set_once(&mut request.user_class, Some(data.to_vec())),
                code::RELAY_AGENT => set_once(&mut request.relay_agent, Some(data.to_vec())),
                code::NETWORK_INTERFACE => set_once(&mut request.network_interface, Some(data.to_vec())),
                code::MACHINE_IDENTIFIER => set_once(&mut request.machine_identifier, Some(data.to_vec())),
                code::IPXE => set_once(&mut request.ipxe, Some(data.to_vec())),
                code::ARCHITECTURES if request.architectures.is_empty() => {
                    request.architectures = list_of_u16(data);
                }
                _ => {}
            }
        }
        request.message_type = message_type.ok_or(Refusal::MessageType)?;
        Ok(request)
    }

    /// The client asks for replies by broadcast (RFC 2131 §4.1, bit B of `flags`).
    #[must_use]
    pub fn wants_broadcast(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// It came through a relay.
    #[must_use]
    pub fn relay(&self) -> Option<Ipv4Addr> {
        (!self.giaddr.is_unspecified()).then_some(self.giaddr)
    }

    /// The SMBIOS UUID of option 97, whose first three fields are little-endian (RFC 4578 §2.3 as
    /// firmware does it). None if the option is missing, has another type or length (some ROMs leave
    /// it out), or holds nothing but zeros or ones (some boards are never given one).
    #[must_use]
    pub fn machine_uuid(&self) -> Option<Uuid> {
        let (&kind, bytes) = self.machine_identifier.as_deref()?.split_first()?;
        let bytes: [u8; 16] = bytes.try_into().ok()?;
        let meaningless = bytes.iter().all(|byte| *byte == 0) || bytes.iter().all(|byte| *byte == 0xff);
        (kind == 0 && !meaningless).then(|| Uuid::from_bytes_le(bytes))
    }
}

/// The first occurrence counts; a second one may be an attempt to confuse.
fn set_once<T>(field: &mut Option<T>, value: Option<T>) {
    if field.is_none() {
        *field = value;
    }
}

fn client_message_type(data: &[u8]) -> Option<MessageType> {
    match data {
        [1] => Some(MessageType::Discover),
        [3] => Some(MessageType::Request),
        [4] => Some(MessageType::Decline),
        [7] => Some(MessageType::Release),
        [8] => Some(MessageType::Inform),
        _ => None,
    }
}

fn address(data: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from)
}

fn list_of_u16(data: &[u8]) -> Vec<u16> {
    data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::any;
    use proptest::{collection, proptest};

    use super::*;

    /// A datagram of a client with these options, for tests here and elsewhere.
    pub(crate) fn datagram(mac: [u8; 6], options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; guard::HEADER_BYTES];
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[4..8].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
        bytes[28..34].copy_from_slice(&mac);
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        for (code, data) in options {
            bytes.extend([*code, u8::try_from(data.len()).unwrap()]);
            bytes.extend(*data);
        }
        bytes.push(255);
        bytes
    }

    pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

    fn parsed(options: &[(u8, &[u8])]) -> DhcpRequest {
        let mut all: Vec<(u8, &[u8])> = vec![(53, &[1])];
        all.extend(options);
        DhcpRequest::parse(&datagram(MAC, &all)).unwrap()
    }

    #[test]
    fn reads_fields_and_options() {
        let mut bytes = datagram(
            MAC,
            &[
                (53, &[3]),
                (50, &[192, 0, 2, 9]),
                (54, &[192, 0, 2, 1]),
                (93, &[0, 7, 0, 9]),
                (82, &[1, 1, 5]),
            ],
        );
        bytes[10] = 0x80;
        bytes[12..16].copy_from_slice(&[192, 0, 2, 8]);
        bytes[24..28].copy_from_slice(&[198, 51, 100, 1]);
        let request = DhcpRequest::parse(&bytes).unwrap();
        assert_eq!(request.message_type, MessageType::Request);
        assert_eq!(request.xid, 0xdead_beef);
        assert!(request.wants_broadcast());
        assert_eq!(request.ciaddr, Ipv4Addr::new(192, 0, 2, 8));
        assert_eq!(request.relay(), Some(Ipv4Addr::new(198, 51, 100, 1)));
        assert_eq!(request.mac, MacAddress(MAC));
        assert_eq!(request.requested_address, Some(Ipv4Addr::new(192, 0, 2, 9)));
        assert_eq!(request.server_identifier, Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(request.architectures, [7, 9]);
        assert_eq!(request.relay_agent.as_deref(), Some(&[1, 1, 5][..]));
    }

    #[test]
    fn a_host_name_that_is_not_text_hides_nothing() {
        let request = parsed(&[(12, &[0xff, 0xfe]), (93, &[0, 7]), (81, &[1]), (94, &[1, 3]), (80, &[1, 2])]);
        assert_eq!(request.architectures, [7]);
    }

    #[test]
    fn overload_and_what_stands_in_file_and_sname_are_ignored() {
        let mut bytes = datagram(MAC, &[(53, &[1]), (52, &[3])]);
        bytes[44..47].copy_from_slice(&[53, 1, 7]);
        bytes[108..114].copy_from_slice(&[50, 4, 10, 0, 0, 1]);
        let request = DhcpRequest::parse(&bytes).unwrap();
        assert_eq!(request.message_type, MessageType::Discover);
        assert_eq!(request.requested_address, None);
    }

    #[test]
    fn padding_after_the_end_is_ignored() {
        let mut bytes = datagram(MAC, &[(53, &[1])]);
        bytes.extend([0; 100]);
        bytes.extend([50, 4, 1, 2, 3, 4]);
        assert_eq!(DhcpRequest::parse(&bytes).unwrap().requested_address, None);
    }

    #[test]
    fn no_or_a_servers_message_type_is_refused() {
        let table: [&[(u8, &[u8])]; 6] =
            [&[], &[(53, &[])], &[(53, &[2])], &[(53, &[1, 1])], &[(53, &[0])], &[(50, &[1, 2, 3, 4])]];
        for options in table {
            assert_eq!(DhcpRequest::parse(&datagram(MAC, options)), Err(Refusal::MessageType));
        }
    }

    #[test]
    fn machine_uuids() {
        let with = |data: &[u8]| parsed(&[(97, data)]).machine_uuid();
        let mut sound = vec![0];
        sound.extend([
            0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
        ]);
        let expected: Uuid = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        assert_eq!(with(&sound), Some(expected));
        assert_eq!(parsed(&[]).machine_uuid(), None, "some ROMs leave it out");
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[0; 17]), None, "all zeros");
        assert_eq!(with(&[&[0], &[0xff; 16][..]].concat()), None, "all ones");
        assert_eq!(with(&sound[..16]), None, "too short");
        assert_eq!(with(&[&sound[..], &[0]].concat()), None, "too long");
        sound[0] = 1;
        assert_eq!(with(&sound), None, "another type");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in collection::vec(any::<u8>(), 0..700)) {
            let _ = DhcpRequest::parse(&bytes);
        }

        #[test]
        fn arbitrary_options_and_cuts_never_panic(
            options in collection::vec(any::<u8>(), 0..500),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = datagram(MAC, &[(53, &[1])]);
            bytes.pop();
            bytes.extend(options);
            let _ = DhcpRequest::parse(&bytes);
            let _ = DhcpRequest::parse(&bytes[..cut.index(bytes.len())]);
        }

        #[test]
        fn arbitrary_headers_never_panic(header in collection::vec(any::<u8>(), 236)) {
            let mut bytes = datagram(MAC, &[(53, &[1])]);
            bytes[..236].copy_from_slice(&header);
            let _ = DhcpRequest::parse(&bytes);
        }
    }
}
