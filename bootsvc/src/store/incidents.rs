//! More nodes that wanted the same than the policy lets through, and which nodes are held for it.

use contract::blast_radius::{Alike, Group, IncidentView};
use contract::id::{IncidentId, NodeId, PoolName, UnixMillis, WaveId};
use sqlx::{AnyConnection, Row};

use crate::store::nodes::read_record;
use crate::store::{Doing, StoreError, from_db, from_json, from_text, to_db, to_json};

/// How many incidents a list shows.
const LISTED_MAX: i64 = 100;
/// How many nodes of one incident are told one by one.
pub const NODES_MAX: i64 = 1000;

/// How an incident stands, for a node that wants the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    None,
    /// Nobody has looked yet.
    Open(IncidentId),
    /// A person lets it go on, for now.
    Allowed,
}

/// How it stands with the same among the same nodes.
///
/// # Errors
/// If the database fails.
pub async fn standing(
    connection: &mut AnyConnection,
    group: &Group,
    alike: &Alike,
    now: UnixMillis,
) -> Result<Standing, StoreError> {
    let rows = sqlx::query(
        "SELECT id, is_open FROM incidents WHERE node_group = $1 AND alike = $2 \
         AND (is_open = 1 OR (allowed_until > $3 AND opened_at <= $3)) ORDER BY is_open DESC LIMIT 1",
    )
    .bind(to_json("group", group)?)
    .bind(to_json("what is alike", alike)?)
    .bind(to_db(now.0))
    .fetch_all(connection)
    .await
    .doing("look for an incident")?;
    let Some(row) = rows.first() else { return Ok(Standing::None) };
    let is_open: i64 = row.try_get("is_open").doing("look for an incident")?;
    if is_open == 0 {
        return Ok(Standing::Allowed);
    }
    let id: String = row.try_get("id").doing("look for an incident")?;
    from_text("incident id", &id).map(Standing::Open)
}

/// Records an incident.
///
/// # Errors
/// If the database fails; a second open one for the same is refused by the database.
pub async fn insert(connection: &mut AnyConnection, incident: &IncidentView) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO incidents (id, is_open, opened_at, allowed_until, node_group, alike, body) \
         VALUES ($1, 1, $2, 0, $3, $4, $5)",
    )
    .bind(incident.id.to_string())
    .bind(to_db(incident.opened_at.0))
    .bind(to_json("group", &incident.group)?)
    .bind(to_json("what is alike", &incident.alike)?)
    .bind(to_json("incident", incident)?)
    .execute(connection)
    .await
    .doing("record an incident")?;
    Ok(())
}

/// Closes an incident with what a person said, or writes down what was said of one that was closed before.
///
/// # Errors
/// If the database fails.
pub async fn close(connection: &mut AnyConnection, incident: &IncidentView) -> Result<(), StoreError> {
    let allowed = incident.release.as_ref().map_or(0, |release| release.allowed_until.0);
    sqlx::query("UPDATE incidents SET is_open = 0, allowed_until = $1, body = $2 WHERE id = $3")
        .bind(to_db(allowed))
        .bind(to_json("incident", incident)?)
        .bind(incident.id.to_string())
        .execute(connection)
        .await
        .doing("close an incident")?;
    Ok(())
}

/// Counts nodes that went on after an incident, which is given as it is then; none if there is none.
///
/// # Errors
/// If the database fails.
pub async fn add_released(
    connection: &mut AnyConnection,
    id: IncidentId,
    more: u64,
) -> Result<Option<IncidentView>, StoreError> {
    let Some(mut incident) = by_id(connection, id).await? else { return Ok(None) };
    if let Some(release) = &mut incident.release {
        release.released = release.released.saturating_add(more);
        close(connection, &incident).await?;
    }
    Ok(Some(incident))
}

/// Records that a node is held for an incident.
///
/// # Errors
/// If the database fails.
pub async fn add_node(
    connection: &mut AnyConnection,
    incident: IncidentId,
    node: NodeId,
    reason: &str,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO incident_nodes (incident, node, held_at, reason) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (incident, node) DO UPDATE SET held_at = excluded.held_at, reason = excluded.reason",
    )
    .bind(incident.to_string())
    .bind(node.to_string())
    .bind(to_db(now.0))
    .bind(reason.to_owned())
    .execute(connection)
    .await
    .doing("record that a node is held")?;
    Ok(())
}

