//! The six cases of the demo, each with what must be true at its end.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use contract::decision::{Action, Fitness, Severity};
use contract::evidence::Evidence;
use contract::id::NodeId;
use contract::operator_api::{DecisionView, JobState, NodeState};
use contract::reading::{ReadingKey, ReadingValue, Tier};

use crate::disk::{Mounted, digest, find_bytes, first_difference};
use crate::machine::{Machine, OnReset};
use crate::scenario::site::Site;
use crate::scenario::stage::{Outcome, bring_up, expect_action, follow_from_contact, follow_ramdisk};

/// Longest time for an operating system under TCG to shut down.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(180);
/// A file of the node's own, which a repair must keep.
const MARKER: &str = "/var/lib/marker-of-the-node";
/// What is changed behind the machine's back: altered, made setuid, deleted.
const ALTERED: &str = "/usr/bin/sort";
const MODE_CHANGED: &str = "/usr/bin/head";
const DELETED: &str = "/usr/bin/tail";
/// A repair of these few files may write this much at most: the files, their metadata, the journal.
const REPAIR_WRITTEN_BYTES_MAX: u64 = 32 << 20;
/// The tenant that comes after the first.
const NEXT_TENANT: &str = "basalt";

/// A machine on its way through the cases.
#[derive(Debug)]
pub struct Subject {
    /// The machine.
    pub machine: Machine,
    /// Its id at the service.
    pub node: NodeId,
}

impl Subject {
    fn disk(&self) -> &Path {
        self.machine.disks()[0].path()
    }

    fn reference(&self) -> String {
        self.node.to_string()
    }

    fn mount(&self, read_only: bool) -> Result<Mounted> {
        Mounted::root(self.disk(), &self.disk().with_extension("mnt"), read_only)
    }
}

/// 1: a blank machine, new, is given the image and comes up.
///
/// # Errors
/// If anything is not as it must be.
pub fn new_machine(site: &Site<'_>, mut machine: Machine) -> Result<(Subject, Outcome)> {
    let node = site.take_in(&mut machine)?;
    let mut subject = Subject { machine, node };
    let job = site.operator.reimage(&subject.reference(), &[])?;
    subject.machine.start(OnReset::Stop)?;
    let mut outcome = follow_ramdisk(site, &mut subject.machine, node, job, "1 new")?;
    expect_action(&outcome, Action::Reimage)?;
    expect_image(site, &subject)?;
    bring_up(site, &mut subject.machine, &mut outcome)?;
    site.operator.wait_idle(&subject.reference(), Duration::from_secs(60))?;
    expect_nothing_found(&site.operator.decision(&subject.reference())?)?;
    Ok((subject, outcome))
}

/// 2: same tenant, the system has run and been used, nothing immutable touched: keep.
///
/// # Errors
/// If anything is not as it must be.
pub fn used_machine(site: &Site<'_>, subject: &mut Subject) -> Result<Outcome> {
    subject.machine.shut_down(SHUT_DOWN_LIMIT)?;
    use_system(subject)?;
    let before = digest(subject.disk())?;
    let mut outcome = from_power_off(site, subject, "2 used", &["--from-ramdisk"])?;
    expect_action(&outcome, Action::Keep)?;
    expect_nothing_written(subject, &outcome, &before)?;
    expect_sound(site, subject)?;
    bring_up(site, &mut subject.machine, &mut outcome)?;
    Ok(outcome)
}

/// 3: same tenant, immutable files altered and one deleted behind its back: repair.
///
/// # Errors
/// If anything is not as it must be.
pub fn altered_machine(site: &Site<'_>, subject: &mut Subject) -> Result<Outcome> {
    subject.machine.shut_down(SHUT_DOWN_LIMIT)?;
    let own = alter_system(subject)?;
    let mut outcome = from_power_off(site, subject, "3 altered", &["--from-ramdisk"])?;
    expect_action(&outcome, Action::Repair)?;
    expect_repaired(site, subject, &own)?;
    ensure!(
        outcome.counters.written_bytes <= REPAIR_WRITTEN_BYTES_MAX,
        "the repair of three files wrote {} bytes",
        outcome.counters.written_bytes
    );
    bring_up(site, &mut subject.machine, &mut outcome)?;
    Ok(outcome)
}

