//! What stands in for the service where a disk is worked on without a job: to measure, and in the
//! laboratory. Only in builds with the features for these, which no package has.
//!
//! Nothing is by-passed: the permit comes from an order, which is signed here by a key that no service
//! has, for a plan that names this one device.

use anyhow::{Context, bail};
use contract::agent_api::{Progress, ResidentIdentity};
use contract::decision::Action;
use contract::id::{ChunkDigest, Digest, EvidenceId, ImageId, JobId, NodeId, OrderId, UnixMillis};
use contract::inventory::{DiskFacts, Transport};
use contract::order::{Order, SignedOrder};
use contract::plan::{BootMethod, DiskTarget, Plan, Step};
use ed25519_dalek::SigningKey;
use imaging::manifest::Manifest;
use serde_json::json;
use uuid::Uuid;
use verdict::permit::{Expected, Permit, SpentOrders};

use crate::act::service::{Answer, Service};

/// The node that there is not.
pub const NODE: NodeId = NodeId(Uuid::from_u128(1));
/// When the order is issued, and what the time is all along.
pub const NOW: UnixMillis = UnixMillis(1000);
const EXPIRES: UnixMillis = UnixMillis(2000);

/// A permit as it is granted in the ramdisk, for an order that is signed here. Each step has a disk of its
/// own.
///
/// # Errors
/// If the order is refused, as any other would be.
pub fn permit(transport: Transport, action: Action, steps: Vec<Step>) -> anyhow::Result<Permit> {
    let facts = steps.iter().map(|step| facts(step.disk(), transport)).collect::<anyhow::Result<Vec<_>>>()?;
    let plan = Plan {
        node: NODE,
        evidence: EvidenceId(Uuid::from_u128(4)),
        action,
        steps,
        boot: BootMethod::Reboot,
    };
    let key = SigningKey::from_bytes(&[7; 32]);
    let order = Order {
        id: OrderId(Uuid::from_u128(5)),
        job: JobId(Uuid::from_u128(6)),
        node: NODE,
        plan: plan.digest().context("could not encode the plan")?,
        disks: plan.disks(),
        nonce: Digest::of(b"rehearsal"),
        issued_at: NOW,
        expires_at: EXPIRES,
    };
    let signed = SignedOrder::sign(&order, &key).context("could not sign the order")?;
    let (order_key, nonce, spent) = (key.verifying_key(), order.nonce, &SpentOrders::new());
    let expected = Expected { order_key, node: NODE, nonce, now: NOW, spent };
    Permit::grant(&signed, plan, &expected, &facts).context("the order was refused")
}

/// What is known of a device.
fn facts(target: &DiskTarget, transport: Transport) -> anyhow::Result<DiskFacts> {
    serde_json::from_value(json!({
        "id": target.id,
        "kernel_name": "rehearsal",
        "transport": transport,
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
    .context("could not describe the device")
}

/// No service: an erase needs nothing of one but the word that it may begin.
pub struct Nobody;

impl Service for Nobody {
    fn begin(&self, _order: OrderId, _step: u32) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn progress(&self, _progress: Progress) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn credential(&self) -> Answer<'_, ResidentIdentity> {
        Box::pin(async { bail!("an erase needs no credential") })
    }

    fn manifest(&self, _image: ImageId) -> Answer<'_, Manifest> {
        Box::pin(async { bail!("an erase needs no image") })
    }

    fn chunk(&self, _digest: ChunkDigest) -> Answer<'_, Vec<u8>> {
        Box::pin(async { bail!("an erase needs no image") })
    }
}
