//! Is the installed software exactly what was assigned?

use contract::decision::{Axis, Integrity};
use contract::id::ImageId;
use contract::inventory::DiskFacts;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::{Demand, Rule, Ruled, Seen, boot_trust, command_line, data_partitions, node_data, strongest};
use crate::facts::{Facts, Listed};
use crate::plan;
use crate::policy::ForeignFiles;

const DESIGN_IMAGE: &str = "design: assigned image missing or a different one means reimage";
const DESIGN_FILES: &str = "design: immutable content differs means repair";

/// I1: the disk carries the assigned image.
const INSTALLED: Rule = Rule { id: "integrity/image-installed", axis: Axis::Integrity, source: DESIGN_IMAGE };
/// I2: its writing was finished.
const UNFINISHED: Rule =
    Rule { id: "integrity/image-unfinished", axis: Axis::Integrity, source: DESIGN_IMAGE };
/// I3: its immutable partitions are bit-identical.
const PARTITIONS: Rule = Rule { id: "integrity/partitions", axis: Axis::Integrity, source: DESIGN_FILES };
/// I4: its immutable files are as the image has them.
const FILES: Rule = Rule { id: "integrity/files", axis: Axis::Integrity, source: DESIGN_FILES };
/// I5: no files of others under immutable paths.
const FOREIGN: Rule =
    Rule { id: "integrity/foreign-files", axis: Axis::Integrity, source: "policy: integrity.foreign_files" };
/// I6: its file systems recorded no errors.
const FILE_SYSTEMS: Rule = Rule {
    id: "integrity/file-system-errors",
    axis: Axis::Integrity,
    source: "ext4 superblock s_error_count; policy: integrity.file_system_errors_reimage_above",
};

/// The verdict of the second axis and its findings.
pub(crate) fn judge(facts: &Facts<'_>) -> (Integrity, Vec<Ruled>) {
    let mut ruled = Vec::new();
    match &facts.context.assignment.image {
        None => ruled.push(INSTALLED.found(
            Demand::Watch,
            Seen::fact(Subject::Image, "no image is assigned", "an image to compare with"),
            "No image is assigned, so there is nothing to compare with and nothing to install.",
        )),
        Some(image) => {
            ruled.push(installed(facts, image));
            // With another image or none, comparing its files says nothing; reimage is the most that
            // this axis can demand.
            if ruled[0].demand != Demand::Reimage {
                ruled.push(unfinished(facts));
                partitions_and_files(facts, &mut ruled);
                foreign(facts, &mut ruled);
                file_systems(facts, &mut ruled);
                ruled.extend(node_data::judge(facts));
                ruled.extend(command_line::system(facts));
            }
            ruled.extend(data_partitions::judge(facts));
        }
    }
    if let Some(work) = &facts.context.unfinished {
        ruled.push(UNFINISHED.found(
            if node_data::alone_begun(facts) { Demand::Repair } else { Demand::Reimage },
            Seen::fact(
                Subject::Image,
                format!("job {} was begun and never reported done", work.job),
                "no unfinished work",
            ),
            "Writing to this node was begun and never reported done; what it left is not trusted.",
        ));
    }
    boot_trust::judge(facts, &mut ruled);
    ruled.extend(command_line::ramdisk(facts));
    let verdict = match strongest(&ruled) {
        Demand::Nothing | Demand::Watch => Integrity::Intact,
        Demand::Repair => Integrity::Repair,
        // Cannot be seen counts as reimage until somebody has looked deeper.
        _ => Integrity::Reimage,
    };
    (verdict, ruled)
}

/// What follows if a reading that is needed for "intact" could not be had.
fn cautious(facts: &Facts<'_>) -> Demand {
    if facts.in_ramdisk() { Demand::Reimage } else { Demand::LookDeeper }
}

fn image_reading(key: ReadingKey, observed: impl ToString, threshold: impl ToString) -> Seen {
    Seen::reading(Subject::Image, key, observed, threshold)
}

