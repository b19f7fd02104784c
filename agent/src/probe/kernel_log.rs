//! The kernel's log of this boot, searched for signs of failing storage and hardware, for lockups, for want
//! of memory, and for the operator's own patterns. Each line counts once, also when the agent starts anew.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use contract::id::BootId;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::source::{self, Source};
use crate::kernel_command_line::redacted;

mod kinds;
mod operator;
mod record;

use kinds::{KINDS, tell};
use record::Record;

/// Signs of failing storage.
pub const CHECK_STORAGE: Check = Check {
    number: 15,
    name: "kernel log: storage",
    tier: Tier::T0,
    reads: "/dev/kmsg",
    keys: &[ReadingKey::KernelStorageErrors],
    rules: &["fitness/kernel-storage-errors"],
};

/// What the kernel says of itself; its taint is read in [`super::kernel`].
pub const CHECK_KERNEL: Check = Check {
    number: 19,
    name: "kernel taint, lockups, hung tasks, out of memory, own patterns",
    tier: Tier::T0,
    reads: "/proc/sys/kernel/tainted, /dev/kmsg, /etc/reprieve/kernel-log-patterns.toml",
    keys: &[
        ReadingKey::KernelTaint,
        ReadingKey::KernelLockups,
        ReadingKey::KernelOutOfMemory,
        ReadingKey::OperatorLogMatches,
    ],
    rules: &[
        "fitness/kernel-taint",
        "fitness/kernel-lockups",
        "fitness/kernel-out-of-memory",
        "fitness/operator-log-matches",
    ],
};

/// The kernel gives no longer record.
const RECORD_BYTES_MAX: usize = 8192;
/// More records than any kernel's buffer holds; the reader stops there.
const RECORDS_MAX: usize = 500_000;
/// Longest line that is kept.
const LINE_CHARACTERS_MAX: usize = 300;
/// Lines kept of each kind; more are counted.
const LINES_MAX: usize = 1000;
/// Lines kept of each of the operator's patterns.
const OPERATOR_LINES_MAX: usize = 100;

/// What has been found in this boot's log so far. Kept from look to look by the resident agent, because
/// the kernel's buffer forgets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct KernelLog {
    /// By the key that it is reported as.
    #[serde(default)]
    found: BTreeMap<ReadingKey, Found>,
    /// By the operator's pattern.
    #[serde(default)]
    operator: BTreeMap<String, Found>,
    /// The patterns of the service's policy; none while it was not heard.
    #[serde(skip)]
    given: Option<Vec<operator::Pattern>>,
}

/// A kept log, and of which boot it is.
#[derive(Debug, Deserialize)]
struct Kept {
    boot: BootId,
    log: KernelLog,
}

/// What was found of one kind. Each has its own place in the log: a kind or a pattern that comes later
/// begins at the beginning, and makes nothing else count twice.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Found {
    next_sequence: u64,
    lost: bool,
    lines: Vec<String>,
    total: u64,
}

impl Found {
    /// Whether the record of this number is new here; it is not a second time.
    fn is_new(&mut self, sequence: u64) -> bool {
        if sequence < self.next_sequence {
            return false;
        }
        self.lost |= sequence > self.next_sequence;
        self.next_sequence = sequence.saturating_add(1);
        true
    }

    fn add(&mut self, line: &str, lines_max: usize) {
        self.total += 1;
        if self.lines.len() < lines_max {
            self.lines.push(shown(line));
        }
    }
}

/// A line as it may be shown: without secrets, short, and with nothing that a terminal obeys.
fn shown(line: &str) -> String {
    let harmless = |c: char| match c.is_control() {
        true => c.escape_default().collect::<String>(),
        false => c.to_string(),
    };
    redacted(line).chars().take(LINE_CHARACTERS_MAX).map(harmless).collect()
}

