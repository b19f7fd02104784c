//! One erase, from the first look to the last block read back.
//!
//! ```text
//!  Prepare ─► AskClean ─► LookAgain ─► ReadBack ─► AskClean again ─► Done      (found clean; no write)
//!
//!  Prepare ─► Settle ──────────► WriteMarkers ─► ReadBefore ─► Start ─► Poll ─┐
//!               │                     ▲                          ▲            │ more commands
//!               └─► Start, Poll ──────┘                          └────────────┤
//!                  (to get out of a failed sanitize)     Overwrite ──────► LookAgain ─► ReadBack ─► Done
//!                                                            ▲ refused        ▲
//!                                               Start ─► WriteSame ────────────┘      (piece by piece)
//!
//!  anything unexpected, anywhere ─► Failed (not erased)
//! ```
//!
//! The run does no input or output and has no clock. Whoever drives it asks [`EraseRun::next`], does
//! exactly that with direct reads and writes (no page cache), and hands in what the device answered
//! and, where time matters, a monotonic time. Only a run in which the device said that it was done
//! *and* every block read back is as the method must leave it ends in [`Erased`]. Dropping a run, or
//! handing in anything out of order, never does.
//!
//! - `Settle` asks a device with sanitize commands whether one is running, from before a power cut for
//!   one. It is waited for and proves nothing. After one that failed the device takes nothing but
//!   another one, so one is given, and proves nothing either.
//! - `ReadBefore` proves that the markers are on the disk, so that their absence afterwards means
//!   something, and notes what the samples held, so that a device that did nothing shows.
//! - `Poll` ends in "not erased" where the device stands still, answers nothing, or goes on without
//!   end. What it says of its progress is never believed: a device that is "done" at once is judged by
//!   what is read back.
//! - A disk that is to be found clean gets no command and no marker. Its word is asked before and after
//!   it is read back; what it holds must be zeros or ones, for noise may be data that are encrypted.
//! - `WriteSame` goes piece by piece from the first byte to the last. A disk that refuses the command as
//!   such is overwritten from the first byte on, and that is what the record says; any other failure is
//!   the end.
//! - After an overwrite every byte that is read back must be zero; what other methods may leave is
//!   [`crate::content::may_leave`]. No block may be as it was before, unless it was already zeros or
//!   ones.

mod clean;
mod proof;
mod reading;
mod task;
mod watch;
mod zeros;

use std::collections::BTreeMap;

use contract::id::Digest;
use contract::plan::EraseMethod;
use contract::reading::Outcome;

use self::reading::Reading;
pub use self::task::{DiskSeen, EraseTask, Next, Overwritten, Prepared, SaidClean, SameWritten};
use self::watch::Watch;
use self::zeros::WriteSame;
use crate::command::{CommandProgress, DeviceCommand, commands};
use crate::markers::{marker, marker_positions};
use crate::method::may_deliver;
pub use crate::not_erased::NotErased;
use crate::record::{
    CommandPurpose, CommandRecord, ContentCounts, EraseRecord, HealthReading, bounded_health,
};
use crate::sample::{BLOCK_BYTES, positions};

/// The proof that a disk is erased: the device said so, and what was read back agrees. Made only by
/// [`EraseRun::finish`].
///
/// ```compile_fail
/// // The field is private, so the proof cannot be put together from a record.
/// fn forged(record: erasure::EraseRecord) -> erasure::Erased {
///     erasure::Erased { record }
/// }
/// ```
/// ```compile_fail
/// fn from_the_wire(text: &str) -> erasure::Erased {
///     serde_json::from_str(text).unwrap()
/// }
/// ```
#[derive(Debug)]
#[must_use = "a proof that nobody keeps proves nothing"]
pub struct Erased {
    record: EraseRecord,
}

impl Erased {
    /// What was done and seen.
    #[must_use]
    pub fn record(&self) -> &EraseRecord {
        &self.record
    }
}

