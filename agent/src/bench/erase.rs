//! Measuring an erase by overwriting: markers, zeros, reading back, the record.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use contract::decision::{Action, SanitizeLevel};
use contract::id::Digest;
use contract::inventory::Transport;
use contract::plan::{DiskTarget, EraseMethod, Step, VerifyDepth};
use erasure::command::{CommandProgress, DeviceCommand};
use serde_json::json;

use super::{Devices, carried_out, disk_id, require_loop_device};
use crate::act::device::{BlockDevice, Disks, PartitionPlace};
use crate::act::disk::{DirectDisk, MachineDisks};
use crate::rehearsal::{Nobody, permit};

/// As many blocks are read back as the default policy asks for.
const SAMPLES: u32 = 2000;
/// No single write is longer but those of the overwrite, in bytes.
const MARKERS_BYTES_MAX: usize = 1 << 16;

/// What to erase, and how deep to read back.
#[derive(Debug, Args)]
pub struct Options {
    /// Loop device to overwrite
    #[arg(long, value_name = "DEVICE")]
    device: PathBuf,
    /// `sampling`, `ten-percent` or `full`
    #[arg(long, value_name = "DEPTH", default_value = "sampling")]
    depth: String,
}

/// Erases the device and prints what it cost, as JSON.
///
/// # Errors
/// When the device is no loop device, or it is not erased.
pub fn erase(options: &Options) -> anyhow::Result<()> {
    require_loop_device(&options.device)?;
    let verify_depth: VerifyDepth = serde_json::from_value(json!(options.depth))
        .with_context(|| format!("there is no depth {:?}", options.depth))?;
    let open = DirectDisk::open_exclusive(&options.device)?;
    let disk = DiskTarget {
        id: disk_id(0)?,
        size_bytes: open.size_bytes(),
        logical_sector_bytes: open.sector_bytes(),
    };
    drop(open);
    let step = Step::Erase {
        disk: disk.clone(),
        method: EraseMethod::Overwrite,
        level: SanitizeLevel::Clear,
        verify_seed: Digest::of(b"bench"),
        verify_samples: SAMPLES,
        verify_depth,
    };
    let permit = permit(Transport::Other, Action::Wipe, vec![step])?;
    let watch = Arc::new(Watch::default());
    let machine = MachineDisks::new(Arc::new(Devices(vec![options.device.clone()])));
    let disks = Watched { machine, watch: Arc::clone(&watch) };
    let (steps, seconds) = carried_out(permit, Arc::new(Nobody), Arc::new(disks))?;
    let step = steps.into_iter().next().context("nothing was done")?;
    let said = json!({
        "seconds": seconds,
        "overwrite_seconds": watch.overwrite()?.as_secs_f64(),
        "bytes_read": step.bytes_read,
        "bytes_written": step.bytes_written,
        "proof": step.proof,
    });
    println!("{said}");
    Ok(())
}

/// When the overwrite began, and when what it wrote was flushed.
#[derive(Default)]
struct Watch {
    began: Mutex<Option<Instant>>,
    flushed: Mutex<Option<Instant>>,
}

impl Watch {
    fn wrote(&self, length: usize) {
        if length > MARKERS_BYTES_MAX {
            self.began.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
    }

    fn flushed(&self) {
        if self.began.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            self.flushed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
    }

    fn overwrite(&self) -> anyhow::Result<Duration> {
        let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let flushed = *self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, flushed) = began.zip(flushed).context("nothing was overwritten and flushed")?;
        Ok(flushed.duration_since(began))
    }
}

/// The machine's disk with a look at the clock.
struct Watched {
    machine: MachineDisks,
    watch: Arc<Watch>,
}

impl Disks for Watched {
    fn open(&self, target: &DiskTarget) -> anyhow::Result<Arc<dyn BlockDevice>> {
        let (device, watch) = (self.machine.open(target)?, Arc::clone(&self.watch));
        Ok(Arc::new(WatchedDevice { device, watch }))
    }

    fn partition(&self, target: &DiskTarget, partition: PartitionPlace) -> anyhow::Result<PathBuf> {
        self.machine.partition(target, partition)
    }
}

struct WatchedDevice {
    device: Arc<dyn BlockDevice>,
    watch: Arc<Watch>,
}

impl BlockDevice for WatchedDevice {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.device.sector_bytes()
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.device.read_at(offset_bytes, buffer)
    }

    fn write_at(&self, offset_bytes: u64, bytes: &[u8]) -> io::Result<()> {
        self.watch.wrote(bytes.len());
        self.device.write_at(offset_bytes, bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.device.flush()?;
        self.watch.flushed();
        Ok(())
    }

    fn drop_caches(&self) -> io::Result<()> {
        self.device.drop_caches()
    }

    fn start_erase(&self, command: DeviceCommand) -> io::Result<()> {
        self.device.start_erase(command)
    }

    fn erase_progress(&self, command: DeviceCommand) -> io::Result<CommandProgress> {
        self.device.erase_progress(command)
    }

    fn reread_partitions(&self) -> io::Result<()> {
        self.device.reread_partitions()
    }
}
