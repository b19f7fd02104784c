//! A real kernel's NVMe driver and the real agent against a fake device on the wire: what it erases,
//! and what it only says that it erased.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contract::id::{JobId, NodeId};
use contract::operator_api::{JobState, JobView};
use reprieve_tests::disk::first_difference;
use reprieve_tests::lab::Lab;
use reprieve_tests::nvme_tcp::identify::Profile;
use reprieve_tests::nvme_tcp::lies::{EraseLie, Lies};
use reprieve_tests::nvme_tcp::site::FakeDiskSite;
use reprieve_tests::operator::describe;
use reprieve_tests::process::tail;
use reprieve_tests::scenario::small::DISK_BYTES;
use reprieve_tests::service::Configuration;

/// What the last tenant left behind, in the middle of the disk.
const LEFTOVER: &[u8; 512] = &[0x5e; 512];
const LEFTOVER_OFFSET: u64 = 90 << 20;
const JOB_LIMIT: Duration = Duration::from_secs(400);

fn dirty_machine<'lab>(lab: &'lab Lab, profile: Profile) -> Result<(FakeDiskSite<'lab>, NodeId)> {
    let mut fake = FakeDiskSite::start(lab, Configuration::default(), profile)?;
    let node = fake.site.take_in(&mut fake.machine)?;
    fake.cut_power();
    fake.device.with(|it, _| it.medium(1).map(|medium| medium.write(LEFTOVER_OFFSET, LEFTOVER)));
    Ok((fake, node))
}

fn wipe(fake: &mut FakeDiskSite<'_>, node: NodeId) -> Result<JobView> {
    let job = fake.site.operator.reimage(&node.to_string(), &["--at-least", "wipe"])?;
    fake.power_on()?;
    wait_end(fake, job)
}

fn wait_end(fake: &mut FakeDiskSite<'_>, job: JobId) -> Result<JobView> {
    fake.site
        .operator
        .wait_job(job, "the end of the work", JOB_LIMIT, |state| {
            matches!(state, JobState::ComingUp | JobState::Held { .. } | JobState::Done { .. })
        })
        .with_context(|| format!("the console ends:\n{}", tail(&fake.machine.console())))
}

fn holds_leftover(fake: &FakeDiskSite<'_>) -> bool {
    fake.device.with(|it, _| it.medium(1).is_some_and(|medium| medium.holds(LEFTOVER)))
}

#[test]
fn nvme_dirty_disk_ends_erased_and_imaged() -> Result<()> {
    let lab = Lab::new()?;
    let (mut fake, node) = dirty_machine(&lab, Profile::solid_state("FAKE0001", DISK_BYTES))?;
    ensure!(holds_leftover(&fake), "there was nothing to erase");
    let job = wipe(&mut fake, node)?;
    println!("{}", describe(&job));
    println!("{:?}", fake.device.with(|it, _| it.counters()));
    ensure!(matches!(job.state, JobState::ComingUp), "the job is {:?}", job.state);
    ensure!(!holds_leftover(&fake), "what the last tenant left is still there");
    let disk = lab.folder().join("disk.raw");
    fake.device.with(|it, _| it.medium(1).map(|medium| medium.save(&disk))).context("no medium")??;
    let differs = first_difference(&fake.site.image_file, &disk)?;
    ensure!(differs.is_none(), "the disk differs from the image at byte {differs:?}");
    Ok(())
}

#[test]
fn nvme_erase_that_did_not_happen_is_not_success() -> Result<()> {
    let lab = Lab::new()?;
    let (mut fake, node) = dirty_machine(&lab, Profile::solid_state("FAKE0001", DISK_BYTES))?;
    fake.device.with(|it, _| it.set_lies(Lies { erase: EraseLie::Nothing, ..Lies::default() }));
    let job = wipe(&mut fake, node)?;
    println!("{}", describe(&job));
    ensure!(matches!(job.state, JobState::Held { .. }), "the job is {:?}", job.state);
    Ok(())
}
