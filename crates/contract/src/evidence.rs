//! All readings of one run.

use serde::{Deserialize, Serialize};

use crate::id::{BootId, EvidenceId, NodeId, UnixMillis};
use crate::inventory::Inventory;
use crate::reading::{Outcome, Reading, ReadingKey, ReadingValue, Subject, Tier, Trust};

/// How many readings one run has at most. A server with sixteen GPUs, sixty disks, all memory slots full and four
/// hundred PCI functions has about four thousand.
pub const READINGS_MAX: usize = 10_000;

/// All readings of one run. It is stored and replayed exactly as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its name.
    pub id: EvidenceId,
    /// Whose.
    pub node: NodeId,
    /// When the run ended.
    pub taken_at: UnixMillis,
    /// In which boot.
    pub boot_id: BootId,
    /// How far the run as a whole can be believed.
    pub trust: Trust,
    /// How deep it went.
    pub tier: Tier,
    /// Version of the agent that looked.
    pub agent_version: String,
    /// What the machine is made of.
    pub inventory: Inventory,
    /// What was measured, ordered by subject and key; at most [`READINGS_MAX`].
    pub readings: Vec<Reading>,
}

impl Evidence {
    /// The reading of `key` about `subject`; `None` if nobody even tried, which is no better than
    /// unreadable.
    #[must_use]
    pub fn find(&self, subject: &Subject, key: ReadingKey) -> Option<&Reading> {
        self.readings.iter().find(|reading| reading.key == key && &reading.subject == subject)
    }

    /// The outcome of `key` about `subject`, with "nobody tried" said as unreadable.
    #[must_use]
    pub fn outcome(&self, subject: &Subject, key: ReadingKey) -> Outcome<ReadingValue> {
        match self.find(subject, key) {
            Some(reading) => reading.outcome.clone(),
            None => Outcome::Unreadable(format!("{key} was not read")),
        }
    }

    /// Puts the readings into their order, so that equal evidence has equal bytes.
    pub fn sort(&mut self) {
        self.readings.sort_by(|a, b| (&a.subject, a.key).cmp(&(&b.subject, b.key)));
    }
}
