//! What a deep look does besides: it makes processors and memory work, which a running system has no time for.

use std::time::Duration;

use super::evidence::Found;
use super::source::Source;
use super::{known_answer, memory_test};

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// How long the processors compute.
    pub processor_time: Duration,
    /// How long the memory is written and read, at least once over.
    pub memory_time: Duration,
    /// How much memory, where as much is free.
    pub memory_bytes_max: u64,
}

impl Effort {
    /// As part of every look in the ramdisk: half a second.
    pub const QUICK: Self = Self {
        processor_time: Duration::from_millis(250),
        memory_time: Duration::from_millis(250),
        memory_bytes_max: 64 << 20,
    };

    /// A burn-in that takes this long: half for the processors, half for the memory, of which an eighth of
    /// what is free is tested.
    #[must_use]
    pub fn burn_in(time: Duration) -> Self {
        Self { processor_time: time / 2, memory_time: time / 2, memory_bytes_max: u64::MAX }
    }
}

/// Makes processors and memory work.
#[must_use]
pub fn read(source: &Source, effort: Effort) -> Vec<Found> {
    let mut found = known_answer::read(source, effort.processor_time);
    found.extend(memory_test::read(source, effort.memory_bytes_max, effort.memory_time));
    found
}
