//! Driving an erase: does what `erasure::run` asks for, and hands in what the device answered.

use std::sync::Arc;

use anyhow::{Context, bail};
use contract::id::UnixMillis;
use contract::plan::{DiskTarget, EraseMethod, Step};
use erasure::command::{CommandProgress, commands};
use erasure::run::{DeviceReport, EraseTask, Next};
use erasure::{EraseRecord, EraseRun, Erased};

use super::begun::Begun;
use super::device::{AlignedBuffer, BlockDevice, Disks};
use super::meter::Meter;

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
    let Step::Erase { disk, method, level, verify_seed, verify_samples, .. } = begun.step().clone() else {
        bail!("this is no erase");
    };
    let task = EraseTask { disk: disk.clone(), method, level, seed: verify_seed, samples: verify_samples };
    let mut run = EraseRun::new(task)?;
    let started_at = (erase.clock)();
    erase.drive(&mut run, &disk)?;
    let erased: Erased = run.finish(started_at, (erase.clock)()).with_context(|| {
        format!("disk {} is not erased; treat it as if it still held all its data", disk.id)
    })?;
    Ok(erased.record().clone())
}

impl Erase {
    fn drive(&self, run: &mut EraseRun, target: &DiskTarget) -> anyhow::Result<()> {
        let mut device = self.disks.open(target)?;
        self.meter.begin("erasing", target.size_bytes);
        let mut verifying = false;
        loop {
            match run.next() {
                Next::Finished => return Ok(()),
                Next::WriteMarkers { offsets } => {
                    let written = self.write_markers(run, &*device, &offsets);
                    run.markers_written(written.map_err(|error| error.to_string()));
                }
                Next::Read(span) => {
                    if verifying && self.meter.progress().phase != "verifying" {
                        self.meter.begin("verifying", run.bytes_to_read());
                    }
                    let mut buffer =
                        AlignedBuffer::zeroed(usize::try_from(span.bytes).context("a span is too long")?);
                    let read = device.read_at(span.offset, buffer.bytes_mut());
                    self.meter.count_read(span.bytes);
                    if verifying {
                        self.meter.advance(span.bytes);
                    }
                    run.observed(
                        span.offset,
                        read.map(|()| buffer.bytes()).map_err(|error| error.to_string()),
                    );
                }
                Next::Execute(method) => {
                    let executed = self.execute(&*device, method);
                    drop(device);
                    // Opened anew: by its identity, with its size and sector as they are now.
                    device = self
                        .disks
                        .open(target)
                        .context("the disk could not be opened again after the erase")?;
                    device.drop_caches().context("could not drop the kernel's cache after the erase")?;
                    verifying = true;
                    run.executed(
                        executed
                            .map(|done| done.report(target, &*device))
                            .map_err(|error| format!("{error:#}")),
                    );
                }
            }
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

    fn execute(&self, device: &dyn BlockDevice, method: EraseMethod) -> anyhow::Result<Executed> {
        if method == EraseMethod::Overwrite {
            return self.overwrite(device);
        }
        let mut statuses = Vec::new();
        for command in commands(method) {
            device.start_erase(*command).with_context(|| format!("{command:?} failed"))?;
            match device.erase_progress(*command).with_context(|| format!("{command:?} failed"))? {
                CommandProgress::Done { status } => statuses.push(status),
                other => bail!("this agent cannot wait for {command:?} yet: {other:?}"),
            }
        }
        Ok(Executed { status: statuses.join("; "), bytes_written: 0 })
    }

    fn overwrite(&self, device: &dyn BlockDevice) -> anyhow::Result<Executed> {
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
        Ok(Executed { status: "every write and the flush succeeded".to_owned(), bytes_written: at })
    }
}

/// What the device answered.
struct Executed {
    status: String,
    bytes_written: u64,
}

impl Executed {
    fn report(self, target: &DiskTarget, device: &dyn BlockDevice) -> DeviceReport {
        DeviceReport {
            status: self.status,
            // It was found again under this identity, or it would not be open.
            id: target.id.clone(),
            size_bytes: device.size_bytes(),
            logical_sector_bytes: device.sector_bytes(),
            bytes_written: self.bytes_written,
        }
    }
}

/// The proof in words.
#[must_use]
pub fn proof(record: &EraseRecord) -> String {
    format!(
        "the device completed the erase ({}); {} markers written before are gone; {} blocks and both ends, {} bytes in all, were read back as the method must leave them",
        record.device_status, record.markers_gone, record.samples, record.bytes_read_back
    )
}
