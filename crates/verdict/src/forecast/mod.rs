//! How likely each part fails within the horizon.
//!
//! Gamma–Poisson for each kind of part, hardware model and bucket: the published rate is a prior of so many
//! years, and what the fleet itself has seen of such parts is added to it. `P = 1 − (b / (b + t))^a`.
//!
//! A part is in the worst bucket that one of its readings puts it into; signs are not multiplied, as they are
//! seldom independent. Being unlike its peers and the history of the node make it likelier by a factor. A
//! reading that could not be had counts as the step that the model names for it; what it would be at its worst
//! is kept beside it, for the question whether a deeper look could change anything.
//!
//! A worse value never gives a smaller probability: steps rise, and a step counts as no better than those
//! below it, whatever the fleet has seen.

mod hazard;
pub(crate) mod parts;
pub(crate) mod peers;
#[cfg(test)]
mod tests;
mod wear;

use contract::outlook::{ComponentForecast, ComponentKind, Contribution, Effect};

use crate::facts::Facts;
use crate::forecast::hazard::Hazard;
use crate::forecast::parts::Part;
use crate::history;
use crate::model::{Model, Sign};
pub(crate) use parts::kind_of;

/// How many parts a decision tells of; the likeliest to fail.
const TOLD_MAX: usize = 32;
/// One.
pub(crate) const MILLION: u64 = 1_000_000;

/// What is ahead of a node, in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Risk {
    /// That any part fails within the horizon.
    pub failure_parts_per_million: u64,
    /// The same, if what could not be read were at its worst.
    pub at_worst_parts_per_million: u64,
}

/// One part, how likely it fails, and from what that comes.
struct Outlook<'a> {
    part: Part<'a>,
    hazard: Hazard,
    /// With what could not be read at its worst.
    at_worst: Hazard,
    sign: Option<(&'a Sign, usize)>,
    factors: Vec<(String, u64, &'static str)>,
}

/// How likely a node fails within the horizon.
pub(crate) fn risk(facts: &Facts<'_>, model: &Model) -> Risk {
    let (mut sound, mut sound_at_worst) = (1.0, 1.0);
    for outlook in outlooks(facts, model) {
        sound *= 1.0 - outlook.hazard.probability(model.horizon_days());
        sound_at_worst *= 1.0 - outlook.at_worst.probability(model.horizon_days());
    }
    Risk {
        failure_parts_per_million: hazard::parts_per_million(1.0 - sound),
        at_worst_parts_per_million: hazard::parts_per_million(1.0 - sound_at_worst),
    }
}

/// What a model foretells for a part of this kind and hardware model in this bucket, by itself: without peers
/// and the node's history.
pub(crate) fn probability_of_bucket(
    model: &Model,
    kind: ComponentKind,
    hardware_model: &str,
    bucket: &str,
) -> u64 {
    let part = Part::alone(kind, hardware_model);
    let of_kind = model.figures().sign.iter().filter(|sign| sign.kind == kind);
    let mut steps = of_kind.flat_map(|sign| (0..sign.steps.len()).map(move |step| (sign, step)));
    let sign = steps.find(|(sign, step)| sign.steps[*step].1 > 0 && sign.bucket(*step) == bucket);
    hazard::parts_per_million(Hazard::of(model, &part, sign).probability(model.horizon_days()))
}

/// The forecast of each part, likeliest first.
pub(crate) fn components(facts: &Facts<'_>, model: &Model) -> Vec<ComponentForecast> {
    let mut all: Vec<ComponentForecast> =
        outlooks(facts, model).into_iter().map(|outlook| tell(facts, model, &outlook)).collect();
    all.sort_by(|a, b| {
        let most = b.failure_parts_per_million.cmp(&a.failure_parts_per_million);
        most.then_with(|| (a.kind, &a.subject).cmp(&(b.kind, &b.subject)))
    });
    all.truncate(TOLD_MAX);
    all
}

fn outlooks<'a>(facts: &Facts<'a>, model: &'a Model) -> Vec<Outlook<'a>> {
    let history = history::factor(facts, &model.figures().forecast);
    parts::of(facts).into_iter().map(|part| outlook(facts, model, part, history)).collect()
}

fn outlook<'a>(facts: &Facts<'a>, model: &'a Model, part: Part<'a>, history: Option<u64>) -> Outlook<'a> {
    let base = Hazard::of(model, &part, None);
    let (mut hazard, mut at_worst, mut found) = (base.clone(), base, None);
    for sign in model.figures().sign.iter().filter(|sign| part.has(sign)) {
        let shown = parts::value(facts, &part, sign);
        let read = shown.most.map(|value| sign.step_of(value));
        let unread = shown.lost.then(|| sign.step_of(sign.unread));
        let Some(step) = read.max(unread) else { continue };
        let worst = if shown.lost { sign.steps.len().saturating_sub(1) } else { step };
        let (up_to, at) = worst_up_to(model, &part, sign, step);
        if up_to.is_worse_than(&hazard) {
            (hazard, found) = (up_to, Some((sign, at)));
        }
        let (up_to_worst, _) = worst_up_to(model, &part, sign, worst);
        if up_to_worst.is_worse_than(&at_worst) {
            at_worst = up_to_worst;
        }
    }
    let mut factors = Vec::new();
    if let Some((words, factor)) = peers::unlike(facts, &part, &model.figures().forecast) {
        factors.push((
            words,
            factor,
            "robust z against machines with the same part; model: forecast.peer_factor_thousandths",
        ));
    }
    if let Some(factor) = history {
        let words = "the node had to be put right before".to_owned();
        factors.push((words, factor, "model: forecast.history_factor_thousandths"));
    }
    for (_, factor, _) in &factors {
        hazard.times(*factor);
        at_worst.times(*factor);
    }
    Outlook { part, hazard, at_worst, sign: found, factors }
}

