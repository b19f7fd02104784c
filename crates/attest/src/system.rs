//! The boot of the running system: what its agent shows, and what follows from it.
//!
//! The registers say how the machine was started, not what became of it since. So this finds what was changed, and
//! proves nothing of what the agent says besides.
//!
//! - S1: Q1 to Q4 and Q6 hold. So does Q5 where there is an event log; the kernel has none where its loader did not
//!   pass through the firmware's own way into it (GRUB before 2.12 without Secure Boot), and then whole registers
//!   are compared.
//! - S2: registers 0, 2 and 3 are those that were recorded last, or it is a mismatch. Register 7 is compared as it
//!   was at its separator ([`Replayed::secure_boot`]): shim measures its revocation list into it, and the firmware
//!   the keys of each program that it verifies, so that it is another one from disk than from the network.
//! - S3: registers that are those of the ramdisk before it, all of them, are those of a system that was started
//!   without a reset (kexec). The token on the ramdisk's measured command line makes them that boot's own. It can
//!   show nothing of itself, and what it shows is no change.
//! - S4: what was booted is recorded for an image: the programs of register 4, as a set, without those that the
//!   node's ramdisk measured (our loaders run before the disk's on one way and not on another) and without the
//!   firmware's words about its boot options; and registers 8, 9 and 14. Without an event log on either side
//!   register 4 is compared whole, and 7 where S2 could not.
//! - S5: another value is a change. Where no program was measured when it was recorded (BIOS), it is none: there
//!   register 4 tells of boot attempts.
//! - S6: what is golden for this image and hardware model ([`known_by`]) counts as recorded.
//! - S7: only where register 9 holds something was more measured than a loader. Else the boot is unproven.

use std::collections::BTreeSet;

use contract::assignment::BootTrust;
use contract::id::{Digest, ImageId};
use sha2::{Digest as _, Sha256};

use crate::event_log::Replayed;
use crate::golden::Golden;
use crate::proof::{IsSignedBy, ProofError, Shown, replayed, signed};
use crate::register::{Register, Registers, name};

/// What the firmware measures into register 4 around the programs that it starts (PFP 3.3.4.5, `EV_EFI_ACTION`),
/// and its separator.
const OF_NO_PROGRAM: [&[u8]; 3] = [
    b"Calling EFI Application from Boot Option",
    b"Returning from EFI Application from Boot Option",
    &[0; 4],
];
/// The registers of what was booted that are compared whole.
const WHOLE: [u8; 3] = [8, 9, 14];

/// The boot of a running system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// The registers.
    pub registers: Registers,
    /// What the event log tells besides; none where the kernel has none.
    pub log: Option<Log>,
}

/// What the event log tells that registers do not; the registers prove it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// Register 7 at its separator.
    pub secure_boot: Option<Register>,
    /// What was measured into register 4, in order.
    pub programs: Vec<Register>,
    /// The log calls some of it programs; no BIOS does.
    pub names_programs: bool,
}

/// What is known of how a node boots.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// The firmware's registers as they were recorded last, of the ramdisk or of the system.
    pub firmware: &'a Registers,
    /// Register 7 at its separator, where it was recorded.
    pub secure_boot: Option<Register>,
    /// What the node's ramdisk measured into register 4.
    pub ours: &'a [Register],
    /// All registers of the ramdisk's boot before this one.
    pub ramdisk: Option<&'a Registers>,
    /// What was recorded for the image.
    pub system: Option<&'a System>,
}

/// What a comparison finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// S2.
    Mismatch(Vec<String>),
    /// S3.
    WithoutReset,
    /// Nothing is recorded of this image, and the firmware is as recorded.
    NotRecorded,
    /// S4.
    Changed(Vec<String>),
    /// S5, S7.
    NotMeasured,
    /// All is as recorded.
    Verified,
}

impl From<Found> for BootTrust {
    fn from(found: Found) -> Self {
        let unproven = |why: &str| Self::Unproven { why: why.to_owned() };
        match found {
            Found::Mismatch(registers) => Self::Mismatch { registers },
            Found::Changed(what) => Self::Changed { what },
            Found::Verified => Self::Verified,
            Found::WithoutReset => unproven(
                "its registers are those of the ramdisk before it: the system was started without a reset (kexec)",
            ),
            Found::NotRecorded => {
                unproven("the firmware is as recorded, and nobody has recorded how this image boots here")
            }
            Found::NotMeasured => unproven(
                "the firmware is as recorded, but nothing on this machine measures the system's kernel before it runs",
            ),
        }
    }
}

