//! Images, imports under way, and which chunk belongs to which.

use std::collections::BTreeSet;

use contract::id::{ChunkDigest, ImageId, UnixMillis};
use contract::operator_api::ImageView;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use uuid::Uuid;

use crate::store::{Doing, StoreError, from_db, from_json, from_text, to_db, to_json};

/// So many chunks are named in one statement.
const CHUNKS_A_STATEMENT: usize = 500;

/// So many places for values in a statement. No text from outside becomes part of it.
fn places(count: usize, place: impl Fn(usize) -> String) -> String {
    (0..count).map(place).collect::<Vec<String>>().join(", ")
}

/// Records an image with its chunks and ends the import that brought it.
///
/// # Errors
/// If the database fails.
pub async fn insert(
    connection: &mut AnyConnection,
    image: &ImageView,
    minimum_disk_bytes: u64,
    chunks: &[ChunkDigest],
    import: Uuid,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO images (id, name, imported_at, minimum_disk_bytes, body) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(image.id.to_string())
    .bind(image.name.clone())
    .bind(to_db(image.imported_at.0))
    .bind(to_db(minimum_disk_bytes))
    .bind(to_json("image", image)?)
    .execute(&mut *connection)
    .await
    .doing("record an image")?;
    for chunks in chunks.chunks(CHUNKS_A_STATEMENT) {
        let insert = format!(
            "INSERT INTO image_chunks (image, digest) VALUES {} ON CONFLICT (image, digest) DO NOTHING",
            places(chunks.len(), |number| format!("($1, ${})", number + 2))
        );
        let mut query = sqlx::query(AssertSqlSafe(insert)).bind(image.id.to_string());
        for chunk in chunks {
            query = query.bind(chunk.to_string());
        }
        query.execute(&mut *connection).await.doing("record an image's chunks")?;
    }
    forget_import(connection, import).await
}

fn read_row(row: &sqlx::any::AnyRow) -> Result<ImageView, StoreError> {
    let body: String = row.try_get("body").doing("read an image")?;
    from_json("image", &body)
}

/// All images, newest first.
///
/// # Errors
/// If the database fails.
pub async fn all(connection: &mut AnyConnection) -> Result<Vec<ImageView>, StoreError> {
    let rows = sqlx::query("SELECT body FROM images ORDER BY imported_at DESC, id")
        .fetch_all(connection)
        .await
        .doing("list images")?;
    rows.iter().map(read_row).collect()
}

/// The image with this id.
///
/// # Errors
/// If the database fails.
pub async fn by_id(connection: &mut AnyConnection, id: ImageId) -> Result<Option<ImageView>, StoreError> {
    let row = sqlx::query("SELECT body FROM images WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read an image")?;
    row.as_ref().map(read_row).transpose()
}

/// The size in bytes of the smallest disk that an image fits on.
///
/// # Errors
/// If the database fails.
pub async fn minimum_disk_bytes(
    connection: &mut AnyConnection,
    id: ImageId,
) -> Result<Option<u64>, StoreError> {
    let row = sqlx::query("SELECT minimum_disk_bytes AS n FROM images WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read an image")?;
    row.map(|row| Ok(from_db(row.try_get("n").doing("read an image")?))).transpose()
}

/// How many images there are.
///
/// # Errors
/// If the database fails.
pub async fn count(connection: &mut AnyConnection) -> Result<u64, StoreError> {
    let row =
        sqlx::query("SELECT COUNT(*) AS n FROM images").fetch_one(connection).await.doing("count images")?;
    Ok(from_db(row.try_get("n").doing("count images")?))
}

/// Those of these chunks that are part of any image.
///
/// # Errors
/// If the database fails.
pub async fn chunks_of_images(
    connection: &mut AnyConnection,
    chunks: &BTreeSet<ChunkDigest>,
) -> Result<BTreeSet<ChunkDigest>, StoreError> {
    let asked: Vec<String> = chunks.iter().map(ToString::to_string).collect();
    let mut found = BTreeSet::new();
    for asked in asked.chunks(CHUNKS_A_STATEMENT) {
        let select = format!(
            "SELECT DISTINCT digest FROM image_chunks WHERE digest IN ({})",
            places(asked.len(), |number| format!("${}", number + 1))
        );
        let mut query = sqlx::query(AssertSqlSafe(select));
        for chunk in asked {
            query = query.bind(chunk.clone());
        }
        for row in query.fetch_all(&mut *connection).await.doing("look chunks up")? {
            let digest: String = row.try_get("digest").doing("look chunks up")?;
            found.insert(from_text("chunk digest", &digest)?);
        }
    }
    Ok(found)
}

/// Whether this import counts on a chunk.
///
/// # Errors
/// If the database fails.
pub async fn is_claimed(
    connection: &mut AnyConnection,
    import: Uuid,
    chunk: ChunkDigest,
) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT 1 AS one FROM import_chunks WHERE import = $1 AND digest = $2")
        .bind(import.to_string())
        .bind(chunk.to_string())
        .fetch_optional(connection)
        .await
        .doing("look an import's chunk up")?;
    Ok(row.is_some())
}

