//! SCSI SANITIZE.

use std::io;

use erasure::command::{CommandProgress, SanitizeAction};
use erasure::scsi::sanitize;
use erasure::scsi::sense::KEY_UNIT_ATTENTION;

use crate::probe::scsi_facts::{refused, request_sense, test_unit_ready};
use crate::probe::scsi_generic::{Data, ScsiPort};

/// A sanitize is answered when it has begun, in milliseconds.
const SANITIZE_TIMEOUT_MILLIS: u32 = 2 * 60 * 1000;

/// Starts a sanitize. A unit attention (a reset, say) stands before it once; it is asked away first.
///
/// # Errors
/// When the disk refuses.
pub fn start_sanitize(port: &dyn ScsiPort, action: SanitizeAction) -> io::Result<String> {
    // What it says is of no interest: a disk that failed a sanitize must be given another one.
    test_unit_ready(port)?;
    let list = sanitize::parameter_list(action);
    let data = if list.is_empty() { Data::None } else { Data::Out(&list) };
    let answer = port.send(&sanitize::start_command(action), data, SANITIZE_TIMEOUT_MILLIS)?;
    if answer.status != 0 {
        return Err(refused("SCSI SANITIZE", &answer));
    }
    Ok(format!("SCSI SANITIZE {:#04x}: status 0", sanitize::service_action(action)))
}

/// Where the sanitize is. A SCSI disk does not remember one that ended well, so only after one that this
/// handle `started` is silence an answer: when REQUEST SENSE has nothing to say and the disk is ready.
///
/// # Errors
/// When the disk does not answer.
pub fn sanitize_progress(port: &dyn ScsiPort, started: bool) -> io::Result<CommandProgress> {
    let unsettled = CommandProgress::Running { progress_65536: None };
    let said = match request_sense(port)? {
        sense if sense.key == KEY_UNIT_ATTENTION => return Ok(unsettled),
        sense => sanitize::progress(&sense).ok_or_else(|| io::Error::other(sense.in_words()))?,
    };
    let CommandProgress::Done { status } = said else { return Ok(said) };
    match test_unit_ready(port)? {
        None if started => Ok(CommandProgress::Done { status }),
        None => Ok(CommandProgress::Never { status: "the disk says nothing of a sanitize".to_owned() }),
        Some(sense) if sense.key == KEY_UNIT_ATTENTION => Ok(unsettled),
        Some(sense) => match sanitize::progress(&sense) {
            Some(progress @ (CommandProgress::Running { .. } | CommandProgress::Failed { .. })) => {
                Ok(progress)
            }
            _ => {
                Err(io::Error::other(format!("the disk is not ready after a sanitize: {}", sense.in_words())))
            }
        },
    }
}
