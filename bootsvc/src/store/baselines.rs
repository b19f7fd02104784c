//! What a node's counters said when they were last found right. Written in the transaction that records the
//! evidence or the person's word, so that both are known after a crash or neither is.

use contract::assignment::Baseline;
use contract::id::{NodeId, UnixMillis};
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, from_json, to_db, to_json};

/// How many a node keeps. A server with forty disks and eight GPUs has under a thousand; what is left out has
/// no baseline, so that all of it counts.
pub const KEPT_PER_NODE: usize = 5_000;

/// A node's baselines, ordered by subject and key.
///
/// # Errors
/// If the database fails.
pub async fn of(connection: &mut AnyConnection, node: NodeId) -> Result<Vec<Baseline>, StoreError> {
    let row = sqlx::query("SELECT body FROM baselines WHERE node = $1")
        .bind(node.to_string())
        .fetch_optional(connection)
        .await
        .doing("read baselines")?;
    match row {
        Some(row) => from_json("baselines", &row.try_get::<String, _>("body").doing("read baselines")?),
        None => Ok(Vec::new()),
    }
}

/// Replaces a node's baselines.
///
/// # Errors
/// If the database fails.
pub async fn set(
    connection: &mut AnyConnection,
    node: NodeId,
    baselines: &[Baseline],
    now: UnixMillis,
) -> Result<(), StoreError> {
    let kept = baselines.get(..KEPT_PER_NODE).unwrap_or(baselines);
    sqlx::query(
        "INSERT INTO baselines (node, changed_at, body) VALUES ($1, $2, $3) \
         ON CONFLICT (node) DO UPDATE SET changed_at = excluded.changed_at, body = excluded.body",
    )
    .bind(node.to_string())
    .bind(to_db(now.0))
    .bind(to_json("baselines", &kept)?)
    .execute(connection)
    .await
    .doing("write baselines")?;
    Ok(())
}
