//! What an agent on a simulated node would report: evidence made from the truth, with what sensors miss and
//! where they lie.

use contract::evidence::Evidence;
use contract::id::{BootId, DiskId, EvidenceId, ImageId, NodeId, UnixMillis};
use contract::inventory::{
    Composition, DiskFacts, Firmware, GpuFacts, Inventory, NvmeCapabilities, Transport,
};
use contract::reading::{Outcome, Reading, ReadingKey as Key, ReadingValue, Subject, Tier, Trust};
use rand::{Rng, RngExt};
use uuid::Uuid;

use crate::parameters::Parameters;
use crate::truth::{Broken, Disk, Truth};

/// When the simulated time begins.
const BEGINNING: UnixMillis = UnixMillis(1_800_000_000_000);
/// Memory of every node, in bytes.
pub const MEMORY_BYTES: u64 = 64 << 30;
/// What a healthy node's rates are, in the units of the readings.
pub const RATE: f64 = 100_000.0;
/// How long a transient fault stays in the log of the boot, in days.
const LOG_DAYS: f64 = 1.0;
/// The memory controller's and the accelerator's names.
const MODULE: &str = "DIMM_A1";
const GPU: &str = "GPU-0";
/// Where the operating system's root is.
const ROOT: &str = "nvme0n1p1";

/// The time of a simulated day.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // days since the beginning, never negative
pub fn time(day: f64) -> UnixMillis {
    BEGINNING.plus_millis((day.max(0.0) * 86_400_000.0) as u64)
}

/// The id of a disk in a place.
#[must_use]
pub fn disk_id(place: usize, disk: &Disk) -> Option<DiskId> {
    let kind = if disk.rotating { "ata" } else { "nvme" };
    format!("{kind}-place{place}-disk{}", disk.generation).parse().ok()
}

/// How a look is made.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// From the ramdisk, and so with more trust.
    pub ramdisk: bool,
    /// With a burn-in that measures rates.
    pub burn_in: bool,
    /// When.
    pub day: f64,
    /// How many looks and boots the node had before: names evidence and boot.
    pub number: u32,
}

/// Makes the evidence of one look.
pub fn evidence(
    parameters: &Parameters,
    node: u32,
    truth: &Truth,
    image: ImageId,
    look: Look,
    random: &mut impl Rng,
) -> Evidence {
    let at = time(look.day);
    let trust = if look.ramdisk { Trust::Ramdisk } else { Trust::Resident };
    let boot_id = BootId(Uuid::from_u128(u128::from(node) << 64 | u128::from(look.number)));
    let mut found = Found {
        parameters,
        random,
        readings: Vec::with_capacity(16 + truth.disks.len() * 16),
        at,
        boot_id,
        trust,
    };
    for (place, disk) in truth.disks.iter().enumerate().filter(|(_, disk)| disk.fails_day > look.day) {
        if let Some(id) = disk_id(place, disk) {
            found.disk(&Subject::Disk(id), disk, look.day, truth.data_of == 0);
        }
    }
    found.node(truth, look);
    found.image(truth, image, look);
    let readings = found.readings;
    let mut evidence = Evidence {
        id: EvidenceId(Uuid::from_u128(u128::from(node) << 64 | 1 << 63 | u128::from(look.number))),
        node: NodeId(Uuid::from_u128(u128::from(node) + 1)),
        taken_at: at,
        boot_id,
        trust,
        tier: if look.burn_in {
            Tier::T3
        } else if look.ramdisk {
            Tier::T2
        } else {
            Tier::T1
        },
        agent_version: "simulated".to_owned(),
        inventory: inventory(truth, look.day),
        readings,
    };
    evidence.sort();
    evidence
}

fn inventory(truth: &Truth, day: f64) -> Inventory {
    let present = truth.disks.iter().enumerate().filter(|(_, disk)| disk.fails_day > day);
    let mut disks: Vec<DiskFacts> = present.filter_map(|(place, disk)| disk_facts(place, disk)).collect();
    disks.sort_by(|one, other| one.id.cmp(&other.id));
    let gpu = GpuFacts {
        id: GPU.to_owned(),
        pci_address: "0000:3b:00.0".to_owned(),
        model: Outcome::Absent,
        firmware_version: Outcome::Absent,
    };
    Inventory {
        system_uuid: Outcome::Absent,
        vendor: Outcome::Absent,
        product: Outcome::Absent,
        serial: Outcome::Absent,
        bios_version: Outcome::Absent,
        firmware: Outcome::Value(Firmware::Uefi),
        cpu_model: Outcome::Absent,
        cpu_count: Outcome::Value(64),
        memory_bytes: Outcome::Value(MEMORY_BYTES),
        disks: Outcome::Value(disks),
        nics: Outcome::Value(Vec::new()),
        memory_modules: Outcome::Absent,
        gpus: if truth.accelerators { Outcome::Value(vec![gpu]) } else { Outcome::Absent },
        bmc_version: Outcome::Absent,
    }
}

