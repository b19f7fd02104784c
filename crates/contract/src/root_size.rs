//! How large the root partition becomes on a node's disk.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::os_disk::{parse_size, show_size};

/// How large the root partition becomes when an image is written. Only the last partition of an image
/// can grow, and only over free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootSize {
    /// As large as there is free space behind it.
    #[default]
    Grow,
    /// As large as in the image.
    Image,
    /// This many bytes, in whole sectors; never less than in the image.
    Bytes(u64),
}

/// Why a text says no size of the root partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no size of a root partition; write grow, image, or a size such as 20Gi (powers of 1024) or 20G (powers of 1000)"
)]
pub struct RootSizeError {
    /// The text, cut to a length that can be shown.
    pub text: String,
}

impl RootSize {
    /// Whether it is the default, which is left out of the wire form: plans made before there was a
    /// choice keep their digest.
    #[must_use]
    pub fn is_grow(&self) -> bool {
        matches!(self, Self::Grow)
    }
}

impl fmt::Display for RootSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grow => f.write_str("grow"),
            Self::Image => f.write_str("image"),
            Self::Bytes(bytes) => f.write_str(&show_size(*bytes)),
        }
    }
}

impl FromStr for RootSize {
    type Err = RootSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || RootSizeError { text: text.chars().take(40).collect() };
        match text {
            "grow" => return Ok(Self::Grow),
            "image" => return Ok(Self::Image),
            _ => {}
        }
        let bytes = parse_size(text).ok().filter(|bytes| *bytes > 0);
        bytes.map(Self::Bytes).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::RootSize;

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for (text, size) in [
            ("grow", RootSize::Grow),
            ("image", RootSize::Image),
            ("20Gi", RootSize::Bytes(20 << 30)),
            ("20G", RootSize::Bytes(20_000_000_000)),
            ("1025Ki", RootSize::Bytes(1025 << 10)),
            ("513", RootSize::Bytes(513)),
            ("2Ti", RootSize::Bytes(2 << 40)),
        ] {
            assert_eq!(text.parse(), Ok(size), "{text}");
            assert_eq!(size.to_string(), text);
        }
        for wrong in ["", "Grow", "0", "0G", "-1", "+1", "1.5G", "G", "20GX", "20 G", "99999999999T", "٣"] {
            assert!(wrong.parse::<RootSize>().is_err(), "{wrong:?}");
        }
        let on_the_wire = serde_json::to_string(&[RootSize::Grow, RootSize::Image, RootSize::Bytes(5)]);
        assert_eq!(on_the_wire.unwrap(), r#"["grow","image",{"bytes":5}]"#);
    }
}
