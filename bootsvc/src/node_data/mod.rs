//! What belongs to one node and not to its image: kept, rendered for the image that the node has, and
//! handed to the ramdisk that has an order to write it.
//!
//! Data belong to the tenant that the node had when they were set. A node with another tenant is given
//! none; to an operator they are shown, without their secrets, until somebody takes them away or the node
//! is left empty.

use contract::assignment::DataOwner;
use contract::id::{Digest, ImageId, MacAddress, NodeId};
use contract::node_data::{NodeData, NodeDataView, SeedFiles};
use contract::operator_api::JobState;
use contract::plan::{Plan, Step};
use netboot::directive::{BootDirective, boot_decision};
use sqlx::AnyConnection;

use crate::bearer;
use crate::jobs::change::Change;
use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;
use crate::store::node_data::NodeDataRow;
use crate::store::nodes::NodeRecord;
use crate::store::sessions::SessionRow;

/// The seed volume that a node should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Its files.
    pub files: SeedFiles,
    /// Its digest, by which an order names it.
    pub digest: Digest,
}

/// The volume that a node should have now: none without data, without an image, or with another
/// tenant than the data belong to.
///
/// # Errors
/// If the database fails.
pub async fn seed(connection: &mut AnyConnection, node: &NodeRecord) -> Result<Option<Seed>, Refusal> {
    let row = store::node_data::of(connection, node.id).await?;
    row.map_or(Ok(None), |row| seed_of(&row, node))
}

fn seed_of(row: &NodeDataRow, node: &NodeRecord) -> Result<Option<Seed>, Refusal> {
    let Some(image) = node.assignment.image.filter(|_| node.assignment.tenant.as_ref() == Some(&row.tenant))
    else {
        return Ok(None);
    };
    let files = imaging::seed::render(&row.data, node.id, image, row.instance).map_err(Refusal::internal)?;
    let volume = imaging::seed::volume(&files).map_err(too_large)?;
    Ok(Some(Seed { files, digest: imaging::seed::digest(&volume) }))
}

fn too_large(error: imaging::seed::VolumeError) -> Refusal {
    Refusal::bad_request(error.to_string(), "shorten the user data or the lists of keys")
}

fn view(row: NodeDataRow, node: &NodeRecord) -> Result<NodeDataView, Refusal> {
    Ok(NodeDataView {
        node: node.id,
        wanted: seed_of(&row, node)?.map(|seed| seed.digest),
        written: row.written,
        users_with_password: row.data.users_with_password(),
        user_data_bytes: row.data.user_data.as_ref().map(|text| text.reveal().len() as u64),
        data: row.data.without_secrets(),
        tenant: row.tenant,
        changed_at: row.changed_at,
    })
}

/// What is being written must stay what was ordered.
fn not_while_writing(change: &Change<'_>) -> Result<(), Refusal> {
    match change.job.as_ref().map(|job| (job.id, &job.state)) {
        Some((job, JobState::Ordered | JobState::Acting { .. })) => Err(Refusal::conflict(
            format!("job {job} is writing this node's data right now"),
            "wait until it has ended (`reprieve job watch`)",
        )),
        _ => Ok(()),
    }
}

/// Whether this step may change what stands in the seed partition. From its beginning until the order is
/// proven nothing is known of it.
#[must_use]
pub fn touches_seed(step: &Step) -> bool {
    matches!(step, Step::Erase { .. } | Step::WriteImage { .. } | Step::WriteSeed { .. })
}

/// The volume that a plan puts into the seed partition.
#[must_use]
pub fn written_by(plan: &Plan) -> Option<Digest> {
    plan.steps.iter().find_map(|step| match step {
        Step::WriteImage { node_data, .. } | Step::WriteSeed { node_data, .. } => *node_data,
        _ => None,
    })
}

