//! Boots that a person found right for every node of a hardware model.

use contract::boot_proof::{GoldenBootView, GoldenPart};
use contract::id::{Digest, UnixMillis};
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, from_db, from_text, to_db};

/// How many are kept for one hardware model and part.
pub const PER_MODEL_MAX: u64 = 32;

/// Whether it is recorded.
///
/// # Errors
/// If the database fails.
pub async fn is_known(
    connection: &mut AnyConnection,
    hardware_model: &str,
    part: GoldenPart,
    digest: Digest,
) -> Result<bool, StoreError> {
    sqlx::query("SELECT 1 AS n FROM golden_boots WHERE hardware_model = $1 AND part = $2 AND digest = $3")
        .bind(hardware_model.to_owned())
        .bind(name(part))
        .bind(digest.to_string())
        .fetch_optional(connection)
        .await
        .doing("look a golden boot up")
        .map(|row| row.is_some())
}

/// Records it; the same again is recorded anew. False if there are too many already.
///
/// # Errors
/// If the database fails.
pub async fn record(connection: &mut AnyConnection, golden: &GoldenBootView) -> Result<bool, StoreError> {
    let known = is_known(connection, &golden.hardware_model, golden.part, golden.digest).await?;
    let row = sqlx::query("SELECT COUNT(*) AS n FROM golden_boots WHERE hardware_model = $1 AND part = $2")
        .bind(golden.hardware_model.clone())
        .bind(name(golden.part))
        .fetch_one(&mut *connection)
        .await
        .doing("count golden boots")?;
    if !known && from_db(row.try_get("n").doing("count golden boots")?) >= PER_MODEL_MAX {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO golden_boots (hardware_model, part, digest, node, label, why, recorded_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (hardware_model, part, digest) \
         DO UPDATE SET node = excluded.node, label = excluded.label, why = excluded.why, \
         recorded_at = excluded.recorded_at",
    )
    .bind(golden.hardware_model.clone())
    .bind(name(golden.part))
    .bind(golden.digest.to_string())
    .bind(golden.node.to_string())
    .bind(golden.label.clone())
    .bind(golden.why.clone())
    .bind(to_db(golden.recorded_at.0))
    .execute(connection)
    .await
    .doing("record a golden boot")?;
    Ok(true)
}

/// Forgets all of a hardware model; how many there were.
///
/// # Errors
/// If the database fails.
pub async fn forget(connection: &mut AnyConnection, hardware_model: &str) -> Result<u64, StoreError> {
    sqlx::query("DELETE FROM golden_boots WHERE hardware_model = $1")
        .bind(hardware_model.to_owned())
        .execute(connection)
        .await
        .doing("forget golden boots")
        .map(|done| done.rows_affected())
}

/// All of a hardware model, newest first.
///
/// # Errors
/// If the database fails.
pub async fn of_model(
    connection: &mut AnyConnection,
    hardware_model: &str,
) -> Result<Vec<GoldenBootView>, StoreError> {
    let doing = "list golden boots";
    let rows = sqlx::query(
        "SELECT part, digest, node, label, why, recorded_at FROM golden_boots WHERE hardware_model = $1 \
         ORDER BY recorded_at DESC, part, digest",
    )
    .bind(hardware_model.to_owned())
    .fetch_all(connection)
    .await
    .doing(doing)?;
    rows.iter()
        .map(|row| {
            let text = |column: &str| row.try_get::<String, _>(column).doing(doing);
            let stored = text("part")?;
            let all = [GoldenPart::Firmware, GoldenPart::Booted, GoldenPart::System];
            let part = all.into_iter().find(|part| name(*part) == stored).unwrap_or(GoldenPart::Booted);
            Ok(GoldenBootView {
                hardware_model: hardware_model.to_owned(),
                part,
                digest: from_text("golden boot", &text("digest")?)?,
                node: from_text("node id", &text("node")?)?,
                label: text("label")?,
                why: text("why")?,
                recorded_at: UnixMillis(from_db(row.try_get("recorded_at").doing(doing)?)),
            })
        })
        .collect()
}

fn name(part: GoldenPart) -> &'static str {
    match part {
        GoldenPart::Firmware => "firmware",
        GoldenPart::Booted => "booted",
        GoldenPart::System => "system",
    }
}
