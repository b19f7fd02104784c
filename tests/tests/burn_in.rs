//! Two machines that are burned in at the same time: each works, and they test the network between them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::evidence::Evidence;
use contract::id::JobId;
use contract::operator_api::{JobState, ReimageReply};
use contract::reading::{Outcome, ReadingKey, ReadingValue, Tier};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::direct_boot::{DirectBoot, Told};
use reprieve_tests::disk::{DiskBus, digest};
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, Machine, Spec};
use reprieve_tests::process::capture;
use reprieve_tests::scenario::site::{DISCOVERY_LIMIT, IMAGE_NAME, Site, TENANT, console_end, spec};
use reprieve_tests::scenario::small::{DISK_BYTES, site};
use reprieve_tests::service::Configuration;

/// A minute of work, what it takes to meet, and ten seconds of sending, while other machines keep the cores busy.
const BURN_IN_LIMIT: Duration = Duration::from_secs(420);

struct Node {
    machine: Machine,
    reference: String,
    disk_before: String,
}

impl Node {
    /// A blank machine that somebody took in; its agent waits in the ramdisk.
    fn take_in(site: &Site<'_>, boot: &DirectBoot<'_>, number: u8) -> Result<Self> {
        let spec = Spec { memory_mib: 384, ..spec(&format!("node{number}"), number, Firmware::Bios) };
        let mut machine = site.machine(spec, DiskBus::Nvme, DISK_BYTES)?;
        let disk_before = digest(machine.disks()[0].path())?;
        ensure!(boot.power_on(&mut machine)? == Told::Ramdisk, "a new machine is not looked at");
        let node = site
            .operator
            .wait_discovered(&machine.spec().serial, DISCOVERY_LIMIT)
            .with_context(|| format!("the console ends:\n{}", console_end(&machine)))?;
        let reference = node.id.to_string();
        site.operator.approve_factory_new(&reference)?;
        site.operator.assign(&reference, IMAGE_NAME, TENANT)?;
        Ok(Self { machine, reference, disk_before })
    }
}

#[test]
fn two_machines_that_burn_in_together_test_the_network_between_them() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = site(&lab, &artefacts, &Configuration::default())?;
    let boot = DirectBoot::new(&lab, &artefacts, &site.service);
    let nodes = [Node::take_in(&site, &boot, 1)?, Node::take_in(&site, &boot, 2)?];
    let jobs = burn_in(&site, &nodes)?;
    for (node, job) in nodes.iter().zip(jobs) {
        let is_done = |state: &JobState| matches!(state, JobState::Done { .. });
        site.operator
            .wait_job(job, "the end of the burn-in", BURN_IN_LIMIT, is_done)
            .with_context(|| format!("the console ends:\n{}", console_end(&node.machine)))?;
    }
    for (node, other) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
        expect_tested(&site.operator.decision(&node.reference)?.evidence, &other.reference).with_context(
            || format!("{}: the console ends:\n{}", node.reference, console_end(&node.machine)),
        )?;
        ensure!(digest(node.machine.disks()[0].path())? == node.disk_before, "a burn-in wrote to a disk");
    }
    Ok(())
}

/// `reprieve burn-in A B --minutes 1`.
fn burn_in(site: &Site<'_>, nodes: &[Node; 2]) -> Result<Vec<JobId>> {
    let mut command = site.operator.command();
    command.args(["--json", "burn-in", "--minutes", "1"]).args(nodes.iter().map(|node| &node.reference));
    let said = capture(&mut command)?;
    let replies = serde_json::Deserializer::from_slice(&said).into_iter::<ReimageReply>();
    let jobs = replies.map(|reply| match reply? {
        ReimageReply::Job { job: Some(job), .. } => Ok(job),
        other => bail!("no job was made: {other:?}"),
    });
    let jobs: Vec<JobId> = jobs.collect::<Result<_>>()?;
    ensure!(jobs.len() == nodes.len(), "not a job for each: {jobs:?}");
    Ok(jobs)
}

/// All that a burn-in does was done, with the other node and without an error.
fn expect_tested(evidence: &Evidence, other: &str) -> Result<()> {
    ensure!(evidence.tier == Tier::T3, "no burn-in: {:?}", evidence.tier);
    for rate in [ReadingKey::NetworkSendMegabytes, ReadingKey::NetworkReceiveMegabytes] {
        ensure!(count(evidence, rate)? > 0, "{rate}: nothing was sent");
    }
    ensure!(count(evidence, ReadingKey::NetworkTestErrors)? == 0, "bytes came otherwise than sent");
    match value(evidence, ReadingKey::NetworkTestPartners)? {
        ReadingValue::List { items, total: 1 } if items[0].starts_with(other) => Ok(()),
        partners => bail!("it did not meet node {other} alone: {partners:?}"),
    }
}

fn count(evidence: &Evidence, key: ReadingKey) -> Result<u64> {
    match value(evidence, key)? {
        ReadingValue::Count(count) => Ok(*count),
        other => bail!("{key}: {other:?}"),
    }
}

fn value(evidence: &Evidence, key: ReadingKey) -> Result<&ReadingValue> {
    let found = evidence.readings.iter().find(|reading| reading.key == key);
    match found.map(|reading| &reading.outcome) {
        Some(Outcome::Value(value)) => Ok(value),
        other => bail!("{key}: {other:?}"),
    }
}
