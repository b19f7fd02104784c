//! Driving an erase: does what `erasure::run` asks for, and hands in what the device answered.

use std::sync::Arc;

use anyhow::{Context, bail};
use contract::id::UnixMillis;
use contract::plan::{DiskTarget, EraseMethod, Step};
use erasure::command::commands;
use erasure::run::{DiskSeen, EraseTask, Next, Overwritten, Prepared, SameWritten};
use erasure::sample::Span;
use erasure::{EraseRecord, EraseRun, Erased};

use super::begun::Begun;
use super::device::{AlignedBuffer, BlockDevice, Disks};
use super::meter::Meter;
use super::read_ahead::{READERS, ReadAhead};

/// Zeros are written in pieces of this size, in bytes.
const WRITE_BYTES: usize = 4 << 20;

/// Tells the time as the service has it.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// What an erase needs. The disk must not be open: it is opened anew after the erase.
#[derive(Clone)]
pub struct Erase {
    /// Opens the disk.
    pub disks: Arc<dyn Disks>,
    /// Counts what is done.
    pub meter: Arc<Meter>,
    /// For the record.
    pub clock: Clock,
}

/// Erases a disk and proves it. Blocks for as long as that takes.
///
/// # Errors
/// Unless the device said that it was done and everything read back agrees.
pub fn erase(begun: Begun, erase: &Erase) -> anyhow::Result<EraseRecord> {
    let Step::Erase { disk, method, level, verify_seed, verify_samples, verify_depth } = begun.step().clone()
    else {
        bail!("this is no erase");
    };
    let task = EraseTask {
        disk: disk.clone(),
        method,
        level,
        seed: verify_seed,
        samples: verify_samples,
        depth: verify_depth,
    };
    let mut run = EraseRun::new(task)?;
    let started_at = (erase.clock)();
    erase.drive(&mut run, &disk, method)?;
    let erased: Erased = run.finish(started_at, (erase.clock)()).with_context(|| {
        format!("disk {} is not erased; treat it as if it still held all its data", disk.id)
    })?;
    Ok(erased.record().clone())
}

/// The disk, as long as it is open.
struct Open {
    device: Arc<dyn BlockDevice>,
    ahead: ReadAhead,
    verifying: bool,
}

impl Open {
    fn new(device: Arc<dyn BlockDevice>, verifying: bool) -> anyhow::Result<Self> {
        let ahead = ReadAhead::start(&device).context("could not start to read the disk")?;
        Ok(Self { device, ahead, verifying })
    }
}

impl Erase {
    fn drive(&self, run: &mut EraseRun, target: &DiskTarget, method: EraseMethod) -> anyhow::Result<()> {
        let mut open = Open::new(self.disks.open(target)?, false)?;
        let timer = self.disks.timer();
        self.meter.begin("erasing", target.size_bytes);
        loop {
            let next = run.next();
            if !matches!(next, Next::Read(_)) {
                // Nothing else is done to a disk that is being read.
                open.ahead.settle();
            }
            match next {
                Next::Finished => return Ok(()),
                Next::Prepare => {
                    let prepared = prepare(&*open.device, method);
                    run.prepared(timer.now_millis(), prepared);
                }
                Next::WriteMarkers { offsets } => {
                    let written = self.write_markers(run, &*open.device, &offsets);
                    run.markers_written(written.map_err(|error| error.to_string()));
                }
                Next::Read(_) => self.read(run, &mut open),
                Next::Command(command) => {
                    tracing::info!(disk = %target.id, ?command, "the disk is told to erase itself");
                    let given = open.device.start_erase(command).map_err(|error| error.to_string());
                    run.command_given(timer.now_millis(), given);
                }
                Next::Poll { command, after_millis } => {
                    timer.wait_millis(after_millis);
                    let progress = open.device.erase_progress(command).map_err(|error| error.to_string());
                    run.polled(timer.now_millis(), progress);
                    self.show_progress(run, target.size_bytes);
                }
                Next::WriteSame(span) => {
                    let written = self.write_same(&*open.device, span).map_err(|error| format!("{error:#}"));
                    run.same_written(timer.now_millis(), written);
                    self.show_progress(run, target.size_bytes);
                }
                Next::Overwrite => {
                    self.meter.begin("erasing", target.size_bytes);
                    let done = self.overwrite(&*open.device).map_err(|error| format!("{error:#}"));
                    run.overwritten(done);
                }
                Next::AskClean => {
                    let said = open.device.said_clean().map_err(|error| error.to_string());
                    run.said_clean(said);
                }
                Next::LookAgain => {
                    open = self.look_again(run, open, target)?;
                    self.meter.begin("verifying", run.bytes_to_read());
                }
            }
        }
    }

