//! Going back to the image before, in a real machine: by itself, when the new system never reports, and
//! by a person's word.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::decision::Action;
use contract::history::ImageOutcome;
use contract::id::{ImageId, JobId};
use contract::operator_api::{JobState, JobView, NodeState};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::direct_boot::{DirectBoot, Told};
use reprieve_tests::disk::{DiskBus, first_difference};
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, Machine, OnReset};
use reprieve_tests::operator::describe;
use reprieve_tests::scenario::site::{DISCOVERY_LIMIT, IMAGE_NAME, Site, TENANT, console_end, spec};
use reprieve_tests::scenario::stage::{expect_action, follow_ramdisk};
use reprieve_tests::service::Configuration;
use reprieve_tests::small_image;

/// Room on the disk beyond the image.
const DISK_ROOM_BYTES: u64 = 256 << 20;
/// How often a written system may come to the network without a report.
const ATTEMPTS_MAX: u32 = 3;
/// The image without a system in it.
const EMPTY: &str = "empty";
const UP_LIMIT: Duration = Duration::from_secs(400);
/// Until the firmware tries the disk.
const FIRMWARE_LIMIT: Duration = Duration::from_secs(60);

/// A machine between a good image and one that never comes up.
struct Subject<'site, 'lab> {
    site: &'site Site<'lab>,
    boot: DirectBoot<'lab>,
    machine: Machine,
    reference: String,
    empty: ImageId,
    empty_file: std::path::PathBuf,
}

impl<'site, 'lab> Subject<'site, 'lab> {
    fn start(site: &'site Site<'lab>, artefacts: &Artefacts) -> Result<Self> {
        let lab: &'lab Lab = site.lab;
        let disk_bytes = site.image.disk_bytes + DISK_ROOM_BYTES;
        let mut machine = site.machine(spec("node", 1, Firmware::Bios), DiskBus::Virtio, disk_bytes)?;
        let boot = DirectBoot::new(lab, artefacts, &site.service);
        ensure!(boot.power_on(&mut machine)? == Told::Ramdisk, "a new machine is not looked at");
        let node = site.operator.wait_discovered(&machine.spec().serial, DISCOVERY_LIMIT)?;
        machine.cut_power();
        let reference = node.id.to_string();
        site.operator.approve_factory_new(&reference)?;
        site.operator.assign(&reference, IMAGE_NAME, TENANT)?;
        let empty_file = lab.folder().join("empty.raw");
        small_image::make(&empty_file, 5)?;
        let empty = site.operator.import(&empty_file, EMPTY, &[])?.id;
        Ok(Self { site, boot, machine, reference, empty, empty_file })
    }

    fn job(&self, job: JobId) -> Result<JobView> {
        self.site.operator.job(job)
    }

    /// The ramdisk writes this image, and nothing else is on the disk then.
    fn write(&mut self, job: JobId, image: &Path, case: &str) -> Result<()> {
        let told = self.boot.power_on(&mut self.machine)?;
        ensure!(told == Told::Ramdisk, "{case}: the machine is told {told:?}");
        let node = self.job(job)?.node;
        let outcome = follow_ramdisk(self.site, &mut self.machine, node, job, case)?;
        expect_action(&outcome, Action::Reimage)?;
        self.machine.cut_power();
        let difference = first_difference(image, self.machine.disks()[0].path())?;
        ensure!(difference.is_none(), "{case}: the disk differs from the image at byte {difference:?}");
        ensure!(outcome.job.state == JobState::ComingUp, "{case}: {}", describe(&outcome.job));
        Ok(())
    }

    /// The network tells the machine to boot its disk, and it does.
    fn boot_disk(&mut self) -> Result<()> {
        let told = self.boot.ask(&self.machine)?;
        ensure!(told == Told::Disk, "a machine whose image is whole is told {told:?}");
        self.machine.load(None);
        self.machine.skip_network(true);
        self.machine.start(OnReset::Restart)
    }

    /// The system comes up, reports, and the job ends so.
    fn come_up(&mut self, job: JobId, what: &str, ends: impl Fn(&JobState) -> bool) -> Result<JobView> {
        self.boot_disk()?;
        let view = self
            .site
            .operator
            .wait_job(job, what, UP_LIMIT, &ends)
            .with_context(|| format!("the console ends:\n{}", console_end(&self.machine)))?;
        let node = self.site.operator.wait_idle(&self.reference, Duration::from_secs(60))?;
        ensure!(node.job.is_none() && node.hold_reason.is_none(), "the node is {node:?}");
        self.machine.cut_power();
        Ok(view)
    }

