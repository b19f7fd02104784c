//! Limits of one number, and the words that several sections use.

use serde::{Deserialize, Serialize};

/// Limits of one number; what is left out never triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Of what is new since the node was last found right; of the number itself where it counts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_above: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine_above: Option<u64>,
    /// Of all there ever was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_watch_above: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_quarantine_above: Option<u64>,
    /// What is new is counted by so many hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hours: Option<u64>,
}

impl Limits {
    /// None at all.
    pub const NONE: Self = Self {
        watch_above: None,
        quarantine_above: None,
        total_watch_above: None,
        total_quarantine_above: None,
        per_hours: None,
    };
}

/// What follows from something that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Response {
    Ignore,
    Watch,
    Quarantine,
}

/// What to do with files under immutable paths that the image does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ForeignFiles {
    Ignore,
    Watch,
    Remove,
    Reimage,
}

/// What follows if a needed health reading cannot be had even in the ramdisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HealthUnreadable {
    Quarantine,
    Watch,
}
