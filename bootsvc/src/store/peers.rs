//! What nodes' parts measured when they were last found right, and the middle of it for each hardware model.
//!
//! A node has one value for each model, reading and depth. Middles are kept beside, so that a context reads a
//! few rows and not those of all nodes.

use contract::assignment::PeerValue;
use contract::id::{Digest, NodeId, UnixMillis};
use contract::reading::{ReadingKey, Tier};
use sqlx::{AnyConnection, Row};
use verdict::peers::{HardwareModel, Middle, PeerMeasure};

use crate::store::{Doing, StoreError, from_db, from_json, to_db, to_json};

/// How many values a node keeps, newest first. A server with several kinds of disks has under two hundred.
const KEPT_PER_NODE: i64 = 1_000;
/// The middle is that of so many nodes, those seen last: more would tell no more, and cost more.
const NODES_MAX: i64 = 1_000;
/// A node that was not seen for so long says nothing of today.
const KEPT_MILLIS: u64 = 180 * 86_400_000;
/// A middle of many nodes is renewed no more often than this.
const RENEWED_EVERY_MILLIS: u64 = 60_000;
/// One of fewer nodes is renewed at once.
const NODES_MANY: u64 = 100;

/// Which rows a value is among: the model in two columns, so that no disk can call itself a machine.
struct Place {
    machine: i64,
    hardware_model: String,
    reading: String,
    tier: String,
}

impl Place {
    fn of(measure: &PeerMeasure) -> Result<Self, StoreError> {
        let (machine, hardware_model) = columns(&measure.hardware_model);
        Ok(Self {
            machine,
            hardware_model: hardware_model.to_owned(),
            reading: to_json("reading", &measure.key)?,
            tier: to_json("tier", &measure.tier)?,
        })
    }
}

fn columns(model: &HardwareModel) -> (i64, &str) {
    match model {
        HardwareModel::Machine(name) => (1, name),
        HardwareModel::Part(name) => (0, name),
    }
}

/// Takes a node's values in, and renews the middles that they belong to where these are old.
///
/// # Errors
/// If the database fails.
pub async fn learn(
    connection: &mut AnyConnection,
    node: NodeId,
    measures: &[PeerMeasure],
    now: UnixMillis,
) -> Result<(), StoreError> {
    let most = usize::try_from(KEPT_PER_NODE).unwrap_or(usize::MAX);
    for measure in measures.iter().take(most) {
        let place = Place::of(measure)?;
        sqlx::query(
            "INSERT INTO peer_values (node, machine, hardware_model, reading, tier, value, taken_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (node, machine, hardware_model, reading, tier) \
             DO UPDATE SET value = excluded.value, taken_at = excluded.taken_at",
        )
        .bind(node.to_string())
        .bind(place.machine)
        .bind(place.hardware_model.clone())
        .bind(place.reading.clone())
        .bind(place.tier.clone())
        .bind(to_db(measure.value))
        .bind(to_db(now.0))
        .execute(&mut *connection)
        .await
        .doing("write what a node measured")?;
        if is_old(connection, &place, now).await? {
            renew(connection, &place, now).await?;
        }
    }
    forget(connection, node, now).await
}

async fn is_old(connection: &mut AnyConnection, place: &Place, now: UnixMillis) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT nodes, renewed_at FROM peer_middles \
         WHERE machine = $1 AND hardware_model = $2 AND reading = $3 AND tier = $4",
    )
    .bind(place.machine)
    .bind(place.hardware_model.clone())
    .bind(place.reading.clone())
    .bind(place.tier.clone())
    .fetch_optional(connection)
    .await
    .doing("read what is usual")?;
    let Some(row) = row else { return Ok(true) };
    let nodes = from_db(row.try_get("nodes").doing("read what is usual")?);
    let renewed_at = UnixMillis(from_db(row.try_get("renewed_at").doing("read what is usual")?));
    let age_millis = now.millis_since(renewed_at).max(renewed_at.millis_since(now));
    Ok(nodes < NODES_MANY || age_millis >= RENEWED_EVERY_MILLIS)
}

async fn renew(connection: &mut AnyConnection, place: &Place, now: UnixMillis) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "SELECT value FROM peer_values WHERE machine = $1 AND hardware_model = $2 AND reading = $3 \
         AND tier = $4 AND taken_at >= $5 ORDER BY taken_at DESC, node LIMIT $6",
    )
    .bind(place.machine)
    .bind(place.hardware_model.clone())
    .bind(place.reading.clone())
    .bind(place.tier.clone())
    .bind(to_db(now.0.saturating_sub(KEPT_MILLIS)))
    .bind(NODES_MAX)
    .fetch_all(&mut *connection)
    .await
    .doing("read what nodes measured")?;
    let value = |row: &sqlx::any::AnyRow| row.try_get::<i64, _>("value").doing("read what nodes measured");
    let values = rows.iter().map(|row| value(row).map(from_db)).collect::<Result<Vec<u64>, _>>()?;
    let Some(Middle { median, median_deviation }) = verdict::peers::middle(&values) else { return Ok(()) };
    sqlx::query(
        "INSERT INTO peer_middles (machine, hardware_model, reading, tier, median, median_deviation, nodes, \
         renewed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (machine, hardware_model, reading, tier) DO UPDATE SET median = excluded.median, \
         median_deviation = excluded.median_deviation, nodes = excluded.nodes, \
         renewed_at = excluded.renewed_at",
    )
    .bind(place.machine)
    .bind(place.hardware_model.clone())
    .bind(place.reading.clone())
    .bind(place.tier.clone())
    .bind(to_db(median))
    .bind(to_db(median_deviation))
    .bind(to_db(values.len() as u64))
    .bind(to_db(now.0))
    .execute(connection)
    .await
    .doing("write what is usual")?;
    Ok(())
}

