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
use reprieve_tests::wait::until_every;

/// So slow that writing the small image takes five seconds and overwriting the disk before it twenty.
const WRITE_BYTES_PER_SECOND: u64 = 6 << 20;
/// The longest time from the first written byte to a power cut, in milliseconds: the first time only
/// the image is written, after that the disk is overwritten before, because its data are nobody's.
const FIRST_CUT_MILLIS_MAX: u64 = 3500;
const CUT_MILLIS_MAX: u64 = 20_000;
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
    let (mut cuts, mut held) = (0, 0);
    while cuts < CUTS {
        match wait_written(&site, &mut machine, job)? {
            Boot::Writes => {
                ensure!(
                    !machine.is_stopped_within(moments.next(cut_max(cuts)))?,
                    "all was written before cut {}",
                    cuts + 1
                );
                let counters = machine.counters()?;
                machine.cut_power();
                cuts += 1;
                println!("cut {cuts}, {} bytes after power-on", counters.written_bytes);
                ensure!(cannot_boot(&machine)?, "cut {cuts} left a disk that boots half-done");
            }
            Boot::Held => {
                machine.cut_power();
                job = let_go_on(&site, node, job)?;
                held += 1;
            }
        }
        machine.start(OnReset::Stop)?;
    }
    if let Boot::Held = wait_written(&site, &mut machine, job)? {
        machine.cut_power();
        job = let_go_on(&site, node, job)?;
        held += 1;
        machine.start(OnReset::Stop)?;
    }
    println!("held {held} times and released");
    ensure!(held > 0, "{CUTS} power cuts used up no attempts");
    let outcome = follow_ramdisk(&site, &mut machine, node, job, "after ten power cuts")?;
    ensure!(matches!(outcome.job.state, JobState::ComingUp), "the job is {:?}", outcome.job.state);
    expect_image(&site, &machine)
}

fn cut_max(cuts: u32) -> u64 {
    if cuts == 0 { FIRST_CUT_MILLIS_MAX } else { CUT_MILLIS_MAX }
}

/// How a boot after a power cut went.
enum Boot {
    /// The machine writes to its disk: QEMU has counted bytes since power-on.
    Writes,
    /// Its attempts are used up.
    Held,
}

fn wait_written(site: &Site<'_>, machine: &mut Machine, job: JobId) -> Result<Boot> {
    until_every(Duration::from_millis(300), "the first written byte", ACTING_LIMIT, || {
        if machine.counters()?.written_bytes > 0 {
            return Ok(Some(Boot::Writes));
        }
        Ok(matches!(site.operator.job(job)?.state, JobState::Held { .. }).then_some(Boot::Held))
    })
}

/// A held node says why; a person looks and lets it go on.
fn let_go_on(site: &Site<'_>, node: NodeId, job: JobId) -> Result<JobId> {
    let view = site.operator.job(job)?;
    let JobState::Held { reason } = &view.state else { bail!("the job is {:?}", view.state) };
    ensure!(!reason.is_empty(), "the job is held without a reason");
    let reference = node.to_string();
    let state = site.operator.node(&reference)?.state;
    ensure!(state == NodeState::Held, "the job is held but the node is {state:?}");
    site.operator.release_hold(&reference)?;
    match site.operator.node(&reference)?.job {
        Some(job) => Ok(job),
        None => site.operator.reimage(&reference, &[]),
    }
}

/// Random moments from a seed, so that a failure can be had again.
struct Moments(u64);

impl Moments {
    /// Less than this many milliseconds.
    fn next(&mut self, millis_max: u64) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % millis_max)
    }
}
