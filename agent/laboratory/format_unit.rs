//! The agent's erase of a SCSI disk, with FORMAT UNIT for its command: for disks that answer "good" to it
//! and keep what they store. The agent itself knows no such method, because formatting alone proves
//! nothing; here it shows that the erase does not rest on what a disk answers.
//!
//! Everything but the command is as in an order: the permit, the record of the beginning, the markers,
//! the reading before and the reading back.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use contract::decision::{Action, SanitizeLevel};
use contract::id::{Digest, DiskId};
use contract::inventory::Transport;
use contract::plan::{DiskTarget, EraseMethod, Step, VerifyDepth};
use erasure::command::{CommandProgress, DeviceCommand};
use nix::libc;
use verdict::permit::StepPermit;

use crate::act::begun::Begun;
use crate::act::device::{BlockDevice, Disks, PartitionPlace};
use crate::act::erase::{Erase, erase};
use crate::act::meter::Meter;
use crate::probe::scsi_facts::{refused, test_unit_ready};
use crate::probe::scsi_generic::{Data, ScsiPort};
use crate::rehearsal::{self, NOW, Nobody};

/// FORMAT UNIT with the disk's own defects and no parameter list (SBC-4 section 5.4).
const FORMAT_UNIT: [u8; 6] = [0x04, 0, 0, 0, 0, 0];
const FORMAT_TIMEOUT_MILLIS: u32 = 10 * 60 * 1000;
const SECTOR_BYTES: u32 = 512;

/// Erases the disk; what the proof says.
///
/// # Errors
/// Where the disk is not erased: why.
pub fn run(device: &str) -> Result<String> {
    let path = PathBuf::from(device);
    let size_bytes = FormattedDisk::open(&path)?.size_bytes;
    let disk: DiskId = "scsi-laboratory".parse().context("could not name the disk")?;
    let target = DiskTarget { id: disk, size_bytes, logical_sector_bytes: SECTOR_BYTES };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let begun = runtime.block_on(Begun::record(permit(target)?, &Nobody))?;
    let way =
        Erase { disks: Arc::new(OneDisk(path)), meter: Arc::new(Meter::default()), clock: Arc::new(|| NOW) };
    let record = erase(begun, &way)?;
    Ok(format!("erased: {}", record.device_status))
}

/// A permit for the step of a sanitize.
fn permit(target: DiskTarget) -> Result<StepPermit> {
    let step = Step::Erase {
        disk: target.clone(),
        method: EraseMethod::ScsiSanitizeBlock,
        level: SanitizeLevel::Purge,
        verify_seed: Digest::of(b"laboratory"),
        verify_samples: 200,
        verify_depth: VerifyDepth::default(),
    };
    let permit = rehearsal::permit(Transport::Scsi, Action::Wipe, vec![step])?;
    permit.into_steps().into_iter().next().context("the plan has no step")
}

/// A SCSI disk, directly, which is told to format itself where it should sanitize itself.
struct FormattedDisk {
    file: File,
    size_bytes: u64,
}

impl FormattedDisk {
    fn open(path: &PathBuf) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_DIRECT | libc::O_EXCL);
        let context = || format!("could not open {}", path.display());
        let mut file = options.open(path).with_context(context)?;
        let size_bytes = file.seek(SeekFrom::End(0)).with_context(context)?;
        Ok(Self { file, size_bytes })
    }
}

impl BlockDevice for FormattedDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn sector_bytes(&self) -> u32 {
        SECTOR_BYTES
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset_bytes)
    }

    fn write_at(&self, offset_bytes: u64, bytes: &[u8]) -> io::Result<()> {
        // Direct writes need memory that is aligned, and markers come as they are.
        let mut aligned = crate::act::device::AlignedBuffer::zeroed(bytes.len());
        aligned.bytes_mut().copy_from_slice(bytes);
        self.file.write_all_at(aligned.bytes(), offset_bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn drop_caches(&self) -> io::Result<()> {
        // There is no cache behind direct reads and writes.
        Ok(())
    }

    fn start_erase(&self, _command: DeviceCommand) -> io::Result<()> {
        test_unit_ready(&self.file)?;
        let answer = self.file.send(&FORMAT_UNIT, Data::None, FORMAT_TIMEOUT_MILLIS)?;
        println!("laboratory: FORMAT UNIT ended with status {}", answer.status);
        if answer.status == 0 { Ok(()) } else { Err(refused("FORMAT UNIT", &answer)) }
    }

    fn erase_progress(&self, _command: DeviceCommand) -> io::Result<CommandProgress> {
        let status = "FORMAT UNIT: status 0, and the disk is ready".to_owned();
        match test_unit_ready(&self.file)? {
            None => Ok(CommandProgress::Done { status }),
            Some(_) => Ok(CommandProgress::Running { progress_65536: None }),
        }
    }

    fn reread_partitions(&self) -> io::Result<()> {
        Ok(())
    }
}

struct OneDisk(PathBuf);

impl Disks for OneDisk {
    fn open(&self, _target: &DiskTarget) -> Result<Arc<dyn BlockDevice>> {
        Ok(Arc::new(FormattedDisk::open(&self.0)?))
    }

    fn partition(&self, _target: &DiskTarget, _partition: PartitionPlace) -> Result<PathBuf> {
        bail!("nobody mounts anything here")
    }
}
