//! A proof as it came over the network, checked.

use attest::comparison::lasting_words;
use attest::proof::{self, Shown};
use attest::register::Registers;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use contract::boot_proof::ShownBoot;
use contract::id::Digest;
use contract::reading::Outcome;

use super::Measured;

/// A command line is no longer (`COMMAND_LINE_SIZE` of Linux); it is kept with the node.
const COMMAND_LINE_BYTES_MAX: usize = 4096;
/// There are 24; more are no registers.
const REGISTERS_MAX: usize = 24;

/// What is proven, or why nothing is.
///
/// # Errors
/// In words.
pub(super) fn check(shown: &Outcome<ShownBoot>, challenge: &[u8; 32]) -> Result<Measured, String> {
    match shown {
        Outcome::Value(shown) => check_boot(shown, challenge),
        Outcome::Absent => {
            Err("the machine has no TPM 2.0, or it is switched off in the firmware's setup".to_owned())
        }
        Outcome::Unreadable(why) => {
            let why: String = why.chars().filter(|c| !c.is_control()).take(300).collect();
            Err(format!("the TPM could not be asked: {why}"))
        }
    }
}

fn check_boot(shown: &ShownBoot, challenge: &[u8; 32]) -> Result<Measured, String> {
    let bytes =
        |what: &str, text: &str| hex::decode(text).map_err(|_| format!("the {what} is no hexadecimal"));
    let command_line = shown.command_line.reveal();
    if command_line.len() > COMMAND_LINE_BYTES_MAX || shown.registers.len() > REGISTERS_MAX {
        return Err("what was shown of the boot is larger than it can be".to_owned());
    }
    let event_log = bytes("event log", &shown.event_log)?;
    let attested = bytes("quote", &shown.attested)?;
    let signature = bytes("quote's signature", &shown.signature)?;
    let public = bytes("attestation key", &shown.public)?;
    let registers = Registers::new(shown.registers.iter().map(|(index, register)| (*index, register.0)));
    let shown = Shown {
        event_log: &event_log,
        registers: &registers,
        attested: &attested,
        signature: &signature,
        public: &public,
        command_line,
    };
    let proven = proof::check(&shown, challenge, &is_signed_by).map_err(|error| error.to_string())?;
    Ok(Measured {
        key: proven.key,
        registers: proven.registers.iter().map(|(index, register)| (index, Digest(*register))).collect(),
        ramdisk: proven.ramdisk,
        command_line: lasting_words(command_line),
    })
}

fn is_signed_by(point: &[u8; 65], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
}