/// 4: the tenant changes: wipe with proof, then image; nothing of the old tenant is left.
///
/// # Errors
/// If anything is not as it must be.
pub fn next_tenant(site: &Site<'_>, subject: &mut Subject) -> Result<Outcome> {
    subject.machine.shut_down(SHUT_DOWN_LIMIT)?;
    let marker = leave_tenant_data(subject)?;
    ensure!(find_bytes(subject.disk(), &marker)?.is_some(), "the old tenant's marker did not reach the disk");
    let mut outcome = from_power_off(site, subject, "4 next tenant", &["--tenant", NEXT_TENANT])?;
    expect_action(&outcome, Action::Wipe)?;
    if let Some(at) = find_bytes(subject.disk(), &marker)? {
        bail!("the old tenant's marker is still on the disk at byte {at}");
    }
    ensure!(
        outcome.job.steps.iter().any(|step| step.erase_record.is_some()),
        "the wipe left no erase record: {:?}",
        outcome.job.steps
    );
    expect_image(site, subject)?;
    bring_up(site, &mut subject.machine, &mut outcome)?;
    Ok(outcome)
}

/// 5: the disk raises a critical warning: quarantine, nothing written.
///
/// # Errors
/// If anything is not as it must be.
pub fn failing_disk(site: &Site<'_>, subject: &mut Subject) -> Result<Outcome> {
    subject.machine.shut_down(SHUT_DOWN_LIMIT)?;
    // Bit 2: the NVM subsystem's reliability is degraded (NVM Express Base Specification, SMART log).
    subject.machine.raise_nvme_warning(0b100);
    let before = digest(subject.disk())?;
    let outcome = from_power_off(site, subject, "5 failing disk", &["--from-ramdisk"])?;
    expect_action(&outcome, Action::Quarantine)?;
    ensure!(
        matches!(outcome.job.state, JobState::Held { .. }),
        "the job is not held but {:?}",
        outcome.job.state
    );
    let node = site.operator.node(&subject.reference())?;
    ensure!(node.state == NodeState::Held, "the node is not held but {:?}", node.state);
    subject.machine.cut_power();
    expect_nothing_written(subject, &outcome, &before)?;
    Ok(outcome)
}

/// 6: a running node reimaged by hand: its own agent takes it into the ramdisk and back.
///
/// # Errors
/// If anything is not as it must be.
pub fn running_machine(site: &Site<'_>, subject: &mut Subject) -> Result<Outcome> {
    site.operator.wait_idle(&subject.reference(), Duration::from_secs(120))?;
    let begun = Instant::now();
    let job = site.operator.reimage(&subject.reference(), &["--at-least", "reimage"])?;
    // The first reset is the agent's own on its way into the ramdisk; the one after must stop.
    site.operator.wait_job(job, "the agent in the ramdisk", Duration::from_secs(300), |state| {
        !matches!(state, JobState::Waiting | JobState::Booting { .. })
    })?;
    subject.machine.on_reset(OnReset::Stop)?;
    let before = subject.machine.counters()?;
    let mut outcome = follow_from_contact(site, &mut subject.machine, subject.node, job, "6 by hand", begun)?;
    outcome.counters.read_bytes -= before.read_bytes;
    outcome.counters.written_bytes -= before.written_bytes;
    expect_action(&outcome, Action::Reimage)?;
    expect_image(site, subject)?;
    let written: u64 = outcome.job.steps.iter().map(|step| step.bytes_written).sum();
    ensure!(written > 0, "a used system was made bit-identical without writing anything");
    ensure!(
        outcome.counters.written_bytes < site.image.disk_bytes / 4,
        "writing only what differs wrote {} bytes of an image of {}",
        outcome.counters.written_bytes,
        site.image.disk_bytes
    );
    bring_up(site, &mut subject.machine, &mut outcome)?;
    Ok(outcome)
}

/// Asks for a state of a machine that is off, switches it on and follows it.
fn from_power_off(site: &Site<'_>, subject: &mut Subject, case: &str, arguments: &[&str]) -> Result<Outcome> {
    let job = site.operator.reimage(&subject.reference(), arguments)?;
    subject.machine.start(OnReset::Stop)?;
    follow_ramdisk(site, &mut subject.machine, subject.node, job, case)
}

fn expect_image(site: &Site<'_>, subject: &Subject) -> Result<()> {
    match first_difference(&site.image_file, subject.disk())? {
        None => Ok(()),
        Some(at) => bail!("the disk of {} differs from the image at byte {at}", subject.machine.spec().name),
    }
}

/// Nothing is found on a machine that nothing is wrong with, although its processors and its memory were made
/// to work and every part was looked at.
fn expect_sound(site: &Site<'_>, subject: &Subject) -> Result<()> {
    let deep = |evidence: &Evidence| evidence.tier == Tier::T2;
    let seen = site.operator.wait_decision(&subject.reference(), Duration::from_secs(30), deep)?;
    for key in [ReadingKey::ProcessorTestErrors, ReadingKey::MemoryTestErrors] {
        let outcome = seen.evidence.outcome(&contract::reading::Subject::Node, key);
        let none = contract::reading::Outcome::Value(ReadingValue::Count(0));
        ensure!(outcome == none, "{key} of a machine with which nothing is wrong: {outcome:?}");
    }
    expect_nothing_found(&seen)
}

