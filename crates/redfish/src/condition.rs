//! What is said of one sensor, fan, power supply, or group of them.
//!
//! | rule | |
//! |---|---|
//! | P1 | what is absent or switched off is not there: an empty bay is no fault (DSP0268, Status.State) |
//! | P2 | the controller's word counts: `Critical`, `Warning`, `OK` (Status.Health) |
//! | P3 | a value at or beyond a critical or fatal limit is critical, whatever health says; the worse of both counts |
//! | P4 | of a temperature only the upper critical limit is critical; a cold one is a warning |
//! | P5 | limits that cannot be meant (an upper one of 0 or less, or not above the lower one) are none |
//! | P6 | values count only while the part is in use, and only if such a part can have them |
//! | P7 | a part without health and without a value beside limits is not told of: neither good nor bad |
//! | P8 | a group that is set up without redundancy has none to lose |
//!
//! P7 because whole models of machines say nothing of the health of their power supplies.

use contract::bmc::{BmcCondition, BmcPartKind};
use serde_json::Value;

use crate::document::{array, clean, number, text};

/// What is said of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// There is no such part, or it is not in use.
    NotThere,
    /// Nothing that could be compared.
    NotTold,
    /// It is good.
    Good,
    /// It is not, and what was said.
    Bad(BmcCondition, String),
}

/// What a status says: state and health.
struct Status<'a> {
    state: Option<&'a str>,
    health: Option<BmcCondition>,
    /// Some health is told, be it good or bad.
    told: bool,
}

impl<'a> Status<'a> {
    fn of(object: &'a Value, names: &[&str]) -> Self {
        let status = object.get("Status").unwrap_or(&Value::Null);
        let words = names.iter().filter_map(|name| text(status, name));
        let words: Vec<Option<BmcCondition>> = words.filter_map(health).collect();
        let state = status.get("State").and_then(Value::as_str);
        Self { state, health: words.iter().copied().flatten().max(), told: !words.is_empty() }
    }

    fn is(&self, states: &[&str]) -> bool {
        self.state.is_some_and(|state| states.iter().any(|one| one.eq_ignore_ascii_case(state)))
    }
}

/// Good is `Some(None)`; a word that nobody knows is no word.
fn health(word: &str) -> Option<Option<BmcCondition>> {
    match word.to_ascii_lowercase().as_str() {
        "ok" => Some(None),
        "warning" => Some(Some(BmcCondition::Warning)),
        "critical" => Some(Some(BmcCondition::Critical)),
        _ => None,
    }
}

/// A sensor, fan or power supply.
pub(crate) fn of_part(kind: BmcPartKind, part: &Value) -> Said {
    let status = Status::of(part, &["Health"]);
    if status.is(&["Absent", "Disabled"]) {
        return Said::NotThere;
    }
    // A power supply without its cord says nothing but this on some machines.
    let stands_by = matches!(kind, BmcPartKind::PowerSupply | BmcPartKind::Fan)
        && status.is(&["UnavailableOffline"])
        && status.health.is_none();
    let in_use = status.state.is_none() || status.is(&["Enabled"]);
    let measured = if in_use { Measured::of(kind, part) } else { None };
    let beyond = measured.as_ref().and_then(|measured| measured.beyond(kind));
    let worst = [status.health, beyond.as_ref().map(|(condition, _)| *condition)].into_iter().flatten().max();
    let worst = worst.or(stands_by.then_some(BmcCondition::Warning));
    match worst {
        Some(condition) => {
            let health = status.health.map(|_| format!("health {}", said(part, "Health")));
            let state = status.state.filter(|_| !in_use).map(|state| format!("state {}", clean(state)));
            let value = match (beyond, &measured) {
                (Some((_, words)), _) => Some(words),
                (None, measured) => measured.as_ref().map(Measured::shown),
            };
            let words: Vec<String> = [health, state, value].into_iter().flatten().collect();
            Said::Bad(condition, clean(&words.join(", ")))
        }
        None if status.told || measured.is_some_and(|measured| measured.has_limits()) => Said::Good,
        None => Said::NotTold,
    }
}

/// The machine as a whole: its own health and that of all that is below it.
pub(crate) fn of_system(system: &Value) -> Said {
    let status = Status::of(system, &["Health", "HealthRollup"]);
    match status.health {
        Some(condition) => {
            let words = ["Health", "HealthRollup"].map(|name| format!("{name} {}", said(system, name)));
            Said::Bad(condition, clean(&words.join(", ")))
        }
        None if status.told => Said::Good,
        None => Said::NotTold,
    }
}

/// A group of fans or power supplies (Redundancy, RedundantGroup).
pub(crate) fn of_group(group: &Value) -> Said {
    let status = Status::of(group, &["Health"]);
    let mode = text(group, "RedundancyType").or_else(|| text(group, "Mode"));
    let without = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("NotRedundant"))
        || group.get("RedundancyEnabled") == Some(&Value::Bool(false));
    if without || status.is(&["Absent", "Disabled"]) {
        return Said::NotThere;
    }
    match status.health {
        Some(condition) => {
            let members = ["RedundancySet", "RedundancyGroup"].map(|name| array(group, name).len());
            let needed = number(group, "MinNumNeeded").or_else(|| number(group, "MinNeededInGroup"));
            let needed = needed.map(|needed| format!("{needed} needed"));
            let members = members.iter().max().filter(|count| **count > 0);
            let members = members.map(|count| format!("{count} members"));
            let health = Some(format!("health {}", said(group, "Health")));
            let words: Vec<String> = [health, members, needed].into_iter().flatten().collect();
            Said::Bad(condition, clean(&words.join(", ")))
        }
        None if status.told => Said::Good,
        None => Said::NotTold,
    }
}

