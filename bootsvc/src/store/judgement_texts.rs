//! The texts of policies and models that were ever in force, by digest. They change seldom and are small;
//! none is forgotten, because a verdict names them for ever.

use contract::id::UnixMillis;
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, to_db};

/// Keeps a text under its digest; what is there already stays.
///
/// # Errors
/// If the database fails.
pub async fn keep(
    connection: &mut AnyConnection,
    digest: &str,
    body: &str,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO judgement_texts (digest, first_used_at, body) VALUES ($1, $2, $3) \
         ON CONFLICT (digest) DO NOTHING",
    )
    .bind(digest.to_owned())
    .bind(to_db(now.0))
    .bind(body.to_owned())
    .execute(connection)
    .await
    .doing("keep the text of a policy or a model")?;
    Ok(())
}

/// The text with this digest; none if it was never in force here.
///
/// # Errors
/// If the database fails.
pub async fn by_digest(connection: &mut AnyConnection, digest: &str) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT body FROM judgement_texts WHERE digest = $1")
        .bind(digest.to_owned())
        .fetch_optional(connection)
        .await
        .doing("read the text of a policy or a model")?;
    row.map(|row| row.try_get("body").doing("read the text of a policy or a model")).transpose()
}
