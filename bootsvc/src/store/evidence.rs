//! Evidence as it came, and what was judged on it. A bounded number for each node.

use contract::assignment::{NodeContext, PastVerdict};
use contract::decision::Decision;
use contract::evidence::Evidence;
use contract::id::{EvidenceId, JobId, NodeId, UnixMillis};
use contract::operator_api::DecisionView;
use contract::reading::{Tier, Trust};
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, from_db, from_json, from_text, to_db, to_json};

/// How many runs are kept for each node, whatever came of them.
pub const KEPT_PER_NODE: i64 = 100;
/// How many older ones are kept besides, for what the node's history says of weeks: the first and the last of
/// each run of verdicts with one action.
pub const KEPT_FOR_HISTORY: i64 = 100;
/// How many past verdicts a context carries, whatever they say.
pub const HISTORY_NEWEST_MAX: i64 = 20;
/// How many older ones it carries besides, of those that are kept for the history: a repair with what comes before
/// and after it has about five.
pub const HISTORY_OLDER_MAX: i64 = 40;

/// Records evidence and what was judged on it, with the context it was judged in. The same evidence
/// sent again (the answer was lost) replaces what was recorded.
///
/// # Errors
/// If the database fails.
pub async fn record(
    connection: &mut AnyConnection,
    evidence: &Evidence,
    job: Option<JobId>,
    judged: Option<(&Decision, &NodeContext)>,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let node = evidence.node.to_string();
    sqlx::query(
        "INSERT INTO evidence (id, node, job, received_at, resident, body) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (id) DO UPDATE SET job = excluded.job, received_at = excluded.received_at, body = excluded.body",
    )
    .bind(evidence.id.to_string())
    .bind(node.clone())
    .bind(job.map(|job| job.to_string()))
    .bind(to_db(now.0))
    .bind(i64::from(evidence.trust <= Trust::ResidentAttested))
    .bind(to_json("evidence", evidence)?)
    .execute(&mut *connection)
    .await
    .doing("record evidence")?;
    if let Some((decision, context)) = judged {
        record_decision(connection, decision, context, now).await?;
    }
    forget_old(connection, node).await
}

/// Forgets what is beyond the newest runs. A system that is well reports every hour, so that repairs of the same
/// week would be beyond them: of each older run of verdicts with one action the ends are kept, up to a bound.
async fn forget_old(connection: &mut AnyConnection, node: String) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM decisions WHERE node = $1 AND evidence NOT IN \
         (SELECT id FROM evidence WHERE node = $1 ORDER BY received_at DESC, id LIMIT $2) \
         AND evidence NOT IN (SELECT evidence FROM (SELECT evidence, action, \
         ROW_NUMBER() OVER newest AS place, LAG(action) OVER newest AS newer, LEAD(action) OVER newest AS older \
         FROM decisions WHERE node = $1 WINDOW newest AS (ORDER BY received_at DESC, evidence)) AS told \
         WHERE place <= $3 AND NOT (COALESCE(newer, action) = action AND COALESCE(older, action) = action))",
    )
    .bind(node.clone())
    .bind(KEPT_PER_NODE)
    .bind(KEPT_PER_NODE + KEPT_FOR_HISTORY)
    .execute(&mut *connection)
    .await
    .doing("forget old decisions")?;
    sqlx::query(
        "DELETE FROM evidence WHERE node = $1 AND id NOT IN \
         (SELECT id FROM evidence WHERE node = $1 ORDER BY received_at DESC, id LIMIT $2) \
         AND id NOT IN (SELECT evidence FROM decisions WHERE node = $1)",
    )
    .bind(node)
    .bind(KEPT_PER_NODE)
    .execute(connection)
    .await
    .doing("forget old evidence")?;
    Ok(())
}

async fn record_decision(
    connection: &mut AnyConnection,
    decision: &Decision,
    context: &NodeContext,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let because = decision.reasons.first().map(|finding| finding.statement.clone()).unwrap_or_default();
    sqlx::query(
        "INSERT INTO decisions (evidence, node, decided_at, received_at, action, because, context, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (evidence) DO UPDATE SET \
         decided_at = excluded.decided_at, received_at = excluded.received_at, action = excluded.action, \
         because = excluded.because, context = excluded.context, body = excluded.body",
    )
    .bind(decision.evidence.to_string())
    .bind(decision.node.to_string())
    .bind(to_db(decision.decided_at.0))
    .bind(to_db(now.0))
    .bind(to_json("action", &decision.action)?)
    .bind(because)
    .bind(to_json("context", context)?)
    .bind(to_json("decision", decision)?)
    .execute(connection)
    .await
    .doing("record a decision")?;
    Ok(())
}

/// Whose evidence has this id; none if it is not known.
///
/// # Errors
/// If the database fails.
pub async fn owner(connection: &mut AnyConnection, id: EvidenceId) -> Result<Option<NodeId>, StoreError> {
    let row = sqlx::query("SELECT node FROM evidence WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read evidence")?;
    let Some(row) = row else { return Ok(None) };
    let node: String = row.try_get("node").doing("read evidence")?;
    from_text("node id", &node).map(Some)
}