fn installed(facts: &Facts<'_>, image: &ImageId) -> Ruled {
    let key = ReadingKey::ImageInstalled;
    let seen = |observed: &str| image_reading(key, observed, format!("image {image}"));
    match facts.text(&Subject::Image, key) {
        Outcome::Value(found) if found == image.to_string() => {
            INSTALLED.found(Demand::Nothing, seen(&found), "The assigned image is installed.")
        }
        Outcome::Value(found) => INSTALLED.found(
            Demand::Reimage,
            seen(&found),
            "Another image than the assigned one is installed.",
        ),
        Outcome::Absent => {
            INSTALLED.found(Demand::Reimage, seen("no image"), "No image of ours is installed.")
        }
        Outcome::Unreadable(why) => INSTALLED.unknown(
            cautious(facts),
            seen(&why),
            format!("Which image is installed could not be seen: {why}."),
        ),
    }
}

fn unfinished(facts: &Facts<'_>) -> Ruled {
    let key = ReadingKey::ImageUnfinished;
    let seen = |observed: &str| image_reading(key, observed, "a finished image");
    match facts.flag(&Subject::Image, key) {
        Outcome::Value(false) => {
            UNFINISHED.found(Demand::Nothing, seen("finished"), "The image was written to its end.")
        }
        Outcome::Value(true) => UNFINISHED.found(
            Demand::Reimage,
            seen("unfinished"),
            "The image on the disk was never written to its end.",
        ),
        Outcome::Absent => UNFINISHED.unknown(
            cautious(facts),
            seen("absent"),
            "Whether the image was written to its end was not seen.",
        ),
        Outcome::Unreadable(why) => UNFINISHED.unknown(
            cautious(facts),
            seen(&why),
            format!("Whether the image was written to its end could not be seen: {why}."),
        ),
    }
}

/// A count of differences, with "the image names none" told from "could not look".
enum Compared {
    Differ(Listed),
    NoneNamed,
    Unknown(String),
}

fn compared(facts: &Facts<'_>, key: ReadingKey) -> Compared {
    match facts.list(&Subject::Image, key) {
        Outcome::Value(list) => Compared::Differ(list),
        Outcome::Absent => Compared::NoneNamed,
        Outcome::Unreadable(why) => Compared::Unknown(why),
    }
}

/// I3 and I4. Something must have been compared: files, or partitions if the image names no files.
fn partitions_and_files(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let key = ReadingKey::ImagePartitionsAltered;
    let mut partitions_compared = false;
    ruled.push(match compared(facts, key) {
        Compared::Unknown(why) => PARTITIONS.unknown(
            cautious(facts),
            image_reading(key, &why, "all compared, none altered"),
            format!("The immutable partitions could not be compared: {why}."),
        ),
        Compared::NoneNamed => PARTITIONS.found(
            Demand::Nothing,
            image_reading(key, "none named", "none altered"),
            "The image names no immutable partitions.",
        ),
        Compared::Differ(list) if list.total == 0 => {
            partitions_compared = true;
            PARTITIONS.found(
                Demand::Nothing,
                image_reading(key, "0", "0"),
                "No immutable partition is altered.",
            )
        }
        Compared::Differ(list) => {
            partitions_compared = true;
            let nameable =
                plan::partition_numbers(&list.items).is_ok() && list.items.len() as u64 == list.total;
            let demand = if nameable { Demand::Repair } else { Demand::Reimage };
            PARTITIONS.found(
                demand,
                image_reading(key, list.total, 0),
                format!("Immutable partitions are altered ({}): {}.", list.total, some_of(&list)),
            )
        }
    });
    files(facts, partitions_compared, ruled);
}

