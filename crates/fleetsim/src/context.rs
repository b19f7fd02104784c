//! What the service knows of a simulated node.

use contract::assignment::{
    Assignment, DataOwner, ExpectedHardware, NodeContext, OsDiskRule, PeerValue, RootSize,
};
use contract::id::{Digest, ImageId, NodeId, TenantId};
use contract::inventory::Transport;
use contract::os_disk::{DiskMatch, DiskPick};
use contract::reading::{ReadingKey, Tier};
use uuid::Uuid;

use crate::parameters::Parameters;
use crate::sensors::{MEMORY_BYTES, RATE, disk_id};
use crate::truth::Truth;

/// The median deviation of a normal spread, as a share of its standard deviation.
const MEDIAN_DEVIATION_SHARE: f64 = 0.674;

/// The image that every node is given.
#[must_use]
pub fn image() -> ImageId {
    ImageId(Digest([0x11; 32]))
}

/// What the service knows of a node whose data belong to this tenant, who keeps it.
///
/// # Errors
/// If a name made here is none; that would be a mistake of this crate.
pub fn context_for(
    parameters: &Parameters,
    truth: &Truth,
    tenant_number: u32,
    image: ImageId,
) -> anyhow::Result<NodeContext> {
    let mut context = context(parameters, 0, truth, image)?;
    context.assignment.tenant = tenant(tenant_number);
    context.data_owner = tenant(tenant_number).map_or(DataOwner::Unknown, DataOwner::Tenant);
    Ok(context)
}

/// What the service has learned of machines of this kind: most of them are right.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a rate and its small spread
fn usual(parameters: &Parameters) -> PeerValue {
    PeerValue {
        hardware_model: String::new(),
        key: ReadingKey::ProcessorRounds,
        tier: Tier::T3,
        median: RATE as u64,
        median_deviation: (RATE * parameters.rate_noise * MEDIAN_DEVIATION_SHARE) as u64,
        nodes: u64::from(parameters.nodes),
    }
}

/// What the service knows of a node that was just delivered.
///
/// # Errors
/// If a name made here is none; that would be a mistake of this crate.
pub fn context(
    parameters: &Parameters,
    number: u32,
    truth: &Truth,
    image: ImageId,
) -> anyhow::Result<NodeContext> {
    let mut disks: Vec<_> =
        truth.disks.iter().enumerate().filter_map(|(place, disk)| disk_id(place, disk)).collect();
    disks.sort();
    let flash = DiskMatch {
        transport: Some(Transport::Nvme),
        pick: DiskPick::Smallest,
        rotational: None,
        serial: None,
        size_bytes_min: None,
        size_bytes_max: None,
    };
    Ok(NodeContext {
        node: NodeId(Uuid::from_u128(u128::from(number) + 1)),
        assignment: Assignment {
            pool: "pool".parse()?,
            image: Some(image),
            image_disk_bytes: Some(8 << 30),
            tenant: tenant(0),
            os_disk: OsDiskRule::Match(flash),
            root_size: RootSize::default(),
            data_images: Vec::new(),
        },
        data_owner: DataOwner::Nobody,
        floor: None,
        sanitize_level: None,
        expected_hardware: Some(ExpectedHardware {
            disks,
            nics: Vec::new(),
            memory_bytes: Some(MEMORY_BYTES),
            memory_modules: None,
            gpus: truth.accelerators.then(|| vec!["GPU-0".to_owned()]),
            golden: Vec::new(),
        }),
        protected: false,
        unfinished: None,
        history: Vec::new(),
        node_data: None,
        baselines: Vec::new(),
        boot_trust: None,
        boot_key: None,
        peers: vec![usual(parameters)],
        burn_in_minutes: None,
        gpu_tests: Vec::new(),
        outside_windows: false,
        bmc: None,
        command_lines: Default::default(),
    })
}

/// The tenant of this number.
pub fn tenant(number: u32) -> Option<TenantId> {
    format!("tenant-{number}").parse().ok()
}
