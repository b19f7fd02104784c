//! Errors that mounted file systems count for their devices: btrfs.
//!
//! ext4 keeps its count in the superblock ([`super::file_systems`]). XFS keeps none at all; what it finds
//! stands in the kernel log ([`super::kernel_log`]).

use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};

use super::check::Check;
use super::evidence::Found;
use super::source::{self, Source, quoted};

/// Check 13; what superblocks say is part of it.
pub const CHECK: Check = Check {
    number: 13,
    name: "file system errors",
    tier: Tier::T1,
    reads: "superblocks of ext4 and XFS, /sys/fs/ext4/*/errors_count, /sys/fs/btrfs/*/devinfo/*/error_stats",
    keys: &[
        ReadingKey::FileSystemErrors,
        ReadingKey::FileSystemNeedsRecovery,
        ReadingKey::FileSystemDeviceErrors,
    ],
    rules: &["integrity/file-system-errors", "fitness/file-system-device-errors"],
};

/// No machine has more file systems mounted, or more devices in one.
const ENTRIES_MAX: usize = 4096;
/// The counters of a device (btrfs, `BTRFS_IOC_GET_DEV_STATS`).
const COUNTERS: [&str; 5] = ["write_errs", "read_errs", "flush_errs", "corruption_errs", "generation_errs"];

/// Errors of each mounted btrfs and XFS.
#[must_use]
pub fn read(source: &Source) -> Vec<Found> {
    let mut found = Vec::new();
    for (kind, read) in [("btrfs", btrfs as fn(&Path, &str) -> Option<(String, Outcome<u64>)>), ("xfs", xfs)]
    {
        let directory = source.path(&format!("sys/fs/{kind}"));
        match source::names(&directory, ENTRIES_MAX) {
            Outcome::Value(names) => {
                for (device, errors) in names.iter().filter_map(|name| read(&directory, name)) {
                    let subject = Subject::FileSystem(device);
                    found.push((
                        subject,
                        ReadingKey::FileSystemDeviceErrors,
                        errors.map(ReadingValue::Count),
                    ));
                }
            }
            // The kernel's driver is not there, so nothing of the kind is mounted.
            Outcome::Absent => {}
            Outcome::Unreadable(why) => {
                found.push((Subject::Node, ReadingKey::FileSystemDeviceErrors, Outcome::Unreadable(why)));
            }
        }
    }
    found
}

/// XFS counts nothing; that it was looked at is said.
fn xfs(directory: &Path, name: &str) -> Option<(String, Outcome<u64>)> {
    directory.join(name).join("error").is_dir().then(|| (name.to_owned(), Outcome::Absent))
}

/// A mounted btrfs stands under its UUID, beside folders about the driver. It is named after the first of
/// its devices.
fn btrfs(directory: &Path, name: &str) -> Option<(String, Outcome<u64>)> {
    name.parse::<uuid::Uuid>().ok()?;
    let file_system = directory.join(name);
    let device = match source::names(&file_system.join("devices"), ENTRIES_MAX) {
        Outcome::Value(devices) => devices.into_iter().next(),
        Outcome::Absent | Outcome::Unreadable(_) => None,
    };
    let errors = match source::names(&file_system.join("devinfo"), ENTRIES_MAX) {
        Outcome::Value(ids) if ids.is_empty() => {
            Outcome::Unreadable("btrfs shows none of its devices".to_owned())
        }
        Outcome::Value(ids) => sum(ids.iter().map(|id| device_errors(&file_system.join("devinfo").join(id)))),
        Outcome::Absent => Outcome::Unreadable(OLD_KERNEL.to_owned()),
        Outcome::Unreadable(why) => Outcome::Unreadable(why),
    };
    Some((device.unwrap_or_else(|| name.to_owned()), errors))
}

/// Why there are no counters to read.
const OLD_KERNEL: &str = "the kernel shows no counters of btrfs; kernels since 5.14 do";

/// All devices together; one that cannot be counted makes the sum unknown, unless others have errors.
fn sum(counts: impl Iterator<Item = Outcome<u64>>) -> Outcome<u64> {
    let (mut total, mut unknown) = (0_u64, None);
    for count in counts {
        match count {
            Outcome::Value(count) => total = total.saturating_add(count),
            Outcome::Absent => unknown = Some(OLD_KERNEL.to_owned()),
            Outcome::Unreadable(why) => unknown = Some(why),
        }
    }
    match unknown {
        Some(why) if total == 0 => Outcome::Unreadable(why),
        _ => Outcome::Value(total),
    }
}

