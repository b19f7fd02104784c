//! What verdicts wanted to be done, for as long as it is counted, and how large the groups of nodes are.

use contract::blast_radius::{Alike, Group};
use contract::decision::Action;
use contract::id::{EvidenceId, NodeId, UnixMillis};
use sqlx::{AnyConnection, Row};

use crate::store::nodes::NodeRecord;
use crate::store::{Doing, StoreError, from_db, to_db, to_json};

/// How long a wish is kept at least: the longest window that a policy can ask for.
const KEPT_MILLIS: u64 = 86_400_000;

/// What one verdict wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Found in which run of looking.
    pub evidence: EvidenceId,
    /// Whose.
    pub node: NodeId,
    /// What it wants.
    pub action: Action,
    /// It is carried out unless it is held; false if only a running system was seen.
    pub counted: bool,
    /// The rule behind it, if many with the same would be suspicious.
    pub cause: Option<String>,
}

/// The groups that a node belongs to. The site is not among them: everything belongs to it.
#[must_use]
pub fn groups_of(node: &NodeRecord) -> Vec<Group> {
    let pool = Some(Group::Pool(node.assignment.pool.clone()));
    let rack = node.rack.clone().map(Group::Rack);
    let model = hardware_model(node).map(Group::HardwareModel);
    [rack, pool, model].into_iter().flatten().collect()
}

/// Manufacturer and product, as far as the machine says.
pub(crate) fn hardware_model(node: &NodeRecord) -> Option<String> {
    let inventory = node.inventory.as_ref()?;
    let words = [&inventory.vendor, &inventory.product].map(|word| word.value().map_or("", String::as_str));
    let model = words.join(" ").trim().chars().take(200).collect::<String>();
    (!model.is_empty()).then_some(model)
}

/// The column that holds a group's name, and the name; none for the site.
fn column(group: &Group) -> Option<(&'static str, String)> {
    match group {
        Group::Pool(pool) => Some(("pool", pool.to_string())),
        Group::Rack(rack) => Some(("rack", rack.to_string())),
        Group::HardwareModel(model) => Some(("hardware_model", model.clone())),
        Group::Site => None,
    }
}

/// Records a wish; the same run again replaces it. Forgets those that no window reaches any more.
///
/// # Errors
/// If the database fails.
pub async fn record(
    connection: &mut AnyConnection,
    wish: &Wish,
    node: &NodeRecord,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM wishes WHERE at < $1")
        .bind(to_db(now.0.saturating_sub(KEPT_MILLIS)))
        .execute(&mut *connection)
        .await
        .doing("forget what was wanted long ago")?;
    sqlx::query(
        "INSERT INTO wishes (evidence, node, at, action, counted, pool, rack, hardware_model, cause) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (evidence) DO UPDATE SET \
         at = excluded.at, action = excluded.action, counted = excluded.counted, cause = excluded.cause",
    )
    .bind(wish.evidence.to_string())
    .bind(wish.node.to_string())
    .bind(to_db(now.0))
    .bind(to_json("action", &wish.action)?)
    .bind(i64::from(wish.counted))
    .bind(node.assignment.pool.to_string())
    .bind(node.rack.as_ref().map(ToString::to_string).unwrap_or_default())
    .bind(hardware_model(node).unwrap_or_default())
    .bind(wish.cause.clone().unwrap_or_default())
    .execute(connection)
    .await
    .doing("record what is wanted")?;
    Ok(())
}

/// How many nodes of a group have wanted the same since a time. What is dated in the future, because a clock
/// was set back, counts.
///
/// # Errors
/// If the database fails.
pub async fn wanting(
    connection: &mut AnyConnection,
    group: &Group,
    alike: &Alike,
    since: UnixMillis,
) -> Result<u64, StoreError> {
    let (alike_is, value) = match alike {
        Alike::Action(action) => ("counted = 1 AND action", to_json("action", action)?),
        Alike::Cause(cause) => ("cause", cause.clone()),
    };
    let column = column(group);
    let of_group = column.as_ref().map_or(String::new(), |(column, _)| format!(" AND {column} = $3"));
    // Only names of columns are put together here; what is compared is bound.
    let statement =
        format!("SELECT COUNT(DISTINCT node) AS n FROM wishes WHERE at >= $1 AND {alike_is} = $2{of_group}");
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(to_db(since.0)).bind(value);
    if let Some((_, name)) = column {
        query = query.bind(name);
    }
    let row = query.fetch_one(connection).await.doing("count what is wanted")?;
    Ok(from_db(row.try_get("n").doing("count what is wanted")?))
}

/// How many approved nodes a group has.
///
/// # Errors
/// If the database fails.
pub async fn nodes_of(connection: &mut AnyConnection, group: &Group) -> Result<u64, StoreError> {
    let column = column(group);
    let of_group = column.as_ref().map_or(String::new(), |(column, _)| format!(" AND {column} = $1"));
    let statement = format!("SELECT COUNT(*) AS n FROM nodes WHERE approved = 1{of_group}");
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
    if let Some((_, name)) = column {
        query = query.bind(name);
    }
    let row = query.fetch_one(connection).await.doing("count the nodes of a group")?;
    Ok(from_db(row.try_get("n").doing("count the nodes of a group")?))
}
