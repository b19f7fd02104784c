//! What a node's history says: how often it was put right, for what, and whether that held.
//!
//! An *episode* is a run of verdicts that put the node right, ended by one that found nothing to put right:
//! however often a machine was looked at while it was being written, that is one. Only what was found counts
//! (integrity, fitness); what a person asked for (another image, other node data), work that was cut off, or a
//! change of tenant is no sign of sickness. What came
//! before the newest quarantine has been looked at by a person.

use contract::assignment::PastVerdict;
use contract::decision::Action;

use crate::facts::Facts;
use crate::model::ForecastModel;

/// One time that a node was put right, over by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Episode<'a> {
    /// The rule of the first reason.
    pub rule: &'a str,
    /// What it said.
    pub because: &'a str,
}

/// The episodes of the policy's window, newest first.
pub(crate) fn episodes<'a>(facts: &Facts<'a>) -> Vec<Episode<'a>> {
    let window_hours = facts.thresholds().fitness.remediations_window_hours;
    let window_millis = window_hours.saturating_mul(3_600_000);
    let mut episodes: Vec<Episode<'a>> = Vec::new();
    // Newest first: what follows a remedy in time comes before it here.
    let mut held = false;
    let mut inside = false;
    for past in &facts.context.history {
        if past.action == Action::Quarantine || facts.now.millis_since(past.decided_at) > window_millis {
            break;
        }
        match past.action {
            Action::LookDeeper => {}
            Action::Repair | Action::Reimage | Action::Wipe => {
                if held && let Some(episode) = found_by(past) {
                    // Of one run the first verdict in time says why.
                    if inside {
                        episodes.pop();
                    }
                    episodes.push(episode);
                    inside = true;
                }
            }
            Action::Keep | Action::Quarantine => (held, inside) = (true, false),
        }
    }
    episodes
}

/// Rules of integrity that hold what is there against what is wanted, and so find a change of what is wanted.
const WANTED_OTHERWISE: [&str; 4] = [
    "integrity/image-installed",
    "integrity/image-unfinished",
    "integrity/node-data",
    "integrity/data-partitions",
];

fn found_by(past: &PastVerdict) -> Option<Episode<'_>> {
    let rule = past.recalled.rule.as_deref()?;
    let wrong = rule.starts_with("integrity/") && !WANTED_OTHERWISE.contains(&rule);
    let found = wrong || rule.starts_with("fitness/");
    found.then_some(Episode { rule, because: &past.because })
}

/// How much likelier a node fails that had to be put right before, in thousandths; none if it had not.
pub(crate) fn factor(facts: &Facts<'_>, model: &ForecastModel) -> Option<u64> {
    let count = episodes(facts).len();
    let most = model.history_factor_thousandths_most;
    let each = |factor: u64, _| (factor.saturating_mul(model.history_factor_thousandths) / 1000).min(most);
    (count > 0).then(|| (0..count).fold(1000, each))
}
