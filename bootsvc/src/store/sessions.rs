//! One-time tokens, sessions of ramdisks, credentials of resident agents, and nonces. Only hashes of
//! secrets are kept, so a copy of the database opens nothing.

use contract::id::{BootId, Digest, JobId, MacAddress, NodeId, UnixMillis};
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, from_db, from_text, to_db};

/// How many unused tokens a node may have at once.
pub const TOKENS_MAX: i64 = 4;
/// How long a nonce is remembered. Orders lapse long before.
const NONCE_KEPT_MILLIS: u64 = 90 * 86_400_000;

/// What a one-time token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Which node.
    pub node: NodeId,
    /// The address that asked for the boot script.
    pub mac: MacAddress,
    /// Until when.
    pub expires_at: UnixMillis,
    /// Whether it was used.
    pub used: bool,
}

/// A ramdisk's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// BLAKE3 of the bearer.
    pub hash: Digest,
    /// Which node.
    pub node: NodeId,
    /// The job it works for; none while the machine is only being discovered.
    pub job: Option<JobId>,
    /// Which boot.
    pub boot_id: BootId,
    /// Drawn by the agent for this boot.
    pub nonce: Digest,
    /// BLAKE3 of the one-time token that it was made from; none in sessions of before this was kept.
    pub token: Option<Digest>,
    /// When the machine enrolled.
    pub created_at: UnixMillis,
    /// Until when.
    pub expires_at: UnixMillis,
}

