//! One look at the running system: all probes, the files against the image, and the judgement.

use contract::agent_api::ContextReply;
use contract::evidence::Evidence;
use contract::id::{Digest, NodeId};
use contract::reading::{Outcome, ReadingKey, Subject, Tier, Trust};
use imaging::manifest::Manifest;

use super::state::State;
use crate::clock::Clock;
use crate::image_check::check_in_place;
use crate::judging::{self, Judged};
use crate::probe::disks::{self, FoundDisk};
use crate::probe::evidence::{Found, Look, Looking, look};
use crate::probe::kernel_log::KernelLog;
use crate::probe::raw_read::RawDisk;
use crate::probe::source::Source;
use crate::probe::{data_partitions, disk_health};

/// What a look needs to know.
#[derive(Debug)]
pub struct Examination {
    /// Whose machine this is.
    pub node: NodeId,
    /// How deep.
    pub tier: Tier,
    /// Where to look.
    pub source: Source,
    /// What time it is.
    pub clock: Clock,
    /// The manifest of the assigned image, or why there is none.
    pub manifest: Result<Manifest, String>,
    /// Where file digests are kept.
    pub state: State,
}

/// Looks. The evidence is a resident's: whoever judges it takes it for no more.
pub fn examine(examination: &Examination, kernel_log: &mut KernelLog) -> Look {
    let looking = Looking {
        node: examination.node,
        tier: examination.tier,
        trust: Trust::Resident,
        source: examination.source.clone(),
        clock: examination.clock,
    };
    let mut seen = look(&looking, kernel_log);
    if let Err(error) = examination.state.keep_kernel_log(kernel_log, seen.evidence.boot_id) {
        tracing::debug!("cannot keep what was found in the kernel's log: {error}");
    }
    let measured = compare(examination, &seen);
    seen.add(measured, &examination.clock);
    seen
}

fn compare(examination: &Examination, seen: &Look) -> Vec<Found> {
    let manifest = match &examination.manifest {
        Ok(manifest) => manifest,
        Err(why) => return not_compared(why),
    };
    let mut files = examination.state.files();
    let disk = os_disk(seen);
    let root = examination.source.path("");
    let device = disk.map(|disk| disk.device.as_path());
    let mut measured = check_in_place(&root, device, manifest, &mut files);
    // With another image on the disk, its partitions would be taken for data.
    if is_installed(manifest, seen) {
        measured.extend(disk.map(|disk| data_beside(disk, manifest)));
    }
    if let Err(error) = examination.state.keep_files(&files) {
        tracing::debug!("cannot keep which files were read, the next check reads them again: {error}");
    }
    measured
}

fn not_compared(why: &str) -> Vec<Found> {
    [
        ReadingKey::ImagePartitionsAltered,
        ReadingKey::ImageFilesAltered,
        ReadingKey::ImageFilesMissing,
        ReadingKey::ImageFilesForeign,
        ReadingKey::ImageFilesChecked,
    ]
    .map(|key| (Subject::Image, key, Outcome::Unreadable(format!("not compared: {why}"))))
    .to_vec()
}

fn is_installed(manifest: &Manifest, seen: &Look) -> bool {
    let partition = seen.node_partition.value();
    let installed = partition.and_then(|partition| partition.identity.value()).map(|identity| identity.image);
    installed.is_some() && manifest.id().ok() == installed
}

/// The partitions on the system's disk that are neither the image's nor ours: errors of their file systems
/// are no reason to write the image again.
fn data_beside(disk: &FoundDisk, manifest: &Manifest) -> Found {
    let outcome = match RawDisk::open(&disk.device, disk.facts.size_bytes) {
        Ok(raw) => data_partitions::read(&raw, &[manifest]),
        Err(error) => Outcome::Unreadable(format!("could not open disk {}: {error}", disk.facts.id)),
    };
    (Subject::Disk(disk.facts.id.clone()), ReadingKey::DiskDataPartitions, outcome)
}

/// The disk that the node's own partition is on.
fn os_disk(seen: &Look) -> Option<&FoundDisk> {
    let (Outcome::Value(partition), Outcome::Value(disks)) = (&seen.node_partition, &seen.disks) else {
        return None;
    };
    disks.iter().find(|disk| disk.facts.id == partition.disk)
}