    /// As often as it may: told to boot its system, which is none, and its power is cut.
    fn come_up_in_vain(&mut self) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            self.boot_disk()?;
            self.machine.wait_console_times("Booting from Hard Disk", 1, FIRMWARE_LIMIT)?;
            self.machine.cut_power();
        }
        Ok(())
    }

    fn outcomes(&self) -> Result<Vec<(ImageId, &'static str)>> {
        let name = |outcome: &ImageOutcome| match outcome {
            ImageOutcome::Writing => "writing",
            ImageOutcome::ComingUp => "coming up",
            ImageOutcome::Unreported => "unreported",
            ImageOutcome::Good => "good",
            ImageOutcome::Failed { .. } => "failed",
        };
        let node = self.site.operator.node(&self.reference)?;
        Ok(node.images.iter().map(|past| (past.image, name(&past.outcome))).collect())
    }
}

fn count(view: &JobView, text: &str) -> usize {
    view.events.iter().filter(|event| event.text.contains(text)).count()
}

#[test]
fn a_system_that_never_reports_is_taken_back_by_itself_and_a_person_goes_back_by_hand() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let configuration = Configuration { attempts_max: Some(ATTEMPTS_MAX), ..Configuration::default() };
    let site = Site::new(&lab, &artefacts, &configuration, artefacts.image()?)?;
    let mut subject = Subject::start(&site, &artefacts)?;
    let job = site.operator.reimage(&subject.reference, &[])?;
    subject.write(job, artefacts.image()?, "install")?;
    subject.come_up(job, "the first system", |state| matches!(state, JobState::Done { .. }))?;
    by_itself(&mut subject, &artefacts)?;
    by_hand(&mut subject, &artefacts)
}

fn by_itself(subject: &mut Subject<'_, '_>, artefacts: &Artefacts) -> Result<()> {
    let (good, empty) = (subject.site.image.id, subject.empty);
    let job = subject.site.operator.reimage(&subject.reference, &["--image", EMPTY])?;
    let empty_file = subject.empty_file.clone();
    subject.write(job, &empty_file, "another image")?;
    subject.come_up_in_vain()?;
    ensure!(subject.job(job)?.going_back.is_none(), "taken back too early");
    // The fourth time it gets the ramdisk at once.
    subject.write(job, artefacts.image()?, "back by itself")?;
    let back = subject.job(job)?.going_back.context("nothing says that the node goes back")?;
    ensure!((back.from, back.to) == (empty, good), "the way back is {back:?}");
    let ended = |state: &JobState| matches!(state, JobState::RolledBack { .. });
    let view = subject.come_up(job, "the system before", ended)?;
    println!("{}", describe(&view));
    let JobState::RolledBack { reason } = &view.state else { bail!("{}", describe(&view)) };
    ensure!(reason.contains(&empty.to_string()) && reason.contains("never reported"), "{reason}");
    ensure!(count(&view, "the node is taken back") == 1, "taken back more than once");
    let told = count(&view, "the machine was told to boot its system");
    ensure!(told == ATTEMPTS_MAX as usize + 1, "told to boot its system {told} times");
    let expected = [(good, "good"), (empty, "failed"), (good, "good")];
    ensure!(subject.outcomes()? == expected, "the history is {:?}", subject.outcomes()?);
    Ok(())
}

/// The same image fails again while the node is protected, so that the service leaves it to a person.
fn by_hand(subject: &mut Subject<'_, '_>, artefacts: &Artefacts) -> Result<()> {
    let operator = &subject.site.operator;
    let job = operator.reimage(&subject.reference, &["--image", EMPTY])?;
    let empty_file = subject.empty_file.clone();
    subject.write(job, &empty_file, "the other image again")?;
    operator.protect(&subject.reference, true)?;
    subject.come_up_in_vain()?;
    let told = subject.boot.ask(&subject.machine)?;
    ensure!(told == Told::HeldWithDisk, "a protected node is told {told:?}");
    let node = operator.node(&subject.reference)?;
    let reason = node.hold_reason.clone().unwrap_or_default();
    ensure!(node.state == NodeState::Held && reason.contains("protected"), "{:?}: {reason}", node.state);
    operator.protect(&subject.reference, false)?;
    operator.cancel(job)?;
    operator.release_hold(&subject.reference)?;

    let job = operator.rollback(&subject.reference)?;
    subject.write(job, artefacts.image()?, "back by hand")?;
    let view = subject.job(job)?;
    ensure!(view.going_back.is_none(), "a person's word counts as the service's: {:?}", view.going_back);
    ensure!(count(&view, "step 1 of 1 begins") == 1, "{}", describe(&view));
    let node = operator.node(&subject.reference)?;
    ensure!(node.assignment.image == Some(subject.site.image.id), "{:?}", node.assignment);
    Ok(())
}
