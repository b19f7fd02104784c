//! What a client is offered to boot, told in DHCP.
//!
//! Every directive leads to a script: firmware gets iPXE, iPXE gets its script's address, and the
//! script acts on the directive. So a change of mind between DHCP and HTTP does no harm. A client
//! gets nothing when there is no directive: what could not be decided is not offered.

use std::net::Ipv4Addr;

use contract::id::MacAddress;
use uuid::Uuid;

use crate::client::ClientKind;
use crate::directive::BootDirective;
use crate::loader::{self, ServedFile};
use crate::script;

/// The longest address that fits into option 67.
const URL_BYTES_MAX: usize = 250;

/// Where this service is found from a client's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootServices {
    /// TFTP server.
    pub tftp_server: Ipv4Addr,
    /// Such as `http://192.0.2.1:8080`, without a slash at the end.
    pub http_base_url: String,
}

/// What is put into the boot fields of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootAnswer {
    /// A loader over TFTP.
    Tftp {
        /// From where.
        server: Ipv4Addr,
        /// What.
        file: ServedFile,
    },
    /// A loader over HTTP, for UEFI HTTP Boot.
    HttpLoader {
        /// Its address. Never one that redirects: firmware does not follow (edk2#9714).
        url: String,
    },
    /// A script over HTTP, for iPXE.
    Script {
        /// Its address.
        url: String,
    },
}

/// What a client of this kind is offered. None: nothing, by kind or because the address does not fit.
#[must_use]
pub fn boot_answer(
    kind: ClientKind,
    directive: &BootDirective,
    mac: MacAddress,
    uuid: Option<Uuid>,
    services: &BootServices,
) -> Option<BootAnswer> {
    // All directives are acted on by the script; a new one must think about firmware here.
    match directive {
        BootDirective::Local { .. } | BootDirective::Ramdisk { .. } | BootDirective::Hold { .. } => {}
    }
    let answer = match kind {
        ClientKind::Ipxe { .. } => {
            BootAnswer::Script { url: script::script_url(&services.http_base_url, mac, uuid) }
        }
        ClientKind::UefiHttpX64 | ClientKind::UefiHttpArm64 => BootAnswer::HttpLoader {
            url: script::file_url(&services.http_base_url, loader::for_client(kind)?),
        },
        ClientKind::Bios | ClientKind::UefiX64 | ClientKind::UefiArm64 => {
            BootAnswer::Tftp { server: services.tftp_server, file: loader::for_client(kind)? }
        }
        ClientKind::Unsupported { .. } | ClientKind::NotNetboot => return None,
    };
    match &answer {
        BootAnswer::Script { url } | BootAnswer::HttpLoader { url } if url.len() > URL_BYTES_MAX => None,
        _ => Some(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Firmware;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);

    fn answer(kind: ClientKind, base: &str) -> Option<BootAnswer> {
        let services =
            BootServices { tftp_server: Ipv4Addr::new(192, 0, 2, 1), http_base_url: base.to_owned() };
        let directive = BootDirective::Local { reason: "nothing to do".to_owned() };
        boot_answer(kind, &directive, MAC, Some(Uuid::from_u128(7)), &services)
    }

    #[test]
    fn each_kind_gets_its_answer() {
        let base = "http://192.0.2.1:8080";
        let tftp = |file| Some(BootAnswer::Tftp { server: Ipv4Addr::new(192, 0, 2, 1), file });
        let http = |url: &str| Some(BootAnswer::HttpLoader { url: format!("{base}{url}") });
        let script = "/boot/script.ipxe?mac=52:54:00:00:00:01&uuid=00000000-0000-0000-0000-000000000007";
        let table = [
            (ClientKind::Bios, tftp(ServedFile::UndionlyX86)),
            (ClientKind::UefiX64, tftp(ServedFile::IpxeX64)),
            (ClientKind::UefiArm64, tftp(ServedFile::IpxeArm64)),
            (ClientKind::UefiHttpX64, http("/boot/ipxe.efi")),
            (ClientKind::UefiHttpArm64, http("/boot/ipxe-arm64.efi")),
            (
                ClientKind::Ipxe { firmware: Firmware::Other },
                Some(BootAnswer::Script { url: format!("{base}{script}") }),
            ),
            (ClientKind::Unsupported { architecture: 6 }, None),
            (ClientKind::NotNetboot, None),
        ];
        for (kind, expected) in table {
            assert_eq!(answer(kind, base), expected, "{kind:?}");
        }
    }

    #[test]
    fn an_address_that_does_not_fit_is_not_offered() {
        let base = format!("http://{}", "a".repeat(240));
        assert_eq!(answer(ClientKind::UefiHttpX64, &base), None);
        assert!(answer(ClientKind::Bios, &base).is_some());
    }
}
