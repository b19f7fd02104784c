//! `reprieve node …`, `assign`, `protect` and `release-hold`.

use clap::{Args, Subcommand};
use contract::assignment::{Assignment, DataOwner, OsDiskRule, RootSize};
use contract::bmc::BmcView;
use contract::boot_key::{BootKey, KnownBy};
use contract::boot_proof::BootView;
use contract::data_image::DataImageRequest;
use contract::id::{PoolName, RackName, TenantId};
use contract::inventory::{DiskFacts, Inventory};
use contract::operator_api::{ApproveRequest, AssignRequest, NodeState, NodeView, ProtectRequest};
use contract::reading::Outcome;

use crate::Ending;
use crate::boot_trust::{golden_in_words, system_in_words, trust_in_words};
use crate::client::{Client, escape};
use crate::history;
use crate::node_data::NodeDataCommand;
use crate::output::{bytes, clean, print, print_json, properties, short, table, time, trimmed, word};
use crate::policy::Explain;

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List all nodes
    List,
    /// Show one node
    Show {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
    },
    /// Show the images that a node had and what became of each
    History {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
    },
    /// Take a discovered node in
    Approve(Approve),
    /// Record how a node booted last: later boots are compared with it (TPM)
    TrustBoot {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
        /// Why it is right, such as `firmware 2.4 was installed`; it is kept
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// It is right for every node of the same hardware model
        #[arg(long)]
        for_model: bool,
        /// The boot of the running system is meant, under its image
        #[arg(long)]
        system: bool,
        /// Do not show the boot and ask before it is recorded
        #[arg(long)]
        yes: bool,
    },
    /// Forget how a node boots: its TPM is gone, and no proof is to be missed
    ForgetBoot {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
        /// Why, such as `the new mainboard has no TPM`
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// Forget what was recorded for every node of its hardware model, and nothing of its own
        #[arg(long)]
        for_model: bool,
    },
    /// What belongs to a node and not to its image: host name, keys, users, network
    Data {
        #[command(subcommand)]
        command: NodeDataCommand,
    },
    /// Explain the last verdict: why, on what evidence, and what would change it
    Explain(Explain),
}

/// `reprieve node approve`.
#[derive(Debug, Args)]
pub struct Approve {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// Pool it belongs to
    #[arg(long)]
    pub pool: Option<PoolName>,
    /// Your word that it never held anybody's data (disks that show data are sanitized all the same)
    #[arg(long, conflicts_with = "data_of")]
    pub factory_new: bool,
    /// Your word that the data on it belong to this tenant
    #[arg(long, value_name = "TENANT")]
    pub data_of: Option<TenantId>,
}

/// `reprieve assign`.
#[derive(Debug, Args)]
pub struct Assign {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// Image: id, start of an id, or name
    #[arg(long)]
    pub image: Option<String>,
    /// Tenant
    #[arg(long)]
    pub tenant: Option<TenantId>,
    /// Pool
    #[arg(long)]
    pub pool: Option<PoolName>,
    /// Rack, or another name for what shares a switch and power: too many of one at once are held
    #[arg(long)]
    pub rack: Option<RackName>,
    /// Disk of the operating system: a disk id as `node show` prints it, or what it is like, words with
    /// commas between: nvme, ata, scsi, virtio, usb, rotating, not-rotating, serial=TEXT, at-least=480G,
    /// at-most=1Ti, smallest, largest. Example: nvme,smallest
    #[arg(long, value_name = "DISK")]
    pub os_disk: Option<OsDiskRule>,
    /// Size of the root partition from the next writing of an image on: grow (over the free space behind
    /// it), image (as in the image), or a size such as 20Gi. What is left over is for partitions of the
    /// tenant, which a reimage keeps
    #[arg(long, value_name = "SIZE")]
    pub root: Option<RootSize>,
    /// Image for a data disk: what the disk is like as for --os-disk, an equals sign, and the image; repeat
    /// for more disks. Replaces those that were assigned before. It is written when the disk is erased, or
    /// blank and nobody's, together with an image for the operating system, and never over data.
    /// Example: nvme,largest=scratch
    #[arg(long = "data-image", value_name = "DISK=IMAGE")]
    pub data_images: Vec<DataImageRequest>,
    /// Size of the last partition of these images: grow (over the rest of the disk), image (as in the
    /// image), or a size such as 20Gi
    #[arg(long, value_name = "SIZE", requires = "data_images")]
    pub data_size: Option<RootSize>,
    /// Take the images for data disks off; what is on the disks stays
    #[arg(long, conflicts_with = "data_images")]
    pub no_data_images: bool,
}

