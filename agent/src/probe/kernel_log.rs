//! The kernel's log of this boot, searched for signs of failing storage and hardware.
//!
//! Record format: the kernel's `Documentation/ABI/testing/dev-kmsg`.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use contract::id::BootId;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::source::{self, Source};
use crate::kernel_command_line::redacted;

/// The kernel gives no longer record.
const RECORD_BYTES_MAX: usize = 8192;
/// More records than any kernel's buffer holds; the reader stops there.
const RECORDS_MAX: usize = 500_000;
/// Longest line that is kept.
const LINE_CHARACTERS_MAX: usize = 300;
/// Lines kept of each kind; more are counted.
const LINES_MAX: usize = 1000;

/// A pattern: these pieces, in this order, anywhere in the line.
type Pattern = &'static [&'static str];

/// Storage is failing. From the kernel's own messages, as gpud and node-problem-detector match them.
const STORAGE: &[Pattern] = &[
    &["Buffer I/O error on dev"],
    &["I/O error, dev ", "sector"],
    &["critical medium error, dev "],
    &["critical target error, dev "],
    &["Unrecovered read error"],
    &["attempt to access beyond end of device"],
    &["I/O error while writing superblock"],
    &["I/O ", "timeout, reset controller"],
    &["Disabling device after reset failure"],
    &["no available path - failing I/O"],
    &["rejecting I/O to offline device"],
    &["Remounting filesystem read-only"],
    &["EXT4-fs error"],
    &["XFS", "Shutting down filesystem"],
    &["XFS", "Corruption of in-memory data"],
    &["md/raid", "Disk failure on"],
];

/// Hardware is failing. A lockup or a hung task is not here: it says nothing about hardware.
const HARDWARE: &[Pattern] = &[
    &["[Hardware Error]"],
    &["event severity: "],
    &["Memory failure: "],
    &["CE memory read error"],
    &["UE memory read error"],
    &["PCIe Bus Error: severity=Uncorrected (Fatal)"],
    &["insufficient power on the PCIe slot"],
    &["critical temperature reached"],
];

/// Devices whose errors say nothing: empty floppy and CD drives answer every read with one.
const NOT_DISKS: &[&str] = &["dev fd", "dev sr", "dev loop"];

/// What has been found in this boot's log so far. Kept from look to look by the resident agent, because
/// the kernel's buffer forgets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct KernelLog {
    next_sequence: u64,
    lost: bool,
    storage: Found,
    hardware: Found,
}

/// A kept log, and of which boot it is.
#[derive(Debug, Deserialize)]
struct Kept {
    boot: BootId,
    log: KernelLog,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Found {
    lines: Vec<String>,
    total: u64,
}

impl Found {
    fn add(&mut self, line: &str) {
        self.total += 1;
        if self.lines.len() < LINES_MAX {
            self.lines.push(redacted(line).chars().take(LINE_CHARACTERS_MAX).collect());
        }
    }

    fn value(&self) -> ReadingValue {
        ReadingValue::List { items: self.lines.clone(), total: self.total }
    }
}

impl KernelLog {
    /// Reads what has come since the last look, and says what was found in this boot.
    pub fn look(&mut self, source: &Source) -> Vec<(Subject, ReadingKey, Outcome<ReadingValue>)> {
        let outcome = self.read_new(source);
        let value = |found: &Found| match &outcome {
            // What was found counts even if reading broke off or lines are gone; "nothing found" would not.
            _ if found.total > 0 => Outcome::Value(found.value()),
            Ok(()) if self.lost => {
                Outcome::Unreadable("the kernel has forgotten the beginning of this boot's log".to_owned())
            }
            Ok(()) => Outcome::Value(found.value()),
            Err(error) => Outcome::Unreadable(format!("cannot read the kernel log: {error}")),
        };
        vec![
            (Subject::Node, ReadingKey::KernelStorageErrors, value(&self.storage)),
            (Subject::Node, ReadingKey::KernelHardwareErrors, value(&self.hardware)),
        ]
    }

    /// What an earlier process found in this boot; nothing if it was another boot.
    #[must_use]
    pub fn load(path: &Path, boot: BootId) -> Self {
        let kept: Option<Kept> =
            source::read_bytes(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        kept.filter(|kept| kept.boot == boot).map(|kept| kept.log).unwrap_or_default()
    }

    /// Keeps what was found, for a later process of this boot.
    ///
    /// # Errors
    /// If it cannot be written; a later process then knows only what the kernel still does.
    pub fn save(&self, path: &Path, boot: BootId) -> io::Result<()> {
        let beside = path.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec(&serde_json::json!({ "boot": boot, "log": self }))?)?;
        std::fs::rename(&beside, path)
    }