/// The cheap part of a look: kernel log and disk health. If it differs from last time, a whole look is due.
pub fn quick_digest(source: &Source, kernel_log: &mut KernelLog) -> Digest {
    let mut found = kernel_log.look(source);
    match disks::list(source) {
        Outcome::Value(disks) => found.extend(disks.iter().flat_map(disk_health::read)),
        Outcome::Absent => {}
        Outcome::Unreadable(why) => {
            found.push((Subject::Node, ReadingKey::DiskReadErrors, Outcome::Unreadable(why)));
        }
    }
    found.retain(|(_, key, _)| !disk_health::ALWAYS_MOVING.contains(key));
    Digest::of(&serde_json::to_vec(&found).unwrap_or_default())
}

/// Judges with what the service has said, now or earlier.
///
/// # Errors
/// If the policy cannot be read.
pub fn judge(seen: &Look, context: &ContextReply, clock: &Clock) -> anyhow::Result<Judged> {
    judging::judge(&seen.evidence, context, clock.now(), Digest([0; 32]))
}

/// Keys that are never the same twice, so that a change of them is no news: what lies in samples of a disk in
/// use, and how warm it is.
const ALWAYS_ANOTHER: [ReadingKey; 2] =
    [ReadingKey::DiskContentSignatures, ReadingKey::TemperatureMillicelsius];

/// A digest of what was seen, without when: two looks at an unchanged machine have the same.
#[must_use]
pub fn digest(evidence: &Evidence) -> Digest {
    let readings: Vec<_> = evidence
        .readings
        .iter()
        .filter(|reading| !ALWAYS_ANOTHER.contains(&reading.key))
        .filter(|reading| !disk_health::ALWAYS_MOVING.contains(&reading.key))
        .map(|reading| (&reading.subject, reading.key, &reading.outcome))
        .collect();
    // Types that serialize without fail; if one did not, every look would count as changed.
    Digest::of(&serde_json::to_vec(&(evidence.boot_id, readings, &evidence.inventory)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use contract::reading::ReadingValue;
    use imaging::chunk::CHUNK_BYTES;
    use imaging::layout::{DiskLayout, LayoutRequest};

    use super::*;
    use crate::act::fixture::{data_partition, disk_facts, disk_id, image, layout_request};

    #[test]
    fn data_beside_the_image_are_listed_and_a_disk_that_does_not_open_is_not_without() {
        let image = image();
        let data = data_partition();
        let keep = [data.clone()];
        let request = LayoutRequest { keep: &keep, ..layout_request(64 << 20) };
        let layout = DiskLayout::compute(&image.manifest, &image.bytes[..CHUNK_BYTES], &request).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("disk");
        std::fs::write(&device, &layout.first_chunk).unwrap();
        std::fs::File::options().write(true).open(&device).unwrap().set_len(64 << 20).unwrap();
        let mut disk = FoundDisk { facts: disk_facts(disk_id(), 64 << 20), device, slot: "here".to_owned() };
        let found = data_beside(&disk, &image.manifest);
        let listed = ReadingValue::list(vec![serde_json::to_string(&data).unwrap()]);
        let subject = Subject::Disk(disk_id());
        assert_eq!(found, (subject, ReadingKey::DiskDataPartitions, Outcome::Value(listed)));
        disk.device = folder.path().join("none");
        assert!(matches!(data_beside(&disk, &image.manifest).2, Outcome::Unreadable(_)));
    }

    #[test]
    fn two_looks_at_one_machine_have_one_digest() {
        let root = tempfile::tempdir().unwrap();
        let examination = Examination {
            node: NodeId(uuid::Uuid::from_u128(1)),
            tier: Tier::T0,
            source: Source::recorded(root.path()),
            clock: Clock::machine(),
            manifest: Err("nothing is assigned".to_owned()),
            state: State::at(root.path()),
        };
        let first = examine(&examination, &mut KernelLog::default());
        let second = examine(&examination, &mut KernelLog::default());
        assert_ne!(first.evidence.id, second.evidence.id);
        assert_eq!(digest(&first.evidence), digest(&second.evidence));
        std::fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
        std::fs::write(root.path().join("proc/sys/kernel/tainted"), "1").unwrap();
        let third = examine(&examination, &mut KernelLog::default());
        assert_ne!(digest(&first.evidence), digest(&third.evidence));
        let warmer = |text: &str| {
            std::fs::create_dir_all(root.path().join("sys/class/hwmon/hwmon0")).unwrap();
            std::fs::write(root.path().join("sys/class/hwmon/hwmon0/temp1_input"), text).unwrap();
            digest(&examine(&examination, &mut KernelLog::default()).evidence)
        };
        assert_eq!(warmer("40000"), warmer("41000"), "how warm it is is no news");
        let why = third.evidence.outcome(&Subject::Image, ReadingKey::ImageFilesAltered);
        assert_eq!(why, Outcome::Unreadable("not compared: nothing is assigned".to_owned()));
    }
}
