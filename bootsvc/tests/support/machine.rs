//! A machine: boots, enrolls, looks, judges with the service's facts, and obeys.

use contract::agent_api::{
    Begin, ContextReply, EnrollReply, EnrollRequest, Finish, FinishResult, Instruction, Report,
    ResidentIdentity, StepResult,
};
use contract::evidence::Evidence;
use contract::id::{BootId, Digest, EvidenceId, ImageId, MacAddress, NodeId};
use contract::inventory::{Composition, DiskFacts, Firmware, Inventory, NicFacts, Transport};
use contract::operator_api::ErrorBody;
use contract::order::{Order, SignedOrder};
use contract::plan::{KeptPartition, Plan, Step};
use contract::reading::{Outcome, Reading, ReadingKey, ReadingValue, Subject, Tier, Trust};
use contract::secret::Secret;
use reprieve_bootsvc::judging;
use reqwest::Method;
use uuid::Uuid;
use verdict::model::Model;
use verdict::policy::Policy;

use super::Bench;

pub const DISK: &str = "virtio-os";
pub const SERIAL: &str = "SN-1";

/// One machine in one boot.
pub struct Machine {
    pub mac: MacAddress,
    pub uuid: Uuid,
    pub node: NodeId,
    pub boot_id: BootId,
    pub nonce: Digest,
    pub session: String,
    /// The image on its disk; none for a blank disk.
    pub installed: Option<ImageId>,
    /// Writing an image to its blank disk was cut off.
    pub half_written: bool,
    /// What stands in the seed partition, once there is one.
    pub seed: Option<Digest>,
    /// NVMe-like health: kernel lines about failing hardware.
    pub failing: bool,
    /// The number of a partition beside the image whose file system recorded errors.
    pub errors_beside: Option<u32>,
    /// Disks besides [`DISK`], blank and of the same kind.
    pub more_disks: Vec<&'static str>,
    /// Its product, as the firmware says.
    pub product: Option<&'static str>,
    /// What it shows besides.
    pub more_readings: Vec<(Subject, ReadingKey, ReadingValue)>,
    /// What its system's kernel is started with.
    pub system_line: &'static str,
    /// What its ramdisk's kernel is started with beside what the boot script gives.
    pub ramdisk_words: &'static str,
}

/// The value of a kernel parameter in a boot script.
pub fn parameter(script: &str, name: &str) -> Option<String> {
    let at = script.find(&format!(" {name}="))?;
    let rest = &script[at + name.len() + 2..];
    Some(rest.split_whitespace().next().unwrap_or_default().to_owned())
}

impl Machine {
    pub fn new(last: u8) -> Self {
        Self {
            mac: MacAddress([0x52, 0x54, 0, 0, 0, last]),
            uuid: Uuid::from_u128(u128::from(last) + 1000),
            node: NodeId(Uuid::nil()),
            boot_id: BootId(Uuid::nil()),
            nonce: Digest::of(b""),
            session: String::new(),
            installed: None,
            half_written: false,
            seed: None,
            failing: false,
            errors_beside: None,
            more_disks: Vec::new(),
            product: None,
            more_readings: Vec::new(),
            system_line: "root=LABEL=system ro",
            ramdisk_words: "",
        }
    }

    /// Fetches the script; the enrolment that the ramdisk would make of it, if it is given the ramdisk.
    pub async fn boot(&mut self, bench: &Bench) -> Option<EnrollRequest> {
        let script = bench.script(&self.mac.to_string()).await;
        let token = parameter(&script, "reprieve.token")?;
        assert_eq!(parameter(&script, "reprieve.service").unwrap(), format!("https://{}", bench.api));
        self.node = parameter(&script, "reprieve.node").unwrap().parse().unwrap();
        self.boot_id = BootId(Uuid::new_v4());
        self.nonce = Digest::of(self.boot_id.to_string().as_bytes());
        Some(EnrollRequest {
            node: self.node,
            token: Secret::new(token),
            boot_id: self.boot_id,
            nonce: self.nonce,
            system_uuid: Outcome::Value(self.uuid),
            macs: vec![self.mac],
            agent_version: "test".to_owned(),
            since_kernel_start_millis: 1500,
        })
    }

    pub async fn enroll(&mut self, bench: &Bench, request: &EnrollRequest) -> Result<EnrollReply, ErrorBody> {
        let reply: EnrollReply = bench.call(Method::POST, "/v1/agent/enroll", "none", request).await?;
        self.session = reply.session.reveal().to_owned();
        Ok(reply)
    }

