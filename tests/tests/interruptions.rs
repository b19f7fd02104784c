//! A service that is killed at the worst moment: the work goes on where it was.

use std::time::Duration;

use anyhow::{Result, ensure};
use contract::id::{JobId, NodeId};
use contract::operator_api::JobState;
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::disk::DiskBus;
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, Machine, OnReset};
use reprieve_tests::scenario::site::{Site, spec};
use reprieve_tests::scenario::small::{DISK_BYTES, expect_image, site};
use reprieve_tests::scenario::stage::follow_ramdisk;
use reprieve_tests::service::Configuration;

/// So slow that writing the small image takes five seconds and overwriting the disk before it twenty.
const WRITE_BYTES_PER_SECOND: u64 = 6 << 20;
const ACTING_LIMIT: Duration = Duration::from_secs(300);

fn is_acting(state: &JobState) -> bool {
    matches!(state, JobState::Acting { .. })
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