fn disk_facts(place: usize, disk: &Disk) -> Option<DiskFacts> {
    let nvme = NvmeCapabilities {
        format: true,
        format_covers_all_namespaces: true,
        erase_covers_all_namespaces: true,
        crypto_erase: true,
        namespaces: Outcome::Value(1),
        replay_protected: Outcome::Absent,
        boot_partitions: Outcome::Absent,
    };
    Some(DiskFacts {
        id: disk_id(place, disk)?,
        kernel_name: if disk.rotating { format!("sd{place}") } else { format!("nvme{place}n1") },
        transport: if disk.rotating { Transport::Ata } else { Transport::Nvme },
        model: Outcome::Absent,
        serial: Outcome::Absent,
        firmware_revision: Outcome::Absent,
        size_bytes: if disk.rotating { 20_000_000_000_000 } else { 1_000_000_000_000 },
        logical_sector_bytes: 512,
        rotational: Outcome::Value(disk.rotating),
        read_only: false,
        removable: false,
        nvme: if disk.rotating { Outcome::Absent } else { Outcome::Value(nvme) },
        ata: Outcome::Absent,
        sanitize: Outcome::Absent,
        locking: Outcome::Absent,
        write_same: Outcome::Absent,
        composition: Composition::Single,
    })
}

struct Found<'a, R> {
    parameters: &'a Parameters,
    random: &'a mut R,
    readings: Vec<Reading>,
    at: UnixMillis,
    boot_id: BootId,
    trust: Trust,
}

