//! SANITIZE (SBC-4, 48h).

use contract::inventory::{SanitizeCapabilities, SanitizeObstacle, SanitizeState};

use super::sense::{
    KEY_MEDIUM_ERROR, KEY_NO_SENSE, KEY_NOT_READY, SANITIZE_FAILED, SANITIZE_IN_PROGRESS, Sense,
};
use crate::command::{CommandProgress, SanitizeAction};

/// Operation code of SANITIZE.
pub const OPERATION_CODE: u8 = 0x48;
/// Return after the operation has begun.
const IMMEDIATE: u8 = 0x80;
/// Length of the parameter list of an overwrite, in bytes.
const OVERWRITE_LIST_BYTES: u8 = 8;

/// Service action of an operation.
#[must_use]
pub fn service_action(action: SanitizeAction) -> u8 {
    match action {
        SanitizeAction::Overwrite => 0x01,
        SanitizeAction::Block => 0x02,
        SanitizeAction::Crypto => 0x03,
    }
}

/// The command that starts an operation: immediate, restricted failure mode (AUSE, byte 1 bit 5, is 0).
#[must_use]
pub fn start_command(action: SanitizeAction) -> [u8; 10] {
    let list_bytes = if action == SanitizeAction::Overwrite { OVERWRITE_LIST_BYTES } else { 0 };
    [OPERATION_CODE, IMMEDIATE | service_action(action), 0, 0, 0, 0, 0, 0, list_bytes, 0]
}

/// The parameter list that goes with [`start_command`]; empty where there is none. An overwrite is one
/// pass (byte 0 bits 4:0) of a pattern of four zeros (its length in bytes 2-3).
#[must_use]
pub fn parameter_list(action: SanitizeAction) -> Vec<u8> {
    match action {
        SanitizeAction::Overwrite => vec![1, 0, 0, 4, 0, 0, 0, 0],
        SanitizeAction::Block | SanitizeAction::Crypto => Vec::new(),
    }
}

/// REQUEST SENSE with room for this many bytes, fixed format.
#[must_use]
pub fn request_sense(bytes: u8) -> [u8; 6] {
    [0x03, 0, 0, 0, bytes, 0]
}

/// Where the disk's sanitize is, from the answer to REQUEST SENSE.
///
/// A SCSI disk does not remember that a sanitize ended well: silence is what it says before the first
/// one and after the last.
///
/// # Errors
/// In words, where the answer is about something else: it says nothing of a sanitize then.
pub fn state(sense: &Sense) -> Result<SanitizeState, String> {
    match (sense.key, sense.additional) {
        (KEY_NO_SENSE | KEY_NOT_READY, SANITIZE_IN_PROGRESS) => {
            Ok(SanitizeState::Running { progress_65536: sense.progress_65536.unwrap_or(0) })
        }
        (KEY_MEDIUM_ERROR, SANITIZE_FAILED) => Ok(SanitizeState::Failed),
        // Power conditions (5Eh) with the key NO SENSE say nothing bad.
        (KEY_NO_SENSE, (0x00 | 0x5e, _)) => Ok(SanitizeState::Never),
        _ => Err(sense.in_words()),
    }
}

/// What the answer to REQUEST SENSE says of a sanitize that this very handle started and the disk
/// accepted. `None` where it is about something else; the question is to be asked again then.
#[must_use]
pub fn progress(sense: &Sense) -> Option<CommandProgress> {
    match state(sense) {
        Ok(SanitizeState::Running { .. }) => {
            Some(CommandProgress::Running { progress_65536: sense.progress_65536 })
        }
        Ok(SanitizeState::Failed) => Some(CommandProgress::Failed { status: sense.in_words() }),
        Ok(SanitizeState::Never | SanitizeState::Done { .. }) => Some(CommandProgress::Done {
            status: format!(
                "SCSI SANITIZE accepted, then REQUEST SENSE: key {:#x}, additional sense {:02x}h/{:02x}h",
                sense.key, sense.additional.0, sense.additional.1
            ),
        }),
        Err(_) => None,
    }
}

/// What the disk can do, as facts for the inventory.
#[must_use]
pub fn capabilities(
    block: bool,
    crypto: bool,
    overwrite: bool,
    state: SanitizeState,
) -> SanitizeCapabilities {
    let running = matches!(state, SanitizeState::Running { .. });
    SanitizeCapabilities {
        block,
        crypto,
        overwrite,
        block_estimate_seconds: None,
        crypto_estimate_seconds: None,
        overwrite_estimate_seconds: None,
        state,
        obstacles: running.then_some(SanitizeObstacle::SanitizeRunning).into_iter().collect(),
        sanitized_by: None,
    }
}
