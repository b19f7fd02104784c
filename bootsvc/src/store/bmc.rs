//! Which node a management controller belongs to, and what agents were told of theirs.

use contract::bmc::BmcView;
use contract::id::{Digest, NodeId};
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use crate::store::{Doing, StoreError, from_json, from_text, to_json};

/// What a node is known by, besides its id.
#[derive(Debug, Clone, Copy)]
pub enum KnownBy<'a> {
    /// SMBIOS system serial number.
    Serial(&'a str),
    /// SMBIOS system UUID.
    SystemUuid(Uuid),
}

/// The nodes that are known by this; at most two, which is enough to know that it is ambiguous.
///
/// # Errors
/// If the database fails.
pub async fn nodes_known_by(
    connection: &mut AnyConnection,
    by: KnownBy<'_>,
) -> Result<Vec<NodeId>, StoreError> {
    let (statement, name) = match by {
        KnownBy::Serial(serial) => ("SELECT id FROM nodes WHERE serial = $1 LIMIT 2", serial.to_owned()),
        KnownBy::SystemUuid(uuid) => {
            ("SELECT id FROM nodes WHERE system_uuid = $1 LIMIT 2", uuid.to_string())
        }
    };
    let rows = sqlx::query(statement).bind(name).fetch_all(connection).await.doing("look a node up")?;
    rows.iter()
        .map(|row| from_text("node id", &row.try_get::<String, _>("id").doing("look a node up")?))
        .collect()
}

/// Keeps with a session what its agent was told of the node's management controller.
///
/// # Errors
/// If the database fails.
pub async fn freeze(
    connection: &mut AnyConnection,
    session: Digest,
    bmc: Option<&BmcView>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE sessions SET bmc = $1 WHERE hash = $2")
        .bind(to_json("what a management controller said", &bmc)?)
        .bind(session.to_string())
        .execute(connection)
        .await
        .doing("keep what a session was told")?;
    Ok(())
}

/// What the agent of a node's session in the ramdisk was told of its management controller.
///
/// # Errors
/// If the database fails.
pub async fn frozen(connection: &mut AnyConnection, node: NodeId) -> Result<Option<BmcView>, StoreError> {
    let row = sqlx::query("SELECT bmc FROM sessions WHERE node = $1")
        .bind(node.to_string())
        .fetch_optional(connection)
        .await
        .doing("read what a session was told")?;
    let Some(row) = row else { return Ok(None) };
    let told: String = row.try_get("bmc").doing("read what a session was told")?;
    from_json("what a management controller said", &told)
}
