//! What people say to waves: begin, halt, resume, cancel; and how one is shown.

use contract::id::{Digest, NodeId, UnixMillis, WaveId};
use contract::operator_api::ErrorKind;
use contract::wave::{NodeResult, StartWave, WaveState, WaveView};
use verdict::waves::{self, WaveRefused};

use crate::bearer;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::waves::WaveRecord;
use crate::waves::watching::open_incident;

/// How long a reason may be, in characters.
const WHY_CHARACTERS_MAX: usize = 200;
/// How many nodes that did not get the image are told one by one.
const EXCEPTIONS_MAX: usize = 100;

/// What a person says to a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Begin nothing more.
    Halt,
    /// Go on.
    Resume,
    /// Give it up.
    Cancel,
}

impl Service {
    /// Begins a wave.
    ///
    /// # Errors
    /// If the image or the pool's nodes are not there, it was not confirmed, or the pool has an open wave.
    pub async fn start_wave(&self, request: &StartWave) -> Result<WaveView, Refusal> {
        let now = crate::clock::now();
        let mut transaction = self.store.write().await?;
        let image = self.image_by_reference(&mut transaction, &request.image).await?;
        let id = WaveId(bearer::new_uuid());
        let nodes = store::nodes::all(&mut transaction).await?;
        let of_pool = nodes.iter().filter(|node| node.approved && node.assignment.pool == request.pool);
        let nodes = in_order(id, of_pool.map(|node| node.id).collect());
        if nodes.is_empty() {
            return Err(Refusal::not_found(
                format!("pool {} has no approved nodes", request.pool),
                "list the nodes (`reprieve node list`)",
            ));
        }
        let mut wave = WaveRecord {
            id,
            version: 0,
            pool: request.pool.clone(),
            image: image.id,
            started_at: now,
            state: waves::start(),
            events: Vec::new(),
        };
        wave.note(now, format!("image {} ({}) goes to {} nodes", image.id, image.name, nodes.len()));
        let waiting: Vec<(NodeId, NodeResult)> =
            nodes.iter().map(|node| (*node, NodeResult::Waiting)).collect();
        if request.dry_run {
            return Ok(WaveView { id: None, ..view(wave, &waiting, true) });
        }
        if !request.confirmed {
            return Err(Refusal::new(
                ErrorKind::Unconfirmed,
                format!("the disks of {} nodes will be written", nodes.len()),
                "look at it first (`--dry-run`), then confirm (`--yes`)",
            ));
        }
        let open = store::waves::open(&mut transaction).await?;
        if let Some(other) = open.iter().find(|open| open.pool == request.pool) {
            return Err(Refusal::conflict(
                format!("pool {} has an open wave {}", request.pool, other.id),
                "wait for it or cancel it (`reprieve wave cancel`)",
            ));
        }
        no_incident(&mut transaction, &wave).await?;
        store::waves::insert(&mut transaction, &wave, &nodes).await?;
        store::commit(transaction).await?;
        tracing::info!(wave = %id, pool = %request.pool, image = %image.id, "a wave begins");
        Ok(view(wave, &waiting, true))
    }

    /// Halts a wave, lets it go on, or gives it up.
    ///
    /// # Errors
    /// If there is no such wave, or it does not stand so.
    pub async fn say_to_wave(&self, id: WaveId, word: Word, why: &str) -> Result<WaveView, Refusal> {
        check_why(why)?;
        let now = crate::clock::now();
        let mut transaction = self.store.write().await?;
        let wave = store::waves::by_id(&mut transaction, id).await?;
        let mut wave = wave.ok_or_else(|| no_wave(&id.to_string()))?;
        let nodes = store::waves::nodes(&mut transaction, id).await?;
        if word == Word::Resume {
            no_incident(&mut transaction, &wave).await?;
        }
        wave.state = said(wave.state, word, why, &nodes, now).map_err(|refused| {
            Refusal::conflict(format!("wave {id}: {refused}"), "look at it (`reprieve wave show`)")
        })?;
        let what = match word {
            Word::Halt => "halted",
            Word::Resume => "goes on",
            Word::Cancel => "given up",
        };
        wave.note(now, format!("{what} by an operator: {why}"));
        store::waves::save(&mut transaction, &mut wave).await?;
        store::commit(transaction).await?;
        Ok(view(wave, &nodes, true))
    }