/// The import under way for an image of this name.
///
/// # Errors
/// If the database fails.
pub async fn import_named(connection: &mut AnyConnection, name: &str) -> Result<Option<Uuid>, StoreError> {
    let row = sqlx::query("SELECT id FROM imports WHERE name = $1 ORDER BY changed_at DESC LIMIT 1")
        .bind(name.to_owned())
        .fetch_optional(connection)
        .await
        .doing("look an import up")?;
    let Some(row) = row else { return Ok(None) };
    let id: String = row.try_get("id").doing("look an import up")?;
    from_text("import id", &id).map(Some)
}

/// The name that an import was begun with; none if there is no such import.
///
/// # Errors
/// If the database fails.
pub async fn import_name(connection: &mut AnyConnection, import: Uuid) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT name FROM imports WHERE id = $1")
        .bind(import.to_string())
        .fetch_optional(connection)
        .await
        .doing("look an import up")?;
    row.map(|row| row.try_get("name").doing("look an import up")).transpose()
}

/// How many imports are under way.
///
/// # Errors
/// If the database fails.
pub async fn count_imports(connection: &mut AnyConnection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM imports")
        .fetch_one(connection)
        .await
        .doing("count imports")?;
    Ok(from_db(row.try_get("n").doing("count imports")?))
}

/// Records an import, or that it goes on.
///
/// # Errors
/// If the database fails.
pub async fn touch_import(
    connection: &mut AnyConnection,
    import: Uuid,
    name: &str,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO imports (id, name, changed_at) VALUES ($1, $2, $3) \
         ON CONFLICT (id) DO UPDATE SET changed_at = excluded.changed_at",
    )
    .bind(import.to_string())
    .bind(name.to_owned())
    .bind(to_db(now.0))
    .execute(connection)
    .await
    .doing("record an import")?;
    Ok(())
}

/// Records that an import counts on these chunks, so that giving another import up leaves them.
///
/// # Errors
/// If the database fails.
pub async fn claim_chunks(
    connection: &mut AnyConnection,
    import: Uuid,
    chunks: &[ChunkDigest],
) -> Result<(), StoreError> {
    for chunks in chunks.chunks(CHUNKS_A_STATEMENT) {
        let insert = format!(
            "INSERT INTO import_chunks (import, digest) VALUES {} ON CONFLICT (import, digest) DO NOTHING",
            places(chunks.len(), |number| format!("($1, ${})", number + 2))
        );
        let mut query = sqlx::query(AssertSqlSafe(insert)).bind(import.to_string());
        for chunk in chunks {
            query = query.bind(chunk.to_string());
        }
        query.execute(&mut *connection).await.doing("record an import's chunks")?;
    }
    Ok(())
}

/// Chunks that only this import counts on.
///
/// # Errors
/// If the database fails.
pub async fn chunks_of_import_alone(
    connection: &mut AnyConnection,
    import: Uuid,
) -> Result<Vec<ChunkDigest>, StoreError> {
    let rows = sqlx::query(
        "SELECT digest FROM import_chunks WHERE import = $1 \
         AND digest NOT IN (SELECT digest FROM image_chunks) \
         AND digest NOT IN (SELECT digest FROM import_chunks WHERE import <> $1)",
    )
    .bind(import.to_string())
    .fetch_all(connection)
    .await
    .doing("list an import's chunks")?;
    rows.iter()
        .map(|row| {
            let digest: String = row.try_get("digest").doing("list an import's chunks")?;
            from_text("chunk digest", &digest)
        })
        .collect()
}

/// Imports that nobody has gone on with since a time.
///
/// # Errors
/// If the database fails.
pub async fn imports_older_than(
    connection: &mut AnyConnection,
    time: UnixMillis,
) -> Result<Vec<Uuid>, StoreError> {
    let rows = sqlx::query("SELECT id FROM imports WHERE changed_at < $1")
        .bind(to_db(time.0))
        .fetch_all(connection)
        .await
        .doing("list old imports")?;
    rows.iter()
        .map(|row| {
            let id: String = row.try_get("id").doing("list old imports")?;
            from_text("import id", &id)
        })
        .collect()
}

/// Forgets an import. Its chunks are files; whoever calls this has seen to them.
///
/// # Errors
/// If the database fails.
pub async fn forget_import(connection: &mut AnyConnection, import: Uuid) -> Result<(), StoreError> {
    for statement in ["DELETE FROM import_chunks WHERE import = $1", "DELETE FROM imports WHERE id = $1"] {
        sqlx::query(statement)
            .bind(import.to_string())
            .execute(&mut *connection)
            .await
            .doing("forget an import")?;
    }
    Ok(())
}
