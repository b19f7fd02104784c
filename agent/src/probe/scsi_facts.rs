//! What a SCSI disk can do: its sanitize commands, and what they are doing; WRITE SAME.

use std::io;

use contract::inventory::{SanitizeCapabilities, SanitizeState, WriteSameCapabilities};
use contract::reading::Outcome;
use erasure::command::SanitizeAction;
use erasure::scsi::sense::{KEY_ILLEGAL_REQUEST, KEY_UNIT_ATTENTION, Sense};
use erasure::scsi::{inquiry, opcodes, sanitize, vpd, write_same as same};

use super::scsi_generic::{Answer, Data, READ_TIMEOUT_MILLIS, ScsiPort};

/// Room for the answer to REQUEST SENSE, in bytes.
const SENSE_BYTES: u8 = 252;
/// Room for a page of vital product data, in bytes.
const PAGE_BYTES: u8 = 64;
/// TEST UNIT READY.
const TEST_UNIT_READY: [u8; 6] = [0; 6];
/// A disk reports what happened to it (a reset, a new mode) once for each; more are not waited for.
const ATTENTIONS_MAX: usize = 4;

/// What the disk can do. One that cannot be asked which commands it has (REPORT SUPPORTED OPERATION
/// CODES is optional) is taken to have no sanitize: it is never given one then.
#[must_use]
pub fn read(port: &dyn ScsiPort) -> Outcome<SanitizeCapabilities> {
    let asked = || -> io::Result<Option<SanitizeCapabilities>> {
        let Some(overwrite) = supports(port, SanitizeAction::Overwrite)? else { return Ok(None) };
        let block = supports(port, SanitizeAction::Block)?.unwrap_or(false);
        let crypto = supports(port, SanitizeAction::Crypto)?.unwrap_or(false);
        if !(overwrite || block || crypto) {
            return Ok(None);
        }
        Ok(Some(sanitize::capabilities(block, crypto, overwrite, state(port)?)))
    };
    match asked() {
        Ok(Some(capabilities)) => Outcome::Value(capabilities),
        Ok(None) => Outcome::Absent,
        Err(error) => Outcome::Unreadable(format!("cannot read what sanitize can do: {error}")),
    }
}

/// What the disk says of WRITE SAME; absent where it cannot be asked, and where a translator to ATA answers
/// for it: what that makes of the command (TRIM, say) nobody knows.
#[must_use]
pub fn write_same(port: &dyn ScsiPort) -> Outcome<WriteSameCapabilities> {
    let asked = || -> io::Result<Option<WriteSameCapabilities>> {
        let question = opcodes::report_supported_plain(same::OPERATION_CODE);
        if asked_for_command(port, &question)? != Some(true) || is_translated(port)? {
            return Ok(None);
        }
        write_same_limits(port).map(Some)
    };
    match asked() {
        Ok(Some(capabilities)) => Outcome::Value(capabilities),
        Ok(None) => Outcome::Absent,
        Err(error) => Outcome::Unreadable(format!("cannot read what WRITE SAME can do: {error}")),
    }
}

/// How much one WRITE SAME may write. A disk without the page, which is optional, names no limit.
///
/// # Errors
/// When the disk does not answer.
pub fn write_same_limits(port: &dyn ScsiPort) -> io::Result<WriteSameCapabilities> {
    let mut data = [0; PAGE_BYTES as usize];
    let question = inquiry::page_command(vpd::PAGE_BLOCK_LIMITS, PAGE_BYTES);
    let page = answered(port, "INQUIRY of the block limits", &question, &mut data)?;
    Ok(same::capabilities(page.unwrap_or_default()))
}

/// Whether a translator to ATA answers for the disk, as its INQUIRY data say.
fn is_translated(port: &dyn ScsiPort) -> io::Result<bool> {
    let mut data = [0; inquiry::DATA_BYTES as usize];
    let found = answered(port, "INQUIRY", &inquiry::command(), &mut data)?;
    let found = found.ok_or_else(|| io::Error::other("the disk refuses INQUIRY"))?;
    inquiry::is_translated(found)
        .ok_or_else(|| io::Error::other(format!("INQUIRY gave {} bytes", found.len())))
}

