//! An image that goes to a pool in stages. Pure: facts and `now` come in; what to begin and the new state go
//! out. Whoever calls it makes the state durable before anything begins.
//!
//! ```text
//!            all of the stage are through          baked, next stage
//!  Rolling ─────────────────────────────► Baking ─────────────────────► Rolling
//!     │  ▲                                  │  └── baked, last stage ──► Ended
//!     │  └────────── resume ── Halted ◄─────┤
//!     └── too many failed, score dropped ──►┘      cancel (from every open state) ──► Ended
//! ```
//!
//! A wave is halted by itself when more of its finished nodes failed than the policy lets pass, or when nodes
//! are less ready after it than before. With the default of five percent a single failure among the first
//! nineteen halts it, so a canary that fails is the last node that gets the image.
//!
//! A node that was passed over says nothing of the image, so it is no part of any stage: shares are of the nodes
//! that are left, and the first of these that takes the image is the canary.

use contract::id::UnixMillis;
use contract::wave::{Baking, Ended, Forgiven, Halted, NodeResult, Rolling, Stage, WaveCounts, WaveState};

use crate::policy::Policy;

/// What a tick goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// How many nodes stand where.
    pub counts: WaveCounts,
    /// By how many points the readiness fell on average, where it is known before and after.
    pub score_drop: u64,
}

/// What follows from a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Where the wave stands now.
    pub state: WaveState,
    /// How many of the waiting nodes begin now.
    pub begin: u64,
    /// What happened, for people; none if nothing did.
    pub event: Option<String>,
}

/// Why a wave does not do what a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaveRefused {
    /// It has ended.
    #[error("the wave has ended")]
    Ended,
    /// It is halted already.
    #[error("the wave is halted already")]
    Halted,
    /// It is not halted.
    #[error("the wave is not halted")]
    NotHalted,
}

/// Where a wave begins.
#[must_use]
pub fn start() -> WaveState {
    WaveState::Rolling(Rolling { stage: Stage::Canary, forgiven: Forgiven::default() })
}

/// How many nodes a stage reaches, all before it included.
#[must_use]
pub fn reach(stage: Stage, nodes: u64) -> u64 {
    let share = match stage {
        Stage::Canary => 1,
        Stage::OnePercent => nodes.div_ceil(100),
        Stage::TenPercent => nodes.div_ceil(10),
        Stage::All => nodes,
    };
    share.min(nodes)
}

/// All stages with how many nodes each reaches.
#[must_use]
pub fn stages(nodes: u64) -> Vec<(Stage, u64)> {
    let all = [Stage::Canary, Stage::OnePercent, Stage::TenPercent, Stage::All];
    all.into_iter().map(|stage| (stage, reach(stage, nodes))).collect()
}

/// The stage after this one; one that reaches no more nodes is passed over.
fn after(stage: Stage, nodes: u64) -> Option<Stage> {
    let all = [Stage::OnePercent, Stage::TenPercent, Stage::All];
    all.into_iter().find(|next| *next > stage && reach(*next, nodes) > reach(stage, nodes))
}

/// How many nodes the stages are shares of: those that were not passed over.
#[must_use]
pub fn reachable(counts: &WaveCounts) -> u64 {
    counts.nodes.saturating_sub(counts.skipped)
}

/// How many nodes stand where, and by how much their readiness fell.
#[must_use]
pub fn facts<'a>(results: impl Iterator<Item = &'a NodeResult>) -> Facts {
    let mut counts = WaveCounts::default();
    let (mut before, mut after, mut known) = (0_u64, 0_u64, 0_u64);
    for result in results {
        counts.nodes += 1;
        match result {
            NodeResult::Waiting => counts.waiting += 1,
            NodeResult::Begun { .. } | NodeResult::Working { .. } => counts.working += 1,
            NodeResult::Skipped { .. } => counts.skipped += 1,
            NodeResult::Failed { .. } => counts.failed += 1,
            NodeResult::Good { score_before, score_after } => {
                counts.good += 1;
                if let (Some(was), Some(is)) = (score_before, score_after) {
                    (before, after) = (before.saturating_add(*was), after.saturating_add(*is));
                    known += 1;
                }
            }
        }
    }
    let score_drop = before.saturating_sub(after).checked_div(known).unwrap_or(0);
    Facts { counts, score_drop }
}

/// Looks at the wave.
#[must_use]
pub fn tick(state: WaveState, facts: &Facts, policy: &Policy, now: UnixMillis) -> Tick {
    match state {
        WaveState::Rolling(rolling) => roll(rolling, facts, policy, now),
        WaveState::Baking(baking) => bake(baking, facts, policy, now),
        state @ (WaveState::Halted(_) | WaveState::Ended(_)) => Tick { state, begin: 0, event: None },
    }
}

