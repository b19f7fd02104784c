//! The technician's API for nodes: what is known of them, what they should have, and who may go on.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use contract::assignment::{DataOwner, ExpectedHardware};
use contract::id::JobId;
use contract::inventory::Inventory;
use contract::operator_api::{ApproveRequest, AssignRequest, JobState, NodeState, NodeView, ProtectRequest};
use contract::reading::Outcome;

use crate::attestation::golden;
use crate::http::body::{self, Answer, SMALL_BYTES_MAX};
use crate::http::operator::{authorize, find};
use crate::images::data::check_rules;
use crate::jobs::state;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::jobs::JobRecord;
use crate::store::nodes::NodeRecord;

/// The paths for nodes.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/nodes", get(nodes))
        .route("/v1/nodes/{node}", get(node))
        .route("/v1/nodes/{node}/approve", post(approve))
        .route("/v1/nodes/{node}/assign", post(assign))
        .route("/v1/nodes/{node}/protect", post(protect))
        .route("/v1/nodes/{node}/release-hold", post(release_hold))
}

/// A node as people and programs see it.
pub(super) fn view(service: &Service, node: NodeRecord, job: Option<JobId>) -> NodeView {
    let node_state = match (&node.hold_reason, node.approved, job) {
        (Some(_), _, _) => NodeState::Held,
        (None, false, _) => NodeState::Discovered,
        (None, true, Some(_)) => NodeState::Busy,
        (None, true, None) => NodeState::Idle,
    };
    let boot = node.boot.view(&node.images, service.key_demanded(&node));
    let bmc = service.controllers.of(&node);
    NodeView {
        id: node.id,
        state: node_state,
        hold_reason: node.hold_reason,
        system_uuid: node.system_uuid,
        serial: node.serial,
        macs: node.macs,
        rack: node.rack,
        assignment: node.assignment,
        data_owner: node.data_owner,
        expected_hardware: node.expected_hardware,
        protected: node.protected,
        first_seen: node.first_seen,
        last_seen: node.last_seen,
        agent_online: service.live.resident_online(node.id),
        last_action: node.last_action,
        last_decided_at: node.last_decided_at,
        job,
        inventory: node.inventory,
        images: node.images,
        boot,
        golden_boots: Vec::new(),
        bmc,
    }
}

