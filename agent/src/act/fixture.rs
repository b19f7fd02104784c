//! A small image, a service that has it, and disks in memory, for tests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::bail;
use contract::agent_api::{Finish, Progress, ResidentIdentity};
use contract::decision::Action;
use contract::id::{ChunkDigest, Digest, DiskId, EvidenceId, ImageId, JobId, NodeId, OrderId, UnixMillis};
use contract::inventory::{Composition, DiskFacts, Transport};
use contract::node_data::SeedFiles;
use contract::order::{Order, SignedOrder};
use contract::plan::{BootMethod, DiskTarget, KeptPartition, Plan, Step};
use contract::reading::Outcome;
use contract::root_size::RootSize;
use contract::secret::Secret;
use ed25519_dalek::SigningKey;
use imaging::chunk::{CHUNK_BYTES, compress, digest_of};
use imaging::layout::LayoutRequest;
use imaging::manifest::{Chunk, Chunks, MANIFEST_VERSION, Manifest, ManifestPartition, PartitionRole};
use uuid::Uuid;
use verdict::permit::{Expected, Permit, SpentOrders};

use super::carry_out::{World, carry_out};
use super::device::{BlockDevice, Disks, PartitionPlace, Timer};
use super::fake_device::FakeDevice;
use super::service::{Answer, Service};

/// Bytes that do not repeat and do not compress to nothing.
pub fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// An image with its bytes.
pub struct Image {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// What describes them.
    pub manifest: Manifest,
    /// What is stored of them.
    pub stored: BTreeMap<ChunkDigest, Vec<u8>>,
}

/// The end of the immutable first partition, in the middle of a chunk.
pub const FIRST_PARTITION_END: u64 = (1 << 20) + 600 * 1024;

/// An image of 6 MiB: a zero chunk, two equal chunks, an immutable partition that ends in the middle
/// of a chunk, and a part after the last partition.
pub fn image() -> Image {
    let mut bytes = noise(1, 6 * CHUNK_BYTES);
    bytes[2 * CHUNK_BYTES..3 * CHUNK_BYTES].fill(0);
    bytes.copy_within(3 * CHUNK_BYTES..4 * CHUNK_BYTES, 4 * CHUNK_BYTES);
    of_bytes(
        bytes,
        vec![
            partition(1, 1 << 20, FIRST_PARTITION_END, PartitionRole::Esp),
            partition(2, FIRST_PARTITION_END, 5 << 20, PartitionRole::Other),
        ],
    )
}

/// An image of 4 MiB for a data disk: one partition, and nothing that boots.
pub fn data_image() -> Image {
    let mut bytes = noise(77, 4 * CHUNK_BYTES);
    bytes[2 * CHUNK_BYTES..3 * CHUNK_BYTES].fill(0);
    of_bytes(bytes, vec![partition(1, 1 << 20, 4 << 20, PartitionRole::Other)])
}

/// A partition that starts and ends at these bytes.
pub fn partition(number: u32, first_byte: u64, end: u64, role: PartitionRole) -> ManifestPartition {
    ManifestPartition {
        number,
        type_guid: Uuid::from_u128(0x1000 + u128::from(number)),
        unique_guid: Uuid::from_u128(0x2000 + u128::from(number)),
        name: format!("part {number}"),
        first_byte,
        length_bytes: end - first_byte,
        attributes: 0,
        role,
        immutable: None,
    }
}

/// The image with these bytes; the ESP is immutable.
pub fn of_bytes(bytes: Vec<u8>, mut partitions: Vec<ManifestPartition>) -> Image {
    for partition in partitions.iter_mut().filter(|partition| partition.role == PartitionRole::Esp) {
        let range = partition.first_byte as usize..partition.end_byte() as usize;
        partition.immutable = Some(Digest::of(&bytes[range]));
    }
    let mut stored = BTreeMap::new();
    let mut chunks = Vec::new();
    for chunk in bytes.chunks(CHUNK_BYTES) {
        if chunk.iter().all(|byte| *byte == 0) {
            chunks.push(Chunk::Zero);
        } else {
            stored.insert(digest_of(chunk), compress(chunk).unwrap());
            chunks.push(Chunk::Stored(digest_of(chunk)));
        }
    }
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        name: "test".to_owned(),
        disk_bytes: bytes.len() as u64,
        sector_bytes: 512,
        chunk_bytes: CHUNK_BYTES as u32,
        chunks: chunks.into(),
        partitions,
        root: None,
        content: Chunks::default(),
        without_agent: false,
    };
    Image { bytes, manifest, stored }
}