fn files(facts: &Facts<'_>, partitions_compared: bool, ruled: &mut Vec<Ruled>) {
    let checked_key = ReadingKey::ImageFilesChecked;
    let checked = match facts.count(&Subject::Image, checked_key) {
        Outcome::Value(count) if count > 0 => count,
        Outcome::Absent if partitions_compared => {
            ruled.push(FILES.found(
                Demand::Watch,
                image_reading(checked_key, "none named", "files compared"),
                "The image names no files (those of its root were not listed when it was imported), so only its boot partitions were compared.",
            ));
            0
        }
        other => {
            let why = match other {
                Outcome::Value(_) => "no file was compared".to_owned(),
                Outcome::Absent => "no file and no partition was compared".to_owned(),
                Outcome::Unreadable(why) => why,
            };
            ruled.push(FILES.unknown(
                cautious(facts),
                image_reading(checked_key, &why, "at least one file compared"),
                format!("The immutable files were not compared: {why}."),
            ));
            0
        }
    };
    let mut total: u64 = 0;
    for (key, word) in
        [(ReadingKey::ImageFilesAltered, "altered"), (ReadingKey::ImageFilesMissing, "missing")]
    {
        let list = match compared(facts, key) {
            Compared::Differ(list) => list,
            Compared::NoneNamed if checked == 0 => continue,
            Compared::NoneNamed => {
                ruled.push(files_unknown(facts, key, word, "absent although files were compared"));
                continue;
            }
            Compared::Unknown(why) => {
                ruled.push(files_unknown(facts, key, word, &why));
                continue;
            }
        };
        total = total.saturating_add(list.total);
        ruled.push(differing_files(key, word, &list, checked));
    }
    let share = facts.thresholds().integrity.altered_percent_reimage_above;
    if checked > 0 && total.saturating_mul(100) > checked.saturating_mul(share) {
        ruled.push(FILES.found(
            Demand::Reimage,
            image_reading(checked_key, format!("{total} of {checked} differ"), format!("at most {share} %")),
            format!("{total} of {checked} immutable files are altered or missing; that is another system, not a damaged one."),
        ));
    }
}

fn files_unknown(facts: &Facts<'_>, key: ReadingKey, word: &str, why: &str) -> Ruled {
    FILES.unknown(
        cautious(facts),
        image_reading(key, why, "all compared"),
        format!("Which immutable files are {word} could not be seen: {why}."),
    )
}

fn differing_files(key: ReadingKey, word: &str, list: &Listed, checked: u64) -> Ruled {
    if list.total == 0 {
        return FILES.found(
            Demand::Nothing,
            image_reading(key, 0, 0),
            format!("None of {checked} immutable files is {word}."),
        );
    }
    let nameable = nameable(list);
    let demand = if nameable { Demand::Repair } else { Demand::Reimage };
    let verb = if list.total == 1 { "file is" } else { "files are" };
    let rest =
        if nameable { "" } else { " They are too many, or cannot be named, to be put back one by one." };
    FILES.found(
        demand,
        image_reading(key, list.total, 0),
        format!("{} immutable {verb} {word}: {}.{rest}", list.total, some_of(list)),
    )
}

/// A list that was cut cannot be put back file by file; nor can a path that is not one.
fn nameable(list: &Listed) -> bool {
    list.items.len() as u64 == list.total && plan::file_paths(&list.items).is_ok()
}

fn some_of(list: &Listed) -> String {
    let mut shown = list.items.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if list.total > 3 {
        shown.push_str(", …");
    }
    shown
}

