//! Xid messages: what NVIDIA's driver writes into the kernel log when something went wrong with a GPU.
//!
//! Form (NVIDIA, "XID Errors"): `NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.`

/// What every such line begins with, wherever it begins.
const MARK: &str = "NVRM: Xid (";
/// Longest text that is kept.
const TEXT_CHARACTERS_MAX: usize = 200;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xid {
    /// Which error; the maker's catalogue says what it means.
    pub number: u32,
    /// The GPU's PCI address, as the kernel writes it, such as `0000:3b:00.0`.
    pub address: String,
    /// What the driver says besides.
    pub text: String,
}

impl Xid {
    /// As it stands in a reading: `NUMBER PCI-ADDRESS LINE`.
    #[must_use]
    pub fn item(&self) -> String {
        format!("{} {} {}", self.number, self.address, self.text).trim_end().to_owned()
    }
}

/// The message in a line of the kernel log, if it is one.
#[must_use]
pub fn parse(line: &str) -> Option<Xid> {
    let rest = &line[line.find(MARK)? + MARK.len()..];
    let (place, rest) = rest.split_once("): ")?;
    // Without a domain the whole would fit into the name of a process, which the kernel puts into its lines.
    if place.matches(':').count() < 2 {
        return None;
    }
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let number = rest.get(..digits)?.parse().ok()?;
    let text = rest[digits..].trim_start_matches(',').trim();
    Some(Xid {
        number,
        address: address(place.strip_prefix("PCI:").unwrap_or(place))?,
        text: text.chars().take(TEXT_CHARACTERS_MAX).collect(),
    })
}

/// A PCI address with domain, bus, device and function. The driver leaves out the function, and old ones
/// the domain too.
#[must_use]
pub fn address(text: &str) -> Option<String> {
    let (place, function) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<&str> = place.split(':').collect();
    let (domain, bus, device) = match parts[..] {
        [domain, bus, device] => (domain, bus, device),
        [bus, device] => ("0", bus, device),
        _ => return None,
    };
    let hex = |text: &str, max: u32| {
        let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(text, 16).ok().filter(|number| is_hex && *number <= max)
    };
    let (domain, bus) = (hex(domain, u32::MAX)?, hex(bus, 0xff)?);
    let (device, function) = (hex(device, 0x1f)?, hex(function, 7)?);
    Some(format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn messages_of_old_and_new_drivers_are_read() {
        for (line, expected) in [
            (
                "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
                Some("79 0000:3b:00.0 pid=1234, name=python, GPU has fallen off the bus."),
            ),
            (
                "[12.3] NVRM: Xid (PCI:0009:01:00): 48, An uncorrectable double bit error (DBE) has been detected",
                Some("48 0009:01:00.0 An uncorrectable double bit error (DBE) has been detected"),
            ),
            ("NVRM: Xid (0000:84:00): 31, Ch 00000010", Some("31 0000:84:00.0 Ch 00000010")),
            ("NVRM: Xid (PCI:10000:84:1f): 119", Some("119 10000:84:1f.0")),
            ("NVRM: Xid (0:0): 79 output lines suppressed due to ratelimiting", None),
            ("NVRM: Xid (PCI:0): 79, x", None),
            ("NVRM: GPU at PCI:0000:3b:00: GPU-6b5d", None),
            ("NVRM: Xid (PCI:0000:3b:00): pid", None),
            ("NVRM: Xid (PCI:0000:3b:20): 79", None),
            ("NVRM: Xid (PCI:0000:3b:00): 99999999999, x", None),
            ("NVRM: Xid (PCI:0000:+b:00): 79, x", None),
        ] {
            assert_eq!(parse(line).map(|xid| xid.item()).as_deref(), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_survived(before in any::<String>(), place in any::<String>(), after in any::<String>()) {
            let _ = parse(&before);
            if let Some(found) = parse(&format!("{before}NVRM: Xid ({place}): {after}")) {
                prop_assert!(found.text.chars().count() <= TEXT_CHARACTERS_MAX);
            }
            let found = parse(&format!("NVRM: Xid (PCI:0000:3b:00): 79, {after}"));
            prop_assert_eq!(found.map(|xid| xid.number), Some(79));
        }
    }
}