    /// Boots into the ramdisk and enrolls.
    pub async fn come(&mut self, bench: &Bench) -> EnrollReply {
        let request = self.boot(bench).await.expect("the ramdisk");
        self.enroll(bench, &request).await.unwrap()
    }

    pub async fn context(&self, bench: &Bench) -> ContextReply {
        bench.call(Method::GET, "/v1/agent/context", &self.session, &()).await.unwrap()
    }

    pub async fn next(&self, bench: &Bench) -> Instruction {
        bench.call(Method::GET, "/v1/agent/next", &self.session, &()).await.unwrap()
    }

    fn disk_names(&self) -> impl Iterator<Item = &'static str> {
        [DISK].into_iter().chain(self.more_disks.iter().copied())
    }

    fn inventory(&self) -> Inventory {
        Inventory {
            system_uuid: Outcome::Value(self.uuid),
            vendor: Outcome::Absent,
            product: self.product.map_or(Outcome::Absent, |product| Outcome::Value(product.to_owned())),
            serial: Outcome::Value(SERIAL.to_owned()),
            bios_version: Outcome::Absent,
            firmware: Outcome::Value(Firmware::Uefi),
            cpu_model: Outcome::Absent,
            cpu_count: Outcome::Value(2),
            memory_bytes: Outcome::Value(1 << 30),
            disks: Outcome::Value(self.disk_names().map(disk_facts).collect()),
            nics: Outcome::Value(vec![NicFacts {
                mac: self.mac,
                kernel_name: "eth0".to_owned(),
                driver: Outcome::Absent,
                link_up: Outcome::Value(true),
                speed_megabits: Outcome::Absent,
            }]),
            memory_modules: Outcome::Absent,
            gpus: Outcome::Absent,
            bmc_version: Outcome::Absent,
        }
    }

    fn readings(&self) -> Vec<(Subject, ReadingKey, Outcome<ReadingValue>)> {
        let none = || Outcome::Value(ReadingValue::list(Vec::new()));
        let list = |items: &[&str]| {
            Outcome::Value(ReadingValue::list(items.iter().map(|item| (*item).to_owned()).collect()))
        };
        let disk = Subject::Disk(DISK.parse().unwrap());
        let failing =
            if self.failing { list(&["mce: [Hardware Error]: Machine check events logged"]) } else { none() };
        let mut readings = vec![
            (Subject::Node, ReadingKey::KernelStorageErrors, none()),
            (Subject::Node, ReadingKey::KernelHardwareErrors, failing),
            (
                disk.clone(),
                ReadingKey::DiskReadErrors,
                Outcome::Value(ReadingValue::Count(if self.failing { 7 } else { 0 })),
            ),
            (disk.clone(), ReadingKey::DiskReadOnly, Outcome::Value(ReadingValue::Flag(false))),
        ];
        for more in &self.more_disks {
            let disk = Subject::Disk(more.parse().unwrap());
            let count = Outcome::Value(ReadingValue::Count(0));
            readings.push((disk.clone(), ReadingKey::DiskReadErrors, count));
            readings.push((
                disk.clone(),
                ReadingKey::DiskReadOnly,
                Outcome::Value(ReadingValue::Flag(false)),
            ));
            readings.push((disk.clone(), ReadingKey::DiskDataPartitions, none()));
            readings.push((disk, ReadingKey::DiskContentSignatures, none()));
        }
        let beside: Vec<String> = self.errors_beside.map(partition_beside).into_iter().collect();
        let listed = Outcome::Value(ReadingValue::list(beside));
        readings.push((disk.clone(), ReadingKey::DiskDataPartitions, listed));
        if let Some(number) = self.errors_beside {
            let (subject, errors) = (Subject::FileSystem(format!("vda{number}")), ReadingValue::Count(9));
            readings.push((subject, ReadingKey::FileSystemErrors, Outcome::Value(errors)));
        }
        for (subject, key, value) in self.more_readings.clone() {
            readings.push((subject, key, Outcome::Value(value)));
        }
        let Some(image) = self.installed else {
            let signatures = if self.half_written { list(&["bytes that are not zero"]) } else { none() };
            readings.push((disk, ReadingKey::DiskContentSignatures, signatures));
            readings.push((Subject::Image, ReadingKey::ImageInstalled, Outcome::Absent));
            readings.push((
                Subject::Image,
                ReadingKey::ImageUnfinished,
                Outcome::Value(ReadingValue::Flag(true)),
            ));
            return readings;
        };
        readings.push((disk, ReadingKey::DiskContentSignatures, list(&["gpt", "ext4"])));
        let file_system = Subject::FileSystem("vda1".to_owned());
        readings.push((
            file_system.clone(),
            ReadingKey::FileSystemErrors,
            Outcome::Value(ReadingValue::Count(0)),
        ));
        readings.push((
            file_system,
            ReadingKey::FileSystemNeedsRecovery,
            Outcome::Value(ReadingValue::Flag(false)),
        ));
        readings.push((
            Subject::Image,
            ReadingKey::ImageInstalled,
            Outcome::Value(ReadingValue::Text(image.to_string())),
        ));
        readings.push((
            Subject::Image,
            ReadingKey::ImageUnfinished,
            Outcome::Value(ReadingValue::Flag(false)),
        ));
        readings.push((
            Subject::Image,
            ReadingKey::ImageFilesChecked,
            Outcome::Value(ReadingValue::Count(10)),
        ));
        for key in [
            ReadingKey::ImagePartitionsAltered,
            ReadingKey::ImageFilesAltered,
            ReadingKey::ImageFilesMissing,
            ReadingKey::ImageFilesForeign,
        ] {
            readings.push((Subject::Image, key, none()));
        }
        let seed = self.seed.iter().map(ToString::to_string).collect();
        let seed = Outcome::Value(ReadingValue::list(seed));
        readings.push((Subject::Image, ReadingKey::NodeDataInstalled, seed));
        readings
    }

    fn line(&self, trust: Trust) -> (Subject, ReadingKey, Outcome<ReadingValue>) {
        let in_ramdisk = trust >= Trust::Ramdisk;
        let ramdisk = || format!("quiet {}", self.ramdisk_words);
        let line = if in_ramdisk { ramdisk() } else { self.system_line.to_owned() };
        (Subject::Node, ReadingKey::KernelCommandLine, Outcome::Value(ReadingValue::Text(line)))
    }

    pub fn look(&self, trust: Trust) -> Evidence {
        let now = reprieve_bootsvc::clock::now();
        let reading = |(subject, key, outcome)| Reading {
            subject,
            key,
            outcome,
            observed_at: now,
            boot_id: self.boot_id,
            trust,
        };
        let mut evidence = Evidence {
            id: EvidenceId(Uuid::new_v4()),
            node: self.node,
            taken_at: now,
            boot_id: self.boot_id,
            trust,
            tier: if trust >= Trust::Ramdisk { Tier::T2 } else { Tier::T1 },
            agent_version: "test".to_owned(),
            inventory: self.inventory(),
            readings: self.readings().into_iter().chain([self.line(trust)]).map(reading).collect(),
        };
        evidence.sort();
        evidence
    }

    /// What an agent reports: evidence, and what it makes of it with the service's facts.
    pub async fn report_of(&self, bench: &Bench, trust: Trust) -> Report {
        let context = self.context(bench).await;
        let evidence = self.look(trust);
        let policy = Policy::parse(&context.policy).unwrap();
        let model = Model::parse(&context.model).unwrap();
        let decision = judging::judge(&evidence, &context.node, &policy, &model, context.now);
        let plan = judging::plan(&decision, &evidence, &context.node, &policy, self.nonce).unwrap_or(None);
        Report { evidence, decision: Some(decision), plan, nonce: self.nonce }
    }

    pub async fn send(&self, bench: &Bench, report: &Report) -> Result<Instruction, ErrorBody> {
        bench.call(Method::POST, "/v1/agent/report", &self.session, report).await
    }

    pub async fn report(&self, bench: &Bench) -> (Report, Instruction) {
        let report = self.report_of(bench, Trust::Ramdisk).await;
        let instruction = self.send(bench, &report).await.unwrap();
        (report, instruction)
    }

    pub async fn begin(&self, bench: &Bench, order: &Order, step: u32) -> Result<(), ErrorBody> {
        bench.call(Method::POST, "/v1/agent/begin", &self.session, &Begin { order: order.id, step }).await
    }

    pub async fn finish(
        &self,
        bench: &Bench,
        order: &Order,
        result: FinishResult,
        steps: Vec<StepResult>,
    ) -> Result<Instruction, ErrorBody> {
        let finish = Finish { order: order.id, result, steps };
        bench.call(Method::POST, "/v1/agent/finish", &self.session, &finish).await
    }

    /// Carries a plan out, as far as the service can see.
    pub async fn carry_out(
        &mut self,
        bench: &Bench,
        order: &Order,
        plan: &Plan,
    ) -> (Option<ResidentIdentity>, Instruction) {
        let mut identity = None;
        for (step, what) in plan.steps.iter().enumerate() {
            self.begin(bench, order, u32::try_from(step).unwrap()).await.unwrap();
            if let Step::WriteImage { node_data, .. } | Step::WriteSeed { node_data, .. } = what {
                self.seed = *node_data;
            }
            if let Step::WriteImage { image, .. } = what {
                let given: ResidentIdentity =
                    bench.call(Method::POST, "/v1/agent/credential", &self.session, &()).await.unwrap();
                assert_eq!(given.image, *image);
                identity = Some(given);
                self.installed = Some(*image);
            }
        }
        let instruction = self.finish(bench, order, FinishResult::Done, results(plan)).await.unwrap();
        (identity, instruction)
    }

    /// The installed system reports for the first time, which ends the job; then the machine is free.
    pub async fn come_up_and_settle(&mut self, bench: &Bench, identity: &ResidentIdentity) {
        self.boot_id = BootId(Uuid::new_v4());
        self.session = identity.credential.reveal().to_owned();
        let report = self.report_of(bench, Trust::Resident).await;
        self.send(bench, &report).await.unwrap();
    }

    /// The installed system's agent, in a new boot.
    pub fn into_resident(mut self, credential: &Secret) -> Self {
        self.boot_id = BootId(Uuid::new_v4());
        self.session = credential.reveal().to_owned();
        self
    }
}

