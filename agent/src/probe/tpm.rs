//! The registers of the TPM, as the kernel shows them (Documentation/ABI/stable/sysfs-class-tpm), and the
//! firmware's event log.

use std::time::Duration;

use attest::register::{ASKED, Register, name};
use contract::id::Digest;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};

use super::check::Check;
use super::evidence::Found;
use super::question::Asked;
use super::source::{self, Source};

/// The TPM's registers.
pub const CHECK: Check = Check {
    number: 5,
    name: "boot registers of the TPM",
    tier: Tier::T0,
    reads: "/sys/class/tpm/tpm0/pcr-sha256/*; to prove a boot a quote and the event log besides",
    keys: &[ReadingKey::BootRegisters],
    rules: &[
        "integrity/boot-registers",
        "integrity/boot-proof-lost",
        "integrity/boot-unproven",
        "integrity/system-boot",
    ],
};

const TPM: &str = "sys/class/tpm/tpm0";
/// Slow ones take a tenth of a second for a register.
static TPM_CHIP: Asked = Asked::new("The TPM", Duration::from_secs(10));
/// The firmware's word that there is a TPM 2.0 (TCG ACPI Specification 1.4).
const ACPI_TABLE: &str = "sys/firmware/acpi/tables/TPM2";
const EVENT_LOG: &str = "sys/kernel/security/tpm0/binary_bios_measurements";

/// The registers that a proof of boot is about, as a reading.
#[must_use]
pub fn read(source: &Source) -> Vec<Found> {
    let list = |registers: Vec<(u8, Digest)>| {
        let texts = registers.into_iter().map(|(index, register)| format!("sha256:{index}:{register}"));
        ReadingValue::list(texts.collect())
    };
    vec![(Subject::Node, ReadingKey::BootRegisters, registers(source).map(list))]
}

/// The registers; absent where there is no TPM 2.0. The kernel asks the TPM for each, and a TPM that hangs
/// must not keep a look waiting.
#[must_use]
pub fn registers(source: &Source) -> Outcome<Vec<(u8, Digest)>> {
    if !source.is_machine() {
        return read_registers(source);
    }
    let source = source.clone();
    TPM_CHIP.ask(move || Ok(read_registers(&source))).unwrap_or_else(Outcome::Unreadable)
}

fn read_registers(source: &Source) -> Outcome<Vec<(u8, Digest)>> {
    match source::number(&source.path(TPM).join("tpm_version_major")) {
        Outcome::Value(2) => {}
        Outcome::Value(_) => return Outcome::Absent,
        Outcome::Absent => return without_version(source),
        Outcome::Unreadable(why) => return Outcome::Unreadable(why),
    }
    let bank = source.path(TPM).join("pcr-sha256");
    let mut registers = Vec::new();
    for index in ASKED {
        match source::attribute(&bank.join(index.to_string())) {
            Outcome::Value(text) => match parse(&text) {
                Some(register) => registers.push((index, Digest(register))),
                None => {
                    let says = source::quoted(&text);
                    return Outcome::Unreadable(format!("{} holds {says}, no register", name(index)));
                }
            },
            Outcome::Absent => {
                let why = format!("the TPM shows no SHA-256 register {index}; switch its SHA-256 bank on");
                return Outcome::Unreadable(why);
            }
            Outcome::Unreadable(why) => return Outcome::Unreadable(why),
        }
    }
    Outcome::Value(registers)
}

/// Without a version there is no TPM, unless kernel or firmware know of one.
fn without_version<T>(source: &Source) -> Outcome<T> {
    let signs = [
        (TPM, "the TPM's driver does not say which version it is; a ramdisk with a newer kernel may"),
        (ACPI_TABLE, "the firmware lists a TPM 2.0 and no driver shows it; look for tpm in the kernel's log"),
    ];
    for (place, means) in signs {
        let path = source.path(place);
        match path.try_exists() {
            Ok(false) => {}
            Ok(true) => return Outcome::Unreadable(means.to_owned()),
            Err(error) => return source::unreadable(&path, &error),
        }
    }
    Outcome::Absent
}

/// The firmware's event log.
///
/// # Errors
/// In words, if there is none or it cannot be read.
pub fn event_log(source: &Source) -> Result<Vec<u8>, String> {
    let path = source.path(EVENT_LOG);
    source::read_bytes(&path)
        .map_err(|error| format!("cannot read the firmware's event log {}: {error}", path.display()))
}

/// The same; none where the kernel has none.
///
/// # Errors
/// In words, if it is there and cannot be read.
pub fn event_log_if_there(source: &Source) -> Result<Option<Vec<u8>>, String> {
    let path = source.path(EVENT_LOG);
    match path.try_exists() {
        Ok(false) => Ok(None),
        Ok(true) => event_log(source).map(Some),
        Err(error) => Err(format!("cannot look for the firmware's event log {}: {error}", path.display())),
    }
}

/// 64 hexadecimal digits; the kernel writes large ones.
fn parse(text: &str) -> Option<Register> {
    let mut register = [0; 32];
    hex::decode_to_slice(text, &mut register).ok().map(|()| register)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::proptest;

    fn machine() -> Tree {
        let tree = Tree::new();
        tree.write(&format!("{TPM}/tpm_version_major"), "2\n");
        for index in 0..24 {
            tree.write(&format!("{TPM}/pcr-sha256/{index}"), format!("{}\n", "AB".repeat(32)));
        }
        tree
    }

    #[test]
    fn no_tpm_an_old_one_and_one_that_cannot_be_read_are_three_things() {
        let tree = Tree::new();
        assert_eq!(registers(&tree.source()), Outcome::Absent);
        tree.write(&format!("{TPM}/tpm_version_major"), "1\n");
        assert_eq!(registers(&tree.source()), Outcome::Absent);
        tree.write(&format!("{TPM}/tpm_version_major"), "2\n");
        assert!(matches!(registers(&tree.source()), Outcome::Unreadable(why) if why.contains("bank")));
        tree.write(&format!("{TPM}/tpm_version_major"), "two\n");
        assert!(matches!(registers(&tree.source()), Outcome::Unreadable(_)));
        assert!(event_log(&tree.source()).unwrap_err().contains("event log"));
    }

    #[test]
    fn a_tpm_that_says_nothing_of_itself_is_not_none() {
        for sign in [format!("{TPM}/dev"), ACPI_TABLE.to_owned()] {
            let tree = Tree::new();
            tree.write(&sign, "");
            let found = registers(&tree.source());
            assert!(matches!(&found, Outcome::Unreadable(why) if why.contains("TPM")), "{sign}: {found:?}");
            tree.write(&format!("{TPM}/tpm_version_major"), "1\n");
            assert_eq!(registers(&tree.source()), Outcome::Absent, "{sign}: an old one");
        }
    }

    #[test]
    fn registers_are_read_as_the_kernel_writes_them() {
        let tree = machine();
        let found = read(&tree.source()).remove(0);
        let Outcome::Value(ReadingValue::List { items, total }) = found.2 else { panic!("{found:?}") };
        assert_eq!(total, 11);
        assert_eq!(items[10], format!("sha256:14:{}", "ab".repeat(32)));
        tree.write(&format!("{TPM}/pcr-sha256/7"), "AB\n");
        let unreadable = registers(&tree.source());
        assert!(matches!(unreadable, Outcome::Unreadable(why) if why.contains("PCR 7")));
    }

    proptest! {
        #[test]
        fn only_64_digits_are_a_register(text in "[0-9a-fA-Fx]{0,70}") {
            let is_register = text.len() == 64 && !text.contains('x');
            assert_eq!(parse(&text).is_some(), is_register);
        }
    }
}
