//! Which firmware runs in the baseboard management controller. The BIOS says its own version in
//! [`super::smbios`], disks and GPUs say theirs in the inventory.

use contract::reading::{Outcome, Tier};

use super::check::Check;
use super::source::{self, Source};

/// Versions of firmware.
pub const CHECK: Check = Check {
    number: 28,
    name: "firmware versions",
    tier: Tier::T0,
    reads: "SMBIOS types 0 and 38, /sys/bus/platform/devices/ipmi_bmc.*/firmware_revision; in the inventory",
    keys: &[],
    rules: &["fitness/firmware-version"],
};

/// Longer versions are cut.
const VERSION_CHARACTERS_MAX: usize = 60;
/// No machine has more devices of this kind.
const DEVICES_MAX: usize = 4096;

/// Version of the controller's firmware, as the kernel's IPMI driver heard it. `in_smbios` says whether the
/// firmware knows of a controller (type 38).
#[must_use]
pub fn bmc_version(source: &Source, in_smbios: &Outcome<bool>) -> Outcome<String> {
    let directory = source.path("sys/bus/platform/devices");
    let names = match source::names(&directory, DEVICES_MAX) {
        Outcome::Value(names) => names,
        Outcome::Absent => Vec::new(),
        Outcome::Unreadable(why) => return Outcome::Unreadable(why),
    };
    match names.iter().find(|name| name.starts_with("ipmi_bmc.")) {
        Some(name) => match source::attribute(&directory.join(name).join("firmware_revision")) {
            Outcome::Value(version) => Outcome::Value(source::shown(&version, VERSION_CHARACTERS_MAX)),
            Outcome::Absent => Outcome::Unreadable(format!("{name} does not say its version")),
            Outcome::Unreadable(why) => Outcome::Unreadable(why),
        },
        None => match in_smbios {
            Outcome::Value(false) | Outcome::Absent => Outcome::Absent,
            Outcome::Value(true) => Outcome::Unreadable(
                "the machine has a management controller, and the kernel's IPMI driver is not loaded"
                    .to_owned(),
            ),
            Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;

    #[test]
    fn a_controller_that_does_not_answer_is_not_a_machine_without_one() {
        let tree = Tree::new();
        let version = |known| bmc_version(&tree.source(), &known);
        assert_eq!(version(Outcome::Value(false)), Outcome::Absent);
        assert!(matches!(version(Outcome::Value(true)), Outcome::Unreadable(_)));
        assert!(matches!(version(Outcome::Unreadable("no tables".to_owned())), Outcome::Unreadable(_)));
        tree.write("sys/bus/platform/devices/ipmi_bmc.0/firmware_revision", "2.19\n");
        assert_eq!(version(Outcome::Value(true)), Outcome::Value("2.19".to_owned()));
        tree.write("sys/bus/platform/devices/ipmi_bmc.0/firmware_revision", "");
        assert!(matches!(version(Outcome::Value(true)), Outcome::Unreadable(_)));
    }
}