/// Nothing but good is found, whatever looked.
fn expect_nothing_found(seen: &DecisionView) -> Result<()> {
    let decision = &seen.decision;
    let found: Vec<_> = decision.findings.iter().filter(|it| it.severity != Severity::Good).collect();
    ensure!(found.is_empty(), "something is found on an untouched machine: {found:#?}");
    ensure!(decision.fitness == Fitness::Fit, "{:?}", decision.fitness);
    Ok(())
}

fn expect_nothing_written(subject: &Subject, outcome: &Outcome, before: &str) -> Result<()> {
    ensure!(
        outcome.counters.written_bytes == 0 && outcome.counters.dataless_writes == 0,
        "{}: QEMU counted writes: {:?}",
        outcome.case,
        outcome.counters
    );
    ensure!(digest(subject.disk())? == before, "{}: the disk's bytes have changed", outcome.case);
    Ok(())
}

/// What a system in use leaves behind: logs and state, written by us so that there is surely some.
fn use_system(subject: &Subject) -> Result<()> {
    let root = subject.mount(false)?;
    write(&root, "/var/log/application.log", &b"a line of a log\n".repeat(20_000))?;
    write(&root, "/var/lib/dpkg/status-of-yesterday", b"Package: something\n")?;
    write(&root, MARKER, b"the node's own state\n")?;
    root.unmount()
}

/// The node's own files that a repair must keep: path and content.
type OwnFiles = Vec<(PathBuf, Vec<u8>)>;

fn alter_system(subject: &Subject) -> Result<OwnFiles> {
    let root = subject.mount(false)?;
    write(&root, MARKER, b"the node's own state\n")?;
    let mut altered = read(&root, ALTERED)?;
    let middle = altered.len() / 2;
    altered[middle] ^= 0xff;
    write(&root, ALTERED, &altered)?;
    let setuid = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(root.path(MODE_CHANGED), setuid)
        .with_context(|| format!("could not alter {MODE_CHANGED}"))?;
    std::fs::remove_file(root.path(DELETED)).with_context(|| format!("could not delete {DELETED}"))?;
    let mut own = vec![(PathBuf::from(MARKER), read(&root, MARKER)?)];
    for entry in std::fs::read_dir(root.path("/etc/ssh")).context("could not list /etc/ssh of the machine")? {
        let name = entry.context("could not list /etc/ssh of the machine")?.file_name();
        let path = Path::new("/etc/ssh").join(&name);
        if name.to_string_lossy().starts_with("ssh_host_") {
            let content = read(&root, &path.to_string_lossy())?;
            own.push((path, content));
        }
    }
    ensure!(own.len() > 1, "the machine has no SSH host key");
    root.unmount()?;
    Ok(own)
}

fn expect_repaired(site: &Site<'_>, subject: &Subject, own: &OwnFiles) -> Result<()> {
    let point = subject.disk().with_extension("image-mnt");
    let image = Mounted::root(&site.image_file, &point, true)?;
    let root = subject.mount(true)?;
    for path in [ALTERED, MODE_CHANGED, DELETED] {
        ensure!(read(&root, path)? == read(&image, path)?, "{path} was not put back");
        let mode = |mounted: &Mounted| -> Result<u32> {
            let metadata =
                std::fs::metadata(mounted.path(path)).with_context(|| format!("could not look at {path}"))?;
            Ok(metadata.permissions().mode())
        };
        ensure!(mode(&root)? == mode(&image)?, "the mode of {path} was not put back");
    }
    for (path, content) in own {
        ensure!(&read(&root, &path.to_string_lossy())? == content, "{} was not kept", path.display());
    }
    root.unmount()?;
    image.unmount()
}

/// The old tenant's data: a pattern nobody else has, over and over. Gives the pattern.
fn leave_tenant_data(subject: &Subject) -> Result<Vec<u8>> {
    let seed = format!("{} {:?}", subject.node, std::time::SystemTime::now());
    let marker =
        [blake3::hash(seed.as_bytes()).as_bytes().as_slice(), blake3::hash(b"marker").as_bytes()].concat();
    let root = subject.mount(false)?;
    write(&root, "/root/data-of-the-tenant", &marker.repeat(100_000))?;
    root.unmount()?;
    Ok(marker)
}

fn read(root: &Mounted, path: &str) -> Result<Vec<u8>> {
    std::fs::read(root.path(path)).with_context(|| format!("could not read {path} of the machine"))
}

fn write(root: &Mounted, path: &str, content: &[u8]) -> Result<()> {
    std::fs::write(root.path(path), content).with_context(|| format!("could not write {path} of the machine"))
}
