//! What would have given another action, found by judging again with something changed.

use contract::assignment::{DataOwner, NodeContext};
use contract::decision::Action;
use contract::evidence::Evidence;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use crate::combine;
use crate::cost::Bill;
use crate::facts::Facts;
use crate::forecast;
use crate::judge::{Judged, action_name, weigh};
use crate::model::Model;
use crate::rules::{Demand, Ruled};

/// How many sentences at most.
const SENTENCES_MAX: usize = 10;

/// One sentence for each change that gives another action.
pub(crate) fn what_would_change_it(facts: &Facts<'_>, model: &Model, judged: &Judged) -> Vec<String> {
    let mut sentences =
        if judged.action == Action::Keep { worse(facts, model) } else { better(facts, judged) };
    sentences.truncate(SENTENCES_MAX);
    sentences
}

/// Takes findings away: first each alone, then, if none alone matters, all of the strongest demand.
fn better(facts: &Facts<'_>, judged: &Judged) -> Vec<String> {
    let deciding: Vec<usize> =
        (0..judged.ruled.len()).filter(|at| judged.ruled[*at].demand > Demand::Watch).collect();
    let mut sentences = Vec::new();
    for at in &deciding {
        let action = without(facts, &judged.ruled, &|other, _| other == *at);
        if action != judged.action {
            let statement = judged.ruled[*at].finding.statement.trim_end_matches('.');
            sentences.push(format!(
                "Were it not so that \"{statement}\", the action would be {}.",
                action_name(action)
            ));
        }
    }
    if sentences.is_empty() {
        let weight = |ruled: &Ruled| combine::weight(judged.action, ruled.demand);
        let most = judged.ruled.iter().map(weight).max();
        let decided = |ruled: &Ruled| match weight(ruled) {
            (true, _) => true,
            alone => Some(alone) == most,
        };
        let action = without(facts, &judged.ruled, &|_, ruled| decided(ruled));
        let count = judged.ruled.iter().filter(|ruled| decided(ruled)).count();
        if action != judged.action {
            sentences.push(format!(
                "Without the first {count} reasons together, the action would be {}.",
                action_name(action)
            ));
        } else {
            let action = without(facts, &judged.ruled, &|_, ruled| ruled.demand > Demand::Watch);
            sentences
                .push(format!("Without all reasons together, the action would be {}.", action_name(action)));
        }
    }
    sentences
}

/// The action without the findings that `taken` names. What forbids an action is found again, unless
/// it is what was taken away.
fn without(facts: &Facts<'_>, ruled: &[Ruled], taken: &dyn Fn(usize, &Ruled) -> bool) -> Action {
    let gate_ids = ["request/protected", "request/hold", "request/image-assigned", "request/trust-to-write"];
    let gone: Vec<&str> = ruled
        .iter()
        .enumerate()
        .filter(|(at, r)| taken(*at, r))
        .map(|(_, r)| r.finding.rule.as_str())
        .collect();
    let kept = ruled
        .iter()
        .enumerate()
        .filter(|(at, r)| !taken(*at, r) && !gate_ids.contains(&r.finding.rule.as_str()));
    let mut kept: Vec<Ruled> = kept.map(|(_, r)| r.clone()).collect();
    let before_gates = kept.len();
    let _ = combine::action(facts, &mut kept);
    let gates = kept.split_off(before_gates);
    kept.extend(gates.into_iter().filter(|gate| !gone.contains(&gate.finding.rule.as_str())));
    combine::demanded(facts, &kept)
}

/// Makes the facts worse, one thing at a time, and judges again.
fn worse(facts: &Facts<'_>, model: &Model) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut tell = |condition: String, evidence: &Evidence, context: &NodeContext| {
        let facts = Facts::of(evidence, context, facts.policy, facts.now);
        let bill = Bill::of(&facts, model, forecast::risk(&facts, model));
        let action = weigh(&facts, &bill).action;
        if action != Action::Keep {
            sentences.push(format!("{condition}, the action would be {}.", action_name(action)));
        }
    };
    let mut context = facts.context.clone();
    context.data_owner = DataOwner::Unknown;
    tell("If the data belonged to another tenant".to_owned(), facts.evidence, &context);

    let one_file = ReadingValue::list(vec!["/usr/bin/example".to_owned()]);
    if let Some(evidence) =
        with_reading(facts.evidence, &Subject::Image, ReadingKey::ImageFilesAltered, one_file)
    {
        tell("If one immutable file were altered".to_owned(), &evidence, facts.context);
    }
    let other_image = ReadingValue::Text("another image".to_owned());
    if let Some(evidence) =
        with_reading(facts.evidence, &Subject::Image, ReadingKey::ImageInstalled, other_image)
    {
        tell("If another image were installed".to_owned(), &evidence, facts.context);
    }
    let disks = facts.disks().unwrap_or_default();
    for (key, value, words) in [
        (ReadingKey::NvmeCriticalWarning, 4, "reported that it became unreliable"),
        (ReadingKey::DiskReadErrors, 1, "failed to answer one read"),
    ] {
        for disk in disks {
            let subject = Subject::Disk(disk.id.clone());
            if let Some(evidence) = with_reading(facts.evidence, &subject, key, ReadingValue::Count(value)) {
                tell(format!("If disk {} {words}", disk.id), &evidence, facts.context);
                break;
            }
        }
    }
    sentences
}

/// The evidence with one reading's value replaced; `None` if there is no such reading.
fn with_reading(
    evidence: &Evidence,
    subject: &Subject,
    key: ReadingKey,
    value: ReadingValue,
) -> Option<Evidence> {
    let mut changed = evidence.clone();
    let reading =
        changed.readings.iter_mut().find(|reading| reading.key == key && &reading.subject == subject)?;
    reading.outcome = Outcome::Value(value);
    Some(changed)
}
