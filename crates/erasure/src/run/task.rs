//! What a run is asked for, and what passes between it and its driver.

use contract::decision::SanitizeLevel;
use contract::id::{Digest, DiskId};
use contract::plan::{DiskTarget, EraseMethod, VerifyDepth};
use contract::reading::Outcome;

use crate::command::DeviceCommand;
use crate::record::HealthReading;
use crate::sample::Span;

/// What to erase, how, and how to prove it: one erase step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EraseTask {
    /// Which disk.
    pub disk: DiskTarget,
    /// How.
    pub method: EraseMethod,
    /// To which level.
    pub level: SanitizeLevel,
    /// Seed of positions and markers.
    pub seed: Digest,
    /// How many blocks are read back, besides markers and both ends.
    pub samples: u32,
    /// How much is read back in all.
    pub depth: VerifyDepth,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Remove a password that an earlier erase of ours left, ask for the device's estimates and health,
    /// then call [`super::EraseRun::prepared`].
    Prepare,
    /// Write these markers (content from [`super::EraseRun::marker`]) and flush the device, then call
    /// [`super::EraseRun::markers_written`].
    WriteMarkers {
        /// Where, in bytes from the start.
        offsets: Vec<u64>,
    },
    /// Read this span directly from the device and call [`super::EraseRun::observed`].
    Read(Span),
    /// Give the device this command and call [`super::EraseRun::command_given`]. One that is given piece
    /// by piece is only made ready here.
    Command(DeviceCommand),
    /// Wait this long, ask the device how far it is, then call [`super::EraseRun::polled`].
    Poll {
        /// With which command.
        command: DeviceCommand,
        /// Milliseconds to wait before.
        after_millis: u64,
    },
    /// Have the disk write zeros to this span by itself, with one command that ends in bounded time, or to
    /// as much of it from its start as the disk takes in one. Where that reaches the end of the disk, have
    /// it flush. Then call [`super::EraseRun::same_written`].
    WriteSame(Span),
    /// Write zeros to every byte, flush, then call [`super::EraseRun::overwritten`].
    Overwrite,
    /// Ask the device whether it is clean already, then call [`super::EraseRun::said_clean`].
    AskClean,
    /// Find and open the disk again, drop all caches, then call [`super::EraseRun::looked_again`].
    LookAgain,
    /// Nothing; call [`super::EraseRun::finish`].
    Finished,
}

/// What is known of the device when it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// How long the device says that each of [`crate::command::commands`] takes, in seconds; none where it does not say.
    pub estimates_seconds: Vec<Option<u32>>,
    /// Its health log; absent where it has none.
    pub health: Outcome<Vec<HealthReading>>,
}

/// A device's word that a sanitize of everything ended well and that nothing was written since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidClean {
    /// Which sanitize it was.
    pub sanitized_by: EraseMethod,
    /// Its status in words and numbers, for the record.
    pub status: String,
}

/// An overwrite that the device took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overwritten {
    /// How many bytes were written.
    pub bytes_written: u64,
    /// What came of it in words, for the record.
    pub status: String,
}

/// What a disk made of a piece that it was to write itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SameWritten {
    /// It says that it wrote so much, from the beginning of the piece on.
    Written {
        /// How many bytes; whole sectors.
        bytes: u64,
        /// What it said, for the record.
        status: String,
    },
    /// It has no such command, or does not take it as we give it.
    Refused {
        /// What it said, for the record.
        status: String,
    },
}

/// What the disk is like after the last command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSeen {
    /// Who the disk says it is now.
    pub id: DiskId,
    /// Its size in bytes now.
    pub size_bytes: u64,
    /// Its sector size in bytes now.
    pub logical_sector_bytes: u32,
    /// Its health log now.
    pub health: Outcome<Vec<HealthReading>>,
}