    /// One wave.
    ///
    /// # Errors
    /// If there is none.
    pub async fn wave(&self, id: WaveId) -> Result<WaveView, Refusal> {
        let mut reading = self.store.read().await?;
        let wave = store::waves::by_id(&mut reading, id).await?.ok_or_else(|| no_wave(&id.to_string()))?;
        let nodes = store::waves::nodes(&mut reading, id).await?;
        Ok(view(wave, &nodes, true))
    }

    /// Open waves, then the newest.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn waves(&self) -> Result<Vec<WaveView>, Refusal> {
        let mut reading = self.store.read().await?;
        let mut views = Vec::new();
        for wave in store::waves::newest(&mut reading).await? {
            let nodes = store::waves::nodes(&mut reading, wave.id).await?;
            views.push(view(wave, &nodes, false));
        }
        Ok(views)
    }
}

/// A wave does not begin or go on beside what too many of its nodes wanted at once.
async fn no_incident(connection: &mut sqlx::AnyConnection, wave: &WaveRecord) -> Result<(), Refusal> {
    match open_incident(connection, wave).await? {
        None => Ok(()),
        Some(incident) => Err(Refusal::conflict(
            format!("pool {} has an open incident: {incident}", wave.pool),
            "look at it and release it, then ask again",
        )),
    }
}

fn said(
    state: WaveState,
    word: Word,
    why: &str,
    nodes: &[(NodeId, NodeResult)],
    now: UnixMillis,
) -> Result<WaveState, WaveRefused> {
    match word {
        Word::Halt => waves::halt(state, why, now),
        Word::Resume => waves::resume(state, &waves::facts(nodes.iter().map(|(_, result)| result))),
        Word::Cancel => waves::cancel(state, why, now),
    }
}

/// The order in which nodes come: another one for each wave, so that the canary is not always the same, and the
/// same again whenever it is asked for.
fn in_order(wave: WaveId, mut nodes: Vec<NodeId>) -> Vec<NodeId> {
    nodes.sort_by_key(|node| Digest::of(format!("{wave} {node}").as_bytes()));
    nodes
}

fn view(wave: WaveRecord, nodes: &[(NodeId, NodeResult)], whole: bool) -> WaveView {
    let counts = waves::facts(nodes.iter().map(|(_, result)| result)).counts;
    let exceptions = nodes.iter().filter_map(|(node, result)| match result {
        NodeResult::Failed { why, .. } => Some((*node, format!("failed: {why}"))),
        NodeResult::Skipped { why } => Some((*node, format!("skipped: {why}"))),
        NodeResult::Waiting
        | NodeResult::Begun { .. }
        | NodeResult::Working { .. }
        | NodeResult::Good { .. } => None,
    });
    WaveView {
        id: Some(wave.id),
        pool: wave.pool,
        image: wave.image,
        started_at: wave.started_at,
        state: wave.state,
        stages: waves::stages(waves::reachable(&counts)),
        counts,
        exceptions: if whole { exceptions.take(EXCEPTIONS_MAX).collect() } else { Vec::new() },
        events: if whole { wave.events } else { Vec::new() },
    }
}

/// There is no such wave.
#[must_use]
pub fn no_wave(text: &str) -> Refusal {
    let text: String = text.chars().take(80).collect();
    Refusal::not_found(format!("there is no wave {text:?}"), "list them (`reprieve wave list`)")
}

fn check_why(why: &str) -> Result<(), Refusal> {
    if why.trim().is_empty() || why.chars().count() > WHY_CHARACTERS_MAX || why.chars().any(char::is_control)
    {
        return Err(Refusal::bad_request(
            format!(
                "the reason is empty, longer than {WHY_CHARACTERS_MAX} characters or has control characters"
            ),
            "say why in one line (`--why`)",
        ));
    }
    Ok(())
}