    /// Opened anew: by its identity, with its size and sector as they are now.
    fn look_again(&self, run: &mut EraseRun, open: Open, target: &DiskTarget) -> anyhow::Result<Open> {
        drop(open);
        let device = self.disks.open(target).context("the disk could not be opened again after the erase")?;
        device.drop_caches().context("could not drop the kernel's cache after the erase")?;
        run.looked_again(Ok(DiskSeen {
            // It was found again under this identity, or it would not be open.
            id: target.id.clone(),
            size_bytes: device.size_bytes(),
            logical_sector_bytes: device.sector_bytes(),
            health: device.health(),
        }));
        Open::new(device, true)
    }

    /// Hands in what the next span gave; those behind it are read meanwhile.
    fn read(&self, run: &mut EraseRun, open: &mut Open) {
        let coming = run.coming(READERS);
        let Some(span) = coming.first() else { return };
        open.ahead.read(&coming, |read| {
            self.meter.count_read(span.bytes);
            if open.verifying {
                self.meter.advance(span.bytes);
            }
            run.observed(span.offset, read.map_err(|error| error.to_string()));
        });
    }

    /// What the device says of itself, in bytes of the disk: the console and the service know no other
    /// unit.
    fn show_progress(&self, run: &EraseRun, size_bytes: u64) {
        if let Some(progress) = run.progress_65536() {
            let share = u128::from(size_bytes) * u128::from(progress) / 65536;
            self.meter.begin("erasing", size_bytes);
            self.meter.advance(u64::try_from(share).unwrap_or(size_bytes));
        }
    }

    fn write_markers(
        &self,
        run: &EraseRun,
        device: &dyn BlockDevice,
        offsets: &[u64],
    ) -> std::io::Result<()> {
        for offset in offsets {
            let marker = run.marker(*offset);
            device.write_at(*offset, &marker)?;
            self.meter.count_written(marker.len() as u64);
        }
        device.flush()?;
        device.drop_caches()
    }

    /// The disk's own writes count like ours: they wear it as much.
    fn write_same(&self, device: &dyn BlockDevice, span: Span) -> anyhow::Result<SameWritten> {
        let written = device
            .write_same(span)
            .with_context(|| format!("the disk could not write zeros from byte {} on", span.offset))?;
        match &written {
            SameWritten::Written { bytes, .. } => {
                self.meter.count_written(*bytes);
                if span.offset.saturating_add(*bytes) >= device.size_bytes() {
                    device.flush().context("could not flush after the disk wrote zeros over itself")?;
                }
            }
            SameWritten::Refused { status } => {
                tracing::warn!("{status}; the disk is overwritten from its first byte on instead");
            }
        }
        Ok(written)
    }

    fn overwrite(&self, device: &dyn BlockDevice) -> anyhow::Result<Overwritten> {
        let size = device.size_bytes();
        let zeros = AlignedBuffer::zeroed(WRITE_BYTES);
        let mut at = 0;
        while at < size {
            let length = usize::try_from(size - at).unwrap_or(WRITE_BYTES).min(WRITE_BYTES);
            device
                .write_at(at, &zeros.bytes()[..length])
                .with_context(|| format!("could not write zeros at byte {at}"))?;
            at += length as u64;
            self.meter.count_written(length as u64);
            self.meter.advance(length as u64);
        }
        device.flush().context("could not flush after the overwrite")?;
        Ok(Overwritten { status: "every write and the flush succeeded".to_owned(), bytes_written: at })
    }
}

fn prepare(device: &dyn BlockDevice, method: EraseMethod) -> Result<Prepared, String> {
    device.prepare_erase().map_err(|error| error.to_string())?;
    let estimates = commands(method).iter().map(|command| device.erase_estimate_seconds(*command));
    Ok(Prepared { estimates_seconds: estimates.collect(), health: device.health() })
}

/// The proof in words.
#[must_use]
pub fn proof(record: &EraseRecord) -> String {
    if record.method == EraseMethod::NvmeFoundClean {
        return format!(
            "not erased now: the device reports that it was sanitized before and not written since ({}); {} blocks and both ends, {} bytes in all, were read back and hold no data",
            record.device_status, record.samples, record.bytes_read_back
        );
    }
    format!(
        "the device completed the erase ({}); {} markers written before are gone; {} blocks and both ends, {} bytes in all, were read back as the method must leave them",
        record.device_status, record.markers_gone, record.samples, record.bytes_read_back
    )
}

#[cfg(test)]
#[path = "erase/tests.rs"] // also where the laboratory includes this file
mod tests;
