//! A healthy node with an operating system's disk (virtio) and a data disk (NVMe), to be made worse.

use contract::assignment::{
    Assignment, DataOwner, ExpectedHardware, NodeContext, OsDiskRule, RootSize, UnfinishedWork,
};
use contract::data_image::DataImage;
use contract::decision::{Action, Decision, SanitizeLevel};
use contract::evidence::Evidence;
use contract::id::{BootId, Digest, DiskId, EvidenceId, ImageId, JobId, MacAddress, NodeId, UnixMillis};
use contract::inventory::{
    Composition, DiskFacts, Firmware, Inventory, NicFacts, NvmeCapabilities, Transport,
};
use contract::plan::{BootMethod, DiskTarget, EraseMethod, Plan, Step, VerifyDepth};
use contract::reading::{Outcome, Reading, ReadingKey, ReadingValue, Subject, Tier, Trust};
use uuid::Uuid;

use crate::judge::judge;
use crate::model::Model;
use crate::policy::Policy;

pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
pub(crate) const OS_DISK: &str = "virtio-os";
pub(crate) const DATA_DISK: &str = "nvme-eui.data";

/// Everything that a verdict depends on.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub evidence: Evidence,
    pub context: NodeContext,
    pub policy: Policy,
    pub model: Model,
    pub now: UnixMillis,
}

pub(crate) fn image() -> ImageId {
    ImageId(Digest([0x11; 32]))
}

pub(crate) fn mac(last: u8) -> MacAddress {
    MacAddress([0x52, 0x54, 0, 0, 0, last])
}

pub(crate) fn disk(id: &str, kernel_name: &str, transport: Transport, size_bytes: u64) -> DiskFacts {
    DiskFacts {
        id: id.parse().unwrap(),
        kernel_name: kernel_name.to_owned(),
        transport,
        model: Outcome::Absent,
        serial: Outcome::Absent,
        firmware_revision: Outcome::Absent,
        size_bytes,
        logical_sector_bytes: 512,
        rotational: Outcome::Absent,
        read_only: false,
        removable: false,
        nvme: Outcome::Absent,
        ata: Outcome::Absent,
        sanitize: Outcome::Absent,
        locking: Outcome::Absent,
        write_same: Outcome::Absent,
        composition: Composition::Single,
    }
}

/// A controller that can format its namespaces, of which there are this many.
pub(crate) fn nvme(namespaces: u32) -> NvmeCapabilities {
    NvmeCapabilities {
        format: true,
        format_covers_all_namespaces: false,
        erase_covers_all_namespaces: false,
        crypto_erase: false,
        namespaces: Outcome::Value(namespaces),
        replay_protected: Outcome::Absent,
        boot_partitions: Outcome::Absent,
    }
}

fn inventory() -> Inventory {
    let nic = |last| NicFacts {
        mac: mac(last),
        kernel_name: format!("eth{last}"),
        driver: Outcome::Absent,
        link_up: Outcome::Value(true),
        speed_megabits: Outcome::Absent,
    };
    Inventory {
        system_uuid: Outcome::Absent,
        vendor: Outcome::Absent,
        product: Outcome::Absent,
        serial: Outcome::Absent,
        bios_version: Outcome::Absent,
        firmware: Outcome::Value(Firmware::Uefi),
        cpu_model: Outcome::Absent,
        cpu_count: Outcome::Value(2),
        memory_bytes: Outcome::Value(4 << 30),
        disks: Outcome::Value(vec![
            DiskFacts {
                nvme: Outcome::Value(nvme(1)),
                ..disk(DATA_DISK, "nvme0n1", Transport::Nvme, 64 << 30)
            },
            disk(OS_DISK, "vda", Transport::Virtio, 8 << 30),
        ]),
        nics: Outcome::Value(vec![nic(0), nic(1)]),
        memory_modules: Outcome::Absent,
        gpus: Outcome::Absent,
        bmc_version: Outcome::Absent,
    }
}

pub(crate) fn disk_subject(id: &str) -> Subject {
    Subject::Disk(id.parse().unwrap())
}