/// Whether the disk has this sanitize; none where it cannot be asked.
fn supports(port: &dyn ScsiPort, action: SanitizeAction) -> io::Result<Option<bool>> {
    let question =
        opcodes::report_supported(sanitize::OPERATION_CODE, sanitize::service_action(action).into());
    asked_for_command(port, &question)
}

/// Whether the disk has the command that is asked about; none where it cannot be asked.
fn asked_for_command(port: &dyn ScsiPort, question: &[u8]) -> io::Result<Option<bool>> {
    let mut data = [0; opcodes::ANSWER_BYTES as usize];
    let answer = answered(port, "REPORT SUPPORTED OPERATION CODES", question, &mut data)?;
    answer.map(opcodes::is_supported).transpose().map_err(io::Error::other)
}

/// What the disk gives back to a question; none where it does not know it.
fn answered<'a>(
    port: &dyn ScsiPort,
    name: &str,
    question: &[u8],
    data: &'a mut [u8],
) -> io::Result<Option<&'a [u8]>> {
    for _ in 0..ATTENTIONS_MAX {
        let answer = port.send(question, Data::In(&mut *data), READ_TIMEOUT_MILLIS)?;
        if answer.status == 0 {
            let moved = answer.moved_bytes.min(data.len());
            return Ok(data.get(..moved));
        }
        match Sense::parse(&answer.sense) {
            Some(Sense { key: KEY_ILLEGAL_REQUEST, .. }) => return Ok(None),
            Some(Sense { key: KEY_UNIT_ATTENTION, .. }) => {}
            _ => return Err(refused(name, &answer)),
        }
    }
    Err(io::Error::other("the disk reports one event after another; look again"))
}

/// What REQUEST SENSE says now.
///
/// # Errors
/// When it did not get through or its data make no sense.
pub fn request_sense(port: &dyn ScsiPort) -> io::Result<Sense> {
    let mut data = [0; SENSE_BYTES as usize];
    let answer =
        port.send(&sanitize::request_sense(SENSE_BYTES), Data::In(&mut data), READ_TIMEOUT_MILLIS)?;
    if answer.status != 0 {
        return Err(refused("REQUEST SENSE", &answer));
    }
    let data = data.get(..answer.moved_bytes).unwrap_or(&data);
    Sense::parse(data).ok_or_else(|| io::Error::other("REQUEST SENSE gave no sense data"))
}

/// What the disk has to say when it is asked whether it is ready: nothing, or the sense data with which
/// it refuses. A failed sanitize shows here where REQUEST SENSE is silent.
///
/// # Errors
/// When it did not get through or the refusal makes no sense.
pub fn test_unit_ready(port: &dyn ScsiPort) -> io::Result<Option<Sense>> {
    let answer = port.send(&TEST_UNIT_READY, Data::None, READ_TIMEOUT_MILLIS)?;
    match (answer.status, Sense::parse(&answer.sense)) {
        (0, _) => Ok(None),
        (_, Some(sense)) => Ok(Some(sense)),
        (_, None) => Err(refused("TEST UNIT READY", &answer)),
    }
}

/// Where the disk's sanitize is: what REQUEST SENSE says, and where that is nothing, what it says when
/// it is to be ready.
fn state(port: &dyn ScsiPort) -> io::Result<SanitizeState> {
    for _ in 0..ATTENTIONS_MAX {
        let sense = request_sense(port)?;
        if sense.key == KEY_UNIT_ATTENTION {
            continue;
        }
        let state = sanitize::state(&sense).map_err(io::Error::other)?;
        if state != SanitizeState::Never {
            return Ok(state);
        }
        match test_unit_ready(port)? {
            None => return Ok(state),
            Some(Sense { key: KEY_UNIT_ATTENTION, .. }) => {}
            Some(sense) => return sanitize::state(&sense).map_err(io::Error::other),
        }
    }
    Err(io::Error::other("the disk reports one event after another; look again"))
}