/// The nodes that are held for an incident still, with the reason of each, first held first. Those that went on,
/// or are held for something else meanwhile, are not among them.
///
/// # Errors
/// If the database fails.
pub async fn held(
    connection: &mut AnyConnection,
    incident: IncidentId,
) -> Result<Vec<(NodeId, String)>, StoreError> {
    let rows = sqlx::query(
        "SELECT i.node, i.reason, n.version, n.body FROM incident_nodes i JOIN nodes n ON n.id = i.node \
         WHERE i.incident = $1 ORDER BY i.held_at, i.node",
    )
    .bind(incident.to_string())
    .fetch_all(connection)
    .await
    .doing("list held nodes")?;
    let mut held = Vec::new();
    for row in &rows {
        let text = |column: &str| row.try_get::<String, _>(column).doing("list held nodes");
        let (node, reason) = (from_text("node id", &text("node")?)?, text("reason")?);
        // One that cannot be read is not known to have gone on.
        let goes_on = read_record(row).is_ok_and(|node| node.hold_reason.as_ref() != Some(&reason));
        if !goes_on {
            held.push((node, reason));
        }
    }
    Ok(held)
}

async fn read_row(
    connection: &mut AnyConnection,
    row: &sqlx::any::AnyRow,
) -> Result<IncidentView, StoreError> {
    let body: String = row.try_get("body").doing("read an incident")?;
    let mut incident: IncidentView = from_json("incident", &body)?;
    let rows =
        sqlx::query("SELECT node FROM incident_nodes WHERE incident = $1 ORDER BY held_at, node LIMIT $2")
            .bind(incident.id.to_string())
            .bind(NODES_MAX)
            .fetch_all(&mut *connection)
            .await
            .doing("list held nodes")?;
    incident.held = rows
        .iter()
        .map(|row| from_text("node id", &row.try_get::<String, _>("node").doing("list held nodes")?))
        .collect::<Result<_, StoreError>>()?;
    let row = sqlx::query("SELECT COUNT(*) AS n FROM incident_nodes WHERE incident = $1")
        .bind(incident.id.to_string())
        .fetch_one(connection)
        .await
        .doing("count held nodes")?;
    incident.held_total = from_db(row.try_get("n").doing("count held nodes")?);
    Ok(incident)
}

/// The incident with this id.
///
/// # Errors
/// If the database fails.
pub async fn by_id(
    connection: &mut AnyConnection,
    id: IncidentId,
) -> Result<Option<IncidentView>, StoreError> {
    let row = sqlx::query("SELECT body FROM incidents WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut *connection)
        .await
        .doing("read an incident")?;
    match row {
        Some(row) => read_row(connection, &row).await.map(Some),
        None => Ok(None),
    }
}

/// The incidents that nobody has looked at yet, oldest first.
///
/// # Errors
/// If the database fails.
pub async fn open(connection: &mut AnyConnection) -> Result<Vec<IncidentView>, StoreError> {
    list(connection, "SELECT body FROM incidents WHERE is_open = 1 ORDER BY opened_at, id LIMIT $1").await
}

/// The oldest incident that nobody has looked at yet among a pool, the site, or nodes of a wave.
///
/// # Errors
/// If the database fails.
pub async fn open_about(
    connection: &mut AnyConnection,
    pool: &PoolName,
    wave: WaveId,
) -> Result<Option<IncidentView>, StoreError> {
    let row = sqlx::query(
        "SELECT body FROM incidents WHERE is_open = 1 AND (node_group = $1 OR node_group = $2 OR id IN \
         (SELECT i.incident FROM incident_nodes i JOIN wave_nodes w ON w.node = i.node WHERE w.wave = $3)) \
         ORDER BY opened_at, id LIMIT 1",
    )
    .bind(to_json("group", &Group::Pool(pool.clone()))?)
    .bind(to_json("group", &Group::Site)?)
    .bind(wave.to_string())
    .fetch_optional(&mut *connection)
    .await
    .doing("look for an incident")?;
    match row {
        Some(row) => read_row(connection, &row).await.map(Some),
        None => Ok(None),
    }
}

/// Open incidents, then the newest that are closed.
///
/// # Errors
/// If the database fails.
pub async fn newest(connection: &mut AnyConnection) -> Result<Vec<IncidentView>, StoreError> {
    list(connection, "SELECT body FROM incidents ORDER BY is_open DESC, opened_at DESC, id LIMIT $1").await
}

async fn list(
    connection: &mut AnyConnection,
    statement: &'static str,
) -> Result<Vec<IncidentView>, StoreError> {
    let rows =
        sqlx::query(statement).bind(LISTED_MAX).fetch_all(&mut *connection).await.doing("list incidents")?;
    let mut incidents = Vec::new();
    for row in &rows {
        incidents.push(read_row(connection, row).await?);
    }
    Ok(incidents)
}
