//! A real kernel's NVMe driver and the real agent against a fake device on the wire: what it erases,
//! and what it only says that it erased.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::id::{JobId, NodeId};
use contract::operator_api::{JobState, JobView};
use reprieve_tests::lab::Lab;
use reprieve_tests::nvme_tcp::identify::Profile;
use reprieve_tests::nvme_tcp::lies::{EraseLie, Lies, ProgressLie};
use reprieve_tests::nvme_tcp::sanitize::Phase;
use reprieve_tests::nvme_tcp::site::FakeDiskSite;
use reprieve_tests::operator::describe;
use reprieve_tests::scenario::small::DISK_BYTES;
use reprieve_tests::service::Configuration;
use reprieve_tests::wait::until;

/// What the last tenant left behind, near the end of the disk.
const LEFTOVER: &[u8; 512] = &[0x5e; 512];
const LEFTOVER_OFFSET: u64 = 90 << 20;
/// Longest time from the ramdisk's start until the device is told to sanitize.
const SANITIZE_LIMIT: Duration = Duration::from_secs(200);

fn profile() -> Profile {
    Profile::solid_state("FAKE0001", DISK_BYTES)
}

fn dirty_machine(lab: &Lab, profile: Profile) -> Result<(FakeDiskSite<'_>, NodeId)> {
    let configuration = Configuration { attempts_max: Some(20), ..Configuration::default() };
    let mut fake = FakeDiskSite::start(lab, configuration, profile)?;
    let node = fake.take_in()?;
    soil(&fake);
    Ok((fake, node))
}

fn soil(fake: &FakeDiskSite<'_>) {
    fake.device.with(|it, _| it.medium(1).map(|medium| medium.write(LEFTOVER_OFFSET, LEFTOVER)));
}

fn holds_leftover(fake: &FakeDiskSite<'_>) -> bool {
    fake.device.with(|it, _| it.medium(1).is_some_and(|medium| medium.holds(LEFTOVER)))
}

fn expect_erased_and_imaged(fake: &FakeDiskSite<'_>, node: NodeId, job: &JobView) -> Result<()> {
    println!("{}", describe(job));
    ensure!(matches!(job.state, JobState::ComingUp), "the job is {}", describe(job));
    ensure!(!holds_leftover(fake), "what the last tenant left is still there");
    ensure!(fake.site.operator.certificate_count(&node.to_string())? > 0, "there is no certificate");
    fake.expect_image()
}

/// A lie, its name, and what the reason of the hold must say.
type Case = (&'static str, Lies, &'static str);

/// Each lie in turn, on one machine that starts anew for each: it is held, for the right reason and
/// without a certificate. The held job.
fn expect_each_held(
    fake: &mut FakeDiskSite<'_>,
    node: NodeId,
    level: &str,
    cases: &[Case],
) -> Result<Option<JobId>> {
    let reference = node.to_string();
    let mut job = None;
    for (name, lies, reason_has) in cases {
        soil(fake);
        fake.device.with(|it, _| it.set_lies(lies.clone()));
        let id = match job {
            None => fake.site.operator.wipe(&reference, level, name)?,
            Some(_) => start_again(fake, node, level)?,
        };
        let view = fake.wait_end(id).with_context(|| (*name).to_owned())?;
        let JobState::Held { reason } = &view.state else { bail!("{name}: {}", describe(&view)) };
        println!("{name}: {reason}");
        ensure!(reason.contains(reason_has), "{name}: held for another reason: {}", describe(&view));
        let certificates = fake.site.operator.certificate_count(&reference)?;
        ensure!(certificates == 0, "{name}: a certificate for a disk that is not clean");
        job = Some(id);
    }
    Ok(job)
}

/// Machine and disk are switched off and on, and the held node is let go on.
fn start_again(fake: &mut FakeDiskSite<'_>, node: NodeId, level: &str) -> Result<JobId> {
    fake.cut_power();
    let job = fake.release(node, level)?;
    fake.power_on()?;
    Ok(job)
}

#[test]
fn nvme_clear_is_a_format_and_a_dirty_disk_ends_erased_and_imaged() -> Result<()> {
    let lab = Lab::new()?;
    let (fake, node) = dirty_machine(&lab, profile())?;
    ensure!(holds_leftover(&fake), "there was nothing to erase");
    let job = fake.site.operator.wipe(&node.to_string(), "clear", "laboratory")?;
    let job = fake.wait_end(job)?;
    let counters = fake.device.with(|it, _| it.counters());
    ensure!((counters.formats, counters.sanitizes) == (1, 0), "{counters:?}");
    expect_erased_and_imaged(&fake, node, &job)
}

#[test]
fn nvme_purge_is_a_sanitize_and_a_dirty_disk_ends_erased_and_imaged() -> Result<()> {
    let lab = Lab::new()?;
    let (fake, node) = dirty_machine(&lab, profile())?;
    let job = fake.site.operator.wipe(&node.to_string(), "purge", "laboratory")?;
    let job = fake.wait_end(job)?;
    let counters = fake.device.with(|it, _| it.counters());
    ensure!((counters.formats, counters.sanitizes) == (0, 2), "{counters:?}");
    expect_erased_and_imaged(&fake, node, &job)
}

#[test]
fn nvme_format_that_lies_is_held_and_never_certified() -> Result<()> {
    let lab = Lab::new()?;
    let (mut fake, node) = dirty_machine(&lab, profile())?;
    let half = EraseLie::First(DISK_BYTES / 2);
    let cases = [
        ("erases nothing", Lies { erase: EraseLie::Nothing, ..Lies::default() }, "survived the erase"),
        ("erases half", Lies { erase: half, ..Lies::default() }, "survived the erase"),
        ("forgets writes", Lies { drops_writes: true, ..Lies::default() }, "was not on the disk after"),
        ("cannot be read", Lies { unreadable: Some(0..1 << 20), ..Lies::default() }, "unrecoverable error"),
        ("disappears", Lies { disappears: true, ..Lies::default() }, "did not complete the erase"),
    ];
    expect_each_held(&mut fake, node, "clear", &cases).map(drop)
}