fn foreign(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let key = ReadingKey::ImageFilesForeign;
    let (demand, unknown) = match facts.thresholds().integrity.foreign_files {
        ForeignFiles::Ignore => return,
        ForeignFiles::Watch => (Demand::Watch, Demand::Watch),
        ForeignFiles::Remove => (Demand::Repair, cautious(facts)),
        ForeignFiles::Reimage => (Demand::Reimage, cautious(facts)),
    };
    ruled.push(match facts.list(&Subject::Image, key) {
        Outcome::Value(list) if list.total == 0 => FOREIGN.found(
            Demand::Nothing,
            image_reading(key, 0, 0),
            "No file under immutable paths is unknown to the image.",
        ),
        Outcome::Value(list) => FOREIGN.found(
            // What cannot be named exactly cannot be taken away either.
            if demand == Demand::Repair && !nameable(&list) { Demand::Reimage } else { demand },
            image_reading(key, list.total, 0),
            format!(
                "Files under immutable paths are unknown to the image ({}): {}.",
                list.total,
                some_of(&list)
            ),
        ),
        Outcome::Absent => {
            FOREIGN.unknown(unknown, image_reading(key, "absent", 0), "Nobody looked for foreign files.")
        }
        Outcome::Unreadable(why) => FOREIGN.unknown(
            unknown,
            image_reading(key, &why, 0),
            format!("Foreign files could not be looked for: {why}."),
        ),
    });
}

/// I6. Errors on a disk that is known to be another than the operating system's, or on a partition that
/// is kept, are only watched: reimaging would not help there.
fn file_systems(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let key = ReadingKey::FileSystemErrors;
    let limit = facts.thresholds().integrity.file_system_errors_reimage_above;
    let mut devices: Vec<&String> = Vec::new();
    for reading in &facts.evidence.readings {
        match &reading.subject {
            Subject::FileSystem(device) if reading.key == key && !devices.contains(&device) => {
                devices.push(device)
            }
            _ => {}
        }
    }
    if devices.is_empty() {
        ruled.push(FILE_SYSTEMS.unknown(
            cautious(facts),
            image_reading(key, "no file system was looked at", format!("at most {limit}")),
            "No file system was looked at for recorded errors.",
        ));
    }
    // The policy may allow a few errors; nothing is put back on a file system that has any.
    let repairs_files = ruled.iter().any(|one| {
        one.demand == Demand::Repair && [FILES.id, FOREIGN.id].contains(&one.finding.rule.as_str())
    });
    for device in devices {
        let subject = Subject::FileSystem(device.clone());
        let seen =
            |observed: String| Seen::reading(subject.clone(), key, observed, format!("at most {limit}"));
        let elsewhere = on_data_disk(facts, device) || data_partitions::holds(facts, device);
        let watched = |demand| if elsewhere { Demand::Watch } else { demand };
        ruled.push(match facts.count(&subject, key) {
            Outcome::Value(count) if count > limit => FILE_SYSTEMS.found(
                watched(Demand::Reimage),
                seen(count.to_string()),
                format!("The file system on {device} recorded {count} errors."),
            ),
            Outcome::Value(count) if count > 0 && repairs_files => FILE_SYSTEMS.found(
                watched(Demand::Reimage),
                seen(count.to_string()),
                format!("The file system on {device} recorded {count} errors; files are not put back on it."),
            ),
            Outcome::Value(count) => FILE_SYSTEMS.found(
                Demand::Nothing,
                seen(count.to_string()),
                format!("The file system on {device} recorded {count} errors."),
            ),
            Outcome::Absent => FILE_SYSTEMS.found(
                Demand::Nothing,
                seen("keeps no count".to_owned()),
                format!("The file system on {device} keeps no count of errors."),
            ),
            Outcome::Unreadable(why) => FILE_SYSTEMS.unknown(
                watched(cautious(facts)),
                seen(why.clone()),
                format!("Errors of the file system on {device} could not be read: {why}."),
            ),
        });
    }
}

/// Whether the device is certainly a partition of a disk that does not carry the operating system.
fn on_data_disk(facts: &Facts<'_>, device: &str) -> bool {
    let Some((os_disk, disks)) = data_partitions::system_disk(facts) else { return false };
    // A file system may be on the whole disk.
    let holds = |disk: &DiskFacts| {
        disk.kernel_name == device || data_partitions::partition_on(disk, device).is_some()
    };
    let mut holders = disks.iter().filter(|disk| holds(disk));
    holders.next().is_some_and(|disk| disk.id != *os_disk) && holders.next().is_none()
}
