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

/// I7. Says what stays when an image is written; nothing if there is no such thing or nobody looked.
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
    if !kept::is_tenants_own(facts) {
        return false;
    }
    let Some((disk, disks)) = system_disk(facts) else { return false };
    let Outcome::Value(partitions) = kept::seen(facts, disk) else { return false };
    let Some(disk) = disks.iter().find(|facts| &facts.id == disk) else { return false };
    partition_on(disk, device).is_some_and(|number| partitions.iter().any(|kept| kept.number == number))
}

/// The number of the partition that this is on this disk, as the kernel names them: the disk's name, a `p`
/// if that ends with a digit, and the number.
pub(super) fn partition_on(disk: &DiskFacts, device: &str) -> Option<u32> {
    let name = disk.kernel_name.as_str();
    let rest = device.strip_prefix(name)?;
    let digits =
        if name.ends_with(|last: char| last.is_ascii_digit()) { rest.strip_prefix('p')? } else { rest };
    let number: u32 = digits.parse().ok()?;
    (number > 0 && number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::partition_on;
    use crate::testing::disk;
    use contract::inventory::Transport;

    #[test]
    fn a_partition_is_told_from_another_disk() {
        let table = [
            ("vda", "vda5", Some(5)),
            ("vda", "vda15", Some(15)),
            ("vda", "vda", None),
            ("vda", "vda0", None),
            ("vda", "vda05", None),
            ("vda", "vda+5", None),
            ("vda", "vdap5", None),
            ("vda", "vdab5", None),
            ("vda", "vdb5", None),
            ("nvme0n1", "nvme0n1p3", Some(3)),
            ("nvme0n1", "nvme0n13", None),
            ("nvme0n1", "nvme0n13p3", None),
            ("nvme0n1", "nvme0n1pp3", None),
            ("mmcblk0", "mmcblk0p1", Some(1)),
        ];
        for (name, device, expected) in table {
            let facts = disk("virtio-x", name, Transport::Virtio, 1 << 30);
            assert_eq!(partition_on(&facts, device), expected, "{name} {device}");
        }
    }
}
