//! The parts of a node that a forecast is made for, and what their signs read.

use contract::inventory::{Composition, DiskFacts, Transport};
use contract::outlook::ComponentKind;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use crate::facts::Facts;
use crate::model::{Counts, Sign};

/// A name that a device gives itself is cut to this, in bytes.
const NAME_MAX: usize = 80;
const DAY_HOURS: u64 = 24;

/// One part.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    pub subject: Subject,
    pub kind: ComponentKind,
    pub hardware_model: &'a str,
    /// How it is attached, if it is a disk.
    transport: Option<Transport>,
}

impl<'a> Part<'a> {
    /// A part that stands in no machine.
    pub fn alone(kind: ComponentKind, hardware_model: &'a str) -> Self {
        Self { subject: Subject::Node, kind, hardware_model, transport: None }
    }

    /// Whether such a part could show this sign.
    pub fn has(&self, sign: &Sign) -> bool {
        let at_home = match (home_of(sign.key), self.transport) {
            (Some(home), Some(transport)) => home == transport,
            (None, _) => true,
            (Some(_), None) => false,
        };
        sign.kind == self.kind && at_home
    }
}

/// The only kind of disk that has this reading; none if any may.
fn home_of(key: ReadingKey) -> Option<Transport> {
    match key {
        ReadingKey::AtaReallocatedSectors
        | ReadingKey::AtaReportedUncorrectable
        | ReadingKey::AtaPendingSectors
        | ReadingKey::AtaOfflineUncorrectable
        | ReadingKey::AtaSpinRetries
        | ReadingKey::AtaCommandTimeouts
        | ReadingKey::AtaInterfaceCrcErrors
        | ReadingKey::AtaSmartThresholdExceeded => Some(Transport::Ata),
        ReadingKey::NvmeMediaErrors
        | ReadingKey::NvmePercentageUsed
        | ReadingKey::NvmeCriticalWarning
        | ReadingKey::NvmeCriticalTemperatureMinutes
        | ReadingKey::NvmeWarningTemperatureMinutes
        | ReadingKey::NvmeUnsafeShutdowns => Some(Transport::Nvme),
        ReadingKey::ScsiGrownDefects => Some(Transport::Scsi),
        _ => None,
    }
}

/// What kind of disk it is, as far as can be told. What is behind a volume or a virtual disk is not seen.
pub(crate) fn kind_of(disk: &DiskFacts) -> ComponentKind {
    match (disk.transport, &disk.rotational) {
        (Transport::Virtio, _) => ComponentKind::VirtualDisk,
        _ if disk.composition == Composition::RaidVolume => ComponentKind::VirtualDisk,
        (Transport::Nvme, _) | (_, Outcome::Value(false)) => ComponentKind::FlashDisk,
        // The likelier to fail, where nobody knows.
        (_, Outcome::Value(true) | Outcome::Absent | Outcome::Unreadable(_)) => ComponentKind::HardDisk,
    }
}

/// All parts, disks first.
pub(super) fn of<'a>(facts: &Facts<'a>) -> Vec<Part<'a>> {
    let inventory = &facts.evidence.inventory;
    let disks = facts.disks().unwrap_or_default().iter().filter(|disk| !disk.removable);
    let mut parts: Vec<Part<'a>> = disks
        .map(|disk| Part {
            subject: Subject::Disk(disk.id.clone()),
            kind: kind_of(disk),
            hardware_model: name(&disk.model),
            transport: Some(disk.transport),
        })
        .collect();
    let machine =
        |kind, hardware_model| Part { subject: Subject::Node, kind, hardware_model, transport: None };
    parts.push(machine(ComponentKind::Memory, ""));
    parts.push(machine(ComponentKind::Processor, name(&inventory.cpu_model)));
    let gpus = inventory.gpus.value().map_or(&[][..], Vec::as_slice);
    parts.extend(gpus.iter().map(|gpu| Part {
        subject: Subject::Gpu(gpu.id.clone()),
        kind: ComponentKind::Gpu,
        hardware_model: name(&gpu.model),
        transport: None,
    }));
    parts
}

/// A name that a device gives itself, cut; empty where there is none.
pub(crate) fn name(outcome: &Outcome<String>) -> &str {
    let name = outcome.value().map_or("", |name| name.trim());
    let end = (0..=NAME_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    name.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// What a sign reads of a part; neither where such a part does not tell, or nobody ever saw that it does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// The most that could be read.
    pub most: Option<u64>,
    /// Something could not be read.
    pub lost: bool,
}

impl From<Outcome<u64>> for Shown {
    fn from(outcome: Outcome<u64>) -> Self {
        match outcome {
            Outcome::Value(value) => Self { most: Some(value), lost: false },
            Outcome::Absent => Self::default(),
            Outcome::Unreadable(_) => Self { most: None, lost: true },
        }
    }
}

/// What a sign reads of a part.
pub(super) fn value(facts: &Facts<'_>, part: &Part<'_>, sign: &Sign) -> Shown {
    if part.kind == ComponentKind::Memory {
        return of_all_modules(facts, sign);
    }
    let expected = part.transport.is_some() || facts.was_counted(&part.subject, sign.key);
    if !expected && !facts.was_tried(&part.subject, sign.key) {
        return Shown::default();
    }
    number(facts, &part.subject, sign).into()
}

/// The worst of what the memory controller says of the whole and of each module. One that cannot be read hides
/// nothing that another one says.
fn of_all_modules(facts: &Facts<'_>, sign: &Sign) -> Shown {
    let subjects = facts.subjects(sign.key);
    subjects
        .iter()
        .map(|subject| Shown::from(number(facts, subject, sign)))
        .fold(Shown::default(), |all, one| Shown { most: all.most.max(one.most), lost: all.lost || one.lost })
}

fn number(facts: &Facts<'_>, subject: &Subject, sign: &Sign) -> Outcome<u64> {
    let key = sign.key;
    match (sign.counts, facts.read(subject, key)) {
        (Counts::Total, Outcome::Value(ReadingValue::Count(count))) => Outcome::Value(count),
        (Counts::Change, Outcome::Value(ReadingValue::Count(_))) => {
            facts.change(subject, key).map(|change| change.count)
        }
        (Counts::Day, Outcome::Value(ReadingValue::Count(_))) => {
            facts.change(subject, key).map(|change| change.within_hours(DAY_HOURS))
        }
        (_, Outcome::Value(ReadingValue::Flag(flag))) => Outcome::Value(u64::from(flag)),
        (_, Outcome::Value(ReadingValue::List { total, .. })) => Outcome::Value(total),
        (_, Outcome::Value(ReadingValue::Text(_))) => Outcome::Unreadable(format!("{key} is no number")),
        (_, Outcome::Absent) => Outcome::Absent,
        (_, Outcome::Unreadable(why)) => Outcome::Unreadable(why),
    }
}
