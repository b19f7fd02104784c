//! Leases of DHCP, as one record for each interface and address.

use contract::id::UnixMillis;
use sqlx::{AnyConnection, Row};

use crate::store::{Doing, StoreError, from_db, to_db};

/// One stored lease. The body is whatever the DHCP listener needs to go on after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// On which interface.
    pub interface: String,
    /// Which address.
    pub address: String,
    /// Whose: client identifier or hardware address, as text.
    pub client: String,
    /// Until when.
    pub expires_at: UnixMillis,
    /// The lease itself.
    pub body: String,
}

/// Writes a lease, replacing what was known about the address.
///
/// # Errors
/// If the database fails.
pub async fn put(connection: &mut AnyConnection, lease: &LeaseRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO leases (interface, address, client, expires_at, body) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (interface, address) DO UPDATE SET client = excluded.client, \
         expires_at = excluded.expires_at, body = excluded.body",
    )
    .bind(lease.interface.clone())
    .bind(lease.address.clone())
    .bind(lease.client.clone())
    .bind(to_db(lease.expires_at.0))
    .bind(lease.body.clone())
    .execute(connection)
    .await
    .doing("write a lease")?;
    Ok(())
}

/// Forgets a lease.
///
/// # Errors
/// If the database fails.
pub async fn remove(
    connection: &mut AnyConnection,
    interface: &str,
    address: &str,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM leases WHERE interface = $1 AND address = $2")
        .bind(interface.to_owned())
        .bind(address.to_owned())
        .execute(connection)
        .await
        .doing("forget a lease")?;
    Ok(())
}

/// All leases of an interface.
///
/// # Errors
/// If the database fails.
pub async fn all(connection: &mut AnyConnection, interface: &str) -> Result<Vec<LeaseRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT address, client, expires_at, body FROM leases WHERE interface = $1 ORDER BY address",
    )
    .bind(interface.to_owned())
    .fetch_all(connection)
    .await
    .doing("read leases")?;
    rows.iter()
        .map(|row| {
            Ok(LeaseRow {
                interface: interface.to_owned(),
                address: row.try_get("address").doing("read leases")?,
                client: row.try_get("client").doing("read leases")?,
                expires_at: UnixMillis(from_db(row.try_get("expires_at").doing("read leases")?)),
                body: row.try_get("body").doing("read leases")?,
            })
        })
        .collect()
}
