//! Errors of the memory: what the memory controllers count (EDAC), and what the kernel took out of use.
//!
//! Layout: the kernel's `Documentation/admin-guide/RAS` and `Documentation/ABI/testing/sysfs-devices-edac`.

use std::collections::BTreeMap;
use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};

use super::check::Check;
use super::evidence::Found;
use super::source::{self, Source};

/// Errors that could not be corrected.
pub const CHECK_UNCORRECTED: Check = Check {
    number: 16,
    name: "memory errors, uncorrected",
    tier: Tier::T0,
    reads: "/sys/devices/system/edac/mc/*/{ue_count,dimm*,rank*,csrow*}, HardwareCorrupted in /proc/meminfo",
    keys: &[ReadingKey::MemoryUncorrectedErrors, ReadingKey::MemoryPoisonedBytes],
    rules: &["fitness/memory-uncorrected", "fitness/memory-poisoned"],
};

/// Errors that were corrected.
pub const CHECK_CORRECTED: Check = Check {
    number: 17,
    name: "memory errors, corrected",
    tier: Tier::T0,
    reads: "/sys/devices/system/edac/mc/*/{ce_count,dimm*,rank*,csrow*}",
    keys: &[ReadingKey::MemoryCorrectedErrors],
    rules: &["fitness/memory-corrected"],
};

/// No machine has more memory controllers, modules on one of them, or other entries beside these.
const ENTRIES_MAX: usize = 512;
/// Longest label that is kept.
const LABEL_CHARACTERS_MAX: usize = 100;

/// What one controller or module counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counts {
    uncorrected: Outcome<u64>,
    corrected: Outcome<u64>,
}

/// Errors of the machine as a whole, of each module that the controllers know, and memory out of use.
#[must_use]
pub fn read(source: &Source) -> Vec<Found> {
    let meminfo = source.path("proc/meminfo");
    let poisoned = match source::read_text(&meminfo) {
        Ok(text) => parse_poisoned(&text),
        Err(error) => source::unreadable(&meminfo, &error),
    };
    let mut found = vec![(Subject::Node, ReadingKey::MemoryPoisonedBytes, poisoned.map(ReadingValue::Count))];
    let directory = source.path("sys/devices/system/edac/mc");
    let controllers = source::names(&directory, ENTRIES_MAX)
        .map(|names| names.into_iter().filter(|name| numbered(name, "mc")).collect::<Vec<_>>());
    match controllers {
        Outcome::Value(names) if !names.is_empty() => found.extend(controllers_of(&directory, &names)),
        // No driver has taken up a controller, so nobody counts: that is not zero errors.
        Outcome::Value(_) | Outcome::Absent => {
            found.extend(of_subject(
                &Subject::Node,
                &Counts { uncorrected: Outcome::Absent, corrected: Outcome::Absent },
            ));
        }
        Outcome::Unreadable(why) => {
            found.extend(of_subject(
                &Subject::Node,
                &Counts {
                    uncorrected: Outcome::Unreadable(why.clone()),
                    corrected: Outcome::Unreadable(why),
                },
            ));
        }
    }
    found
}

fn of_subject(subject: &Subject, counts: &Counts) -> [Found; 2] {
    let value = |count: &Outcome<u64>| count.clone().map(ReadingValue::Count);
    [
        (subject.clone(), ReadingKey::MemoryUncorrectedErrors, value(&counts.uncorrected)),
        (subject.clone(), ReadingKey::MemoryCorrectedErrors, value(&counts.corrected)),
    ]
}

fn controllers_of(directory: &Path, names: &[String]) -> Vec<Found> {
    let mut node = Counts { uncorrected: Outcome::Value(0), corrected: Outcome::Value(0) };
    let mut modules = Vec::new();
    for name in names {
        let path = directory.join(name);
        node.uncorrected = sum(node.uncorrected, source::number_of_present(&path.join("ue_count")));
        node.corrected = sum(node.corrected, source::number_of_present(&path.join("ce_count")));
        match modules_of(&path, name) {
            Ok(of_controller) => modules.extend(of_controller),
            // Modules that cannot be listed may have errors, so the machine's counts are not known.
            Err(why) => {
                node.uncorrected = Outcome::Unreadable(why.clone());
                node.corrected = Outcome::Unreadable(why);
            }
        }
    }
    let mut found = of_subject(&Subject::Node, &node).to_vec();
    found.extend(
        named_apart(modules)
            .iter()
            .flat_map(|(label, counts)| of_subject(&Subject::MemoryModule(label.clone()), counts)),
    );
    found
}