/// `reprieve node list`.
pub async fn list(client: &Client, json: bool) -> anyhow::Result<Ending> {
    let nodes: Vec<NodeView> = client.get("/v1/nodes").await?;
    if json {
        print_json(&nodes)?;
        return Ok(Ending::Good);
    }
    if nodes.is_empty() {
        print("no nodes yet; a machine appears when it boots from the network")?;
        return Ok(Ending::Good);
    }
    let mut rows = table(&["node", "state", "serial", "pool", "tenant", "image", "verdict", "agent", "note"]);
    for node in &nodes {
        let assigned = &node.assignment;
        rows.add_row([
            short(&node.id),
            word(&node.state),
            node.serial.as_deref().map_or_else(dash, clean),
            assigned.pool.to_string(),
            assigned.tenant.as_ref().map_or_else(dash, ToString::to_string),
            assigned.image.as_ref().map_or_else(dash, short),
            node.last_action.as_ref().map_or_else(dash, word),
            if node.agent_online { "online" } else { "-" }.to_owned(),
            note(node),
        ]);
    }
    print(&trimmed(&rows))?;
    Ok(Ending::Good)
}

fn dash() -> String {
    "-".to_owned()
}

fn note(node: &NodeView) -> String {
    let hold = node.hold_reason.as_ref().map(|reason| clean(reason));
    let job = node.job.map(|job| format!("job {job}"));
    let protected = node.protected.then(|| "protected".to_owned());
    let new = (node.state == NodeState::Discovered)
        .then(|| format!("take it in with: reprieve node approve {}", short(&node.id)));
    let notes: Vec<String> = [protected, hold, job, new].into_iter().flatten().collect();
    notes.join("; ")
}

/// `reprieve node show NODE`.
pub async fn show(client: &Client, node: &str, json: bool) -> anyhow::Result<Ending> {
    let node: NodeView = client.get(&format!("/v1/nodes/{}", escape(node))).await?;
    print_node(&node, json)
}

/// `reprieve node approve NODE`.
pub async fn approve(client: &Client, approve: Approve, json: bool) -> anyhow::Result<Ending> {
    let request =
        ApproveRequest { pool: approve.pool, factory_new: approve.factory_new, data_of: approve.data_of };
    let path = format!("/v1/nodes/{}/approve", escape(&approve.node));
    print_node(&client.post(&path, &request).await?, json)
}

/// `reprieve assign NODE …`.
pub async fn assign(client: &Client, assign: Assign, json: bool) -> anyhow::Result<Ending> {
    let nothing = assign.image.is_none()
        && assign.tenant.is_none()
        && assign.pool.is_none()
        && assign.os_disk.is_none()
        && assign.root.is_none()
        && assign.data_images.is_empty()
        && !assign.no_data_images;
    anyhow::ensure!(
        !nothing,
        "nothing to assign; give --image, --tenant, --pool, --os-disk, --root, --data-image or --no-data-images"
    );
    let last_partition = assign.data_size.unwrap_or_default();
    let data_images: Vec<DataImageRequest> =
        assign.data_images.into_iter().map(|data| DataImageRequest { last_partition, ..data }).collect();
    let request = AssignRequest {
        image: assign.image,
        tenant: assign.tenant,
        pool: assign.pool,
        rack: assign.rack,
        os_disk: assign.os_disk,
        root_size: assign.root,
        data_images: (assign.no_data_images || !data_images.is_empty()).then_some(data_images),
    };
    let path = format!("/v1/nodes/{}/assign", escape(&assign.node));
    print_node(&client.post(&path, &request).await?, json)
}

