//! Jobs and what happened in them.

use std::collections::HashMap;

use contract::agent_api::StepResult;
use contract::assignment::Floor;
use contract::decision::{Action, SanitizeLevel};
use contract::gpu_test::GpuTest;
use contract::history::GoingBack;
use contract::id::{EvidenceId, JobId, NodeId, OrderId, UnixMillis};
use contract::operator_api::{JobEvent, JobState};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Row};

use crate::jobs::state::{is_open, wants_ramdisk};
use crate::store::{Doing, StoreError, from_db, from_json, from_text, to_db, to_json};

/// How many events one job keeps; what comes later is dropped, the first ones explain most.
pub const EVENTS_MAX: i64 = 500;
/// How many jobs a list shows, newest first.
const LISTED_MAX: i64 = 1000;
/// How long an event's text may be, in characters.
const EVENT_CHARACTERS_MAX: usize = 2000;

/// Everything that is known about a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// Counts changes; set by the store.
    #[serde(skip)]
    pub version: i64,
    /// Whose.
    pub node: NodeId,
    /// Where it stands.
    pub state: JobState,
    /// Who or what asked for it.
    pub requested_by: String,
    /// When.
    pub created_at: UnixMillis,
    /// When it last changed.
    pub changed_at: UnixMillis,
    /// The floor of the request.
    pub at_least: Option<Floor>,
    /// A burn-in of so many minutes is what is asked for; nothing is written then.
    #[serde(default)]
    pub burn_in_minutes: Option<u32>,
    /// What came of working the GPUs in the running system for this burn-in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_tests: Vec<GpuTest>,
    /// The level that the request asks for where disks are sanitized.
    #[serde(default)]
    pub sanitize_level: Option<SanitizeLevel>,
    /// Why, in the words of who asked.
    #[serde(default)]
    pub why: Option<String>,
    /// A person asked that destructive work begins outside the policy's windows too.
    #[serde(default)]
    pub outside_windows: bool,
    /// It is held for a window of the policy and for nothing else.
    #[serde(default)]
    pub waits_for_window: bool,
    /// When the machine first came to the ramdisk for it; from then on it is away from its work.
    #[serde(default)]
    pub began_at: Option<UnixMillis>,
    /// The evidence of the verdict that is carried out.
    #[serde(default)]
    pub verdict: Option<EvidenceId>,
    /// How often the ramdisk was handed out.
    pub attempts: u32,
    /// How often the machine came to the network while its system should have come up.
    pub coming_up_boots: u32,
    /// How often agent and service judged differently.
    pub disagreements: u32,
    /// The order that was signed last.
    pub order: Option<OrderId>,
    /// What is being done.
    pub action: Option<Action>,
    /// What each finished step did and proved.
    pub steps: Vec<StepResult>,
    /// The service takes the node back to the image before; at most once in a job.
    #[serde(default)]
    pub going_back: Option<GoingBack>,
}

impl JobRecord {
    /// A new job that asks for nothing in particular yet, and waits.
    #[must_use]
    pub fn waiting(id: JobId, node: NodeId, requested_by: &str, now: UnixMillis) -> Self {
        Self {
            id,
            version: 0,
            node,
            state: JobState::Waiting,
            requested_by: requested_by.to_owned(),
            created_at: now,
            changed_at: now,
            at_least: None,
            burn_in_minutes: None,
            gpu_tests: Vec::new(),
            sanitize_level: None,
            why: None,
            outside_windows: false,
            waits_for_window: false,
            began_at: None,
            verdict: None,
            attempts: 0,
            coming_up_boots: 0,
            disagreements: 0,
            order: None,
            action: None,
            steps: Vec::new(),
            going_back: None,
        }
    }

    /// The least that has to be done now: on the way back the image before is put back, whatever the
    /// request said, because the one that failed is on the disk.
    #[must_use]
    pub fn floor(&self) -> Option<Floor> {
        if self.going_back.is_some() { Some(Floor::Reimage) } else { self.at_least }
    }
}

/// Records a new job.
///
/// # Errors
/// If the database fails; a second open job for a node is refused by the database.
pub async fn insert(connection: &mut AnyConnection, job: &JobRecord) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO jobs (id, version, node, is_open, created_at, body) VALUES ($1, 0, $2, $3, $4, $5)",
    )
    .bind(job.id.to_string())
    .bind(job.node.to_string())
    .bind(i64::from(is_open(&job.state)))
    .bind(to_db(job.created_at.0))
    .bind(to_json("job", job)?)
    .execute(connection)
    .await
    .doing("record a job")?;
    Ok(())
}

/// Writes a job back.
///
/// # Errors
/// [`StoreError::Changed`] if somebody else wrote it since it was read.
pub async fn save(connection: &mut AnyConnection, job: &mut JobRecord) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE jobs SET version = version + 1, is_open = $1, body = $2 WHERE id = $3 AND version = $4",
    )
    .bind(i64::from(is_open(&job.state)))
    .bind(to_json("job", job)?)
    .bind(job.id.to_string())
    .bind(job.version)
    .execute(connection)
    .await
    .doing("write a job")?;
    if done.rows_affected() != 1 {
        return Err(StoreError::Changed { what: format!("job {}", job.id) });
    }
    job.version += 1;
    Ok(())
}

fn read_row(row: &sqlx::any::AnyRow) -> Result<JobRecord, StoreError> {
    let body: String = row.try_get("body").doing("read a job")?;
    let mut job: JobRecord = from_json("job", &body)?;
    job.version = row.try_get("version").doing("read a job")?;
    Ok(job)
}

