//! What of a disk is beside what is erased: which parts, and whether this disk has them.

use contract::certificate_api::{DiskArea, UncoveredArea};
use contract::inventory::{DiskFacts, LockingState, SeparateMemory, Transport};
use contract::reading::Outcome;

/// The parts of this disk that are not erased, or erased on the device's word alone, those that it does not
/// have included: who reads a certificate must see that it was looked for. What could not be read is said
/// as such.
#[must_use]
pub fn not_covered(disk: &DiskFacts) -> Vec<UncoveredArea> {
    let there = |text: &str| Outcome::Value(text.to_owned());
    let mut areas = vec![
        (DiskArea::Firmware, there("not touched")),
        (
            DiskArea::RetiredAndSpareBlocks,
            there("how many is not known; they cannot be addressed and were not read back"),
        ),
    ];
    match disk.transport {
        Transport::Nvme => areas.extend(nvme(disk)),
        Transport::Ata => areas.push((DiskArea::HiddenBlocks, hidden(disk))),
        Transport::Scsi => areas.push((DiskArea::HiddenBlocks, not_asked_of_scsi())),
        Transport::Virtio | Transport::Usb | Transport::Other => {}
    }
    if matches!(disk.transport, Transport::Nvme | Transport::Ata | Transport::Scsi) {
        areas.push((DiskArea::LockingTables, disk.locking.clone().map(locking_in_words)));
    }
    areas.into_iter().map(|(area, presence)| UncoveredArea { area, presence }).collect()
}

fn nvme(disk: &DiskFacts) -> [(DiskArea, Outcome<String>); 3] {
    let (replay_protected, boot_partitions) = match &disk.nvme {
        Outcome::Value(nvme) => (nvme.replay_protected.clone(), nvme.boot_partitions.clone()),
        Outcome::Absent => (not_reported(), not_reported()),
        Outcome::Unreadable(why) => (Outcome::Unreadable(why.clone()), Outcome::Unreadable(why.clone())),
    };
    let register = "only a register of the controller says, which the kernel lets nobody read";
    [
        (DiskArea::ReplayProtectedMemory, replay_protected.map(memory_in_words)),
        (DiskArea::BootPartitions, boot_partitions.map(memory_in_words)),
        (DiskArea::PersistentMemoryRegion, Outcome::Unreadable(register.to_owned())),
    ]
}

fn locking_in_words(state: LockingState) -> String {
    if state.enabled {
        "in use; may hold what a host put there, not touched".to_owned()
    } else {
        "not in use, not touched".to_owned()
    }
}

fn hidden(disk: &DiskFacts) -> Outcome<String> {
    match &disk.ata {
        Outcome::Value(ata) => match &ata.hidden_bytes {
            Outcome::Value(0) | Outcome::Absent => Outcome::Absent,
            Outcome::Value(bytes) => Outcome::Value(format!("{bytes} bytes")),
            Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
        },
        Outcome::Absent => not_reported(),
        Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
    }
}

/// What a SCSI disk hides: nobody asks for it. A capacity may be set below the native one (MODE SELECT), and
/// behind a translator stands an ATA disk, which has ways of its own.
pub(crate) fn not_asked_of_scsi<T>() -> Outcome<T> {
    Outcome::Unreadable("not asked of a SCSI disk, which may stand behind a translator".to_owned())
}

fn not_reported<T>() -> Outcome<T> {
    Outcome::Unreadable("what the disk can do was not reported".to_owned())
}

fn memory_in_words(memory: SeparateMemory) -> String {
    match memory.bytes_each {
        Some(bytes) => format!("{} of {} KiB each, not touched", memory.count, bytes / 1024),
        None => format!("{} whose size is not said, not touched", memory.count),
    }
}

/// A part of a disk in words.
#[must_use]
pub fn area_in_words(area: DiskArea) -> &'static str {
    match area {
        DiskArea::Firmware => "firmware",
        DiskArea::RetiredAndSpareBlocks => "retired and spare blocks",
        DiskArea::ReplayProtectedMemory => "replay-protected memory (RPMB)",
        DiskArea::BootPartitions => "boot partitions",
        DiskArea::PersistentMemoryRegion => "persistent memory region",
        DiskArea::LockingTables => "tables of self-encryption (TCG)",
        DiskArea::HiddenBlocks => "hidden blocks (HPA, DCO, accessible maximum)",
    }
}

