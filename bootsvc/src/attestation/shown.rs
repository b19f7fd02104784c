//! A proof as it came over the network, checked.

use attest::comparison::lasting_words;
use attest::proof::{self, Shown};
use attest::register::Registers;
use attest::system::{self, System};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use contract::agent_api::boot_parameter;
use contract::boot_proof::{EVENT_LOG_BYTES_MAX, ShownBoot};
use contract::id::Digest;
use contract::reading::Outcome;

use super::Measured;
use super::system::{MeasuredLog, MeasuredSystem};
use crate::bearer;

/// A command line is no longer (`COMMAND_LINE_SIZE` of Linux); it is kept with the node.
const COMMAND_LINE_BYTES_MAX: usize = 4096;
/// There are 24; more are no registers.
const REGISTERS_MAX: usize = 24;
/// So much that was measured into register 4 is kept; machines have ten or so.
const PROGRAMS_MAX: usize = 64;

/// What is proven, or why nothing is.
///
/// # Errors
/// In words.
pub(super) fn check(
    shown: &Outcome<ShownBoot>,
    challenge: &[u8; 32],
    token: Option<Digest>,
) -> Result<Measured, String> {
    check_boot(there(shown)?, challenge, token)
}

fn there(shown: &Outcome<ShownBoot>) -> Result<&ShownBoot, String> {
    match shown {
        Outcome::Value(shown) => Ok(shown),
        Outcome::Absent => {
            Err("the machine has no TPM 2.0, or it is switched off in the firmware's setup".to_owned())
        }
        Outcome::Unreadable(why) => {
            let why: String = why.chars().filter(|c| !c.is_control()).take(300).collect();
            Err(format!("the TPM could not be asked: {why}"))
        }
    }
}

fn within_bounds(shown: &ShownBoot) -> Result<(), String> {
    let too_large = shown.command_line.reveal().len() > COMMAND_LINE_BYTES_MAX
        || shown.registers.len() > REGISTERS_MAX
        || shown.event_log.len() > 2 * EVENT_LOG_BYTES_MAX;
    if too_large { Err("what was shown of the boot is larger than it can be".to_owned()) } else { Ok(()) }
}

fn check_boot(shown: &ShownBoot, challenge: &[u8; 32], token: Option<Digest>) -> Result<Measured, String> {
    let command_line = shown.command_line.reveal();
    within_bounds(shown)?;
    if token.is_none() || token_on(command_line) != token {
        return Err("the boot that was measured is not the one that enrolled; reset the machine".to_owned());
    }
    let lasting = lasting_words(command_line).ok_or(
        "the kernel command line has quotes, or characters that are not ASCII; the kernel may read it as another one",
    )?;
    let decoded = Decoded::of(shown)?;
    let proven = proof::check(&decoded.shown(command_line), challenge, &is_signed_by);
    let proven = proven.map_err(|error| error.to_string())?;
    Ok(Measured {
        key: proven.key,
        registers: kept(&proven.registers),
        ramdisk: proven.ramdisk,
        command_line: lasting,
        secure_boot: proven.secure_boot.map(Digest),
        programs: proven.programs.into_iter().take(PROGRAMS_MAX).map(Digest).collect(),
    })
}

/// What is proven of a running system's boot, or why nothing is. Its command line is the loader's, and compared with
/// what the loader measured of it.
///
/// # Errors
/// In words.
pub(super) fn check_system(
    shown: &Outcome<ShownBoot>,
    challenge: &[u8; 32],
) -> Result<MeasuredSystem, String> {
    let shown = there(shown)?;
    within_bounds(shown)?;
    let decoded = Decoded::of(shown)?;
    let checked = system::check(&decoded.shown(shown.command_line.reveal()), challenge, &is_signed_by);
    let (key, System { registers, log }) = checked.map_err(|error| error.to_string())?;
    // A log with more programs than any machine starts is compared as if there were none.
    let log = log.filter(|log| log.programs.len() <= PROGRAMS_MAX).map(|log| MeasuredLog {
        secure_boot: log.secure_boot.map(Digest),
        programs: log.programs.into_iter().map(Digest).collect(),
        names_programs: log.names_programs,
    });
    Ok(MeasuredSystem { key, registers: kept(&registers), log })
}

fn kept(registers: &Registers) -> Vec<(u8, Digest)> {
    registers.iter().map(|(index, register)| (index, Digest(*register))).collect()
}

/// What was shown, in bytes.
struct Decoded {
    event_log: Vec<u8>,
    registers: Registers,
    attested: Vec<u8>,
    signature: Vec<u8>,
    public: Vec<u8>,
}

impl Decoded {
    fn of(shown: &ShownBoot) -> Result<Self, String> {
        let bytes =
            |what: &str, text: &str| hex::decode(text).map_err(|_| format!("the {what} is no hexadecimal"));
        let registers = shown.registers.iter().map(|(index, register)| (*index, register.0));
        Ok(Self {
            event_log: bytes("event log", &shown.event_log)?,
            registers: Registers::new(registers),
            attested: bytes("quote", &shown.attested)?,
            signature: bytes("quote's signature", &shown.signature)?,
            public: bytes("attestation key", &shown.public)?,
        })
    }

    fn shown<'a>(&'a self, command_line: &'a str) -> Shown<'a> {
        let Self { event_log, registers, attested, signature, public } = self;
        Shown { event_log, registers, attested, signature, public, command_line }
    }
}

/// The one-time token that the measured boot was given, hashed; the ramdisk enrolls with the last one, too.
///
/// A kernel that is started without a reset (kexec) finds the registers of the boot before. The token binds what
/// was measured to the boot that enrolled: it was handed out once, and where the ramdisk is proven so is the
/// command line that it stands on (Q7). Where it is not, the boot is at best unproven (B3).
fn token_on(command_line: &str) -> Option<Digest> {
    let value = |word: &str| word.strip_prefix(boot_parameter::TOKEN)?.strip_prefix('=').map(bearer::hash);
    command_line.split_ascii_whitespace().filter_map(value).next_back()
}

fn is_signed_by(point: &[u8; 65], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
}