/// What the service was asked, and what it does wrong.
pub struct FakeService {
    manifest: Option<Manifest>,
    more: Vec<Manifest>,
    stored: Mutex<BTreeMap<ChunkDigest, Vec<u8>>>,
    /// Refuses every `begin`.
    pub refuses_begin: bool,
    /// Refuses the `begin` of this step.
    pub refuses_begin_of: Option<u32>,
    /// The node's data.
    pub seed_files: Option<SeedFiles>,
    calls: Mutex<Vec<String>>,
    fetched: Mutex<u64>,
}

impl FakeService {
    /// A service that has this image.
    pub fn with(image: &Image) -> Self {
        Self {
            manifest: Some(image.manifest.clone()),
            more: Vec::new(),
            stored: Mutex::new(image.stored.clone()),
            refuses_begin: false,
            refuses_begin_of: None,
            seed_files: None,
            calls: Mutex::default(),
            fetched: Mutex::default(),
        }
    }

    /// This service with another image.
    pub fn and(mut self, image: &Image) -> Self {
        self.stored.get_mut().unwrap().extend(image.stored.clone());
        self.more.push(image.manifest.clone());
        self
    }

    /// A service that has no image.
    pub fn without_images() -> Self {
        Self {
            manifest: None,
            more: Vec::new(),
            stored: Mutex::default(),
            refuses_begin: false,
            refuses_begin_of: None,
            seed_files: None,
            calls: Mutex::default(),
            fetched: Mutex::default(),
        }
    }

    /// Changes what is stored of a chunk.
    pub fn tamper(&self, digest: ChunkDigest, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.stored.lock().unwrap().get_mut(&digest).unwrap());
    }

    /// The calls so far, without progress.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// How many chunks were fetched.
    pub fn chunks_fetched(&self) -> usize {
        self.calls().iter().filter(|call| *call == "chunk").count()
    }

    /// How many bytes were fetched.
    pub fn bytes_fetched(&self) -> u64 {
        *self.fetched.lock().unwrap()
    }

    fn call(&self, name: &str) {
        self.calls.lock().unwrap().push(name.to_owned());
    }
}

impl Service for FakeService {
    fn begin(&self, _order: OrderId, step: u32) -> Answer<'_, ()> {
        self.call(&format!("begin {step}"));
        let refused = self.refuses_begin || self.refuses_begin_of == Some(step);
        Box::pin(async move { if refused { bail!("no answer") } else { Ok(()) } })
    }

    fn progress(&self, _progress: Progress) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn credential(&self) -> Answer<'_, ResidentIdentity> {
        self.call("credential");
        let image = self.manifest.as_ref().unwrap().id().unwrap();
        Box::pin(async move { Ok(identity(image)) })
    }

    fn node_data(&self) -> Answer<'_, SeedFiles> {
        self.call("node data");
        Box::pin(async move { self.seed_files.clone().ok_or_else(|| anyhow::anyhow!("no data")) })
    }

    fn manifest(&self, image: ImageId) -> Answer<'_, Manifest> {
        self.call("manifest");
        let other = self.more.iter().find(|other| other.id().unwrap() == image);
        let manifest = other.or(self.manifest.as_ref()).cloned();
        Box::pin(async move { manifest.ok_or_else(|| anyhow::anyhow!("no such image")) })
    }

    fn chunk(&self, digest: ChunkDigest) -> Answer<'_, Vec<u8>> {
        self.call("chunk");
        let stored = self.stored.lock().unwrap().get(&digest).cloned();
        *self.fetched.lock().unwrap() += stored.as_ref().map_or(0, Vec::len) as u64;
        Box::pin(async move { stored.ok_or_else(|| anyhow::anyhow!("no such chunk")) })
    }
}

/// What the installed system gets.
pub fn identity(image: ImageId) -> ResidentIdentity {
    ResidentIdentity {
        node: NodeId(Uuid::from_u128(7)),
        service_urls: vec!["https://192.0.2.1:8443".to_owned()],
        ca_certificate: "certificate".to_owned(),
        credential: Secret::new("bearer".to_owned()),
        image,
    }
}

/// One disk, in memory; or only its root partition, as a block device.
pub struct FakeDisks {
    /// The disk.
    pub device: Arc<FakeDevice>,
    /// The root partition.
    pub root_partition: Option<PathBuf>,
}

impl Disks for FakeDisks {
    fn open(&self, target: &DiskTarget) -> anyhow::Result<Arc<dyn BlockDevice>> {
        if target.size_bytes != self.device.size_bytes() {
            bail!("another disk");
        }
        Ok(Arc::clone(&self.device) as Arc<dyn BlockDevice>)
    }

    fn timer(&self) -> Arc<dyn Timer> {
        self.device.timer()
    }

