//! Who decides: the product's own verdict, and what it is held against.

use contract::assignment::{DataOwner, NodeContext};
use contract::decision::Action;
use contract::evidence::Evidence;
use contract::id::{DiskId, UnixMillis};
use contract::reading::{Outcome, ReadingKey as Key, ReadingValue};

use verdict::judge::Conclusion;

use crate::truth::Truth;

mod ours;

pub use self::ours::Ours;

/// What a strategy is told, and (the oracle alone) what is really so.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// What was seen.
    pub evidence: &'a Evidence,
    /// What the service knows.
    pub context: &'a NodeContext,
    /// When.
    pub now: UnixMillis,
    /// What is really so.
    pub truth: &'a Truth,
    /// The simulated day.
    pub day: f64,
    /// The node is released: somebody gets it next. Otherwise it is in service, and the question is whether
    /// it has to be taken out.
    pub released: bool,
}

/// What is done with a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What is done.
    pub action: Action,
    /// The disks that were named as the reason to take it out.
    pub disks: Vec<Suspect>,
    /// What followed from what was seen, where the product made the verdict.
    pub conclusion: Option<Box<Conclusion>>,
}

/// A disk that is said to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Which.
    pub disk: DiskId,
    /// How likely, where the strategy says so.
    pub failure_parts_per_million: u64,
}

impl Answer {
    /// An action, and nothing named.
    #[must_use]
    pub fn of(action: Action) -> Self {
        Self { action, disks: Vec::new(), conclusion: None }
    }

    /// An action, for these disks, of which the strategy does not say how likely they fail.
    fn naming(action: Action, disks: Vec<DiskId>) -> Self {
        let suspect = |disk| Suspect { disk, failure_parts_per_million: 1_000_000 };
        Self { action, disks: disks.into_iter().map(suspect).collect(), conclusion: None }
    }

    /// Whether this disk was named.
    #[must_use]
    pub fn names(&self, disk: &DiskId) -> bool {
        self.disks.iter().any(|suspect| &suspect.disk == disk)
    }
}

/// A way to decide.
pub trait Strategy {
    /// Its name in tables.
    fn name(&self) -> &'static str;
    /// Decides.
    fn decide(&self, asked: &Asked<'_>) -> Answer;
    /// Whether nodes are measured against their kind when they are delivered.
    fn burns_in(&self) -> bool {
        false
    }
    /// Keeps what it will compare with at the next look.
    fn remember(&self, _context: &mut NodeContext, _evidence: &Evidence, _answer: &Answer, _now: UnixMillis) {
    }
    /// A person has looked at the node and gave it back.
    fn accepted(&self, _context: &mut NodeContext, _evidence: &Evidence, _answer: &Answer, _now: UnixMillis) {
    }
    /// Whether a node is taken from under its user, or not handed on when it is next released. The product's
    /// service orders nothing of a node in use; node-health daemons that drain by threshold do.
    fn takes_out_in_use(&self) -> bool {
        false
    }
    /// Whether it looks at nodes in service at all.
    fn watches(&self) -> bool {
        true
    }
}

/// Whether the machine is so broken that it does not come up: nobody needs a strategy to see it.
fn is_dead(asked: &Asked<'_>) -> bool {
    asked.truth.broken.is_some() || asked.truth.disks.iter().any(|disk| disk.fails_day <= asked.day)
}

/// Wipes and images at every release, as provisioning systems do, and looks at nothing.
pub struct AlwaysWipe;

impl Strategy for AlwaysWipe {
    fn name(&self) -> &'static str {
        "always wipe"
    }

    fn decide(&self, asked: &Asked<'_>) -> Answer {
        Answer::of(if asked.released { Action::Wipe } else { Action::Keep })
    }

    fn watches(&self) -> bool {
        false
    }
}

/// Hands every node on as it is.
pub struct NeverWipe;

impl Strategy for NeverWipe {
    fn name(&self) -> &'static str {
        "never wipe"
    }

    fn decide(&self, _asked: &Asked<'_>) -> Answer {
        Answer::of(Action::Keep)
    }

    fn watches(&self) -> bool {
        false
    }
}

/// Wipes at every release, and takes a node out when any of five SMART attributes of a hard disk, a critical
/// warning, an uncorrected memory error or a fatal GPU error is there.
pub struct StaticThresholds;

impl Strategy for StaticThresholds {
    fn name(&self) -> &'static str {
        "static thresholds"
    }

    fn takes_out_in_use(&self) -> bool {
        true
    }

    fn decide(&self, asked: &Asked<'_>) -> Answer {
        let mut disks = Vec::new();
        let mut node = false;
        for reading in &asked.evidence.readings {
            let bad = match (reading.key, &reading.outcome) {
                (
                    Key::AtaReallocatedSectors
                    | Key::AtaReportedUncorrectable
                    | Key::AtaCommandTimeouts
                    | Key::AtaPendingSectors
                    | Key::AtaOfflineUncorrectable
                    | Key::NvmeCriticalWarning
                    | Key::NvmeMediaErrors
                    | Key::MemoryUncorrectedErrors,
                    Outcome::Value(ReadingValue::Count(count)),
                ) => *count > 0,
                (Key::GpuRowRemapFailed, Outcome::Value(ReadingValue::Flag(on))) => *on,
                (Key::GpuXids, Outcome::Value(ReadingValue::List { items, .. })) => {
                    items.iter().any(|line| line.starts_with("79 "))
                }
                _ => false,
            };
            match &reading.subject {
                contract::reading::Subject::Disk(id) if bad && !disks.contains(id) => disks.push(id.clone()),
                contract::reading::Subject::Disk(_) => {}
                _ => node |= bad,
            }
        }
        let action = match () {
            () if node || !disks.is_empty() => Action::Quarantine,
            () if asked.released => Action::Wipe,
            () => Action::Keep,
        };
        Answer::naming(action, disks)
    }
}

/// Knows what is really so, and does the least that is right.
pub struct Oracle;

impl Strategy for Oracle {
    fn name(&self) -> &'static str {
        "oracle"
    }

    fn burns_in(&self) -> bool {
        true
    }

    fn decide(&self, asked: &Asked<'_>) -> Answer {
        let truth = asked.truth;
        // A day before a disk fails is soon enough, for it sees the day.
        let failing = |disk: &&crate::truth::Disk| disk.fails_day < asked.day + 10.0;
        let places = truth.disks.iter().enumerate();
        let disks: Vec<_> = places
            .filter(|(_, disk)| failing(disk))
            .filter_map(|(place, disk)| crate::sensors::disk_id(place, disk))
            .collect();
        let unfit = is_dead(asked) || truth.grey_loss.is_some() || truth.lemon || !disks.is_empty();
        let foreign = match (&asked.context.data_owner, &asked.context.assignment.tenant) {
            (DataOwner::Nobody, _) => false,
            (DataOwner::Tenant(owner), Some(tenant)) => owner != tenant,
            _ => true,
        };
        let action = match () {
            () if unfit => Action::Quarantine,
            () if !asked.released => Action::Keep,
            () if foreign => Action::Wipe,
            () if truth.compromised => Action::Reimage,
            () if truth.altered_files > 0 => Action::Repair,
            () => Action::Keep,
        };
        Answer::naming(action, disks)
    }
}