/// The worst of a sign's steps up to this one.
fn worst_up_to(model: &Model, part: &Part<'_>, sign: &Sign, step: usize) -> (Hazard, usize) {
    let mut worst = (Hazard::of(model, part, None), 0);
    for at in (0..=step).filter(|at| sign.steps.get(*at).is_some_and(|(_, rate)| *rate > 0)) {
        let hazard = Hazard::of(model, part, Some((sign, at)));
        if !worst.0.is_worse_than(&hazard) {
            worst = (hazard, at);
        }
    }
    worst
}

fn tell(facts: &Facts<'_>, model: &Model, outlook: &Outlook<'_>) -> ComponentForecast {
    let part = &outlook.part;
    let bucket = hazard::bucket(outlook.sign);
    let rate = |what: String, rate, source: &str| Contribution {
        what,
        effect: Effect::Rate { failures_per_million_years: rate },
        source: source.to_owned(),
    };
    let mut contributions = vec![rate(
        format!("published for this kind of part, {bucket}"),
        hazard::prior_rate(model, part, outlook.sign),
        if outlook.sign.is_some() { "model: sign" } else { "model: rate" },
    )];
    if let Some(row) = hazard::observed(model, part, &bucket) {
        contributions.push(rate(
            format!("with {} failures in {} part-days of this fleet", row.failures, row.exposure_days),
            hazard::rate_with_own(model, part, outlook.sign),
            "model: observed",
        ));
    }
    contributions.extend(outlook.factors.iter().map(|(what, thousandths, source)| Contribution {
        what: what.clone(),
        effect: Effect::Factor { thousandths: *thousandths },
        source: (*source).to_owned(),
    }));
    ComponentForecast {
        subject: part.subject.clone(),
        kind: part.kind,
        hardware_model: part.hardware_model.to_owned(),
        bucket,
        horizon_days: model.horizon_days(),
        failure_parts_per_million: hazard::parts_per_million(
            outlook.hazard.probability(model.horizon_days()),
        ),
        contributions,
        wear_out: wear::wear_out(facts, part, model),
    }
}