    fn read_new(&mut self, source: &Source) -> io::Result<()> {
        let path = source.path("dev/kmsg");
        let mut file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path)?;
        if !source.is_machine() {
            // A recorded log is a plain file of records, one a line.
            let mut text = String::new();
            file.take(64 << 20).read_to_string(&mut text)?;
            text.lines().for_each(|line| self.take(line));
            return Ok(());
        }
        let mut buffer = vec![0; RECORD_BYTES_MAX];
        for _ in 0..RECORDS_MAX {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.take(&String::from_utf8_lossy(&buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Overwritten while reading: the next read goes on behind the gap.
                Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => self.lost = true,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes one record; those seen before, those of user space and those that are none are skipped.
    fn take(&mut self, record: &str) {
        let Some(record) = Record::parse(record) else { return };
        if record.sequence < self.next_sequence {
            return;
        }
        self.lost |= record.sequence > self.next_sequence;
        self.next_sequence = record.sequence.saturating_add(1);
        if !record.from_kernel || NOT_DISKS.iter().any(|name| record.text.contains(name)) {
            return;
        }
        if matches_any(record.text, STORAGE) {
            self.storage.add(record.text);
        }
        if matches_any(record.text, HARDWARE) {
            self.hardware.add(record.text);
        }
    }
}

/// One record of `/dev/kmsg`.
#[derive(Debug, PartialEq, Eq)]
struct Record<'a> {
    sequence: u64,
    from_kernel: bool,
    text: &'a str,
}

impl<'a> Record<'a> {
    /// `priority,sequence,microseconds,flags[,…];text`, then continuation lines that begin with a space.
    fn parse(record: &'a str) -> Option<Self> {
        let (head, text) = record.split_once(';')?;
        let mut fields = head.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        let sequence = fields.next()?.parse().ok()?;
        // The facility is above the three bits of the level; user space cannot write as facility 0.
        Some(Self {
            sequence,
            from_kernel: priority >> 3 == 0,
            text: text.lines().next().unwrap_or_default(),
        })
    }
}

fn matches_any(line: &str, patterns: &[Pattern]) -> bool {
    patterns.iter().any(|pattern| {
        let mut rest = line;
        pattern.iter().all(|piece| match rest.find(piece) {
            Some(at) => {
                rest = &rest[at + piece.len()..];
                true
            }
            None => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn found(log: &mut KernelLog, lines: &[&str]) -> (u64, u64) {
        for line in lines {
            log.take(line);
        }
        (log.storage.total, log.hardware.total)
    }

    #[test]
    fn failures_are_found_and_harmless_lines_are_not() {
        let cases = [
            ("3,0,1,-;Buffer I/O error on dev sda1, logical block 0, async page read", (1, 0)),
            ("3,0,1,-;blk_update_request: I/O error, dev vda, sector 12 op 0x0:(READ)", (1, 0)),
            ("3,0,1,-;I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0", (0, 0)),
            ("3,0,1,-;nvme nvme0: I/O 12 QID 3 timeout, reset controller", (1, 0)),
            ("2,0,1,-;EXT4-fs error (device sda1): ext4_lookup:1855: inode #2", (1, 0)),
            ("0,0,1,-;mce: [Hardware Error]: Machine check events logged", (0, 1)),
            ("4,0,1,-;{1}[Hardware Error]: event severity: corrected", (0, 1)),
            ("6,0,1,-;EXT4-fs (vda1): recovery complete", (0, 0)),
            ("6,0,1,-;watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", (0, 0)),
            // User space may write what it likes into the log; it counts for nothing.
            ("12,0,1,-;Buffer I/O error on dev sda1, said a tenant", (0, 0)),
            ("not a record", (0, 0)),
        ];
        for (line, expected) in cases {
            assert_eq!(found(&mut KernelLog::default(), &[line]), expected, "{line}");
        }
    }

    #[test]
    fn a_line_counts_once_however_often_it_is_read() {
        let mut log = KernelLog::default();
        let line = "3,0,1,-;Buffer I/O error on dev sda1";
        assert_eq!(found(&mut log, &[line, line]), (1, 0));
        assert!(!log.lost);
        assert_eq!(found(&mut log, &["3,9,1,-;Buffer I/O error on dev sda1"]), (2, 0));
        assert!(log.lost);
    }

    #[test]
    fn a_forgotten_beginning_is_not_an_empty_log() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("dev")).unwrap();
        std::fs::write(root.path().join("dev/kmsg"), "6,100,1,-;harmless\n").unwrap();
        let readings = KernelLog::default().look(&Source::recorded(root.path()));
        assert!(readings.iter().all(|(_, _, outcome)| matches!(outcome, Outcome::Unreadable(_))));
    }

    #[test]
    fn what_was_found_is_kept_for_this_boot_only() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("kernel-log.json");
        let boot = |number| BootId(uuid::Uuid::from_u128(number));
        let mut log = KernelLog::default();
        log.take("3,0,1,-;Buffer I/O error on dev sda1");
        log.save(&path, boot(1)).unwrap();
        assert_eq!(KernelLog::load(&path, boot(1)).storage.total, 1);
        assert_eq!(KernelLog::load(&path, boot(2)).storage.total, 0);
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_unreadable() {
        let root = tempfile::tempdir().unwrap();
        let readings = KernelLog::default().look(&Source::recorded(root.path()));
        assert!(readings.iter().all(|(_, _, outcome)| matches!(outcome, Outcome::Unreadable(_))));
    }

    #[test]
    fn the_token_in_a_line_is_removed_and_lists_are_bounded() {
        let mut log = KernelLog::default();
        log.take("3,0,1,-;Buffer I/O error on dev sda reprieve.token=abc");
        assert!(!log.storage.lines[0].contains("abc"));
        for sequence in 1..=(LINES_MAX as u64 + 5) {
            log.take(&format!("3,{sequence},1,-;Buffer I/O error on dev sda"));
        }
        assert_eq!((log.storage.lines.len(), log.storage.total), (LINES_MAX, LINES_MAX as u64 + 6));
    }

    proptest! {
        #[test]
        fn any_record_is_survived(record in any::<String>()) {
            KernelLog::default().take(&record);
        }
    }
}