/// One module: the board's label, where it is, and what it counts.
type Module = (Option<String>, String, Counts);

fn modules_of(path: &Path, controller: &str) -> Result<Vec<Module>, String> {
    let names = match source::names(path, ENTRIES_MAX) {
        Outcome::Value(names) => names,
        Outcome::Absent => return Err(format!("{} is gone", path.display())),
        Outcome::Unreadable(why) => return Err(why),
    };
    let of = |kind: &str| names.iter().filter(|name| numbered(name, kind)).cloned().collect::<Vec<_>>();
    let modules = [of("dimm"), of("rank")].concat();
    // Kernels before 3.10 count rows of chips only.
    let (places, counts): (Vec<String>, [&str; 2]) = match modules.is_empty() {
        false => (modules, ["dimm_ue_count", "dimm_ce_count"]),
        true => (of("csrow"), ["ue_count", "ce_count"]),
    };
    Ok(places
        .into_iter()
        .map(|place| {
            let path = path.join(&place);
            let label = match source::attribute(&path.join("dimm_label")) {
                Outcome::Value(label) => Some(source::shown(&label, LABEL_CHARACTERS_MAX)),
                // The label is for people; its lack says nothing about the module.
                Outcome::Absent | Outcome::Unreadable(_) => None,
            };
            let [uncorrected, corrected] = counts.map(|name| source::number_of_present(&path.join(name)));
            (label, format!("{controller}/{place}"), Counts { uncorrected, corrected })
        })
        .collect())
}

/// Each module by a name of its own: its label where no other has the same, else with its place.
fn named_apart(modules: Vec<Module>) -> Vec<(String, Counts)> {
    let mut bearers: BTreeMap<String, usize> = BTreeMap::new();
    for label in modules.iter().filter_map(|(label, _, _)| label.as_ref()) {
        *bearers.entry(label.clone()).or_default() += 1;
    }
    modules
        .into_iter()
        .map(|(label, place, counts)| match label {
            Some(label) if bearers.get(&label) == Some(&1) => (label, counts),
            Some(label) => (format!("{label} ({place})"), counts),
            None => (place, counts),
        })
        .collect()
}

