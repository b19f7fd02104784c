//! One job through one machine, followed and measured.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use contract::decision::Action;
use contract::id::{JobId, NodeId};
use contract::operator_api::{JobState, JobView};
use contract::reading::Trust;

use crate::machine::{DiskCounters, Machine, OnReset};
use crate::scenario::site::{Site, console_end};

/// Longest time from power-on to the agent's first word, under TCG with another machine beside.
const BOOT_LIMIT: Duration = Duration::from_secs(240);
/// Longest time for looking and judging.
const LOOK_LIMIT: Duration = Duration::from_secs(300);
/// Longest time for writing a whole image or overwriting a disk.
const ACT_LIMIT: Duration = Duration::from_secs(900);
/// Longest time from the last proof to the report of the running system.
const UP_LIMIT: Duration = Duration::from_secs(400);

/// Seconds by phase, as somebody who stands beside sees them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Phases {
    /// From power-on (or the request, for a running machine) to the agent's first word.
    pub boot: Duration,
    /// Until it was judged.
    pub look: Duration,
    /// Until everything is written and proven.
    pub act: Duration,
    /// Until the operating system has reported; zero if it was not started.
    pub up: Duration,
}

/// What became of one job.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The machine's name.
    pub machine: String,
    /// Its firmware and disk, in words.
    pub hardware: String,
    /// Which case of the demo.
    pub case: String,
    /// What was decided.
    pub action: Action,
    /// The first reason.
    pub reason: String,
    /// What the disks did while the ramdisk had the machine, as QEMU counts it.
    pub counters: DiskCounters,
    /// Fetched from the service, in bytes, as the agent counts it.
    pub fetched_bytes: u64,
    /// From kernel start to the agent's first word, as the agent counts it; none if it did not say.
    pub first_contact_millis: Option<u64>,
    /// Seconds by phase.
    pub phases: Phases,
    /// The job as it was last seen.
    pub job: JobView,
}

/// Follows a job through the ramdisk until the machine leaves it and stands still, or is held. The
/// machine must be on its way into the ramdisk and `OnReset::Stop` must hold from there on.
///
/// # Errors
/// If a phase takes too long; with the job's events and the end of the console.
pub fn follow_ramdisk(
    site: &Site<'_>,
    machine: &mut Machine,
    node: NodeId,
    job: JobId,
    case: &str,
) -> Result<Outcome> {
    let begun = Instant::now();
    let contact = wait(site, machine, job, "the agent's first word", BOOT_LIMIT, |state| {
        !matches!(state, JobState::Waiting | JobState::Booting { .. })
    });
    contact?;
    follow_from_contact(site, machine, node, job, case, begun)
}

/// As [`follow_ramdisk`], for a machine whose agent has already spoken.
///
/// # Errors
/// As [`follow_ramdisk`].
pub fn follow_from_contact(
    site: &Site<'_>,
    machine: &mut Machine,
    node: NodeId,
    job: JobId,
    case: &str,
    begun: Instant,
) -> Result<Outcome> {
    let mut phases = Phases { boot: begun.elapsed(), ..Phases::default() };
    let contact = Instant::now();
    wait(site, machine, job, "the verdict", LOOK_LIMIT, |state| !matches!(state, JobState::Looking))?;
    phases.look = contact.elapsed();
    let judged = Instant::now();
    let view = wait(site, machine, job, "the end of the work", ACT_LIMIT, |state| {
        matches!(state, JobState::ComingUp | JobState::Done { .. } | JobState::Held { .. })
    })?;
    phases.act = judged.elapsed();
    if !matches!(view.state, JobState::Held { .. }) {
        machine.wait_stopped(Duration::from_secs(120))?;
    }
    let counters = machine.counters()?;
    let decision = site.operator.decision(&node.to_string())?.decision;
    let reason = decision.reasons.first().context("a decision without a reason")?.statement.clone();
    let first_contact_millis = first_contact_millis(&view);
    Ok(Outcome {
        machine: machine.spec().name.clone(),
        hardware: format!("{}, {}", machine.spec().firmware.words(), machine.disks()[0].bus().words()),
        case: case.to_owned(),
        action: decision.action,
        reason,
        counters,
        fetched_bytes: view.steps.iter().map(|step| step.bytes_fetched).sum(),
        first_contact_millis,
        phases,
        job: view,
    })
}

/// Starts a machine that stands still after the ramdisk and waits until its operating system has
/// reported and the job is done.
///
/// # Errors
/// If it does not come up in time, with the end of the console.
pub fn bring_up(site: &Site<'_>, machine: &mut Machine, outcome: &mut Outcome) -> Result<()> {
    let begun = Instant::now();
    let node = outcome.job.node.to_string();
    let ramdisk = site.operator.decision(&node)?.evidence.boot_id;
    machine.resume(OnReset::Restart)?;
    let job = outcome.job.id;
    outcome.job = wait(site, machine, job, "the report of the running system", UP_LIMIT, |state| {
        matches!(state, JobState::Done { .. })
    })?;
    // A job that found nothing to do is done before the system is up.
    site.operator
        .wait_decision(&node, UP_LIMIT, |seen| seen.trust == Trust::Resident && seen.boot_id != ramdisk)
        .with_context(|| format!("the console of {} ends:\n{}", machine.spec().name, console_end(machine)))?;
    outcome.phases.up = begun.elapsed();
    Ok(())
}

/// Fails unless the verdict was this one.
///
/// # Errors
/// Says what was decided instead and why.
pub fn expect_action(outcome: &Outcome, action: Action) -> Result<()> {
    if outcome.action != action {
        bail!(
            "{}: expected {action:?}, but it was judged {:?}: {}",
            outcome.case,
            outcome.action,
            outcome.reason
        );
    }
    Ok(())
}

/// What the job's events say of the agent's first word: `… 1234 ms after kernel start …`.
fn first_contact_millis(view: &JobView) -> Option<u64> {
    let before =
        view.events.iter().rev().find_map(|event| event.text.split_once(" ms after kernel start"))?.0;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn wait(
    site: &Site<'_>,
    machine: &Machine,
    job: JobId,
    what: &str,
    limit: Duration,
    is_there: impl FnMut(&JobState) -> bool,
) -> Result<JobView> {
    site.operator
        .wait_job(job, what, limit, is_there)
        .with_context(|| format!("the console of {} ends:\n{}", machine.spec().name, console_end(machine)))
}
