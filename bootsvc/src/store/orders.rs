//! Signed orders and the steps that were begun under them.

use contract::id::{Digest, JobId, NodeId, OrderId, PlanDigest, UnixMillis};
use contract::order::SignedOrder;
use contract::plan::Plan;
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, from_db, from_json, from_text, to_db, to_json};

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// Its id.
    pub id: OrderId,
    /// In which job.
    pub job: JobId,
    /// For which node.
    pub node: NodeId,
    /// BLAKE3 of the bearer of the session that it was given to.
    pub session: Digest,
    /// The nonce of the boot that it was given to. One order for each boot.
    pub nonce: Digest,
    /// Digest of the plan.
    pub plan_digest: PlanDigest,
    /// The plan.
    pub plan: Plan,
    /// What was signed and sent.
    pub signed: SignedOrder,
    /// When.
    pub issued_at: UnixMillis,
    /// Until when.
    pub expires_at: UnixMillis,
    /// When it was finished, failed, refused or taken back.
    pub ended_at: Option<UnixMillis>,
}

/// Records an order.
///
/// # Errors
/// If the database fails; a second order for the same boot is refused by the database.
pub async fn insert(connection: &mut AnyConnection, order: &OrderRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO orders (id, job, node, session, nonce, plan_digest, plan, payload, signature, issued_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(order.id.to_string())
    .bind(order.job.to_string())
    .bind(order.node.to_string())
    .bind(order.session.to_string())
    .bind(order.nonce.to_string())
    .bind(order.plan_digest.to_string())
    .bind(to_json("plan", &order.plan)?)
    .bind(order.signed.payload.clone())
    .bind(order.signed.signature.clone())
    .bind(to_db(order.issued_at.0))
    .bind(to_db(order.expires_at.0))
    .execute(connection)
    .await
    .doing("record an order")?;
    Ok(())
}

fn read_row(row: &sqlx::any::AnyRow) -> Result<OrderRow, StoreError> {
    let text = |column: &str| -> Result<String, StoreError> { row.try_get(column).doing("read an order") };
    let time = |column: &str| -> Result<UnixMillis, StoreError> {
        Ok(UnixMillis(from_db(row.try_get(column).doing("read an order")?)))
    };
    let ended_at: Option<i64> = row.try_get("ended_at").doing("read an order")?;
    Ok(OrderRow {
        id: from_text("order id", &text("id")?)?,
        job: from_text("job id", &text("job")?)?,
        node: from_text("node id", &text("node")?)?,
        session: from_text("session", &text("session")?)?,
        nonce: from_text("nonce", &text("nonce")?)?,
        plan_digest: from_text("plan digest", &text("plan_digest")?)?,
        plan: from_json("plan", &text("plan")?)?,
        signed: SignedOrder { payload: text("payload")?, signature: text("signature")? },
        issued_at: time("issued_at")?,
        expires_at: time("expires_at")?,
        ended_at: ended_at.map(|at| UnixMillis(from_db(at))),
    })
}

/// The order with this id.
///
/// # Errors
/// If the database fails.
pub async fn by_id(connection: &mut AnyConnection, id: OrderId) -> Result<Option<OrderRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM orders WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read an order")?;
    row.as_ref().map(read_row).transpose()
}

/// The order that was given to this boot.
///
/// # Errors
/// If the database fails.
pub async fn by_nonce(connection: &mut AnyConnection, nonce: Digest) -> Result<Option<OrderRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM orders WHERE nonce = $1")
        .bind(nonce.to_string())
        .fetch_optional(connection)
        .await
        .doing("read an order")?;
    row.as_ref().map(read_row).transpose()
}

/// Ends an order. Nothing may begin under it any more.
///
/// # Errors
/// If the database fails.
pub async fn end(connection: &mut AnyConnection, id: OrderId, now: UnixMillis) -> Result<(), StoreError> {
    sqlx::query("UPDATE orders SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL")
        .bind(to_db(now.0))
        .bind(id.to_string())
        .execute(connection)
        .await
        .doing("end an order")?;
    Ok(())
}

/// Records that a step has begun. Saying so twice changes nothing.
///
/// # Errors
/// If the database fails.
pub async fn begin_step(
    connection: &mut AnyConnection,
    id: OrderId,
    step: u32,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO begun_steps (order_id, step, begun_at) VALUES ($1, $2, $3) ON CONFLICT (order_id, step) DO NOTHING")
        .bind(id.to_string())
        .bind(i64::from(step))
        .bind(to_db(now.0))
        .execute(connection)
        .await
        .doing("record that a step has begun")?;
    Ok(())
}

/// How many steps have begun.
///
/// # Errors
/// If the database fails.
pub async fn begun_steps(connection: &mut AnyConnection, id: OrderId) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM begun_steps WHERE order_id = $1")
        .bind(id.to_string())
        .fetch_one(connection)
        .await
        .doing("count begun steps")?;
    Ok(from_db(row.try_get("n").doing("count begun steps")?))
}
