//! What the disks say of their own health, whatever they speak.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use contract::inventory::Transport;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use super::ata_port::AtaPort;
use super::disks::FoundDisk;
use super::evidence::Found;
use super::{ata_self_test, ata_smart, nvme_self_test, nvme_smart, scsi_health};

/// Outcomes by key.
type Readings = Vec<(ReadingKey, Outcome<ReadingValue>)>;

/// Before the second and before the third try; a disk is back from a reset of its link by the first, and
/// mostly from one of its controller by the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(1000)];

/// Keys that move while a disk does nothing but its work, so that a change of them is no news.
pub const ALWAYS_MOVING: [ReadingKey; 2] = [ReadingKey::DiskPowerOnHours, ReadingKey::DiskBytesWritten];

/// The disk's own counters and its newest self-test, with every key of every kind of disk: what this kind
/// does not have is absent.
#[must_use]
pub fn read(disk: &FoundDisk) -> Vec<Found> {
    read_with(disk, std::thread::sleep)
}

fn read_with(disk: &FoundDisk, pause: impl FnMut(Duration)) -> Vec<Found> {
    let asked = asked_until_read(|| ask(disk), pause);
    let subject = Subject::Disk(disk.facts.id.clone());
    completed(asked).into_iter().map(|(key, outcome)| (subject.clone(), key, outcome)).collect()
}

fn ask(disk: &FoundDisk) -> Readings {
    let device = disk.device.as_path();
    match disk.facts.transport {
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
    }
}

/// A page that could not be read is asked for twice more before it is said to be unreadable: a node may be
/// taken out for it. What was read at an earlier try stays.
fn asked_until_read(mut ask: impl FnMut() -> Readings, mut pause: impl FnMut(Duration)) -> Readings {
    let mut readings = ask();
    for time in PAUSES {
        if readings.iter().all(|(_, outcome)| !matches!(outcome, Outcome::Unreadable(_))) {
            break;
        }
        pause(time);
        fill_in(&mut readings, &ask());
    }
    readings
}

/// What another try could read; and of what it could not, both reasons where they differ.
fn fill_in(readings: &mut Readings, again: &Readings) {
    for (key, outcome) in readings {
        let Outcome::Unreadable(before) = outcome else { continue };
        match again.iter().find(|(known, _)| known == key) {
            Some((_, Outcome::Unreadable(now))) if before.ends_with(now.as_str()) => {}
            Some((_, Outcome::Unreadable(now))) => {
                *outcome = Outcome::Unreadable(format!("{before}; at another try: {now}"));
            }
            Some((_, value)) => *outcome = value.clone(),
            None => {}
        }
    }
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
        read_with(&disk, |_| ())
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
    fn what_could_not_be_read_is_asked_for_twice_more_and_what_was_read_stays() {
        let (key, other) = (ReadingKey::NvmeMediaErrors, ReadingKey::NvmePercentageUsed);
        let count = |count| Outcome::Value(ReadingValue::Count(count));
        let unread = |why: &str| Outcome::Unreadable(why.to_owned());
        let try_all = |answers: &[[Outcome<ReadingValue>; 2]]| {
            let mut answers = answers.iter();
            let (mut asked, mut pauses) = (0, Vec::new());
            let next = || {
                asked += 1;
                answers.next().map(|[a, b]| vec![(key, a.clone()), (other, b.clone())]).unwrap()
            };
            let readings = asked_until_read(next, |time| pauses.push(time));
            assert_eq!(pauses, PAUSES[..asked - 1]);
            let outcomes: Vec<_> = readings.into_iter().map(|(_, outcome)| outcome).collect();
            (outcomes, asked)
        };
        assert_eq!(try_all(&[[count(1), count(2)]]), (vec![count(1), count(2)], 1));
        let second = [[unread("EIO"), count(2)], [count(7), count(3)]];
        assert_eq!(try_all(&second), (vec![count(7), count(2)], 2));
        let third = [[unread("EIO"), count(2)], [unread("EIO"), unread("EIO")], [count(7), count(3)]];
        assert_eq!(try_all(&third), (vec![count(7), count(2)], 3));
        let lost = [unread("EIO"), unread("EIO"), unread("ENODEV")].map(|why| [why, count(2)]);
        let both = unread("EIO; at another try: ENODEV");
        assert_eq!(try_all(&lost), (vec![both, count(2)], 3));
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
