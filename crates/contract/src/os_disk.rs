//! Which disk carries the operating system: chosen by what a disk is, never by the kernel's name for it.
//!
//! People write a rule as words with commas between them:
//!
//! | word | meaning |
//! |---|---|
//! | `nvme`, `ata`, `scsi`, `virtio`, `usb` | attached that way |
//! | `rotating`, `not-rotating` | the kernel says so; a disk that does not say fits neither |
//! | `serial=TEXT` | exactly this serial number |
//! | `at-least=SIZE`, `at-most=SIZE` | size, both ends included: bytes, or with `K` `M` `G` `T` (powers of 1000) or `Ki` `Mi` `Gi` `Ti` (powers of 1024) |
//! | `smallest`, `largest` | of the disks that fit; without one of them, exactly one may fit |
//!
//! A disk id alone names that disk.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::DiskId;
use crate::inventory::Transport;

/// Which disk carries the operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "rule", content = "disk")]
pub enum OsDiskRule {
    /// The smallest disk that is neither removable nor read-only and is large enough; ties by id.
    Smallest,
    /// This one.
    Disk(DiskId),
    /// One that is like this, neither removable nor read-only, and large enough.
    Match(DiskMatch),
}

/// What a disk must be like. What is left out does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskMatch {
    /// How it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Whether the kernel says that it rotates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
    /// Its serial number, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// At least this size, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes_min: Option<u64>,
    /// At most this size, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes_max: Option<u64>,
    /// Which of several.
    #[serde(default)]
    pub pick: DiskPick,
}

/// Which of several disks that fit; ties by id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskPick {
    /// None: exactly one must fit.
    #[default]
    Only,
    /// The smallest.
    Smallest,
    /// The largest.
    Largest,
}

/// Why a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OsDiskRuleError {
    /// A name that belongs to another disk after the next boot.
    #[error(
        "{name:?} is the kernel's name of a disk, and may mean another one after the next boot; give the disk's id as `reprieve node show` prints it, or say what it is like, such as nvme,smallest"
    )]
    KernelName {
        /// What was given.
        name: String,
    },
    /// A word that means nothing.
    #[error(
        "{word:?} is neither a disk id nor one of nvme, ata, scsi, virtio, usb, rotating, not-rotating, serial=…, at-least=…, at-most=…, smallest, largest"
    )]
    Word {
        /// The word.
        word: String,
    },
    /// A size that cannot be read.
    #[error("{size:?} is not a size; write it like 480G (powers of 1000) or 32Gi (powers of 1024)")]
    Size {
        /// What was given.
        size: String,
    },
    /// Two words that cannot both hold, or the same twice.
    #[error("{word:?} contradicts or repeats another word of the rule")]
    Contradiction {
        /// The later word.
        word: String,
    },
    /// No disk can be that.
    #[error("no disk has at least {min} and at most {max} bytes")]
    EmptyRange {
        /// Least size in bytes.
        min: u64,
        /// Greatest size in bytes.
        max: u64,
    },
    /// A serial number that is none.
    #[error("a serial number is 1 to 100 printable ASCII characters without commas")]
    Serial,
    /// Nothing was said.
    #[error("the rule says nothing; give a disk id, smallest, or what the disk is like")]
    Empty,
}

const TRANSPORTS: [(&str, Transport); 5] = [
    ("nvme", Transport::Nvme),
    ("ata", Transport::Ata),
    ("scsi", Transport::Scsi),
    ("virtio", Transport::Virtio),
    ("usb", Transport::Usb),
];
/// How the ids of disks begin.
const ID_PREFIXES: [&str; 7] = ["nvme-", "ata-", "scsi-", "virtio-", "mmc-", "wwn-", "path-"];
/// Units of sizes, the larger first, so that the shortest text is found first.
const UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("T", 1_000_000_000_000),
    ("Gi", 1 << 30),
    ("G", 1_000_000_000),
    ("Mi", 1 << 20),
    ("M", 1_000_000),
    ("Ki", 1 << 10),
    ("K", 1_000),
];

impl OsDiskRule {
    /// Refuses what cannot be meant; rules also arrive as JSON, past the words.
    ///
    /// # Errors
    /// [`OsDiskRuleError`].
    pub fn check(&self) -> Result<(), OsDiskRuleError> {
        match self {
            Self::Smallest => Ok(()),
            Self::Disk(id) if is_kernel_name(id.as_str()) => {
                Err(OsDiskRuleError::KernelName { name: id.to_string() })
            }
            Self::Disk(_) => Ok(()),
            Self::Match(wanted) => wanted.check(),
        }
    }

    /// Whether the rule names one disk by what no other disk has, not only what it is like.
    #[must_use]
    pub fn names_one(&self) -> bool {
        match self {
            Self::Smallest => false,
            Self::Disk(_) => true,
            Self::Match(wanted) => wanted.serial.is_some(),
        }
    }
}

