//! Which nodes would get another verdict under a new policy file. The service judges each node's last
//! evidence under both; nothing is changed.

use contract::decision::Confidentiality;
use contract::policy_api::{Axes, PolicyDiff, PolicyDiffRequest, PolicyLayer, VerdictChange};
use serde::Serialize;

use super::{Diff, read};
use crate::Ending;
use crate::client::Client;
use crate::output::{clean, print, print_json, short, table, trimmed, word};

/// How many nodes a table shows.
const ROWS_MAX: usize = 200;
/// How many answers are asked for at most: more nodes than a site has.
const ANSWERS_MAX: usize = 5_000;

/// All parts of the answer together.
#[derive(Debug, Default, Serialize)]
struct Whole {
    judged: u64,
    not_judged: u64,
    changes: Vec<VerdictChange>,
}

/// `reprieve policy diff NEW [--pool P]`.
pub async fn diff(client: &Client, request: &Diff, json: bool) -> anyhow::Result<Ending> {
    let new = PolicyLayer { name: request.new.display().to_string(), text: read(&request.new)? };
    let mut ask = PolicyDiffRequest { new, pool: request.pool.clone(), after: None };
    let mut whole = Whole::default();
    for _ in 0..ANSWERS_MAX {
        let part: PolicyDiff = client.post("/v1/policy/diff", &ask).await?;
        whole.judged += part.judged;
        whole.not_judged += part.not_judged;
        whole.changes.extend(part.changes);
        match part.next {
            Some(next) if Some(next) > ask.after => ask.after = Some(next),
            _ => break,
        }
    }
    if json {
        print_json(&whole)?;
    } else {
        print(&in_words(&whole))?;
    }
    Ok(Ending::Good)
}

/// What stands tells more where the new verdict is the milder one.
fn because(change: &VerdictChange) -> &str {
    let how_bad = |axes: &Option<Axes>| axes.as_ref().map(|axes| (axes.fitness, axes.integrity));
    let before = (change.before, how_bad(&change.before_axes));
    let after = (change.after, how_bad(&change.after_axes));
    if after >= before { &change.after_because } else { &change.before_because }
}

/// Both actions, each with the axes that are not the same under both policies.
fn told(change: &VerdictChange) -> (String, String) {
    let (mut before, mut after) = (word(&change.before), word(&change.after));
    let (Some(now), Some(then)) = (&change.before_axes, &change.after_axes) else { return (before, after) };
    let mut differs = |axis: &str, now: String, then: String| {
        if now != then {
            before.push_str(&format!("; {axis} {now}"));
            after.push_str(&format!("; {axis} {then}"));
        }
    };
    differs("data", data(&now.confidentiality), data(&then.confidentiality));
    differs("software", word(&now.integrity), word(&then.integrity));
    differs("hardware", word(&now.fitness), word(&then.fitness));
    (before, after)
}

fn data(confidentiality: &Confidentiality) -> String {
    match confidentiality {
        Confidentiality::KeepData => "may stay".to_owned(),
        Confidentiality::Sanitize { level, disks } => format!("{} on {} disks", word(level), disks.len()),
        Confidentiality::Undetermined { .. } => "not known".to_owned(),
    }
}

fn in_words(whole: &Whole) -> String {
    let changed = whole.changes.len();
    let mut words = match changed {
        0 => format!("none of {} nodes would get another verdict", whole.judged),
        1 => format!("this 1 of {} nodes would get another verdict", whole.judged),
        _ => format!("these {changed} of {} nodes would get another verdict", whole.judged),
    };
    if whole.not_judged > 0 {
        words.push_str(&format!("; {} were never judged", whole.not_judged));
    }
    if changed > 0 {
        let mut rows = table(&["node", "pool", "now", "then", "because"]);
        for change in whole.changes.iter().take(ROWS_MAX) {
            let (before, after) = told(change);
            rows.add_row([
                short(&change.node),
                change.pool.to_string(),
                before,
                after,
                clean(because(change)),
            ]);
        }
        words.push_str(&format!("\n\n{}", trimmed(&rows)));
    }
    if changed > ROWS_MAX {
        words.push_str(&format!("\n{} more; --json has all", changed - ROWS_MAX));
    }
    words
}
