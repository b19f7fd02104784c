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
use contract::agent_api::{Progress, ResidentIdentity};
use contract::decision::{Action, SanitizeLevel};
use contract::id::{ChunkDigest, Digest, DiskId, EvidenceId, ImageId, JobId, NodeId, OrderId, UnixMillis};
use contract::inventory::DiskFacts;
use contract::order::{Order, SignedOrder};
use contract::plan::{BootMethod, DiskTarget, EraseMethod, Plan, Step, VerifyDepth};
use ed25519_dalek::SigningKey;
use erasure::command::{CommandProgress, DeviceCommand};
use imaging::manifest::Manifest;
use nix::libc;
use serde_json::json;
use uuid::Uuid;
use verdict::permit::{Expected, Permit, SpentOrders, StepPermit};

use crate::act::begun::Begun;
use crate::act::device::{BlockDevice, Disks, PartitionPlace};
use crate::act::erase::{Erase, erase};
use crate::act::meter::Meter;
use crate::act::service::{Answer, Service};
use crate::probe::scsi_facts::{refused, test_unit_ready};
use crate::probe::scsi_generic::{Data, ScsiPort};

/// FORMAT UNIT with the disk's own defects and no parameter list (SBC-4 section 5.4).
const FORMAT_UNIT: [u8; 6] = [0x04, 0, 0, 0, 0, 0];
const FORMAT_TIMEOUT_MILLIS: u32 = 10 * 60 * 1000;
const SECTOR_BYTES: u32 = 512;
const NOW: (UnixMillis, UnixMillis) = (UnixMillis(1000), UnixMillis(2000));

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
    let way = Erase {
        disks: Arc::new(OneDisk(path)),
        meter: Arc::new(Meter::default()),
        clock: Arc::new(|| NOW.0),
    };
    let record = erase(begun, &way)?;
    Ok(format!("erased: {}", record.device_status))
}

/// A permit as it is granted in the ramdisk, for an order that is signed here.
fn permit(target: DiskTarget) -> Result<StepPermit> {
    let facts: DiskFacts = serde_json::from_value(json!({
        "id": target.id,
        "kernel_name": "sda",
        "transport": "scsi",
        "model": {"outcome": "absent"},
        "serial": {"outcome": "absent"},
        "firmware_revision": {"outcome": "absent"},
        "size_bytes": target.size_bytes,
        "logical_sector_bytes": target.logical_sector_bytes,
        "rotational": {"outcome": "absent"},
        "read_only": false,
        "removable": false,
        "nvme": {"outcome": "absent"},
    }))
    .context("could not describe the disk")?;
    let step = Step::Erase {
        disk: target,
        method: EraseMethod::ScsiSanitizeBlock,
        level: SanitizeLevel::Purge,
        verify_seed: Digest::of(b"laboratory"),
        verify_samples: 200,
        verify_depth: VerifyDepth::default(),
    };
    let node = NodeId(Uuid::from_u128(1));
    let plan = Plan {
        node,
        evidence: EvidenceId(Uuid::from_u128(4)),
        action: Action::Wipe,
        steps: vec![step],
        boot: BootMethod::Reboot,
    };
    let key = SigningKey::from_bytes(&[7; 32]);
    let order = Order {
        id: OrderId(Uuid::from_u128(5)),
        job: JobId(Uuid::from_u128(6)),
        node,
        plan: plan.digest().context("could not encode the plan")?,
        disks: plan.disks(),
        nonce: Digest::of(b"laboratory"),
        issued_at: NOW.0,
        expires_at: NOW.1,
    };
    let signed = SignedOrder::sign(&order, &key).context("could not sign the order")?;
    let (order_key, nonce, spent) = (key.verifying_key(), order.nonce, &SpentOrders::new());
    let expected = Expected { order_key, node, nonce, now: NOW.0, spent };
    let permit = Permit::grant(&signed, plan, &expected, &[facts]).context("the order was refused")?;
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

/// The service of an order that nobody gave.
struct Nobody;

impl Service for Nobody {
    fn begin(&self, _order: OrderId, _step: u32) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn progress(&self, _progress: Progress) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn credential(&self) -> Answer<'_, ResidentIdentity> {
        Box::pin(async { bail!("nothing is installed here") })
    }

    fn manifest(&self, _image: ImageId) -> Answer<'_, Manifest> {
        Box::pin(async { bail!("there are no images here") })
    }

    fn chunk(&self, _digest: ChunkDigest) -> Answer<'_, Vec<u8>> {
        Box::pin(async { bail!("there are no chunks here") })
    }
}