/// Whether a name is `kind` and a number.
fn numbered(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// Both together; what could not be counted stays unknown.
fn sum(one: Outcome<u64>, other: Outcome<u64>) -> Outcome<u64> {
    match (one, other) {
        (Outcome::Value(one), Outcome::Value(other)) => Outcome::Value(one.saturating_add(other)),
        (unknown @ Outcome::Unreadable(_), _) | (_, unknown) => unknown,
    }
}

/// `HardwareCorrupted` of `/proc/meminfo`, in bytes; absent where the kernel does not keep count.
fn parse_poisoned(text: &str) -> Outcome<u64> {
    let Some(rest) = text.lines().find_map(|line| line.strip_prefix("HardwareCorrupted:")) else {
        return match text.contains("MemTotal:") {
            true => Outcome::Absent,
            false => Outcome::Unreadable("/proc/meminfo is not what it should be: no MemTotal".to_owned()),
        };
    };
    let kibibytes = rest.trim().strip_suffix("kB").and_then(|count| count.trim().parse::<u64>().ok());
    match kibibytes.and_then(|count| count.checked_mul(1024)) {
        Some(bytes) => Outcome::Value(bytes),
        None => {
            Outcome::Unreadable(format!("/proc/meminfo says HardwareCorrupted: {}", source::quoted(rest)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    fn outcome(tree: &Tree, subject: Subject, key: ReadingKey) -> Option<Outcome<ReadingValue>> {
        let found = read(&tree.source());
        found.into_iter().find(|(of, which, _)| *of == subject && *which == key).map(|(_, _, what)| what)
    }

    fn two_controllers() -> Tree {
        let tree = Tree::new();
        tree.write("proc/meminfo", "MemTotal: 1000 kB\nHardwareCorrupted:     8 kB\n");
        for (controller, corrected) in [("mc0", "3"), ("mc1", "40")] {
            let path = format!("sys/devices/system/edac/mc/{controller}");
            tree.write(&format!("{path}/ue_count"), "0\n");
            tree.write(&format!("{path}/ce_count"), corrected);
            tree.write(&format!("{path}/dimm0/dimm_label"), "CPU_SrcID#0_Chan#0_DIMM#0\n");
            tree.write(&format!("{path}/dimm0/dimm_ue_count"), "0");
            tree.write(&format!("{path}/dimm0/dimm_ce_count"), corrected);
        }
        tree
    }

    #[test]
    fn errors_are_counted_for_the_machine_and_for_each_module() {
        let tree = two_controllers();
        let count = |count| Some(Outcome::Value(ReadingValue::Count(count)));
        let corrected = ReadingKey::MemoryCorrectedErrors;
        assert_eq!(outcome(&tree, Subject::Node, corrected), count(43));
        assert_eq!(outcome(&tree, Subject::Node, ReadingKey::MemoryUncorrectedErrors), count(0));
        assert_eq!(outcome(&tree, Subject::Node, ReadingKey::MemoryPoisonedBytes), count(8192));
        // The two have one label, so each is told by its place too.
        let module = |place| Subject::MemoryModule(format!("CPU_SrcID#0_Chan#0_DIMM#0 (mc{place}/dimm0)"));
        assert_eq!(outcome(&tree, module(0), corrected), count(3));
        assert_eq!(outcome(&tree, module(1), corrected), count(40));
        tree.write("sys/devices/system/edac/mc/mc1/dimm0/dimm_label", "DIMM_B1");
        assert_eq!(outcome(&tree, Subject::MemoryModule("DIMM_B1".to_owned()), corrected), count(40));
    }

    #[test]
    fn a_count_that_cannot_be_read_is_not_zero() {
        let tree = two_controllers();
        tree.write("sys/devices/system/edac/mc/mc1/ue_count", "-3");
        let uncorrected = outcome(&tree, Subject::Node, ReadingKey::MemoryUncorrectedErrors);
        assert!(matches!(uncorrected, Some(Outcome::Unreadable(_))), "{uncorrected:?}");
        std::fs::remove_file(tree.path("sys/devices/system/edac/mc/mc0/ce_count")).unwrap();
        let corrected = outcome(&tree, Subject::Node, ReadingKey::MemoryCorrectedErrors);
        assert!(matches!(corrected, Some(Outcome::Unreadable(_))), "{corrected:?}");
    }

    #[test]
    fn a_machine_whose_memory_nobody_watches_has_no_count() {
        let tree = Tree::new();
        let of = |key| outcome(&tree, Subject::Node, key);
        assert_eq!(of(ReadingKey::MemoryUncorrectedErrors), Some(Outcome::Absent));
        assert!(matches!(of(ReadingKey::MemoryPoisonedBytes), Some(Outcome::Unreadable(_))));
        // The class is there, but no driver.
        tree.write("sys/devices/system/edac/mc/power/control", "auto");
        tree.write("proc/meminfo", "MemTotal: 1 kB");
        assert_eq!(of(ReadingKey::MemoryCorrectedErrors), Some(Outcome::Absent));
        assert_eq!(of(ReadingKey::MemoryPoisonedBytes), Some(Outcome::Absent));
    }

    #[test]
    fn older_kernels_count_rows() {
        let tree = Tree::new();
        let path = "sys/devices/system/edac/mc/mc0";
        for (name, count) in [("ue_count", "1"), ("ce_count", "0")] {
            tree.write(&format!("{path}/{name}"), count);
            tree.write(&format!("{path}/csrow2/{name}"), count);
        }
        let row = Subject::MemoryModule("mc0/csrow2".to_owned());
        let uncorrected = outcome(&tree, row, ReadingKey::MemoryUncorrectedErrors);
        assert_eq!(uncorrected, Some(Outcome::Value(ReadingValue::Count(1))));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = parse_poisoned(&text);
            let _ = parse_poisoned(&format!("MemTotal: 1 kB\nHardwareCorrupted:{text}"));
            assert!(source::shown(&text, LABEL_CHARACTERS_MAX).chars().count() <= LABEL_CHARACTERS_MAX);
        }
    }
}
