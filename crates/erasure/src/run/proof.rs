//! Looking at what was read, and what it proves in the end.

use contract::id::{Digest, UnixMillis};
use contract::plan::{EraseMethod, VerifyDepth};

use super::task::DiskSeen;
use super::{EraseRun, Erased, State};
use crate::content::{Content, look, may_leave};
use crate::not_erased::NotErased;
use crate::record::{CommandPurpose, EraseRecord, exclusions};
use crate::sample::{BLOCK_BYTES, Span, found_with_95_percent_ppm};

impl EraseRun {
    /// Ends the run. Times are the service's.
    ///
    /// # Errors
    /// [`NotErased`] unless every step was done and agreed.
    pub fn finish(self, started_at: UnixMillis, ended_at: UnixMillis) -> Result<Erased, NotErased> {
        match self.state {
            State::Done => {}
            State::Failed(why) => return Err(why),
            State::Prepare => return Err(NotErased::Stopped("the device was to be made ready")),
            State::Settle(_) => return Err(NotErased::Stopped("an earlier command was waited for")),
            State::AskClean | State::AskCleanAgain => {
                return Err(NotErased::Stopped("the device was to say whether it is clean"));
            }
            State::WriteMarkers => return Err(NotErased::Stopped("markers were to be written")),
            State::ReadBefore(_) => return Err(NotErased::Stopped("markers were being confirmed")),
            State::Start(..)
            | State::Poll(..)
            | State::WriteSame(_)
            | State::Overwrite
            | State::LookAgain => {
                return Err(NotErased::Stopped("the device was to erase"));
            }
            State::ReadBack(_) => return Err(NotErased::Stopped("blocks were being read back")),
        }
        let mut hasher = blake3::Hasher::new();
        for position in &self.samples {
            hasher.update(&position.to_le_bytes());
        }
        let samples = self.samples.len() as u64;
        let seen_whole = self.task.depth == VerifyDepth::Full && self.found.noise == 0;
        let record = EraseRecord {
            exclusions: exclusions(self.task.method),
            disk: self.task.disk,
            level: self.task.level,
            method: self.task.method,
            device_status: self.statuses.join("; "),
            commands: self.command_records,
            seed: self.task.seed,
            depth: self.task.depth,
            markers_gone: self.markers.len() as u64,
            samples,
            positions: Digest(*hasher.finalize().as_bytes()),
            bytes_read_back: self.bytes_read_back,
            found: self.found,
            found_with_95_percent_ppm: if seen_whole { 0 } else { found_with_95_percent_ppm(samples) },
            health_before: self.health_before,
            health_after: self.health_after,
            started_at,
            ended_at,
        };
        Ok(Erased { record })
    }

    pub(super) fn same_disk(&self, seen: &DiskSeen) -> Result<(), NotErased> {
        let disk = &self.task.disk;
        let same = |what, before: String, after: String| {
            if before == after { Ok(()) } else { Err(NotErased::DiskChanged { what, before, after }) }
        };
        same("identity", disk.id.to_string(), seen.id.to_string())?;
        same("size", disk.size_bytes.to_string(), seen.size_bytes.to_string())?;
        let sectors = (disk.logical_sector_bytes.to_string(), seen.logical_sector_bytes.to_string());
        same("sector size", sectors.0, sectors.1)
    }

    pub(super) fn after_reading(&self, state: State) -> State {
        match state {
            State::ReadBefore(mut reading) => {
                reading.advance();
                match reading.front() {
                    Some(_) => State::ReadBefore(reading),
                    None if self.task.method == EraseMethod::Overwrite => State::Overwrite,
                    None => State::Start(0, CommandPurpose::Erase),
                }
            }
            State::ReadBack(mut reading) => {
                reading.advance();
                match reading.front() {
                    Some(_) => State::ReadBack(reading),
                    None if self.task.method == EraseMethod::NvmeFoundClean => State::AskCleanAgain,
                    None => State::Done,
                }
            }
            other => other,
        }
    }

    fn is_marker(&self, offset: u64) -> bool {
        self.markers.binary_search(&offset).is_ok()
    }

    pub(super) fn look_before(&mut self, offset: u64, bytes: &[u8]) -> Result<(), NotErased> {
        if self.is_marker(offset) {
            let stored = bytes == self.marker(offset);
            return if stored { Ok(()) } else { Err(NotErased::MarkerNotStored { offset }) };
        }
        if self.task.method != EraseMethod::Overwrite {
            let blank = matches!(look(bytes), Content::Zeros | Content::Ones);
            self.before.insert(offset, (Digest::of(bytes), blank));
        }
        Ok(())
    }

    pub(super) fn look_after(&mut self, span: Span, bytes: &[u8]) -> Result<(), NotErased> {
        // A stretch is looked at block by block, as it may be partly one and partly the other.
        let block_bytes = usize::try_from(BLOCK_BYTES).unwrap_or(4096);
        for (block, offset) in bytes.chunks(block_bytes).zip((span.offset..).step_by(block_bytes)) {
            self.look_at_block(offset, block)?;
        }
        self.bytes_read_back = self.bytes_read_back.saturating_add(span.bytes);
        Ok(())
    }

    fn look_at_block(&mut self, offset: u64, bytes: &[u8]) -> Result<(), NotErased> {
        if self.is_marker(offset) && bytes == self.marker(offset) {
            return Err(NotErased::MarkerSurvived { offset });
        }
        if let Some((digest, blank)) = self.before.get(&offset)
            && !blank
            && *digest == Digest::of(bytes)
        {
            return Err(NotErased::Unchanged { offset });
        }
        let content = look(bytes);
        if !may_leave(self.task.method, content) {
            return Err(NotErased::Leftover { offset });
        }
        match content {
            Content::Zeros => self.found.zeros += 1,
            Content::Ones => self.found.ones += 1,
            Content::Noise | Content::Other => self.found.noise += 1,
        }
        Ok(())
    }
}