#[derive(Debug)]
enum State {
    Prepare,
    /// The device is to say that it is clean already.
    AskClean,
    /// The command under watch is the first of the method; it may be none of ours.
    Settle(Watch),
    WriteMarkers,
    ReadBefore(Reading),
    /// The command with this index is to be given.
    Start(usize, CommandPurpose),
    Poll(usize, Watch),
    WriteSame(WriteSame),
    Overwrite,
    LookAgain,
    ReadBack(Reading),
    /// It is to say so still, after it was read.
    AskCleanAgain,
    Done,
    Failed(NotErased),
}

/// One erase under way.
#[derive(Debug)]
#[must_use = "an erase that is not finished proves nothing"]
pub struct EraseRun {
    task: EraseTask,
    markers: Vec<u64>,
    samples: Vec<u64>,
    state: State,
    estimates_seconds: Vec<Option<u32>>,
    /// What the samples held before: digest, and whether they were already blank.
    before: BTreeMap<u64, (Digest, bool)>,
    statuses: Vec<String>,
    command_records: Vec<CommandRecord>,
    health_before: Outcome<Vec<HealthReading>>,
    health_after: Outcome<Vec<HealthReading>>,
    found: ContentCounts,
    bytes_read_back: u64,
}

impl EraseRun {
    /// Starts a run.
    ///
    /// # Errors
    /// [`NotErased::Task`] if the disk is too small to be sampled, no samples are asked for, or the
    /// method does not deliver the level.
    pub fn new(task: EraseTask) -> Result<Self, NotErased> {
        let refuse = |why: &str| NotErased::Task { disk: task.disk.id.clone(), why: why.to_owned() };
        if task.samples == 0 {
            return Err(refuse("no samples are asked for"));
        }
        if task.disk.size_bytes < BLOCK_BYTES {
            return Err(refuse("it is smaller than one block"));
        }
        if !may_deliver(task.method, task.level) {
            return Err(refuse("the method does not deliver the level"));
        }
        let markers = match task.method {
            // A marker would be the write after which a clean disk is clean no more.
            EraseMethod::NvmeFoundClean => Vec::new(),
            _ => marker_positions(task.seed, task.disk.size_bytes),
        };
        let samples = positions(task.seed, task.disk.size_bytes, task.samples);
        Ok(Self {
            task,
            markers,
            samples,
            state: State::Prepare,
            estimates_seconds: Vec::new(),
            before: BTreeMap::new(),
            statuses: Vec::new(),
            command_records: Vec::new(),
            health_before: Outcome::Absent,
            health_after: Outcome::Absent,
            found: ContentCounts::default(),
            bytes_read_back: 0,
        })
    }

    fn command(&self, index: usize) -> Option<DeviceCommand> {
        commands(self.task.method).get(index).copied()
    }

