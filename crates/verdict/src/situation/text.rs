//! The words of a situation's file.

use std::collections::BTreeMap;

use contract::reading::ReadingValue;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::expect::Expected;

/// What a key of a part says, part by part: `[readings."disk nvme-eui.os"]`, then `nvme-media-errors = 0`.
pub(super) type Values = BTreeMap<String, BTreeMap<String, Plain>>;

/// A value as it is written down.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Plain {
    Flag(bool),
    Count(u64),
    Text(String),
    List(Vec<String>),
}

impl From<Plain> for ReadingValue {
    fn from(plain: Plain) -> Self {
        match plain {
            Plain::Flag(flag) => Self::Flag(flag),
            Plain::Count(count) => Self::Count(count),
            Plain::Text(text) => Self::Text(text),
            Plain::List(items) => Self::list(items),
        }
    }
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SituationText {
    #[serde(default)]
    pub about: String,
    /// The machine that this one is made from: "server", "virtual" or "blank".
    pub base: Option<String>,
    /// Whose word all readings are: "resident" and so on.
    pub trust: Option<String>,
    #[serde(default)]
    pub policy: String,
    /// Laid over what the service knows (RFC 7396).
    #[serde(default)]
    pub context: Map<String, Value>,
    /// Laid over the evidence (RFC 7396).
    #[serde(default)]
    pub evidence: Map<String, Value>,
    /// Disks, laid over the one of the same id.
    #[serde(default)]
    pub disk: Vec<Map<String, Value>>,
    #[serde(default)]
    pub nic: Vec<Map<String, Value>>,
    #[serde(default)]
    pub gpu: Vec<Map<String, Value>>,
    #[serde(default)]
    pub memory_module: Vec<Map<String, Value>>,
    /// What was measured.
    #[serde(default)]
    pub readings: Values,
    /// What is more than a value.
    #[serde(default)]
    pub reading: Vec<ReadingText>,
    /// What counters said a day ago in this boot.
    #[serde(default)]
    pub baselines: Values,
    /// What they said at another time.
    #[serde(default)]
    pub baseline: Vec<BaselineText>,
    /// What links and versions were when a person found them right.
    #[serde(default)]
    pub golden: Values,
    #[serde(default)]
    pub expect: Expected,
}

/// One reading: exactly one of the outcomes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadingText {
    /// Such as "node" or "disk nvme-eui.data".
    pub of: String,
    pub key: String,
    pub value: Option<Plain>,
    /// How many items a list has in all, if more than are written down.
    pub total: Option<u64>,
    #[serde(default)]
    pub absent: bool,
    pub unreadable: Option<String>,
    /// Takes the reading away.
    #[serde(default)]
    pub untried: bool,
    /// Beside what is there, not instead of it.
    #[serde(default)]
    pub besides: bool,
    #[serde(default)]
    pub another_boot: bool,
    #[serde(default)]
    pub hours_ago: i64,
}

/// What a counter said when the node was last found right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BaselineText {
    pub of: String,
    pub key: String,
    #[serde(default)]
    pub count: u64,
    /// Negative: in the future.
    #[serde(default = "a_day")]
    pub hours_ago: i64,
    #[serde(default)]
    pub another_boot: bool,
    /// Takes the baseline away.
    #[serde(default)]
    pub none: bool,
}

fn a_day() -> i64 {
    24
}
