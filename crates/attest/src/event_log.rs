//! The log that the firmware keeps of what it measured, in its crypto-agile form (PFP 10.2), and the registers
//! that it amounts to.
//!
//! - L1: it begins with an event of no action that names the format, `Spec ID Event03`.
//! - L2: that event names the banks, each once, at most 16 of them; SHA-256 is one of them.
//! - L3: each further event has one digest for each bank named, and no other.
//! - L4: an event of no action changes no register; `StartupLocality` says what register 0 began with.
//! - L5: an event belongs to one of the 24 registers there are; only an event of no action may name another.
//! - L6: the log ends where an event ends, and has at most 65,536 events.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::bytes::{Bytes, CutOff};
use crate::register::{Register, Registers};

/// `EV_NO_ACTION`.
const NO_ACTION: u32 = 0x3;
/// `EV_EVENT_TAG`.
const TAGGED: u32 = 0x6;
/// What ends the firmware's own part of a register: four zero bytes, hashed (PFP 3.3.2.4, `EV_SEPARATOR`).
const SEPARATOR: [u8; 4] = [0; 4];
/// `EV_EFI_BOOT_SERVICES_APPLICATION`.
const BOOT_PROGRAM: u32 = 0x8000_0003;
/// How Linux tags the ramdisk and the command line that it measures (drivers/firmware/efi/libstub/efistub.h).
const LINUX_RAMDISK: u32 = 0x8F3B_22EC;
const LINUX_COMMAND_LINE: u32 = 0x8F3B_22ED;
/// Register 9 gets two digests of a kernel that is started over the network, and of GRUB some hundreds.
const FILES_MAX: usize = 4096;
/// `TPM_ALG_SHA256`.
const SHA256: u16 = 0x000B;
const FORMAT: &[u8] = b"Spec ID Event03\0";
const LOCALITY: &[u8] = b"StartupLocality\0";
const BANKS_MAX: u32 = 16;
const EVENTS_MAX: usize = 65_536;
const REGISTERS: u32 = 24;

/// Why a log is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogError {
    /// L6.
    #[error("the firmware's event log is cut off in event {event}")]
    CutOff {
        /// Which, from 0.
        event: usize,
    },
    /// L1.
    #[error("the firmware's event log is in no form that is known; only the crypto-agile one of TPM 2.0 is")]
    Format,
    /// L2.
    #[error(
        "the firmware's event log has no SHA-256 digests, or names its banks wrongly; switch the SHA-256 bank on in the firmware's setup"
    )]
    Banks,
    /// L3.
    #[error("event {event} of the firmware's event log has other digests than the log announces")]
    Digests {
        /// Which, from 0.
        event: usize,
    },
    /// L5.
    #[error("event {event} of the firmware's event log is about register {register}, which there is not")]
    Register {
        /// Which, from 0.
        event: usize,
        /// Which register it names.
        register: u32,
    },
    /// L6.
    #[error("the firmware's event log has more events than any machine's ({EVENTS_MAX})")]
    TooMany,
}

/// What a log amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The registers as they are if nothing but this was measured.
    pub registers: Registers,
    /// How many programs the firmware measured before it started them: boot loader and kernel.
    pub boot_programs: usize,
    /// What was measured into register 9, in order.
    pub files: Vec<File>,
    /// Register 7 when its separator was measured: Secure Boot as the firmware has it, before any program brought
    /// keys or lists of its own. Only the firmware can measure so early. None if there is no separator.
    pub secure_boot: Option<Register>,
    /// What was measured into register 4, in order, whatever the log calls it; the registers prove it.
    pub programs: Vec<Register>,
}

/// One event of register 9. The digest is proven with the register, the label is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// What the label says it is.
    pub label: Label,
    /// SHA-256 of it.
    pub digest: Register,
}

/// What an event of register 9 says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Linux's command line, measured by its own loader.
    CommandLine,
    /// Linux's ramdisk, measured by its own loader.
    Ramdisk,
    /// Something else, such as a file that GRUB read.
    Other,
}

/// Reads a log and replays it.
///
/// # Errors
/// Names the rule's breach and the event.
pub fn replay(log: &[u8]) -> Result<Replayed, LogError> {
    let mut bytes = Bytes::new(log);
    let banks = header(&mut bytes)?;
    let mut replaying = Replaying::default();
    let mut event = 1;
    while !bytes.is_empty() {
        if event >= EVENTS_MAX {
            return Err(LogError::TooMany);
        }
        replaying.take(&read(&mut bytes, &banks, event)?, event)?;
        event += 1;
    }
    Ok(replaying.ended())
}

/// One event; what it says beside its digest is hostile text.
struct Event<'a> {
    register: u32,
    kind: u32,
    digest: Register,
    data: &'a [u8],
}

