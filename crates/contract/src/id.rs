//! Typed names. No bare `String` or `Uuid` crosses a function boundary.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty, too long or has a character that the kind of name does not allow.
    #[error("{kind} {text:?} is not valid: use {rule}")]
    Malformed {
        /// What kind of name was expected.
        kind: &'static str,
        /// The text as given, cut to 80 characters.
        text: String,
        /// What would be accepted.
        rule: &'static str,
    },
}

fn malformed(kind: &'static str, text: &str, rule: &'static str) -> IdError {
    IdError::Malformed { kind, text: text.chars().take(80).collect(), rule }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self).map_err(|_| malformed($kind, text, "a UUID"))
            }
        }
    };
}

uuid_id!(
    /// A physical machine, as the service knows it. Given by the service at first sight.
    NodeId,
    "node id"
);
uuid_id!(
    /// The life of one request from trigger to ready.
    JobId,
    "job id"
);
uuid_id!(
    /// One signed order.
    OrderId,
    "order id"
);
uuid_id!(
    /// The signed proof of one disk's sanitization.
    CertificateId,
    "certificate id"
);
uuid_id!(
    /// More nodes that wanted the same at once than the policy lets through.
    IncidentId,
    "incident id"
);
uuid_id!(
    /// An image that goes to a pool in stages.
    WaveId,
    "wave id"
);
uuid_id!(
    /// All readings of one run.
    EvidenceId,
    "evidence id"
);
uuid_id!(
    /// One boot of one kernel: `/proc/sys/kernel/random/boot_id`.
    BootId,
    "boot id"
);

/// A BLAKE3 digest, 32 bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !lower || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(malformed("digest", text, "64 lower-case hexadecimal digits"));
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self)
            }
        }
    };
}

digest_id!(
    /// An image: the digest of its manifest's exact bytes.
    ImageId
);
digest_id!(
    /// One chunk of an image: the digest of its uncompressed bytes.
    ChunkDigest
);
digest_id!(
    /// A plan: the digest of its canonical JSON ([`crate::plan::Plan::digest`]).
    PlanDigest
);
digest_id!(
    /// A policy: the digest of its canonical JSON after defaults are filled in.
    PolicyDigest
);
digest_id!(
    /// A model for forecasts and costs: the digest of its canonical JSON after defaults are filled in.
    ModelDigest
);

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $rule:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() || text.len() > $max || !text.chars().all(allowed) {
                    return Err(malformed($kind, text, $rule));
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name_id!(
    /// Who owns the data on a node.
    TenantId,
    "tenant",
    64,
    "1 to 64 letters, digits, '-', '_' or '.'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
);
name_id!(
    /// What a group of nodes is for.
    PoolName,
    "pool",
    64,
    "1 to 64 letters, digits, '-', '_' or '.'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
);
name_id!(
    /// Where a group of nodes stands, behind the same switch and on the same power.
    RackName,
    "rack",
    64,
    "1 to 64 letters, digits, '-', '_' or '.'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
);
name_id!(
    /// A disk by an identity that survives reboots and slots: `nvme-eui.…`, `wwn-…`,
    /// `nvme-MODEL_SERIAL`, `ata-MODEL_SERIAL`, `virtio-SERIAL`. Never a kernel name.
    DiskId,
    "disk id",
    160,
    "1 to 160 printable ASCII characters without spaces",
    |c| c.is_ascii_graphic()
);

/// An Ethernet address, written `52:54:00:12:34:56`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = IdError;
    /// Accepts `:` or `-` between the bytes and either case (iPXE and firmware differ).
    fn from_str(text: &str) -> Result<Self, IdError> {
        let rule = "six hexadecimal bytes such as 52:54:00:12:34:56";
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().unwrap_or_default();
            let well_formed = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = match u8::from_str_radix(part, 16) {
                Ok(value) if well_formed => value,
                _ => return Err(malformed("MAC address", text, rule)),
            };
        }
        if parts.next().is_some() {
            return Err(malformed("MAC address", text, rule));
        }
        Ok(Self(bytes))
    }
}

impl Serialize for MacAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This time, later by `millis` milliseconds; the end of time if that overflows.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this time; zero if `earlier` is later.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn names_that_could_break_out_of_a_path_or_a_script_are_refused() {
        for bad in ["", "a/b", "a b", "a\nb", "ä", "${net0/mac}", &"x".repeat(65)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
        assert!("tenant-1.prod_a".parse::<TenantId>().is_ok());
        assert!("nvme-eui.0025385b71b0a2c1".parse::<DiskId>().is_ok());
        assert!("disk with spaces".parse::<DiskId>().is_err());
    }

    #[test]
    fn a_mac_is_read_in_both_spellings_and_nothing_else() {
        let mac: MacAddress = "52-54-00-AB-cd-0f".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:0f");
        for bad in ["52:54:00:ab:cd", "52:54:00:ab:cd:0f:00", "52:54:00:ab:cd:+f", "525400abcd0f", ""] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_has_one_spelling_only() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
        assert!("ab".parse::<Digest>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in any::<String>()) {
            let _ = text.parse::<Digest>();
            let _ = text.parse::<MacAddress>();
            let _ = text.parse::<DiskId>();
            let _ = text.parse::<NodeId>();
        }

        #[test]
        fn every_mac_reads_back(bytes in any::<[u8; 6]>()) {
            let mac = MacAddress(bytes);
            prop_assert_eq!(mac.to_string().parse::<MacAddress>().unwrap(), mac);
        }
    }
}