/// A refusal in words.
pub fn refused(name: &str, answer: &Answer) -> io::Error {
    let why = match Sense::parse(&answer.sense) {
        Some(sense) => sense.in_words(),
        None => format!("SCSI status {:#x}, sense {}", answer.status, hex::encode(&answer.sense)),
    };
    io::Error::other(format!("{name}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake_scsi::FakeScsi;
    use contract::inventory::SanitizeObstacle;

    #[test]
    fn a_disk_that_does_not_know_the_question_has_no_sanitize() {
        let fake = FakeScsi::without_opcodes();
        assert_eq!(read(&fake), Outcome::Absent);
        assert_eq!(*fake.commands.borrow(), [0xa3], "and is asked nothing else");
        assert_eq!(read(&FakeScsi::with_sanitize(&[])), Outcome::Absent);
    }

    #[test]
    fn what_it_has_and_does_is_seen() {
        let fake = FakeScsi::with_sanitize(&[1, 3]);
        let Outcome::Value(found) = read(&fake) else { panic!("unread") };
        assert!(found.overwrite && found.crypto && !found.block);
        assert_eq!((found.state, found.obstacles), (SanitizeState::Never, vec![]));
        fake.sense.set((2, 4, 0x1b));
        let Outcome::Value(found) = read(&fake) else { panic!("unread") };
        assert_eq!(found.obstacles, [SanitizeObstacle::SanitizeRunning]);
        assert_eq!(found.state, SanitizeState::Running { progress_65536: 0x4000 });
        fake.sense.set((0, 0, 0));
        fake.unready.set(Some((3, 0x31, 3)));
        let Outcome::Value(found) = read(&fake) else { panic!("unread") };
        assert_eq!(found.state, SanitizeState::Failed);
    }

    #[test]
    fn write_same_is_there_where_the_disk_itself_says_so() {
        let limits = |blocks_max| Outcome::Value(WriteSameCapabilities { blocks_max });
        let fake = FakeScsi::with_write_same(Some(0x1_0000));
        assert_eq!(write_same(&fake), limits(Some(0x1_0000)));
        fake.attentions.set(2);
        assert_eq!(write_same(&fake), limits(Some(0x1_0000)));
        assert_eq!(write_same(&FakeScsi::with_write_same(None)), limits(None), "no page of limits");
        fake.vendor.set(Some(*b"ATA     "));
        assert_eq!(write_same(&fake), Outcome::Absent, "a translator");
        fake.vendor.set(None);
        assert!(matches!(write_same(&fake), Outcome::Unreadable(_)), "who answers is not known");
        assert_eq!(write_same(&FakeScsi::with_sanitize(&[1])), Outcome::Absent);
        let silent = FakeScsi::without_opcodes();
        assert_eq!(write_same(&silent), Outcome::Absent);
        assert_eq!(*silent.commands.borrow(), [0xa3], "and is asked nothing else");
        silent.attentions.set(usize::MAX);
        assert!(matches!(write_same(&silent), Outcome::Unreadable(_)));
    }

    #[test]
    fn events_are_passed_over_and_everything_else_is_unreadable() {
        let fake = FakeScsi::with_sanitize(&[1]);
        fake.attentions.set(2);
        assert!(matches!(read(&fake), Outcome::Value(_)));
        fake.attentions.set(usize::MAX);
        assert!(matches!(read(&fake), Outcome::Unreadable(_)));
        let not_ready = FakeScsi::with_sanitize(&[1]);
        not_ready.sense.set((2, 4, 1));
        assert!(matches!(read(&not_ready), Outcome::Unreadable(_)));
    }
}