impl DiskMatch {
    fn check(&self) -> Result<(), OsDiskRuleError> {
        if self.transport == Some(Transport::Other) {
            return Err(OsDiskRuleError::Word { word: "other".to_owned() });
        }
        if let Some(serial) = &self.serial {
            let printable = serial.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && c != ',');
            if serial.trim() != serial || serial.is_empty() || serial.len() > 100 || !printable {
                return Err(OsDiskRuleError::Serial);
            }
        }
        if let (Some(min), Some(max)) = (self.size_bytes_min, self.size_bytes_max)
            && min > max
        {
            return Err(OsDiskRuleError::EmptyRange { min, max });
        }
        if *self == Self::default() { Err(OsDiskRuleError::Empty) } else { Ok(()) }
    }

    fn take(&mut self, word: &str) -> Result<(), OsDiskRuleError> {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        let value = word.split_once('=').map(|(_, value)| value);
        let transport = TRANSPORTS.iter().find(|(name, _)| *name == word).map(|(_, transport)| *transport);
        let free = match (name, value) {
            ("serial", Some(serial)) => self.serial.replace(serial.to_owned()).is_none(),
            ("at-least", Some(size)) => self.size_bytes_min.replace(parse_size(size)?).is_none(),
            ("at-most", Some(size)) => self.size_bytes_max.replace(parse_size(size)?).is_none(),
            ("rotating", None) => self.rotational.replace(true).is_none(),
            ("not-rotating", None) => self.rotational.replace(false).is_none(),
            ("smallest", None) => std::mem::replace(&mut self.pick, DiskPick::Smallest) == DiskPick::Only,
            ("largest", None) => std::mem::replace(&mut self.pick, DiskPick::Largest) == DiskPick::Only,
            _ if transport.is_some() => std::mem::replace(&mut self.transport, transport).is_none(),
            _ if is_kernel_name(word) => {
                return Err(OsDiskRuleError::KernelName { name: shortened(word) });
            }
            _ => return Err(OsDiskRuleError::Word { word: shortened(word) }),
        };
        if free { Ok(()) } else { Err(OsDiskRuleError::Contradiction { word: shortened(word) }) }
    }
}

impl FromStr for OsDiskRule {
    type Err = OsDiskRuleError;

    fn from_str(text: &str) -> Result<Self, OsDiskRuleError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(OsDiskRuleError::Empty);
        }
        if ID_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            let id = text.parse().map_err(|_| OsDiskRuleError::Word { word: shortened(text) })?;
            return Ok(Self::Disk(id));
        }
        if text == "smallest" {
            return Ok(Self::Smallest);
        }
        let mut wanted = DiskMatch::default();
        for word in text.split(',') {
            wanted.take(word.trim())?;
        }
        wanted.check()?;
        Ok(Self::Match(wanted))
    }
}

impl fmt::Display for OsDiskRule {
    /// As it is written by people; what is shown can be given again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smallest => f.write_str("smallest"),
            Self::Disk(id) => id.fmt(f),
            Self::Match(wanted) => wanted.fmt(f),
        }
    }
}

impl fmt::Display for DiskMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = self.transport.map(|transport| {
            let known = TRANSPORTS.iter().find(|(_, other)| *other == transport);
            known.map_or("other", |(name, _)| *name).to_owned()
        });
        let rotating = self.rotational.map(|yes| if yes { "rotating" } else { "not-rotating" }.to_owned());
        let pick = match self.pick {
            DiskPick::Only => None,
            DiskPick::Smallest => Some("smallest".to_owned()),
            DiskPick::Largest => Some("largest".to_owned()),
        };
        let words = [
            transport,
            rotating,
            self.serial.as_ref().map(|serial| format!("serial={serial}")),
            self.size_bytes_min.map(|size| format!("at-least={}", show_size(size))),
            self.size_bytes_max.map(|size| format!("at-most={}", show_size(size))),
            pick,
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        f.write_str(&words.join(","))
    }
}

fn shortened(word: &str) -> String {
    word.chars().take(80).collect()
}

pub(crate) fn parse_size(text: &str) -> Result<u64, OsDiskRuleError> {
    let refused = || OsDiskRuleError::Size { size: shortened(text) };
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let unit = unit.strip_suffix('B').unwrap_or(unit);
    let factor = match unit {
        "" => 1,
        _ => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or_else(refused)?,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    let count: u64 = digits.parse().map_err(|_| refused())?;
    count.checked_mul(factor).ok_or_else(refused)
}

pub(crate) fn show_size(bytes: u64) -> String {
    let whole = UNITS.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    match whole {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// Whether a text is a name that the kernel gives to block devices in the order in which it finds them.
fn is_kernel_name(text: &str) -> bool {
    let name = text.strip_prefix("/dev/").unwrap_or(text);
    if name.len() < text.len() || text.starts_with('/') {
        return true;
    }
    let numbered = ["nvme", "mmcblk", "md", "dm-", "loop", "sr", "nbd", "ram", "zram", "pmem", "fd"];
    let lettered = ["sd", "vd", "hd", "xvd", "ubd"];
    let after = |prefix: &&str| name.strip_prefix(*prefix);
    numbered.iter().filter_map(after).any(|rest| {
        let parts =
            |c: char| c.is_ascii_digit() || matches!(c, 'n' | 'p' | 'c' | 'b' | 'o' | 't' | '_' | 'd');
        rest.starts_with(|c: char| c.is_ascii_digit()) && rest.chars().all(parts)
    }) || lettered.iter().filter_map(after).any(|rest| {
        let letters = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        (1..=3).contains(&letters.len()) && letters.bytes().all(|byte| byte.is_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests;