/// L1, L2. The first event has the form of TPM 1.2, with room for one SHA-1 digest.
fn header(bytes: &mut Bytes<'_>) -> Result<BTreeMap<u16, u16>, LogError> {
    let cut_off = |_: CutOff| LogError::CutOff { event: 0 };
    let (_, kind) = (bytes.u32_little().map_err(cut_off)?, bytes.u32_little().map_err(cut_off)?);
    bytes.take(20).map_err(cut_off)?;
    let length = bytes.u32_little().map_err(cut_off)?;
    let data = bytes.take(length as usize).map_err(cut_off)?;
    if kind != NO_ACTION || !data.starts_with(FORMAT) {
        return Err(LogError::Format);
    }
    banks(data).map_err(cut_off)?.ok_or(LogError::Banks)
}

/// `TCG_EfiSpecIdEvent`: format, platform class, version, size of words, then the banks with their digest sizes.
fn banks(data: &[u8]) -> Result<Option<BTreeMap<u16, u16>>, CutOff> {
    let mut data = Bytes::new(data);
    data.take(FORMAT.len() + 8)?;
    let count = data.u32_little()?;
    if count > BANKS_MAX {
        return Ok(None);
    }
    let mut banks = BTreeMap::new();
    for _ in 0..count {
        let (bank, size) = (data.u16_little()?, data.u16_little()?);
        if banks.insert(bank, size).is_some() {
            return Ok(None);
        }
    }
    Ok((banks.get(&SHA256) == Some(&32)).then_some(banks))
}

/// L3. `TCG_PCR_EVENT2`.
fn read<'a>(bytes: &mut Bytes<'a>, banks: &BTreeMap<u16, u16>, event: usize) -> Result<Event<'a>, LogError> {
    let cut_off = |_: CutOff| LogError::CutOff { event };
    let (register, kind) = (bytes.u32_little().map_err(cut_off)?, bytes.u32_little().map_err(cut_off)?);
    let count = bytes.u32_little().map_err(cut_off)?;
    if count as usize != banks.len() {
        return Err(LogError::Digests { event });
    }
    let mut digests = BTreeMap::new();
    for _ in 0..count {
        let bank = bytes.u16_little().map_err(cut_off)?;
        let size = banks.get(&bank).ok_or(LogError::Digests { event })?;
        if digests.insert(bank, bytes.take(usize::from(*size)).map_err(cut_off)?).is_some() {
            return Err(LogError::Digests { event });
        }
    }
    let length = bytes.u32_little().map_err(cut_off)?;
    let data = bytes.take(length as usize).map_err(cut_off)?;
    let digest = digests.get(&SHA256).and_then(|digest| Register::try_from(*digest).ok());
    Ok(Event { register, kind, digest: digest.ok_or(LogError::Digests { event })?, data })
}

#[derive(Default)]
struct Replaying {
    registers: BTreeMap<u8, Register>,
    boot_programs: usize,
    files: Vec<File>,
    secure_boot: Option<Register>,
    programs: Vec<Register>,
}

impl Replaying {
    /// L4, L5.
    fn take(&mut self, event: &Event<'_>, number: usize) -> Result<(), LogError> {
        if event.kind == NO_ACTION {
            if let Some([locality]) = event.data.strip_prefix(LOCALITY) {
                let mut begun = [0; 32];
                begun[31] = *locality;
                // Only what nothing was measured into yet can begin.
                self.registers.entry(0).or_insert(begun);
            }
            return Ok(());
        }
        let index = u8::try_from(event.register).ok().filter(|index| u32::from(*index) < REGISTERS);
        let index = index.ok_or(LogError::Register { event: number, register: event.register })?;
        let register = self.registers.entry(index).or_default();
        let mut hash = Sha256::new();
        hash.update(*register);
        hash.update(event.digest);
        *register = hash.finalize().into();
        let measured = *register;
        self.boot_programs += usize::from(index == 4 && event.kind == BOOT_PROGRAM);
        if index == 7 && event.digest == Register::from(Sha256::digest(SEPARATOR)) {
            self.secure_boot.get_or_insert(measured);
        }
        if index == 4 {
            if self.programs.len() == FILES_MAX {
                return Err(LogError::TooMany);
            }
            self.programs.push(event.digest);
        }
        if index == 9 {
            if self.files.len() == FILES_MAX {
                return Err(LogError::TooMany);
            }
            self.files.push(File { label: label(event), digest: event.digest });
        }
        Ok(())
    }

    /// A register that nothing was measured into is zero; from 16 on they begin otherwise and are not asked for.
    fn ended(self) -> Replayed {
        let registers = (0..16).map(|index| (index, self.registers.get(&index).copied().unwrap_or_default()));
        Replayed {
            registers: Registers::new(registers),
            boot_programs: self.boot_programs,
            files: self.files,
            secure_boot: self.secure_boot,
            programs: self.programs,
        }
    }
}

