//! What the store forgets when it is old: jobs that have ended, with their events, orders and begun
//! steps, and secrets that nobody can use any more. Certificates are never forgotten, nor the jobs they
//! speak of, nor anything of an open job.

use contract::id::UnixMillis;
use sqlx::{AnyConnection, Row};

use crate::store::jobs::JobRecord;
use crate::store::{Doing, StoreError, from_db, from_json, to_db};

/// How many jobs are looked at in one transaction; others may write in between.
const BATCH_JOBS: i64 = 100;

/// Where looking for old jobs goes on: behind the job that was asked for then and has this id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    created_at: i64,
    id: String,
}

/// When the newest job was asked for; none if there is no job.
///
/// # Errors
/// If the database fails.
pub async fn newest_job(connection: &mut AnyConnection) -> Result<Option<UnixMillis>, StoreError> {
    let row = sqlx::query("SELECT created_at FROM jobs ORDER BY created_at DESC LIMIT 1")
        .fetch_optional(connection)
        .await
        .doing("look for the newest job")?;
    row.map(|row| Ok(UnixMillis(from_db(row.try_get("created_at").doing("look for the newest job")?))))
        .transpose()
}

/// Forgets old jobs of one batch. Returns how many, and where to go on; no place when all were looked at.
///
/// # Errors
/// If the database fails.
pub async fn forget_jobs(
    connection: &mut AnyConnection,
    before: UnixMillis,
    place: &Place,
) -> Result<(u64, Option<Place>), StoreError> {
    let rows = sqlx::query(
        "SELECT id, created_at, body FROM jobs WHERE is_open = 0 AND created_at < $1 \
         AND (created_at > $2 OR (created_at = $2 AND id > $3)) \
         AND id NOT IN (SELECT job FROM certificates) ORDER BY created_at, id LIMIT $4",
    )
    .bind(to_db(before.0))
    .bind(place.created_at)
    .bind(place.id.clone())
    .bind(BATCH_JOBS)
    .fetch_all(&mut *connection)
    .await
    .doing("look for old jobs")?;
    let (mut forgotten, mut next) = (0, None);
    for row in rows {
        let id: String = row.try_get("id").doing("read an old job")?;
        let body: String = row.try_get("body").doing("read an old job")?;
        let job: JobRecord = from_json("job", &body)?;
        // A job may be open for long; what counts is when it ended.
        if job.changed_at < before {
            forget_job(connection, &id).await?;
            forgotten += 1;
        }
        next = Some(Place { created_at: row.try_get("created_at").doing("read an old job")?, id });
    }
    Ok((forgotten, next))
}

async fn forget_job(connection: &mut AnyConnection, id: &str) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM begun_steps WHERE order_id IN (SELECT id FROM orders WHERE job = $1)",
        "DELETE FROM orders WHERE job = $1",
        "DELETE FROM job_events WHERE job = $1",
        "DELETE FROM jobs WHERE id = $1 AND is_open = 0",
    ] {
        sqlx::query(statement).bind(id.to_owned()).execute(&mut *connection).await.doing("forget a job")?;
    }
    Ok(())
}

/// Forgets credentials that were revoked and tokens that lapsed before a time.
///
/// # Errors
/// If the database fails.
pub async fn forget_secrets(connection: &mut AnyConnection, before: UnixMillis) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM credentials WHERE revoked_at IS NOT NULL AND revoked_at < $1",
        "DELETE FROM tokens WHERE expires_at < $1",
    ] {
        sqlx::query(statement)
            .bind(to_db(before.0))
            .execute(&mut *connection)
            .await
            .doing("forget old secrets")?;
    }
    Ok(())
}
