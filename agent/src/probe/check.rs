//! What a check is, so that each of the thirty has the same shape.

use contract::reading::{ReadingKey, Tier};

/// One of the thirty checks. Its file has besides `read` (looks through a [`super::source::Source`] or an
/// ioctl) and `parse` (bytes to facts); its rules are in `verdict`, so that agent and service judge alike.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its number in the list of docs/checks.md, from 1.
    pub number: u8,
    /// Its name, for people.
    pub name: &'static str,
    /// The least deep look that it is part of.
    pub tier: Tier,
    /// What it reads, for people: the file, log page or command.
    pub reads: &'static str,
    /// The readings it gives.
    pub keys: &'static [ReadingKey],
    /// The rules that judge them.
    pub rules: &'static [&'static str],
}