/// `reprieve protect NODE [--off]`.
pub async fn protect(client: &Client, node: &str, protected: bool, json: bool) -> anyhow::Result<Ending> {
    let path = format!("/v1/nodes/{}/protect", escape(node));
    print_node(&client.post(&path, &ProtectRequest { protected }).await?, json)
}

/// `reprieve release-hold NODE`.
pub async fn release_hold(client: &Client, node: &str, json: bool) -> anyhow::Result<Ending> {
    let path = format!("/v1/nodes/{}/release-hold", escape(node));
    print_node(&client.post_empty(&path).await?, json)
}

/// Shows one node.
pub fn print_node(node: &NodeView, json: bool) -> anyhow::Result<Ending> {
    if json {
        print_json(node)?;
        return Ok(Ending::Good);
    }
    print(&describe(node))?;
    if let Some(disks) = disks(node) {
        print(&format!("\n{disks}"))?;
    }
    Ok(Ending::Good)
}

fn describe(node: &NodeView) -> String {
    let assigned = &node.assignment;
    let inventory = node.inventory.as_ref();
    let text = |outcome: &Outcome<String>| outcome_text(outcome, |value| clean(value));
    let macs: Vec<String> = node.macs.iter().map(ToString::to_string).collect();
    let verdict = node.last_action.as_ref().map(|action| {
        let when = node.last_decided_at.map(|at| format!(" at {}", time(at))).unwrap_or_default();
        format!("{}{when} (reprieve node explain {})", word(action), short(&node.id))
    });
    properties(vec![
        ("node", Some(node.id.to_string())),
        ("state", Some(word(&node.state))),
        ("held because", node.hold_reason.as_ref().map(|reason| clean(reason))),
        ("protected", node.protected.then(|| "yes".to_owned())),
        ("serial", node.serial.as_ref().map(|serial| clean(serial))),
        ("system UUID", node.system_uuid.map(|uuid| uuid.to_string())),
        ("addresses", Some(macs.join(", "))),
        ("pool", Some(assigned.pool.to_string())),
        ("rack", node.rack.as_ref().map(ToString::to_string)),
        ("tenant", assigned.tenant.as_ref().map(ToString::to_string)),
        ("image", assigned.image.map(|image| image.to_string())),
        ("images", history::in_short(&node.images)),
        ("OS disk", Some(os_disk(assigned, inventory))),
        ("root size", (!assigned.root_size.is_grow()).then(|| assigned.root_size.to_string())),
        ("data images", data_images(assigned)),
        ("data of", Some(data_owner(&node.data_owner))),
        ("machine", inventory.map(|i| format!("{} {}", text(&i.vendor), text(&i.product)))),
        ("processor", inventory.map(|i| text(&i.cpu_model))),
        ("memory", inventory.map(|i| outcome_text(&i.memory_bytes, |count| bytes(*count)))),
        ("firmware", inventory.map(|i| outcome_text(&i.firmware, word))),
        ("boot", node.boot.as_ref().map(boot_in_words)),
        ("system's boot", node.boot.as_ref().and_then(|boot| boot.system.as_ref()).map(system_in_words)),
        ("controller", node.bmc.as_ref().map(controller)),
        ("right for its model", golden_in_words(&node.golden_boots)),
        ("boot signed by", node.boot.as_ref().and_then(|boot| boot.key.as_ref()).map(boot_key)),
        ("last verdict", verdict),
        ("job", node.job.map(|job| format!("{job} (reprieve job watch {job})"))),
        ("agent", Some(if node.agent_online { "online" } else { "not heard of" }.to_owned())),
        ("first seen", Some(time(node.first_seen))),
        ("last seen", Some(time(node.last_seen))),
    ])
}

/// How far the last boot that was shown is proven, and what it was compared with.
pub fn boot_in_words(boot: &BootView) -> String {
    let mut found = trust_in_words(&boot.trust);
    if let Some(at) = boot.shown_at {
        found.push_str(&format!("; shown {}", time(at)));
    }
    match (boot.recorded_at, &boot.why) {
        (Some(at), Some(why)) => format!("{found} (recorded {}: {})", time(at), clean(why)),
        _ => found,
    }
}

