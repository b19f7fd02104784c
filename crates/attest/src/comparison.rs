//! The registers of this boot against those recorded when a person last found the node right.
//!
//! - B1: a register of the firmware ([`OF_FIRMWARE`]) that is not as recorded is a mismatch.
//! - B2: a program, ramdisk or command line that is not as recorded ([`OF_BOOTED`]) proves nothing: a new release
//!   changes it on every node at once, and an attacker's does too. Until a person has recorded it, the boot is
//!   unproven, which never makes an action milder.
//! - B3: where firmware and kernel do not measure the ramdisk (BIOS), registers as recorded prove the firmware
//!   and not what ran, so that the boot is unproven.
//! - B4: registers 1, 5 and 6 are signed and shown, and not compared: boot entries, which the agent itself sets
//!   after an image, partition tables and wake-ups change them.
//! - B5: of the command line, token, address, gateway and interface are another at each boot and are left out. The
//!   kernel takes what stands between double quotes for one word and the byte 0xA0 for a space, and we never write
//!   either: a line with a quote, or with anything that is not ASCII, is compared with nothing.

use contract::agent_api::boot_parameter;
use contract::assignment::BootTrust;
use contract::id::Digest;

use crate::golden::Golden;
use crate::proof::Proven;
use crate::register::{OF_BOOTED, OF_FIRMWARE, Registers, name};

/// What a person found right of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What the registers were.
    pub registers: Registers,
    /// The ramdisk, where it is proven (B3).
    pub ramdisk: Option<Digest>,
    /// The command line as [`lasting_words`] leaves it.
    pub command_line: String,
}

/// A command line without what is another at each boot (B5); none if it is one that we cannot take apart as the
/// kernel does.
#[must_use]
pub fn lasting_words(command_line: &str) -> Option<String> {
    const OF_THIS_BOOT: [&str; 4] =
        [boot_parameter::TOKEN, boot_parameter::ADDRESS, boot_parameter::GATEWAY, boot_parameter::INTERFACE];
    if !command_line.is_ascii() || command_line.contains('"') {
        return None;
    }
    let lasts = |word: &&str| {
        let is_plain = word.bytes().all(|byte| byte.is_ascii_graphic());
        !is_plain || !OF_THIS_BOOT.contains(&word.split('=').next().unwrap_or_default())
    };
    // Of ASCII this splits at what the kernel's isspace() knows, the vertical tab with it.
    Some(command_line.split_whitespace().filter(lasts).collect::<Vec<_>>().join(" "))
}

/// Compares what is proven of this boot with what is recorded.
#[must_use]
pub fn compare(recorded: &Recorded, proven: &Proven, command_line: &str) -> BootTrust {
    compare_beside(recorded, proven, command_line, Golden::default())
}