fn said(object: &Value, name: &str) -> String {
    object.get("Status").and_then(|status| text(status, name)).map_or_else(|| "not told".to_owned(), clean)
}

/// What a sensor of this type is about (Sensor, ReadingType).
pub(crate) fn kind_of_sensor(sensor: &Value) -> BmcPartKind {
    match text(sensor, "ReadingType").unwrap_or_default() {
        "Temperature" => BmcPartKind::Temperature,
        "Rotational" => BmcPartKind::Fan,
        "Voltage" | "Current" | "Power" => BmcPartKind::Voltage,
        _ => BmcPartKind::Other,
    }
}

/// A value with its limits.
struct Measured {
    value: f64,
    unit: String,
    upper_critical: Option<f64>,
    lower_critical: Option<f64>,
    upper_caution: Option<f64>,
    lower_caution: Option<f64>,
}

impl Measured {
    /// None where there is no value, or none that such a part can have.
    fn of(kind: BmcPartKind, part: &Value) -> Option<Self> {
        let values = ["ReadingCelsius", "ReadingVolts", "Reading"];
        let value = values.into_iter().find_map(|name| number(part, name))?;
        if !possible(kind, value) {
            return None;
        }
        let limit = |old: &str, new: &str| {
            let of_thresholds = part.get("Thresholds").and_then(|all| all.get(new));
            number(part, old).or_else(|| of_thresholds.and_then(|threshold| number(threshold, "Reading")))
        };
        let nearer = |one: Option<f64>, other: Option<f64>, choose: fn(f64, f64) -> f64| match (one, other) {
            (Some(one), Some(other)) => Some(choose(one, other)),
            (one, other) => one.or(other),
        };
        let above_zero = |limit: &f64| *limit > 0.0;
        let upper_critical = nearer(
            limit("UpperThresholdCritical", "UpperCritical").filter(above_zero),
            limit("UpperThresholdFatal", "UpperFatal").filter(above_zero),
            f64::min,
        );
        let lower_critical = nearer(
            limit("LowerThresholdCritical", "LowerCritical"),
            limit("LowerThresholdFatal", "LowerFatal"),
            f64::max,
        );
        let (lower_critical, upper_critical) = meant(lower_critical, upper_critical);
        let (lower_caution, upper_caution) = meant(
            limit("LowerThresholdNonCritical", "LowerCaution"),
            limit("UpperThresholdNonCritical", "UpperCaution").filter(above_zero),
        );
        let unit = match kind {
            BmcPartKind::Temperature => "Cel".to_owned(),
            _ => text(part, "ReadingUnits").map_or_else(String::new, clean),
        };
        Some(Self { value, unit, upper_critical, lower_critical, upper_caution, lower_caution })
    }

    fn has_limits(&self) -> bool {
        let all = [self.upper_critical, self.lower_critical, self.upper_caution, self.lower_caution];
        all.iter().any(Option::is_some)
    }

    fn shown(&self) -> String {
        format!("{} {}", self.value, self.unit).trim_end().to_owned()
    }

    /// How bad the value is, and in words why.
    fn beyond(&self, kind: BmcPartKind) -> Option<(BmcCondition, String)> {
        let cold =
            if kind == BmcPartKind::Temperature { BmcCondition::Warning } else { BmcCondition::Critical };
        let upper = |limit: Option<f64>| limit.filter(|limit| self.value >= *limit);
        let lower = |limit: Option<f64>| limit.filter(|limit| self.value <= *limit);
        let told = |limit: f64, word: &str, side: &str| {
            let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
            format!("{}, {word} from {limit}{unit} {side}", self.shown())
        };
        let critical =
            upper(self.upper_critical).map(|limit| (BmcCondition::Critical, told(limit, "critical", "on")));
        let too_low = || lower(self.lower_critical).map(|limit| (cold, told(limit, "critical", "down")));
        let caution =
            || upper(self.upper_caution).map(|limit| (BmcCondition::Warning, told(limit, "unusual", "on")));
        let low =
            || lower(self.lower_caution).map(|limit| (BmcCondition::Warning, told(limit, "unusual", "down")));
        critical.or_else(too_low).or_else(caution).or_else(low)
    }
}

/// Whether such a part can have this value: broken sensors and machines that are off say -1 or 255.
fn possible(kind: BmcPartKind, value: f64) -> bool {
    match kind {
        BmcPartKind::Temperature => (-60.0..=200.0).contains(&value),
        BmcPartKind::Fan => value >= 0.0,
        _ => true,
    }
}

/// Two limits, if both can be meant.
fn meant(lower: Option<f64>, upper: Option<f64>) -> (Option<f64>, Option<f64>) {
    match (lower, upper) {
        (Some(lower), Some(upper)) if lower >= upper => (None, None),
        both => both,
    }
}

#[cfg(test)]
mod tests;
