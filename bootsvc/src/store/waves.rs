//! Images that go to a pool in stages.

use contract::decision::{Action, Decision};
use contract::id::{EvidenceId, ImageId, NodeId, PoolName, UnixMillis, WaveId};
use contract::wave::{NodeResult, WaveState};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, from_json, from_text, to_db, to_json};

/// How many waves a list shows.
const LISTED_MAX: i64 = 100;
/// How many events one wave keeps; what comes later is dropped, the first ones explain most.
const EVENTS_MAX: usize = 200;
/// How many new verdicts are read in one go; those left out come next.
const VERDICTS_MAX: i64 = 1000;

/// Everything that is known about a wave, without its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveRecord {
    /// Its id.
    pub id: WaveId,
    /// Counts changes; set by the store.
    #[serde(skip)]
    pub version: i64,
    /// In which pool.
    pub pool: PoolName,
    /// Which image.
    pub image: ImageId,
    /// When it began.
    pub started_at: UnixMillis,
    /// Where it stands.
    pub state: WaveState,
    /// What happened, oldest first.
    pub events: Vec<(UnixMillis, String)>,
}

impl WaveRecord {
    /// Writes down that something happened.
    pub fn note(&mut self, at: UnixMillis, text: impl Into<String>) {
        if self.events.len() < EVENTS_MAX {
            self.events.push((at, text.into()));
        }
    }
}

/// Records a new wave with its nodes, in the order in which they come.
///
/// # Errors
/// If the database fails; a second open wave in a pool is refused by the database.
pub async fn insert(
    connection: &mut AnyConnection,
    wave: &WaveRecord,
    nodes: &[NodeId],
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO waves (id, version, is_open, pool, started_at, body) VALUES ($1, 0, 1, $2, $3, $4)",
    )
    .bind(wave.id.to_string())
    .bind(wave.pool.to_string())
    .bind(to_db(wave.started_at.0))
    .bind(to_json("wave", wave)?)
    .execute(&mut *connection)
    .await
    .doing("record a wave")?;
    for (place, node) in nodes.iter().enumerate() {
        sqlx::query("INSERT INTO wave_nodes (wave, node, place, result) VALUES ($1, $2, $3, $4)")
            .bind(wave.id.to_string())
            .bind(node.to_string())
            .bind(to_db(place as u64))
            .bind(to_json("result", &NodeResult::Waiting)?)
            .execute(&mut *connection)
            .await
            .doing("record a wave's node")?;
    }
    Ok(())
}

/// Writes a wave back.
///
/// # Errors
/// [`StoreError::Changed`] if somebody else wrote it since it was read.
pub async fn save(connection: &mut AnyConnection, wave: &mut WaveRecord) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE waves SET version = version + 1, is_open = $1, body = $2 WHERE id = $3 AND version = $4",
    )
    .bind(i64::from(!matches!(wave.state, WaveState::Ended(_))))
    .bind(to_json("wave", wave)?)
    .bind(wave.id.to_string())
    .bind(wave.version)
    .execute(connection)
    .await
    .doing("write a wave")?;
    if done.rows_affected() != 1 {
        return Err(StoreError::Changed { what: format!("wave {}", wave.id) });
    }
    wave.version += 1;
    Ok(())
}

fn read_row(row: &sqlx::any::AnyRow) -> Result<WaveRecord, StoreError> {
    let body: String = row.try_get("body").doing("read a wave")?;
    let mut wave: WaveRecord = from_json("wave", &body)?;
    wave.version = row.try_get("version").doing("read a wave")?;
    Ok(wave)
}

/// The wave with this id.
///
/// # Errors
/// If the database fails.
pub async fn by_id(connection: &mut AnyConnection, id: WaveId) -> Result<Option<WaveRecord>, StoreError> {
    let row = sqlx::query("SELECT version, body FROM waves WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a wave")?;
    row.as_ref().map(read_row).transpose()
}

/// The waves that have not ended.
///
/// # Errors
/// If the database fails.
pub async fn open(connection: &mut AnyConnection) -> Result<Vec<WaveRecord>, StoreError> {
    let rows = sqlx::query("SELECT version, body FROM waves WHERE is_open = 1 ORDER BY started_at, id")
        .fetch_all(connection)
        .await
        .doing("list waves")?;
    rows.iter().map(read_row).collect()
}

