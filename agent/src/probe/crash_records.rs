//! Records of crashes that the firmware kept over the reset (pstore), by their names alone: what stands in
//! them may be a tenant's.

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};
use nix::sys::statfs::{FsType, statfs};

use super::check::Check;
use super::evidence::Found;
use super::source::{self, Source};

/// Crashes and machine checks.
pub const CHECK: Check = Check {
    number: 18,
    name: "machine checks and crash records",
    tier: Tier::T0,
    reads: "/sys/fs/pstore, /var/lib/systemd/pstore, and the kernel's log (MCE and CPER lines)",
    keys: &[ReadingKey::CrashRecords, ReadingKey::KernelHardwareErrors],
    rules: &["fitness/crash-records", "fitness/kernel-hardware-errors"],
};

/// Firmware has room for far fewer.
const RECORDS_MAX: usize = 4096;
/// `PSTOREFS_MAGIC` of the kernel's `include/uapi/linux/magic.h`.
const PSTORE_MAGIC: FsType = FsType(0x6165_676c);
/// Longest name that is kept.
const NAME_CHARACTERS_MAX: usize = 120;
/// Kinds of records that are kept from every boot, crash or none (kernel `fs/pstore/platform.c`).
const NOT_CRASHES: [&str; 7] =
    ["console", "ftrace", "pmsg", "rtas", "powerpc-ofw", "powerpc-common", "powerpc-opal"];

/// The names of the records.
#[must_use]
pub fn read(source: &Source) -> Vec<Found> {
    let firmware = source.path("sys/fs/pstore");
    let not_mounted = || {
        let mounted = statfs(&firmware).map(|seen| seen.filesystem_type() == PSTORE_MAGIC);
        source.is_machine() && mounted != Ok(true)
    };
    // UEFI's variables can keep records, if the kernel's driver for that is there.
    let no_driver = || {
        let backend = source::attribute(&source.path("sys/module/pstore/parameters/backend"));
        source.path("sys/firmware/efi").exists() && backend.value().is_none_or(|name| name == "(null)")
    };
    let outcome = match source::names(&firmware, RECORDS_MAX) {
        // Without the file system the folder is empty, whatever the firmware keeps.
        Outcome::Value(_) if not_mounted() => {
            Outcome::Unreadable("pstore is not mounted on /sys/fs/pstore".to_owned())
        }
        Outcome::Value(names) if names.is_empty() && no_driver() => {
            Outcome::Unreadable("no driver shows what the firmware keeps of crashes (efi_pstore)".to_owned())
        }
        Outcome::Value(names) => moved_away(source).map(|moved| parse(&names, &moved)),
        // A kernel without pstore.
        Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why),
    };
    vec![(Subject::Node, ReadingKey::CrashRecords, outcome)]
}

/// What systemd-pstore moved out of the firmware's memory, so that it does not run full.
fn moved_away(source: &Source) -> Outcome<Vec<String>> {
    match source::names(&source.path("var/lib/systemd/pstore"), RECORDS_MAX) {
        Outcome::Absent => Outcome::Value(Vec::new()),
        outcome => outcome,
    }
}

/// The records among these names.
fn parse(in_firmware: &[String], moved: &[String]) -> ReadingValue {
    let crash = |name: &&String| !NOT_CRASHES.iter().any(|kind| name.starts_with(kind));
    let kept = in_firmware.iter().filter(crash).map(|name| source::shown(name, NAME_CHARACTERS_MAX));
    let moved = moved.iter().filter(crash).map(|name| source::shown(name, NAME_CHARACTERS_MAX));
    ReadingValue::list(kept.chain(moved.map(|name| format!("systemd-pstore/{name}"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    fn records(tree: &Tree) -> Outcome<ReadingValue> {
        read(&tree.source()).remove(0).2
    }

    #[test]
    fn crashes_are_listed_and_what_every_boot_leaves_is_not() {
        let tree = Tree::new();
        assert_eq!(records(&tree), Outcome::Absent);
        tree.write("sys/fs/pstore/console-ramoops-0", "boot");
        assert_eq!(records(&tree), Outcome::Value(ReadingValue::list(vec![])));
        tree.write("sys/fs/pstore/dmesg-efi_pstore-171000000001", "Panic#1 Part1");
        tree.directory("var/lib/systemd/pstore/1700000000");
        let names = ["dmesg-efi_pstore-171000000001", "systemd-pstore/1700000000"];
        assert_eq!(records(&tree), Outcome::Value(ReadingValue::list(names.map(str::to_owned).to_vec())));
    }

    #[test]
    fn firmware_that_nobody_can_ask_has_kept_nothing_that_is_known() {
        let tree = Tree::new();
        tree.directory("sys/fs/pstore");
        tree.directory("sys/firmware/efi");
        assert!(matches!(records(&tree), Outcome::Unreadable(why) if why.contains("efi_pstore")));
        tree.write("sys/module/pstore/parameters/backend", "(null)\n");
        assert!(matches!(records(&tree), Outcome::Unreadable(_)));
        tree.write("sys/module/pstore/parameters/backend", "efi_pstore\n");
        assert_eq!(records(&tree), Outcome::Value(ReadingValue::list(vec![])));
    }

    #[test]
    fn a_folder_that_is_none_or_too_full_is_unreadable() {
        let tree = Tree::new();
        tree.write("sys/fs/pstore", "no folder");
        assert!(matches!(records(&tree), Outcome::Unreadable(_)));
    }

    proptest! {
        #[test]
        fn any_name_is_survived(names in proptest::collection::vec(any::<String>(), 0..20)) {
            let ReadingValue::List { items, .. } = parse(&names, &names) else { panic!("no list") };
            assert!(items.iter().all(|item| !item.chars().any(char::is_control)));
        }
    }
}
