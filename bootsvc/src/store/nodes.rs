//! Nodes and their addresses.

use std::collections::HashMap;

use contract::assignment::{Assignment, DataOwner, ExpectedHardware, OsDiskRule, RootSize, UnfinishedWork};
use contract::decision::Action;
use contract::history::PastImage;
use contract::id::{MacAddress, NodeId, PoolName, RackName, UnixMillis};
use contract::inventory::Inventory;
use contract::reading::Outcome;
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use crate::attestation::BootKnowledge;
use crate::store::wishes::hardware_model;
use crate::store::{Doing, StoreError, from_json, from_text, to_db, to_json};

/// How many nodes are kept; beyond that unknown machines are not recorded any more.
pub const NODES_MAX: u64 = 200_000;
/// How many addresses one node may have.
pub const MACS_MAX: usize = 64;

/// Everything that is known about a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its id.
    pub id: NodeId,
    /// Counts changes; set by the store.
    #[serde(skip)]
    pub version: i64,
    /// All known addresses; kept in a table of their own.
    #[serde(skip)]
    pub macs: Vec<MacAddress>,
    /// An operator took it in.
    pub approved: bool,
    /// Why it is held; none if it is not.
    pub hold_reason: Option<String>,
    /// SMBIOS UUID, as its ramdisk said.
    pub system_uuid: Option<Uuid>,
    /// Serial number, as its ramdisk said.
    pub serial: Option<String>,
    /// Where it stands.
    #[serde(default)]
    pub rack: Option<RackName>,
    /// What it should have.
    pub assignment: Assignment,
    /// Whose data its disks hold.
    pub data_owner: DataOwner,
    /// The hardware it should have.
    pub expected_hardware: Option<ExpectedHardware>,
    /// Nothing destructive may be done to it.
    pub protected: bool,
    /// Destructive work that was begun and never reported done.
    pub unfinished: Option<UnfinishedWork>,
    /// The last inventory.
    pub inventory: Option<Inventory>,
    /// First seen.
    pub first_seen: UnixMillis,
    /// Last seen, as far as something else was worth writing down.
    pub last_seen: UnixMillis,
    /// How often the ramdisk was handed out without a job.
    pub discovery_attempts: u32,
    /// The last verdict.
    pub last_action: Option<Action>,
    /// When it was made.
    pub last_decided_at: Option<UnixMillis>,
    /// The images that it had, newest first.
    #[serde(default)]
    pub images: Vec<PastImage>,
    /// How it boots, as far as a TPM has shown it.
    #[serde(default)]
    pub boot: BootKnowledge,
    /// The kernel's command line of its running system, as that reported it last; none since an image was begun to
    /// be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_line: Option<Outcome<String>>,
    /// The kernel arguments that the boot script gave its ramdisk last, beside Reprieve's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramdisk_arguments: Option<String>,
}

impl NodeRecord {
    /// A machine seen for the first time. Nothing is known, so its data are somebody's.
    #[must_use]
    pub fn discovered(id: NodeId, mac: MacAddress, pool: PoolName, now: UnixMillis) -> Self {
        Self {
            id,
            version: 0,
            macs: vec![mac],
            approved: false,
            hold_reason: None,
            system_uuid: None,
            serial: None,
            rack: None,
            assignment: Assignment {
                pool,
                image: None,
                image_disk_bytes: None,
                tenant: None,
                os_disk: OsDiskRule::Smallest,
                root_size: RootSize::Grow,
                data_images: Vec::new(),
            },
            data_owner: DataOwner::Unknown,
            expected_hardware: None,
            protected: false,
            unfinished: None,
            inventory: None,
            first_seen: now,
            last_seen: now,
            discovery_attempts: 0,
            last_action: None,
            last_decided_at: None,
            images: Vec::new(),
            boot: BootKnowledge::default(),
            system_line: None,
            ramdisk_arguments: None,
        }
    }
}

