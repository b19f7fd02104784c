//! What the disks say of their own health, whatever they speak.

use std::fs::File;
use std::io;
use std::path::Path;

use contract::inventory::Transport;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use super::ata_port::AtaPort;
use super::disks::FoundDisk;
use super::evidence::Found;
use super::{ata_self_test, ata_smart, nvme_self_test, nvme_smart, scsi_health};

/// Outcomes by key.
type Readings = Vec<(ReadingKey, Outcome<ReadingValue>)>;

/// Keys that move while a disk does nothing but its work, so that a change of them is no news.
pub const ALWAYS_MOVING: [ReadingKey; 2] = [ReadingKey::DiskPowerOnHours, ReadingKey::DiskBytesWritten];

/// The disk's own counters and its newest self-test, with every key of every kind of disk: what this kind
/// does not have is absent.
#[must_use]
pub fn read(disk: &FoundDisk) -> Vec<Found> {
    let device = disk.device.as_path();
    let asked = match disk.facts.transport {
        Transport::Nvme => {
            with_self_test(nvme_smart::read(device), device, |file| nvme_self_test::read(file))
        }
        Transport::Ata => {
            with_self_test(ata_smart::read(device), device, |file| ata_self_test::read(&AtaPort::new(file)))
        }
        // A volume of a RAID controller is asked as well and answers for itself, which says nothing of the
        // disks behind it; that it is one stands in the inventory.
        Transport::Scsi => scsi_health::read(device),
        Transport::Virtio | Transport::Usb | Transport::Other => Vec::new(),
    };
    let subject = Subject::Disk(disk.facts.id.clone());
    completed(asked).into_iter().map(|(key, outcome)| (subject.clone(), key, outcome)).collect()
}

fn with_self_test(
    mut readings: Readings,
    device: &Path,
    read: impl FnOnce(&File) -> Outcome<ReadingValue>,
) -> Readings {
    let outcome = match File::open(device) {
        Ok(file) => read(&file),
        Err(error) => cannot_open(device, &error),
    };
    readings.push((ReadingKey::DiskSelfTestFailed, outcome));
    readings
}

fn cannot_open(device: &Path, error: &io::Error) -> Outcome<ReadingValue> {
    Outcome::Unreadable(format!("cannot open {}: {error}", device.display()))
}

/// With the keys that nobody was asked for, as absent; each key once.
fn completed(mut readings: Readings) -> Readings {
    for key in ata_smart::KEYS.into_iter().chain(nvme_smart::KEYS).chain(scsi_health::KEYS) {
        if !readings.iter().any(|(known, _)| *known == key) {
            readings.push((key, Outcome::Absent));
        }
    }
    readings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::evidence::tests::disk;
    use contract::inventory::SanitizeState;
    use std::collections::BTreeSet;

    fn found(transport: Transport) -> Vec<Found> {
        let mut disk = disk(SanitizeState::Never);
        disk.facts.transport = transport;
        read(&disk)
    }

    #[test]
    fn every_kind_of_disk_has_every_key_once() {
        let kinds = [Transport::Nvme, Transport::Ata, Transport::Scsi, Transport::Virtio, Transport::Usb];
        for transport in kinds {
            let readings = found(transport);
            let keys: BTreeSet<_> = readings.iter().map(|(_, key, _)| *key).collect();
            assert_eq!((keys.len(), readings.len()), (21, 21), "{transport:?}");
        }
    }

    #[test]
    fn a_disk_that_cannot_be_asked_is_unknown_and_another_kind_s_counters_are_absent() {
        let outcome =
            |transport, wanted| found(transport).into_iter().find(|(_, key, _)| *key == wanted).unwrap().2;
        for (transport, key) in [
            (Transport::Nvme, ReadingKey::DiskPowerOnHours),
            (Transport::Nvme, ReadingKey::DiskSelfTestFailed),
            (Transport::Ata, ReadingKey::DiskBytesWritten),
            (Transport::Ata, ReadingKey::DiskSelfTestFailed),
            (Transport::Scsi, ReadingKey::ScsiFailurePredicted),
            (Transport::Scsi, ReadingKey::DiskSelfTestFailed),
        ] {
            assert!(matches!(outcome(transport, key), Outcome::Unreadable(_)), "{transport:?} {key}");
        }
        assert_eq!(outcome(Transport::Nvme, ReadingKey::AtaSpinRetries), Outcome::Absent);
        assert_eq!(outcome(Transport::Virtio, ReadingKey::DiskSelfTestFailed), Outcome::Absent);
    }
}
