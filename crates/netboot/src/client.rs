//! What kind of client asks, told by options 60, 77, 93, 97 and 175.
//!
//! | rule | says |
//! |---|---|
//! | C1 | user class (77) iPXE, bare or in RFC 3004 form → iPXE, if it can do HTTP |
//! | C2 | no user class, and option 175 lists features with HTTP → iPXE |
//! | C3 | vendor class (60) neither `PXEClient` nor `HTTPClient` → does not boot from the network |
//! | C4 | a Raspberry Pi's own loader claims architecture 0 → does not boot from the network |
//! | C5 | processor: first architecture of 93 that we know and that is not 0; else that of the class text; else 0 |
//! | C6 | transport: HTTP if the class is `HTTPClient`, else PXE |

use crate::dhcp::option::{encapsulated, ipxe};
use crate::dhcp::request::DhcpRequest;

/// What kind of client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientKind {
    /// A PXE ROM under BIOS.
    Bios,
    /// UEFI PXE, x64.
    UefiX64,
    /// UEFI PXE, arm64.
    UefiArm64,
    /// UEFI HTTP Boot, x64.
    UefiHttpX64,
    /// UEFI HTTP Boot, arm64.
    UefiHttpArm64,
    /// iPXE that can fetch its script over HTTP.
    Ipxe {
        /// Under which firmware.
        firmware: Firmware,
    },
    /// Boots from the network, but there is no loader for it.
    Unsupported {
        /// RFC 4578 §2.1 and its registry.
        architecture: u16,
    },
    /// An operating system, a printer, a loader that knows only its own files.
    NotNetboot,
}

/// Under which firmware an iPXE runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Firmware {
    /// Legacy BIOS.
    Bios,
    /// UEFI on x64.
    UefiX64,
    /// UEFI on arm64.
    UefiArm64,
    /// It did not say, or something else.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Pxe,
    Http,
}

/// Tells what kind of client asks; see the module's rules.
#[must_use]
pub fn classify(request: &DhcpRequest) -> ClientKind {
    let class = request.vendor_class.as_deref().unwrap_or_default();
    let architecture = architecture(request, class);
    if is_ipxe(request) {
        return ClientKind::Ipxe { firmware: firmware(architecture) };
    }
    let transport = if class.starts_with(b"PXEClient") {
        Transport::Pxe
    } else if class.starts_with(b"HTTPClient") {
        Transport::Http
    } else {
        return ClientKind::NotNetboot;
    };
    if architecture == 0 && is_raspberry_loader(request) {
        return ClientKind::NotNetboot;
    }
    match (firmware(architecture), transport) {
        (Firmware::Bios, Transport::Pxe) => ClientKind::Bios,
        (Firmware::UefiX64, Transport::Pxe) => ClientKind::UefiX64,
        (Firmware::UefiArm64, Transport::Pxe) => ClientKind::UefiArm64,
        (Firmware::UefiX64, Transport::Http) => ClientKind::UefiHttpX64,
        (Firmware::UefiArm64, Transport::Http) => ClientKind::UefiHttpArm64,
        (Firmware::Bios, Transport::Http) | (Firmware::Other, _) => ClientKind::Unsupported { architecture },
    }
}

/// Registry "Processor Architecture Types". 7 and 9 are both x64 in practice (RFC 4578 erratum).
fn firmware(architecture: u16) -> Firmware {
    match architecture {
        0 => Firmware::Bios,
        7 | 9 | 16 => Firmware::UefiX64,
        11 | 19 => Firmware::UefiArm64,
        _ => Firmware::Other,
    }
}

/// C5. EDK2 on some boards sends an option 93 that is of no use, but the right class text
/// (bootimus#118).
fn architecture(request: &DhcpRequest, class: &[u8]) -> u16 {
    let known = |number: &u16| *number != 0 && firmware(*number) != Firmware::Other;
    let listed = request.architectures.iter().copied();
    listed
        .clone()
        .find(known)
        .or_else(|| class_architecture(class).filter(known))
        .or_else(|| listed.clone().next())
        .or_else(|| class_architecture(class))
        .unwrap_or(0)
}