fn device_errors(device: &Path) -> Outcome<u64> {
    match source::attribute(&device.join("error_stats")) {
        Outcome::Value(text) => match parse(&text) {
            Ok(errors) => Outcome::Value(errors),
            Err(why) => Outcome::Unreadable(format!("{}: {why}", device.display())),
        },
        Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why),
    }
}

/// All five counters together: one a line, name and number.
fn parse(text: &str) -> Result<u64, String> {
    let mut total = 0_u64;
    let mut seen = [false; COUNTERS.len()];
    for line in text.lines() {
        let (name, count) = line.split_once(' ').ok_or_else(|| format!("no counter in {}", quoted(line)))?;
        // A counter that a later kernel has besides counts as well.
        let count: u64 = count.trim().parse().map_err(|_| format!("no number in {}", quoted(line)))?;
        total = total.saturating_add(count);
        if let Some(at) = COUNTERS.iter().position(|known| *known == name) {
            seen[at] = true;
        }
    }
    match seen.iter().position(|seen| !seen) {
        Some(at) => Err(format!("the counter {} is missing", COUNTERS[at])),
        None => Ok(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    const ONE: &str = "11111111-2222-3333-4444-555555555555";
    const TWO: &str = "66666666-7777-8888-9999-aaaaaaaaaaaa";

    fn stats(counts: [u64; 5]) -> String {
        COUNTERS.iter().zip(counts).map(|(name, count)| format!("{name} {count}\n")).collect()
    }

    #[test]
    fn errors_of_all_devices_are_counted() {
        let tree = Tree::new();
        tree.write(&format!("sys/fs/btrfs/{ONE}/devinfo/1/error_stats"), stats([0; 5]));
        tree.directory(&format!("sys/fs/btrfs/{ONE}/devices/vda2"));
        tree.write(&format!("sys/fs/btrfs/{TWO}/devinfo/1/error_stats"), stats([1, 2, 0, 4, 8]));
        tree.write(&format!("sys/fs/btrfs/{TWO}/devinfo/2/error_stats"), stats([u64::MAX, 0, 0, 0, 0]));
        tree.directory(&format!("sys/fs/btrfs/{TWO}/devices/sdb"));
        tree.directory(&format!("sys/fs/btrfs/{TWO}/devices/sda"));
        tree.directory("sys/fs/btrfs/features");
        tree.directory("sys/fs/xfs/vdb1/error");
        tree.directory("sys/fs/xfs/stats");
        let about = |name: &str, outcome| {
            (Subject::FileSystem(name.to_owned()), ReadingKey::FileSystemDeviceErrors, outcome)
        };
        let count = |count| Outcome::Value(ReadingValue::Count(count));
        let expected =
            vec![about("vda2", count(0)), about("sda", count(u64::MAX)), about("vdb1", Outcome::Absent)];
        assert_eq!(read(&tree.source()), expected);
        assert_eq!(read(&Tree::new().source()), vec![], "nothing of the kind is mounted");
    }

    #[test]
    fn what_cannot_be_counted_is_unknown_and_what_was_counted_stays() {
        let tree = Tree::new();
        tree.directory(&format!("sys/fs/btrfs/{ONE}/devinfo/1"));
        let of = |tree: &Tree| read(&tree.source()).swap_remove(0).2;
        assert!(matches!(of(&tree), Outcome::Unreadable(why) if why.contains("5.14")));
        tree.write(&format!("sys/fs/btrfs/{ONE}/devinfo/2/error_stats"), stats([0, 3, 0, 0, 0]));
        assert_eq!(of(&tree), Outcome::Value(ReadingValue::Count(3)));
        tree.write(&format!("sys/fs/btrfs/{ONE}/devinfo/2/error_stats"), "read_errs 0\n");
        assert!(matches!(of(&tree), Outcome::Unreadable(_)));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = parse(&text);
            let _ = parse(&format!("{}more_errs {text}", stats([0; 5])));
        }
    }
}
