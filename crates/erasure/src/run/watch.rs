//! Watching a command of the device: how far it is, and when to give up.

use crate::command::DeviceCommand;
use crate::not_erased::NotErased;
use crate::record::{CommandPurpose, CommandRecord, PROGRESS_POINTS_MAX, ProgressPoint};

/// Without progress for this long at least nobody gives up, in milliseconds: six hours (ours; drives
/// that stood still for 16 hours and for a week are on record, none that went on later).
pub(super) const NO_PROGRESS_MILLIS_MIN: u64 = 6 * 60 * 60 * 1000;

/// How many times its own estimate a device may stand still.
const ESTIMATES: u64 = 4;

/// The most that an estimate counts for, in seconds: three days. The largest magnetic disks overwrite
/// themselves in two and a half.
const ESTIMATE_SECONDS_MAX: u32 = 3 * 24 * 60 * 60;

/// After this long a command is given up whatever it says of its progress, in milliseconds: two weeks.
pub(super) const MILLIS_MAX: u64 = 14 * 24 * 60 * 60 * 1000;

/// How many answers in a row may be missing.
pub(super) const ERRORS_MAX: u32 = 5;

/// The first and the longest pause between two questions, in milliseconds.
const PAUSE_MILLIS_MIN: u64 = 100;
const PAUSE_MILLIS_MAX: u64 = 10_000;

/// One command of the device under way.
#[derive(Debug)]
pub(super) struct Watch {
    command: DeviceCommand,
    purpose: CommandPurpose,
    estimate_seconds: Option<u32>,
    started_millis: u64,
    /// How long it was waited in all: time passes at least this much, whatever the clock says.
    waited_millis: u64,
    pause_millis: u64,
    /// The highest progress so far, and when it came. One that falls back or repeats is none: a
    /// counter that goes in circles ends like one that stands still.
    best: Option<u16>,
    best_after_millis: u64,
    errors: u32,
    points: Vec<ProgressPoint>,
    /// Every so many-th answer is kept; doubled whenever the room is full.
    keep_every: u64,
    answers: u64,
}

impl Watch {
    pub fn new(
        command: DeviceCommand,
        purpose: CommandPurpose,
        estimate_seconds: Option<u32>,
        now_millis: u64,
    ) -> Self {
        Self {
            command,
            purpose,
            estimate_seconds,
            started_millis: now_millis,
            waited_millis: 0,
            pause_millis: 0,
            best: None,
            best_after_millis: 0,
            errors: 0,
            points: Vec::new(),
            keep_every: 1,
            answers: 0,
        }
    }

    pub fn command(&self) -> DeviceCommand {
        self.command
    }

    pub fn purpose(&self) -> CommandPurpose {
        self.purpose
    }

    /// Whether the device said so at least once.
    pub fn was_running(&self) -> bool {
        self.answers > 0
    }

    /// How long to wait before the next question, in milliseconds; none before the first, since many
    /// commands are done at once.
    pub fn pause_millis(&self) -> u64 {
        self.pause_millis
    }

    /// How far it is, for people.
    pub fn progress_65536(&self) -> Option<u16> {
        self.best
    }

    fn after_millis(&self, now_millis: u64) -> u64 {
        now_millis.saturating_sub(self.started_millis).max(self.waited_millis)
    }

    /// The device is at work.
    pub fn running(&mut self, now_millis: u64, progress: Option<u16>) -> Result<(), NotErased> {
        self.asked();
        self.at_work(now_millis, progress)
    }

    /// The device has done so much of what it is told piece by piece. Nobody waited before.
    pub fn went_on(&mut self, now_millis: u64, progress_65536: u16) -> Result<(), NotErased> {
        self.at_work(now_millis, Some(progress_65536))
    }

    fn at_work(&mut self, now_millis: u64, progress: Option<u16>) -> Result<(), NotErased> {
        self.errors = 0;
        let after = self.after_millis(now_millis);
        self.keep(after, progress);
        if progress.is_some() && progress > self.best {
            self.best = progress;
            self.best_after_millis = after;
        }
        self.give_up(after)
    }

    /// The device did not answer.
    pub fn unanswered(&mut self, now_millis: u64, why: String) -> Result<(), NotErased> {
        self.errors += 1;
        self.asked();
        if self.errors >= ERRORS_MAX {
            return Err(NotErased::ProgressUnreadable(why));
        }
        self.give_up(self.after_millis(now_millis))
    }

    fn asked(&mut self) {
        self.waited_millis = self.waited_millis.saturating_add(self.pause_millis);
        self.pause_millis = (self.pause_millis * 2).clamp(PAUSE_MILLIS_MIN, PAUSE_MILLIS_MAX);
    }