/// A partition with data as the agent lists it.
fn partition_beside(number: u32) -> String {
    let partition = KeptPartition {
        number,
        type_guid: Uuid::from_u128(1),
        unique_guid: Uuid::from_u128(2),
        first_byte: 512 << 20,
        length_bytes: 1 << 20,
        attributes: 0,
        name: "data".to_owned(),
    };
    serde_json::to_string(&partition).unwrap()
}

fn disk_facts(id: &str) -> DiskFacts {
    DiskFacts {
        id: id.parse().unwrap(),
        kernel_name: "vda".to_owned(),
        transport: Transport::Virtio,
        model: Outcome::Absent,
        serial: Outcome::Absent,
        firmware_revision: Outcome::Absent,
        size_bytes: 1 << 30,
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

/// Results with a proof for every step.
pub fn results(plan: &Plan) -> Vec<StepResult> {
    let result = |(step, what): (usize, &Step)| StepResult {
        step: u32::try_from(step).unwrap(),
        bytes_read: 1,
        bytes_fetched: 1,
        bytes_written: 1,
        millis: 1,
        proof: "read back and compared".to_owned(),
        erase_record: erase_record(what),
    };
    plan.steps.iter().enumerate().map(result).collect()
}

/// The record of an erase as it was ordered; none for other steps.
pub fn erase_record(step: &Step) -> Option<String> {
    let Step::Erase { disk, method, level, verify_seed, verify_samples, .. } = step else { return None };
    let now = reprieve_bootsvc::clock::now();
    let record = serde_json::json!({
        "disk": disk, "level": level, "method": method, "device_status": "all written",
        "seed": verify_seed, "markers_gone": 512, "samples": verify_samples,
        "positions": verify_seed, "bytes_read_back": 1 << 21,
        "found": {"zeros": 3000, "ones": 0, "noise": 0}, "found_with_95_percent_ppm": 1497,
        "started_at": now, "ended_at": now, "exclusions": [],
    });
    Some(record.to_string())
}

/// The order in an instruction, checked with the service's key.
pub fn order_in(bench: &Bench, instruction: &Instruction) -> Order {
    order_of(bench, instruction).1
}

pub fn order_of(bench: &Bench, instruction: &Instruction) -> (SignedOrder, Order) {
    let Instruction::Proceed { order } = instruction else { panic!("no order: {instruction:?}") };
    (order.clone(), order.verify(&bench.service.authority.order_key.verifying_key()).unwrap())
}