fn roll(rolling: Rolling, facts: &Facts, policy: &Policy, now: UnixMillis) -> Tick {
    let stage = rolling.stage;
    let forgiven = still(rolling.forgiven, facts);
    if let Some(because) = trouble(forgiven, facts, policy) {
        return halted(Halted { stage, because, since: now, forgiven });
    }
    let counts = &facts.counts;
    let nodes = reachable(counts);
    let target = reach(stage, nodes);
    let come = nodes.saturating_sub(counts.waiting);
    if come >= target && counts.working == 0 {
        let event = format!("{target} nodes are through; waiting whether they stay well");
        let state = WaveState::Baking(Baking { stage, since: now, forgiven });
        return Tick { state, begin: 0, event: Some(event) };
    }
    let room = policy.sections().waves.at_once_max.saturating_sub(counts.working);
    let begin = target.saturating_sub(come).min(room);
    Tick { state: WaveState::Rolling(Rolling { stage, forgiven }), begin, event: None }
}

fn bake(baking: Baking, facts: &Facts, policy: &Policy, now: UnixMillis) -> Tick {
    let Baking { stage, since, .. } = baking;
    let forgiven = still(baking.forgiven, facts);
    if let Some(because) = trouble(forgiven, facts, policy) {
        return halted(Halted { stage, because, since: now, forgiven });
    }
    // A clock that was set back makes it wait longer, never shorter.
    let bake_millis = policy.sections().waves.bake_minutes.saturating_mul(60_000);
    if now.millis_since(since) < bake_millis {
        let state = WaveState::Baking(Baking { stage, since, forgiven });
        return Tick { state, begin: 0, event: None };
    }
    let nodes = reachable(&facts.counts);
    match after(stage, nodes) {
        Some(stage) => Tick {
            state: WaveState::Rolling(Rolling { stage, forgiven }),
            begin: 0,
            event: Some(format!("goes on to {} of {nodes} nodes", reach(stage, nodes))),
        },
        None => Tick {
            state: WaveState::Ended(Ended { at: now, given_up: None }),
            begin: 0,
            event: Some("all stages are through".to_owned()),
        },
    }
}

/// What was let pass and has come right since makes no room for others.
fn still(forgiven: Forgiven, facts: &Facts) -> Forgiven {
    Forgiven { failed: forgiven.failed.min(facts.counts.failed), ..forgiven }
}

fn halted(halted: Halted) -> Tick {
    let event = Some(format!("halted: {}", halted.because));
    Tick { state: WaveState::Halted(halted), begin: 0, event }
}

/// Why the wave must not go on, beyond what a person lets pass.
fn trouble(forgiven: Forgiven, facts: &Facts, policy: &Policy) -> Option<String> {
    let limits = &policy.sections().waves;
    let counts = &facts.counts;
    let failed = counts.failed.saturating_sub(forgiven.failed);
    let finished = counts.good.saturating_add(failed);
    // Wider than any count times a hundred, so nothing is cut off.
    if u128::from(failed) * 100 > u128::from(finished) * u128::from(limits.failure_percent_max) {
        let most = limits.failure_percent_max;
        return Some(format!("{failed} of {finished} nodes failed, more than {most} percent"));
    }
    let most = limits.score_drop_max.max(forgiven.score_drop);
    if facts.score_drop > most {
        return Some(format!(
            "the readiness of its nodes fell by {} points, more than {most}",
            facts.score_drop
        ));
    }
    None
}

/// A person halts it.
///
/// # Errors
/// If it is halted already or has ended.
pub fn halt(state: WaveState, why: &str, now: UnixMillis) -> Result<WaveState, WaveRefused> {
    let (stage, forgiven) = match state {
        WaveState::Rolling(Rolling { stage, forgiven }) => (stage, forgiven),
        WaveState::Baking(Baking { stage, forgiven, .. }) => (stage, forgiven),
        WaveState::Halted(_) => return Err(WaveRefused::Halted),
        WaveState::Ended(_) => return Err(WaveRefused::Ended),
    };
    Ok(WaveState::Halted(Halted { stage, because: why.to_owned(), since: now, forgiven }))
}

/// A person has looked and lets it go on; what is known now does not halt it again.
///
/// # Errors
/// Unless it is halted.
pub fn resume(state: WaveState, facts: &Facts) -> Result<WaveState, WaveRefused> {
    match state {
        WaveState::Halted(Halted { stage, .. }) => {
            let forgiven = Forgiven { failed: facts.counts.failed, score_drop: facts.score_drop };
            Ok(WaveState::Rolling(Rolling { stage, forgiven }))
        }
        WaveState::Rolling(_) | WaveState::Baking(_) => Err(WaveRefused::NotHalted),
        WaveState::Ended(_) => Err(WaveRefused::Ended),
    }
}

/// A person gives it up. What was begun goes on.
///
/// # Errors
/// If it has ended.
pub fn cancel(state: WaveState, why: &str, now: UnixMillis) -> Result<WaveState, WaveRefused> {
    match state {
        WaveState::Rolling(_) | WaveState::Baking(_) | WaveState::Halted(_) => {
            Ok(WaveState::Ended(Ended { at: now, given_up: Some(why.to_owned()) }))
        }
        WaveState::Ended(_) => Err(WaveRefused::Ended),
    }
}

#[cfg(test)]
mod tests;
