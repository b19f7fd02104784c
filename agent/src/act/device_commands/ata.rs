//! ATA SANITIZE DEVICE and SECURITY ERASE UNIT.

use std::io;

use erasure::ata::{sanitize, security};
use erasure::command::{CommandProgress, SanitizeAction};

use crate::probe::ata_facts::sanitize_status;
use crate::probe::ata_port::AtaPort;
use crate::probe::ata_security::{self, PASSWORD_TIMEOUT_MILLIS};

/// A sanitize is answered when it has begun, in milliseconds.
const SANITIZE_TIMEOUT_MILLIS: u32 = 2 * 60 * 1000;

/// Starts a sanitize.
///
/// # Errors
/// When the disk refuses, for one because it is frozen.
pub fn start_sanitize(disk: &AtaPort<'_>, action: SanitizeAction) -> io::Result<String> {
    let command = sanitize::start_command(action);
    let registers = disk.complete(&command, SANITIZE_TIMEOUT_MILLIS)?;
    Ok(format!("ATA {}: status {:#04x}", command.name, registers.status))
}

/// What SANITIZE STATUS EXT says.
///
/// # Errors
/// When it did not get through.
pub fn sanitize_progress(disk: &AtaPort<'_>) -> io::Result<CommandProgress> {
    Ok(sanitize_status(disk)?.progress())
}

/// The disk's own estimate of a security erase, in seconds.
pub fn estimate_seconds(disk: &AtaPort<'_>, enhanced: bool) -> Option<u32> {
    let identify = disk.identify().ok()?;
    let minutes = if enhanced { identify.enhanced_estimate_minutes } else { identify.erase_estimate_minutes };
    minutes.map(|minutes| minutes.saturating_mul(60))
}

/// Erases by the security feature set: our password is set, the disk erases itself, and the password is
/// gone again, which the disk does itself where it succeeded and we do where it did not. The disk is asked
/// before each step and after the last, so that a password that was left by a power cut is found and
/// taken away first. A disk that says that it erased and still has the password did not: ACS-4 has the
/// erase end the security.
///
/// # Errors
/// When any step is not completed. If the password could not be removed, the error says so first.
pub fn security_erase(disk: &AtaPort<'_>, enhanced: bool) -> io::Result<String> {
    let identify = ata_security::open(disk)?;
    security::can_erase(&identify, enhanced).map_err(io::Error::other)?;
    let timeout_minutes = security::timeout_minutes(&identify, enhanced);
    let erased = set_and_erase(disk, enhanced, timeout_minutes);
    // Whatever came of it, no password stays.
    match (erased, ata_security::open(disk)) {
        (erased, Ok(_)) => erased,
        (erased, Err(left)) => {
            let outcome = erased.unwrap_or_else(|error| error.to_string());
            Err(io::Error::other(format!(
                "the password \"{}\" may still be set ({left}); the next erase removes it; {outcome}",
                String::from_utf8_lossy(security::PASSWORD)
            )))
        }
    }
}

fn set_and_erase(disk: &AtaPort<'_>, enhanced: bool, timeout_minutes: u32) -> io::Result<String> {
    let password = security::password_block();
    disk.write_sector(&security::set_password(), &password, PASSWORD_TIMEOUT_MILLIS)?;
    if !disk.identify()?.security_enabled {
        return Err(io::Error::other(
            "the disk took a password and says that it has none; nothing was erased",
        ));
    }
    disk.complete(&security::erase_prepare(), PASSWORD_TIMEOUT_MILLIS)?;
    let command = security::erase_unit();
    let timeout_millis = timeout_minutes.saturating_mul(60_000);
    disk.write_sector(&command, &security::erase_block(enhanced), timeout_millis)?;
    if disk.identify()?.security_enabled {
        return Err(io::Error::other(format!(
            "the disk says that {} is done and still has the password; it is not erased",
            command.name
        )));
    }
    let kind = if enhanced { "enhanced" } else { "normal" };
    Ok(format!("ATA {}, {kind}: completed, and the password is gone", command.name))
}
