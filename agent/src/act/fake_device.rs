//! A disk in memory that breaks on demand: power cuts, torn and lost writes, lies and read errors.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use erasure::command::{CommandProgress, DeviceCommand};

use super::device::BlockDevice;

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
    /// Reading any of these bytes fails.
    pub unreadable: Option<Range<u64>>,
    /// A format is answered with success and does nothing.
    pub format_does_nothing: bool,
    /// A format is answered with an error.
    pub format_fails: bool,
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
}

struct State {
    content: Vec<u8>,
    unflushed: Vec<Unflushed>,
    faults: Faults,
    writes: Vec<WriteSeen>,
    powered: bool,
    bytes_read: u64,
    given: Option<DeviceCommand>,
}

/// A disk in memory.
pub struct FakeDevice {
    state: Mutex<State>,
    size_bytes: u64,
    sector_bytes: u32,
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
            given: None,
        };
        Self { state: Mutex::new(state), size_bytes, sector_bytes: 512 }
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

    /// All writes so far.
    pub fn writes(&self) -> Vec<WriteSeen> {
        self.state().writes.clone()
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
        if state.faults.unreadable.as_ref().is_some_and(|bad| bad.start < end && offset_bytes < bad.end) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        let start = offset_bytes as usize;
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
        let torn = faults.power_cut_at_write == Some(index);
        let kept = if torn { (bytes.len() / 2).next_multiple_of(512).min(bytes.len()) } else { bytes.len() };
        let mut new = bytes[..kept].to_vec();
        if faults.flipped_write == Some(index)
            && let Some(byte) = new.first_mut()
        {
            *byte ^= 1;
        }
        let start = offset_bytes as usize;
        if start + bytes.len() > state.content.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let old = state.content[start..start + kept].to_vec();
        state.content[start..start + kept].copy_from_slice(&new);
        state.unflushed.push(Unflushed { offset: start, old, new });
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

    fn start_erase(&self, command: DeviceCommand) -> io::Result<()> {
        let mut state = self.state();
        if !state.powered || state.faults.format_fails {
            return Err(io::Error::other("the controller answered NVMe Format NVM with status 0x0006"));
        }
        if !state.faults.format_does_nothing {
            state.content.fill(0);
        }
        state.unflushed.clear();
        state.given = Some(command);
        Ok(())
    }

    fn erase_progress(&self, command: DeviceCommand) -> io::Result<CommandProgress> {
        let status = "completed".to_owned();
        Ok(match self.state().given {
            Some(given) if given == command => CommandProgress::Done { status },
            _ => CommandProgress::Never { status: "idle".to_owned() },
        })
    }

    fn reread_partitions(&self) -> io::Result<()> {
        Ok(())
    }
}
