//! The kernel's own RAID arrays, and whether they lack a member.
//!
//! Attributes: the kernel's `Documentation/admin-guide/md.rst`.

use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};

use super::check::Check;
use super::evidence::Found;
use super::source::{self, Source};

/// Check 14.
pub const CHECK: Check = Check {
    number: 14,
    name: "RAID arrays",
    tier: Tier::T0,
    reads: "/sys/block/md*/md/{array_state,degraded,metadata_version}",
    keys: &[ReadingKey::RaidMembersMissing],
    rules: &["fitness/raid-degraded"],
};

/// No machine has more block devices.
const BLOCK_DEVICES_MAX: usize = 8192;

/// How many members each array lacks; one absent reading about the node where there is no array.
#[must_use]
pub fn read(source: &Source) -> Vec<Found> {
    let directory = source.path("sys/block");
    let key = ReadingKey::RaidMembersMissing;
    let names = match source::names(&directory, BLOCK_DEVICES_MAX) {
        Outcome::Value(names) => names,
        Outcome::Absent => {
            let why = format!("{} is not there", directory.display());
            return vec![(Subject::Node, key, Outcome::Unreadable(why))];
        }
        Outcome::Unreadable(why) => return vec![(Subject::Node, key, Outcome::Unreadable(why))],
    };
    let mut found = Vec::new();
    for name in names {
        let attributes = directory.join(&name).join("md");
        if !name.starts_with("md") || !attributes.is_dir() {
            continue;
        }
        if let Some(missing) = members_missing(&attributes) {
            found.push((Subject::RaidArray(name), key, missing.map(ReadingValue::Count)));
        }
    }
    if found.is_empty() {
        found.push((Subject::Node, key, Outcome::Absent));
    }
    found
}

/// How many members an array lacks; none if it is no array but a container of some (metadata kept by a
/// program, such as that of a BIOS RAID), which is inactive all its life.
fn members_missing(attributes: &Path) -> Option<Outcome<u64>> {
    let text = |name| source::attribute(&attributes.join(name));
    let is_container = matches!(text("metadata_version"),
        Outcome::Value(version) if version.strip_prefix("external:").is_some_and(|rest| !rest.starts_with(['/', '-'])));
    if is_container {
        return None;
    }
    Some(state_and_count(&text("array_state"), || source::number(&attributes.join("degraded"))))
}

/// An array that does not run cannot say what it lacks; one without redundancy lacks a member only when it
/// is broken, and has no counter.
fn state_and_count(state: &Outcome<String>, degraded: impl FnOnce() -> Outcome<u64>) -> Outcome<u64> {
    match state {
        Outcome::Value(state) => match state.as_str() {
            "clear" | "inactive" | "suspended" => {
                Outcome::Unreadable(format!("the array does not run (its state is {state})"))
            }
            "broken" => Outcome::Value(1),
            _ => degraded(),
        },
        Outcome::Absent => Outcome::Unreadable("the array has no state".to_owned()),
        Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    fn array(tree: &Tree, name: &str, attributes: &[(&str, &str)]) {
        for (attribute, value) in attributes {
            tree.write(&format!("sys/block/{name}/md/{attribute}"), value);
        }
    }

    #[test]
    fn arrays_say_what_they_lack() {
        let tree = Tree::new();
        array(
            &tree,
            "md0",
            &[("array_state", "clean\n"), ("degraded", "1\n"), ("metadata_version", "1.2\n")],
        );
        array(&tree, "md1", &[("array_state", "active\n"), ("degraded", "0\n")]);
        array(&tree, "md2", &[("array_state", "clean\n")]);
        array(&tree, "md3", &[("array_state", "broken\n")]);
        array(&tree, "md4", &[("array_state", "inactive\n"), ("degraded", "0\n")]);
        array(
            &tree,
            "md126",
            &[("metadata_version", "external:/md127/0\n"), ("array_state", "clean\n"), ("degraded", "2\n")],
        );
        array(&tree, "md127", &[("metadata_version", "external:imsm\n"), ("array_state", "inactive\n")]);
        array(&tree, "md5", &[("array_state", "clean\n"), ("degraded", "many\n")]);
        tree.directory("sys/block/sda");
        tree.directory("sys/block/md_without_attributes");
        let found = read(&tree.source());
        let of = |name: &str| {
            let subject = Subject::RaidArray(name.to_owned());
            found.iter().find(|(about, _, _)| *about == subject).map(|(_, _, outcome)| outcome.clone())
        };
        let count = |count| Some(Outcome::Value(ReadingValue::Count(count)));
        assert_eq!((of("md0"), of("md1"), of("md126")), (count(1), count(0), count(2)));
        assert_eq!(of("md2"), Some(Outcome::Absent), "without redundancy there is nothing to lack");
        assert_eq!(of("md3"), count(1));
        assert!(matches!(of("md4"), Some(Outcome::Unreadable(_))), "it does not run");
        assert!(matches!(of("md5"), Some(Outcome::Unreadable(_))));
        assert_eq!(of("md127"), None, "a container is no array");
        assert_eq!(found.len(), 7);
    }

    #[test]
    fn no_array_is_not_the_same_as_not_having_looked() {
        let tree = Tree::new();
        assert!(matches!(&read(&tree.source())[..], [(Subject::Node, _, Outcome::Unreadable(_))]));
        tree.directory("sys/block/sda");
        assert!(matches!(&read(&tree.source())[..], [(Subject::Node, _, Outcome::Absent)]));
    }

    proptest! {
        #[test]
        fn any_state_is_survived(state in any::<String>()) {
            let _ = state_and_count(&Outcome::Value(state), || Outcome::Absent);
        }
    }
}