/// By what the key is known that signed for the last boot.
fn boot_key(key: &BootKey) -> String {
    let known = match key.known_by {
        KnownBy::FirstUse => "a key known by its first use",
        KnownBy::Endorsement => "a device of unknown make",
        KnownBy::CertifiedTpm => "a certified TPM",
    };
    let refused =
        key.refused_certificate.as_ref().map(|why| format!("; CERTIFICATE REFUSED: {}", clean(why)));
    format!("{known} ({}{})", clean(&key.why), refused.unwrap_or_default())
}

/// What the management controller says: what is wrong first, and how old it is.
fn controller(view: &BmcView) -> String {
    let silent = view.failure.as_ref().map(|why| format!("tells nothing now: {}", clean(why)));
    let told = view.told.as_ref().map(|told| {
        let bad: Vec<String> = told.bad.iter().map(|part| format!("{} ({})", part.name, part.said)).collect();
        let count = format!("{} good, {} not, {} not told", told.good, told.bad_total, told.not_told);
        let unread: Vec<String> = told.unread.iter().map(|what| format!("not read: {what}")).collect();
        let all: Vec<String> = bad.into_iter().chain([count]).chain(unread).collect();
        format!("{} at {}", clean(&all.join("; ")), time(told.observed_at))
    });
    let parts: Vec<String> = [told, silent].into_iter().flatten().collect();
    if parts.is_empty() { "not asked yet".to_owned() } else { parts.join("; ") }
}

/// What looking gave, in words; "could not look" is not "nothing there".
fn outcome_text<T>(outcome: &Outcome<T>, show: impl Fn(&T) -> String) -> String {
    match outcome {
        Outcome::Value(value) => show(value),
        Outcome::Absent => "none".to_owned(),
        Outcome::Unreadable(why) => format!("unreadable ({})", clean(why)),
    }
}

/// The rule, and what it means for the disks that were seen last.
fn os_disk(assigned: &Assignment, inventory: Option<&Inventory>) -> String {
    let rule = clean(&assigned.os_disk.to_string());
    let Some(Outcome::Value(disks)) = inventory.map(|inventory| &inventory.disks) else { return rule };
    match verdict::os_disk::os_disk(&assigned.os_disk, assigned.image_disk_bytes.unwrap_or(0), disks) {
        Ok(disk) if disk.id.as_str() == rule => rule,
        Ok(disk) => format!("{rule}: now {}", disk.id),
        Err(refusal) => format!("{rule}: {}", clean(&refusal.to_string())),
    }
}

/// Which disks get an image when they hold nobody's data.
fn data_images(assigned: &Assignment) -> Option<String> {
    let shown: Vec<String> = assigned.data_images.iter().map(|data| clean(&data.to_string())).collect();
    (!shown.is_empty()).then(|| shown.join("; "))
}

fn data_owner(owner: &DataOwner) -> String {
    match owner {
        DataOwner::Unknown => "nobody knows whom".to_owned(),
        DataOwner::Nobody => "nobody".to_owned(),
        DataOwner::Tenant(tenant) => tenant.to_string(),
    }
}

fn disks(node: &NodeView) -> Option<String> {
    let disks = match &node.inventory.as_ref()?.disks {
        Outcome::Value(disks) => disks,
        Outcome::Absent => return Some("no disks".to_owned()),
        Outcome::Unreadable(why) => return Some(format!("disks could not be read: {}", clean(why))),
    };
    let mut rows = table(&["disk", "name", "size", "sector", "model", "note"]);
    for disk in disks {
        rows.add_row([
            disk.id.to_string(),
            clean(&disk.kernel_name),
            bytes(disk.size_bytes),
            disk.logical_sector_bytes.to_string(),
            outcome_text(&disk.model, |model| clean(model)),
            disk_note(disk),
        ]);
    }
    Some(trimmed(&rows))
}

fn disk_note(disk: &DiskFacts) -> String {
    let notes = [(disk.read_only, "read-only"), (disk.removable, "removable")];
    let notes: Vec<&str> = notes.into_iter().filter_map(|(holds, note)| holds.then_some(note)).collect();
    notes.join(", ")
}
