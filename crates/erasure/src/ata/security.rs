//! The security feature set: SECURITY ERASE UNIT and the password that it needs.
//!
//! A disk erases itself by this command only while a user password is set. The password is the same for
//! every disk and written here, because it protects nothing: it is set moments before the erase and
//! removed by it. After a power cut in between the disk is locked, and every later boot, also of another
//! machine and with other tools, can open it with [`PASSWORD`].

use super::identify::Identify;
use super::pass_through::{Command, Transfer};

/// The user password that is set for an erase: the eight letters, then zeros up to 32 bytes.
pub const PASSWORD: &[u8; 8] = b"reprieve";
/// A security command carries one sector.
pub const BLOCK_BYTES: usize = 512;
/// The erase may take this many times as long as the disk says, and never less than six hours.
const ESTIMATE_FACTOR: u32 = 4;
const TIMEOUT_MINUTES_MIN: u32 = 6 * 60;
/// For a disk that says nothing, in minutes: two days, more than the largest disk needs.
const TIMEOUT_MINUTES_UNKNOWN: u32 = 48 * 60;

/// SECURITY SET PASSWORD.
#[must_use]
pub fn set_password() -> Command {
    Command::short("SECURITY SET PASSWORD", 0xf1, 0, Transfer::Out)
}

/// SECURITY UNLOCK.
#[must_use]
pub fn unlock() -> Command {
    Command::short("SECURITY UNLOCK", 0xf2, 0, Transfer::Out)
}

/// SECURITY ERASE PREPARE, which must come right before the erase.
#[must_use]
pub fn erase_prepare() -> Command {
    Command::short("SECURITY ERASE PREPARE", 0xf3, 0, Transfer::None)
}

/// SECURITY ERASE UNIT.
#[must_use]
pub fn erase_unit() -> Command {
    Command::short("SECURITY ERASE UNIT", 0xf4, 0, Transfer::Out)
}

/// SECURITY DISABLE PASSWORD.
#[must_use]
pub fn disable_password() -> Command {
    Command::short("SECURITY DISABLE PASSWORD", 0xf6, 0, Transfer::Out)
}

/// The sector of all of them: word 0 all zeros (user password, security level high, normal erase), the
/// password in words 1 to 16.
#[must_use]
pub fn password_block() -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    block[2..2 + PASSWORD.len()].copy_from_slice(PASSWORD);
    block
}

/// The sector of SECURITY ERASE UNIT: bit 1 of word 0 asks for an enhanced erase.
#[must_use]
pub fn erase_block(enhanced: bool) -> [u8; BLOCK_BYTES] {
    let mut block = password_block();
    block[0] = if enhanced { 0b10 } else { 0 };
    block
}

/// How long an erase may take before it counts as failed, in minutes.
#[must_use]
pub fn timeout_minutes(identify: &Identify, enhanced: bool) -> u32 {
    let estimate =
        if enhanced { identify.enhanced_estimate_minutes } else { identify.erase_estimate_minutes };
    match estimate {
        Some(minutes) => minutes.saturating_mul(ESTIMATE_FACTOR).max(TIMEOUT_MINUTES_MIN),
        None => TIMEOUT_MINUTES_UNKNOWN,
    }
}

/// What must be done next to bring a disk to the point where it can be erased, or to leave it as it was
/// found: without a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Open it with our password.
    Unlock,
    /// Take our password away.
    Disable,
    /// It has no password.
    Open,
}

/// Why the security commands of a disk cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not have them.
    #[error("the disk has no security feature set")]
    NotSupported,
    /// It does not have that erase.
    #[error("the disk has no enhanced erase")]
    NoEnhancedErase,
    /// The firmware of the machine froze them.
    #[error("the disk's security commands are frozen; power the machine off and on, or plug the disk anew")]
    Frozen,
    /// Too many wrong passwords.
    #[error("the disk accepts no more passwords; power the machine off and on")]
    CountExpired,
}

/// What comes next on the way to a disk without a password. A disk without one is open even if it is
/// frozen.
///
/// # Errors
/// [`Refused`] where the way is closed.
pub fn next_to_open(identify: &Identify) -> Result<Next, Refused> {
    if !identify.security_enabled && !identify.security_locked {
        return Ok(Next::Open);
    }
    if identify.security_frozen {
        return Err(Refused::Frozen);
    }
    if identify.security_count_expired {
        return Err(Refused::CountExpired);
    }
    Ok(if identify.security_locked { Next::Unlock } else { Next::Disable })
}

/// Whether an erase by this feature set can begin on a disk that has no password.
///
/// # Errors
/// [`Refused`] where it cannot.
pub fn can_erase(identify: &Identify, enhanced: bool) -> Result<(), Refused> {
    if !identify.security_supported {
        return Err(Refused::NotSupported);
    }
    if enhanced && !identify.enhanced_erase {
        return Err(Refused::NoEnhancedErase);
    }
    if identify.security_frozen {
        return Err(Refused::Frozen);
    }
    if identify.security_count_expired {
        return Err(Refused::CountExpired);
    }
    Ok(())
}
