//! One measured fact, and what it means that there is none.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{BootId, DiskId, MacAddress, UnixMillis};
pub use crate::reading_key::{Counting, ReadingKey};

/// What looking gave. The three are never mixed up: "could not look" is not "nothing there".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "of")]
pub enum Outcome<T> {
    /// Looked, and this is what was there.
    Value(T),
    /// Looked, and it is not there.
    Absent,
    /// Could not look, and why.
    Unreadable(String),
}

impl<T> Outcome<T> {
    /// The value, if looking gave one. Use only where absence and failure mean the same.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }

    /// The same outcome with the value changed.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Value(value) => Outcome::Value(change(value)),
            Self::Absent => Outcome::Absent,
            Self::Unreadable(why) => Outcome::Unreadable(why),
        }
    }
}

impl<T, E: fmt::Display> From<Result<T, E>> for Outcome<T> {
    /// An error is `Unreadable`, never `Absent`.
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Value(value),
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

/// How far a reading can be believed. Weaker evidence may only make an action more cautious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// 0: the resident agent of a running system.
    Resident,
    /// 1: the resident agent of a running system whose state is attested.
    ResidentAttested,
    /// 2: a network-booted ramdisk.
    Ramdisk,
    /// 3: a network-booted ramdisk with a verified TPM quote, or out-of-band.
    RamdiskAttested,
}

/// How deep a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Resident, under one second.
    T0,
    /// Resident, under ten seconds.
    T1,
    /// In the ramdisk, one to three minutes.
    T2,
    /// Burn-in, ten to sixty minutes.
    T3,
}

/// What a reading is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "id")]
pub enum Subject {
    /// The machine as a whole.
    Node,
    /// One disk.
    Disk(DiskId),
    /// One network interface.
    Nic(MacAddress),
    /// One file system, by its device's kernel name (for people; never used to choose a disk).
    FileSystem(String),
    /// The installed image.
    Image,
    /// One memory module, by its locator on the board (SMBIOS type 17), or by the memory controller's row
    /// where the board names none.
    MemoryModule(String),
    /// One PCI function, by its address, such as `0000:3b:00.0`: the slot is what has a link, whatever card
    /// stands in it.
    PciDevice(String),
    /// One GPU, by its serial number or UUID; by its PCI address where the driver says neither.
    Gpu(String),
    /// One port of an InfiniBand or RoCE adapter, such as `mlx5_0/1`.
    FabricPort(String),
    /// One RAID array of the kernel, such as `md0`.
    RaidArray(String),
    /// One sensor for temperature, fan or power, by chip and label.
    Sensor(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Disk(id) => write!(f, "disk {id}"),
            Self::Nic(mac) => write!(f, "nic {mac}"),
            Self::FileSystem(device) => write!(f, "file system {device}"),
            Self::Image => f.write_str("image"),
            Self::MemoryModule(locator) => write!(f, "memory module {locator}"),
            Self::PciDevice(address) => write!(f, "PCI device {address}"),
            Self::Gpu(id) => write!(f, "GPU {id}"),
            Self::FabricPort(port) => write!(f, "fabric port {port}"),
            Self::RaidArray(name) => write!(f, "RAID array {name}"),
            Self::Sensor(label) => write!(f, "sensor {label}"),
        }
    }
}

/// The value of a reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type", content = "is")]
pub enum ReadingValue {
    /// Yes or no.
    Flag(bool),
    /// A number; the key says of what.
    Count(u64),
    /// One text.
    Text(String),
    /// Several texts, at most [`LIST_ITEMS_MAX`]; `total` counts those left out too.
    List {
        /// The first items.
        items: Vec<String>,
        /// How many there are in all.
        total: u64,
    },
}

/// How many items a list in a reading holds at most (every table is bounded).
pub const LIST_ITEMS_MAX: usize = 1000;

impl ReadingValue {
    /// A list of these items, cut to [`LIST_ITEMS_MAX`] with the true total kept.
    #[must_use]
    pub fn list(mut items: Vec<String>) -> Self {
        let total = items.len() as u64;
        items.truncate(LIST_ITEMS_MAX);
        Self::List { items, total }
    }
}

impl fmt::Display for ReadingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(true) => f.write_str("yes"),
            Self::Flag(false) => f.write_str("no"),
            Self::Count(count) => count.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::List { items, total } => {
                write!(f, "{total}")?;
                if let Some(first) = items.first() {
                    write!(f, " ({first}{})", if *total > 1 { ", …" } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// One measured fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// What it is about.
    pub subject: Subject,
    /// What was measured.
    pub key: ReadingKey,
    /// What looking gave.
    #[serde(flatten)]
    pub outcome: Outcome<ReadingValue>,
    /// When.
    pub observed_at: UnixMillis,
    /// In which boot.
    pub boot_id: BootId,
    /// How far it can be believed.
    pub trust: Trust,
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_three_outcomes_stay_apart_on_the_wire() {
        let reading = |outcome| Reading {
            subject: Subject::Disk("nvme-eui.1".parse().unwrap()),
            key: ReadingKey::NvmeCriticalWarning,
            outcome,
            observed_at: UnixMillis(5),
            boot_id: BootId(Uuid::nil()),
            trust: Trust::Ramdisk,
        };
        let mut seen = Vec::new();
        for outcome in [
            Outcome::Value(ReadingValue::Count(0)),
            Outcome::Absent,
            Outcome::Unreadable("ioctl refused".to_owned()),
        ] {
            let sent = serde_json::to_string(&reading(outcome.clone())).unwrap();
            let read: Reading = serde_json::from_str(&sent).unwrap();
            assert_eq!(read.outcome, outcome);
            seen.push(sent);
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn an_error_is_never_absence() {
        let failed: Result<u8, &str> = Err("no answer");
        assert_eq!(Outcome::from(failed), Outcome::Unreadable("no answer".to_owned()));
    }

    #[test]
    fn a_long_list_is_cut_and_its_true_length_kept() {
        let value = ReadingValue::list((0..1500).map(|n| n.to_string()).collect());
        let ReadingValue::List { items, total } = value else { panic!("not a list") };
        assert_eq!((items.len(), total), (LIST_ITEMS_MAX, 1500));
    }
}
