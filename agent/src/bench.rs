//! Measuring: the code that writes images and erases, on a loop device and without a job; images come
//! from a real service.
//! Only in builds with the feature `bench`, which no package has. The permit is that of
//! [`crate::rehearsal`].

pub mod erase;

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use contract::agent_api::{ContextReply, FinishResult, Progress, ResidentIdentity, StepResult};
use contract::decision::Action;
use contract::id::{ChunkDigest, DiskId, ImageId, OrderId};
use contract::inventory::Transport;
use contract::plan::{DiskTarget, Step};
use contract::root_size::RootSize;
use contract::secret::Secret;
use ed25519_dalek::SigningKey;
use imaging::manifest::Manifest;
use serde_json::json;
use uuid::Uuid;
use verdict::permit::Permit;

use crate::act::carry_out::{World, carry_out};
use crate::act::device::{BlockDevice, DiskResolver, Disks};
use crate::act::disk::{DirectDisk, MachineDisks};
use crate::act::service::{Answer, Service};
use crate::rehearsal::{NODE, NOW, permit};
use crate::service::client::Client;
use crate::service::trust::Pin;

/// Major number of loop devices (Linux `Documentation/admin-guide/devices.txt`).
const LOOP_MAJOR: u64 = 7;

/// What to write, and where to.
#[derive(Debug, Args)]
pub struct Options {
    /// Loop device to overwrite
    #[arg(long, value_name = "DEVICE")]
    device: PathBuf,
    /// Where images are, such as `http://127.0.0.1:8080`
    #[arg(long, value_name = "URL")]
    images: String,
    /// Id of the image
    #[arg(long)]
    image: ImageId,
    /// Loop device to write the data image to, at the same time; several may be given. Both of its ends are
    /// blank
    #[arg(long, value_name = "DEVICE", requires = "data_image")]
    data_device: Vec<PathBuf>,
    /// Id of the data image
    #[arg(long, value_name = "ID")]
    data_image: Option<ImageId>,
    /// The service's `image.key`, which says who signs images
    #[arg(long, value_name = "FILE")]
    image_key: PathBuf,
}

/// Writes the images and prints what all of them cost, as JSON.
///
/// # Errors
/// When the device is no loop device, or writing failed.
pub fn write(options: &Options) -> anyhow::Result<()> {
    let devices: Vec<PathBuf> = [&options.device].into_iter().chain(&options.data_device).cloned().collect();
    let mut steps = Vec::new();
    for (number, (device, disk_guid)) in (1..).zip(options.data_device.iter().zip(100..)) {
        steps.push(Step::WriteDataImage {
            disk: target(device, number)?,
            image: options.data_image.context("no data image was named")?,
            disk_guid: Uuid::from_u128(disk_guid),
            last_partition: RootSize::Image,
        });
    }
    steps.push(Step::WriteImage {
        disk: target(&options.device, 0)?,
        image: options.image,
        disk_guid: Uuid::from_u128(2),
        node_partition_guid: Uuid::from_u128(3),
        node_data: None,
        root_size: RootSize::Image,
        keep: Vec::new(),
    });
    let permit = permit(Transport::Other, Action::Reimage, steps)?;
    let disks = MachineDisks::new(Arc::new(Devices(devices)));
    let (steps, seconds) = carried_out(permit, Arc::new(Images::new(options)?), Arc::new(disks))?;
    let sum = |figure: fn(&StepResult) -> u64| steps.iter().map(figure).sum::<u64>();
    let proofs: Vec<&str> = steps.iter().map(|step| step.proof.as_str()).collect();
    let said = json!({
        "seconds": seconds,
        "bytes_read": sum(|step| step.bytes_read),
        "bytes_fetched": sum(|step| step.bytes_fetched),
        "bytes_written": sum(|step| step.bytes_written),
        "peak_memory_kibibytes": peak_memory_kibibytes()?,
        "proof": proofs.join("\n"),
    });
    println!("{said}");
    Ok(())
}

/// A device as a plan names it.
fn target(device: &Path, number: usize) -> anyhow::Result<DiskTarget> {
    require_loop_device(device)?;
    let open = DirectDisk::open_exclusive(device)?;
    Ok(DiskTarget {
        id: disk_id(number)?,
        size_bytes: open.size_bytes(),
        logical_sector_bytes: open.sector_bytes(),
    })
}