/// The job with this id.
///
/// # Errors
/// If the database fails.
pub async fn by_id(connection: &mut AnyConnection, id: JobId) -> Result<Option<JobRecord>, StoreError> {
    let row = sqlx::query("SELECT version, body FROM jobs WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a job")?;
    row.as_ref().map(read_row).transpose()
}

/// The open job of a node.
///
/// # Errors
/// If the database fails.
pub async fn open_of(connection: &mut AnyConnection, node: NodeId) -> Result<Option<JobRecord>, StoreError> {
    let row = sqlx::query("SELECT version, body FROM jobs WHERE node = $1 AND is_open = 1")
        .bind(node.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a job")?;
    row.as_ref().map(read_row).transpose()
}

/// The open job of each node that has one.
///
/// # Errors
/// If the database fails.
pub async fn open_of_all(connection: &mut AnyConnection) -> Result<HashMap<NodeId, JobId>, StoreError> {
    let rows = sqlx::query("SELECT node, id FROM jobs WHERE is_open = 1")
        .fetch_all(connection)
        .await
        .doing("list jobs")?;
    let text = |row: &sqlx::any::AnyRow, column: &str| row.try_get::<String, _>(column).doing("list jobs");
    rows.iter()
        .map(|row| Ok((from_text("node id", &text(row, "node")?)?, from_text("job id", &text(row, "id")?)?)))
        .collect()
}

/// The newest jobs, newest first.
///
/// # Errors
/// If the database fails.
pub async fn newest(connection: &mut AnyConnection) -> Result<Vec<JobRecord>, StoreError> {
    let rows = sqlx::query("SELECT version, body FROM jobs ORDER BY created_at DESC, id DESC LIMIT $1")
        .bind(LISTED_MAX)
        .fetch_all(connection)
        .await
        .doing("list jobs")?;
    rows.iter().map(read_row).collect()
}

/// The jobs whose installed system has not reported yet.
///
/// # Errors
/// If the database fails.
pub async fn coming_up(connection: &mut AnyConnection) -> Result<Vec<JobRecord>, StoreError> {
    // The text only narrows the search; the state is read from the record.
    let rows =
        sqlx::query("SELECT version, body FROM jobs WHERE is_open = 1 AND body LIKE '%\"coming-up\"%'")
            .fetch_all(connection)
            .await
            .doing("list jobs")?;
    let jobs: Result<Vec<JobRecord>, StoreError> = rows.iter().map(read_row).collect();
    Ok(jobs?.into_iter().filter(|job| job.state == JobState::ComingUp).collect())
}

/// The jobs that are held for a window of the policy.
///
/// # Errors
/// If the database fails.
pub async fn waiting_for_window(connection: &mut AnyConnection) -> Result<Vec<JobRecord>, StoreError> {
    // The text only narrows the search; what it is held for is read from the record.
    let rows = sqlx::query(
        "SELECT version, body FROM jobs WHERE is_open = 1 AND body LIKE '%\"waits_for_window\":true%'",
    )
    .fetch_all(connection)
    .await
    .doing("list jobs")?;
    let jobs: Result<Vec<JobRecord>, StoreError> = rows.iter().map(read_row).collect();
    Ok(jobs?.into_iter().filter(|job| job.waits_for_window).collect())
}

/// The nodes that are burned in, or are to be.
///
/// # Errors
/// If the database fails.
pub async fn burned_in(connection: &mut AnyConnection) -> Result<Vec<NodeId>, StoreError> {
    // The text only narrows the search; what was asked for is read from the record.
    let rows = sqlx::query(
        "SELECT version, body FROM jobs WHERE is_open = 1 AND body LIKE '%\"burn_in_minutes\":_%'",
    )
    .fetch_all(connection)
    .await
    .doing("list jobs")?;
    let jobs: Result<Vec<JobRecord>, StoreError> = rows.iter().map(read_row).collect();
    let works = |job: &JobRecord| job.burn_in_minutes.is_some() && wants_ramdisk(&job.state);
    Ok(jobs?.into_iter().filter(works).map(|job| job.node).collect())
}

/// How many jobs are open.
///
/// # Errors
/// If the database fails.
pub async fn count_open(connection: &mut AnyConnection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM jobs WHERE is_open = 1")
        .fetch_one(connection)
        .await
        .doing("count jobs")?;
    Ok(from_db(row.try_get("n").doing("count jobs")?))
}

/// Writes down that something happened in a job.
///
/// # Errors
/// If the database fails.
pub async fn note(
    connection: &mut AnyConnection,
    job: JobId,
    at: UnixMillis,
    text: &str,
) -> Result<(), StoreError> {
    let text: String = text.chars().take(EVENT_CHARACTERS_MAX).collect();
    sqlx::query(
        "INSERT INTO job_events (job, number, at, body) \
         SELECT $1, COUNT(*), $2, $3 FROM job_events WHERE job = $1 HAVING COUNT(*) < $4",
    )
    .bind(job.to_string())
    .bind(to_db(at.0))
    .bind(text)
    .bind(EVENTS_MAX)
    .execute(connection)
    .await
    .doing("write a job's event")?;
    Ok(())
}

/// What happened in a job, oldest first.
///
/// # Errors
/// If the database fails.
pub async fn events(connection: &mut AnyConnection, job: JobId) -> Result<Vec<JobEvent>, StoreError> {
    let rows = sqlx::query("SELECT at, body FROM job_events WHERE job = $1 ORDER BY number")
        .bind(job.to_string())
        .fetch_all(connection)
        .await
        .doing("read a job's events")?;
    rows.iter()
        .map(|row| {
            Ok(JobEvent {
                at: UnixMillis(from_db(row.try_get("at").doing("read a job's events")?)),
                text: row.try_get("body").doing("read a job's events")?,
            })
        })
        .collect()
}