/// The number in `PXEClient:Arch:00007:UNDI:003016` (RFC 4578 §2).
fn class_architecture(class: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(class).ok()?;
    let (_, number) = text.split_once(":Arch:")?;
    let digits = number.get(..5)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// C1 and C2. An iPXE that lists its features without HTTP is a ROM that must load ours first.
fn is_ipxe(request: &DhcpRequest) -> bool {
    let features = request.ipxe.as_deref().unwrap_or_default();
    let has_http =
        encapsulated(features).any(|(code, data)| code == ipxe::FEATURE_HTTP && data.first() != Some(&0));
    match request.user_class.as_deref() {
        Some(class) if !class.is_empty() => {
            says_ipxe(class) && (has_http || encapsulated(features).next().is_none())
        }
        _ => has_http,
    }
}

/// Bare, or one of the length-prefixed texts of RFC 3004 §4.
fn says_ipxe(class: &[u8]) -> bool {
    if class == b"iPXE" {
        return true;
    }
    let mut rest = class;
    while let Some((&length, tail)) = rest.split_first() {
        let Some((text, tail)) = tail.split_at_checked(usize::from(length)) else { return false };
        if text == b"iPXE" {
            return true;
        }
        rest = tail;
    }
    false
}

/// C4. The loader in a Raspberry Pi's EEPROM claims BIOS (rpi-eeprom#182) and would fetch a PC's
/// loader in vain. It is known by its GUID, which begins with `RPi`, or by the makers' addresses.
fn is_raspberry_loader(request: &DhcpRequest) -> bool {
    const MAKERS: [[u8; 3]; 6] = [
        [0xb8, 0x27, 0xeb],
        [0xdc, 0xa6, 0x32],
        [0xe4, 0x5f, 0x01],
        [0x28, 0xcd, 0xc1],
        [0xd8, 0x3a, 0xdd],
        [0x2c, 0xcf, 0x67],
    ];
    let guid = request.machine_identifier.as_deref().and_then(|bytes| bytes.get(1..5)).unwrap_or_default();
    let reversed = [guid.get(3), guid.get(2), guid.get(1)].into_iter().flatten().copied();
    guid.starts_with(b"RPi")
        || reversed.eq(*b"RPi")
        || MAKERS.iter().any(|maker| request.mac.0.starts_with(maker))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::{collection, option, proptest};

    use super::*;
    use crate::dhcp::request::tests::{MAC, datagram};

    /// Name, options, what they mean.
    type Row<'options> = (&'static str, &'options [(u8, &'options [u8])], ClientKind);

    fn kind_of(mac: [u8; 6], options: &[(u8, &[u8])]) -> ClientKind {
        let mut all: Vec<(u8, &[u8])> = vec![(53, &[1])];
        all.extend(options);
        classify(&DhcpRequest::parse(&datagram(mac, &all)).unwrap())
    }

    const PXE: &[u8] = b"PXEClient:Arch:00000:UNDI:002001";
    const PXE_X64: &[u8] = b"PXEClient:Arch:00007:UNDI:003016";
    const PXE_ARM64: &[u8] = b"PXEClient:Arch:00011:UNDI:003000";
    const HTTP_X64: &[u8] = b"HTTPClient:Arch:00016:UNDI:003001";
    const HTTP_ARM64: &[u8] = b"HTTPClient:Arch:00019:UNDI:003001";
    const IPXE_HTTP: &[u8] = &[0x13, 1, 1, 0x18, 1, 1];
    const IPXE_NO_HTTP: &[u8] = &[0x15, 1, 1];

    #[test]
    fn firmware_clients() {
        let x64_unsupported = ClientKind::Unsupported { architecture: 6 };
        let table: &[Row] = &[
            ("BIOS ROM", &[(60, PXE), (93, &[0, 0])], ClientKind::Bios),
            ("BIOS ROM without 93 and GUID", &[(60, b"PXEClient")], ClientKind::Bios),
            ("OVMF", &[(60, PXE_X64), (93, &[0, 7]), (94, &[1, 3, 16])], ClientKind::UefiX64),
            ("the other x64 number", &[(60, b"PXEClient:Arch:00009"), (93, &[0, 9])], ClientKind::UefiX64),
            ("a list, first known wins", &[(60, PXE), (93, &[0, 6, 0, 7])], ClientKind::UefiX64),
            ("a list that begins with 0", &[(60, PXE), (93, &[0, 0, 0, 7])], ClientKind::UefiX64),
            ("arm64", &[(60, PXE_ARM64), (93, &[0, 11])], ClientKind::UefiArm64),
            ("EDK2 on Pi, no 93", &[(60, PXE_ARM64)], ClientKind::UefiArm64),
            ("EDK2 on Pi, 93 empty", &[(60, PXE_ARM64), (93, &[])], ClientKind::UefiArm64),
            ("EDK2 on Pi, 93 odd", &[(60, PXE_ARM64), (93, &[11])], ClientKind::UefiArm64),
            ("EDK2 on Pi, 93 zero", &[(60, PXE_ARM64), (93, &[0, 0])], ClientKind::UefiArm64),
            ("HTTP Boot x64", &[(60, HTTP_X64), (93, &[0, 16])], ClientKind::UefiHttpX64),
            ("HTTP Boot x64, PXE's number", &[(60, HTTP_X64), (93, &[0, 7])], ClientKind::UefiHttpX64),
            ("HTTP Boot arm64", &[(60, HTTP_ARM64), (93, &[0, 19])], ClientKind::UefiHttpArm64),
            ("UEFI ia32", &[(60, b"PXEClient:Arch:00006"), (93, &[0, 6])], x64_unsupported),
            (
                "HTTP without architecture",
                &[(60, b"HTTPClient")],
                ClientKind::Unsupported { architecture: 0 },
            ),
            ("Linux", &[(60, b"dhcpcd-9.4"), (93, &[0, 7])], ClientKind::NotNetboot),
            ("Windows", &[(60, b"MSFT 5.0")], ClientKind::NotNetboot),
            ("nothing", &[], ClientKind::NotNetboot),
            ("class in another case", &[(60, b"pxeclient")], ClientKind::NotNetboot),
            ("class garbage", &[(60, b"PXEClient:Arch:+0007")], ClientKind::Bios),
            ("class not text", &[(60, b"PXEClient:Arch:\xff\xff\xff\xff\xff")], ClientKind::Bios),
        ];
        for (name, options, expected) in table {
            assert_eq!(kind_of(MAC, options), *expected, "{name}");
        }
    }

    #[test]
    fn ipxe_clients() {
        let bios = ClientKind::Ipxe { firmware: Firmware::Bios };
        let x64 = ClientKind::Ipxe { firmware: Firmware::UefiX64 };
        let table: &[Row] = &[
            ("bare", &[(60, PXE), (93, &[0, 0]), (77, b"iPXE"), (175, IPXE_HTTP)], bios),
            ("RFC 3004", &[(60, PXE_X64), (93, &[0, 7]), (77, b"\x04iPXE"), (175, IPXE_HTTP)], x64),
            ("RFC 3004, second", &[(60, PXE_X64), (77, b"\x03abc\x04iPXE")], x64),
            ("features unknown", &[(60, PXE), (77, b"iPXE")], bios),
            ("no HTTP", &[(60, PXE), (77, b"iPXE"), (175, IPXE_NO_HTTP)], ClientKind::Bios),
            ("HTTP off", &[(60, PXE), (77, b"iPXE"), (175, &[0x13, 1, 0])], ClientKind::Bios),
            ("only 175", &[(60, PXE), (93, &[0, 0]), (175, IPXE_HTTP)], bios),
            ("gPXE", &[(60, PXE), (77, b"gPXE"), (175, IPXE_HTTP)], ClientKind::Bios),
            ("cut class", &[(60, PXE), (77, b"\x05iPXE")], ClientKind::Bios),
            ("the word inside", &[(60, PXE), (77, b"xiPXE")], ClientKind::Bios),
            (
                "without vendor class",
                &[(77, b"iPXE"), (93, &[0, 11])],
                ClientKind::Ipxe { firmware: Firmware::UefiArm64 },
            ),
        ];
        for (name, options, expected) in table {
            assert_eq!(kind_of(MAC, options), *expected, "{name}");
        }
    }

    #[test]
    fn a_raspberry_loader_that_claims_bios_is_left_alone() {
        let raspberry = [0xdc, 0xa6, 0x32, 1, 2, 3];
        let guid = [b"\0RPi4".as_slice(), &[7; 12]].concat();
        assert_eq!(kind_of(raspberry, &[(60, PXE), (93, &[0, 0])]), ClientKind::NotNetboot);
        assert_eq!(kind_of(MAC, &[(60, PXE), (93, &[0, 0]), (97, &guid)]), ClientKind::NotNetboot);
        assert_eq!(kind_of(raspberry, &[(60, PXE_ARM64)]), ClientKind::UefiArm64, "EDK2 on the same board");
    }

    proptest! {
        #[test]
        fn arbitrary_options_never_panic(
            class in option::of(collection::vec(any::<u8>(), 0..60)),
            user in option::of(collection::vec(any::<u8>(), 0..60)),
            list in collection::vec(any::<u8>(), 0..20),
            guid in collection::vec(any::<u8>(), 0..30),
            features in collection::vec(any::<u8>(), 0..60),
        ) {
            let mut options: Vec<(u8, &[u8])> = vec![(93, &list), (97, &guid), (175, &features)];
            options.extend(class.as_deref().map(|class| (60, class)));
            options.extend(user.as_deref().map(|user| (77, user)));
            kind_of(MAC, &options);
        }
    }
}
