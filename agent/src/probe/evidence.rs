//! One run of all probes, as evidence.

use contract::evidence::Evidence;
use contract::id::{EvidenceId, NodeId};
use contract::inventory::SanitizeState;
use contract::reading::{Outcome, Reading, ReadingKey, ReadingValue, Subject, Tier, Trust};
use uuid::Uuid;

use super::deep::{self, Effort};
use super::disks::{self, FoundDisk};
use super::kernel_log::KernelLog;
use super::machine::{self, Spent, timed};
use super::raw_read::RawDisk;
use super::source::Source;
use super::{content_signatures, disk_health, disk_speed, file_systems, gpus, inventory, kernel};
use crate::clock::Clock;
use crate::node_partition::{self, NodePartition};

/// A reading before it has time, boot and trust.
pub type Found = (Subject, ReadingKey, Outcome<ReadingValue>);

/// Who looks, at what, and how deep.
#[derive(Debug, Clone)]
pub struct Looking {
    /// Whose machine this is.
    pub node: NodeId,
    /// How deep.
    pub tier: Tier,
    /// How far it can be believed.
    pub trust: Trust,
    /// Where to look.
    pub source: Source,
    /// What time it is.
    pub clock: Clock,
}

/// What was seen, with the ways to reach it in this boot.
#[derive(Debug, Clone)]
pub struct Look {
    /// What is reported.
    pub evidence: Evidence,
    /// The disks.
    pub disks: Outcome<Vec<FoundDisk>>,
    /// The node's own partition.
    pub node_partition: Outcome<NodePartition>,
    /// What the checks took.
    pub spent: Vec<Spent>,
}

/// The checks that are part of looking at each disk.
const DISK_CHECKS: &[u8] = &[7, 9, 11, 12, 13];

impl Look {
    /// Adds what was found besides, and keeps the order. A later look at the same thing replaces the
    /// earlier one, but read errors of both count.
    pub fn add(&mut self, found: Vec<Found>, clock: &Clock) {
        let (boot_id, trust) = (self.evidence.boot_id, self.evidence.trust);
        let observed_at = clock.now();
        for (subject, key, outcome) in found {
            let readings = &mut self.evidence.readings;
            let earlier = readings.iter().position(|one| one.subject == subject && one.key == key);
            let outcome = match earlier.map(|at| readings.swap_remove(at).outcome) {
                Some(earlier) if key == ReadingKey::DiskReadErrors => sum(earlier, outcome),
                _ => outcome,
            };
            readings.push(Reading { subject, key, outcome, observed_at, boot_id, trust });
        }
        self.evidence.sort();
        self.evidence.taken_at = clock.now();
    }
}

/// Both counts together; what could not be counted stays unknown.
fn sum(one: Outcome<ReadingValue>, other: Outcome<ReadingValue>) -> Outcome<ReadingValue> {
    match (one, other) {
        (Outcome::Value(ReadingValue::Count(one)), Outcome::Value(ReadingValue::Count(other))) => {
            Outcome::Value(ReadingValue::Count(one.saturating_add(other)))
        }
        (unreadable @ Outcome::Unreadable(_), _) | (_, unreadable) => unreadable,
    }
}

/// Runs all probes but the image check, which needs what only the service knows.
pub fn look(looking: &Looking, kernel_log: &mut KernelLog) -> Look {
    let source = &looking.source;
    let (boot_id, _) = kernel::boot_id(source);
    let mut disks = disks::read(source);
    if looking.trust >= Trust::Ramdisk && source.is_machine() {
        disks::open_ours(&mut disks);
    }
    let mut spent = Vec::new();
    let mut found = machine::read(source, &mut spent);
    if let Outcome::Value(disks) = &disks {
        found.extend(timed(&mut spent, DISK_CHECKS, || look_at_disks(disks, looking)));
    }
    // A burn-in has done more than this before, and adds what it found.
    if looking.tier == Tier::T2 && source.is_machine() {
        found.extend(timed(&mut spent, &[29], || deep::read(source, Effort::QUICK)));
    }
    let node_partition = node_partition::find(&disks);
    found.extend(node_partition::readings(&node_partition));
    let gpus = timed(&mut spent, &[25, 26], || gpus::read(source));
    found.extend(gpus.readings);
    // Last, so that what the reads above provoked is in it.
    found.extend(timed(&mut spent, &[15, 18, 19, 24], || kernel_log.look(source)));
    let evidence = Evidence {
        id: EvidenceId(Uuid::new_v4()),
        node: looking.node,
        taken_at: looking.clock.now(),
        boot_id,
        trust: looking.trust,
        tier: looking.tier,
        agent_version: crate::VERSION.to_owned(),
        inventory: timed(&mut spent, &[2, 8, 10, 28], || inventory::read(source, &disks, gpus.facts)),
        readings: Vec::new(),
    };
    let mut look = Look { evidence, disks, node_partition, spent };
    look.add(found, &looking.clock);
    look
}

