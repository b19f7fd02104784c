//! The rules, one file per question. Each rule has an id, one source and a test.
//!
//! | file | question |
//! |---|---|
//! | `confidentiality` | C1–C4: whose data the disks hold, and who gets the machine |
//! | `residency` | C5: which media do not leave the site |
//! | `integrity`, `data_partitions`, `node_data` | I1–I8: is the installed software what was assigned, what stays beside it, what is the node's own |
//! | `boot_trust` | I9–I11, I13, I14, I17: is the way from power-on into the kernel proven |
//! | `command_line` | I15, I16: what kernels were started with |
//! | `fitness`, `hardware` | F1–F12: health of the disks; errors, hardware that should be there |
//! | `disk_signs` | F62: signs of a failing hard disk that come together |
//! | `disk_counters`, `disk_states` | F5, F13–F18: what disks, arrays and file systems count and say of themselves |
//! | `memory`, `machine` | F19–F31: memory, processors, what kernel and sensors report |
//! | `golden`, `links` | F32–F46: links and versions against what they were, errors of links |
//! | `history`, `outlook` | F55–F59, I12: what the node's history adds, what costs choose |
//! | `peers` | F60, F61: rates beside those of the same hardware elsewhere, burn-in |
//! | `bmc` | F65–F70: what the management controller says |
//! | `gpus`, `xid` | F47–F54: GPUs and their driver's messages |
//! | `gpu_test` | F71: what a GPU computes in a burn-in, and its memory |
//!
//! `change` says how much of a counter is new; `counters` and `flags` judge numbers, flags and lists, all in
//! one way, with what follows from a reading that is not there.
//! | `request` | R1–R7: what was asked, how old the evidence is, what forbids acting |
//! | `trust` | R3, R10: how far the evidence has to be believed |
//! | `holds`, `windows` | R8, R9: what forbids every change, and what makes it wait |

use contract::decision::{Axis, Finding, Severity};
use contract::reading::{ReadingKey, Subject};

mod bmc;
mod boot_trust;
pub(crate) mod change;
mod command_line;
pub(crate) mod confidentiality;
mod counters;
mod data_partitions;
mod disk_counters;
mod disk_signs;
mod disk_states;
pub(crate) mod fitness;
mod flags;
mod golden;
mod gpu_test;
mod gpus;
pub(crate) mod hardware;
pub(crate) mod history;
pub(crate) mod holds;
pub(crate) mod integrity;
mod links;
mod machine;
mod memory;
mod network;
pub(crate) mod node_data;
pub(crate) mod operator_rules;
pub(crate) mod outlook;
mod peers;
pub(crate) mod request;
pub(crate) mod residency;
mod trust;
pub(crate) mod windows;
mod xid;

/// What a finding demands, ordered by how much it asks. `Nothing` and `Watch` allow any action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Demand {
    Nothing,
    Watch,
    LookDeeper,
    Repair,
    Reimage,
    Sanitize,
    /// The data may not stay and cannot be sanitized with what is known.
    Undetermined,
    Quarantine,
}

/// One rule's name, place and source.
pub(crate) struct Rule {
    pub id: &'static str,
    pub axis: Axis,
    pub source: &'static str,
}

/// A finding and what it demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruled {
    pub finding: Finding,
    pub demand: Demand,
}

/// What was seen and what would have been acceptable.
pub(crate) struct Seen {
    pub subject: Subject,
    pub key: Option<ReadingKey>,
    pub observed: String,
    pub threshold: String,
}

impl Seen {
    /// A reading.
    pub fn reading(
        subject: Subject,
        key: ReadingKey,
        observed: impl ToString,
        threshold: impl ToString,
    ) -> Self {
        Self { subject, key: Some(key), observed: observed.to_string(), threshold: threshold.to_string() }
    }

    /// A fact of the service or of the inventory.
    pub fn fact(subject: Subject, observed: impl ToString, threshold: impl ToString) -> Self {
        Self { subject, key: None, observed: observed.to_string(), threshold: threshold.to_string() }
    }
}

impl Rule {
    /// The rule looked; `demand` follows.
    pub fn found(&self, demand: Demand, seen: Seen, statement: impl Into<String>) -> Ruled {
        let severity = match demand {
            Demand::Nothing => Severity::Good,
            Demand::Watch => Severity::Warning,
            Demand::LookDeeper | Demand::Undetermined => Severity::Unknown,
            Demand::Repair | Demand::Reimage | Demand::Sanitize | Demand::Quarantine => Severity::Critical,
        };
        self.with_severity(severity, demand, seen, statement)
    }

    /// The rule needed a reading that could not be had.
    pub fn unknown(&self, demand: Demand, seen: Seen, statement: impl Into<String>) -> Ruled {
        self.with_severity(Severity::Unknown, demand, seen, statement)
    }

    fn with_severity(
        &self,
        severity: Severity,
        demand: Demand,
        seen: Seen,
        statement: impl Into<String>,
    ) -> Ruled {
        let finding = Finding {
            rule: self.id.to_owned(),
            axis: self.axis,
            severity,
            subject: seen.subject,
            key: seen.key,
            observed: shortened(&seen.observed),
            threshold: seen.threshold,
            source: self.source.to_owned(),
            statement: shortened(&statement.into()),
        };
        Ruled { finding, demand }
    }
}

/// Texts of the evidence are hostile and may be long; a finding is read by a person on one line.
fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 400;
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = clean.take(CHARACTERS_MAX).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// The strongest demand among these; `Nothing` if there are none.
pub(crate) fn strongest(ruled: &[Ruled]) -> Demand {
    ruled.iter().map(|r| r.demand).max().unwrap_or(Demand::Nothing)
}