impl<R: Rng> Found<'_, R> {
    /// A reading as it is, or lost.
    fn put(&mut self, subject: &Subject, key: Key, value: ReadingValue, lost: bool) {
        let outcome =
            if lost { Outcome::Unreadable("simulated: no answer".to_owned()) } else { Outcome::Value(value) };
        self.readings.push(Reading {
            subject: subject.clone(),
            key,
            outcome,
            observed_at: self.at,
            boot_id: self.boot_id,
            trust: self.trust,
        });
    }

    /// The agent asks three times.
    fn is_lost(&mut self) -> bool {
        let again = self.parameters.sensor_missing_again;
        self.chance(self.parameters.sensor_missing) && self.chance(again) && self.chance(again)
    }

    fn chance(&mut self, share: f64) -> bool {
        self.random.random_bool(share)
    }

    /// A disk is lost or lies as a whole: its log page is one command.
    fn disk(&mut self, subject: &Subject, disk: &Disk, day: f64, blank: bool) {
        let lost = self.is_lost();
        let lies = self.chance(self.parameters.sensor_lie);
        let value = |attribute: usize| match &disk.signs {
            Some(signs) if !lies => signs.value(attribute, day),
            _ => 0,
        };
        let count = ReadingValue::Count;
        let signatures = ReadingValue::list(if blank { Vec::new() } else { vec!["gpt".to_owned()] });
        self.put(subject, Key::DiskReadErrors, count(0), false);
        self.put(subject, Key::DiskReadOnly, ReadingValue::Flag(false), false);
        self.put(subject, Key::DiskContentSignatures, signatures, false);
        if disk.rotating {
            self.put(subject, Key::AtaSmartThresholdExceeded, ReadingValue::Flag(false), lost);
            let keys = [
                Key::AtaReallocatedSectors,
                Key::AtaReportedUncorrectable,
                Key::AtaCommandTimeouts,
                Key::AtaPendingSectors,
                Key::AtaOfflineUncorrectable,
            ];
            for (attribute, key) in keys.into_iter().enumerate() {
                self.put(subject, key, count(value(attribute)), lost);
            }
            self.put(subject, Key::AtaSpinRetries, count(0), lost);
            self.put(subject, Key::AtaInterfaceCrcErrors, count(0), lost);
        } else {
            let errors = value(0);
            self.put(subject, Key::NvmeCriticalWarning, count(if errors > 10 { 4 } else { 0 }), lost);
            self.put(subject, Key::NvmeAvailableSparePercent, count(100), lost);
            self.put(subject, Key::NvmeAvailableSpareThresholdPercent, count(10), lost);
            self.put(subject, Key::NvmePercentageUsed, count(3), lost);
            self.put(subject, Key::NvmeMediaErrors, count(errors), lost);
        }
    }

    fn node(&mut self, truth: &Truth, look: Look) {
        let node = Subject::Node;
        let none = || ReadingValue::list(Vec::new());
        self.put(&node, Key::KernelStorageErrors, none(), false);
        self.put(&node, Key::KernelHardwareErrors, none(), false);
        let module = Subject::MemoryModule(MODULE.to_owned());
        let uncorrected = u64::from(truth.broken == Some(Broken::Memory));
        let lies = self.chance(self.parameters.sensor_lie);
        self.put(
            &module,
            Key::MemoryUncorrectedErrors,
            ReadingValue::Count(if lies { 0 } else { uncorrected }),
            false,
        );
        let corrected = match truth.corrected {
            Some((from, a_day)) if look.day >= from && !lies => a_day,
            _ => 0,
        };
        self.put(&module, Key::MemoryCorrectedErrors, ReadingValue::Count(corrected), false);
        if truth.accelerators {
            self.accelerator(truth, look);
        }
        if look.burn_in {
            let rate = RATE * (1.0 + truth.rate_noise) * (1.0 - truth.grey_loss.unwrap_or(0.0));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // near RATE
            self.put(&node, Key::ProcessorRounds, ReadingValue::Count(rate.max(0.0) as u64), false);
        }
    }

    fn accelerator(&mut self, truth: &Truth, look: Look) {
        let broken = truth.broken == Some(Broken::Accelerator);
        let recent = truth.recent_faults.iter().filter(|day| **day + LOG_DAYS > look.day).count();
        let mut lines = vec!["119 0000:3b:00.0 Timeout waiting for RPC".to_owned(); recent];
        if broken {
            lines.push("79 0000:3b:00.0 GPU has fallen off the bus".to_owned());
        }
        let lost = self.is_lost();
        self.put(&Subject::Node, Key::GpuXids, ReadingValue::list(lines), lost);
        let gpu = Subject::Gpu(GPU.to_owned());
        for (key, on) in [
            (Key::GpuRowRemapFailed, broken),
            (Key::GpuRowRemapPending, false),
            (Key::GpuSramThresholdExceeded, false),
            (Key::GpuHardwareSlowdown, false),
        ] {
            self.put(&gpu, key, ReadingValue::Flag(on), lost);
        }
        for key in [Key::GpuRowsRemappedUncorrectable, Key::GpuUncorrectedErrors, Key::GpuNvlinkErrors] {
            self.put(&gpu, key, ReadingValue::Count(0), lost);
        }
    }

    fn image(&mut self, truth: &Truth, image: ImageId, look: Look) {
        let subject = Subject::Image;
        let list = |names: Vec<String>| ReadingValue::list(names);
        let mut altered: Vec<String> =
            (0..truth.altered_files).map(|file| format!("/usr/bin/file{file}")).collect();
        // Somebody hostile owns the running system, and with it what its agent says.
        if truth.compromised && look.ramdisk {
            altered.push("/usr/sbin/sshd".to_owned());
        }
        self.put(&subject, Key::ImageInstalled, ReadingValue::Text(image.to_string()), false);
        self.put(&subject, Key::ImageUnfinished, ReadingValue::Flag(false), false);
        self.put(&subject, Key::ImagePartitionsAltered, list(Vec::new()), false);
        self.put(&subject, Key::ImageFilesAltered, list(altered), false);
        self.put(&subject, Key::ImageFilesMissing, list(Vec::new()), false);
        self.put(&subject, Key::ImageFilesForeign, list(Vec::new()), false);
        self.put(&subject, Key::ImageFilesChecked, ReadingValue::Count(8000), false);
        self.put(&subject, Key::NodeDataInstalled, list(Vec::new()), false);
        let root = Subject::FileSystem(ROOT.to_owned());
        self.put(&root, Key::FileSystemErrors, ReadingValue::Count(0), false);
        self.put(&root, Key::FileSystemNeedsRecovery, ReadingValue::Flag(false), false);
        if let Some(id) = truth.disks.first().and_then(|disk| disk_id(0, disk)) {
            self.put(&Subject::Disk(id), Key::DiskDataPartitions, list(Vec::new()), false);
        }
    }
}
