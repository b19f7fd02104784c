//! What is ahead of a node: what each action costs, what may fail, what should be tried, and how ready it is.
//!
//! Part of a decision, which must have the same bytes on every machine. So all numbers are integers:
//! probabilities in parts per million, times in thousandths of a minute.

use serde::{Deserialize, Serialize};

use crate::decision::Action;
use crate::id::UnixMillis;
use crate::reading::{ReadingKey, Subject};

/// What one action costs. Everything is counted in minutes of one node, so that it can be added up; how much
/// a written terabyte or a kilowatt hour is worth in minutes is said in the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionCost {
    /// Which action.
    pub action: Action,
    /// Whether the rules left the choice of it to costs.
    pub allowed: bool,
    /// Why it is allowed, or why not, in words.
    pub because: String,
    /// The node is away from its work for this long.
    pub away_milliminutes: u64,
    /// What is lost if it fails within the horizon after this action, times how likely that is.
    pub interruption_milliminutes: u64,
    /// What it writes to flash.
    pub written_bytes: u64,
    /// What the wear of that is worth.
    pub wear_milliminutes: u64,
    /// What it needs of energy.
    pub energy_watt_hours: u64,
    /// What that is worth.
    pub energy_milliminutes: u64,
    /// All of it.
    pub total_milliminutes: u64,
}

/// What kind of part a forecast is about. Ordered as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentKind {
    /// A disk that rotates.
    HardDisk,
    /// A disk of flash.
    FlashDisk,
    /// A disk of a virtual machine: what is behind it cannot be seen.
    VirtualDisk,
    /// The memory, module by module, or as a whole where the modules are not seen.
    Memory,
    /// The processors together.
    Processor,
    /// A GPU.
    Gpu,
}

/// How likely one part fails within the horizon, and how that came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentForecast {
    /// Which part.
    pub subject: Subject,
    /// What kind.
    pub kind: ComponentKind,
    /// The maker's name for it; empty where it is not known. From the device: hostile.
    pub hardware_model: String,
    /// The bucket of the model that its readings put it into.
    pub bucket: String,
    /// How far ahead.
    pub horizon_days: u64,
    /// How likely it fails in that time.
    pub failure_parts_per_million: u64,
    /// What that is made of, in order: rates first, then factors.
    pub contributions: Vec<Contribution>,
    /// When it will be worn out, where it wears; none where it does not, or nobody can tell yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wear_out: Option<WearOut>,
}

/// One thing that a forecast is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// What, in words.
    pub what: String,
    /// How it counts.
    #[serde(flatten)]
    pub effect: Effect,
    /// Where the number comes from.
    pub source: String,
}

/// How a contribution counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "effect")]
pub enum Effect {
    /// So many failures in a million years of such parts.
    Rate {
        /// Failures.
        failures_per_million_years: u64,
    },
    /// The rate is so many thousandths of what it was.
    Factor {
        /// Thousandths: 1000 changes nothing.
        thousandths: u64,
    },
}

/// When something that wears is used up, if it goes on as it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WearOut {
    /// What wears.
    pub key: ReadingKey,
    /// Not before this.
    pub earliest: UnixMillis,
    /// Most likely.
    pub expected: UnixMillis,
    /// Not after this; none where that is beyond anything that can be told.
    pub latest: Option<UnixMillis>,
}

/// How ready a node is for work, from 0 to 100. Never told without coverage and age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// What counts: the sum, no more than the lowest cap.
    pub score: u64,
    /// The sum before caps.
    pub uncapped: u64,
    /// What the sum is made of.
    pub parts: Vec<ReadinessPart>,
    /// What holds it down, lowest first.
    pub caps: Vec<ReadinessCap>,
    /// How much of what should have been seen was seen.
    pub coverage_percent: u64,
    /// How old the evidence was when it was judged.
    pub age_seconds: u64,
}

/// One part of the readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessPart {
    /// Which.
    pub name: ReadinessArea,
    /// How much it weighs in this node; all weights together are 100. What the node does not have weighs
    /// nothing.
    pub weight: u64,
    /// How well it is, 0 to 100.
    pub score: u64,
}

/// What readiness is made of. Ordered as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadinessArea {
    /// The disks.
    Storage,
    /// The memory.
    Memory,
    /// The processors.
    Processor,
    /// The GPUs.
    Gpu,
    /// The network and the fabric.
    Network,
    /// Power, temperature and the management controller.
    Power,
    /// How far the boot is proven.
    BootTrust,
    /// Whether the software is what was assigned.
    Image,
}

/// A reason why the readiness is no more than this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessCap {
    /// No more than this.
    pub most: u64,
    /// Why.
    pub because: String,
}

/// Something to try that writes no disk. Ordered from light to heavy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fix {
    /// Start what runs on it again.
    RestartApplication,
    /// Reset the GPU.
    ResetGpu,
    /// Take the pages with errors out of use.
    OfflinePages,
    /// Check the file system while it is not mounted.
    CheckFileSystem,
    /// Let the disk test itself, the long test.
    TestDisk,
    /// Start the machine again.
    Reboot,
    /// Bring driver or firmware up to date.
    UpdateFirmware,
    /// Cut the power off and on again.
    PowerCycle,
    /// Burn the node in and compare it with its like.
    BurnIn,
    /// Look at cooling and airflow.
    CheckCooling,
    /// Look at power supplies and connectors.
    CheckPower,
    /// Pull the card or cable and put it back.
    Reseat,
    /// Run the maker's diagnosis.
    RunDiagnosis,
    /// Replace the part.
    ReplacePart,
    /// Nothing helped: a person has to look.
    CallPerson,
}

/// What to try for something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// What to do.
    pub fix: Fix,
    /// To what.
    pub subject: Subject,
    /// The rule that found what it is for.
    pub rule: String,
    /// Why this one, in words: what was found, and what was tried before.
    pub because: String,
    /// How often this or something lighter was named before for the same thing, as far as the history goes.
    pub tried_before: u64,
}
