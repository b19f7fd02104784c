//! Verdicts that decided something, and what became of them.

use contract::id::{EvidenceId, NodeId, UnixMillis};
use contract::ledger::{Aftermath, LedgerEntry};
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, from_db, from_json, to_db, to_json};

/// How many entries are read in one go.
const BATCH: i64 = 1000;
/// How many entries of one node are looked at, newest first.
const OF_NODE_MAX: i64 = 100;

/// Where reading goes on: behind the entry of then with this evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    at: i64,
    evidence: String,
}

/// The place of an entry; none if there is none for this evidence.
///
/// # Errors
/// If the database fails.
pub async fn place_of(
    connection: &mut AnyConnection,
    evidence: EvidenceId,
) -> Result<Option<Place>, StoreError> {
    let row = sqlx::query("SELECT at FROM ledger WHERE evidence = $1")
        .bind(evidence.to_string())
        .fetch_optional(connection)
        .await
        .doing("read the ledger")?;
    let Some(row) = row else { return Ok(None) };
    let at = row.try_get("at").doing("read the ledger")?;
    Ok(Some(Place { at, evidence: evidence.to_string() }))
}

/// Enters a verdict. One that is there already stays as it is.
///
/// # Errors
/// If the database fails.
pub async fn insert(connection: &mut AnyConnection, entry: &LedgerEntry) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO ledger (evidence, node, at, action, pending, aftermath, aftermath_at, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (evidence) DO NOTHING",
    )
    .bind(entry.evidence.to_string())
    .bind(entry.node.to_string())
    .bind(to_db(entry.at.0))
    .bind(to_json("action", &entry.action)?)
    .bind(i64::from(entry.aftermath == Aftermath::Pending))
    .bind(to_json("aftermath", &entry.aftermath)?)
    .bind(to_db(entry.aftermath_at.0))
    .bind(to_json("ledger entry", entry)?)
    .execute(connection)
    .await
    .doing("enter a verdict into the ledger")?;
    Ok(())
}

/// Says what became of a verdict.
///
/// # Errors
/// If the database fails.
pub async fn set_aftermath(
    connection: &mut AnyConnection,
    evidence: EvidenceId,
    aftermath: &Aftermath,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE ledger SET pending = $1, aftermath = $2, aftermath_at = $3 WHERE evidence = $4")
        .bind(i64::from(*aftermath == Aftermath::Pending))
        .bind(to_json("aftermath", aftermath)?)
        .bind(to_db(now.0))
        .bind(evidence.to_string())
        .execute(connection)
        .await
        .doing("say what became of a verdict")?;
    Ok(())
}

fn read_row(row: &sqlx::any::AnyRow) -> Result<LedgerEntry, StoreError> {
    let text = |column: &str| row.try_get::<String, _>(column).doing("read the ledger");
    let mut entry: LedgerEntry = from_json("ledger entry", &text("body")?)?;
    entry.aftermath = from_json("aftermath", &text("aftermath")?)?;
    entry.aftermath_at = UnixMillis(from_db(row.try_get("aftermath_at").doing("read the ledger")?));
    Ok(entry)
}

/// The newest entries of a node, newest first.
///
/// # Errors
/// If the database fails.
pub async fn of_node(connection: &mut AnyConnection, node: NodeId) -> Result<Vec<LedgerEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT body, aftermath, aftermath_at FROM ledger WHERE node = $1 ORDER BY at DESC, evidence LIMIT $2",
    )
    .bind(node.to_string())
    .bind(OF_NODE_MAX)
    .fetch_all(connection)
    .await
    .doing("read the ledger")?;
    rows.iter().map(read_row).collect()
}

/// Entries from a time on and before another, oldest first, a batch; and where to go on, none at the end.
///
/// # Errors
/// If the database fails.
pub async fn between(
    connection: &mut AnyConnection,
    from: UnixMillis,
    until: UnixMillis,
    place: &Place,
) -> Result<(Vec<LedgerEntry>, Option<Place>), StoreError> {
    let rows = sqlx::query(
        "SELECT body, aftermath, aftermath_at, at, evidence FROM ledger WHERE at >= $1 AND at < $2 \
         AND (at > $3 OR (at = $3 AND evidence > $4)) ORDER BY at, evidence LIMIT $5",
    )
    .bind(to_db(from.0))
    .bind(to_db(until.0))
    .bind(place.at)
    .bind(place.evidence.clone())
    .bind(BATCH)
    .fetch_all(connection)
    .await
    .doing("read the ledger")?;
    let next = match rows.last() {
        Some(last) => Some(Place {
            at: last.try_get("at").doing("read the ledger")?,
            evidence: last.try_get("evidence").doing("read the ledger")?,
        }),
        None => None,
    };
    Ok((rows.iter().map(read_row).collect::<Result<_, _>>()?, next))
}