/// Whether a disk has a part, in words: `present: …`, `not present` or `could not be read: …`.
#[must_use]
pub fn presence_in_words(presence: &Outcome<String>) -> String {
    match presence {
        Outcome::Value(what) => format!("present: {what}"),
        Outcome::Absent => "not present".to_owned(),
        Outcome::Unreadable(why) => format!("could not be read: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::testing::Known;
    use contract::inventory::{AtaCapabilities, NvmeCapabilities};

    fn disk(transport: Transport) -> DiskFacts {
        let Outcome::Value(disks) = Known::good().evidence.inventory.disks else { panic!() };
        DiskFacts { transport, ..disks.into_iter().next().unwrap() }
    }

    fn words(disk: &DiskFacts, area: DiskArea) -> Option<String> {
        let found = not_covered(disk).into_iter().find(|found| found.area == area);
        found.map(|found| presence_in_words(&found.presence))
    }

    /// Could not look, looked and found nothing, and found some are three things, for every part.
    #[test]
    fn what_was_not_read_is_never_none() {
        let with = |replay_protected, boot_partitions| DiskFacts {
            nvme: Outcome::Value(NvmeCapabilities {
                format: true,
                format_covers_all_namespaces: false,
                erase_covers_all_namespaces: false,
                crypto_erase: true,
                namespaces: Outcome::Value(1),
                replay_protected,
                boot_partitions,
            }),
            ..disk(Transport::Nvme)
        };
        let memory = |bytes_each| Outcome::Value(SeparateMemory { count: 2, bytes_each });
        let unread = || Outcome::Unreadable("EIO".to_owned());
        for (outcome, said) in [
            (memory(Some(128 << 10)), "present: 2 of 128 KiB each, not touched"),
            (memory(None), "present: 2 whose size is not said, not touched"),
            (Outcome::Absent, "not present"),
            (unread(), "could not be read: EIO"),
        ] {
            let found = with(outcome.clone(), unread());
            assert_eq!(words(&found, DiskArea::ReplayProtectedMemory).as_deref(), Some(said));
            let found = with(unread(), outcome);
            assert_eq!(words(&found, DiskArea::BootPartitions).as_deref(), Some(said));
        }
        let unread = DiskFacts { nvme: Outcome::Unreadable("ETIME".to_owned()), ..disk(Transport::Nvme) };
        for area in
            [DiskArea::ReplayProtectedMemory, DiskArea::BootPartitions, DiskArea::PersistentMemoryRegion]
        {
            for disk in [&unread, &disk(Transport::Nvme)] {
                assert!(words(disk, area).unwrap().starts_with("could not be read"), "{area:?}");
            }
        }
    }

    #[test]
    fn an_agent_that_does_not_look_has_not_seen_that_there_is_none() {
        let older = r#"{"format":true,"format_covers_all_namespaces":false,
            "erase_covers_all_namespaces":false,"crypto_erase":false,"namespaces":{"outcome":"value","of":1}}"#;
        let older: NvmeCapabilities = serde_json::from_str(older).unwrap();
        assert!(matches!(older.replay_protected, Outcome::Unreadable(_)));
        assert!(matches!(older.boot_partitions, Outcome::Unreadable(_)));
    }

    #[test]
    fn hidden_blocks_are_said_of_ata_disks_and_never_none_of_scsi_disks() {
        let ata = |hidden_bytes| DiskFacts {
            ata: Outcome::Value(AtaCapabilities {
                security_supported: true,
                security_enabled: false,
                security_locked: false,
                security_frozen: false,
                security_count_expired: false,
                enhanced_erase: true,
                erase_estimate_minutes: None,
                enhanced_estimate_minutes: None,
                hidden_bytes,
            }),
            ..disk(Transport::Ata)
        };
        for (hidden, said) in [
            (Outcome::Value(0), "not present"),
            (Outcome::Value(512), "present: 512 bytes"),
            (Outcome::Unreadable("EIO".to_owned()), "could not be read: EIO"),
        ] {
            assert_eq!(words(&ata(hidden), DiskArea::HiddenBlocks).as_deref(), Some(said));
        }
        assert!(words(&disk(Transport::Ata), DiskArea::HiddenBlocks).unwrap().starts_with("could not"));
        let areas = |transport| -> Vec<DiskArea> {
            not_covered(&disk(transport)).into_iter().map(|found| found.area).collect()
        };
        assert_eq!(areas(Transport::Virtio), [DiskArea::Firmware, DiskArea::RetiredAndSpareBlocks]);
        assert_eq!(areas(Transport::Scsi)[2..], [DiskArea::HiddenBlocks, DiskArea::LockingTables]);
        let scsi = words(&disk(Transport::Scsi), DiskArea::HiddenBlocks).unwrap();
        assert!(scsi.starts_with("could not be read"), "{scsi}");
        let state =
            |enabled| LockingState { enabled, locked: false, shadow_enabled: false, shadow_done: false };
        for (locking, said) in [
            (Outcome::Value(state(true)), "present: in use; may hold what a host put there, not touched"),
            (Outcome::Value(state(false)), "present: not in use, not touched"),
            (Outcome::Absent, "not present"),
            (Outcome::Unreadable("EIO".to_owned()), "could not be read: EIO"),
        ] {
            let disk = DiskFacts { locking, ..disk(Transport::Scsi) };
            assert_eq!(words(&disk, DiskArea::LockingTables).as_deref(), Some(said));
        }
    }
}
