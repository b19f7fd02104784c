//! The kernel command line: what the boot script told the ramdisk, and a form of it that may be shown.

use std::net::Ipv4Addr;

use contract::agent_api::boot_parameter;
use contract::id::{MacAddress, NodeId};
use contract::secret::Secret;

use crate::service::addresses::ADDRESSES_MAX;

/// What stands where the token stood.
const REDACTED: &str = "(removed)";

/// Why the boot parameters cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootParameterError {
    /// A parameter that the ramdisk cannot work without is missing.
    #[error("the kernel command line lacks {0}; boot through the service's script")]
    Missing(&'static str),
    /// A parameter is there and cannot be understood. The value is not shown: it could be a secret.
    #[error("{0} on the kernel command line cannot be understood; boot through the service's script")]
    Malformed(&'static str),
}

/// What the boot script tells the ramdisk (`contract::agent_api::boot_parameter`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootParameters {
    /// API addresses of the service; at least one.
    pub services: Vec<String>,
    /// SHA-256 of the service's CA certificate (DER).
    pub ca_sha256: [u8; 32],
    /// This node.
    pub node: NodeId,
    /// The one-time token.
    pub token: Secret,
    /// Address and netmask of the boot interface; none if the kernel configured it.
    pub address: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The gateway, if there is one.
    pub gateway: Option<Ipv4Addr>,
    /// Hardware address of the boot interface.
    pub interface: MacAddress,
}

impl BootParameters {
    /// Reads the parameters out of a kernel command line. The last mention of a parameter counts, as
    /// with the kernel's own.
    ///
    /// # Errors
    /// Names the first parameter that is missing or malformed.
    pub fn parse(command_line: &str) -> Result<Self, BootParameterError> {
        let required = |key: &'static str| {
            parameter(command_line, key)
                .filter(|value| !value.is_empty())
                .ok_or(BootParameterError::Missing(key))
        };
        let services: Vec<String> = required(boot_parameter::SERVICE)?
            .split(',')
            .map(|url| url.trim_end_matches('/').to_owned())
            .collect();
        if services.len() > ADDRESSES_MAX || services.iter().any(|url| !url.starts_with("https://")) {
            return Err(BootParameterError::Malformed(boot_parameter::SERVICE));
        }
        let mut ca_sha256 = [0; 32];
        hex::decode_to_slice(required(boot_parameter::CA_SHA256)?, &mut ca_sha256)
            .map_err(|_| BootParameterError::Malformed(boot_parameter::CA_SHA256))?;
        let node = parsed(boot_parameter::NODE, required(boot_parameter::NODE)?)?;
        let token = Secret::new(required(boot_parameter::TOKEN)?.to_owned());
        let interface = parsed(boot_parameter::INTERFACE, required(boot_parameter::INTERFACE)?)?;
        let address = optional(command_line, boot_parameter::ADDRESS).map(address_and_mask).transpose()?;
        let gateway = optional(command_line, boot_parameter::GATEWAY)
            .map(|text| parsed(boot_parameter::GATEWAY, text))
            .transpose()?
            .filter(|gateway: &Ipv4Addr| !gateway.is_unspecified());
        Ok(Self { services, ca_sha256, node, token, address, gateway, interface })
    }
}

fn parsed<T: std::str::FromStr>(key: &'static str, text: &str) -> Result<T, BootParameterError> {
    text.parse().map_err(|_| BootParameterError::Malformed(key))
}

fn address_and_mask(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), BootParameterError> {
    let key = boot_parameter::ADDRESS;
    let (address, mask) = text.split_once('/').ok_or(BootParameterError::Malformed(key))?;
    let mask: Ipv4Addr = parsed(key, mask)?;
    // A mask with holes is no netmask: its complement plus one must be a power of two.
    let inverse = !u32::from(mask);
    if inverse & inverse.wrapping_add(1) != 0 {
        return Err(BootParameterError::Malformed(key));
    }
    Ok((parsed(key, address)?, mask))
}