/// Looks at all disks side by side: on a server with many, one slow disk must not hold up the rest.
fn look_at_disks(disks: &[FoundDisk], looking: &Looking) -> Vec<Found> {
    std::thread::scope(|scope| {
        let running: Vec<_> =
            disks.iter().map(|disk| (disk, scope.spawn(move || look_at_disk(disk, looking)))).collect();
        running
            .into_iter()
            .flat_map(|(disk, thread)| thread.join().unwrap_or_else(|_| broken_off(disk)))
            .collect()
    })
}

fn broken_off(disk: &FoundDisk) -> Vec<Found> {
    let subject = Subject::Disk(disk.facts.id.clone());
    let why = Outcome::Unreadable("looking at the disk broke off".to_owned());
    [ReadingKey::DiskReadErrors, ReadingKey::DiskContentSignatures]
        .map(|key| (subject.clone(), key, why.clone()))
        .to_vec()
}

fn look_at_disk(disk: &FoundDisk, looking: &Looking) -> Vec<Found> {
    let subject = Subject::Disk(disk.facts.id.clone());
    let mut found = disk_health::read(disk);
    let read_only = Outcome::Value(ReadingValue::Flag(disk.facts.read_only));
    found.push((subject.clone(), ReadingKey::DiskReadOnly, read_only));
    let samples = match looking.tier {
        Tier::T0 | Tier::T1 => content_signatures::SAMPLES_QUICK,
        Tier::T2 | Tier::T3 => content_signatures::SAMPLES_DEEP,
    };
    if let Some(why) = refuses_reads(disk) {
        // What is refused says nothing of the medium, so no read is counted that failed: none was made.
        let signatures = Outcome::Unreadable(why.to_owned());
        found.push((subject.clone(), ReadingKey::DiskContentSignatures, signatures));
        found.push((subject, ReadingKey::DiskReadErrors, Outcome::Value(ReadingValue::Count(0))));
        return found;
    }
    let raw = match RawDisk::open(&disk.device, disk.facts.size_bytes) {
        Ok(raw) => raw,
        Err(error) => {
            let why = format!("cannot open {}: {error}", disk.device.display());
            for key in [ReadingKey::DiskReadErrors, ReadingKey::DiskContentSignatures] {
                found.push((subject.clone(), key, Outcome::Unreadable(why.clone())));
            }
            return found;
        }
    };
    let signatures = content_signatures::read(&raw, samples).map(ReadingValue::list);
    found.push((subject.clone(), ReadingKey::DiskContentSignatures, Outcome::from(signatures)));
    found.extend(file_systems::read(&raw, &disk.facts.kernel_name, &looking.source));
    if looking.tier == Tier::T2 {
        let speed = disk_speed::read(&raw, disk_speed::QUICK);
        found.push((subject.clone(), ReadingKey::DiskReadMegabytes, speed));
    }
    found.push((subject, ReadingKey::DiskReadErrors, Outcome::Value(ReadingValue::Count(raw.errors()))));
    found
}