/// The same, where what is golden (G1, G2) counts as recorded.
#[must_use]
pub fn compare_beside(recorded: &Recorded, proven: &Proven, command_line: &str, golden: Golden) -> BootTrust {
    let differ = |compared: &[u8]| -> Vec<String> {
        compared
            .iter()
            .filter(|index| recorded.registers.get(**index) != proven.registers.get(**index))
            .map(|index| name(*index))
            .collect()
    };
    let firmware = differ(&OF_FIRMWARE);
    if !firmware.is_empty() && !golden.firmware {
        return BootTrust::Mismatch { registers: firmware };
    }
    if golden.booted {
        return BootTrust::Verified;
    }
    if recorded.ramdisk.is_none() {
        let why =
            "the firmware is as recorded, but nothing on this machine measures the ramdisk before it runs";
        return BootTrust::Unproven { why: why.to_owned() };
    }
    let mut booted = differ(&OF_BOOTED);
    if recorded.ramdisk != proven.ramdisk {
        booted.push("ramdisk".to_owned());
    }
    if lasting_words(command_line).is_none_or(|lasting| lasting != recorded.command_line) {
        booted.push("kernel command line".to_owned());
    }
    if !booted.is_empty() {
        let why = format!(
            "the firmware is as recorded, what it booted is not: {}; if it was changed on purpose, record this boot",
            booted.join(", ")
        );
        return BootTrust::Unproven { why };
    }
    BootTrust::Verified
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{BIOS, UEFI};
    use crate::register::ASKED;
    use proptest::prelude::proptest;

    const COMMAND_LINE: &str = "quiet reprieve.node=1 reprieve.token=a reprieve.address=1.2.3.4";

    fn recorded() -> Recorded {
        let command_line = lasting_words(COMMAND_LINE).unwrap();
        Recorded { registers: UEFI.registers(), ramdisk: Some(Digest([1; 32])), command_line }
    }

    fn proven(registers: Registers) -> Proven {
        let ramdisk = Some(Digest([1; 32]));
        Proven { key: Digest([2; 32]), registers, ramdisk, secure_boot: None, programs: Vec::new() }
    }

    fn is_unproven_for(found: &BootTrust, part: &str) -> bool {
        matches!(found, BootTrust::Unproven { why } if why.contains(part))
    }

    #[test]
    fn each_register_counts_as_it_should() {
        let recorded = recorded();
        assert_eq!(compare(&recorded, &proven(UEFI.registers()), COMMAND_LINE), BootTrust::Verified);
        for changed in ASKED {
            let now = Registers::new(recorded.registers.iter().map(|(index, register)| {
                let mut register = *register;
                register[0] ^= u8::from(index == changed);
                (index, register)
            }));
            let found = compare(&recorded, &proven(now), COMMAND_LINE);
            match changed {
                0 | 2 | 3 | 7 => assert_eq!(found, BootTrust::Mismatch { registers: vec![name(changed)] }),
                4 | 8 | 14 => assert!(is_unproven_for(&found, &name(changed)), "{found:?}"),
                _ => assert_eq!(found, BootTrust::Verified, "{changed}"),
            }
        }
        let other = compare(&recorded, &proven(BIOS.registers()), COMMAND_LINE);
        assert!(matches!(other, BootTrust::Mismatch { .. }), "a mismatch of the firmware comes first");
    }

    #[test]
    fn no_word_of_the_kernel_hides_in_one_of_this_boot() {
        let now = proven(UEFI.registers());
        for hidden in [
            "reprieve.token=a\u{a0}rdinit=/x",
            "reprieve.token=\"a rdinit=/x",
            "reprieve.token=a\u{b}rdinit=/x",
            "reprieve.token=a\u{1}rdinit=/x",
            "reprieve.address=\u{2003}rdinit=/x",
            "\"reprieve.token=a\"",
        ] {
            let line = format!("quiet reprieve.node=1 {hidden}");
            assert!(is_unproven_for(&compare(&recorded(), &now, &line), "command line"), "{hidden:?}");
        }
        for plain in ["quiet\treprieve.node=1\nreprieve.token=!a~", "quiet reprieve.node=1 reprieve.token"] {
            assert_eq!(compare(&recorded(), &now, plain), BootTrust::Verified, "{plain:?}");
        }
    }

    proptest! {
        /// Whatever follows a word of this boot in a line that is taken apart: a word of the kernel's stays.
        #[test]
        fn a_word_behind_any_value_stays(value: String) {
            let lasting = lasting_words(&format!("reprieve.token={value} rdinit=/x"));
            if let Some(lasting) = lasting {
                assert!(lasting.ends_with("rdinit=/x") && !value.contains('"'));
            }
        }
    }

    #[test]
    fn what_is_golden_counts_as_recorded_each_part_for_itself() {
        let recorded = recorded();
        let other = proven(BIOS.registers());
        let compared =
            |firmware, booted| compare_beside(&recorded, &other, COMMAND_LINE, Golden { firmware, booted });
        assert!(matches!(compared(false, false), BootTrust::Mismatch { .. }));
        assert!(
            matches!(compared(false, true), BootTrust::Mismatch { .. }),
            "other firmware is never passed over"
        );
        assert!(is_unproven_for(&compared(true, false), "boot loader"));
        assert_eq!(compared(true, true), BootTrust::Verified);
    }

    #[test]
    fn another_ramdisk_or_command_line_or_none_is_unproven() {
        let recorded = recorded();
        let mut now = proven(UEFI.registers());
        for (line, part) in
            [("quiet reprieve.node=2", "command line"), ("quiet reprieve.node=1 rdinit=/x", "command")]
        {
            assert!(is_unproven_for(&compare(&recorded, &now, line), part));
        }
        let moved = "quiet reprieve.node=1 reprieve.token=b reprieve.gateway=1.2.3.1";
        assert_eq!(compare(&recorded, &now, moved), BootTrust::Verified);
        for ramdisk in [None, Some(Digest([9; 32]))] {
            now.ramdisk = ramdisk;
            assert!(is_unproven_for(&compare(&recorded, &now, COMMAND_LINE), "not: ramdisk"));
        }
        let without = Recorded { ramdisk: None, ..recorded };
        assert!(is_unproven_for(&compare(&without, &now, COMMAND_LINE), "nothing on this machine"));
    }
}
