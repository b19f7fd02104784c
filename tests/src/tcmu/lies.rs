//! How a SCSI disk may be worse than it says.

use std::ops::Range;

pub use crate::nvme_tcp::lies::{EraseLie, ProgressLie};

/// What a disk does wrong. The default is an honest disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lies {
    /// How much an erase that ends well has erased.
    pub erase: EraseLie,
    /// How a sanitize goes.
    pub progress: ProgressLie,
    /// It answers reads from a cache that an erase does not empty.
    pub stale_cache: bool,
    /// It answers writes with success and forgets them.
    pub drops_writes: bool,
    /// It says that it has the sanitize commands, and knows none of them.
    pub knows_no_sanitize: bool,
    /// It is write-protected, which shows only when it is to be written or sanitized.
    pub write_protected: bool,
    /// Bytes that cannot be read.
    pub unreadable: Option<Range<u64>>,
    /// It leaves a failed sanitize by itself, with nothing sanitized.
    pub leaves_failure: bool,
    /// Once it is told to sanitize, it answers everything with a hardware error.
    pub breaks_down: bool,
    /// What it does wrong with ATA commands.
    pub ata: AtaLies,
}

/// What an ATA disk, or the translator before it, does wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AtaLies {
    /// Commands that it aborts, by their numbers.
    pub aborts: Vec<u8>,
    /// It says "good" to a password and has none afterwards.
    pub takes_no_password: bool,
    /// It says "good" to an erase and still has its password.
    pub keeps_password: bool,
    /// A translator that says "good" to everything with data to the disk, and passes nothing on.
    pub swallows_data: bool,
    /// A translator that says "good" to everything and gives no registers back.
    pub no_registers: bool,
    /// The power fails when this command comes, before it does anything.
    pub power_fails_at: Option<u8>,
}