fn rack(node: &NodeRecord) -> String {
    node.rack.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// Records a new node with its addresses.
///
/// # Errors
/// If the database fails or an address belongs to another node.
pub async fn insert(connection: &mut AnyConnection, node: &NodeRecord) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO nodes (id, version, system_uuid, serial, first_seen, body, approved, pool, rack, hardware_model) \
         VALUES ($1, 0, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
        .bind(node.id.to_string())
        .bind(node.system_uuid.map(|uuid| uuid.to_string()))
        .bind(node.serial.clone())
        .bind(to_db(node.first_seen.0))
        .bind(to_json("node", node)?)
        .bind(i64::from(node.approved))
        .bind(node.assignment.pool.to_string())
        .bind(rack(node))
        .bind(hardware_model(node).unwrap_or_default())
        .execute(&mut *connection)
        .await
        .doing("record a node")?;
    for mac in &node.macs {
        sqlx::query("INSERT INTO macs (mac, node) VALUES ($1, $2)")
            .bind(mac.to_string())
            .bind(node.id.to_string())
            .execute(&mut *connection)
            .await
            .doing("record an address")?;
    }
    Ok(())
}

/// Writes a node back. Addresses are not touched; see [`add_macs`].
///
/// # Errors
/// [`StoreError::Changed`] if somebody else wrote it since it was read.
pub async fn save(connection: &mut AnyConnection, node: &mut NodeRecord) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE nodes SET version = version + 1, system_uuid = $1, serial = $2, body = $3, approved = $4, \
         pool = $5, rack = $6, hardware_model = $7 WHERE id = $8 AND version = $9",
    )
    .bind(node.system_uuid.map(|uuid| uuid.to_string()))
    .bind(node.serial.clone())
    .bind(to_json("node", node)?)
    .bind(i64::from(node.approved))
    .bind(node.assignment.pool.to_string())
    .bind(rack(node))
    .bind(hardware_model(node).unwrap_or_default())
    .bind(node.id.to_string())
    .bind(node.version)
    .execute(connection)
    .await
    .doing("write a node")?;
    if done.rows_affected() != 1 {
        return Err(StoreError::Changed { what: format!("node {}", node.id) });
    }
    node.version += 1;
    Ok(())
}

/// Fills the columns that nodes are counted by, where a database was written before there were any. They follow
/// from the record; one that cannot be read stays uncounted.
///
/// # Errors
/// If the database fails.
pub async fn fill_columns(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let rows = sqlx::query("SELECT version, body FROM nodes WHERE pool = ''")
        .fetch_all(&mut *connection)
        .await
        .doing("read nodes that are not counted")?;
    for node in rows.iter().filter_map(|row| read_record(row).ok()) {
        sqlx::query(
            "UPDATE nodes SET approved = $1, pool = $2, rack = $3, hardware_model = $4 WHERE id = $5",
        )
        .bind(i64::from(node.approved))
        .bind(node.assignment.pool.to_string())
        .bind(rack(&node))
        .bind(hardware_model(&node).unwrap_or_default())
        .bind(node.id.to_string())
        .execute(&mut *connection)
        .await
        .doing("count a node")?;
    }
    Ok(())
}

/// Records more addresses of a node. An address that another node has stays there.
///
/// # Errors
/// If the database fails.
pub async fn add_macs(
    connection: &mut AnyConnection,
    node: &mut NodeRecord,
    macs: &[MacAddress],
) -> Result<(), StoreError> {
    for mac in macs {
        if node.macs.len() >= MACS_MAX || node.macs.contains(mac) {
            continue;
        }
        let done = sqlx::query("INSERT INTO macs (mac, node) VALUES ($1, $2) ON CONFLICT (mac) DO NOTHING")
            .bind(mac.to_string())
            .bind(node.id.to_string())
            .execute(&mut *connection)
            .await
            .doing("record an address")?;
        if done.rows_affected() == 1 {
            node.macs.push(*mac);
        }
    }
    Ok(())
}

/// A node without its addresses.
pub(super) fn read_record(row: &sqlx::any::AnyRow) -> Result<NodeRecord, StoreError> {
    let body: String = row.try_get("body").doing("read a node")?;
    let mut node: NodeRecord = from_json("node", &body)?;
    node.version = row.try_get("version").doing("read a node")?;
    Ok(node)
}