/// The readings of a healthy node.
fn good_readings() -> Vec<(Subject, ReadingKey, ReadingValue)> {
    use ReadingKey as Key;
    use ReadingValue::{Count, Flag, Text};
    let none = || ReadingValue::list(Vec::new());
    let file_system = Subject::FileSystem("vda1".to_owned());
    let mut readings = vec![
        (Subject::Node, Key::KernelStorageErrors, none()),
        (Subject::Node, Key::KernelHardwareErrors, none()),
        (file_system.clone(), Key::FileSystemErrors, Count(0)),
        (file_system, Key::FileSystemNeedsRecovery, Flag(false)),
        (Subject::Image, Key::ImageInstalled, Text(image().to_string())),
        (Subject::Image, Key::ImageUnfinished, Flag(false)),
        (Subject::Image, Key::ImagePartitionsAltered, none()),
        (Subject::Image, Key::ImageFilesAltered, none()),
        (Subject::Image, Key::ImageFilesMissing, none()),
        (Subject::Image, Key::ImageFilesForeign, none()),
        (Subject::Image, Key::ImageFilesChecked, Count(5000)),
        (disk_subject(OS_DISK), Key::DiskDataPartitions, none()),
        (Subject::Image, Key::NodeDataInstalled, none()),
    ];
    for id in [OS_DISK, DATA_DISK] {
        readings.push((disk_subject(id), Key::DiskReadErrors, Count(0)));
        readings.push((disk_subject(id), Key::DiskReadOnly, Flag(false)));
        let found = vec!["ext4".to_owned()];
        readings.push((disk_subject(id), Key::DiskContentSignatures, ReadingValue::list(found)));
    }
    for (key, value) in [
        (Key::NvmeCriticalWarning, 0),
        (Key::NvmeAvailableSparePercent, 100),
        (Key::NvmeAvailableSpareThresholdPercent, 10),
        (Key::NvmePercentageUsed, 3),
        (Key::NvmeMediaErrors, 0),
    ] {
        readings.push((disk_subject(DATA_DISK), key, Count(value)));
    }
    readings
}

impl Case {
    /// Same tenant, healthy, seen from the ramdisk: the action is keep.
    pub fn healthy() -> Self {
        let node = NodeId(Uuid::from_u128(1));
        let boot_id = BootId(Uuid::from_u128(2));
        let reading = |(subject, key, value)| Reading {
            subject,
            key,
            outcome: Outcome::Value(value),
            observed_at: NOW,
            boot_id,
            trust: Trust::Ramdisk,
        };
        let mut evidence = Evidence {
            id: EvidenceId(Uuid::from_u128(3)),
            node,
            taken_at: NOW,
            boot_id,
            trust: Trust::Ramdisk,
            tier: Tier::T2,
            agent_version: "0".to_owned(),
            inventory: inventory(),
            readings: good_readings().into_iter().map(reading).collect(),
        };
        evidence.sort();
        let assignment = Assignment {
            pool: "pool".parse().unwrap(),
            image: Some(image()),
            image_disk_bytes: Some(2 << 30),
            tenant: Some("tenant-a".parse().unwrap()),
            os_disk: OsDiskRule::Smallest,
            root_size: RootSize::Grow,
            data_images: Vec::new(),
        };
        let context = NodeContext {
            node,
            assignment,
            data_owner: DataOwner::Tenant("tenant-a".parse().unwrap()),
            floor: None,
            sanitize_level: None,
            expected_hardware: Some(ExpectedHardware {
                disks: vec![DATA_DISK.parse().unwrap(), OS_DISK.parse().unwrap()],
                nics: vec![mac(0), mac(1)],
                memory_bytes: Some(4 << 30),
                memory_modules: None,
                gpus: None,
                golden: Vec::new(),
            }),
            protected: false,
            unfinished: None,
            history: Vec::new(),
            node_data: None,
            baselines: Vec::new(),
            boot_trust: None,
            boot_key: None,
            peers: Vec::new(),
            burn_in_minutes: None,
            gpu_tests: Vec::new(),
            outside_windows: false,
            bmc: None,
            command_lines: Default::default(),
        };
        Self {
            evidence,
            context,
            policy: Policy::parse("").unwrap(),
            model: Model::parse("").unwrap(),
            now: NOW,
        }
    }

    /// The machine of a situation's text.
    pub fn of_text(text: &str) -> Self {
        let situation = crate::situation::Situation::parse(text).unwrap();
        let policy = Policy::parse(&situation.policy).unwrap();
        let model = Model::parse("").unwrap();
        Self { evidence: situation.evidence, context: situation.context, policy, model, now: situation.now }
    }

    /// The action alone, without the words about it: for the properties.
    pub fn bare_action(&self) -> Action {
        self.weighed().action
    }

    /// What the rules and costs say, without the words about it.
    pub fn weighed(&self) -> crate::judge::Judged {
        let (evidence, context, policy) = (&self.evidence, &self.context, &self.policy);
        let facts = crate::facts::Facts::of(evidence, context, policy, self.now);
        let risk = crate::forecast::risk(&facts, &self.model);
        crate::judge::weigh(&facts, &crate::cost::Bill::of(&facts, &self.model, risk))
    }

    pub fn resident(mut self) -> Self {
        self.evidence.trust = Trust::Resident;
        self.evidence.tier = Tier::T1;
        self.evidence.readings.iter_mut().for_each(|reading| reading.trust = Trust::Resident);
        self
    }

    pub fn outcome(mut self, subject: Subject, key: ReadingKey, outcome: Outcome<ReadingValue>) -> Self {
        let template = self.evidence.readings[0].clone();
        self.evidence.readings.retain(|reading| reading.key != key || reading.subject != subject);
        self.evidence.readings.push(Reading { subject, key, outcome, ..template });
        self.evidence.sort();
        self
    }

