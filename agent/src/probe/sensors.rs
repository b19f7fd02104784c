//! Sensors for temperature, voltage, fans and power (hwmon): alarms, and the hottest place of each chip.
//!
//! Layout: the kernel's `Documentation/hwmon/sysfs-interface`.

use std::path::{Path, PathBuf};

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};

use super::check::Check;
use super::evidence::Found;
use super::source::{self, Source};

/// Heat, fans, power.
pub const CHECK: Check = Check {
    number: 27,
    name: "temperatures, fans, power, throttling for heat",
    tier: Tier::T0,
    reads: "/sys/class/hwmon/*, /sys/devices/system/cpu/*/thermal_throttle; Redfish is asked by the service, where it has a controller for the node",
    keys: &[ReadingKey::SensorAlarms, ReadingKey::TemperatureMillicelsius, ReadingKey::ProcessorThrottles],
    rules: &[
        "fitness/sensor-alarms",
        "fitness/processor-throttles",
        "fitness/bmc-readings",
        "fitness/bmc-temperature",
        "fitness/bmc-fan",
        "fitness/bmc-power",
        "fitness/bmc-redundancy",
        "fitness/bmc-health",
    ],
};

/// No machine has more chips, and no chip more attributes.
const CHIPS_MAX: usize = 512;
const ATTRIBUTES_MAX: usize = 2048;
/// Temperatures that are told of one machine; a chip beyond them tells its alarms only.
const TEMPERATURES_MAX: usize = 256;
/// Longest text of a chip that is kept.
const TEXT_CHARACTERS_MAX: usize = 60;
/// No part of a server is hotter; what says so is broken.
const MILLICELSIUS_MAX: u64 = 200_000;

/// Ends of attributes that say 1 when something is wrong.
const ALARMS: [&str; 2] = ["_alarm", "_fault"];
/// Limits that anybody may set are not among them: what lies beyond them is not critical.
const NOT_CRITICAL: [&str; 3] = ["_min_alarm", "_max_alarm", "_cap_alarm"];
/// Kinds of sensors. An opened lid (`intrusion`) says nothing about fitness.
const KINDS: [&str; 6] = ["temp", "in", "fan", "power", "curr", "humidity"];
/// Beginnings of the names of board monitors whose limits nobody sets and whose inputs may lead nowhere:
/// alarms and faults stand there on sound machines.
const UNTENDED: [&str; 11] =
    ["nct", "it8", "w83", "f71", "f75", "sch5", "smsc47", "dme1737", "vt1211", "pc87", "lm78"];

/// What one chip says.
#[derive(Debug, Default)]
struct Chip {
    alarms: Vec<String>,
    unreadable: Option<String>,
    temperatures: Vec<(String, Outcome<u64>)>,
}

/// Alarms of the machine, and temperatures.
#[must_use]
pub fn read(source: &Source) -> Vec<Found> {
    let directory = source.path("sys/class/hwmon");
    let alarms = |outcome| (Subject::Node, ReadingKey::SensorAlarms, outcome);
    let names = match source::names(&directory, CHIPS_MAX) {
        Outcome::Value(names) if !names.is_empty() => names,
        Outcome::Value(_) | Outcome::Absent => return vec![alarms(Outcome::Absent)],
        Outcome::Unreadable(why) => return vec![alarms(Outcome::Unreadable(why))],
    };
    let chips: Vec<Chip> = names.iter().map(|name| read_chip(&directory.join(name))).collect();
    let unreadable = chips.iter().find_map(|chip| chip.unreadable.clone());
    let standing: Vec<String> = chips.iter().flat_map(|chip| chip.alarms.clone()).collect();
    let mut found = vec![alarms(match unreadable {
        // An alarm is one, whatever else could not be read.
        Some(why) if standing.is_empty() => Outcome::Unreadable(why),
        _ => Outcome::Value(ReadingValue::list(standing)),
    })];
    let temperatures = chips.into_iter().flat_map(|chip| chip.temperatures).take(TEMPERATURES_MAX);
    found.extend(temperatures.map(|(label, value)| {
        (Subject::Sensor(label), ReadingKey::TemperatureMillicelsius, value.map(ReadingValue::Count))
    }));
    found
}

