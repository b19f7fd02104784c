//! One machine through many faults, in its running system and in the ramdisk: each look finds what was done
//! to the machine and nothing else, says what follows on all three axes, and why.

mod expected;
mod ramdisk;
mod system;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contract::decision::Action;
use contract::operator_api::{DecisionView, JobState};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::direct_boot::{DirectBoot, Told};
use reprieve_tests::disk::{Disk, DiskBus, Mounted};
use reprieve_tests::lab::Lab;
use reprieve_tests::login::{Key, Login};
use reprieve_tests::machine::{Firmware, Fittings, Machine, OnReset};
use reprieve_tests::process::{capture, run};
use reprieve_tests::scenario::site::{DISCOVERY_LIMIT, IMAGE_NAME, Site, TENANT, console_end, spec};
use reprieve_tests::scenario::stage::{expect_action, follow_ramdisk};
use reprieve_tests::service::Configuration;

use self::expected::Expected;

/// A rule of the operator's own about how the kernel is started, beside those that are shipped.
const POLICY: &str = r#"
[[rule]]
name = "mitigations-off"
when = "evidence.kernel_command_line.exists(line, line.value.contains('mitigations=off'))"
action = "quarantine"
why = "tenants share these processors"
"#;
/// Room on the disk of the system beyond the image.
const ROOM_BYTES: u64 = 256 << 20;
/// Larger than the system's, which is the smallest.
const DATA_BYTES: u64 = 2500 << 20;
const SPARE_BYTES: u64 = 2600 << 20;
const UP_LIMIT: Duration = Duration::from_secs(400);
const LOOK_LIMIT: Duration = Duration::from_secs(60);

/// A machine with three disks and two network cards, and those who switch it on and log in.
struct Subject<'site, 'lab> {
    site: &'site Site<'lab>,
    machine: Machine,
    reference: String,
    key: Key,
}

/// What the machine has when it is whole.
fn whole() -> Fittings {
    Fittings { card_megabits: Some(10_000), second_card: true, ..Fittings::default() }
}

impl<'site, 'lab> Subject<'site, 'lab> {
    /// Takes the machine in; it is off.
    fn start(site: &'site Site<'lab>, boot: &DirectBoot<'_>) -> Result<Self> {
        let blank = |name: &str, bus, bytes| {
            let path = site.lab.folder().join(format!("{name}.raw"));
            Disk::blank(path, bus, &format!("LAB-{name}"), bytes)
        };
        let disks = vec![
            blank("SYSTEM", DiskBus::Nvme, site.image.disk_bytes + ROOM_BYTES)?,
            blank("DATA", DiskBus::Scsi, DATA_BYTES)?,
            blank("SPARE", DiskBus::Scsi, SPARE_BYTES)?,
        ];
        let mut machine = Machine::new(site.lab, spec("node", 1, Firmware::Bios), disks)?;
        machine.fit(whole());
        ensure!(boot.power_on(&mut machine)? == Told::Ramdisk, "a new machine is not looked at");
        let node = site
            .operator
            .wait_discovered(&machine.spec().serial, DISCOVERY_LIMIT)
            .with_context(|| format!("the console ends:\n{}", console_end(&machine)))?;
        machine.cut_power();
        let reference = node.id.to_string();
        site.operator.approve_factory_new(&reference)?;
        site.operator.assign(&reference, IMAGE_NAME, TENANT)?;
        Ok(Self { site, machine, reference, key: Key::make(site.lab.folder())? })
    }

    fn disk(&self) -> &Path {
        self.machine.disks()[0].path()
    }

    /// The image is written; the system comes up with data on another disk, somebody logs in, and the job ends.
    fn install(&mut self, boot: &DirectBoot<'_>) -> Result<Login<'lab>> {
        let job = self.site.operator.reimage(&self.reference, &[])?;
        ensure!(boot.power_on(&mut self.machine)? == Told::Ramdisk, "the ramdisk is not handed out");
        let node = self.reference.parse()?;
        let outcome = follow_ramdisk(self.site, &mut self.machine, node, job, "install")?;
        expect_action(&outcome, Action::Reimage)?;
        self.machine.cut_power();
        self.let_in()?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(self.machine.disks()[1].path()))?;
        self.machine.load(None);
        self.machine.skip_network(true);
        self.machine.start(OnReset::Restart)?;
        self.site
            .operator
            .wait_job(job, "the running system", UP_LIMIT, |state| matches!(state, JobState::Done { .. }))
            .with_context(|| format!("the console ends:\n{}", console_end(&self.machine)))?;
        let address = self.site.service.lent_address()?.context("the system has no address")?;
        Login::open(self.site.lab, &self.key, &format!("root@{address}"), UP_LIMIT)
    }

    /// Puts the public key where the machine's root has it.
    fn let_in(&self) -> Result<()> {
        let root = Mounted::root(self.disk(), &self.disk().with_extension("mnt"), false)?;
        let (folder, file) = (root.path("/root/.ssh"), root.path("/root/.ssh/authorized_keys"));
        std::fs::create_dir_all(&folder).context("could not make a folder of the machine")?;
        std::fs::write(&file, self.key.public()? + "\n").context("could not write the key")?;
        for (path, mode) in [(folder, 0o700), (file, 0o600)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
                .with_context(|| format!("could not change the mode of {}", path.display()))?;
        }
        root.unmount()
    }

    /// The running system is asked for a look, which must come to this.
    fn look(&self, what: &str, expected: Expected) -> Result<DecisionView> {
        let before = self.last_look()?;
        let ask = ["--json", "reimage", &self.reference, "--dry-run"];
        capture(self.site.operator.command().args(ask))?;
        self.expect_after(before, what, expected)
    }

    fn last_look(&self) -> Result<contract::id::EvidenceId> {
        Ok(self.site.operator.decision(&self.reference)?.evidence.id)
    }

    /// The look after `before` must come to this.
    fn expect_after(
        &self,
        before: contract::id::EvidenceId,
        what: &str,
        expected: Expected,
    ) -> Result<DecisionView> {
        let view = self
            .site
            .operator
            .wait_decision(&self.reference, LOOK_LIMIT, |seen| seen.id != before)
            .with_context(|| format!("{what}: the console ends:\n{}", console_end(&self.machine)))?;
        expected.check(what, &view, &self.site.operator.explanation(&self.reference)?)?;
        Ok(view)
    }
}

#[test]
fn each_fault_of_a_machine_is_found_and_nothing_else_and_each_verdict_is_right() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let configuration = Configuration { policy: Some(POLICY.to_owned()), ..Configuration::default() };
    let site = Site::new(&lab, &artefacts, &configuration, artefacts.image()?)?;
    let boot = DirectBoot::new(&lab, &artefacts, &site.service);
    let mut subject = Subject::start(&site, &boot)?;
    let login = subject.install(&boot)?;
    system::go_through(&mut subject, &login)?;
    drop(login);
    ramdisk::out_of_order(&mut subject, &artefacts)
}