/// Keeps the tables bounded, whatever parts call themselves at each boot.
async fn forget(connection: &mut AnyConnection, node: NodeId, now: UnixMillis) -> Result<(), StoreError> {
    let mut forgotten = sqlx::query(
        "DELETE FROM peer_values WHERE node = $1 AND taken_at < (SELECT MIN(taken_at) FROM \
         (SELECT taken_at FROM peer_values WHERE node = $1 ORDER BY taken_at DESC LIMIT $2) AS newest)",
    )
    .bind(node.to_string())
    .bind(KEPT_PER_NODE)
    .execute(&mut *connection)
    .await
    .doing("forget what a node measured")?
    .rows_affected();
    let before = to_db(now.0.saturating_sub(KEPT_MILLIS));
    for (statement, doing) in [
        ("DELETE FROM peer_values WHERE taken_at < $1", "forget what nodes measured long ago"),
        ("DELETE FROM peer_middles WHERE renewed_at < $1", "forget what was usual long ago"),
    ] {
        forgotten +=
            sqlx::query(statement).bind(before).execute(&mut *connection).await.doing(doing)?.rows_affected();
    }
    if forgotten == 0 {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM peer_middles WHERE NOT EXISTS (SELECT 1 FROM peer_values v \
         WHERE v.machine = peer_middles.machine AND v.hardware_model = peer_middles.hardware_model \
         AND v.reading = peer_middles.reading AND v.tier = peer_middles.tier)",
    )
    .execute(connection)
    .await
    .doing("forget what was usual for hardware that is gone")?;
    Ok(())
}

/// What is usual for these models, ordered by model, key and depth.
///
/// # Errors
/// If the database fails.
pub async fn usual(
    connection: &mut AnyConnection,
    models: &[HardwareModel],
) -> Result<Vec<PeerValue>, StoreError> {
    let mut usual = Vec::new();
    for model in models {
        let (machine, name) = columns(model);
        let rows = sqlx::query(
            "SELECT reading, tier, median, median_deviation, nodes FROM peer_middles \
             WHERE machine = $1 AND hardware_model = $2",
        )
        .bind(machine)
        .bind(name)
        .fetch_all(&mut *connection)
        .await
        .doing("read what is usual")?;
        for row in &rows {
            usual.push(read(row, if machine == 1 { "" } else { name })?);
        }
    }
    usual.sort_by(|a, b| (&a.hardware_model, a.key, a.tier).cmp(&(&b.hardware_model, b.key, b.tier)));
    Ok(usual)
}

fn read(row: &sqlx::any::AnyRow, hardware_model: &str) -> Result<PeerValue, StoreError> {
    let text = |column| row.try_get::<String, _>(column).doing("read what is usual");
    let number = |column| row.try_get::<i64, _>(column).doing("read what is usual").map(from_db);
    Ok(PeerValue {
        hardware_model: hardware_model.to_owned(),
        key: from_json::<ReadingKey>("reading", &text("reading")?)?,
        tier: from_json::<Tier>("tier", &text("tier")?)?,
        median: number("median")?,
        median_deviation: number("median_deviation")?,
        nodes: number("nodes")?,
    })
}

/// Keeps with a session what its agent was told is usual.
///
/// # Errors
/// If the database fails.
pub async fn freeze(
    connection: &mut AnyConnection,
    session: Digest,
    peers: &[PeerValue],
) -> Result<(), StoreError> {
    sqlx::query("UPDATE sessions SET peers = $1 WHERE hash = $2")
        .bind(to_json("peers", &peers)?)
        .bind(session.to_string())
        .execute(connection)
        .await
        .doing("keep what a session was told")?;
    Ok(())
}

/// What the agent of a node's session in the ramdisk was told is usual; nothing if it has none.
///
/// # Errors
/// If the database fails.
pub async fn frozen(connection: &mut AnyConnection, node: NodeId) -> Result<Vec<PeerValue>, StoreError> {
    let row = sqlx::query("SELECT peers FROM sessions WHERE node = $1")
        .bind(node.to_string())
        .fetch_optional(connection)
        .await
        .doing("read what a session was told")?;
    let Some(row) = row else { return Ok(Vec::new()) };
    from_json("peers", &row.try_get::<String, _>("peers").doing("read what a session was told")?)
}
