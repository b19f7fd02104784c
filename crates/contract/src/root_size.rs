//! How large the root partition becomes on a node's disk.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
#[error("{text:?} is no size of a root partition; write grow, image, or a size such as 20G")]
pub struct RootSizeError {
    /// The text, cut to a length that can be shown.
    pub text: String,
}

/// Letters of units and their size in bytes.
const UNITS: [(char, u64); 4] = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30), ('T', 1 << 40)];

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
            Self::Bytes(bytes) => {
                let unit = UNITS.iter().rev().find(|(_, unit)| *bytes > 0 && bytes.is_multiple_of(*unit));
                match unit {
                    Some((letter, unit)) => write!(f, "{}{letter}", bytes / unit),
                    None => write!(f, "{bytes}"),
                }
            }
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
        let (number, unit) = UNITS
            .iter()
            .find_map(|(letter, unit)| Some((text.strip_suffix(*letter)?, *unit)))
            .unwrap_or((text, 1));
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let bytes = number.parse::<u64>().ok().filter(|_| plain).and_then(|count| count.checked_mul(unit));
        bytes.filter(|bytes| *bytes > 0).map(Self::Bytes).ok_or_else(refused)
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
            ("20G", RootSize::Bytes(20 << 30)),
            ("1025K", RootSize::Bytes(1025 << 10)),
            ("513", RootSize::Bytes(513)),
            ("2T", RootSize::Bytes(2 << 40)),
        ] {
            assert_eq!(text.parse(), Ok(size), "{text}");
            assert_eq!(size.to_string(), text);
        }
        for wrong in ["", "Grow", "0", "0G", "-1", "+1", "1.5G", "G", "20GB", "20 G", "99999999999T", "٣"] {
            assert!(wrong.parse::<RootSize>().is_err(), "{wrong:?}");
        }
        let on_the_wire = serde_json::to_string(&[RootSize::Grow, RootSize::Image, RootSize::Bytes(5)]);
        assert_eq!(on_the_wire.unwrap(), r#"["grow","image",{"bytes":5}]"#);
    }
}