impl KernelLog {
    /// Takes the patterns of the service's policy, which are looked for beside those of the machine's own file.
    /// With a policy that this version cannot read, those of the one before stay.
    pub fn give(&mut self, policy: &str) {
        match operator::of_policy(policy) {
            Ok(patterns) => self.given = Some(patterns),
            Err(why) => {
                tracing::warn!("the policy's patterns for the kernel's log are not looked for: {why}")
            }
        }
    }

    /// Reads what has come since the last look, and says what was found in this boot.
    pub fn look(&mut self, source: &Source) -> Vec<(Subject, ReadingKey, Outcome<ReadingValue>)> {
        let own = operator::read(source);
        let given = self.given.clone().unwrap_or_default();
        let patterns = operator::together(&given, own.value().map_or(&[], Vec::as_slice));
        // Neither a file that cannot be read, or is half written, nor a service that was not heard yet makes
        // anything uncounted.
        if self.given.is_some() && !matches!(own, Outcome::Unreadable(_)) {
            self.operator.retain(|identity, _| patterns.iter().any(|known| known.identity() == *identity));
        }
        let outcome = self.read_new(source, &patterns);
        let mut readings: Vec<_> = KINDS
            .iter()
            .map(|kind| {
                let found = self.found.entry(kind.key).or_default();
                (Subject::Node, kind.key, value(&outcome, &[found]))
            })
            .collect();
        let matches = match own {
            Outcome::Unreadable(why) => Outcome::Unreadable(why),
            Outcome::Absent if given.is_empty() => Outcome::Absent,
            Outcome::Value(_) | Outcome::Absent => {
                let asked = patterns.iter().filter_map(|one| self.operator.get(&one.identity()));
                value(&outcome, &asked.collect::<Vec<_>>())
            }
        };
        readings.push((Subject::Node, ReadingKey::OperatorLogMatches, matches));
        readings
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

    fn read_new(&mut self, source: &Source, patterns: &[operator::Pattern]) -> io::Result<()> {
        let path = source.path("dev/kmsg");
        let mut file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path)?;
        if !source.is_machine() {
            // A recorded log is a plain file of records, one a line.
            let mut text = String::new();
            file.take(64 << 20).read_to_string(&mut text)?;
            text.lines().for_each(|line| self.take(line, patterns));
            return Ok(());
        }
        let mut buffer = vec![0; RECORD_BYTES_MAX];
        for _ in 0..RECORDS_MAX {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.take(&String::from_utf8_lossy(&buffer[..length]), patterns),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Overwritten while reading: the next read goes on behind the gap, which its number shows.
                Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes one record. Those seen before and those that are none are skipped; those of user space only
    /// move the place on.
    fn take(&mut self, record: &str, patterns: &[operator::Pattern]) {
        let Some(record) = Record::parse(record) else { return };
        let told = if record.from_kernel { tell(record.text) } else { None };
        for kind in &KINDS {
            let found = self.found.entry(kind.key).or_default();
            let new = found.is_new(record.sequence);
            if let Some((_, line)) = told.as_ref().filter(|(key, _)| new && *key == kind.key) {
                found.add(line, LINES_MAX);
            }
        }
        for pattern in patterns {
            let found = self.operator.entry(pattern.identity()).or_default();
            let new = found.is_new(record.sequence);
            if let Some(line) = pattern.tell(record.text).filter(|_| new && record.from_kernel) {
                found.add(&line, OPERATOR_LINES_MAX);
            }
        }
    }
}

/// What was found counts even if reading broke off or lines are gone; "nothing found" would not.
fn value(read: &io::Result<()>, found: &[&Found]) -> Outcome<ReadingValue> {
    let total = found.iter().map(|found| found.total).fold(0, u64::saturating_add);
    if total == 0
        && let Err(error) = read
    {
        return Outcome::Unreadable(format!("cannot read the kernel log: {error}"));
    }
    if total == 0 && found.iter().any(|found| found.lost) {
        return Outcome::Unreadable("the kernel has forgotten the beginning of this boot's log".to_owned());
    }
    let mut items: Vec<String> = found.iter().flat_map(|found| found.lines.clone()).collect();
    items.truncate(LINES_MAX);
    Outcome::Value(ReadingValue::List { items, total })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    const FAILED_READ: &str = "Buffer I/O error on dev sda1";

    fn total(log: &KernelLog, key: ReadingKey) -> u64 {
        log.found.get(&key).map_or(0, |found| found.total)
    }

    fn storage(log: &mut KernelLog, lines: &[&str]) -> u64 {
        for line in lines {
            log.take(line, &[]);
        }
        total(log, ReadingKey::KernelStorageErrors)
    }

    #[test]
    fn what_user_space_writes_counts_for_nothing() {
        let mut log = KernelLog::default();
        assert_eq!(storage(&mut log, &["12,0,1,-;Buffer I/O error on dev sda1, said a tenant"]), 0);
        assert_eq!(storage(&mut log, &["3,1,1,-;Buffer I/O error on dev sda1", "not a record"]), 1);
        log.take("4,2,1,-;INFO: task a:1 blocked for more than 120 seconds.", &[]);
        assert_eq!(total(&log, ReadingKey::KernelLockups), 1);
    }

    #[test]
    fn a_line_counts_once_however_often_it_is_read() {
        let mut log = KernelLog::default();
        let line = format!("3,0,1,-;{FAILED_READ}");
        assert_eq!(storage(&mut log, &[&line, &line]), 1);
        assert!(!log.found[&ReadingKey::KernelStorageErrors].lost);
        assert_eq!(storage(&mut log, &[&format!("3,9,1,-;{FAILED_READ}")]), 2);
        assert!(log.found[&ReadingKey::KernelStorageErrors].lost);
    }

    #[test]
    fn a_forgotten_beginning_is_not_an_empty_log() {
        let tree = Tree::new();
        tree.write("dev/kmsg", "6,100,1,-;harmless\n");
        for (_, key, outcome) in KernelLog::default().look(&tree.source()) {
            match key {
                ReadingKey::OperatorLogMatches => assert_eq!(outcome, Outcome::Absent),
                _ => assert!(matches!(outcome, Outcome::Unreadable(_)), "{key}"),
            }
        }
    }

    #[test]
    fn what_was_found_is_kept_for_this_boot_only_and_not_counted_again() {
        let tree = Tree::new();
        let path = tree.path("kernel-log.json");
        let boot = |number| BootId(uuid::Uuid::from_u128(number));
        let line = format!("3,0,1,-;{FAILED_READ}");
        let mut log = KernelLog::default();
        assert_eq!(storage(&mut log, &[&line]), 1);
        log.save(&path, boot(1)).unwrap();
        assert_eq!(storage(&mut KernelLog::load(&path, boot(1)), &[&line]), 1);
        assert_eq!(storage(&mut KernelLog::load(&path, boot(2)), &[]), 0);
        // As an earlier version kept it: read anew.
        std::fs::write(&path, format!("{{\"boot\":\"{}\",\"log\":{{\"next_sequence\":9}}}}", boot(1)))
            .unwrap();
        assert_eq!(storage(&mut KernelLog::load(&path, boot(1)), &[&line]), 1);
    }

    #[test]
    fn the_operator_s_patterns_count_from_the_beginning_and_change_nothing_else() {
        let tree = Tree::new();
        tree.write("dev/kmsg", format!("3,0,1,-;{FAILED_READ}\n4,1,1,-;fan controller lost\n"));
        let mut log = KernelLog::default();
        let matches = |log: &mut KernelLog| log.look(&tree.source()).pop().unwrap().2;
        assert_eq!(matches(&mut log), Outcome::Absent);
        tree.write(operator::FILE, "[[pattern]]\nname = \"fan\"\ntext = \"controller lost\"\n");
        let one = ReadingValue::list(vec!["fan: fan controller lost".to_owned()]);
        assert_eq!(matches(&mut log), Outcome::Value(one.clone()));
        assert_eq!(matches(&mut log), Outcome::Value(one.clone()), "a second look counts nothing twice");
        // The kernel forgets the line while the file is half written.
        tree.write("dev/kmsg", "6,2,1,-;harmless\n");
        for broken in ["", "[[pattern]]\nnam = 1\n"] {
            tree.write(operator::FILE, broken);
            assert!(matches!(matches(&mut log), Outcome::Unreadable(_)), "{broken:?}");
        }
        tree.write(operator::FILE, "[[pattern]]\nname = \"fan\"\ntext = \"controller lost\"\n");
        assert_eq!(matches(&mut log), Outcome::Value(one));
        assert_eq!(total(&log, ReadingKey::KernelStorageErrors), 1);
        tree.write(operator::FILE, "[[pattern]]\nnam = 1\n");
        assert!(matches!(matches(&mut log), Outcome::Unreadable(_)));
    }

    #[test]
    fn the_service_s_patterns_are_looked_for_beside_the_machine_s_own() {
        let tree = Tree::new();
        tree.write("dev/kmsg", "4,0,1,-;fan controller lost\n4,1,1,-;acme7: failure\n");
        let mut log = KernelLog::default();
        let matches = |log: &mut KernelLog| log.look(&tree.source()).pop().unwrap().2;
        let lines = |lines: &[&str]| {
            Outcome::Value(ReadingValue::list(lines.iter().map(|line| (*line).to_owned()).collect()))
        };
        log.give("");
        assert_eq!(matches(&mut log), Outcome::Absent, "a policy without patterns asks for nothing");
        log.give("[[log_pattern]]\nname = \"fan\"\ntext = \"controller lost\"\n");
        assert_eq!(matches(&mut log), lines(&["fan: fan controller lost"]));
        let own = "[[pattern]]\nname = \"own\"\nregex = 'acme\\d+: failure'\n";
        let same = "[[pattern]]\nname = \"fan\"\ntext = \"controller lost\"\n";
        tree.write(operator::FILE, format!("{own}{same}"));
        assert_eq!(matches(&mut log), lines(&["fan: fan controller lost", "own: acme7: failure"]));
        // What this version does not understand changes nothing; what is taken away is not told any more.
        log.give("[windws]\n");
        assert_eq!(matches(&mut log), lines(&["fan: fan controller lost", "own: acme7: failure"]));
        std::fs::remove_file(tree.path(operator::FILE)).unwrap();
        log.give("");
        assert_eq!(matches(&mut log), Outcome::Absent);
        assert!(log.operator.is_empty());
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_unreadable() {
        let readings = KernelLog::default().look(&Tree::new().source());
        let unreadable = readings.iter().filter(|(_, _, outcome)| matches!(outcome, Outcome::Unreadable(_)));
        assert_eq!(unreadable.count(), KINDS.len());
    }

    #[test]
    fn lines_are_shown_without_secrets_and_harmless_and_lists_are_bounded() {
        let mut log = KernelLog::default();
        storage(&mut log, &[&format!("3,0,1,-;{FAILED_READ} reprieve.token=abc \u{1b}[2J")]);
        let line = &log.found[&ReadingKey::KernelStorageErrors].lines[0];
        assert!(!line.contains("abc") && line.contains("\\u{1b}[2J"), "{line}");
        for sequence in 1..=(LINES_MAX as u64 + 5) {
            log.take(&format!("3,{sequence},1,-;{FAILED_READ}"), &[]);
        }
        let found = &log.found[&ReadingKey::KernelStorageErrors];
        assert_eq!((found.lines.len(), found.total), (LINES_MAX, LINES_MAX as u64 + 6));
    }

    proptest! {
        #[test]
        fn any_record_is_survived(record in any::<String>()) {
            KernelLog::default().take(&record, &[]);
        }
    }
}
