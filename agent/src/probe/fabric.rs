//! Ports of InfiniBand and RoCE adapters.
//!
//! Layout: the kernel's `Documentation/ABI/stable/sysfs-class-infiniband`.

use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};

use super::check::Check;
use super::evidence::Found;
use super::source::{self, Source};

/// Rate and error counters.
pub const CHECK: Check = Check {
    number: 23,
    name: "InfiniBand and RoCE ports",
    tier: Tier::T0,
    reads: "/sys/class/infiniband/*/ports/*/{state,rate,counters/*}",
    keys: &[
        ReadingKey::FabricRateMegabits,
        ReadingKey::FabricLinkDowned,
        ReadingKey::FabricSymbolErrors,
        ReadingKey::FabricLinkErrorRecoveries,
        ReadingKey::FabricReceiveErrors,
        ReadingKey::FabricTransmitDiscards,
        ReadingKey::FabricIntegrityErrors,
    ],
    rules: &[
        "fitness/fabric-rate",
        "fitness/fabric-link-downed",
        "fitness/fabric-symbol-errors",
        "fitness/fabric-link-recoveries",
        "fitness/fabric-receive-errors",
        "fitness/fabric-transmit-discards",
        "fitness/fabric-integrity",
    ],
};

/// No machine has more adapters, and no adapter more ports.
const ADAPTERS_MAX: usize = 256;
const PORTS_MAX: usize = 64;
/// Names are short; longer ones are cut.
const NAME_CHARACTERS_MAX: usize = 100;
/// Ports that are told; more are said to be left out.
const TOLD_MAX: usize = 128;

/// Counters that are told as they are.
const COUNTERS: [(&str, ReadingKey); 5] = [
    ("link_downed", ReadingKey::FabricLinkDowned),
    ("symbol_error", ReadingKey::FabricSymbolErrors),
    ("link_error_recovery", ReadingKey::FabricLinkErrorRecoveries),
    ("port_rcv_errors", ReadingKey::FabricReceiveErrors),
    ("port_xmit_discards", ReadingKey::FabricTransmitDiscards),
];
/// Counters that are told together.
const INTEGRITY: [&str; 2] = ["local_link_integrity_errors", "excessive_buffer_overrun_errors"];

/// All ports; a machine without such adapters says so.
#[must_use]
pub fn read(source: &Source) -> Vec<Found> {
    let directory = source.path("sys/class/infiniband");
    let node = |outcome| (Subject::Node, ReadingKey::FabricRateMegabits, outcome);
    let adapters = match source::names(&directory, ADAPTERS_MAX) {
        Outcome::Value(names) if !names.is_empty() => names,
        Outcome::Value(_) | Outcome::Absent => return vec![node(Outcome::Absent)],
        Outcome::Unreadable(why) => return vec![node(Outcome::Unreadable(why))],
    };
    let mut found = Vec::new();
    let mut told = 0;
    for adapter in &adapters {
        let path = directory.join(adapter).join("ports");
        let ports = match source::names(&path, PORTS_MAX) {
            Outcome::Value(ports) => ports,
            Outcome::Absent => {
                let why =
                    format!("the adapter {} shows no ports", source::shown(adapter, NAME_CHARACTERS_MAX));
                found.push(node(Outcome::Unreadable(why)));
                continue;
            }
            Outcome::Unreadable(why) => {
                found.push(node(Outcome::Unreadable(why)));
                continue;
            }
        };
        for port in &ports {
            told += 1;
            if told > TOLD_MAX {
                let why = format!("there are more than {TOLD_MAX} ports; the rest was not read");
                found.push(node(Outcome::Unreadable(why)));
                return found;
            }
            found.extend(read_port(
                &path.join(port),
                &source::shown(&format!("{adapter}/{port}"), NAME_CHARACTERS_MAX),
            ));
        }
    }
    found
}

fn read_port(path: &Path, name: &str) -> Vec<Found> {
    let subject = Subject::FabricPort(name.to_owned());
    let (state, rate) = (source::attribute(&path.join("state")), source::attribute(&path.join("rate")));
    let rate = parse_rate(&state, &rate).map(ReadingValue::Count);
    let counters = path.join("counters");
    let mut found = vec![(subject.clone(), ReadingKey::FabricRateMegabits, rate)];
    found.extend(COUNTERS.map(|(name, key)| {
        (subject.clone(), key, source::number(&counters.join(name)).map(ReadingValue::Count))
    }));
    let integrity = match INTEGRITY.map(|name| source::number(&counters.join(name))) {
        [Outcome::Value(one), Outcome::Value(other)] => Outcome::Value(one.saturating_add(other)),
        [Outcome::Unreadable(why), _] | [_, Outcome::Unreadable(why)] => Outcome::Unreadable(why),
        [Outcome::Absent, Outcome::Absent] => Outcome::Absent,
        [Outcome::Value(one), Outcome::Absent] | [Outcome::Absent, Outcome::Value(one)] => {
            Outcome::Value(one)
        }
    };
    found.push((subject, ReadingKey::FabricIntegrityErrors, integrity.map(ReadingValue::Count)));
    found
}

