//! NVMe Format and Sanitize.

use std::io;

use erasure::command::{CommandProgress, SanitizeAction};
use erasure::nvme::admin;
use erasure::run::SaidClean;

use crate::probe::nvme_admin::NvmePort;
use crate::probe::nvme_facts::{namespace, sanitize_log};

/// How long a format may take; large disks need hours. In milliseconds.
const FORMAT_TIMEOUT_MILLIS: u32 = 4 * 60 * 60 * 1000;
/// A sanitize is answered when it has begun, but some controllers take their time. In milliseconds.
const SANITIZE_TIMEOUT_MILLIS: u32 = 2 * 60 * 1000;

/// Formats the namespace, with its present LBA format and protection settings. Answers what is to be
/// recorded.
///
/// # Errors
/// When it is no namespace, or the controller does not answer with success.
pub fn format(port: &dyn NvmePort, crypto: bool) -> io::Result<String> {
    let (id, namespace) = namespace(port).map_err(io::Error::other)?;
    let command = admin::format(id, &namespace, crypto);
    port.admin(command, &mut [], FORMAT_TIMEOUT_MILLIS).map_err(|error| named("Format NVM", &error))?;
    let name = if crypto { "cryptographic erase" } else { "user data erase" };
    Ok(format!("NVMe Format NVM, {name}: CDW10 {:#x}, status 0", command.dword_10))
}

/// Starts a sanitize.
///
/// # Errors
/// When the controller refuses.
pub fn start_sanitize(port: &dyn NvmePort, action: SanitizeAction) -> io::Result<String> {
    let command = admin::sanitize(action);
    port.admin(command, &mut [], SANITIZE_TIMEOUT_MILLIS).map_err(|error| named("Sanitize", &error))?;
    Ok(format!("NVMe Sanitize: CDW10 {:#x}, status 0", command.dword_10))
}

/// What the sanitize log says of a sanitize with this action.
///
/// # Errors
/// When it cannot be read.
pub fn sanitize_progress(port: &dyn NvmePort, action: SanitizeAction) -> io::Result<CommandProgress> {
    sanitize_log(port).map(|log| log.progress_of(action)).map_err(io::Error::other)
}

/// The controller's word that it is clean, from its sanitize log.
///
/// # Errors
/// When the log cannot be read or says anything else.
pub fn said_clean(port: &dyn NvmePort) -> io::Result<SaidClean> {
    sanitize_log(port).and_then(|log| log.said_clean()).map_err(io::Error::other)
}

/// The controller's own estimate, in seconds.
pub fn estimate_seconds(port: &dyn NvmePort, action: SanitizeAction) -> Option<u32> {
    sanitize_log(port).ok()?.estimate_seconds(action)
}

fn named(command: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("NVMe {command}: {error}"))
}
