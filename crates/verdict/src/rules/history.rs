//! F55–F57: what the node's history adds to what was found now.
//!
//! Nothing here speaks against a node in which nothing is found now but F55, which only watches. A history is
//! the same for better and for worse evidence, so a worse value is never judged milder for it.

use contract::decision::{Axis, Fitness};
use contract::reading::Subject;

use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;
use crate::history::episodes;
use crate::recall::RECENTLY_WATCHED;

/// F55: a node that was watched is fit again only when several looks in a row found nothing.
const RECENT: Rule = Rule {
    id: RECENTLY_WATCHED,
    axis: Axis::Fitness,
    source: "ours: what comes and goes is not gone; policy: outlook.clean_looks_min",
};
/// F56: not put right again and again.
const TOO_OFTEN: Rule = Rule {
    id: "fitness/put-right-too-often",
    axis: Axis::Fitness,
    source: "NVSentinel: five remediations in seven days; policy: outlook.remediations_quarantine_from",
};
/// F57: not put right again and again for the same thing.
const SAME_CAUSE: Rule = Rule {
    id: "fitness/same-cause-again",
    axis: Axis::Fitness,
    source: "decision model 2.3 row 41: two remedies for one cause mean hardware; policy: outlook.same_cause_quarantine_from",
};

/// What the history adds to what the axes found.
pub(crate) fn judge(facts: &Facts<'_>, fitness: Fitness, ruled: &[Ruled]) -> Vec<Ruled> {
    let mut added = Vec::new();
    added.extend(recently_watched(facts, fitness));
    let to_be_put_right: Vec<&Ruled> = ruled
        .iter()
        .filter(|ruled| matches!(ruled.finding.axis, Axis::Integrity | Axis::Fitness))
        .filter(|ruled| ruled.demand >= Demand::Repair)
        .collect();
    if to_be_put_right.is_empty() {
        return added;
    }
    added.extend(too_often(facts));
    added.extend(same_cause(facts, &to_be_put_right));
    added
}

fn recently_watched(facts: &Facts<'_>, fitness: Fitness) -> Option<Ruled> {
    let looks = facts.thresholds().outlook.clean_looks_min;
    let before = usize::try_from(looks.saturating_sub(1)).unwrap_or(usize::MAX);
    let known =
        facts.context.history.iter().filter_map(|past| past.recalled.fitness.map(|seen| (past, seen)));
    let (past, _) = known.take(before).find(|(_, seen)| *seen != Fitness::Fit)?;
    let seen =
        Seen::fact(Subject::Node, "found something", format!("{looks} looks in a row that find nothing"));
    (fitness == Fitness::Fit).then(|| {
        let said = past.because.trim_end_matches('.');
        RECENT.found(
            Demand::Watch,
            seen,
            format!("Nothing is found now, but an earlier look found something against the hardware; its first reason was \"{said}\"."),
        )
    })
}

fn quarantine(facts: &Facts<'_>) -> Demand {
    // An order to erase and leave empty goes before what is wrong with the hardware.
    if facts.leaves_empty() { Demand::Watch } else { Demand::Quarantine }
}

fn too_often(facts: &Facts<'_>) -> Option<Ruled> {
    let from = facts.thresholds().outlook.remediations_quarantine_from;
    let hours = facts.thresholds().fitness.remediations_window_hours;
    let count = episodes(facts).len() as u64;
    (count >= from).then(|| {
        let seen = Seen::fact(Subject::Node, count, format!("fewer than {from} in {hours} h"));
        let statement = format!(
            "The node was put right {count} times in {hours} h, and has to be again: a person has to look."
        );
        TOO_OFTEN.found(quarantine(facts), seen, statement)
    })
}

fn same_cause(facts: &Facts<'_>, now: &[&Ruled]) -> Option<Ruled> {
    let from = facts.thresholds().outlook.same_cause_quarantine_from;
    let episodes = episodes(facts);
    let times = |ruled: &Ruled| {
        let finding = &ruled.finding;
        let alike = |past: &&crate::history::Episode<'_>| {
            past.rule == finding.rule && past.because == finding.statement
        };
        episodes.iter().filter(alike).count() as u64
    };
    let (again, count) = now.iter().map(|ruled| (ruled, times(ruled))).find(|(_, count)| *count >= from)?;
    let seen =
        Seen::fact(again.finding.subject.clone(), count, format!("put right for it fewer than {from} times"));
    let said = again.finding.statement.trim_end_matches('.');
    let statement =
        format!("That \"{said}\" was put right {count} times and did not hold: a person has to look.");
    Some(SAME_CAUSE.found(quarantine(facts), seen, statement))
}