    fn partition(&self, _target: &DiskTarget, _partition: PartitionPlace) -> anyhow::Result<PathBuf> {
        self.root_partition.clone().ok_or_else(|| anyhow::anyhow!("no partition"))
    }
}

/// The disk of all tests.
pub fn disk_id() -> DiskId {
    "virtio-test".parse().unwrap()
}

/// The disk as a plan names it.
pub fn target(device: &FakeDevice) -> DiskTarget {
    DiskTarget { id: disk_id(), size_bytes: device.size_bytes(), logical_sector_bytes: 512 }
}

/// The GUIDs that plans in tests give.
pub const GUIDS: (Uuid, Uuid) = (Uuid::from_u128(0xd15c), Uuid::from_u128(0x40de));

/// For which disk the image of [`write_step`] is laid out.
pub fn layout_request(disk_bytes: u64) -> LayoutRequest<'static> {
    LayoutRequest {
        disk_bytes,
        sector_bytes: 512,
        disk_guid: GUIDS.0,
        node_partition_guid: GUIDS.1,
        root_size: RootSize::Grow,
        keep: &[],
    }
}

/// A step that writes the image.
pub fn write_step(device: &FakeDevice, image: &Image) -> Step {
    Step::WriteImage {
        disk: target(device),
        image: image.manifest.id().unwrap(),
        disk_guid: GUIDS.0,
        node_partition_guid: GUIDS.1,
        node_data: None,
        root_size: RootSize::Grow,
        keep: Vec::new(),
    }
}

/// A real permit for these steps, from a real order.
pub fn permit(device: &FakeDevice, steps: Vec<Step>) -> Permit {
    permit_for(&[(disk_id(), device)], steps)
}

/// A real permit for steps on several disks.
pub fn permit_for(devices: &[(DiskId, &FakeDevice)], steps: Vec<Step>) -> Permit {
    let node = NodeId(Uuid::from_u128(7));
    let plan = Plan {
        node,
        evidence: EvidenceId(Uuid::from_u128(8)),
        action: Action::Reimage,
        steps,
        boot: BootMethod::Reboot,
    };
    let key = SigningKey::from_bytes(&[7; 32]);
    let order = Order {
        id: OrderId(Uuid::from_u128(9)),
        job: JobId(Uuid::from_u128(10)),
        node,
        plan: plan.digest().unwrap(),
        disks: plan.disks(),
        nonce: Digest::of(b"nonce"),
        issued_at: UnixMillis(1000),
        expires_at: UnixMillis(2000),
    };
    let signed = SignedOrder::sign(&order, &key).unwrap();
    let expected = Expected {
        order_key: key.verifying_key(),
        node,
        nonce: order.nonce,
        now: UnixMillis(1500),
        spent: &SpentOrders::new(),
    };
    let facts = |(id, device): &(DiskId, &FakeDevice)| disk_facts(id.clone(), device.size_bytes());
    let disks: Vec<DiskFacts> = devices.iter().map(facts).collect();
    Permit::grant(&signed, plan, &expected, &disks).unwrap()
}

/// Data behind the image.
pub fn data_partition() -> KeptPartition {
    KeptPartition {
        number: 9,
        type_guid: Uuid::from_u128(1),
        unique_guid: Uuid::from_u128(2),
        first_byte: 10 << 20,
        length_bytes: 1 << 20,
        attributes: 0,
        name: "data".to_owned(),
    }
}

/// What a plain disk of this size says of itself.
pub fn disk_facts(id: DiskId, size_bytes: u64) -> DiskFacts {
    DiskFacts {
        id,
        kernel_name: "vda".to_owned(),
        transport: Transport::Virtio,
        model: Outcome::Absent,
        serial: Outcome::Absent,
        firmware_revision: Outcome::Absent,
        size_bytes,
        logical_sector_bytes: 512,
        rotational: Outcome::Absent,
        read_only: false,
        removable: false,
        nvme: Outcome::Absent,
        ata: Outcome::Absent,
        sanitize: Outcome::Absent,
        locking: Outcome::Absent,
        write_same: Outcome::Absent,
        composition: Composition::Single,
    }
}

/// Carries these steps out on a disk in memory.
pub fn run(device: &Arc<FakeDevice>, service: &Arc<FakeService>, steps: Vec<Step>) -> Finish {
    run_on(FakeDisks { device: Arc::clone(device), root_partition: None }, service, steps)
}

/// Carries these steps out.
pub fn run_on(disks: FakeDisks, service: &Arc<FakeService>, steps: Vec<Step>) -> Finish {
    let permit = permit(&disks.device, steps);
    let world = World {
        service: Arc::clone(service) as Arc<dyn Service>,
        disks: Arc::new(disks),
        clock: Arc::new(|| UnixMillis(1600)),
        firmware: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(carry_out(permit, &world))
}