async fn nodes(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Answer<Vec<NodeView>>, Refusal> {
    authorize(&service, &headers)?;
    let mut reading = service.store.read().await?;
    let nodes = store::nodes::all(&mut reading).await?;
    let jobs = store::jobs::open_of_all(&mut reading).await?;
    drop(reading);
    let views = nodes.into_iter().map(|node| {
        let job = jobs.get(&node.id).copied();
        view(&service, node, job)
    });
    Ok(Answer(views.collect()))
}

async fn node(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<Answer<NodeView>, Refusal> {
    authorize(&service, &headers)?;
    let id = find(&service, &reference).await?;
    let mut reading = service.store.read().await?;
    let node = crate::service::node_by_id(&mut reading, id).await?;
    let job = store::jobs::open_of(&mut reading, id).await?;
    let golden_boots = golden::of(&mut reading, &node).await?;
    Ok(Answer(NodeView { golden_boots, ..view(&service, node, job.map(|job| job.id)) }))
}

async fn approve(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<NodeView>, Refusal> {
    authorize(&service, &headers)?;
    let request: ApproveRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    if request.factory_new && request.data_of.is_some() {
        return Err(Refusal::bad_request(
            "a node cannot be factory-new and hold a tenant's data",
            "say one of both",
        ));
    }
    let mut change = service.change(find(&service, &reference).await?).await?;
    if change.node.approved {
        return Err(Refusal::conflict(
            format!("node {} is approved already", change.node.id),
            "nothing to do",
        ));
    }
    let inventory = change.node.inventory.as_ref().ok_or_else(|| {
        Refusal::conflict(
            format!("node {} has not been inventoried", change.node.id),
            "boot it from the network first",
        )
    })?;
    change.node.expected_hardware = Some(expected_hardware(inventory)?);
    service.accept_as_it_is(&mut change).await?;
    // What was never shown, or proves nothing, cannot be recorded; the node is taken in all the same.
    let _ = change.node.boot.record_last("approved", change.now);
    change.node.approved = true;
    change.node.discovery_attempts = 0;
    if let Some(pool) = request.pool {
        change.node.assignment.pool = pool;
    }
    change.node.data_owner = match (request.factory_new, request.data_of) {
        (true, _) => DataOwner::Nobody,
        (false, Some(tenant)) => DataOwner::Tenant(tenant),
        (false, None) => DataOwner::Unknown,
    };
    let (node, job) = change.commit().await?;
    tracing::info!(node = %node.id, owner = ?node.data_owner, "node was approved");
    Ok(Answer(view(&service, node, job.map(|job| job.id))))
}

/// What the node has now is what it is expected to have from here on. It must have been seen.
fn expected_hardware(inventory: &Inventory) -> Result<ExpectedHardware, Refusal> {
    let unseen = |what: &str| {
        Refusal::conflict(
            format!("the node's {what} could not be seen"),
            "boot it from the network again and look at its inventory",
        )
    };
    let mut disks: Vec<_> = match &inventory.disks {
        Outcome::Value(disks) => disks.iter().map(|disk| disk.id.clone()).collect(),
        Outcome::Absent => Vec::new(),
        Outcome::Unreadable(_) => return Err(unseen("disks")),
    };
    let mut nics: Vec<_> = match &inventory.nics {
        Outcome::Value(nics) => nics.iter().map(|nic| nic.mac).collect(),
        Outcome::Absent => Vec::new(),
        Outcome::Unreadable(_) => return Err(unseen("network interfaces")),
    };
    disks.sort();
    nics.sort();
    let modules = inventory.memory_modules.value();
    let gpus = inventory.gpus.value();
    Ok(ExpectedHardware {
        disks,
        nics,
        memory_bytes: inventory.memory_bytes.value().copied(),
        memory_modules: modules.map(|all| all.iter().map(|module| module.locator.clone()).collect()),
        gpus: gpus.map(|all| all.iter().map(|gpu| gpu.id.clone()).collect()),
        golden: Vec::new(),
    })
}

async fn assign(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<NodeView>, Refusal> {
    authorize(&service, &headers)?;
    let request: AssignRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    let id = find(&service, &reference).await?;
    let mut change = service.change(id).await?;
    if let Some(job) = change.job.as_ref().filter(|job| !goes_on_with_other_data_images(job, &request)) {
        return Err(Refusal::conflict(
            format!("node {id} has an open job {}", job.id),
            "wait for it or cancel it",
        ));
    }
    if let Some(reference) = &request.image {
        let image = service.image_by_reference(&mut change.transaction, reference).await?;
        change.node.assignment.image_disk_bytes =
            store::images::minimum_disk_bytes(&mut change.transaction, image.id).await?;
        change.node.assignment.image = Some(image.id);
    }
    if let Some(tenant) = request.tenant {
        change.node.assignment.tenant = Some(tenant);
    }
    if let Some(pool) = request.pool {
        change.node.assignment.pool = pool;
    }
    if let Some(rack) = request.rack {
        change.node.rack = Some(rack);
    }
    if let Some(os_disk) = request.os_disk {
        os_disk.check().map_err(|refused| {
            Refusal::bad_request(format!("the rule for the OS disk: {refused}"), "look at the node's disks")
        })?;
        change.node.assignment.os_disk = os_disk;
    }
    if let Some(root_size) = request.root_size {
        change.node.assignment.root_size = root_size;
    }
    if let Some(asked) = request.data_images {
        change.node.assignment.data_images = service.data_images(&mut change.transaction, asked).await?;
    }
    check_rules(&change.node.assignment)?;
    let (node, job) = change.commit().await?;
    Ok(Answer(view(&service, node, job.map(|job| job.id))))
}

/// Whether only the images for data disks change while the job is held, whose next plan is made anew. So
/// a data disk that fails for good does not keep the machine from its system.
fn goes_on_with_other_data_images(job: &JobRecord, request: &AssignRequest) -> bool {
    let AssignRequest { image, tenant, pool, rack, os_disk, root_size, data_images } = request;
    let others = image.is_some()
        || tenant.is_some()
        || pool.is_some()
        || os_disk.is_some()
        || root_size.is_some()
        || rack.is_some();
    matches!(job.state, JobState::Held { .. }) && data_images.is_some() && !others
}

async fn protect(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<NodeView>, Refusal> {
    authorize(&service, &headers)?;
    let request: ProtectRequest = body::read_json(&headers, body, SMALL_BYTES_MAX).await?;
    let mut change = service.change(find(&service, &reference).await?).await?;
    change.node.protected = request.protected;
    if change.job.is_some() {
        change.note(if request.protected {
            "the node was protected"
        } else {
            "the node is not protected any more"
        });
    }
    let (node, job) = change.commit().await?;
    Ok(Answer(view(&service, node, job.map(|job| job.id))))
}

async fn release_hold(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<Answer<NodeView>, Refusal> {
    authorize(&service, &headers)?;
    let mut change = service.change(find(&service, &reference).await?).await?;
    if change.node.hold_reason.is_none() {
        return Err(Refusal::conflict(format!("node {} is not held", change.node.id), "nothing to do"));
    }
    change.node.hold_reason = None;
    service.accept_as_it_is(&mut change).await?;
    change.node.discovery_attempts = 0;
    if let Some(job) = change.job.as_mut() {
        (job.attempts, job.coming_up_boots, job.disagreements) = (0, 0, 0);
        // A GPU that was found bad may be another one now; whether it is, the next test says.
        job.gpu_tests.clear();
        if matches!(job.state, JobState::Held { .. }) {
            change.take(state::release)?;
        }
        change.note("the hold was released");
    }
    let (node, job) = change.commit().await?;
    Ok(Answer(view(&service, node, job.map(|job| job.id))))
}
