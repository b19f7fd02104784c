//! The registers of a TPM (PCR), of its SHA-256 bank.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// What one register holds.
pub type Register = [u8; 32];

/// The registers that a machine is asked for, in order. 0 to 7 are the firmware's (PFP 3.3.4). Into 4, 8 and 9
/// goes what was booted: the firmware measures each program that it starts into 4, GRUB what it runs and reads
/// into 8 and 9, and the kernel's own loader its ramdisk into 9. 14 holds the owner's keys of shim. 10 changes
/// while the system runs (IMA), 11 to 13 and 15 are the installed system's (systemd) and say nothing of the
/// ramdisk; from 16 on they are for debugging and for what is started later.
pub const ASKED: [u8; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14];

/// The registers that a changed firmware, option ROM or Secure Boot policy shows in, and nothing else does.
pub const OF_FIRMWARE: [u8; 4] = [0, 2, 3, 7];

/// The registers that show which programs were booted. Register 9, which the kernel's command line goes into
/// with the one-time token, is another at each boot: what went into it is compared instead.
pub const OF_BOOTED: [u8; 3] = [4, 8, 14];

/// The registers asked for, by index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registers(BTreeMap<u8, Register>);

impl Registers {
    /// These registers; those that are not asked for are left out.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = (u8, Register)>) -> Self {
        Self(all.into_iter().filter(|(index, _)| ASKED.contains(index)).collect())
    }

    /// One register; none if it was not given.
    #[must_use]
    pub fn get(&self, index: u8) -> Option<&Register> {
        self.0.get(&index)
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Register)> {
        self.0.iter().map(|(index, register)| (*index, register))
    }

    /// Whether none that is asked for is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        ASKED.iter().all(|index| self.0.contains_key(index))
    }

    /// What a quote holds of them: SHA-256 over all, in the order of their numbers (TPM 2.0 part 1, 17.4).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for register in self.0.values() {
            hash.update(register);
        }
        hash.finalize().into()
    }
}

/// A register as people know it, such as `PCR 7 (Secure Boot policy)` (PFP 3.3.4).
#[must_use]
pub fn name(index: u8) -> String {
    let holds = match index {
        0 => "firmware",
        1 => "firmware configuration",
        2 => "option ROMs",
        3 => "option ROM configuration",
        4 => "boot loader",
        5 => "boot loader configuration and partition table",
        6 => "events of the platform's maker",
        7 => "Secure Boot policy",
        8 => "commands of the boot loader",
        9 => "files of the boot loader and ramdisk",
        14 => "owner's boot keys",
        _ => "another",
    };
    format!("PCR {index} ({holds})")
}

/// The bitmap that a command selects them with, three bytes (TPM 2.0 part 2, `TPMS_PCR_SELECTION`).
#[must_use]
pub(crate) fn asked_bitmap() -> [u8; 3] {
    let mut bitmap = [0; 3];
    for index in ASKED {
        if let Some(byte) = bitmap.get_mut(usize::from(index / 8)) {
            *byte |= 1 << (index % 8);
        }
    }
    bitmap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_is_asked_for_and_has_a_name() {
        for index in ASKED {
            assert!(!name(index).contains("another"), "{index}");
        }
        for index in OF_FIRMWARE.into_iter().chain(OF_BOOTED) {
            assert!(ASKED.contains(&index), "{index}");
        }
        assert_eq!(asked_bitmap(), [0xff, 0x43, 0x00]);
        assert_eq!(name(7), "PCR 7 (Secure Boot policy)");
    }

    #[test]
    fn a_register_that_is_missing_or_not_asked_for_is_noticed() {
        let all = |skip: u8| {
            Registers::new((0..24).filter(|index| *index != skip).map(|index| (index, [index; 32])))
        };
        assert!(all(23).is_complete());
        assert_eq!(all(23).digest(), all(15).digest(), "15 is not asked for");
        assert!(!all(9).is_complete());
        assert_ne!(all(23).digest(), all(9).digest());
    }
}