/// Carries out the steps of a permit, in a runtime like the ramdisk's; what each cost, and the seconds of all.
fn carried_out(
    permit: Permit,
    service: Arc<dyn Service>,
    disks: Arc<dyn Disks>,
) -> anyhow::Result<(Vec<StepResult>, f64)> {
    let world = World { service, disks, clock: Arc::new(|| NOW), firmware: None };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let started = Instant::now();
    let finish = runtime.block_on(carry_out(permit, &world));
    let seconds = started.elapsed().as_secs_f64();
    if let FinishResult::Failed { error, .. } | FinishResult::Refused { error } = &finish.result {
        bail!("the step that is measured failed: {error}");
    }
    Ok((finish.steps, seconds))
}

/// What is measured is overwritten, so nothing but a loop device is taken.
fn require_loop_device(device: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let looked =
        std::fs::metadata(device).with_context(|| format!("could not look at {}", device.display()))?;
    if !looked.file_type().is_block_device() || nix::sys::stat::major(looked.rdev()) != LOOP_MAJOR {
        bail!("{} is not a loop device; only these are overwritten for measuring", device.display());
    }
    Ok(())
}

fn disk_id(number: usize) -> anyhow::Result<DiskId> {
    format!("loop-bench-{number}").parse().context("could not name the device")
}

/// The public half of the key in this file, in hexadecimal.
fn image_key(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed)
        .with_context(|| format!("{} is not 32 bytes in hexadecimal", file.display()))?;
    Ok(hex::encode(SigningKey::from_bytes(&seed).verifying_key().as_bytes()))
}

/// The devices that are measured, by the numbers in their ids.
struct Devices(Vec<PathBuf>);

impl DiskResolver for Devices {
    fn device_path(&self, disk: &DiskId) -> anyhow::Result<PathBuf> {
        for (number, device) in self.0.iter().enumerate() {
            if &disk_id(number)? == disk {
                return Ok(device.clone());
            }
        }
        bail!("there is no device {disk}")
    }
}

/// Images from a real service, through the agent's own client; what belongs to a job is answered here.
struct Images {
    client: Client,
    image: ImageId,
}

impl Images {
    fn new(options: &Options) -> anyhow::Result<Self> {
        // The API is never asked; nobody has this certificate.
        let client = Client::new(&["https://127.0.0.1:1".to_owned()], Pin::Fingerprint([0; 32]), None)?;
        let context: ContextReply = serde_json::from_value(json!({
            "now": NOW,
            "node": {
                "node": NODE,
                "assignment": {
                    "pool": "bench",
                    "image": options.image,
                    "image_disk_bytes": null,
                    "tenant": null,
                    "os_disk": {"rule": "smallest"},
                },
                "data_owner": {"owner": "unknown"},
                "floor": null,
                "expected_hardware": null,
                "protected": false,
                "unfinished": null,
                "history": [],
            },
            "policy": "",
            "order_key": "",
            "image_key": image_key(&options.image_key)?,
            "image_base_url": options.images,
        }))
        .context("could not say where images are")?;
        client.remember_images(&context);
        Ok(Self { client, image: options.image })
    }
}

impl Service for Images {
    fn begin(&self, _order: OrderId, _step: u32) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn progress(&self, progress: Progress) -> Answer<'_, ()> {
        tracing::debug!(?progress, "progress");
        Box::pin(async { Ok(()) })
    }

    fn credential(&self) -> Answer<'_, ResidentIdentity> {
        let identity = ResidentIdentity {
            node: NODE,
            service_urls: vec!["https://127.0.0.1:1".to_owned()],
            ca_certificate: "none".to_owned(),
            credential: Secret::new("none".to_owned()),
            image: self.image,
        };
        Box::pin(async { Ok(identity) })
    }

    fn manifest(&self, image: ImageId) -> Answer<'_, Manifest> {
        self.client.manifest(image)
    }

    fn chunk(&self, digest: ChunkDigest) -> Answer<'_, Vec<u8>> {
        self.client.chunk(digest)
    }

    fn take_back(&self, stored: Vec<u8>) {
        self.client.take_back(stored);
    }
}

/// The most memory that this process ever had in use: `VmHWM` of `/proc/self/status`.
fn peak_memory_kibibytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("could not read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|number| number.trim().parse().ok()).context("/proc/self/status has no VmHWM")
}