fn optional<'a>(command_line: &'a str, key: &str) -> Option<&'a str> {
    parameter(command_line, key).filter(|value| !value.is_empty())
}

/// The value of the last `key=value` word.
#[must_use]
pub fn parameter<'a>(command_line: &'a str, key: &str) -> Option<&'a str> {
    command_line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        .next_back()
}

/// The command line, or any text that quotes it, without the token.
///
/// The kernel prints its command line into the log, so log lines go through here too.
#[must_use]
pub fn redacted(text: &str) -> String {
    let marker = format!("{}=", boot_parameter::TOKEN);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&marker) {
        let (before, after) = rest.split_at(at + marker.len());
        shown.push_str(before);
        shown.push_str(REDACTED);
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        rest = &after[end..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn line() -> String {
        format!(
            "BOOT_IMAGE=linux console=ttyS0 reprieve.service=https://192.0.2.1:8443 reprieve.ca={} \
             reprieve.node=00000000-0000-0000-0000-000000000001 reprieve.token=s3cret \
             reprieve.address=192.0.2.9/255.255.255.0 reprieve.gateway= \
             reprieve.interface=52-54-00-12-34-56 quiet",
            "ab".repeat(32)
        )
    }

    #[test]
    fn a_script_s_parameters_are_read() {
        let read = BootParameters::parse(&line()).unwrap();
        assert_eq!(read.services, ["https://192.0.2.1:8443"]);
        assert_eq!(read.ca_sha256, [0xab; 32]);
        assert_eq!(read.address, Some((Ipv4Addr::new(192, 0, 2, 9), Ipv4Addr::new(255, 255, 255, 0))));
        assert_eq!(read.gateway, None);
        assert_eq!(read.interface.to_string(), "52:54:00:12:34:56");
        assert_eq!(read.token.reveal(), "s3cret");
    }

    #[test]
    fn several_addresses_of_the_service_are_read() {
        let with = |urls: &str| BootParameters::parse(&line().replace("https://192.0.2.1:8443", urls));
        let read = with("https://192.0.2.1:8443,https://[2001:db8::1]:8443/").unwrap();
        assert_eq!(read.services, ["https://192.0.2.1:8443", "https://[2001:db8::1]:8443"]);
        let many = ["https://192.0.2.1"; ADDRESSES_MAX + 1].join(",");
        for wrong in ["https://192.0.2.1,", "https://192.0.2.1,http://192.0.2.2", many.as_str()] {
            assert_eq!(with(wrong), Err(BootParameterError::Malformed("reprieve.service")), "{wrong}");
        }
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        use BootParameterError::{Malformed, Missing};
        let cases = [
            ("reprieve.token=s3cret", "", Missing("reprieve.token")),
            ("https://192.0.2.1:8443", "http://192.0.2.1", Malformed("reprieve.service")),
            ("/255.255.255.0", "/255.0.255.0", Malformed("reprieve.address")),
            ("/255.255.255.0", "", Malformed("reprieve.address")),
            ("52-54-00-12-34-56", "52-54", Malformed("reprieve.interface")),
            ("reprieve.ca=ab", "reprieve.ca=zz", Malformed("reprieve.ca")),
        ];
        for (from, to, expected) in cases {
            assert_eq!(BootParameters::parse(&line().replace(from, to)), Err(expected));
        }
    }

    #[test]
    fn the_token_is_never_shown() {
        let shown = redacted(&format!("Kernel command line: {}", line()));
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("reprieve.token=(removed) reprieve.address"), "{shown}");
        assert_eq!(
            redacted("reprieve.token=a reprieve.token=b"),
            "reprieve.token=(removed) reprieve.token=(removed)"
        );
        assert_eq!(redacted("x"), "x");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = BootParameters::parse(&text);
            let _ = redacted(&text);
        }
    }
}