/// Open ones, then the newest.
///
/// # Errors
/// If the database fails.
pub async fn newest(connection: &mut AnyConnection) -> Result<Vec<WaveRecord>, StoreError> {
    let rows =
        sqlx::query("SELECT version, body FROM waves ORDER BY is_open DESC, started_at DESC, id LIMIT $1")
            .bind(LISTED_MAX)
            .fetch_all(connection)
            .await
            .doing("list waves")?;
    rows.iter().map(read_row).collect()
}

/// What became of each node, in the order in which they come.
///
/// # Errors
/// If the database fails.
pub async fn nodes(
    connection: &mut AnyConnection,
    wave: WaveId,
) -> Result<Vec<(NodeId, NodeResult)>, StoreError> {
    let rows = sqlx::query("SELECT node, result FROM wave_nodes WHERE wave = $1 ORDER BY place")
        .bind(wave.to_string())
        .fetch_all(connection)
        .await
        .doing("read a wave's nodes")?;
    rows.iter()
        .map(|row| {
            let text = |column: &str| row.try_get::<String, _>(column).doing("read a wave's nodes");
            Ok((from_text("node id", &text("node")?)?, from_json("result", &text("result")?)?))
        })
        .collect()
}

/// Says what became of a node.
///
/// # Errors
/// If the database fails.
pub async fn set_result(
    connection: &mut AnyConnection,
    wave: WaveId,
    node: NodeId,
    result: &NodeResult,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE wave_nodes SET result = $1 WHERE wave = $2 AND node = $3")
        .bind(to_json("result", result)?)
        .bind(wave.to_string())
        .bind(node.to_string())
        .execute(connection)
        .await
        .doing("write a wave's node")?;
    Ok(())
}

/// The newest verdicts of nodes that have the image, where the wave has not looked at them yet.
///
/// # Errors
/// If the database fails.
pub async fn new_verdicts(connection: &mut AnyConnection, wave: WaveId) -> Result<Vec<Decision>, StoreError> {
    let rows = sqlx::query(
        "SELECT d.body FROM wave_nodes w JOIN decisions d ON d.evidence = (SELECT newest.evidence \
         FROM decisions newest WHERE newest.node = w.node ORDER BY newest.received_at DESC, newest.evidence \
         LIMIT 1) WHERE w.wave = $1 AND w.result LIKE '{\"result\":\"good\"%' AND d.evidence <> w.seen \
         ORDER BY w.place LIMIT $2",
    )
    .bind(wave.to_string())
    .bind(VERDICTS_MAX)
    .fetch_all(connection)
    .await
    .doing("read new verdicts of a wave's nodes")?;
    rows.iter()
        .map(|row| {
            let body: String = row.try_get("body").doing("read new verdicts of a wave's nodes")?;
            from_json("decision", &body)
        })
        .collect()
}

/// Says which verdict of a node was looked at last.
///
/// # Errors
/// If the database fails.
pub async fn set_seen(
    connection: &mut AnyConnection,
    wave: WaveId,
    node: NodeId,
    verdict: EvidenceId,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE wave_nodes SET seen = $1 WHERE wave = $2 AND node = $3")
        .bind(verdict.to_string())
        .bind(wave.to_string())
        .bind(node.to_string())
        .execute(connection)
        .await
        .doing("write which verdict of a wave's node was seen")?;
    Ok(())
}

/// The nodes of a wave that were taken out, or failed, since a time.
///
/// # Errors
/// If the database fails.
pub async fn failed_since(
    connection: &mut AnyConnection,
    wave: WaveId,
    since: UnixMillis,
) -> Result<Vec<NodeId>, StoreError> {
    let rows = sqlx::query(
        "SELECT DISTINCT l.node FROM ledger l JOIN wave_nodes w ON w.node = l.node AND w.wave = $1 \
         WHERE (l.at >= $2 AND l.action = $3) \
         OR (l.aftermath_at >= $2 AND l.aftermath LIKE '{\"aftermath\":\"failed\"%')",
    )
    .bind(wave.to_string())
    .bind(to_db(since.0))
    .bind(to_json("action", &Action::Quarantine)?)
    .fetch_all(connection)
    .await
    .doing("look for nodes that failed")?;
    rows.iter()
        .map(|row| {
            let node: String = row.try_get("node").doing("look for nodes that failed")?;
            from_text("node id", &node)
        })
        .collect()
}
