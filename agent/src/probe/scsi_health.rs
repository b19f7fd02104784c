//! SCSI disk health: what the disk predicts, its grown defects, and its newest self-test.

use std::fs::File;
use std::io;
use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Tier};
use erasure::scsi::health;
use erasure::scsi::sense::{KEY_ILLEGAL_REQUEST, KEY_RECOVERED, KEY_UNIT_ATTENTION, Sense};

use super::check::Check;
use super::scsi_facts::{refused, request_sense};
use super::scsi_generic::{Data, READ_TIMEOUT_MILLIS, ScsiPort};

/// Check 11.
pub const CHECK: Check = Check {
    number: 11,
    name: "SCSI disk health",
    tier: Tier::T1,
    reads: "log page 2Fh, REQUEST SENSE, READ DEFECT DATA (12)",
    keys: &[ReadingKey::ScsiFailurePredicted, ReadingKey::ScsiGrownDefects],
    rules: &["fitness/scsi-failure-predicted", "fitness/scsi-grown-defects"],
};

/// What this probe reads; the last belongs to check 12.
pub const KEYS: [ReadingKey; 3] =
    [ReadingKey::ScsiFailurePredicted, ReadingKey::ScsiGrownDefects, ReadingKey::DiskSelfTestFailed];

/// A disk reports what happened to it once for each event; more are not waited for.
const ATTENTIONS_MAX: usize = 4;
/// Additional sense code "defect list error": there is no such list, or it cannot be given.
const DEFECT_LIST: u8 = 0x1c;

/// The health of the disk at `device`; one outcome for each of [`KEYS`], in that order.
#[must_use]
pub fn read(device: &Path) -> Vec<(ReadingKey, Outcome<ReadingValue>)> {
    match File::open(device) {
        Ok(file) => read_port(&file),
        Err(error) => {
            let why = format!("cannot open {}: {error}", device.display());
            KEYS.map(|key| (key, Outcome::Unreadable(why.clone()))).to_vec()
        }
    }
}

/// The same over an open port.
#[must_use]
pub fn read_port(port: &dyn ScsiPort) -> Vec<(ReadingKey, Outcome<ReadingValue>)> {
    let flag = |asked: io::Result<Option<bool>>| outcome(asked.map(|found| found.map(ReadingValue::Flag)));
    let defects = outcome(grown_defects(port).map(|found| found.map(ReadingValue::Count)));
    KEYS.into_iter().zip([flag(failure_predicted(port)), defects, flag(self_test_failed(port))]).collect()
}

fn outcome(asked: io::Result<Option<ReadingValue>>) -> Outcome<ReadingValue> {
    match asked {
        Ok(Some(value)) => Outcome::Value(value),
        Ok(None) => Outcome::Absent,
        Err(error) => Outcome::Unreadable(error.to_string()),
    }
}

/// What a disk answered to a question that it need not know.
enum Told {
    /// The data that came.
    Data(Vec<u8>),
    /// It predicts its failure, whatever else it was asked.
    Failing,
    /// It does not know the question.
    Unknown,
}

/// Asks, passing over events. A prediction can come as the sense data of any command (SPC-5, Informational
/// Exceptions Control mode page, MRIE).
fn ask(port: &dyn ScsiPort, name: &str, command: &[u8], room: usize) -> io::Result<Told> {
    for _ in 0..ATTENTIONS_MAX {
        let mut data = vec![0; room];
        let answer = port.send(command, Data::In(&mut data), READ_TIMEOUT_MILLIS)?;
        let sense = Sense::parse(&answer.sense);
        if sense.is_some_and(|sense| health::predicts_failure(sense.additional)) {
            return Ok(Told::Failing);
        }
        data.truncate(answer.moved_bytes);
        match (answer.status, sense) {
            (2, Some(Sense { additional: (DEFECT_LIST, _), .. })) => return Ok(Told::Unknown),
            (0, _) | (_, Some(Sense { key: KEY_RECOVERED, .. })) => return Ok(Told::Data(data)),
            (_, Some(Sense { key: KEY_ILLEGAL_REQUEST, .. })) => return Ok(Told::Unknown),
            (_, Some(Sense { key: KEY_UNIT_ATTENTION, .. })) => {}
            _ => return Err(refused(name, &answer)),
        }
    }
    Err(io::Error::other("the disk reports one event after another; look again"))
}

/// Whether the disk predicts its failure: in its log page, or when it is asked for sense data. A disk that
/// knows neither the page nor has anything to say has no such prediction.
fn failure_predicted(port: &dyn ScsiPort) -> io::Result<Option<bool>> {
    let page =
        ask(port, "LOG SENSE", &health::log_sense(health::PAGE_EXCEPTIONS), usize::from(health::PAGE_BYTES))?;
    let logged = match page {
        Told::Failing => return Ok(Some(true)),
        Told::Data(data) => Some(health::exception(&data).map_err(io::Error::other)?),
        Told::Unknown => None,
    };
    if logged.is_some_and(health::predicts_failure) {
        return Ok(Some(true));
    }
    let sense = request_sense(port)?;
    let predicts = health::predicts_failure(sense.additional);
    Ok((predicts || logged.is_some()).then_some(predicts))
}

