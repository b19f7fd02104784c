//! The judge: three axes, one action, with reasons.

use contract::assignment::NodeContext;
use contract::decision::{Action, Axis, Confidentiality, Decision, Finding, Fitness, Integrity, Rejected};
use contract::evidence::Evidence;
use contract::id::UnixMillis;
use contract::outlook::Remedy;

use crate::cost::{self, Bill};
use crate::facts::Facts;
use crate::model::Model;
use crate::policy::Policy;
use crate::rules::{
    Demand, Ruled, confidentiality, fitness, history, integrity, operator_rules, outlook, request,
};
use crate::{combine, counterfactual, forecast, readiness, remedy};

/// Name and version of the rules, in every decision.
pub const ENGINE: &str = concat!("reprieve-verdict ", env!("CARGO_PKG_VERSION"));

/// How many reasons a decision lists; all findings are there besides.
const REASONS_MAX: usize = 20;

/// What the three axes say, with the findings and the action that follows.
pub(crate) struct Judged {
    pub confidentiality: Confidentiality,
    pub integrity: Integrity,
    pub fitness: Fitness,
    /// Before costs chose.
    pub fitness_by_rules: Fitness,
    pub ruled: Vec<Ruled>,
    pub action: Action,
    /// What the rules demand, before costs chose.
    pub least: Action,
}

/// Judges a node.
///
/// Total: any evidence, however incomplete or contradictory, gives a decision. Deterministic: the
/// same arguments give the same bytes when written as JSON. `now` is the service's time.
#[must_use]
pub fn judge(
    evidence: &Evidence,
    context: &NodeContext,
    policy: &Policy,
    model: &Model,
    now: UnixMillis,
) -> Decision {
    let facts = Facts::of(evidence, context, policy, now);
    let bill = Bill::of(&facts, model, forecast::risk(&facts, model));
    let judged = weigh(&facts, &bill);
    let forecast = forecast::components(&facts, model);
    let findings: Vec<Finding> = judged.ruled.iter().map(|ruled| ruled.finding.clone()).collect();
    let figures = &model.figures().readiness;
    Decision {
        node: context.node,
        evidence: evidence.id,
        decided_at: now,
        reasons: reasons(&judged),
        rejected: rejected(&judged),
        what_would_change_it: counterfactual::what_would_change_it(&facts, model, &judged),
        confidentiality: judged.confidentiality,
        integrity: judged.integrity,
        fitness: judged.fitness,
        action: judged.action,
        policy: policy.digest(),
        engine: ENGINE.to_owned(),
        model: Some(model.digest()),
        costs: cost::costs(&facts, &bill, judged.fitness_by_rules, judged.least),
        readiness: Some(readiness::readiness(&facts, figures, &findings, &forecast, judged.action)),
        remedies: remedy::remedies(&facts, &findings),
        forecast,
        findings,
    }
}

/// What follows from the evidence, without what is only told: costs, scores, and what would change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// Whose data the disks hold.
    pub confidentiality: Confidentiality,
    /// Whether the software is what was assigned.
    pub integrity: Integrity,
    /// Whether the hardware is fit.
    pub fitness: Fitness,
    /// What follows.
    pub action: Action,
    /// All that the rules found.
    pub findings: Vec<Finding>,
    /// The rule of the first reason.
    pub first_rule: Option<String>,
    /// Soft fixes, in the order in which they are tried.
    pub remedies: Vec<Remedy>,
}

/// Judges as [`judge`] does, and leaves out what is only told: for those who judge a fleet's years again.
#[must_use]
pub fn conclude(
    evidence: &Evidence,
    context: &NodeContext,
    policy: &Policy,
    model: &Model,
    now: UnixMillis,
) -> Conclusion {
    let facts = Facts::of(evidence, context, policy, now);
    let judged = weigh(&facts, &Bill::of(&facts, model, forecast::risk(&facts, model)));
    let first_rule = deciding(&judged).first().map(|ruled| ruled.finding.rule.clone());
    let findings: Vec<Finding> = judged.ruled.into_iter().map(|ruled| ruled.finding).collect();
    Conclusion {
        confidentiality: judged.confidentiality,
        integrity: judged.integrity,
        fitness: judged.fitness,
        action: judged.action,
        first_rule,
        remedies: remedy::remedies(&facts, &findings),
        findings,
    }
}

/// All rules, what costs choose within what they leave open, then the action; everything but the words.
pub(crate) fn weigh(facts: &Facts<'_>, bill: &Bill<'_>) -> Judged {
    let (confidentiality, mut ruled) = confidentiality::judge(facts);
    let (integrity, integrity_ruled) = integrity::judge(facts);
    let (by_parts, fitness_ruled) = fitness::judge(facts);
    let request_ruled = request::judge(facts, &integrity_ruled);
    let operator_ruled = operator_rules::judge(facts, &integrity_ruled);
    ruled.extend(integrity_ruled);
    ruled.extend(fitness_ruled);
    let remembered = history::judge(facts, by_parts, &ruled);
    let fitness_by_rules = with(by_parts, &remembered);
    ruled.extend(remembered);
    ruled.extend(request_ruled);
    ruled.extend(operator_ruled);
    let least = combine::demanded(facts, &ruled);
    let chosen = outlook::judge(facts, bill, fitness_by_rules, least);
    let fitness = with(fitness_by_rules, &chosen);
    ruled.extend(chosen);
    let action = combine::action(facts, &mut ruled);
    Judged { confidentiality, integrity, fitness, fitness_by_rules, ruled, action, least }
}

