//! One erase, from the first marker to the last block read back.
//!
//! ```text
//!            WriteMarkers ─► ReadBefore ─► Execute ─► ReadBack ─► Finished
//!                 │              │            │           │
//!                 └──────────────┴─ anything unexpected ──┴──► Finished (not erased)
//! ```
//!
//! The run does no input or output. Whoever drives it asks [`EraseRun::next`], does exactly that with
//! direct reads and writes (no page cache), and hands in what the device answered. Only a run in which
//! the device said that it was done *and* every block read back is as the method must leave it ends
//! in [`Erased`]. Dropping a run, or handing in anything out of order, never does.
//!
//! - `ReadBefore` proves that the markers are on the disk, so that their absence afterwards means
//!   something, and for formats notes what the samples held, so that a device that did nothing shows.
//! - After an overwrite every byte that is read back must be zero.
//! - After a format every block must be zeros, ones or noise, and none may be as it was before,
//!   unless it was already zeros or ones.

use std::collections::{BTreeMap, VecDeque};

use contract::decision::SanitizeLevel;
use contract::id::{Digest, DiskId, UnixMillis};
use contract::plan::{DiskTarget, EraseMethod};

use crate::content::{Content, look};
use crate::markers::{marker, marker_positions};
pub use crate::not_erased::NotErased;
use crate::record::{ContentCounts, EraseRecord, exclusions};
use crate::sample::{BLOCK_BYTES, Span, edges, found_with_95_percent_ppm, positions};

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
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Write these markers (content from [`EraseRun::marker`]) and flush the device, then call
    /// [`EraseRun::markers_written`].
    WriteMarkers {
        /// Where, in bytes from the start.
        offsets: Vec<u64>,
    },
    /// Read this span directly from the device and call [`EraseRun::observed`].
    Read(Span),
    /// Erase with this method, wait for its end, flush, look at the disk again, then call
    /// [`EraseRun::executed`].
    Execute(EraseMethod),
    /// Nothing; call [`EraseRun::finish`].
    Finished,
}