fn read_chip(path: &Path) -> Chip {
    let mut chip = Chip::default();
    let attributes = match source::names(path, ATTRIBUTES_MAX) {
        Outcome::Value(names) => names,
        Outcome::Absent => Vec::new(),
        Outcome::Unreadable(why) => {
            chip.unreadable = Some(why);
            return chip;
        }
    };
    let kind = text_of(&path.join("name")).unwrap_or_else(|| "unnamed".to_owned());
    let name = format!("{kind}/{}", place(path));
    let tended = !UNTENDED.iter().any(|beginning| kind.starts_with(beginning));
    for attribute in attributes.iter().filter(|attribute| tended && is_alarm(attribute)) {
        match source::number(&path.join(attribute)) {
            Outcome::Value(0) | Outcome::Absent => {}
            Outcome::Value(_) => chip.alarms.push(told(&name, path, attribute)),
            Outcome::Unreadable(why) => chip.unreadable = Some(why),
        }
    }
    let mut inputs: Vec<Input> =
        attributes.iter().filter_map(|attribute| Input::read(path, attribute)).collect();
    if tended {
        let critical = inputs.iter().filter(|input| input.is_critical());
        chip.alarms.extend(critical.map(|input| format!("{name} {}: at its critical limit", input.label)));
    }
    keep_hottest_core(&mut inputs);
    chip.temperatures =
        inputs.into_iter().map(|input| (format!("{name} {}", input.label), input.value)).collect();
    chip
}

/// A temperature of a chip.
struct Input {
    label: String,
    value: Outcome<u64>,
    critical: Option<u64>,
    alarm_of_its_own: bool,
}

impl Input {
    /// Reads `temp1_input` and what belongs to it; none if the attribute is something else.
    fn read(path: &Path, attribute: &str) -> Option<Self> {
        let sensor = attribute.strip_suffix("_input").filter(|sensor| sensor.starts_with("temp"))?;
        let critical = source::number(&path.join(format!("{sensor}_crit")));
        Some(Self {
            label: text_of(&path.join(format!("{sensor}_label"))).unwrap_or_else(|| sensor.to_owned()),
            value: temperature(&source::attribute(&path.join(attribute))),
            // Virtual devices say 0 or nonsense; that is no limit.
            critical: critical.value().copied().filter(|limit| (1..=MILLICELSIUS_MAX).contains(limit)),
            alarm_of_its_own: path.join(format!("{sensor}_crit_alarm")).exists(),
        })
    }

    /// Whether it reached the limit that the chip names, where the chip raises no alarm itself.
    fn is_critical(&self) -> bool {
        let value = self.value.value();
        !self.alarm_of_its_own && value.zip(self.critical).is_some_and(|(value, limit)| *value >= limit)
    }
}

/// A temperature in thousandths of a degree; below freezing counts as none.
fn temperature(text: &Outcome<String>) -> Outcome<u64> {
    match text {
        Outcome::Value(text) => match text.parse::<i64>().map(u64::try_from) {
            Ok(Ok(value)) if value <= MILLICELSIUS_MAX => Outcome::Value(value),
            Ok(_) => Outcome::Unreadable(format!(
                "the sensor says {}, which nothing here is",
                source::quoted(text)
            )),
            Err(_) => Outcome::Unreadable(format!("the sensor says {}, not a number", source::quoted(text))),
        },
        Outcome::Absent => Outcome::Unreadable("the sensor says nothing".to_owned()),
        Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
    }
}

/// Of the cores of a processor only the hottest is told: a machine has hundreds.
fn keep_hottest_core(inputs: &mut Vec<Input>) {
    let is_core = |input: &Input| input.label.starts_with("Core ");
    let hottest =
        inputs.iter().filter(|input| is_core(input)).filter_map(|input| input.value.value()).max().copied();
    let Some(hottest) = hottest else { return };
    let mut kept = false;
    inputs.retain(|input| {
        let keep = !is_core(input) || (!kept && input.value == Outcome::Value(hottest));
        kept |= keep && is_core(input);
        keep
    });
}

