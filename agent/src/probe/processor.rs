//! How often the processors slowed down for heat.

use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use super::evidence::Found;
use super::source::{self, Source};

/// The kernel knows no more processors.
const PROCESSORS_MAX: usize = 16_384;
/// The counters of one processor: of its core, and of its package.
const COUNTERS: [&str; 2] = ["core_throttle_count", "package_throttle_count"];

/// The count of the processor that slowed down most often. Heat in a package is counted by all of its
/// processors, so that a sum would count it as often as it has any. Absent where no processor counts, as in
/// virtual machines.
#[must_use]
pub fn read(source: &Source) -> Vec<Found> {
    let directory = source.path("sys/devices/system/cpu");
    let outcome = match source::names(&directory, PROCESSORS_MAX) {
        Outcome::Value(names) => most(&directory, &names),
        Outcome::Absent => Outcome::Unreadable(format!("{} is not there", directory.display())),
        Outcome::Unreadable(why) => Outcome::Unreadable(why),
    };
    vec![(Subject::Node, ReadingKey::ProcessorThrottles, outcome.map(ReadingValue::Count))]
}

fn most(directory: &Path, names: &[String]) -> Outcome<u64> {
    let mut most = Outcome::Absent;
    for name in names.iter().filter(|name| is_processor(name)) {
        for counter in COUNTERS {
            let count = source::number(&directory.join(name).join("thermal_throttle").join(counter));
            most = match (most, count) {
                (Outcome::Value(one), Outcome::Value(other)) => Outcome::Value(one.max(other)),
                (unknown @ Outcome::Unreadable(_), _) | (_, unknown @ Outcome::Unreadable(_)) => unknown,
                (Outcome::Absent, other) => other,
                (value, Outcome::Absent) => value,
            };
        }
    }
    most
}

fn is_processor(name: &str) -> bool {
    name.strip_prefix("cpu").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;

    fn throttles(tree: &Tree) -> Outcome<ReadingValue> {
        read(&tree.source()).remove(0).2
    }

    #[test]
    fn the_hottest_processor_s_count_is_told_and_heat_is_not_counted_twice() {
        let tree = Tree::new();
        for (processor, core, package) in [(0, 2, 7), (1, 3, 7), (2, 0, 7)] {
            let path = format!("sys/devices/system/cpu/cpu{processor}/thermal_throttle");
            tree.write(&format!("{path}/core_throttle_count"), core.to_string());
            tree.write(&format!("{path}/package_throttle_count"), package.to_string());
        }
        tree.write("sys/devices/system/cpu/cpuidle/current_driver", "none");
        assert_eq!(throttles(&tree), Outcome::Value(ReadingValue::Count(7)));
        tree.write("sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "many");
        assert!(matches!(throttles(&tree), Outcome::Unreadable(_)));
    }

    #[test]
    fn a_virtual_machine_does_not_count_and_a_missing_folder_is_unreadable() {
        let tree = Tree::new();
        assert!(matches!(throttles(&tree), Outcome::Unreadable(_)));
        tree.directory("sys/devices/system/cpu/cpu0");
        assert_eq!(throttles(&tree), Outcome::Absent);
    }
}