/// Records a token. Of a node's tokens only the newest few stay.
///
/// # Errors
/// If the database fails.
pub async fn insert_token(
    connection: &mut AnyConnection,
    hash: Digest,
    node: NodeId,
    mac: MacAddress,
    now: UnixMillis,
    expires_at: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM tokens WHERE node = $1 AND expires_at < $2")
        .bind(node.to_string())
        .bind(to_db(now.0))
        .execute(&mut *connection)
        .await
        .doing("forget lapsed tokens")?;
    sqlx::query(
        "DELETE FROM tokens WHERE node = $1 AND used_at IS NULL AND hash NOT IN \
         (SELECT hash FROM tokens WHERE node = $1 AND used_at IS NULL ORDER BY issued_at DESC LIMIT $2)",
    )
    .bind(node.to_string())
    .bind(TOKENS_MAX - 1)
    .execute(&mut *connection)
    .await
    .doing("forget surplus tokens")?;
    sqlx::query("INSERT INTO tokens (hash, node, mac, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(hash.to_string())
        .bind(node.to_string())
        .bind(mac.to_string())
        .bind(to_db(now.0))
        .bind(to_db(expires_at.0))
        .execute(connection)
        .await
        .doing("record a token")?;
    Ok(())
}

/// What a token is good for.
///
/// # Errors
/// If the database fails.
pub async fn token(connection: &mut AnyConnection, hash: Digest) -> Result<Option<TokenRow>, StoreError> {
    let row = sqlx::query("SELECT node, mac, expires_at, used_at FROM tokens WHERE hash = $1")
        .bind(hash.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a token")?;
    let Some(row) = row else { return Ok(None) };
    let node: String = row.try_get("node").doing("read a token")?;
    let mac: String = row.try_get("mac").doing("read a token")?;
    let used_at: Option<i64> = row.try_get("used_at").doing("read a token")?;
    Ok(Some(TokenRow {
        node: from_text("node id", &node)?,
        mac: from_text("address", &mac)?,
        expires_at: UnixMillis(from_db(row.try_get("expires_at").doing("read a token")?)),
        used: used_at.is_some(),
    }))
}

/// Uses a token up. Of two that try, one gets `true`.
///
/// # Errors
/// If the database fails.
pub async fn use_token(
    connection: &mut AnyConnection,
    hash: Digest,
    now: UnixMillis,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE tokens SET used_at = $1 WHERE hash = $2 AND used_at IS NULL AND expires_at > $1")
            .bind(to_db(now.0))
            .bind(hash.to_string())
            .execute(connection)
            .await
            .doing("use a token up")?;
    Ok(done.rows_affected() == 1)
}

/// Remembers a boot's nonce. `false` if it was seen before.
///
/// # Errors
/// If the database fails.
pub async fn take_nonce(
    connection: &mut AnyConnection,
    nonce: Digest,
    node: NodeId,
    now: UnixMillis,
) -> Result<bool, StoreError> {
    sqlx::query("DELETE FROM nonces WHERE seen_at < $1")
        .bind(to_db(now.0.saturating_sub(NONCE_KEPT_MILLIS)))
        .execute(&mut *connection)
        .await
        .doing("forget old nonces")?;
    let done = sqlx::query(
        "INSERT INTO nonces (nonce, node, seen_at) VALUES ($1, $2, $3) ON CONFLICT (nonce) DO NOTHING",
    )
    .bind(nonce.to_string())
    .bind(node.to_string())
    .bind(to_db(now.0))
    .execute(connection)
    .await
    .doing("remember a nonce")?;
    Ok(done.rows_affected() == 1)
}

/// Records a session. A machine boots once, so the node's earlier sessions end.
///
/// # Errors
/// If the database fails.
pub async fn insert_session(connection: &mut AnyConnection, session: &SessionRow) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM sessions WHERE node = $1")
        .bind(session.node.to_string())
        .execute(&mut *connection)
        .await
        .doing("end earlier sessions")?;
    sqlx::query("INSERT INTO sessions (hash, node, job, boot_id, nonce, created_at, expires_at, token) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(session.hash.to_string())
        .bind(session.node.to_string())
        .bind(session.job.map(|job| job.to_string()))
        .bind(session.boot_id.to_string())
        .bind(session.nonce.to_string())
        .bind(to_db(session.created_at.0))
        .bind(to_db(session.expires_at.0))
        .bind(session.token.map(|token| token.to_string()))
        .execute(connection)
        .await
        .doing("record a session")?;
    Ok(())
}

/// The session of this bearer.
///
/// # Errors
/// If the database fails.
pub async fn session(connection: &mut AnyConnection, hash: Digest) -> Result<Option<SessionRow>, StoreError> {
    let row = sqlx::query(
        "SELECT node, job, boot_id, nonce, created_at, expires_at, token FROM sessions WHERE hash = $1",
    )
    .bind(hash.to_string())
    .fetch_optional(connection)
    .await
    .doing("read a session")?;
    let Some(row) = row else { return Ok(None) };
    let text = |column: &str| -> Result<String, StoreError> { row.try_get(column).doing("read a session") };
    let job: Option<String> = row.try_get("job").doing("read a session")?;
    let token: Option<String> = row.try_get("token").doing("read a session")?;
    Ok(Some(SessionRow {
        hash,
        node: from_text("node id", &text("node")?)?,
        job: job.map(|job| from_text("job id", &job)).transpose()?,
        boot_id: from_text("boot id", &text("boot_id")?)?,
        nonce: from_text("nonce", &text("nonce")?)?,
        token: token.map(|token| from_text("token's hash", &token)).transpose()?,
        created_at: UnixMillis(from_db(row.try_get("created_at").doing("read a session")?)),
        expires_at: UnixMillis(from_db(row.try_get("expires_at").doing("read a session")?)),
    }))
}

/// Ties a session to a job.
///
/// # Errors
/// If the database fails.
pub async fn set_session_job(
    connection: &mut AnyConnection,
    hash: Digest,
    job: JobId,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE sessions SET job = $1 WHERE hash = $2")
        .bind(job.to_string())
        .bind(hash.to_string())
        .execute(connection)
        .await
        .doing("tie a session to a job")?;
    Ok(())
}

/// Lets a session last until this time.
///
/// # Errors
/// If the database fails.
pub async fn prolong_session(
    connection: &mut AnyConnection,
    hash: Digest,
    until: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE sessions SET expires_at = $1 WHERE hash = $2")
        .bind(to_db(until.0))
        .bind(hash.to_string())
        .execute(connection)
        .await
        .doing("prolong a session")?;
    Ok(())
}

/// Records a resident agent's credential.
///
/// # Errors
/// If the database fails.
pub async fn insert_credential(
    connection: &mut AnyConnection,
    hash: Digest,
    node: NodeId,
    job: JobId,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO credentials (hash, node, job, created_at) VALUES ($1, $2, $3, $4)")
        .bind(hash.to_string())
        .bind(node.to_string())
        .bind(job.to_string())
        .bind(to_db(now.0))
        .execute(connection)
        .await
        .doing("record a credential")?;
    Ok(())
}

/// The node whose resident agent has this bearer, and the job that gave it; none if it was revoked.
///
/// # Errors
/// If the database fails.
pub async fn credential(
    connection: &mut AnyConnection,
    hash: Digest,
) -> Result<Option<(NodeId, JobId)>, StoreError> {
    let row = sqlx::query("SELECT node, job FROM credentials WHERE hash = $1 AND revoked_at IS NULL")
        .bind(hash.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a credential")?;
    let Some(row) = row else { return Ok(None) };
    let node: String = row.try_get("node").doing("read a credential")?;
    let job: String = row.try_get("job").doing("read a credential")?;
    Ok(Some((from_text("node id", &node)?, from_text("job id", &job)?)))
}

/// How many credentials a job has given out.
///
/// # Errors
/// If the database fails.
pub async fn credentials_of_job(connection: &mut AnyConnection, job: JobId) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM credentials WHERE job = $1")
        .bind(job.to_string())
        .fetch_one(connection)
        .await
        .doing("count credentials")?;
    Ok(from_db(row.try_get("n").doing("count credentials")?))
}

/// Revokes a node's credentials but the newest of a job, which is the one that was written to disk.
///
/// # Errors
/// If the database fails.
pub async fn revoke_older_credentials(
    connection: &mut AnyConnection,
    node: NodeId,
    job: JobId,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE credentials SET revoked_at = $1 WHERE node = $2 AND revoked_at IS NULL AND hash NOT IN \
         (SELECT hash FROM credentials WHERE node = $2 AND job = $3 ORDER BY created_at DESC, hash LIMIT 1)",
    )
    .bind(to_db(now.0))
    .bind(node.to_string())
    .bind(job.to_string())
    .execute(connection)
    .await
    .doing("revoke credentials")?;
    Ok(())
}
