//! Power cuts and killed services at the worst moments: what is on the disk afterwards is the image,
//! or cannot boot.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::id::{JobId, NodeId};
use contract::operator_api::{JobState, NodeState};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::disk::DiskBus;
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, Machine, OnReset};
use reprieve_tests::scenario::site::{Site, spec};
use reprieve_tests::scenario::small::{DISK_BYTES, expect_image, site};
use reprieve_tests::scenario::stage::follow_ramdisk;
use reprieve_tests::service::Configuration;

/// So slow that writing the small image takes seconds.
const WRITE_BYTES_PER_SECOND: u64 = 6 << 20;
/// How often the power is cut.
const CUTS: u32 = 10;
const ACTING_LIMIT: Duration = Duration::from_secs(300);

fn is_acting(state: &JobState) -> bool {
    matches!(state, JobState::Acting { .. })
}

/// Nothing in the first MiB that firmware would start: no boot code and no partition table.
fn cannot_boot(machine: &Machine) -> Result<bool> {
    let disk = std::fs::File::open(machine.disks()[0].path()).context("could not open the disk")?;
    let mut first = [0; 1024];
    disk.read_exact_at(&mut first, 0).context("could not read the disk")?;
    Ok(first[510..512] != [0x55, 0xaa] && &first[512..520] != b"EFI PART")
}

fn started(site: &Site<'_>) -> Result<(Machine, NodeId, JobId)> {
    let mut machine = site.slow_machine(
        spec("node", 1, Firmware::Bios),
        DiskBus::Virtio,
        DISK_BYTES,
        WRITE_BYTES_PER_SECOND,
    )?;
    let node = site.take_in(&mut machine)?;
    let job = site.operator.reimage(&node.to_string(), &[])?;
    machine.start(OnReset::Stop)?;
    Ok((machine, node, job))
}

#[test]
fn a_service_killed_while_a_disk_is_written_goes_on_where_it_was() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let mut site = site(&lab, &artefacts, &Configuration::default())?;
    let (mut machine, node, job) = started(&site)?;
    site.operator.wait_job(job, "the first irreversible byte", ACTING_LIMIT, is_acting)?;
    site.service.kill();
    site.service.start_again()?;
    let before = site.operator.job(job)?;
    ensure!(
        !matches!(before.state, JobState::Waiting | JobState::Cancelled),
        "the service forgot what was under way: {:?}",
        before.state
    );
    let outcome = follow_ramdisk(&site, &mut machine, node, job, "service killed")?;
    ensure!(matches!(outcome.job.state, JobState::ComingUp), "the job is {:?}", outcome.job.state);
    expect_image(&site, &machine)
}

#[test]
fn ten_power_cuts_while_a_disk_is_written_never_leave_one_that_boots_half_done() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = site(&lab, &artefacts, &Configuration { attempts_max: Some(4), ..Configuration::default() })?;
    let (mut machine, node, mut job) = started(&site)?;
    let mut moments = Moments(0x5eed);
    let mut held = 0;
    for cut in 1..=CUTS {
        site.operator.wait_job(job, "the first irreversible byte", ACTING_LIMIT, is_acting)?;
        let stopped_early = machine.is_stopped_within(moments.next())?;
        machine.cut_power();
        println!("cut {cut}: {}", if stopped_early { "after the last byte" } else { "while writing" });
        if !stopped_early {
            ensure!(
                cannot_boot(&machine)? || image_is_whole(&site, &machine)?,
                "cut {cut} left a disk that boots half-done"
            );
        }
        machine.start(OnReset::Stop)?;
        (job, held) = go_on(&site, &mut machine, node, job, held)?;
    }
    println!("held {held} times and released");
    let outcome = follow_ramdisk(&site, &mut machine, node, job, "after ten power cuts")?;
    ensure!(matches!(outcome.job.state, JobState::ComingUp), "the job is {:?}", outcome.job.state);
    expect_image(&site, &machine)
}

fn image_is_whole(site: &Site<'_>, machine: &Machine) -> Result<bool> {
    Ok(expect_image(site, machine).is_ok())
}

/// After a power cut: the job goes on, or the node is held with a reason and a person lets it go on.
fn go_on(
    site: &Site<'_>,
    machine: &mut Machine,
    node: NodeId,
    job: JobId,
    held: u32,
) -> Result<(JobId, u32)> {
    let view = site.operator.wait_job(job, "the ramdisk again", ACTING_LIMIT, |state| {
        matches!(
            state,
            JobState::Looking | JobState::Ordered | JobState::Acting { .. } | JobState::Held { .. }
        )
    })?;
    let JobState::Held { reason } = &view.state else { return Ok((job, held)) };
    ensure!(!reason.is_empty(), "the job is held without a reason");
    let reference = node.to_string();
    let state = site.operator.node(&reference)?.state;
    if state != NodeState::Held {
        bail!("the job is held but the node is {state:?}");
    }
    site.operator.release_hold(&reference)?;
    let next = site.operator.reimage(&reference, &[])?;
    machine.cut_power();
    machine.start(OnReset::Stop)?;
    Ok((next, held + 1))
}

/// Random moments from a seed, so that a failure can be had again.
struct Moments(u64);

impl Moments {
    /// Up to four seconds.
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % 4000)
    }
}
