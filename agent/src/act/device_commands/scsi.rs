//! SCSI SANITIZE and WRITE SAME.

use std::io;

use contract::inventory::WriteSameCapabilities;
use erasure::command::{CommandProgress, SanitizeAction};
use erasure::run::SameWritten;
use erasure::sample::Span;
use erasure::scsi::sanitize;
use erasure::scsi::sense::KEY_UNIT_ATTENTION;
use erasure::scsi::write_same::{Ended, blocks_at_once, command, ended};

use crate::probe::scsi_facts::{refused, request_sense, test_unit_ready};
use crate::probe::scsi_generic::{Data, ScsiPort};

/// No sector is larger, in bytes.
const SECTOR_BYTES_MAX: usize = 4096;
/// A sanitize is answered when it has begun, in milliseconds.
const SANITIZE_TIMEOUT_MILLIS: u32 = 2 * 60 * 1000;

/// One WRITE SAME may take so long, in milliseconds: as Linux has it for its own (`SD_WRITE_SAME_TIMEOUT`
/// in `drivers/scsi/sd.h`, 120 s). The pieces are cut so that one takes a few seconds.
const WRITE_SAME_TIMEOUT_MILLIS: u32 = 120 * 1000;
/// A disk reports what happened to it once for each; more are not waited for.
const ATTENTIONS_MAX: usize = 4;

/// Has the disk write zeros to this span, or to as much of its beginning as it takes in one command.
/// After something else happened to the disk (a reset, say) the same blocks are written once more.
///
/// # Errors
/// When it fails, or does not answer in time; a disk that does not take the command as such is no error.
pub fn write_same(
    port: &dyn ScsiPort,
    sector_bytes: u32,
    limits: WriteSameCapabilities,
    span: Span,
) -> io::Result<SameWritten> {
    let sector = u64::from(sector_bytes);
    let whole = sector > 0 && span.offset.is_multiple_of(sector) && span.bytes.is_multiple_of(sector);
    let (first, blocks) = match whole {
        true => (span.offset / sector, blocks_at_once(span.bytes / sector, limits)),
        false => (0, 0),
    };
    let command = command(first, blocks).ok_or_else(|| {
        let why = format!("{} bytes at {} are no whole sectors of this disk", span.bytes, span.offset);
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })?;
    let zeros = [0; SECTOR_BYTES_MAX];
    let zeros = zeros.get(..sector_bytes as usize).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("sectors of {sector_bytes} bytes are not known"))
    })?;
    for _ in 0..ATTENTIONS_MAX {
        let answer = port.send(&command, Data::Out(zeros), WRITE_SAME_TIMEOUT_MILLIS)?;
        match ended(answer.status, &answer.sense) {
            Ended::Good => {
                let status = format!("SCSI WRITE SAME (16) to the last block: status {}", answer.status);
                return Ok(SameWritten::Written { bytes: u64::from(blocks) * sector, status });
            }
            Ended::Again => {}
            Ended::Refused => {
                let status = refused("SCSI WRITE SAME (16)", &answer).to_string();
                return Ok(SameWritten::Refused { status });
            }
            Ended::Failed => {
                let why = refused("SCSI WRITE SAME (16)", &answer);
                return Err(io::Error::other(format!("{why}; {blocks} blocks from block {first} on")));
            }
        }
    }
    Err(io::Error::other("SCSI WRITE SAME (16): the disk reports one event after another"))
}

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