/// What the device answered to the erase, and what the disk is like afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceReport {
    /// The device's completion status in words, such as `NVMe status 0x0`, for the record.
    pub status: String,
    /// Who the disk says it is now.
    pub id: DiskId,
    /// Its size in bytes now.
    pub size_bytes: u64,
    /// Its sector size in bytes now.
    pub logical_sector_bytes: u32,
    /// For an overwrite, how many bytes were written; for other methods 0.
    pub bytes_written: u64,
}

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
    WriteMarkers,
    ReadBefore(VecDeque<Span>),
    Execute,
    ReadBack(VecDeque<Span>),
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
    /// What the samples held before a format: digest, and whether they were already blank.
    before: BTreeMap<u64, (Digest, bool)>,
    device_status: String,
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
        if task.level == SanitizeLevel::Purge && task.method != EraseMethod::NvmeFormatCrypto {
            return Err(refuse("the method does not deliver a purge"));
        }
        let markers = marker_positions(task.seed, task.disk.size_bytes);
        let samples = positions(task.seed, task.disk.size_bytes, task.samples);
        Ok(Self {
            task,
            markers,
            samples,
            state: State::WriteMarkers,
            before: BTreeMap::new(),
            device_status: String::new(),
            found: ContentCounts::default(),
            bytes_read_back: 0,
        })
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> Next {
        match &self.state {
            State::WriteMarkers => Next::WriteMarkers { offsets: self.markers.clone() },
            State::Execute => Next::Execute(self.task.method),
            State::ReadBefore(spans) | State::ReadBack(spans) => {
                spans.front().map_or(Next::Finished, |span| Next::Read(*span))
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
            State::ReadBefore(spans) | State::ReadBack(spans) => spans.iter().map(|span| span.bytes).sum(),
            State::WriteMarkers | State::Execute | State::Done | State::Failed(_) => 0,
        }
    }

    /// The markers were written and flushed, or could not be.
    pub fn markers_written(&mut self, result: Result<(), String>) {
        self.state = match (&self.state, result) {
            (State::Failed(_), _) => return,
            (State::WriteMarkers, Ok(())) => {
                let mut offsets = self.markers.clone();
                if self.task.method != EraseMethod::Overwrite {
                    offsets.extend(&self.samples);
                }
                State::ReadBefore(blocks(offsets))
            }
            (State::WriteMarkers, Err(why)) => State::Failed(NotErased::MarkersNotWritten(why)),
            _ => State::Failed(NotErased::OutOfOrder("markers were written when none were asked for")),
        };
    }

    /// What the device answered to the erase.
    pub fn executed(&mut self, result: Result<DeviceReport, String>) {
        self.state = match (&self.state, result) {
            (State::Failed(_), _) => return,
            (State::Execute, Ok(report)) => match self.check_report(&report) {
                Ok(()) => {
                    self.device_status = report.status;
                    State::ReadBack(self.read_back_spans())
                }
                Err(why) => State::Failed(why),
            },
            (State::Execute, Err(why)) => State::Failed(NotErased::Device(why)),
            _ => State::Failed(NotErased::OutOfOrder("an erase was executed when none was asked for")),
        };
    }

    /// What reading the span that was asked for gave.
    pub fn observed(&mut self, offset: u64, result: Result<&[u8], String>) {
        let (span, before) = match &mut self.state {
            State::Failed(_) => return,
            State::ReadBefore(spans) => (spans.pop_front(), true),
            State::ReadBack(spans) => (spans.pop_front(), false),
            State::WriteMarkers | State::Execute | State::Done => (None, false),
        };
        let Some(span) = span.filter(|span| span.offset == offset) else {
            self.state = State::Failed(NotErased::OutOfOrder("a span was read that was not asked for"));
            return;
        };
        let checked = match result {
            Err(why) => Err(NotErased::NotReadable { offset, why }),
            Ok(bytes) if bytes.len() as u64 != span.bytes => {
                Err(NotErased::ShortRead { offset, got: bytes.len() as u64, wanted: span.bytes })
            }
            Ok(bytes) if before => self.look_before(offset, bytes),
            Ok(bytes) => self.look_after(span, bytes),
        };
        match (checked, &self.state) {
            (Err(why), _) => self.state = State::Failed(why),
            (Ok(()), State::ReadBefore(spans)) if spans.is_empty() => self.state = State::Execute,
            (Ok(()), State::ReadBack(spans)) if spans.is_empty() => self.state = State::Done,
            (Ok(()), _) => {}
        }
    }

    /// Ends the run. Times are the service's.
    ///
    /// # Errors
    /// [`NotErased`] unless every step was done and agreed.
    pub fn finish(self, started_at: UnixMillis, ended_at: UnixMillis) -> Result<Erased, NotErased> {
        match self.state {
            State::Done => {}
            State::Failed(why) => return Err(why),
            State::WriteMarkers => return Err(NotErased::Stopped("markers were to be written")),
            State::ReadBefore(_) => return Err(NotErased::Stopped("markers were being confirmed")),
            State::Execute => return Err(NotErased::Stopped("the device was to erase")),
            State::ReadBack(_) => return Err(NotErased::Stopped("blocks were being read back")),
        }
        let mut hasher = blake3::Hasher::new();
        for position in &self.samples {
            hasher.update(&position.to_le_bytes());
        }
        let samples = self.samples.len() as u64;
        let record = EraseRecord {
            exclusions: exclusions(self.task.method),
            disk: self.task.disk,
            level: self.task.level,
            method: self.task.method,
            device_status: self.device_status,
            seed: self.task.seed,
            markers_gone: self.markers.len() as u64,
            samples,
            positions: Digest(*hasher.finalize().as_bytes()),
            bytes_read_back: self.bytes_read_back,
            found: self.found,
            found_with_95_percent_ppm: found_with_95_percent_ppm(samples),
            started_at,
            ended_at,
        };
        Ok(Erased { record })
    }

    fn check_report(&self, report: &DeviceReport) -> Result<(), NotErased> {
        let disk = &self.task.disk;
        let changed =
            |what, before: String, after: String| Err(NotErased::DiskChanged { what, before, after });
        if report.id != disk.id {
            return changed("identity", disk.id.to_string(), report.id.to_string());
        }
        if report.size_bytes != disk.size_bytes {
            return changed("size", disk.size_bytes.to_string(), report.size_bytes.to_string());
        }
        if report.logical_sector_bytes != disk.logical_sector_bytes {
            return changed(
                "sector size",
                disk.logical_sector_bytes.to_string(),
                report.logical_sector_bytes.to_string(),
            );
        }
        if self.task.method == EraseMethod::Overwrite && report.bytes_written != disk.size_bytes {
            return Err(NotErased::NotAllWritten { written: report.bytes_written, size: disk.size_bytes });
        }
        Ok(())
    }

    fn read_back_spans(&self) -> VecDeque<Span> {
        let mut offsets = self.markers.clone();
        offsets.extend(&self.samples);
        let mut spans = blocks(offsets);
        spans.extend(edges(self.task.disk.size_bytes));
        spans
    }

    fn is_marker(&self, offset: u64) -> bool {
        self.markers.binary_search(&offset).is_ok()
    }

    fn look_before(&mut self, offset: u64, bytes: &[u8]) -> Result<(), NotErased> {
        if self.is_marker(offset) && bytes != self.marker(offset) {
            return Err(NotErased::MarkerNotStored { offset });
        }
        if self.task.method != EraseMethod::Overwrite {
            let blank = matches!(look(bytes), Content::Zeros | Content::Ones);
            self.before.insert(offset, (Digest::of(bytes), blank));
        }
        Ok(())
    }

    fn look_after(&mut self, span: Span, bytes: &[u8]) -> Result<(), NotErased> {
        // An end of the disk is looked at block by block, as it may be partly one and partly the other.
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
        let overwritten = self.task.method == EraseMethod::Overwrite;
        match content {
            Content::Zeros => self.found.zeros += 1,
            Content::Ones if !overwritten => self.found.ones += 1,
            Content::Noise if !overwritten => self.found.noise += 1,
            Content::Ones | Content::Noise | Content::Other => return Err(NotErased::Leftover { offset }),
        }
        Ok(())
    }
}

/// Blocks to read, ascending, each once.
fn blocks(mut offsets: Vec<u64>) -> VecDeque<Span> {
    offsets.sort_unstable();
    offsets.dedup();
    offsets.into_iter().map(|offset| Span { offset, bytes: BLOCK_BYTES }).collect()
}
