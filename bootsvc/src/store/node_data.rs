//! What belongs to one node and not to its image.

use contract::id::{Digest, NodeId, TenantId, UnixMillis};
use contract::node_data::NodeData;
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, from_db, from_json, from_text, to_db, to_json};

/// A node's data as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDataRow {
    /// The tenant that they belong to.
    pub tenant: TenantId,
    /// When they were set.
    pub changed_at: UnixMillis,
    /// Drawn at random whenever the data become others.
    pub instance: Digest,
    /// Digest of the volume that was written and read back last.
    pub written: Option<Digest>,
    /// The data, secrets and all.
    pub data: NodeData,
}

/// Sets a node's data. What was written last stays known, so `written` of the row is not looked at.
///
/// # Errors
/// If the database fails.
pub async fn put(connection: &mut AnyConnection, node: NodeId, row: &NodeDataRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO node_data (node, tenant, changed_at, instance, body) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (node) DO UPDATE SET tenant = excluded.tenant, changed_at = excluded.changed_at, \
         instance = excluded.instance, body = excluded.body",
    )
    .bind(node.to_string())
    .bind(row.tenant.to_string())
    .bind(to_db(row.changed_at.0))
    .bind(row.instance.to_string())
    .bind(to_json("node data", &row.data)?)
    .execute(connection)
    .await
    .doing("write a node's data")?;
    Ok(())
}

/// A node's data.
///
/// # Errors
/// If the database fails.
pub async fn of(connection: &mut AnyConnection, node: NodeId) -> Result<Option<NodeDataRow>, StoreError> {
    let doing = "read a node's data";
    let row =
        sqlx::query("SELECT tenant, changed_at, instance, written, body FROM node_data WHERE node = $1")
            .bind(node.to_string())
            .fetch_optional(connection)
            .await
            .doing(doing)?;
    let Some(row) = row else { return Ok(None) };
    let tenant: String = row.try_get("tenant").doing(doing)?;
    let written: Option<String> = row.try_get("written").doing(doing)?;
    let instance: String = row.try_get("instance").doing(doing)?;
    let body: String = row.try_get("body").doing(doing)?;
    Ok(Some(NodeDataRow {
        tenant: from_text("tenant", &tenant)?,
        changed_at: UnixMillis(from_db(row.try_get("changed_at").doing(doing)?)),
        instance: from_text("digest", &instance)?,
        written: written.map(|text| from_text("digest", &text)).transpose()?,
        data: from_json("node data", &body)?,
    }))
}

/// Forgets a node's data; whether there were any.
///
/// # Errors
/// If the database fails.
pub async fn remove(connection: &mut AnyConnection, node: NodeId) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM node_data WHERE node = $1")
        .bind(node.to_string())
        .execute(connection)
        .await
        .doing("forget a node's data")?;
    Ok(done.rows_affected() > 0)
}

/// Records which volume was written and read back; none if nothing is known to stand there.
///
/// # Errors
/// If the database fails.
pub async fn set_written(
    connection: &mut AnyConnection,
    node: NodeId,
    written: Option<Digest>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE node_data SET written = $1 WHERE node = $2")
        .bind(written.map(|digest| digest.to_string()))
        .bind(node.to_string())
        .execute(connection)
        .await
        .doing("record what was written of a node's data")?;
    Ok(())
}