fn grown_defects(port: &dyn ScsiPort) -> io::Result<Option<u64>> {
    let command = health::read_grown_defects();
    match ask(port, "READ DEFECT DATA", &command, health::DEFECT_HEADER_BYTES as usize)? {
        Told::Data(header) => health::grown_defects(&header).map_err(io::Error::other),
        Told::Unknown => Ok(None),
        Told::Failing => {
            Err(io::Error::other("the disk predicts its failure instead of listing its defects"))
        }
    }
}

fn self_test_failed(port: &dyn ScsiPort) -> io::Result<Option<bool>> {
    let command = health::log_sense(health::PAGE_SELF_TESTS);
    match ask(port, "LOG SENSE", &command, usize::from(health::PAGE_BYTES))? {
        Told::Data(page) => health::newest_self_test_failed(&page).map_err(io::Error::other),
        Told::Unknown => Ok(None),
        Told::Failing => Err(io::Error::other("the disk predicts its failure instead of listing self-tests")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake_scsi::FakeScsi;

    fn outcomes(port: &dyn ScsiPort) -> Vec<Outcome<ReadingValue>> {
        read_port(port).into_iter().map(|(_, outcome)| outcome).collect()
    }

    const WELL: [u8; 11] = [0x2f, 0, 0, 7, 0, 0, 3, 3, 0, 0, 38];

    fn healthy() -> FakeScsi {
        let mut fake = FakeScsi::without_opcodes();
        let mut tests = vec![0x10, 0, 0x01, 0x90];
        tests.extend([0, 1, 3, 16, 0x20, 0, 0, 9]);
        tests.resize(404, 0);
        fake.log_pages = vec![(0x2f, WELL.to_vec()), (0x10, tests)];
        fake.grown_defects = Some(vec![0, 0x0c, 0, 0, 0, 0, 0, 24]);
        fake
    }

    fn flag(value: bool) -> Outcome<ReadingValue> {
        Outcome::Value(ReadingValue::Flag(value))
    }

    #[test]
    fn a_healthy_disk_is_read() {
        let fake = healthy();
        assert_eq!(outcomes(&fake), [flag(false), Outcome::Value(ReadingValue::Count(3)), flag(false)]);
        fake.attentions.set(2);
        assert_eq!(outcomes(&fake)[0], flag(false), "events are passed over");
        fake.attentions.set(usize::MAX);
        assert!(matches!(outcomes(&fake)[0], Outcome::Unreadable(_)));
    }

    #[test]
    fn a_disk_that_knows_no_question_has_no_answers() {
        let fake = FakeScsi::without_opcodes();
        assert_eq!(outcomes(&fake), [Outcome::Absent, Outcome::Absent, Outcome::Absent]);
        fake.sense.set((1, 0x5d, 0x10));
        assert_eq!(outcomes(&fake)[0], flag(true), "but one that speaks of its end is heard");
    }

    #[test]
    fn a_prediction_is_heard_wherever_it_is_said() {
        let mut in_page = healthy();
        in_page.log_pages[0].1[8..10].copy_from_slice(&[0x5d, 0x10]);
        assert_eq!(outcomes(&in_page)[0], flag(true));
        in_page.log_pages[0].1[9] = 0xff;
        assert_eq!(outcomes(&in_page)[0], flag(false), "somebody tests whether it is heard");
        let in_sense = healthy();
        in_sense.sense.set((0, 0x5d, 0));
        assert_eq!(outcomes(&in_sense)[0], flag(true));
        let with_any = FakeScsi::without_opcodes();
        with_any.refuses.set(Some((1, 0x5d, 0)));
        let found = outcomes(&with_any);
        assert_eq!(found[0], flag(true));
        assert!(matches!(found[1], Outcome::Unreadable(_)) && matches!(found[2], Outcome::Unreadable(_)));
    }

    #[test]
    fn a_missing_list_is_absent_and_every_other_refusal_unreadable() {
        for (codes, absent) in
            [((1, 0x1c, 2), true), ((3, 0x1c, 0), true), ((5, 0x24, 0), true), ((4, 0x44, 0), false)]
        {
            let fake = FakeScsi::without_opcodes();
            fake.refuses.set(Some(codes));
            let defects = outcomes(&fake).swap_remove(1);
            match absent {
                true => assert_eq!(defects, Outcome::Absent, "{codes:?}"),
                false => assert!(matches!(defects, Outcome::Unreadable(_)), "{codes:?}"),
            }
        }
    }
}