    fn give_up(&self, after_millis: u64) -> Result<(), NotErased> {
        let estimate = u64::from(self.estimate_seconds.unwrap_or(0).min(ESTIMATE_SECONDS_MAX)) * 1000;
        let still_millis = after_millis.saturating_sub(self.best_after_millis);
        if still_millis > (ESTIMATES * estimate).max(NO_PROGRESS_MILLIS_MIN) {
            let at = match self.best {
                Some(best) => format!(" at {} %", u32::from(best) * 100 / 65536),
                None => String::new(),
            };
            return Err(NotErased::NoProgress { seconds: still_millis / 1000, at });
        }
        if after_millis > MILLIS_MAX {
            return Err(NotErased::Endless { seconds: after_millis / 1000 });
        }
        Ok(())
    }

    fn keep(&mut self, after_millis: u64, progress_65536: Option<u16>) {
        if self.points.len() >= PROGRESS_POINTS_MAX {
            let mut at = 0_u64;
            self.points.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.keep_every = self.keep_every.saturating_mul(2);
        }
        if self.answers.is_multiple_of(self.keep_every) {
            self.points.push(ProgressPoint { after_millis, progress_65536 });
        }
        self.answers += 1;
    }

    /// It ended; what the device said in the end.
    pub fn ended(self, now_millis: u64, status: String) -> CommandRecord {
        CommandRecord {
            command: self.command,
            purpose: self.purpose,
            status,
            estimate_seconds: self.estimate_seconds,
            millis: self.after_millis(now_millis),
            progress: self.points,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::SanitizeAction;

    const HOUR: u64 = 60 * 60 * 1000;

    fn watch(estimate_seconds: Option<u32>) -> Watch {
        let command = DeviceCommand::NvmeSanitize(SanitizeAction::Block);
        Watch::new(command, CommandPurpose::Erase, estimate_seconds, 1000)
    }

    #[test]
    fn standing_still_ends_after_six_hours_or_four_estimates() {
        for (estimate, hours) in [(None, 6), (Some(60), 6), (Some(3600 * 10), 40), (Some(u32::MAX), 12 * 24)]
        {
            let mut watch = watch(estimate);
            watch.running(1000, Some(655)).unwrap();
            watch.running(1000 + hours * HOUR, Some(655)).unwrap();
            let refused = watch.running(1001 + hours * HOUR, Some(655)).unwrap_err();
            assert_eq!(refused, NotErased::NoProgress { seconds: hours * 3600, at: " at 0 %".to_owned() });
        }
        // A device that never says how far it is has the same time.
        let mut silent = watch(None);
        silent.running(1000 + 6 * HOUR, None).unwrap();
        assert!(silent.running(1001 + 6 * HOUR, None).is_err());
    }

    #[test]
    fn only_a_new_height_is_progress() {
        let mut watch = watch(None);
        watch.running(1000 + HOUR, Some(40_000)).unwrap();
        watch.running(1000 + 5 * HOUR, Some(20_000)).unwrap();
        watch.running(1000 + 7 * HOUR, Some(40_000)).unwrap();
        assert!(watch.running(1001 + 7 * HOUR, Some(39_999)).is_err());
    }

    #[test]
    fn endless_progress_ends_and_so_does_a_clock_that_stands_still() {
        let mut slow = watch(None);
        let ended =
            (1..=u16::MAX).find_map(|step| slow.running(u64::from(step) * 5 * HOUR, Some(step)).err());
        assert!(matches!(ended, Some(NotErased::Endless { .. })), "{ended:?}");
        let mut frozen = watch(None);
        let ended = (0..10_000).find_map(|_| frozen.running(1000, None).err());
        assert!(matches!(ended, Some(NotErased::NoProgress { .. })), "{ended:?}");
    }

    #[test]
    fn a_missing_answer_is_forgiven_and_five_in_a_row_are_not() {
        let mut watch = watch(None);
        for _ in 0..3 {
            (0..4).for_each(|_| watch.unanswered(1000, "EIO".to_owned()).unwrap());
            watch.running(1000, None).unwrap();
        }
        (0..4).for_each(|_| watch.unanswered(1000, "EIO".to_owned()).unwrap());
        let refused = watch.unanswered(1000, "EIO".to_owned()).unwrap_err();
        assert_eq!(refused, NotErased::ProgressUnreadable("EIO".to_owned()));
    }

    #[test]
    fn the_trace_is_bounded_and_spread_over_the_whole_time() {
        let mut watch = watch(None);
        for step in 0..10_000_u16 {
            watch.running(1000 + u64::from(step) * 60, Some(step)).unwrap();
        }
        let record = watch.ended(601_000, "done".to_owned());
        assert!((PROGRESS_POINTS_MAX / 2..=PROGRESS_POINTS_MAX).contains(&record.progress.len()));
        assert_eq!(record.progress[0].progress_65536, Some(0));
        assert!(record.progress.last().unwrap().progress_65536 > Some(9_000));
        assert!(record.progress.windows(2).all(|pair| pair[0].progress_65536 < pair[1].progress_65536));
    }
}