fn label(event: &Event<'_>) -> Label {
    let tag = event.data.first_chunk().map(|tag| u32::from_le_bytes(*tag));
    match (event.kind, tag) {
        (TAGGED, Some(LINUX_COMMAND_LINE)) => Label::CommandLine,
        (TAGGED, Some(LINUX_RAMDISK)) => Label::Ramdisk,
        _ => Label::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{BIOS, UEFI};
    use proptest::prelude::{any, prop_assert, proptest};

    /// L1 and L2: a log with nothing in it.
    fn head(banks: &[(u16, u16)]) -> Vec<u8> {
        let mut data = FORMAT.to_vec();
        data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        data.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
        for (bank, size) in banks {
            data.extend([bank.to_le_bytes(), size.to_le_bytes()].concat());
        }
        data.push(0);
        let mut log = [0_u32.to_le_bytes(), NO_ACTION.to_le_bytes()].concat();
        log.extend([0; 20]);
        log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        [log, data].concat()
    }

    fn event(register: u32, kind: u32, bank: u16, digest: Register, data: &[u8]) -> Vec<u8> {
        let mut event = [register, kind, 1].map(u32::to_le_bytes).concat();
        event.extend(bank.to_le_bytes());
        event.extend(digest);
        event.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        [&event[..], data].concat()
    }

    fn one_bank(events: &[Vec<u8>]) -> Result<Replayed, LogError> {
        replay(&[head(&[(SHA256, 32)]), events.concat()].concat())
    }

    #[test]
    fn two_firmwares_logs_give_the_registers_that_their_tpms_had() {
        for machine in [&BIOS, &UEFI] {
            assert_eq!(replay(machine.log).unwrap().registers, machine.registers());
        }
        assert_eq!(replay(BIOS.log).unwrap().files, Vec::new());
        let uefi = replay(UEFI.log).unwrap();
        assert_eq!(uefi.boot_programs, 1);
        assert_eq!(
            uefi.files.iter().map(|file| file.label).collect::<Vec<_>>(),
            [Label::CommandLine, Label::Ramdisk]
        );
    }

    #[test]
    fn l1_l2_a_log_without_its_form_or_without_sha_256_is_none() {
        assert_eq!(replay(&[]), Err(LogError::CutOff { event: 0 }));
        let mut sha1_form = head(&[(SHA256, 32)]);
        sha1_form[4] = 8;
        assert_eq!(replay(&sha1_form), Err(LogError::Format));
        for banks in [&[(4, 20)][..], &[(SHA256, 20)], &[(SHA256, 32), (SHA256, 32)], &[(SHA256, 32); 17]] {
            assert_eq!(replay(&head(banks)), Err(LogError::Banks), "{banks:?}");
        }
        assert!(replay(&head(&[(4, 20), (SHA256, 32)])).unwrap().registers.is_complete());
    }

    #[test]
    fn l3_an_event_with_other_digests_than_announced_is_refused() {
        assert_eq!(one_bank(&[event(0, 4, 0xC, [1; 32], b"")]), Err(LogError::Digests { event: 1 }));
        let two = [head(&[(4, 20), (SHA256, 32)]), event(0, 4, SHA256, [1; 32], b"")].concat();
        assert_eq!(replay(&two), Err(LogError::Digests { event: 1 }));
    }

    #[test]
    fn l4_no_action_changes_nothing_but_what_register_0_begins_with() {
        let nothing = one_bank(&[]).unwrap();
        assert_eq!(one_bank(&[event(3, NO_ACTION, SHA256, [7; 32], b"x")]).unwrap(), nothing);
        let locality = event(0, NO_ACTION, SHA256, [0; 32], b"StartupLocality\0\x03");
        let begun = one_bank(std::slice::from_ref(&locality)).unwrap();
        assert_eq!(begun.registers.get(0).unwrap()[31], 3);
        let measured = event(0, 4, SHA256, [1; 32], b"");
        let first = one_bank(&[locality.clone(), measured.clone()]).unwrap();
        let late = one_bank(&[measured.clone(), locality]).unwrap();
        assert_ne!(first, late);
        assert_eq!(late, one_bank(&[measured]).unwrap(), "it takes back nothing");
    }

    #[test]
    fn l5_l6_a_register_that_there_is_not_and_half_an_event_are_refused() {
        assert_eq!(
            one_bank(&[event(24, 4, SHA256, [1; 32], b"")]),
            Err(LogError::Register { event: 1, register: 24 })
        );
        assert!(one_bank(&[event(u32::MAX, NO_ACTION, SHA256, [1; 32], b"")]).is_ok());
        let mut half = event(0, 4, SHA256, [1; 32], b"four");
        half.pop();
        assert_eq!(one_bank(&[half]), Err(LogError::CutOff { event: 1 }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_replayed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = replay(&bytes);
            let _ = replay(&[head(&[(4, 20), (SHA256, 32)]), bytes].concat());
        }

        #[test]
        fn a_changed_digest_changes_a_register(at in 0..5256_usize, bit in 0..8_u32) {
            let mut log = UEFI.log.to_vec();
            log[at] ^= 1 << bit;
            if let Ok(changed) = replay(&log) {
                // A label may say anything; what it is about does not change under the same registers.
                let digests = |replayed: &Replayed| replayed.files.iter().map(|file| file.digest).collect::<Vec<_>>();
                let same = changed.registers == UEFI.registers();
                prop_assert!(!same || digests(&changed) == digests(&replay(UEFI.log).unwrap()));
            }
        }
    }
}