    fn estimate_seconds(&self, index: usize) -> Option<u32> {
        self.estimates_seconds.get(index).copied().flatten()
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> Next {
        match &self.state {
            State::Prepare => Next::Prepare,
            State::Settle(watch) | State::Poll(_, watch) => {
                Next::Poll { command: watch.command(), after_millis: watch.pause_millis() }
            }
            State::WriteMarkers => Next::WriteMarkers { offsets: self.markers.clone() },
            State::Start(index, _) => self.command(*index).map_or(Next::Finished, Next::Command),
            State::AskClean | State::AskCleanAgain => Next::AskClean,
            State::WriteSame(same) => Next::WriteSame(same.piece(self.task.disk.size_bytes)),
            State::Overwrite => Next::Overwrite,
            State::LookAgain => Next::LookAgain,
            State::ReadBefore(reading) | State::ReadBack(reading) => {
                reading.front().map_or(Next::Finished, Next::Read)
            }
            State::Done | State::Failed(_) => Next::Finished,
        }
    }

    /// The content of the marker at `offset`, 4 KiB.
    #[must_use]
    pub fn marker(&self, offset: u64) -> Vec<u8> {
        marker(self.task.seed, offset)
    }

    /// How many bytes are still to be read, for progress.
    #[must_use]
    pub fn bytes_to_read(&self) -> u64 {
        match &self.state {
            State::ReadBefore(reading) | State::ReadBack(reading) => reading.bytes(),
            _ => 0,
        }
    }

    /// How far the device says that it is with the command under way, in parts of 65536, for people.
    #[must_use]
    pub fn progress_65536(&self) -> Option<u16> {
        match &self.state {
            State::Settle(watch) | State::Poll(_, watch) => watch.progress_65536(),
            State::WriteSame(same) => same.progress_65536(),
            _ => None,
        }
    }

    /// The device was made ready, or could not be. `now_millis` is of any clock that never goes back.
    pub fn prepared(&mut self, now_millis: u64, result: Result<Prepared, String>) {
        self.step(|run, state| match (state, result) {
            (State::Prepare, Ok(prepared)) => {
                run.estimates_seconds = prepared.estimates_seconds;
                run.health_before = bounded_health(prepared.health);
                Ok(match run.command(0) {
                    _ if run.task.method == EraseMethod::NvmeFoundClean => State::AskClean,
                    Some(first) if first.outlives_a_reset() => {
                        let estimate = run.estimate_seconds(0);
                        State::Settle(Watch::new(first, CommandPurpose::FoundRunning, estimate, now_millis))
                    }
                    _ => State::WriteMarkers,
                })
            }
            (State::Prepare, Err(why)) => Err(NotErased::NotPrepared(why)),
            _ => Err(NotErased::OutOfOrder("a device was made ready when none was to be")),
        });
    }

    /// The markers were written and flushed, or could not be.
    pub fn markers_written(&mut self, result: Result<(), String>) {
        self.step(|run, state| match (state, result) {
            (State::WriteMarkers, Ok(())) => {
                let mut offsets = run.markers.clone();
                if run.task.method != EraseMethod::Overwrite {
                    offsets.extend(&run.samples);
                }
                Ok(State::ReadBefore(Reading::blocks(offsets)))
            }
            (State::WriteMarkers, Err(why)) => Err(NotErased::MarkersNotWritten(why)),
            _ => Err(NotErased::OutOfOrder("markers were written when none were asked for")),
        });
    }

    /// The device took the command, or did not.
    pub fn command_given(&mut self, now_millis: u64, result: Result<(), String>) {
        self.step(|run, state| match (state, result) {
            (State::Start(index, purpose), Ok(())) => {
                let Some(command) = run.command(index) else {
                    return Err(NotErased::OutOfOrder("a command was given that there is not"));
                };
                if command == DeviceCommand::ScsiWriteSame {
                    return Ok(State::WriteSame(WriteSame::new(now_millis)));
                }
                let estimate = run.estimate_seconds(index);
                Ok(State::Poll(index, Watch::new(command, purpose, estimate, now_millis)))
            }
            (State::Start(..), Err(why)) => Err(NotErased::Device(why)),
            _ => Err(NotErased::OutOfOrder("a command was given when none was asked for")),
        });
    }

    /// What the device says of the command under way.
    pub fn polled(&mut self, now_millis: u64, result: Result<CommandProgress, String>) {
        self.step(|run, state| match (state, result) {
            (State::Settle(mut watch), Ok(CommandProgress::Running { progress_65536 })) => {
                watch.running(now_millis, progress_65536)?;
                Ok(State::Settle(watch))
            }
            (State::Settle(mut watch), Err(why)) => {
                watch.unanswered(now_millis, why)?;
                Ok(State::Settle(watch))
            }
            (State::Settle(watch), Ok(ended)) => Ok(run.settled(watch, now_millis, ended)),
            (State::Poll(index, mut watch), Ok(CommandProgress::Running { progress_65536 })) => {
                watch.running(now_millis, progress_65536)?;
                Ok(State::Poll(index, watch))
            }
            (State::Poll(index, mut watch), Err(why)) => {
                watch.unanswered(now_millis, why)?;
                Ok(State::Poll(index, watch))
            }
            (State::Poll(index, watch), Ok(CommandProgress::Done { status })) => {
                Ok(run.completed(index, watch, now_millis, status))
            }
            (State::Poll(_, watch), Ok(CommandProgress::Failed { status })) => {
                Err(NotErased::Device(format!("{:?}: {status}", watch.command())))
            }
            (State::Poll(_, watch), Ok(CommandProgress::Never { status })) => {
                Err(NotErased::Device(format!("{:?} was never begun: {status}", watch.command())))
            }
            _ => Err(NotErased::OutOfOrder("a device was asked for progress when none was under way")),
        });
    }

    /// Nothing runs any more.
    fn settled(&mut self, watch: Watch, now_millis: u64, ended: CommandProgress) -> State {
        let (status, failed) = match ended {
            CommandProgress::Failed { status } => (status, true),
            CommandProgress::Done { status } | CommandProgress::Never { status } => (status, false),
            CommandProgress::Running { .. } => return State::Settle(watch),
        };
        if watch.was_running() || failed {
            self.command_records.push(watch.ended(now_millis, status));
        }
        if failed { State::Start(0, CommandPurpose::Recover) } else { State::WriteMarkers }
    }

    fn completed(&mut self, index: usize, watch: Watch, now_millis: u64, status: String) -> State {
        let purpose = watch.purpose();
        self.command_records.push(watch.ended(now_millis, status.clone()));
        if purpose != CommandPurpose::Erase {
            return State::WriteMarkers;
        }
        self.statuses.push(status);
        match self.command(index + 1) {
            Some(_) => State::Start(index + 1, CommandPurpose::Erase),
            None => State::LookAgain,
        }
    }

    /// The disk was found and opened again after the last command, or could not be.
    pub fn looked_again(&mut self, result: Result<DiskSeen, String>) {
        self.step(|run, state| match (state, result) {
            (State::LookAgain, Ok(seen)) => {
                run.same_disk(&seen)?;
                run.health_after = bounded_health(seen.health);
                let mut offsets = run.markers.clone();
                offsets.extend(&run.samples);
                let task = &run.task;
                Ok(State::ReadBack(Reading::back(offsets, task.seed, task.disk.size_bytes, task.depth)))
            }
            (State::LookAgain, Err(why)) => Err(NotErased::NotFoundAgain(why)),
            _ => Err(NotErased::OutOfOrder("a disk was looked at again when that was not asked for")),
        });
    }

    /// What reading the span that was asked for gave.
    pub fn observed(&mut self, offset: u64, result: Result<&[u8], String>) {
        self.step(|run, state| {
            let (reading, before) = match &state {
                State::ReadBefore(reading) => (reading, true),
                State::ReadBack(reading) => (reading, false),
                _ => return Err(NotErased::OutOfOrder("a span was read that was not asked for")),
            };
            let span = reading.front().filter(|span| span.offset == offset);
            let Some(span) = span else {
                return Err(NotErased::OutOfOrder("a span was read that was not asked for"));
            };
            let bytes = result.map_err(|why| NotErased::NotReadable { offset, why })?;
            if bytes.len() as u64 != span.bytes {
                return Err(NotErased::ShortRead { offset, got: bytes.len() as u64, wanted: span.bytes });
            }
            if before {
                run.look_before(offset, bytes)?;
            } else {
                run.look_after(span, bytes)?;
            }
            Ok(run.after_reading(state))
        });
    }

    /// Goes on to another state. A run that failed stays failed, whatever is handed in later.
    fn step(&mut self, change: impl FnOnce(&mut Self, State) -> Result<State, NotErased>) {
        let unchanged = State::Failed(NotErased::OutOfOrder("a step was not ended"));
        let state = std::mem::replace(&mut self.state, unchanged);
        self.state = match state {
            State::Failed(why) => State::Failed(why),
            state => change(self, state).unwrap_or_else(State::Failed),
        };
    }
}
