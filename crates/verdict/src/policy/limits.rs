//! Limits of one number, and the words that several sections use.

use serde::{Deserialize, Serialize};

/// Limits of one counter; what is left out never triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_above: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine_above: Option<u64>,
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
