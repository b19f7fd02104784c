//! F65 to F70: what the node's management controller says of it. Called by `fitness`. A node without one that the
//! service asks is judged as if there were none.
//!
//! Its word is out-of-band (decision model 6.1): what runs on the machine can neither hide nor change it. It only
//! adds findings, so it makes no verdict milder: a controller that finds all well speaks for nothing. What it said
//! counts for `bmc.age_max_seconds`, also while it does not answer any more; after that it is unknown, which is
//! watched as shipped, because a controller that fails says nothing of the machine, and the kernel has sensors of
//! its own.

use contract::bmc::{BmcCondition, BmcPart, BmcPartKind, BmcTold, BmcView};
use contract::decision::Axis;
use contract::reading::Subject;

use super::flags::demanded;
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;
use crate::policy::Response;

/// The service's time may jump back by so much without what was told before being of the future.
const CLOCK_MAY_JUMP_MILLIS: u64 = 5 * 60_000;

const REDFISH: &str = "Redfish (DMTF DSP0268) Status and Thresholds; decision model 2.3 row 39; policy: bmc";

/// F65: the controller was asked, and what it said is of now.
const READINGS: Rule = Rule { id: "fitness/bmc-readings", axis: Axis::Fitness, source: REDFISH };
/// F66: no temperature is beyond its limits.
const TEMPERATURE: Rule = Rule { id: "fitness/bmc-temperature", axis: Axis::Fitness, source: REDFISH };
/// F67: every fan turns.
const FAN: Rule = Rule { id: "fitness/bmc-fan", axis: Axis::Fitness, source: REDFISH };
/// F68: every power supply works, and every voltage is within its limits.
const POWER: Rule = Rule { id: "fitness/bmc-power", axis: Axis::Fitness, source: REDFISH };
/// F69: what is to bear the loss of a fan or a power supply still does.
const REDUNDANCY: Rule = Rule { id: "fitness/bmc-redundancy", axis: Axis::Fitness, source: REDFISH };
/// F70: the machine as a whole, and what else the controller watches.
const HEALTH: Rule = Rule { id: "fitness/bmc-health", axis: Axis::Fitness, source: REDFISH };

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let Some(view) = &facts.context.bmc else { return };
    match fresh(facts, view) {
        Ok(told) => {
            ruled.extend(told.bad.iter().filter_map(|part| bad(facts, part)));
            ruled.extend(in_all(facts, told));
        }
        Err(why) => ruled.extend(unknown(facts, &why, "")),
    }
}

/// What was told, if it is of now; else why there is nothing.
fn fresh<'a>(facts: &Facts<'_>, view: &'a BmcView) -> Result<&'a BmcTold, String> {
    let failure = view.failure.as_deref();
    let Some(told) = &view.told else {
        return Err(failure.unwrap_or("it was not asked yet").to_owned());
    };
    if told.observed_at.millis_since(facts.now) > CLOCK_MAY_JUMP_MILLIS {
        return Err("what it said is of the future; a clock was set".to_owned());
    }
    let age_seconds = facts.now.millis_since(told.observed_at) / 1000;
    if age_seconds > facts.thresholds().bmc.age_max_seconds {
        let since = format!("what it said is {age_seconds} s old");
        return Err(failure.map_or(since.clone(), |why| format!("{since}, and since then: {why}")));
    }
    Ok(told)
}

fn unknown(facts: &Facts<'_>, why: &str, besides: &str) -> Option<Ruled> {
    let policy = &facts.thresholds().bmc;
    let threshold = format!("whole, and at most {} s old", policy.age_max_seconds);
    let seen = Seen::fact(Subject::Node, why, threshold);
    let statement = format!("The management controller could not tell how the machine is{besides}: {why}.");
    Some(READINGS.unknown(demanded(policy.unreadable)?, seen, statement))
}

/// What holds for all that was told: that it is whole, or what is missing in it.
fn in_all(facts: &Facts<'_>, told: &BmcTold) -> Option<Ruled> {
    if !told.unread.is_empty() {
        return unknown(facts, &told.unread.join("; "), " in all that was asked");
    }
    let BmcTold { good, not_told, bad_total, .. } = told;
    let listed = told.bad.len() as u64;
    if u64::from(*bad_total) > listed {
        return unknown(
            facts,
            &format!("{bad_total} parts are not good, and {listed} of them are listed"),
            "",
        );
    }
    let silent = if *not_told > 0 { format!(", and says nothing of {not_told}") } else { String::new() };
    let seen = Seen::fact(Subject::Node, format!("{good} good, {bad_total} not"), "told, and of now");
    let statement = format!("The management controller finds {good} parts of the machine good{silent}.");
    Some(READINGS.found(Demand::Nothing, seen, statement))
}

/// The finding about a part that is not good; none if the policy does not care.
fn bad(facts: &Facts<'_>, part: &BmcPart) -> Option<Ruled> {
    let policy = &facts.thresholds().bmc;
    let (rule, critical) = match part.kind {
        BmcPartKind::Temperature => (TEMPERATURE, policy.temperature_critical),
        BmcPartKind::Fan => (FAN, policy.part_critical),
        BmcPartKind::PowerSupply | BmcPartKind::Voltage => (POWER, policy.part_critical),
        BmcPartKind::Redundancy => (REDUNDANCY, policy.redundancy_lost),
        BmcPartKind::System | BmcPartKind::Other => (HEALTH, policy.part_critical),
    };
    let response = match part.condition {
        BmcCondition::Critical => critical,
        // A group that still bears the load, and the loss of nothing more, is called a warning by some.
        BmcCondition::Warning if part.kind == BmcPartKind::Redundancy => critical,
        BmcCondition::Warning => least(policy.warning, critical),
    };
    let word = match part.condition {
        BmcCondition::Critical => "critical",
        BmcCondition::Warning => "not as it should be",
    };
    let seen =
        Seen::fact(Subject::Sensor(part.name.clone()), &part.said, "good, by the controller's own limits");
    let (kind, name, said) = (what(part.kind), &part.name, &part.said);
    let statement = format!("The management controller calls {kind} {name} {word}: {said}.");
    Some(rule.found(demanded(response)?, seen, statement))
}

/// A warning asks for no more than what is critical.
fn least(one: Response, other: Response) -> Response {
    match (one, other) {
        (Response::Ignore, _) | (_, Response::Ignore) => Response::Ignore,
        (Response::Watch, _) | (_, Response::Watch) => Response::Watch,
        (Response::Quarantine, Response::Quarantine) => Response::Quarantine,
    }
}

fn what(kind: BmcPartKind) -> &'static str {
    match kind {
        BmcPartKind::Temperature => "the temperature",
        BmcPartKind::Fan => "the fan",
        BmcPartKind::PowerSupply => "the power supply",
        BmcPartKind::Voltage => "the voltage, current or power",
        BmcPartKind::Redundancy => "the redundancy of",
        BmcPartKind::System => "the",
        BmcPartKind::Other => "the sensor",
    }
}

#[cfg(test)]
mod tests;