    pub fn count(self, subject: Subject, key: ReadingKey, count: u64) -> Self {
        self.outcome(subject, key, Outcome::Value(ReadingValue::Count(count)))
    }

    pub fn list(self, subject: Subject, key: ReadingKey, items: &[&str]) -> Self {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        self.outcome(subject, key, Outcome::Value(ReadingValue::list(items)))
    }

    pub fn unreadable(self, subject: Subject, key: ReadingKey) -> Self {
        self.outcome(subject, key, Outcome::Unreadable("EIO".to_owned()))
    }

    pub fn untried(mut self, subject: &Subject, key: ReadingKey) -> Self {
        self.evidence.readings.retain(|reading| reading.key != key || &reading.subject != subject);
        self
    }

    pub fn context(mut self, change: impl FnOnce(&mut NodeContext)) -> Self {
        change(&mut self.context);
        self
    }

    pub fn evidence(mut self, change: impl FnOnce(&mut Evidence)) -> Self {
        change(&mut self.evidence);
        self
    }

    pub fn policy(mut self, text: &str) -> Self {
        self.policy = Policy::parse(text).unwrap();
        self
    }

    /// A new machine, blank, assigned to a tenant.
    pub fn blank() -> Self {
        let mut case = Self::healthy().context(|context| context.data_owner = DataOwner::Nobody);
        for id in [OS_DISK, DATA_DISK] {
            case = case.list(disk_subject(id), ReadingKey::DiskContentSignatures, &[]);
        }
        for reading in &mut case.evidence.readings {
            if reading.subject == Subject::Image {
                reading.outcome = Outcome::Absent;
            }
        }
        let unfinished = Outcome::Value(ReadingValue::Flag(true));
        case.untried(&Subject::FileSystem("vda1".to_owned()), ReadingKey::FileSystemErrors).outcome(
            Subject::Image,
            ReadingKey::ImageUnfinished,
            unfinished,
        )
    }

    pub fn disks(&self) -> Vec<DiskFacts> {
        self.evidence.inventory.disks.value().cloned().unwrap_or_default()
    }

    pub fn judge(&self) -> Decision {
        judge(&self.evidence, &self.context, &self.policy, &self.model, self.now)
    }

    pub fn action(&self) -> Action {
        self.judge().action
    }

    pub fn plan(&self) -> Result<Option<Plan>, crate::plan::PlanRefusal> {
        let methods = [
            (DATA_DISK.parse().unwrap(), Ok(EraseMethod::NvmeFormatUserData)),
            (OS_DISK.parse().unwrap(), Ok(EraseMethod::Overwrite)),
        ];
        self.plan_with(&methods.into())
    }

    pub fn plan_with(
        &self,
        methods: &std::collections::BTreeMap<DiskId, Result<EraseMethod, String>>,
    ) -> Result<Option<Plan>, crate::plan::PlanRefusal> {
        let seed = Digest::of(b"seed");
        crate::plan::plan(&self.judge(), &self.evidence, &self.context, &self.policy, methods, seed)
    }
}

/// Unfinished work of one step.
pub(crate) fn unfinished(step: Step) -> Option<UnfinishedWork> {
    let plan = Plan {
        node: NodeId(Uuid::from_u128(1)),
        evidence: EvidenceId(Uuid::from_u128(9)),
        action: Action::Wipe,
        steps: vec![step],
        boot: BootMethod::Reboot,
    };
    Some(UnfinishedWork { job: JobId(Uuid::from_u128(8)), begun_at: NOW, plan })
}

fn target() -> DiskTarget {
    DiskTarget { id: OS_DISK.parse().unwrap(), size_bytes: 8 << 30, logical_sector_bytes: 512 }
}

pub(crate) fn erase_step() -> Step {
    Step::Erase {
        disk: target(),
        method: EraseMethod::Overwrite,
        level: SanitizeLevel::Clear,
        verify_seed: Digest::of(b"old"),
        verify_samples: 2000,
        verify_depth: VerifyDepth::Sampling,
    }
}

/// Of the data disk.
pub(crate) fn data_step() -> Step {
    Step::WriteDataImage {
        disk: DiskTarget { id: DATA_DISK.parse().unwrap(), size_bytes: 64 << 30, logical_sector_bytes: 512 },
        image: data_image(DATA_DISK).image,
        disk_guid: Uuid::from_u128(7),
        last_partition: RootSize::Grow,
    }
}

/// An image for the disk that this rule names.
pub(crate) fn data_image(rule: &str) -> DataImage {
    DataImage {
        disk: rule.parse().unwrap(),
        image: ImageId(Digest([0x22; 32])),
        image_disk_bytes: 1 << 30,
        last_partition: RootSize::Grow,
    }
}

pub(crate) fn write_step() -> Step {
    Step::WriteImage {
        disk: target(),
        image: image(),
        disk_guid: Uuid::from_u128(5),
        node_partition_guid: Uuid::from_u128(6),
        node_data: None,
        root_size: contract::root_size::RootSize::Grow,
        keep: Vec::new(),
    }
}
