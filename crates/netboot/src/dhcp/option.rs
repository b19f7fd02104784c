//! Numbers of options and of encapsulated sub-options, and reading and writing of the latter.

/// RFC 2132 and its followers: the options that are read or written here.
pub mod code {
    /// RFC 2132 §9.1.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// RFC 2132 §9.6.
    pub const MESSAGE_TYPE: u8 = 53;
    /// RFC 2132 §9.7.
    pub const SERVER_IDENTIFIER: u8 = 54;
    /// RFC 2132 §9.13: `PXEClient:Arch:…` (RFC 4578 §2) or `HTTPClient:Arch:…` (UEFI).
    pub const VENDOR_CLASS: u8 = 60;
    /// RFC 3004; iPXE sends the bare text.
    pub const USER_CLASS: u8 = 77;
    /// RFC 3046.
    pub const RELAY_AGENT: u8 = 82;
    /// RFC 4578 §2.1, a list of 16-bit numbers.
    pub const ARCHITECTURES: u8 = 93;
    /// RFC 4578 §2.2.
    pub const NETWORK_INTERFACE: u8 = 94;
    /// RFC 4578 §2.3: type 0 and the SMBIOS UUID.
    pub const MACHINE_IDENTIFIER: u8 = 97;
    /// iPXE's encapsulated options.
    pub const IPXE: u8 = 175;
}

/// Sub-options of option 43 as PXE firmware reads them (PXE 2.1, table 2-1).
pub mod pxe {
    /// `PXE_DISCOVERY_CONTROL`.
    pub const DISCOVERY_CONTROL: u8 = 6;
    /// Bit 3: take the boot file named in this very offer; look for no boot server.
    pub const USE_OFFERED_FILE: u8 = 8;
}

/// Sub-options of option 175 (iPXE's `features.h` and `dhcp.h`).
pub mod ipxe {
    /// Feature: HTTP.
    pub const FEATURE_HTTP: u8 = 0x13;
    /// Offered by the server: don't wait for ProxyDHCP.
    pub const NO_PROXY_DHCP: u8 = 0xb0;
}

const PAD: u8 = 0;
const END: u8 = 255;

/// Encapsulated options, written byte for byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encapsulated(Vec<u8>);

impl Encapsulated {
    /// Appends a sub-option. Data beyond 255 bytes does not fit and is cut; callers write constants.
    #[must_use]
    pub fn with(mut self, code: u8, data: &[u8]) -> Self {
        let length = data.len().min(usize::from(u8::MAX));
        self.0.extend([code, u8::try_from(length).unwrap_or(u8::MAX)]);
        self.0.extend(&data[..length]);
        self
    }

    /// The bytes with the end mark.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.0.push(END);
        self.0
    }
}

/// The sub-options of an encapsulated option; ends silently at the first that is cut off.
pub fn encapsulated(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let (&code, rest) = bytes.split_first()?;
            match code {
                PAD => bytes = rest,
                END => return None,
                _ => {
                    let (&length, rest) = rest.split_first()?;
                    let (data, rest) = rest.split_at_checked(usize::from(length))?;
                    bytes = rest;
                    return Some((code, data));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::{collection, prop_assert, proptest};

    use super::*;

    #[test]
    fn discovery_control_is_these_bytes() {
        let bytes =
            Encapsulated::default().with(pxe::DISCOVERY_CONTROL, &[pxe::USE_OFFERED_FILE]).into_bytes();
        assert_eq!(bytes, [6, 1, 8, 255]);
    }

    #[test]
    fn reads_what_it_wrote_and_stops_at_a_cut() {
        let bytes = Encapsulated::default().with(1, b"ab").with(2, b"").into_bytes();
        assert_eq!(encapsulated(&bytes).collect::<Vec<_>>(), [(1, &b"ab"[..]), (2, &b""[..])]);
        assert_eq!(encapsulated(&bytes[..3]).count(), 0);
        assert_eq!(encapsulated(&[0, 0, 9, 1, 7]).collect::<Vec<_>>(), [(9, &[7][..])]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_give_no_more_than_they_hold(bytes in collection::vec(any::<u8>(), 0..300)) {
            let read: usize = encapsulated(&bytes).map(|(_, data)| data.len() + 2).sum();
            prop_assert!(read <= bytes.len());
        }
    }
}
