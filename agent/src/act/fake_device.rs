//! A disk in memory that breaks on demand: power cuts, torn and lost writes, lies and read errors.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use contract::plan::EraseMethod;
use erasure::command::{CommandProgress, DeviceCommand};
use erasure::run::{SaidClean, SameWritten};
use erasure::sample::Span;

use super::device::{BlockDevice, Timer};

/// What goes wrong, and when. Writes are counted from 0.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// At this write the power goes: half of it is torn off, and nothing works any more.
    pub power_cut_at_write: Option<usize>,
    /// These writes are acknowledged and dropped.
    pub dropped_writes: BTreeSet<usize>,
    /// One bit of this write is flipped on its way to the medium.
    pub flipped_write: Option<usize>,
    /// All writes are acknowledged and dropped from this one on.
    pub write_blocked_from: Option<usize>,
    /// It is smaller than it says: what goes beyond this byte comes to lie at the start again.
    pub wraps_at: Option<u64>,
    /// Reading any of these bytes fails.
    pub unreadable: Option<Range<u64>>,
    /// Reading any of these bytes fails until any of them is written.
    pub weak: Option<Range<u64>>,
    /// Writing any of these bytes fails, and none of that write arrives.
    pub unwritable: Option<Range<u64>>,
    /// A command that erases is answered with success and does nothing.
    pub erase_does_nothing: bool,
    /// A command that erases is refused.
    pub erase_refused: bool,
    /// A WRITE SAME is refused as a command that it does not have.
    pub same_refused: bool,
    /// A sanitize never gets further than one percent.
    pub sanitize_stands_still: bool,
    /// A sanitize fails halfway.
    pub sanitize_fails: bool,
    /// An ATA password that is not ours is set.
    pub foreign_password: bool,
    /// It says that it was sanitized and not written since, whatever it holds.
    pub says_clean: bool,
}

/// How often an honest sanitize says that it is at work.
const SANITIZE_POLLS: u16 = 5;

/// The most that one WRITE SAME writes, in bytes.
const SAME_BYTES_MAX: u64 = 5 << 20;

/// A timer on which waiting takes no time.
#[derive(Debug, Default)]
pub struct FakeTimer(AtomicU64);

