//! What a machine has when a person finds it right: the present values that are later compared with.
//!
//! Links and versions have no threshold of their own: what a slot can do says nothing about what this machine
//! does when it is well. So what it had when it was approved, or when a person last released it, counts.
//! Rates and versions that stand in the inventory are golden values under the keys
//! [`ReadingKey::NicSpeedMegabits`], [`ReadingKey::FirmwareVersion`] and [`ReadingKey::BmcVersion`].

use contract::assignment::GoldenValue;
use contract::evidence::Evidence;
use contract::inventory::{Inventory, NicFacts};
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

/// The most golden values that one node has; a server with eight GPUs and sixteen disks has under two hundred.
pub const GOLDEN_MAX: usize = 1000;

/// The readings that are compared with what they were.
const KEYS: [ReadingKey; 3] =
    [ReadingKey::PcieLinkWidth, ReadingKey::PcieLinkMegatransfers, ReadingKey::FabricRateMegabits];

/// What the machine shows now of all that is compared later, ordered by subject and key.
#[must_use]
pub fn values(evidence: &Evidence) -> Vec<GoldenValue> {
    let measured = evidence.readings.iter().filter(|reading| KEYS.contains(&reading.key));
    let measured = measured.filter_map(|reading| {
        let value = reading.outcome.value()?.clone();
        Some(GoldenValue { subject: reading.subject.clone(), key: reading.key, value })
    });
    ordered(measured.chain(of_inventory(&evidence.inventory)).collect())
}

/// The golden values after a person has found the machine right: what it shows now, and what it had before
/// where it now shows nothing. A value that could not be read is not forgotten by that.
#[must_use]
pub fn merged(before: &[GoldenValue], evidence: &Evidence) -> Vec<GoldenValue> {
    let mut values = values(evidence);
    let known = |value: &GoldenValue, all: &[GoldenValue]| {
        all.iter().any(|other| other.subject == value.subject && other.key == value.key)
    };
    let kept: Vec<GoldenValue> = before.iter().filter(|value| !known(value, &values)).cloned().collect();
    values.extend(kept);
    ordered(values)
}

fn ordered(mut values: Vec<GoldenValue>) -> Vec<GoldenValue> {
    values.sort_by(|a, b| (&a.subject, a.key).cmp(&(&b.subject, b.key)));
    values.dedup_by(|a, b| a.subject == b.subject && a.key == b.key);
    values.truncate(GOLDEN_MAX);
    values
}

/// What the inventory says of links and versions. A link that is down has no rate to compare with.
fn of_inventory(inventory: &Inventory) -> Vec<GoldenValue> {
    let mut values = Vec::new();
    let mut text = |subject: Subject, key: ReadingKey, version: &Outcome<String>| {
        if let Some(version) = version.value() {
            values.push(GoldenValue { subject, key, value: ReadingValue::Text(version.clone()) });
        }
    };
    text(Subject::Node, ReadingKey::FirmwareVersion, &inventory.bios_version);
    text(Subject::Node, ReadingKey::BmcVersion, &inventory.bmc_version);
    for disk in inventory.disks.value().into_iter().flatten() {
        text(Subject::Disk(disk.id.clone()), ReadingKey::FirmwareVersion, &disk.firmware_revision);
    }
    for gpu in inventory.gpus.value().into_iter().flatten() {
        text(Subject::Gpu(gpu.id.clone()), ReadingKey::FirmwareVersion, &gpu.firmware_version);
    }
    for nic in inventory.nics.value().into_iter().flatten() {
        if let (Some(true), Some(speed)) = (nic.link_up.value(), nic.speed_megabits.value()) {
            let value = ReadingValue::Count(*speed);
            values.push(GoldenValue {
                subject: Subject::Nic(nic.mac),
                key: ReadingKey::NicSpeedMegabits,
                value,
            });
        }
    }
    values
}

/// What the inventory says now of a golden value that stands in it. `Absent`: the part is not there, has none, or
/// its link is down.
pub(crate) fn in_inventory(
    inventory: &Inventory,
    subject: &Subject,
    key: ReadingKey,
) -> Outcome<ReadingValue> {
    let text = |version: &Outcome<String>| version.clone().map(ReadingValue::Text);
    match (key, subject) {
        (ReadingKey::FirmwareVersion, Subject::Node) => text(&inventory.bios_version),
        (ReadingKey::BmcVersion, Subject::Node) => text(&inventory.bmc_version),
        (ReadingKey::FirmwareVersion, Subject::Disk(id)) => {
            of_part(&inventory.disks, |disk| disk.id == *id, |disk| text(&disk.firmware_revision))
        }
        (ReadingKey::FirmwareVersion, Subject::Gpu(id)) => {
            of_part(&inventory.gpus, |gpu| gpu.id == *id, |gpu| text(&gpu.firmware_version))
        }
        (ReadingKey::NicSpeedMegabits, Subject::Nic(mac)) => {
            of_part(&inventory.nics, |nic| nic.mac == *mac, speed)
        }
        _ => Outcome::Absent,
    }
}