impl Service {
    /// Sets a node's data.
    ///
    /// # Errors
    /// If they are not what they should be, or are being written right now.
    pub async fn set_node_data(&self, node: NodeId, data: &NodeData) -> Result<NodeDataView, Refusal> {
        data.check().map_err(|error| {
            Refusal::bad_request(format!("the node's data: {error}"), "correct the field and send it again")
        })?;
        // Nothing is kept that could not be written; every image's id has the same length.
        let any = Digest([0; 32]);
        let files = imaging::seed::render(data, node, ImageId(any), any).map_err(Refusal::internal)?;
        imaging::seed::volume(&files).map_err(too_large)?;
        let mut change = self.change(node).await?;
        not_while_writing(&change)?;
        let (tenant, now) = (change.node.assignment.tenant.clone(), change.now);
        let tenant = tenant.ok_or_else(|| {
            Refusal::conflict(
                format!("node {node} has no tenant that its data could belong to"),
                "assign one first (`reprieve assign NODE --tenant TENANT`)",
            )
        })?;
        let earlier = store::node_data::of(&mut change.transaction, node).await?;
        let same = earlier.as_ref().filter(|row| row.data == *data && row.tenant == tenant);
        let instance = match same {
            Some(row) => row.instance,
            None => Digest(bearer::random_bytes().map_err(Refusal::internal)?),
        };
        let written = earlier.and_then(|row| row.written);
        let row = NodeDataRow { tenant, changed_at: now, instance, written, data: data.clone() };
        store::node_data::put(&mut change.transaction, node, &row).await?;
        let shown = view(row, &change.node)?;
        if change.job.is_some() {
            change.note("the node's data were changed");
        }
        change.commit().await?;
        tracing::info!(%node, "the node's data were set");
        Ok(shown)
    }

    /// A node's data without their secrets.
    ///
    /// # Errors
    /// If it has none.
    pub async fn node_data(&self, node: NodeId) -> Result<NodeDataView, Refusal> {
        let mut reading = self.store.read().await?;
        let record = node_by_id(&mut reading, node).await?;
        let row = store::node_data::of(&mut reading, node).await?.ok_or_else(|| no_data(node))?;
        view(row, &record)
    }

    /// Forgets a node's data. What is on its disk stays there until it is written again.
    ///
    /// # Errors
    /// If it has none, or they are being written right now.
    pub async fn clear_node_data(&self, node: NodeId) -> Result<(), Refusal> {
        let mut change = self.change(node).await?;
        not_while_writing(&change)?;
        if !store::node_data::remove(&mut change.transaction, node).await? {
            return Err(no_data(node));
        }
        if change.job.is_some() {
            change.note("the node's data were taken away");
        }
        change.commit().await?;
        tracing::info!(%node, "the node's data were taken away");
        Ok(())
    }

    /// The files for the running system of the node with this address, without secrets. None unless it
    /// is told to boot its own system and its disks hold the data of the tenant that these belong to.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn public_seed_files(&self, mac: MacAddress) -> Result<Option<SeedFiles>, Refusal> {
        let facts = self.boot_facts(mac).await?;
        if !matches!(boot_decision(&facts), BootDirective::Local { .. }) {
            return Ok(None);
        }
        let mut reading = self.store.read().await?;
        let Some(node) = store::nodes::by_mac(&mut reading, mac).await? else { return Ok(None) };
        let Some(row) = store::node_data::of(&mut reading, node.id).await? else { return Ok(None) };
        if node.data_owner != DataOwner::Tenant(row.tenant.clone()) {
            return Ok(None);
        }
        let shown = NodeDataRow { data: row.data.without_secrets(), ..row };
        Ok(seed_of(&shown, &node)?.map(|seed| seed.files))
    }

    /// The files that a ramdisk has an order to write, secrets and all.
    ///
    /// # Errors
    /// Unless the session's order writes exactly the data that the node should have now.
    pub async fn seed_files(&self, session: &SessionRow) -> Result<SeedFiles, Refusal> {
        let refuse = |why: &str| Refusal::conflict(why, "report and get an order first");
        let mut reading = self.store.read().await?;
        let node = node_by_id(&mut reading, session.node).await?;
        let job = store::jobs::open_of(&mut reading, session.node).await?;
        let order = store::orders::by_nonce(&mut reading, session.nonce).await?;
        let order = order
            .filter(|order| order.session == session.hash && order.ended_at.is_none())
            .filter(|order| job.is_some_and(|job| job.order == Some(order.id)))
            .ok_or_else(|| refuse("this session has no order that writes the node's data"))?;
        let ordered = written_by(&order.plan)
            .ok_or_else(|| refuse("this session's order does not write the node's data"))?;
        let seed = seed(&mut reading, &node).await?.filter(|seed| seed.digest == ordered);
        Ok(seed.ok_or_else(|| refuse("the node's data are not those that were ordered any more"))?.files)
    }
}

fn no_data(node: NodeId) -> Refusal {
    Refusal::not_found(format!("node {node} has no data of its own"), "set them (`reprieve node data set`)")
}
