//! Whether the firmware enforces Secure Boot (UEFI Specification, "Secure Boot and Driver Signing").

use contract::inventory::Firmware;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};

use super::check::Check;
use super::evidence::Found;
use super::inventory;
use super::source::{self, Source};

/// Secure Boot and the kernel's command line.
pub const CHECK: Check = Check {
    number: 6,
    name: "Secure Boot and kernel command line",
    tier: Tier::T0,
    reads: "/sys/firmware/efi/efivars/{SecureBoot,SetupMode}-*, /proc/cmdline",
    keys: &[ReadingKey::SecureBootOff, ReadingKey::KernelCommandLine],
    rules: &["integrity/kernel-command-line", "integrity/ramdisk-command-line", "integrity/secure-boot"],
};

/// Where the kernel shows the firmware's variables.
const VARIABLES: &str = "sys/firmware/efi/efivars";
/// `EFI_GLOBAL_VARIABLE`.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Firmware has room for far fewer.
const VARIABLES_MAX: usize = 16_384;

/// Whether Secure Boot is off; absent where the firmware has none.
#[must_use]
pub fn read(source: &Source) -> Vec<Found> {
    let outcome = match inventory::firmware(source) {
        Firmware::Bios => Outcome::Absent,
        Firmware::Uefi => secure_boot_off(source).map(ReadingValue::Flag),
    };
    vec![(Subject::Node, ReadingKey::SecureBootOff, outcome)]
}

fn secure_boot_off(source: &Source) -> Outcome<bool> {
    let directory = source.path(VARIABLES);
    match source::names(&directory, VARIABLES_MAX) {
        // Every firmware has variables: an empty folder is one where they are not mounted.
        Outcome::Value(names) if names.is_empty() => Outcome::Unreadable(format!(
            "the firmware's variables are not mounted on {}",
            directory.display()
        )),
        Outcome::Absent => Outcome::Unreadable(format!("{} is not there", directory.display())),
        Outcome::Unreadable(why) => Outcome::Unreadable(why),
        Outcome::Value(_) => {
            let [enforced, setup] = ["SecureBoot", "SetupMode"].map(|name| variable(source, name));
            judge(&enforced, &setup)
        }
    }
}

fn variable(source: &Source, name: &str) -> Outcome<Vec<u8>> {
    let path = source.path(VARIABLES).join(format!("{name}-{GLOBAL}"));
    match source::read_bytes(&path) {
        Ok(bytes) => Outcome::Value(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Outcome::Absent,
        Err(error) => source::unreadable(&path, &error),
    }
}

/// Enforced only where the firmware says so and is not in setup mode, in which anybody may change the keys.
fn judge(enforced: &Outcome<Vec<u8>>, setup: &Outcome<Vec<u8>>) -> Outcome<bool> {
    let on = match enforced {
        Outcome::Value(bytes) => parse(bytes),
        Outcome::Absent => return Outcome::Absent,
        Outcome::Unreadable(why) => return Outcome::Unreadable(why.clone()),
    };
    let in_setup = match setup {
        Outcome::Value(bytes) => parse(bytes),
        Outcome::Absent => Err("the firmware has SecureBoot and no SetupMode".to_owned()),
        Outcome::Unreadable(why) => Err(why.clone()),
    };
    match (on, in_setup) {
        // Off is off, whatever else is not known.
        (Ok(false), _) | (_, Ok(true)) => Outcome::Value(true),
        (Ok(true), Ok(false)) => Outcome::Value(false),
        (Err(why), _) | (_, Err(why)) => Outcome::Unreadable(why),
    }
}

/// Four bytes of attributes, then one that is 0 or 1.
fn parse(variable: &[u8]) -> Result<bool, String> {
    match variable {
        [_, _, _, _, 0] => Ok(false),
        [_, _, _, _, 1] => Ok(true),
        _ => Err(format!("the firmware's variable is no flag ({} bytes)", variable.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    fn off(tree: &Tree) -> Outcome<ReadingValue> {
        read(&tree.source()).remove(0).2
    }

    fn set(tree: &Tree, name: &str, value: u8) {
        tree.write(&format!("{VARIABLES}/{name}-{GLOBAL}"), [6, 0, 0, 0, value]);
    }

    #[test]
    fn secure_boot_is_on_only_where_the_firmware_says_so_outside_of_setup() {
        let tree = Tree::new();
        assert_eq!(off(&tree), Outcome::Absent, "BIOS has none");
        tree.directory(VARIABLES);
        assert!(matches!(off(&tree), Outcome::Unreadable(_)), "not mounted");
        tree.write(&format!("{VARIABLES}/BootOrder-{GLOBAL}"), [7, 0, 0, 0]);
        assert_eq!(off(&tree), Outcome::Absent, "a firmware without Secure Boot");
        let flag = |flag| Outcome::Value(ReadingValue::Flag(flag));
        set(&tree, "SecureBoot", 0);
        assert_eq!(off(&tree), flag(true));
        set(&tree, "SecureBoot", 1);
        assert!(matches!(off(&tree), Outcome::Unreadable(_)), "it may be in setup mode");
        set(&tree, "SetupMode", 0);
        assert_eq!(off(&tree), flag(false));
        set(&tree, "SetupMode", 1);
        assert_eq!(off(&tree), flag(true));
        set(&tree, "SecureBoot", 2);
        assert_eq!(off(&tree), flag(true), "in setup mode it is off, whatever else it says");
        set(&tree, "SetupMode", 0);
        assert!(matches!(off(&tree), Outcome::Unreadable(_)));
    }

    proptest! {
        #[test]
        fn only_two_values_are_flags(bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
            let flag = bytes.len() == 5 && bytes[4] < 2;
            assert_eq!(parse(&bytes).is_ok(), flag);
        }
    }
}
