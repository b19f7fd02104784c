//! Boots that a person found right not for one node alone, but for every node of a hardware model.
//!
//! - G1: firmware is golden if registers 0, 2, 3 and 7 are together as they were in one recorded boot of the
//!   hardware model: one register of one boot and another of a second are a boot that nobody saw.
//! - G2: what was booted is golden if registers 4, 8 and 14, the ramdisk that is proven (Q7) and the command line are
//!   together as they were in one recorded boot of the hardware model. A new firmware and a new ramdisk need not come
//!   at the same time, so that this and G1 may be of two boots.
//! - G3: of the command line the node's id is left out besides what B5 leaves out.
//! - G4: golden values stand for those that are recorded of a node itself, where that node's own key signed. Where
//!   nothing is recorded of a node, they prove its boot only if a certified TPM signed: another's registers would
//!   be anybody's claim.

use contract::agent_api::boot_parameter;
use contract::id::Digest;
use sha2::{Digest as _, Sha256};

use crate::register::{OF_BOOTED, OF_FIRMWARE, Registers};

/// Which parts of a boot are golden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Golden {
    /// G1.
    pub firmware: bool,
    /// G2.
    pub booted: bool,
}

/// What golden firmware is known by (G1); none if a register is missing.
#[must_use]
pub fn firmware(registers: &Registers) -> Option<Digest> {
    let mut hash = Sha256::new_with_prefix(b"reprieve golden firmware 1\n");
    for index in OF_FIRMWARE {
        hash.update(registers.get(index)?);
    }
    Some(Digest(hash.finalize().into()))
}

/// What a golden boot is known by (G2); none if a register is missing, or the ramdisk is not proven. `lasting` is the
/// command line as [`crate::comparison::lasting_words`] leaves it.
#[must_use]
pub fn booted(registers: &Registers, ramdisk: Option<Digest>, lasting: &str) -> Option<Digest> {
    let mut hash = Sha256::new_with_prefix(b"reprieve golden boot 1\n");
    for index in OF_BOOTED {
        hash.update(registers.get(index)?);
    }
    hash.update(ramdisk?.0);
    for word in lasting.split(' ').filter(|word| word.split('=').next() != Some(boot_parameter::NODE)) {
        hash.update(word.as_bytes());
        hash.update(b"\n");
    }
    Some(Digest(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::ASKED;

    const LINE: &str = "quiet reprieve.node=1 reprieve.service=https://192.0.2.1:8443";

    fn registers(changed: Option<u8>) -> Registers {
        Registers::new(
            ASKED.map(|index| (index, [index ^ if changed == Some(index) { 0x80 } else { 0 }; 32])),
        )
    }

    fn known_by(registers: &Registers) -> (Option<Digest>, Option<Digest>) {
        (firmware(registers), booted(registers, Some(Digest([1; 32])), LINE))
    }

    #[test]
    fn g1_g2_each_register_is_part_of_what_it_should_be() {
        let (firmware, booted) = known_by(&registers(None));
        assert!(firmware.is_some() && booted.is_some() && firmware != booted);
        for changed in ASKED {
            let now = known_by(&registers(Some(changed)));
            assert_eq!(now.0 != firmware, [0, 2, 3, 7].contains(&changed), "{changed}");
            assert_eq!(now.1 != booted, [4, 8, 14].contains(&changed), "{changed}");
        }
        assert_eq!(known_by(&Registers::default()), (None, None));
    }

    #[test]
    fn g2_g3_another_ramdisk_or_word_is_another_boot_and_another_node_is_not() {
        let registers = registers(None);
        let of = |ramdisk: u8, line: &str| booted(&registers, Some(Digest([ramdisk; 32])), line);
        let one = of(1, LINE);
        assert_eq!(one, of(1, &LINE.replace("node=1", "node=2")));
        assert_eq!(booted(&registers, None, LINE), None, "no ramdisk is proven");
        for other in [
            of(2, LINE),
            of(1, &LINE.replace("192.0.2.1", "192.0.2.2")),
            of(1, &format!("{LINE} rdinit=/bin/sh")),
            of(1, &LINE.replace("quiet ", "")),
            of(1, &LINE.replace("quiet reprieve", "quietreprieve")),
            of(1, &LINE.replace("reprieve.node=1", "reprieve.node.other=1")),
        ] {
            assert_ne!(other, one);
        }
    }
}
