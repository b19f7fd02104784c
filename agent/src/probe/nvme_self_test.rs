//! The newest self-test of an NVMe disk: Device Self-test, log page 06h.

use std::io;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Tier};
use erasure::nvme::admin::CNS_CONTROLLER;

use super::check::Check;
use super::nvme_admin::NvmePort;

/// Check 12, for disks of all kinds; its other parts are [`super::ata_self_test`] and
/// [`super::scsi_health`].
pub const CHECK: Check = Check {
    number: 12,
    name: "disk self-tests",
    tier: Tier::T1,
    reads: "NVMe log page 06h, ATA SMART self-test log, SCSI log page 10h",
    keys: &[ReadingKey::DiskSelfTestFailed],
    rules: &["fitness/disk-self-test"],
};

/// The log page (NVM Express Base Specification, "Device Self-test").
const LOG_PAGE: u8 = 0x06;
/// Its length: four bytes, then twenty results.
const LOG_BYTES: u16 = 564;
/// One result.
const RESULT_BYTES: usize = 28;
/// Byte of Identify Controller with OACS, and its bit "Device Self-test is supported".
const OACS: usize = 256;
const OACS_SELF_TEST: u8 = 1 << 4;

/// Whether the newest completed self-test failed; absent where the disk has none or none was ever run.
///
/// A controller without the command is not asked for the log: it would keep the refusal in its own log of
/// errors, at every look.
#[must_use]
pub fn read(port: &dyn NvmePort) -> Outcome<ReadingValue> {
    let asked = || -> io::Result<Outcome<ReadingValue>> {
        let controller = port.identify(CNS_CONTROLLER, 0)?;
        if controller.get(OACS).is_none_or(|byte| byte & OACS_SELF_TEST == 0) {
            return Ok(Outcome::Absent);
        }
        Ok(parse(&port.log_page(LOG_PAGE, LOG_BYTES)?))
    };
    asked().unwrap_or_else(|error| Outcome::Unreadable(format!("cannot read the self-test log: {error}")))
}

/// The newest completed result; results stand newest first.
#[must_use]
pub fn parse(log: &[u8]) -> Outcome<ReadingValue> {
    let Some(log) = log.get(4..usize::from(LOG_BYTES)) else {
        return Outcome::Unreadable("the self-test log is too short".to_owned());
    };
    for result in log.chunks_exact(RESULT_BYTES) {
        match result[0] & 0xf {
            0 => return Outcome::Value(ReadingValue::Flag(false)),
            // Broken off by somebody or something else: says nothing of the disk.
            1..=4 | 8 | 9 => {}
            // A fatal error in the middle; a segment that failed.
            5..=7 => return Outcome::Value(ReadingValue::Flag(true)),
            // Not used, nor are those behind it.
            0xf => return Outcome::Absent,
            other => return Outcome::Unreadable(format!("a self-test ended with result {other}")),
        }
    }
    Outcome::Absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake_nvme::FakeNvme;
    use proptest::prelude::{any, prop_assert, proptest};

    /// A log with these results, newest first; the others are not used.
    fn log(results: &[u8]) -> Vec<u8> {
        let mut log = vec![0; usize::from(LOG_BYTES)];
        for (slot, entry) in log[4..].chunks_exact_mut(RESULT_BYTES).enumerate() {
            entry[0] = 0x10 | results.get(slot).copied().unwrap_or(0xf);
        }
        log
    }

    #[test]
    fn the_newest_completed_test_counts() {
        let flag = |failed| Outcome::Value(ReadingValue::Flag(failed));
        for (results, expected) in [
            (&[][..], Outcome::Absent),
            (&[0, 7], flag(false)),
            (&[7, 0], flag(true)),
            (&[6], flag(true)),
            (&[5], flag(true)),
            (&[1, 2, 3, 4, 8, 9, 7], flag(true)),
            (&[1, 9, 0, 7], flag(false)),
            (&[1], Outcome::Absent),
            (&[1; 20], Outcome::Absent),
        ] {
            assert_eq!(parse(&log(results)), expected, "{results:?}");
        }
        assert!(matches!(parse(&log(&[10])), Outcome::Unreadable(_)));
    }

    #[test]
    fn a_disk_without_self_tests_is_not_asked_for_their_log() {
        let mut fake = FakeNvme::without_sanitize();
        assert_eq!(read(&fake), Outcome::Absent);
        assert!(fake.logs_asked.borrow().is_empty());
        fake.set_self_tests(log(&[7]));
        assert_eq!(read(&fake), Outcome::Value(ReadingValue::Flag(true)));
        assert_eq!(*fake.logs_asked.borrow(), [LOG_PAGE]);
        fake.refuses.push(erasure::nvme::admin::OPCODE_GET_LOG_PAGE);
        assert!(matches!(read(&fake), Outcome::Unreadable(_)));
        fake.refuses.push(erasure::nvme::admin::OPCODE_IDENTIFY);
        assert!(matches!(read(&fake), Outcome::Unreadable(_)));
    }

    proptest! {
        #[test]
        fn a_short_log_says_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..usize::from(LOG_BYTES))) {
            prop_assert!(matches!(parse(&bytes), Outcome::Unreadable(_)));
        }

        #[test]
        fn any_log_is_survived(bytes in proptest::collection::vec(any::<u8>(), 564..600)) {
            let _ = parse(&bytes);
        }
    }
}