/// Why a disk that may be sound gives nothing to read now. While a sanitize runs, and after one that
/// failed, the device refuses all I/O (NVM Express Base Specification, Sanitize Operations).
fn refuses_reads(disk: &FoundDisk) -> Option<&'static str> {
    match disk.facts.sanitize.value()?.state {
        SanitizeState::Running { .. } => Some("the disk is being sanitized and gives nothing to read"),
        SanitizeState::Failed => Some("a sanitize of the disk failed, and it gives nothing to read since"),
        SanitizeState::Never | SanitizeState::Done { .. } => None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use contract::inventory::{Composition, DiskFacts, SanitizeCapabilities, Transport};

    pub fn disk(state: SanitizeState) -> FoundDisk {
        let sanitize = SanitizeCapabilities {
            block: true,
            crypto: false,
            overwrite: false,
            block_estimate_seconds: None,
            crypto_estimate_seconds: None,
            overwrite_estimate_seconds: None,
            state,
            obstacles: vec![],
            sanitized_by: None,
        };
        let facts = DiskFacts {
            id: "nvme-one".parse().unwrap(),
            kernel_name: "none".to_owned(),
            transport: Transport::Scsi,
            model: Outcome::Absent,
            serial: Outcome::Absent,
            firmware_revision: Outcome::Absent,
            size_bytes: 1 << 20,
            logical_sector_bytes: 512,
            rotational: Outcome::Absent,
            read_only: false,
            removable: false,
            nvme: Outcome::Absent,
            ata: Outcome::Absent,
            sanitize: Outcome::Value(sanitize),
            locking: Outcome::Absent,
            write_same: Outcome::Absent,
            composition: Composition::Single,
        };
        FoundDisk { facts, device: "/nothing/there".into(), slot: "here".to_owned() }
    }

    #[test]
    fn a_disk_that_is_being_sanitized_is_unread_and_not_failing() {
        let looking = Looking {
            node: NodeId(Uuid::from_u128(1)),
            tier: Tier::T2,
            trust: Trust::Ramdisk,
            source: Source::recorded(std::path::Path::new("/nothing/there")),
            clock: Clock::machine(),
        };
        let of = |state, wanted| {
            let found = look_at_disk(&disk(state), &looking);
            found.into_iter().find(|(_, key, _)| *key == wanted).map(|(_, _, outcome)| outcome)
        };
        for state in [SanitizeState::Running { progress_65536: 1 }, SanitizeState::Failed] {
            let errors = of(state, ReadingKey::DiskReadErrors);
            assert_eq!(errors, Some(Outcome::Value(ReadingValue::Count(0))));
            let content = of(state, ReadingKey::DiskContentSignatures);
            assert!(matches!(content, Some(Outcome::Unreadable(_))), "nothing is known of its content");
        }
        let errors = of(SanitizeState::Never, ReadingKey::DiskReadErrors);
        assert!(matches!(errors, Some(Outcome::Unreadable(_))), "this one was to be read");
    }

    #[test]
    fn read_errors_add_up_and_the_unknown_stays() {
        let count = |count| Outcome::Value(ReadingValue::Count(count));
        let unknown = Outcome::Unreadable("gone".to_owned());
        assert_eq!(sum(count(1), count(2)), count(3));
        assert_eq!(sum(unknown.clone(), count(2)), unknown);
        assert_eq!(sum(count(2), unknown.clone()), unknown);
    }

    #[test]
    fn a_machine_that_shows_nothing_gives_evidence_full_of_reasons() {
        let root = tempfile::tempdir().unwrap();
        let looking = Looking {
            node: NodeId(Uuid::from_u128(1)),
            tier: Tier::T2,
            trust: Trust::Ramdisk,
            source: Source::recorded(root.path()),
            clock: Clock::machine(),
        };
        let look = look(&looking, &mut KernelLog::default());
        let outcome = |key| look.evidence.outcome(&Subject::Node, key);
        assert!(matches!(outcome(ReadingKey::KernelStorageErrors), Outcome::Unreadable(_)));
        let installed = look.evidence.outcome(&Subject::Image, ReadingKey::ImageInstalled);
        assert!(matches!(installed, Outcome::Unreadable(_)), "unseen disks may carry an image");
        assert!(matches!(look.evidence.inventory.disks, Outcome::Unreadable(_)));
        let mut sorted = look.evidence.clone();
        sorted.sort();
        assert_eq!(sorted, look.evidence);
    }
}