/// What a part says; of several that bear one name, as the members of a bond, the first that says anything.
fn of_part<T>(
    parts: &Outcome<Vec<T>>,
    is: impl Fn(&T) -> bool,
    told: impl Fn(&T) -> Outcome<ReadingValue>,
) -> Outcome<ReadingValue> {
    let parts = match parts {
        Outcome::Value(parts) => parts,
        Outcome::Absent => return Outcome::Absent,
        Outcome::Unreadable(why) => return Outcome::Unreadable(why.clone()),
    };
    let all = parts.iter().filter(|part| is(part)).map(told);
    let first = all.reduce(|one, other| match (one, other) {
        (Outcome::Value(value), _) | (_, Outcome::Value(value)) => Outcome::Value(value),
        (Outcome::Unreadable(why), _) | (_, Outcome::Unreadable(why)) => Outcome::Unreadable(why),
        (Outcome::Absent, Outcome::Absent) => Outcome::Absent,
    });
    first.unwrap_or(Outcome::Absent)
}

fn speed(nic: &NicFacts) -> Outcome<ReadingValue> {
    match &nic.link_up {
        Outcome::Value(true) => nic.speed_megabits.clone().map(ReadingValue::Count),
        Outcome::Value(false) | Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, mac};

    fn link(width: u64) -> Vec<GoldenValue> {
        let slot = Subject::PciDevice("0000:3b:00.0".to_owned());
        values(&Case::healthy().count(slot, ReadingKey::PcieLinkWidth, width).evidence)
    }

    #[test]
    fn what_is_compared_later_is_taken_and_nothing_else() {
        let situation = Case::healthy()
            .count(Subject::PciDevice("0000:3b:00.0".to_owned()), ReadingKey::PcieLinkWidth, 16)
            .unreadable(Subject::FabricPort("mlx5_0/1".to_owned()), ReadingKey::FabricRateMegabits)
            .evidence(|evidence| {
                evidence.inventory.bios_version = Outcome::Value("2.1".to_owned());
                evidence.inventory.bmc_version = Outcome::Unreadable("no BMC answers".to_owned());
                if let Outcome::Value(nics) = &mut evidence.inventory.nics {
                    nics[0].mac = mac(1);
                    nics[0].link_up = Outcome::Value(true);
                    nics[0].speed_megabits = Outcome::Value(25_000);
                }
            });
        let found = values(&situation.evidence);
        let value = |subject: &Subject, key| {
            found.iter().find(|value| &value.subject == subject && value.key == key).map(|value| &value.value)
        };
        let slot = Subject::PciDevice("0000:3b:00.0".to_owned());
        assert_eq!(value(&slot, ReadingKey::PcieLinkWidth), Some(&ReadingValue::Count(16)));
        let speed = value(&Subject::Nic(mac(1)), ReadingKey::NicSpeedMegabits);
        assert_eq!(speed, Some(&ReadingValue::Count(25_000)));
        let bios = value(&Subject::Node, ReadingKey::FirmwareVersion);
        assert_eq!(bios, Some(&ReadingValue::Text("2.1".to_owned())));
        assert_eq!(value(&Subject::Node, ReadingKey::BmcVersion), None);
        assert!(
            found.iter().all(|value| value.key != ReadingKey::FabricRateMegabits),
            "not read, not golden"
        );
        assert!(found.iter().all(|value| value.key != ReadingKey::DiskReadErrors));
        assert!(found.is_sorted_by(|a, b| (&a.subject, a.key) < (&b.subject, b.key)));
        let now = |subject: &Subject, key| in_inventory(&situation.evidence.inventory, subject, key);
        assert_eq!(now(&Subject::Nic(mac(1)), ReadingKey::NicSpeedMegabits).value(), speed);
        assert_eq!(now(&Subject::Node, ReadingKey::FirmwareVersion).value(), bios);
        let lost = now(&Subject::Node, ReadingKey::BmcVersion);
        assert_eq!(lost, Outcome::Unreadable("no BMC answers".to_owned()));
    }

    #[test]
    fn a_value_that_is_not_shown_now_is_not_forgotten() {
        let merged = merged(&link(16), &Case::healthy().evidence);
        assert!(merged.contains(&link(16)[0]));
        let situation = Case::healthy();
        let slot = Subject::PciDevice("0000:3b:00.0".to_owned());
        let now = situation.count(slot, ReadingKey::PcieLinkWidth, 8).evidence;
        let merged = super::merged(&link(16), &now);
        assert!(merged.contains(&link(8)[0]) && !merged.contains(&link(16)[0]), "what a person saw counts");
    }
}
