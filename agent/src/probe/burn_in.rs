//! Tier T3: the machine works for minutes before it is looked at, so that what only shows under load is seen.
//!
//! Processors compute known answers, memory is written and read over and over, disks are read in sequence one
//! after the other. Nothing is written to a disk. Each is timed, for the comparison with the same hardware in
//! other nodes. What the work provokes (corrected errors, throttling, lines in the kernel's log) is seen by the
//! look that follows.

use std::time::{Duration, Instant};

use contract::inventory::SanitizeState;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use super::deep::Effort;
use super::disks::{self, FoundDisk};
use super::evidence::Found;
use super::raw_read::RawDisk;
use super::source::Source;
use super::{disk_speed, known_answer, memory_test};

/// No burn-in is longer; the session in the ramdisk lasts two hours.
pub const TIME_MAX: Duration = Duration::from_secs(3600);
/// Reading a disk longer says no more of its pace.
const DISK_TIME_MAX: Duration = Duration::from_secs(10);
/// Of the time, so many percent are for all disks together.
const DISKS_PERCENT: u32 = 10;

/// What a burn-in is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Processors compute known answers.
    Processors,
    /// Memory is written and read.
    Memory,
    /// Disks are read.
    Disks,
}

impl Stage {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Processors => "processors",
            Self::Memory => "memory",
            Self::Disks => "disks",
        }
    }
}

/// Makes the machine work for this long, at most [`TIME_MAX`]; `stage` is told what begins.
pub fn read(source: &Source, time: Duration, stage: &dyn Fn(Stage)) -> Vec<Found> {
    let time = time.min(TIME_MAX);
    let for_disks = time * DISKS_PERCENT / 100;
    let effort = Effort::burn_in(time.saturating_sub(for_disks));
    stage(Stage::Processors);
    let mut found = known_answer::read(source, effort.processor_time);
    stage(Stage::Memory);
    found.extend(memory_test::read(source, effort.memory_bytes_max, effort.memory_time));
    stage(Stage::Disks);
    if let Outcome::Value(disks) = disks::read(source) {
        found.extend(read_disks(&disks, for_disks));
    }
    found
}

/// Disks that cannot be listed are missed by the look that follows.
fn read_disks(disks: &[FoundDisk], time: Duration) -> Vec<Found> {
    let began = Instant::now();
    let mut found = Vec::new();
    for (at, disk) in disks.iter().enumerate() {
        // What one did not need is for those after it.
        let left = u32::try_from(disks.len() - at).unwrap_or(u32::MAX);
        let share = time.saturating_sub(began.elapsed()) / left;
        found.extend(read_disk(disk, share.clamp(disk_speed::QUICK, DISK_TIME_MAX)));
    }
    found
}

fn read_disk(disk: &FoundDisk, time: Duration) -> Vec<Found> {
    let subject = Subject::Disk(disk.facts.id.clone());
    if let Outcome::Value(sanitize) = &disk.facts.sanitize
        && matches!(sanitize.state, SanitizeState::Running { .. } | SanitizeState::Failed)
    {
        let why = "the disk is being sanitized, or that failed, and it gives nothing to read".to_owned();
        return vec![(subject, ReadingKey::DiskReadMegabytes, Outcome::Unreadable(why))];
    }
    match RawDisk::open(&disk.device, disk.facts.size_bytes) {
        Ok(raw) => {
            let speed = disk_speed::read(&raw, time);
            let errors = Outcome::Value(ReadingValue::Count(raw.errors()));
            vec![
                (subject.clone(), ReadingKey::DiskReadMegabytes, speed),
                (subject, ReadingKey::DiskReadErrors, errors),
            ]
        }
        Err(error) => {
            let why = format!("cannot open {}: {error}", disk.device.display());
            vec![(subject, ReadingKey::DiskReadMegabytes, Outcome::Unreadable(why))]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::probe::evidence::tests::disk;
    use crate::probe::recorded::Tree;

    fn outcome(found: &[Found], wanted: ReadingKey) -> Option<&Outcome<ReadingValue>> {
        found.iter().find(|(_, key, _)| *key == wanted).map(|(_, _, outcome)| outcome)
    }

    #[test]
    fn everything_works_in_turn_and_what_could_not_is_said() {
        let tree = Tree::new();
        tree.write("proc/meminfo", "MemAvailable: 16000 kB\n");
        let stages = RefCell::new(Vec::new());
        let began = Instant::now();
        let found = read(&tree.source(), Duration::from_millis(50), &|stage| stages.borrow_mut().push(stage));
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(*stages.borrow(), [Stage::Processors, Stage::Memory, Stage::Disks]);
        let untested = outcome(&found, ReadingKey::ProcessorRounds);
        assert!(matches!(untested, Some(Outcome::Unreadable(_))), "the tree has no list of processors");
        let tested = outcome(&found, ReadingKey::MemoryTestErrors);
        assert_eq!(tested, Some(&Outcome::Value(ReadingValue::Count(0))));
    }

    #[test]
    fn disks_are_read_and_left_as_they_are() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: u64 = 1 << 30;
        file.as_file().set_len(bytes).unwrap();
        file.as_file().write_all_at(&vec![7; 8 << 20], 256 << 20).unwrap();
        let before = file.as_file().metadata().unwrap().modified().unwrap();
        let mut written = disk(SanitizeState::Never);
        written.device = file.path().to_owned();
        written.facts.size_bytes = bytes;
        let mut gone = written.clone();
        gone.device = "/nothing/there".into();
        let found = read_disks(&[written, gone, disk(SanitizeState::Failed)], Duration::from_millis(20));
        let rates: Vec<_> =
            found.iter().filter(|(_, key, _)| *key == ReadingKey::DiskReadMegabytes).collect();
        assert!(matches!(rates[0].2, Outcome::Value(ReadingValue::Count(rate)) if rate > 0), "{rates:?}");
        assert!(matches!(rates[1].2, Outcome::Unreadable(_)) && matches!(rates[2].2, Outcome::Unreadable(_)));
        assert_eq!(
            outcome(&found, ReadingKey::DiskReadErrors),
            Some(&Outcome::Value(ReadingValue::Count(0)))
        );
        assert_eq!(file.as_file().metadata().unwrap().modified().unwrap(), before);
    }
}
