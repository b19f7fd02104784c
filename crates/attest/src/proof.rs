//! All that a machine shows of its boot, checked against what it was asked.
//!
//! - Q1: what was signed is a quote that the TPM made.
//! - Q2: it is about exactly the registers that were asked for, of the SHA-256 bank.
//! - Q3: it holds the challenge of this session, so that it is no older quote.
//! - Q4: its digest is that of the registers that were reported.
//! - Q5: the event log, replayed, gives the same registers.
//! - Q6: the signature is the attestation key's. The key is one as we ask for; whose it is, the caller knows.
//! - Q7: which ramdisk runs is proven only where the firmware measured programs that it started into register 4,
//!   and register 9 got exactly two digests: that of the kernel's command line, and that of the ramdisk. The
//!   labels in the log prove nothing; but a kernel that is as recorded measures first the one and then the
//!   other, and nobody finds a command line for the digest of a ramdisk.

use contract::id::Digest;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::event_log::{self, Label, LogError, Replayed};
use crate::key::{self, AttestationKey, KeyError};
use crate::quote::{Quote, QuoteError};
use crate::register::{ASKED, Register, Registers, name};

/// What a machine shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The firmware's event log.
    pub event_log: &'a [u8],
    /// The registers as the kernel reads them.
    pub registers: &'a Registers,
    /// What the TPM signed (`TPMS_ATTEST`).
    pub attested: &'a [u8],
    /// Its signature (`TPMT_SIGNATURE`).
    pub signature: &'a [u8],
    /// The public part of the key (`TPMT_PUBLIC`).
    pub public: &'a [u8],
    /// The kernel's command line.
    pub command_line: &'a str,
}

/// What is proven, if the key is the node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Name of the key that signed.
    pub key: Digest,
    /// The registers of this boot.
    pub registers: Registers,
    /// SHA-256 of the ramdisk that the kernel started with; none where Q7 does not hold.
    pub ramdisk: Option<Digest>,
    /// Register 7 when its separator was measured; none without one.
    pub secure_boot: Option<Register>,
    /// What was measured into register 4, in order.
    pub programs: Vec<Register>,
}

/// Why nothing is proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofError {
    /// Q1, Q2.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// Q3.
    #[error("the TPM's quote answers another challenge than this session's: it may be an old one")]
    Challenge,
    /// Q4.
    #[error("the registers that were reported are not those that the TPM signed")]
    Registers,
    /// Q5: the log is not one.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Q5.
    #[error("the firmware's event log does not give the registers that the TPM signed: {registers}")]
    Replay {
        /// Which differ.
        registers: String,
    },
    /// Q6.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Q6.
    #[error("the quote's signature is not that of its key")]
    Signature,
}

/// Whether `signature` (two numbers of 32 bytes) over `message` is that of the key at `point`, with ECDSA on
/// P-256 over SHA-256.
pub type IsSignedBy<'a> = &'a dyn Fn(&[u8; 65], &[u8], &[u8; 64]) -> bool;

/// Checks Q1 to Q6, all of them.
///
/// # Errors
/// Names the first that does not hold.
pub fn check(
    shown: &Shown<'_>,
    challenge: &[u8; 32],
    is_signed_by: IsSignedBy<'_>,
) -> Result<Proven, ProofError> {
    let key = signed(shown, challenge, is_signed_by)?;
    let replayed = replayed(shown)?;
    let ramdisk = ramdisk(&replayed, shown.command_line);
    let Replayed { registers, secure_boot, programs, .. } = replayed;
    Ok(Proven { key, registers, ramdisk, secure_boot, programs })
}

/// Q1 to Q4 and Q6: the registers are those that a key like ours signed for this challenge. Returns its name.
pub(crate) fn signed(
    shown: &Shown<'_>,
    challenge: &[u8; 32],
    is_signed_by: IsSignedBy<'_>,
) -> Result<Digest, ProofError> {
    let key = AttestationKey::parse(shown.public)?;
    let signature = key::signature(shown.signature)?;
    if !is_signed_by(&key.point, shown.attested, &signature) {
        return Err(ProofError::Signature);
    }
    let quote = Quote::parse(shown.attested)?;
    if quote.challenge != challenge {
        return Err(ProofError::Challenge);
    }
    if !shown.registers.is_complete() || quote.registers_digest != shown.registers.digest() {
        return Err(ProofError::Registers);
    }
    Ok(key.name)
}

/// Q5.
pub(crate) fn replayed(shown: &Shown<'_>) -> Result<Replayed, ProofError> {
    let replayed = event_log::replay(shown.event_log)?;
    let differ: Vec<String> = ASKED
        .into_iter()
        .filter(|index| shown.registers.get(*index) != replayed.registers.get(*index))
        .map(name)
        .collect();
    if !differ.is_empty() {
        return Err(ProofError::Replay { registers: differ.join(", ") });
    }
    Ok(replayed)
}