/// Megabits a second of a port that carries data; 0 of one that does not (`4: ACTIVE`, `1: DOWN`).
fn parse_rate(state: &Outcome<String>, rate: &Outcome<String>) -> Outcome<u64> {
    let state = match state {
        Outcome::Value(state) => state,
        Outcome::Absent => return Outcome::Unreadable("the port has no state".to_owned()),
        Outcome::Unreadable(why) => return Outcome::Unreadable(why.clone()),
    };
    match state.split_once(':').map(|(number, _)| number) {
        Some("4") => {}
        Some("1" | "2" | "3" | "5") => return Outcome::Value(0),
        _ => return Outcome::Unreadable(format!("the port's state is {}", source::quoted(state))),
    }
    match rate {
        Outcome::Value(text) => parse_gigabits(text).map_or_else(
            || Outcome::Unreadable(format!("the port's rate is {}", source::quoted(text))),
            Outcome::Value,
        ),
        Outcome::Absent => Outcome::Unreadable("the port is active and has no rate".to_owned()),
        Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
    }
}

/// `400 Gb/sec (4X NDR)` is 400000, `2.5 Gb/sec (1X SDR)` is 2500.
fn parse_gigabits(text: &str) -> Option<u64> {
    let number = text.split_once(" Gb/sec")?.0;
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let tenths: u64 = tenths.parse().ok().filter(|tenths| *tenths < 10)?;
    let whole: u64 = whole.parse().ok().filter(|whole| *whole <= 100_000)?;
    Some(whole * 1000 + tenths * 100).filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    fn port(tree: &Tree, state: &str, rate: &str) {
        let path = "sys/class/infiniband/mlx5_0/ports/1";
        tree.write(&format!("{path}/state"), state);
        tree.write(&format!("{path}/rate"), rate);
        for (name, count) in [("link_downed", "1"), ("symbol_error", "12"), ("port_rcv_errors", "0")] {
            tree.write(&format!("{path}/counters/{name}"), count);
        }
        for name in INTEGRITY {
            tree.write(&format!("{path}/counters/{name}"), "2");
        }
    }

    fn of(tree: &Tree, wanted: ReadingKey) -> Outcome<ReadingValue> {
        let port = Subject::FabricPort("mlx5_0/1".to_owned());
        let mut found = read(&tree.source()).into_iter();
        found.find(|(subject, key, _)| *subject == port && *key == wanted).unwrap().2
    }

    #[test]
    fn rate_and_counters_are_told() {
        let tree = Tree::new();
        port(&tree, "4: ACTIVE\n", "400 Gb/sec (4X NDR)\n");
        let count = |count| Outcome::Value(ReadingValue::Count(count));
        assert_eq!(of(&tree, ReadingKey::FabricRateMegabits), count(400_000));
        assert_eq!(of(&tree, ReadingKey::FabricLinkDowned), count(1));
        assert_eq!(of(&tree, ReadingKey::FabricSymbolErrors), count(12));
        assert_eq!(of(&tree, ReadingKey::FabricIntegrityErrors), count(4));
        assert_eq!(of(&tree, ReadingKey::FabricTransmitDiscards), Outcome::Absent);
        port(&tree, "1: DOWN\n", "10 Gb/sec (4X SDR)\n");
        assert_eq!(of(&tree, ReadingKey::FabricRateMegabits), count(0), "it carries nothing");
        port(&tree, "7: NEW\n", "10 Gb/sec (4X SDR)\n");
        assert!(matches!(of(&tree, ReadingKey::FabricRateMegabits), Outcome::Unreadable(_)));
        port(&tree, "4: ACTIVE\n", "fast\n");
        assert!(matches!(of(&tree, ReadingKey::FabricRateMegabits), Outcome::Unreadable(_)));
    }

    #[test]
    fn a_machine_without_a_fabric_has_none() {
        let tree = Tree::new();
        let nothing = [(Subject::Node, ReadingKey::FabricRateMegabits, Outcome::Absent)];
        assert_eq!(read(&tree.source()), nothing);
        tree.write("sys/class/infiniband", "no folder");
        assert!(matches!(read(&tree.source())[..], [(Subject::Node, _, Outcome::Unreadable(_))]));
    }

    #[test]
    fn rates_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_gigabits("2.5 Gb/sec (1X SDR)"), Some(2500));
        assert_eq!(parse_gigabits("56 Gb/sec (4X FDR)"), Some(56_000));
        for wrong in ["", "0 Gb/sec", "1.25 Gb/sec", "99999999999999999999 Gb/sec", "-1 Gb/sec"] {
            assert_eq!(parse_gigabits(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(state in any::<String>(), rate in any::<String>()) {
            let _ = parse_rate(&Outcome::Value(state), &Outcome::Value(rate.clone()));
            let _ = parse_rate(&Outcome::Value("4: ACTIVE".to_owned()), &Outcome::Value(rate));
        }
    }
}
