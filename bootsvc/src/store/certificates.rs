//! Certificates of erased disks. They are never changed and never taken away.

use contract::certificate_api::CertificateView;
use contract::id::{CertificateId, DiskId, JobId, NodeId, OrderId, UnixMillis};
use contract::plan::{Plan, Step};
use erasure::certificate::Certificate;
use erasure::certificate::signed::SignedCertificate;
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, from_db, from_json, to_db, to_json};

/// How many certificates a list shows, newest first.
const LISTED_MAX: i64 = 1000;
/// How many earlier beginnings of one job are looked at.
const BEGINNINGS_MAX: i64 = 100;

/// Which certificates a list shows; what is left out does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those of disks in this node.
    pub node: Option<NodeId>,
    /// Those of this disk.
    pub disk: Option<DiskId>,
    /// Those of this job.
    pub job: Option<JobId>,
}

/// Records a certificate.
///
/// # Errors
/// If the database fails; a second certificate for the same erase, or a fork of a disk's chain, is
/// refused by the database.
pub async fn insert(
    connection: &mut AnyConnection,
    certificate: &Certificate,
    view: &CertificateView,
    file: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO certificates (id, disk, number, node, job, order_id, step, issued_at, summary, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(view.id.to_string())
    .bind(view.disk.to_string())
    .bind(to_db(view.number))
    .bind(view.node.to_string())
    .bind(view.job.to_string())
    .bind(certificate.authority.order.to_string())
    .bind(i64::from(certificate.authority.step))
    .bind(to_db(view.issued_at.0))
    .bind(to_json("certificate", view)?)
    .bind(file.to_owned())
    .execute(connection)
    .await
    .doing("record a certificate")?;
    Ok(())
}

/// The file of a certificate, exactly.
///
/// # Errors
/// If the database fails.
pub async fn file_by_id(
    connection: &mut AnyConnection,
    id: CertificateId,
) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT body FROM certificates WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a certificate")?;
    row.map(|row| row.try_get("body").doing("read a certificate")).transpose()
}

/// The last certificate of a disk.
///
/// # Errors
/// If the database fails or what it has is no certificate.
pub async fn last_of_disk(
    connection: &mut AnyConnection,
    disk: &DiskId,
) -> Result<Option<(CertificateView, SignedCertificate)>, StoreError> {
    let row =
        sqlx::query("SELECT summary, body FROM certificates WHERE disk = $1 ORDER BY number DESC LIMIT 1")
            .bind(disk.to_string())
            .fetch_optional(connection)
            .await
            .doing("read the last certificate of a disk")?;
    let Some(row) = row else { return Ok(None) };
    let summary: String = row.try_get("summary").doing("read a certificate")?;
    let body: String = row.try_get("body").doing("read a certificate")?;
    let signed = SignedCertificate::from_bytes(body.as_bytes())
        .map_err(|error| StoreError::Decode { what: "certificate", source: error.into() })?;
    Ok(Some((from_json("certificate", &summary)?, signed)))
}

/// Certificates, newest first.
///
/// # Errors
/// If the database fails.
pub async fn list(
    connection: &mut AnyConnection,
    wanted: &Wanted,
) -> Result<Vec<CertificateView>, StoreError> {
    let rows = sqlx::query(
        "SELECT summary FROM certificates WHERE ($1 IS NULL OR node = $1) AND ($2 IS NULL OR disk = $2) \
         AND ($3 IS NULL OR job = $3) ORDER BY issued_at DESC, id LIMIT $4",
    )
    .bind(wanted.node.map(|node| node.to_string()))
    .bind(wanted.disk.as_ref().map(ToString::to_string))
    .bind(wanted.job.map(|job| job.to_string()))
    .bind(LISTED_MAX)
    .fetch_all(connection)
    .await
    .doing("list certificates")?;
    rows.iter()
        .map(|row| {
            let summary: String = row.try_get("summary").doing("list certificates")?;
            from_json("certificate", &summary)
        })
        .collect()
}

/// When a step was begun under an order.
///
/// # Errors
/// If the database fails.
pub async fn begun_at(
    connection: &mut AnyConnection,
    order: OrderId,
    step: u32,
) -> Result<Option<UnixMillis>, StoreError> {
    let row = sqlx::query("SELECT begun_at FROM begun_steps WHERE order_id = $1 AND step = $2")
        .bind(order.to_string())
        .bind(i64::from(step))
        .fetch_optional(connection)
        .await
        .doing("look up when a step was begun")?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(UnixMillis(from_db(row.try_get("begun_at").doing("look up when a step was begun")?))))
}

/// When an erase of a disk was begun in a job under other orders and no certificate followed.
///
/// # Errors
/// If the database fails.
pub async fn begun_before(
    connection: &mut AnyConnection,
    job: JobId,
    order: OrderId,
    disk: &DiskId,
) -> Result<Vec<UnixMillis>, StoreError> {
    let rows = sqlx::query(
        "SELECT o.plan AS plan, b.step AS step, b.begun_at AS begun_at \
         FROM begun_steps b JOIN orders o ON o.id = b.order_id WHERE o.job = $1 AND o.id <> $2 \
         AND NOT EXISTS (SELECT 1 FROM certificates c WHERE c.order_id = b.order_id AND c.step = b.step) \
         ORDER BY b.begun_at LIMIT $3",
    )
    .bind(job.to_string())
    .bind(order.to_string())
    .bind(BEGINNINGS_MAX)
    .fetch_all(connection)
    .await
    .doing("look up earlier beginnings")?;
    let mut times = Vec::new();
    for row in rows {
        let plan: String = row.try_get("plan").doing("look up earlier beginnings")?;
        let plan: Plan = from_json("plan", &plan)?;
        let step: i64 = row.try_get("step").doing("look up earlier beginnings")?;
        let step = usize::try_from(step).ok().and_then(|step| plan.steps.get(step));
        if matches!(step, Some(Step::Erase { disk: erased, .. }) if &erased.id == disk) {
            let at = row.try_get("begun_at").doing("look up earlier beginnings")?;
            times.push(UnixMillis(from_db(at)));
        }
    }
    Ok(times)
}

/// How many certificates were issued from a time on and before another.
///
/// # Errors
/// If the database fails.
pub async fn count_between(
    connection: &mut AnyConnection,
    from: UnixMillis,
    until: UnixMillis,
) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM certificates WHERE issued_at >= $1 AND issued_at < $2")
        .bind(to_db(from.0))
        .bind(to_db(until.0))
        .fetch_one(connection)
        .await
        .doing("count certificates")?;
    Ok(from_db(row.try_get("n").doing("count certificates")?))
}