/// The third axis with more findings.
fn with(fitness: Fitness, more: &[Ruled]) -> Fitness {
    let of_axis = more.iter().filter(|ruled| ruled.finding.axis == Axis::Fitness);
    let strongest = of_axis.map(|ruled| ruled.demand).max().unwrap_or(Demand::Nothing);
    fitness.max(match strongest {
        Demand::Nothing => Fitness::Fit,
        Demand::Quarantine => Fitness::Quarantine,
        _ => Fitness::Watch,
    })
}

/// The findings that decided, strongest demand first; for keep, what speaks for it and what to watch.
fn reasons(judged: &Judged) -> Vec<Finding> {
    deciding(judged).into_iter().take(REASONS_MAX).map(|ruled| ruled.finding.clone()).collect()
}

fn deciding(judged: &Judged) -> Vec<&Ruled> {
    let mut deciding: Vec<&Ruled> =
        judged.ruled.iter().filter(|ruled| ruled.demand > Demand::Watch).collect();
    deciding.sort_by_key(|ruled| std::cmp::Reverse(combine::weight(judged.action, ruled.demand)));
    if deciding.is_empty() {
        let first_axes = [Axis::Confidentiality, Axis::Integrity];
        let good = judged
            .ruled
            .iter()
            .filter(|r| r.demand == Demand::Nothing && first_axes.contains(&r.finding.axis));
        deciding.extend(good);
        deciding.extend(judged.ruled.iter().filter(|r| r.demand == Demand::Watch));
    }
    deciding
}

/// The action's name as a person reads it.
pub(crate) fn action_name(action: Action) -> &'static str {
    match action {
        Action::Keep => "keep",
        Action::LookDeeper => "look deeper",
        Action::Repair => "repair",
        Action::Reimage => "reimage",
        Action::Wipe => "wipe",
        Action::Quarantine => "quarantine",
    }
}

fn rejected(judged: &Judged) -> Vec<Rejected> {
    let all =
        [Action::Keep, Action::LookDeeper, Action::Repair, Action::Reimage, Action::Wipe, Action::Quarantine];
    let strongest =
        judged.ruled.iter().rev().max_by_key(|ruled| combine::weight(judged.action, ruled.demand));
    let deciding = strongest.map_or("", |ruled| ruled.finding.statement.as_str());
    let others = all.into_iter().filter(|action| *action != judged.action);
    others.map(|action| Rejected { action, because: because(action, judged, deciding) }).collect()
}

fn because(other: Action, judged: &Judged, deciding: &str) -> String {
    let taken = judged.action;
    match (other, taken) {
        (Action::Quarantine, Action::Wipe) if judged.fitness == Fitness::Quarantine => {
            "the order to erase and install nothing goes before what is wrong with the hardware".to_owned()
        }
        (Action::LookDeeper, Action::Keep) => "what was seen is enough to keep the node".to_owned(),
        (Action::LookDeeper, _) => format!("what was seen is enough to decide: {deciding}"),
        (_, Action::LookDeeper) if other > taken => "nothing is written before a deeper look".to_owned(),
        (_, Action::Quarantine) if other > Action::LookDeeper => {
            format!("nothing may be written: {deciding}")
        }
        _ if other < taken => format!("it would not be enough: {deciding}"),
        (Action::Quarantine, _) => "nothing found asks for taking the node out".to_owned(),
        _ => format!("{} is enough; nothing found asks for more", action_name(taken)),
    }
}

#[cfg(test)]
mod tests {
    use contract::reading::ReadingKey;

    use super::*;
    use crate::recall::{recall, recall_conclusion};
    use crate::testing::{Case, DATA_DISK, OS_DISK, disk_subject};

    #[test]
    fn what_is_concluded_without_words_is_what_is_decided() {
        let key = ReadingKey::AtaReallocatedSectors;
        let cases = [
            Case::healthy(),
            Case::healthy().count(disk_subject(DATA_DISK), key, 100),
            Case::healthy().count(disk_subject(DATA_DISK), key, 5000),
            Case::healthy().unreadable(disk_subject(OS_DISK), ReadingKey::DiskReadErrors),
        ];
        for case in cases {
            let decided = case.judge();
            let (evidence, context) = (&case.evidence, &case.context);
            let concluded = conclude(evidence, context, &case.policy, &case.model, decided.decided_at);
            let tier = evidence.tier;
            assert_eq!(recall(&decided, tier), recall_conclusion(&concluded, tier));
            let Conclusion { confidentiality, integrity, fitness, action, findings, remedies, .. } =
                concluded;
            assert_eq!((action, fitness, integrity), (decided.action, decided.fitness, decided.integrity));
            assert_eq!(confidentiality, decided.confidentiality);
            assert_eq!((findings, remedies), (decided.findings, decided.remedies));
        }
    }
}
