//! What the service knows, kept in a database. Everything is durable before it is answered: SQLite
//! runs with a write-ahead log and `synchronous=FULL`.
//!
//! Statements use `$n` and the few column types that SQLite and PostgreSQL share. Records are written
//! as JSON with the columns that are searched beside it; a version number guards against a lost
//! update. Functions take a connection, so that several changes can be one transaction.

pub mod baselines;
pub mod bmc;
pub mod certificates;
pub mod evidence;
pub mod golden_boots;
pub mod images;
pub mod incidents;
pub mod jobs;
pub mod judgement_texts;
pub mod leases;
pub mod ledger;
pub mod node_data;
pub mod nodes;
pub mod orders;
pub mod peers;
pub mod prune;
pub mod sessions;
pub mod waves;
pub mod wishes;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyPoolOptions;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Transaction};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or failed.
    #[error("the database could not {doing}")]
    Database {
        /// What was asked of it.
        doing: &'static str,
        /// Its answer.
        source: sqlx::Error,
    },
    /// A stored text cannot be read as what it should be.
    #[error("stored {what} cannot be read")]
    Decode {
        /// What it should be.
        what: &'static str,
        /// Why not.
        source: anyhow::Error,
    },
    /// Somebody else changed the record since it was read. Read it again.
    #[error("{what} was changed by somebody else meanwhile")]
    Changed {
        /// What.
        what: String,
    },
}

/// Names what was asked of the database.
trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Database { doing, source })
    }
}

/// Reads a stored JSON text.
fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Decode { what, source: error.into() })
}

/// Writes JSON to be stored.
fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Decode { what, source: error.into() })
}

/// Reads a stored name or number.
fn from_text<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, StoreError>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error: T::Err| StoreError::Decode { what, source: error.into() })
}

/// A time or count as the database keeps it.
fn to_db(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A time or count from the database; negative numbers are never written.
fn from_db(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Makes the database's file, for its owner's eyes only, before SQLite would make it for everybody;
/// SQLite gives the files beside it the same mode.
fn make_private(file: &Path) -> Result<(), sqlx::Error> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(sqlx::Error::Io(error)),
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    writer: AnyPool,
    reader: AnyPool,
}

/// How many connections read at once.
const READERS: u32 = 4;

impl Store {
    /// Opens the database in a folder, making or bringing it up to date first.
    ///
    /// # Errors
    /// If the file cannot be opened, or was written by a newer version.
    pub async fn open(state_directory: &Path) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let file = state_directory.join("reprieve.sqlite");
        make_private(&file).doing("make its file")?;
        let url = format!("sqlite://{}?mode=rwc", file.display());
        // SQLite has one writer; a second connection that writes would only wait for the first.
        let writer = connect(&url, 1).await?;
        let store = Self { reader: connect(&url, READERS).await?, writer };
        sqlx::migrate!("src/store/migrations").run(&store.writer).await.map_err(|error| {
            StoreError::Database { doing: "bring its tables up to date", source: error.into() }
        })?;
        let mut transaction = store.write().await?;
        nodes::fill_columns(&mut transaction).await?;
        commit(transaction).await?;
        Ok(store)
    }

    /// A connection for reading. Give it back before asking for another.
    ///
    /// # Errors
    /// If none comes free in time.
    pub async fn read(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.reader.acquire().await.doing("give a connection")
    }

    /// A transaction. What is not committed has not happened.
    ///
    /// # Errors
    /// If the writer does not come free in time.
    pub async fn write(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.writer.begin().await.doing("begin a transaction")
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Makes a transaction durable.
///
/// # Errors
/// If the database cannot; then nothing of it has happened.
pub async fn commit(transaction: Transaction<'static, Any>) -> Result<(), StoreError> {
    transaction.commit().await.doing("commit")
}

async fn connect(url: &str, connections: u32) -> Result<AnyPool, StoreError> {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(30))
        .after_connect(|connection: &mut AnyConnection, _| {
            Box::pin(async move {
                for pragma in [
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = FULL",
                    "PRAGMA foreign_keys = ON",
                    "PRAGMA busy_timeout = 10000",
                ] {
                    sqlx::raw_sql(pragma).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .connect(url)
        .await
        .doing("be opened")
}