#[test]
fn nvme_sanitize_that_lies_is_held_and_one_that_failed_is_made_up_for() -> Result<()> {
    let lab = Lab::new()?;
    let (mut fake, node) = dirty_machine(&lab, profile())?;
    let some = Lies { claims_erased: true, erase: EraseLie::First(1 << 20), ..Lies::default() };
    let fails = ProgressLie::FailsAt(64_880);
    let cases = [
        ("erases nothing", Lies { erase: EraseLie::Nothing, ..Lies::default() }, "survived the erase"),
        ("says erased, is not", some, "survived the erase"),
        ("is write-protected", Lies { write_protected: true, ..Lies::default() }, "no longer be written"),
        ("hides a pending firmware", Lies { firmware_hidden: true, ..Lies::default() }, "firmware waits"),
        ("fails at 99 %", Lies { progress: fails, ..Lies::default() }, "is not erased"),
    ];
    expect_each_held(&mut fake, node, "purge", &cases)?;
    let phase = fake.device.with(|it, now| it.sanitize_phase(now));
    ensure!(phase == Phase::Failed { restricted: true }, "the device is {phase:?}");
    fake.device.with(|it, _| it.set_lies(Lies::default()));
    let job = start_again(&mut fake, node, "purge")?;
    let job = fake.wait_end(job)?;
    expect_erased_and_imaged(&fake, node, &job)
}

#[test]
fn nvme_purge_takes_the_next_method_where_a_firmware_forbids_a_sanitize() -> Result<()> {
    let lab = Lab::new()?;
    let (fake, node) = dirty_machine(&lab, profile())?;
    fake.device.with(|it, _| it.set_lies(Lies { firmware_pending: true, ..Lies::default() }));
    let job = fake.site.operator.wipe(&node.to_string(), "purge", "laboratory")?;
    let job = fake.wait_end(job)?;
    let counters = fake.device.with(|it, _| it.counters());
    ensure!((counters.formats, counters.sanitizes) == (1, 0), "{counters:?}");
    expect_erased_and_imaged(&fake, node, &job)
}

/// A purge whose sanitize does not get on; machine and disk lose their power meanwhile.
fn cut_power_while_stuck(fake: &mut FakeDiskSite<'_>, node: NodeId) -> Result<JobId> {
    let stuck = Lies { progress: ProgressLie::StuckAt(655), ..Lies::default() };
    fake.device.with(|it, _| it.set_lies(stuck));
    let job = fake.site.operator.wipe(&node.to_string(), "purge", "laboratory")?;
    until("a running sanitize", SANITIZE_LIMIT, || {
        let phase = fake.device.with(|it, now| it.sanitize_phase(now));
        Ok(matches!(phase, Phase::Running { .. }).then_some(()))
    })
    .with_context(|| fake.console_end())?;
    fake.cut_power();
    Ok(job)
}

#[test]
fn nvme_power_cut_during_a_sanitize_is_waited_out_and_erased_anew() -> Result<()> {
    let lab = Lab::new()?;
    let (mut fake, node) = dirty_machine(&lab, profile())?;
    let job = cut_power_while_stuck(&mut fake, node)?;
    fake.power_on()?;
    let begun = |view: &JobView| {
        view.events.iter().filter(|event| event.text.starts_with("step 1 of 2 begins")).count()
    };
    let view = fake
        .site
        .operator
        .wait_job(job, "the second try", SANITIZE_LIMIT, |state| {
            matches!(state, JobState::Acting { .. })
                && fake.site.operator.job(job).is_ok_and(|view| begun(&view) == 2)
        })
        .with_context(|| fake.console_end())?;
    ensure!(begun(&view) == 2, "{}", describe(&view));
    let sanitizes = || fake.device.with(|it, _| it.counters().sanitizes);
    ensure!(sanitizes() == 1, "a running sanitize was started over");
    ensure!(fake.site.operator.certificate_count(&node.to_string())? == 0, "certified while it ran");
    fake.device.with(|it, _| it.set_lies(Lies::default()));
    let view = fake.wait_end(job)?;
    ensure!(sanitizes() == 3, "the one that was cut off was trusted: {} sanitizes", sanitizes());
    expect_erased_and_imaged(&fake, node, &view)
}

#[test]
fn nvme_other_disk_after_a_power_cut_is_not_taken_for_the_one_that_was_begun() -> Result<()> {
    let lab = Lab::new()?;
    let (mut fake, node) = dirty_machine(&lab, profile())?;
    let job = cut_power_while_stuck(&mut fake, node)?;
    let other = Lies { serial_after_reset: Some("FAKE0002".to_owned()), ..Lies::default() };
    fake.device.with(|it, _| it.set_lies(other));
    let before = fake.device.with(|it, _| it.counters());
    fake.power_on()?;
    let view = fake.wait_end(job)?;
    let JobState::Held { reason } = &view.state else { bail!("{}", describe(&view)) };
    ensure!(reason.contains("is missing"), "held for another reason: {}", describe(&view));
    ensure!(fake.site.operator.certificate_count(&node.to_string())? == 0, "a certificate for no erase");
    let after = fake.device.with(|it, _| it.counters());
    ensure!(after.written_bytes == before.written_bytes, "the other disk was written to");
    ensure!(after.sanitizes == before.sanitizes && after.formats == before.formats, "it was erased");
    Ok(())
}