/// The facts that evidence was judged with; none if it was not judged.
///
/// # Errors
/// If the database fails.
pub async fn context(
    connection: &mut AnyConnection,
    id: EvidenceId,
) -> Result<Option<NodeContext>, StoreError> {
    let row = sqlx::query("SELECT context FROM decisions WHERE evidence = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read the facts of a decision")?;
    let Some(row) = row else { return Ok(None) };
    let body: String = row.try_get("context").doing("read the facts of a decision")?;
    from_json("context", &body).map(Some)
}

/// The past verdicts of a node, newest first: the newest as they came, and of the older ones the first and the
/// last of each run of verdicts with one action.
///
/// # Errors
/// If the database fails.
pub async fn history(connection: &mut AnyConnection, node: NodeId) -> Result<Vec<PastVerdict>, StoreError> {
    let rows = sqlx::query(
        "SELECT d.evidence, d.decided_at, d.action, d.because, d.body, e.resident FROM decisions d \
         JOIN evidence e ON e.id = d.evidence WHERE d.node = $1 AND d.evidence IN \
         (SELECT evidence FROM (SELECT evidence, action, \
         ROW_NUMBER() OVER newest AS place, LAG(action) OVER newest AS newer, LEAD(action) OVER newest AS older \
         FROM decisions WHERE node = $1 WINDOW newest AS (ORDER BY received_at DESC, evidence)) AS told \
         WHERE place <= $2 OR NOT (COALESCE(newer, action) = action AND COALESCE(older, action) = action)) \
         ORDER BY d.received_at DESC, d.evidence LIMIT $3",
    )
    .bind(node.to_string())
    .bind(HISTORY_NEWEST_MAX)
    .bind(HISTORY_NEWEST_MAX + HISTORY_OLDER_MAX)
    .fetch_all(connection)
    .await
    .doing("read past verdicts")?;
    rows.iter()
        .map(|row| {
            let evidence: String = row.try_get("evidence").doing("read past verdicts")?;
            let action: String = row.try_get("action").doing("read past verdicts")?;
            let body: String = row.try_get("body").doing("read past verdicts")?;
            let resident: i64 = row.try_get("resident").doing("read past verdicts")?;
            // Of which kind the look was; how deep within that makes no difference to what is remembered.
            let tier = if resident == 0 { Tier::T2 } else { Tier::T1 };
            Ok(PastVerdict {
                evidence: from_text("evidence id", &evidence)?,
                decided_at: UnixMillis(from_db(row.try_get("decided_at").doing("read past verdicts")?)),
                action: from_json("action", &action)?,
                because: row.try_get("because").doing("read past verdicts")?,
                recalled: verdict::recall::recall(&from_json("decision", &body)?, tier),
            })
        })
        .collect()
}

/// The last decision of a node with its evidence.
///
/// # Errors
/// If the database fails.
pub async fn last_decision(
    connection: &mut AnyConnection,
    node: NodeId,
) -> Result<Option<DecisionView>, StoreError> {
    let row = sqlx::query(
        "SELECT d.body AS decision, e.body AS evidence FROM decisions d JOIN evidence e ON e.id = d.evidence \
         WHERE d.node = $1 ORDER BY d.received_at DESC, d.evidence LIMIT 1",
    )
    .bind(node.to_string())
    .fetch_optional(connection)
    .await
    .doing("read a decision")?;
    row.as_ref().map(read_judged).transpose()
}

/// Evidence and what was judged on it.
///
/// # Errors
/// If the database fails.
pub async fn judged(
    connection: &mut AnyConnection,
    id: EvidenceId,
) -> Result<Option<DecisionView>, StoreError> {
    let row = sqlx::query(
        "SELECT d.body AS decision, e.body AS evidence FROM decisions d JOIN evidence e ON e.id = d.evidence \
         WHERE e.id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(connection)
    .await
    .doing("read a decision")?;
    row.as_ref().map(read_judged).transpose()
}

fn read_judged(row: &sqlx::any::AnyRow) -> Result<DecisionView, StoreError> {
    let decision: String = row.try_get("decision").doing("read a decision")?;
    let evidence: String = row.try_get("evidence").doing("read a decision")?;
    Ok(DecisionView {
        decision: from_json("decision", &decision)?,
        evidence: from_json("evidence", &evidence)?,
        names_withheld: false,
    })
}

/// Whether the resident agent has reported since a time.
///
/// # Errors
/// If the database fails.
pub async fn resident_since(
    connection: &mut AnyConnection,
    node: NodeId,
    time: UnixMillis,
) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT 1 AS one FROM evidence WHERE node = $1 AND received_at >= $2 AND resident = 1 LIMIT 1",
    )
    .bind(node.to_string())
    .bind(to_db(time.0))
    .fetch_optional(connection)
    .await
    .doing("look evidence up")?;
    Ok(row.is_some())
}
