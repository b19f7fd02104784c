//! What a node's management controller (BMC) says of it over Redfish. The service asks it; the machine itself
//! is not involved, so what it runs can neither hide nor change it.

use serde::{Deserialize, Serialize};

use crate::id::UnixMillis;

/// How many parts with something wrong are carried; the worst of them.
pub const BAD_PARTS_MAX: usize = 64;
/// How many things that could not be read are carried.
pub const UNREAD_MAX: usize = 8;
/// Longest name, and longest text about one thing, in characters.
pub const TEXT_CHARACTERS_MAX: usize = 200;

/// What the service knows from a node's management controller. It takes part in every verdict about the node,
/// and can only make one more cautious.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmcView {
    /// What it said when it last answered; none where it never did since the service began to ask.
    pub told: Option<BmcTold>,
    /// Why it said nothing when it was last asked; none where it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What a management controller said at one time. Its word counts as out-of-band evidence
/// ([`crate::reading::Trust::RamdiskAttested`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmcTold {
    /// When.
    pub observed_at: UnixMillis,
    /// How many sensors, fans, power supplies and groups of them it finds good.
    pub good: u32,
    /// How many of them it has no word about. They count neither as good nor as bad.
    pub not_told: u32,
    /// How many of them are not good.
    pub bad_total: u32,
    /// Those, the worst first; at most [`BAD_PARTS_MAX`].
    pub bad: Vec<BmcPart>,
    /// What it should have told and did not, and why; at most [`UNREAD_MAX`]. "Could not look" is not "nothing
    /// there".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// One thing that a management controller watches, and finds not to be good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmcPart {
    /// What it is.
    pub kind: BmcPartKind,
    /// Where it is and how the controller calls it, such as `System.Embedded.1/Fan 3`.
    pub name: String,
    /// How bad.
    pub condition: BmcCondition,
    /// What was said of it, in words, such as `47 Cel, critical from 45 Cel on`.
    pub said: String,
}

/// How many management controllers are asked, and how many of them answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmcStatus {
    /// So many stand in the configuration.
    pub configured: u64,
    /// So many answered when they were last asked.
    pub answering: u64,
}

/// What a management controller watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BmcPartKind {
    /// A temperature, of the inlet or of a part.
    Temperature,
    /// A fan, or a fan's speed.
    Fan,
    /// A power supply.
    PowerSupply,
    /// A voltage, a current or a power.
    Voltage,
    /// A group of fans or power supplies that bear the loss of one of them.
    Redundancy,
    /// The machine as a whole.
    System,
    /// Any other sensor.
    Other,
}

/// How bad a part is. Ordered from mild to severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BmcCondition {
    /// Beyond what is usual, or called so by the controller.
    Warning,
    /// Beyond a critical limit, or called so by the controller.
    Critical,
}