impl Timer for FakeTimer {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn wait_millis(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

/// One write, for those who want to know what was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteSeen {
    /// First byte.
    pub offset_bytes: u64,
    /// How many.
    pub length_bytes: u64,
}

struct Unflushed {
    offset: usize,
    old: Vec<u8>,
    new: Vec<u8>,
    /// What the power cut tore off.
    torn_off: Vec<u8>,
}

struct State {
    content: Vec<u8>,
    unflushed: Vec<Unflushed>,
    faults: Faults,
    writes: Vec<WriteSeen>,
    powered: bool,
    bytes_read: u64,
    /// Commands that erase, in the order in which they were given.
    commands: Vec<DeviceCommand>,
    /// How often it said that the last of them, a sanitize, is at work; none when none is.
    polls: Option<u16>,
}

impl State {
    fn erase(&mut self) {
        if !self.faults.erase_does_nothing {
            self.content.fill(0);
        }
        self.unflushed.clear();
    }
}

/// A disk in memory.
pub struct FakeDevice {
    state: Mutex<State>,
    size_bytes: u64,
    sector_bytes: u32,
    timer: Arc<FakeTimer>,
}

fn power_is_off() -> io::Error {
    io::Error::other("power is off")
}

impl FakeDevice {
    /// A disk with this content.
    pub fn new(content: Vec<u8>, faults: Faults) -> Self {
        let size_bytes = content.len() as u64;
        let state = State {
            content,
            unflushed: Vec::new(),
            faults,
            writes: Vec::new(),
            powered: true,
            bytes_read: 0,
            commands: Vec::new(),
            polls: None,
        };
        Self { state: Mutex::new(state), size_bytes, sector_bytes: 512, timer: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What is on the medium now.
    pub fn content(&self) -> Vec<u8> {
        self.state().content.clone()
    }

    /// What the medium holds after the power went: of the writes that were not flushed, those that
    /// `kept` names by their index since the last flush survive, whatever their order.
    pub fn after_power_cut(&self, kept: impl Fn(usize) -> bool) -> Vec<u8> {
        let state = self.state();
        let mut content = state.content.clone();
        for write in state.unflushed.iter().rev() {
            content[write.offset..write.offset + write.old.len()].copy_from_slice(&write.old);
        }
        for (index, write) in state.unflushed.iter().enumerate() {
            if kept(index) {
                content[write.offset..write.offset + write.new.len()].copy_from_slice(&write.new);
            }
        }
        content
    }

    /// Shows what the medium holds after the power went, if of each write that was not flushed, the one
    /// that was cut included, those sectors survive that `kept` names: by their place in the write and by
    /// how many it has.
    pub fn after_torn_power_cut<T>(
        &self,
        kept: impl Fn(usize, usize) -> bool,
        look: impl FnOnce(&[u8]) -> T,
    ) -> T {
        let mut state = self.state();
        let State { content, unflushed, .. } = &mut *state;
        let range = |write: &Unflushed| write.offset..write.offset + write.new.len() + write.torn_off.len();
        let now: Vec<Vec<u8>> = unflushed.iter().map(|write| content[range(write)].to_vec()).collect();
        for write in unflushed.iter().rev() {
            content[write.offset..write.offset + write.old.len()].copy_from_slice(&write.old);
        }
        for write in unflushed.iter() {
            let whole = [write.new.as_slice(), &write.torn_off].concat();
            let sectors = whole.len() / 512;
            for (at, sector) in whole.chunks(512).enumerate().filter(|(at, _)| kept(*at, sectors)) {
                content[write.offset + at * 512..][..512].copy_from_slice(sector);
            }
        }
        let seen = look(content);
        for (write, now) in unflushed.iter().zip(now) {
            content[range(write)].copy_from_slice(&now);
        }
        seen
    }

    /// All writes so far.
    pub fn writes(&self) -> Vec<WriteSeen> {
        self.state().writes.clone()
    }

    /// The commands that erase which it was given.
    pub fn commands(&self) -> Vec<DeviceCommand> {
        self.state().commands.clone()
    }

    /// The timer of its waits.
    pub fn timer(&self) -> Arc<FakeTimer> {
        Arc::clone(&self.timer)
    }

    /// How many bytes were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }
}

impl BlockDevice for FakeDevice {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        if !state.powered {
            return Err(power_is_off());
        }
        let end = offset_bytes + buffer.len() as u64;
        assert!(offset_bytes.is_multiple_of(512) && end.is_multiple_of(512), "whole sectors only");
        let mut bad = state.faults.unreadable.iter().chain(&state.faults.weak);
        if bad.any(|bad| bad.start < end && offset_bytes < bad.end) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        let start = (offset_bytes % state.faults.wraps_at.unwrap_or(u64::MAX)) as usize;
        let Some(bytes) = state.content.get(start..start + buffer.len()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        buffer.copy_from_slice(bytes);
        state.bytes_read += buffer.len() as u64;
        Ok(())
    }

    fn write_at(&self, offset_bytes: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if !state.powered {
            return Err(power_is_off());
        }
        assert!(offset_bytes.is_multiple_of(512) && bytes.len().is_multiple_of(512), "whole sectors only");
        let index = state.writes.len();
        state.writes.push(WriteSeen { offset_bytes, length_bytes: bytes.len() as u64 });
        let faults = state.faults.clone();
        if faults.dropped_writes.contains(&index)
            || faults.write_blocked_from.is_some_and(|from| index >= from)
        {
            return Ok(());
        }
        let end = offset_bytes + bytes.len() as u64;
        if faults.unwritable.as_ref().is_some_and(|range| offset_bytes < range.end && range.start < end) {
            return Err(io::Error::other("medium error"));
        }
        state.faults.weak = faults.weak.filter(|weak| weak.end <= offset_bytes || end <= weak.start);
        let torn = faults.power_cut_at_write == Some(index);
        let kept = if torn { (bytes.len() / 2).next_multiple_of(512).min(bytes.len()) } else { bytes.len() };
        let mut new = bytes[..kept].to_vec();
        if faults.flipped_write == Some(index)
            && let Some(byte) = new.first_mut()
        {
            *byte ^= 1;
        }
        let start = (offset_bytes % faults.wraps_at.unwrap_or(u64::MAX)) as usize;
        if start + bytes.len() > state.content.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let old = state.content[start..start + kept].to_vec();
        state.content[start..start + kept].copy_from_slice(&new);
        state.unflushed.push(Unflushed { offset: start, old, new, torn_off: bytes[kept..].to_vec() });
        if torn {
            state.powered = false;
            return Err(power_is_off());
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state();
        if !state.powered {
            return Err(power_is_off());
        }
        state.unflushed.clear();
        Ok(())
    }

    fn drop_caches(&self) -> io::Result<()> {
        Ok(())
    }

    fn prepare_erase(&self) -> io::Result<()> {
        if self.state().faults.foreign_password {
            return Err(io::Error::other("the password is not ours"));
        }
        Ok(())
    }

    fn erase_estimate_seconds(&self, _command: DeviceCommand) -> Option<u32> {
        Some(600)
    }

    fn start_erase(&self, command: DeviceCommand) -> io::Result<()> {
        let mut state = self.state();
        if !state.powered || state.faults.erase_refused {
            return Err(io::Error::other("the controller answered with status 0x0006"));
        }
        state.commands.push(command);
        if command.outlives_a_reset() {
            state.polls = Some(0);
        } else if command != DeviceCommand::ScsiWriteSame {
            state.erase();
        }
        Ok(())
    }

    fn write_same(&self, span: Span) -> io::Result<SameWritten> {
        if self.state().faults.same_refused {
            return Ok(SameWritten::Refused { status: "no such command".to_owned() });
        }
        let bytes = span.bytes.min(SAME_BYTES_MAX);
        self.write_at(span.offset, &vec![0; bytes as usize])?;
        Ok(SameWritten::Written { bytes, status: "completed".to_owned() })
    }

    fn erase_progress(&self, command: DeviceCommand) -> io::Result<CommandProgress> {
        let mut state = self.state();
        if state.commands.last() != Some(&command) {
            return Ok(CommandProgress::Never { status: "idle".to_owned() });
        }
        let Some(polls) = state.polls else {
            return Ok(CommandProgress::Done { status: "completed".to_owned() });
        };
        if state.faults.sanitize_stands_still {
            return Ok(CommandProgress::Running { progress_65536: Some(655) });
        }
        if polls < SANITIZE_POLLS {
            state.polls = Some(polls + 1);
            return Ok(CommandProgress::Running { progress_65536: Some(polls * 13_000) });
        }
        state.polls = None;
        if state.faults.sanitize_fails {
            return Ok(CommandProgress::Failed { status: "SSTAT 3".to_owned() });
        }
        state.erase();
        Ok(CommandProgress::Done { status: "completed".to_owned() })
    }

    fn said_clean(&self) -> io::Result<SaidClean> {
        let sanitized_by = EraseMethod::NvmeSanitizeBlock;
        match self.state().faults.says_clean {
            true => Ok(SaidClean { sanitized_by, status: "SSTAT 0x0101".to_owned() }),
            false => Err(io::Error::other("SSTAT 0x0001")),
        }
    }

    fn reread_partitions(&self) -> io::Result<()> {
        Ok(())
    }
}