/// Checks S1; the name of the key that signed, and the boot.
///
/// # Errors
/// Names the first rule that does not hold.
pub fn check(
    shown: &Shown<'_>,
    challenge: &[u8; 32],
    is_signed_by: IsSignedBy<'_>,
) -> Result<(Digest, System), ProofError> {
    let key = signed(shown, challenge, is_signed_by)?;
    if shown.event_log.is_empty() {
        return Ok((key, System { registers: shown.registers.clone(), log: None }));
    }
    let Replayed { registers, boot_programs, secure_boot, programs, .. } = replayed(shown)?;
    let log = Log { secure_boot, programs, names_programs: boot_programs > 0 };
    Ok((key, System { registers, log: Some(log) }))
}

/// S2 to S7.
#[must_use]
pub fn compare(known: &Known<'_>, now: &System, golden: Golden) -> Found {
    let (firmware, seventh) = firmware(known, now);
    if !firmware.is_empty() && !golden.firmware {
        return Found::Mismatch(firmware);
    }
    if known.ramdisk == Some(&now.registers) {
        return Found::WithoutReset;
    }
    let measures = now.registers.get(9).is_some_and(|register| *register != Register::default());
    match known.system {
        _ if golden.booted => {}
        None => return Found::NotRecorded,
        Some(system) => {
            let changed = changed(known.ours, system, now, seventh);
            let tells_of_attempts = system.log.as_ref().is_some_and(|log| !log.names_programs);
            match (changed.is_empty(), tells_of_attempts) {
                (true, _) => {}
                (false, true) => return Found::NotMeasured,
                (false, false) => return Found::Changed(changed),
            }
        }
    }
    if measures { Found::Verified } else { Found::NotMeasured }
}

/// What is known of register 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seventh {
    /// As the firmware should have it.
    AsRecorded,
    /// Nobody can tell what of it is the firmware's.
    Undecided,
}

/// S2: which registers of the firmware are not as recorded, and what is known of the seventh.
fn firmware(known: &Known<'_>, now: &System) -> (Vec<String>, Seventh) {
    let differs = |index: &u8| known.firmware.get(*index) != now.registers.get(*index);
    let mut differ: Vec<String> = [0, 2, 3].iter().filter(|index| differs(index)).map(|i| name(*i)).collect();
    let at_separator = now.log.as_ref().and_then(|log| log.secure_boot);
    let seventh = match (known.secure_boot, at_separator) {
        (Some(recorded), Some(now)) => {
            if recorded != now {
                differ.push(name(7));
            }
            Seventh::AsRecorded
        }
        _ if !differs(&7) => Seventh::AsRecorded,
        _ => Seventh::Undecided,
    };
    (differ, seventh)
}

/// S4.
fn changed(ours: &[Register], recorded: &System, now: &System, seventh: Seventh) -> Vec<String> {
    let mut changed = Vec::new();
    let same_programs = match (&recorded.log, &now.log) {
        (Some(recorded), Some(now)) => programs(recorded, ours) == programs(now, ours),
        _ => recorded.registers.get(4) == now.registers.get(4),
    };
    if !same_programs {
        changed.push(name(4));
    }
    let whole = WHOLE.into_iter().chain((seventh == Seventh::Undecided).then_some(7));
    changed.extend(whole.filter(|i| recorded.registers.get(*i) != now.registers.get(*i)).map(name));
    changed
}

/// The programs of register 4 (S4).
fn programs(log: &Log, ours: &[Register]) -> BTreeSet<Register> {
    let no_program = OF_NO_PROGRAM.map(|text| Register::from(Sha256::digest(text)));
    let programs = log.programs.iter().copied();
    programs.filter(|program| !ours.contains(program) && !no_program.contains(program)).collect()
}

/// What a golden boot of an image's system is known by (S6), with what S2 could leave undecided of register 7; none if
/// a register is missing. A boot with an event log and one without are known by different things.
#[must_use]
pub fn known_by(system: &System, image: ImageId, ours: &[Register]) -> Option<Digest> {
    let mut hash = Sha256::new_with_prefix(b"reprieve golden system 1\n");
    hash.update(image.0.0);
    match &system.log {
        Some(log) => {
            hash.update(b"programs\n");
            hash.update(log.secure_boot?);
            for program in programs(log, ours) {
                hash.update(program);
            }
        }
        None => {
            hash.update(b"registers\n");
            for index in [4, 7] {
                hash.update(system.registers.get(index)?);
            }
        }
    }
    for index in WHOLE {
        hash.update(system.registers.get(index)?);
    }
    Some(Digest(hash.finalize().into()))
}

#[cfg(test)]
mod tests;