async fn read_row(connection: &mut AnyConnection, row: sqlx::any::AnyRow) -> Result<NodeRecord, StoreError> {
    let mut node = read_record(&row)?;
    let rows = sqlx::query("SELECT mac FROM macs WHERE node = $1 ORDER BY mac")
        .bind(node.id.to_string())
        .fetch_all(connection)
        .await
        .doing("read addresses")?;
    for row in rows {
        let mac: String = row.try_get("mac").doing("read addresses")?;
        node.macs.push(from_text("address", &mac)?);
    }
    Ok(node)
}

/// The node with this id.
///
/// # Errors
/// If the database fails.
pub async fn by_id(connection: &mut AnyConnection, id: NodeId) -> Result<Option<NodeRecord>, StoreError> {
    let row = sqlx::query("SELECT version, body FROM nodes WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut *connection)
        .await
        .doing("read a node")?;
    match row {
        Some(row) => read_row(connection, row).await.map(Some),
        None => Ok(None),
    }
}

/// The node that has this address.
///
/// # Errors
/// If the database fails.
pub async fn by_mac(
    connection: &mut AnyConnection,
    mac: MacAddress,
) -> Result<Option<NodeRecord>, StoreError> {
    let row =
        sqlx::query("SELECT n.version, n.body FROM nodes n JOIN macs m ON m.node = n.id WHERE m.mac = $1")
            .bind(mac.to_string())
            .fetch_optional(&mut *connection)
            .await
            .doing("read a node")?;
    match row {
        Some(row) => read_row(connection, row).await.map(Some),
        None => Ok(None),
    }
}

/// The ids of nodes that a technician's reference may mean: an id, a start of one, a serial or an
/// address. At most two, which is enough to know that it is ambiguous.
///
/// # Errors
/// If the database fails.
pub async fn matching(connection: &mut AnyConnection, reference: &str) -> Result<Vec<NodeId>, StoreError> {
    let mac = reference.parse::<MacAddress>().map(|mac| mac.to_string()).unwrap_or_default();
    // A start of an id holds hexadecimal digits and dashes only, so it has no wildcard of LIKE in it.
    let start = reference.len() >= 4 && reference.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let pattern = if start { format!("{}%", reference.to_ascii_lowercase()) } else { String::new() };
    let rows = sqlx::query(
        "SELECT DISTINCT n.id FROM nodes n LEFT JOIN macs m ON m.node = n.id \
         WHERE n.serial = $1 OR m.mac = $2 OR n.id LIKE $3 LIMIT 2",
    )
    .bind(reference.to_owned())
    .bind(mac)
    .bind(pattern)
    .fetch_all(connection)
    .await
    .doing("look a node up")?;
    rows.iter()
        .map(|row| {
            let id: String = row.try_get("id").doing("look a node up")?;
            from_text("node id", &id)
        })
        .collect()
}

/// All nodes, oldest first, in two questions however many they are.
///
/// # Errors
/// If the database fails.
pub async fn all(connection: &mut AnyConnection) -> Result<Vec<NodeRecord>, StoreError> {
    let rows = sqlx::query("SELECT version, body FROM nodes ORDER BY first_seen, id")
        .fetch_all(&mut *connection)
        .await
        .doing("list nodes")?;
    let mut nodes = rows.iter().map(read_record).collect::<Result<Vec<_>, _>>()?;
    let rows = sqlx::query("SELECT mac, node FROM macs ORDER BY mac")
        .fetch_all(connection)
        .await
        .doing("read addresses")?;
    let mut macs: HashMap<NodeId, Vec<MacAddress>> = HashMap::with_capacity(nodes.len());
    for row in rows {
        let mac: String = row.try_get("mac").doing("read addresses")?;
        let node: String = row.try_get("node").doing("read addresses")?;
        macs.entry(from_text("node id", &node)?).or_default().push(from_text("address", &mac)?);
    }
    for node in &mut nodes {
        node.macs = macs.remove(&node.id).unwrap_or_default();
    }
    Ok(nodes)
}

/// How many nodes there are.
///
/// # Errors
/// If the database fails.
pub async fn count(connection: &mut AnyConnection) -> Result<u64, StoreError> {
    let row =
        sqlx::query("SELECT COUNT(*) AS n FROM nodes").fetch_one(connection).await.doing("count nodes")?;
    Ok(super::from_db(row.try_get("n").doing("count nodes")?))
}
