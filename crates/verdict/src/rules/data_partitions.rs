//! What on the disk of the operating system is neither the image's nor ours, and stays.

use contract::decision::Axis;
use contract::id::DiskId;
use contract::inventory::DiskFacts;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;
use crate::kept;
use crate::os_disk::os_disk;

/// I7: what on the disk is neither the image's nor ours.
const DATA: Rule = Rule {
    id: "integrity/data-partitions",
    axis: Axis::Integrity,
    source: "design: data partitions of the tenant stay when an image is written",
};

/// I7. Says what stays when an image is written; nothing if there is no such thing or nobody looked,
/// which only the ramdisk does.
pub(super) fn judge(facts: &Facts<'_>) -> Option<Ruled> {
    let (disk, _) = system_disk(facts)?;
    let (subject, key) = (Subject::Disk(disk.clone()), ReadingKey::DiskDataPartitions);
    if !kept::is_tenants_own(facts) || !facts.concerns(&subject, key) {
        return None;
    }
    let seen = |observed: String| Seen::reading(subject, key, observed, "none");
    match kept::seen(facts, disk) {
        Outcome::Absent => None,
        Outcome::Value(partitions) if partitions.is_empty() => None,
        Outcome::Value(partitions) => {
            let words = kept::in_words(&partitions);
            Some(DATA.found(
                Demand::Watch,
                seen(words.clone()),
                format!("Data on disk {disk} stays when an image is written: {words}."),
            ))
        }
        Outcome::Unreadable(why) => Some(DATA.unknown(
            Demand::Watch,
            seen(why.clone()),
            format!(
                "Which partitions of disk {disk} hold data could not be told, so no image is written beside them: {why}."
            ),
        )),
    }
}

/// The disk of the operating system among all disks.
pub(super) fn system_disk<'a>(facts: &Facts<'a>) -> Option<(&'a DiskId, &'a [DiskFacts])> {
    let disks = facts.disks().ok()?;
    let assignment = &facts.context.assignment;
    let target = os_disk(&assignment.os_disk, assignment.image_disk_bytes.unwrap_or(0), disks).ok()?;
    disks.iter().find(|disk| disk.id == target.id).map(|disk| (&disk.id, disks))
}

/// Whether the device is certainly one of the partitions that a reimage leaves as they are.
pub(super) fn holds(facts: &Facts<'_>, device: &str) -> bool {
    let Some((disk, disks)) = system_disk(facts) else { return false };
    let Outcome::Value(partitions) = kept::seen(facts, disk) else { return false };
    let Some(facts) = disks.iter().find(|facts| &facts.id == disk) else { return false };
    let Some(rest) = device.strip_prefix(facts.kernel_name.as_str()) else { return false };
    let digits = rest.strip_prefix('p').unwrap_or(rest);
    partitions.iter().any(|kept| kept.number.to_string() == digits)
}