fn is_alarm(attribute: &str) -> bool {
    let of_kind = KINDS.iter().any(|kind| {
        attribute.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    of_kind
        && ALARMS.iter().any(|end| attribute.ends_with(end))
        && !NOT_CRITICAL.iter().any(|end| attribute.ends_with(end))
}

/// An alarm in words, such as `coretemp/coretemp.0 Package id 0: temp1_crit_alarm`.
fn told(name: &str, path: &Path, attribute: &str) -> String {
    let sensor = attribute.split('_').next().unwrap_or(attribute);
    match text_of(&path.join(format!("{sensor}_label"))) {
        Some(label) => format!("{name} {label}: {attribute}"),
        None => format!("{name}: {attribute}"),
    }
}

/// The device that the chip belongs to: the number of the chip is another in each boot.
fn place(path: &Path) -> String {
    let device: Option<PathBuf> = std::fs::read_link(path.join("device")).ok();
    let name = device.as_deref().and_then(Path::file_name).or_else(|| path.file_name());
    source::shown(&name.unwrap_or_default().to_string_lossy(), TEXT_CHARACTERS_MAX)
}

fn text_of(path: &Path) -> Option<String> {
    source::attribute(path).value().map(|text| source::shown(text, TEXT_CHARACTERS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    fn alarms(tree: &Tree) -> Outcome<ReadingValue> {
        read(&tree.source()).remove(0).2
    }

    fn processor() -> Tree {
        let tree = Tree::new();
        let chip = "sys/class/hwmon/hwmon2";
        tree.link(&format!("{chip}/device"), "../../../coretemp.0");
        for (name, text) in [
            ("name", "coretemp\n"),
            ("temp1_label", "Package id 0"),
            ("temp1_input", "61000"),
            ("temp1_crit", "100000"),
            ("temp1_crit_alarm", "0"),
            ("temp2_label", "Core 0"),
            ("temp2_input", "55000"),
            ("temp3_label", "Core 1"),
            ("temp3_input", "59000"),
        ] {
            tree.write(&format!("{chip}/{name}"), text);
        }
        tree
    }

    #[test]
    fn the_package_and_the_hottest_core_are_told() {
        let found = read(&processor().source());
        let told: Vec<_> =
            found[1..].iter().map(|(subject, _, outcome)| (subject.clone(), outcome.clone())).collect();
        let sensor = |label: &str, value| {
            (
                Subject::Sensor(format!("coretemp/coretemp.0 {label}")),
                Outcome::Value(ReadingValue::Count(value)),
            )
        };
        assert_eq!(told, [sensor("Package id 0", 61000), sensor("Core 1", 59000)]);
        assert_eq!(found[0].2, Outcome::Value(ReadingValue::list(vec![])));
    }

    #[test]
    fn alarms_are_told_with_their_place_and_those_of_limits_that_anybody_sets_are_not() {
        let tree = processor();
        let chip = "sys/class/hwmon/hwmon2";
        for name in ["temp1_max_alarm", "intrusion0_alarm", "in1_min_alarm"] {
            tree.write(&format!("{chip}/{name}"), "1");
        }
        assert_eq!(alarms(&tree), Outcome::Value(ReadingValue::list(vec![])));
        tree.write(&format!("{chip}/temp1_crit_alarm"), "1");
        tree.write(&format!("{chip}/fan1_fault"), "1");
        let expected = ["fan1_fault", "Package id 0: temp1_crit_alarm"];
        let Outcome::Value(ReadingValue::List { items, .. }) = alarms(&tree) else { panic!("no list") };
        assert!(items.iter().zip(expected).all(|(item, end)| item.ends_with(end)), "{items:?}");
        tree.write(&format!("{chip}/name"), "nct6775");
        assert_eq!(alarms(&tree), Outcome::Value(ReadingValue::list(vec![])), "nobody sets its limits");
    }

    #[test]
    fn a_chip_without_alarms_is_compared_with_the_limit_that_it_names() {
        let tree = Tree::new();
        let chip = "sys/class/hwmon/hwmon0";
        for (name, text) in [("name", "k10temp"), ("temp1_input", "90000"), ("temp1_crit", "90000")] {
            tree.write(&format!("{chip}/{name}"), text);
        }
        let expected = vec!["k10temp/hwmon0 temp1: at its critical limit".to_owned()];
        assert_eq!(alarms(&tree), Outcome::Value(ReadingValue::list(expected)));
        tree.write(&format!("{chip}/temp1_input"), "89999");
        assert_eq!(alarms(&tree), Outcome::Value(ReadingValue::list(vec![])));
        tree.write(&format!("{chip}/temp1_crit"), "0");
        assert_eq!(alarms(&tree), Outcome::Value(ReadingValue::list(vec![])), "a limit of 0 is none");
    }

    #[test]
    fn a_machine_without_sensors_has_none_and_an_alarm_that_cannot_be_read_is_not_quiet() {
        let tree = Tree::new();
        assert_eq!(alarms(&tree), Outcome::Absent);
        tree.directory("sys/class/hwmon/hwmon0/fan1_alarm");
        assert!(matches!(alarms(&tree), Outcome::Unreadable(_)));
        let found = read(&processor().source());
        assert!(found.len() > 1);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>(), number in any::<i64>()) {
            let _ = is_alarm(&text);
            let _ = temperature(&Outcome::Value(text));
            let value = temperature(&Outcome::Value(number.to_string()));
            assert_eq!(matches!(value, Outcome::Value(_)), (0..=200_000).contains(&number));
        }
    }
}