/// Q7. The command line is measured as the firmware gave it: UTF-16, with the zero at its end.
fn ramdisk(replayed: &Replayed, command_line: &str) -> Option<Digest> {
    let mut hash = Sha256::new();
    for unit in command_line.encode_utf16().chain([0]) {
        hash.update(unit.to_le_bytes());
    }
    let as_measured: [u8; 32] = hash.finalize().into();
    match replayed.files.as_slice() {
        [first, second]
            if replayed.boot_programs > 0
                && first.digest == as_measured
                && (first.label, second.label) == (Label::CommandLine, Label::Ramdisk) =>
        {
            Some(Digest(second.digest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Quoted, created, quoted};
    use crate::recorded::{BIOS, CHALLENGE, COMMAND_LINE, Machine, RAMDISK, UEFI};

    fn is_signed_by(point: &[u8; 65], message: &[u8], signature: &[u8; 64]) -> bool {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
    }

    /// What a machine showed, each part of which may be changed.
    #[derive(Clone)]
    struct Parts {
        log: Vec<u8>,
        registers: Registers,
        quoted: Quoted,
        public: Vec<u8>,
        command_line: &'static str,
    }

    impl Parts {
        fn of(machine: &Machine) -> Self {
            Self {
                log: machine.log.to_vec(),
                registers: machine.registers(),
                quoted: quoted(machine.quote_answer).unwrap(),
                public: created(machine.key_answer).unwrap().public,
                command_line: COMMAND_LINE,
            }
        }

        fn check(&self, challenge: &[u8; 32]) -> Result<Proven, ProofError> {
            let shown = Shown {
                event_log: &self.log,
                registers: &self.registers,
                attested: &self.quoted.attested,
                signature: &self.quoted.signature,
                public: &self.public,
                command_line: self.command_line,
            };
            check(&shown, challenge, &is_signed_by)
        }
    }

    #[test]
    fn what_a_tpm_signed_is_proven_and_what_was_measured_is_told_apart() {
        let bios = Parts::of(&BIOS).check(&CHALLENGE).unwrap();
        assert_eq!(bios.ramdisk, None, "a BIOS measures no kernel");
        let uefi = Parts::of(&UEFI).check(&CHALLENGE).unwrap();
        assert_eq!(uefi.ramdisk.unwrap().to_string(), RAMDISK);
        assert_ne!(bios.registers, uefi.registers);
    }

    #[test]
    fn q7_another_command_line_or_another_order_proves_no_ramdisk() {
        let mut other = Parts::of(&UEFI);
        other.command_line = "console=ttyS0 quiet initrd=other";
        assert_eq!(other.check(&CHALLENGE).unwrap().ramdisk, None);
        let replayed = event_log::replay(UEFI.log).unwrap();
        assert!(ramdisk(&replayed, COMMAND_LINE).is_some());
        let mut changed = replayed.clone();
        changed.files.swap(0, 1);
        assert_eq!(ramdisk(&changed, COMMAND_LINE), None);
        let mut changed = replayed.clone();
        changed.files.extend(replayed.files.last().copied());
        assert_eq!(ramdisk(&changed, COMMAND_LINE), None, "something else was measured behind it");
        let mut changed = replayed;
        changed.boot_programs = 0;
        assert_eq!(ramdisk(&changed, COMMAND_LINE), None);
    }

    #[test]
    fn every_breach_has_its_refusal() {
        let good = Parts::of(&UEFI);
        assert_eq!(good.check(&[0; 32]), Err(ProofError::Challenge));

        let mut changed = good.clone();
        changed.registers = Parts::of(&BIOS).registers;
        assert_eq!(changed.check(&CHALLENGE), Err(ProofError::Registers));
        changed.registers = Registers::default();
        assert_eq!(changed.check(&CHALLENGE), Err(ProofError::Registers));

        let mut changed = good.clone();
        changed.log = BIOS.log.to_vec();
        assert!(matches!(changed.check(&CHALLENGE), Err(ProofError::Replay { .. })));
        changed.log.truncate(700);
        assert!(matches!(changed.check(&CHALLENGE), Err(ProofError::Log(_))));

        let mut changed = good.clone();
        changed.public = Parts::of(&BIOS).public;
        assert_eq!(changed.check(&CHALLENGE), Err(ProofError::Signature));
    }

    #[test]
    fn no_byte_of_what_was_signed_can_be_changed() {
        let good = Parts::of(&UEFI);
        for at in 0..good.quoted.attested.len() {
            let mut changed = good.clone();
            changed.quoted.attested[at] ^= 0x10;
            assert_eq!(changed.check(&CHALLENGE), Err(ProofError::Signature), "byte {at}");
        }
    }
}
