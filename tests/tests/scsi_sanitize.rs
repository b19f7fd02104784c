//! A real kernel's SCSI disk driver and the real agent against a fake disk outside the machine: what its
//! SANITIZE erases, and what it only says that it erased.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::certificate_api::CertificateView;
use contract::decision::SanitizeLevel;
use contract::id::{JobId, NodeId};
use contract::operator_api::{JobState, JobView};
use contract::plan::EraseMethod;
use reprieve_tests::lab::Lab;
use reprieve_tests::operator::describe;
use reprieve_tests::process::capture;
use reprieve_tests::scenario::small::DISK_BYTES;
use reprieve_tests::service::Configuration;
use reprieve_tests::tcmu::disk::{BLOCK_ERASE, CRYPTOGRAPHIC_ERASE, OVERWRITE, Profile};
use reprieve_tests::tcmu::lies::{EraseLie, Lies, ProgressLie};
use reprieve_tests::tcmu::sanitize::Phase;
use reprieve_tests::tcmu::site::FakeScsiSite;
use reprieve_tests::wait::until;

/// What the last tenant left behind, near the end of the disk.
const LEFTOVER: &[u8; 512] = &[0x5e; 512];
const LEFTOVER_OFFSET: u64 = 90 << 20;
/// Longest time from the ramdisk's start until the disk is told to sanitize.
const SANITIZE_LIMIT: Duration = Duration::from_secs(200);

fn dirty_machine(lab: &Lab, profile: Profile) -> Result<(FakeScsiSite<'_>, NodeId)> {
    let configuration = Configuration { attempts_max: Some(20), ..Configuration::default() };
    let mut fake = FakeScsiSite::start(lab, configuration, profile)?;
    let node = fake.take_in()?;
    soil(&fake);
    Ok((fake, node))
}

fn soil(fake: &FakeScsiSite<'_>) {
    fake.device.with(|disk, _| disk.medium().write(LEFTOVER_OFFSET, LEFTOVER));
}

fn expect_purged_and_imaged(
    fake: &FakeScsiSite<'_>,
    node: NodeId,
    job: &JobView,
    method: EraseMethod,
) -> Result<()> {
    println!("{}", describe(job));
    ensure!(matches!(job.state, JobState::ComingUp), "the job is {}", describe(job));
    let leftover = fake.device.with(|disk, _| disk.medium().holds(LEFTOVER));
    ensure!(!leftover, "what the last tenant left is still there");
    let mut list = fake.site.operator.command();
    let list = capture(list.args(["--json", "certificate", "list", "--node", &node.to_string()]))?;
    let certificates: Vec<CertificateView> = serde_json::from_slice(&list)?;
    let [certificate] = &certificates[..] else { bail!("the certificates are {certificates:?}") };
    ensure!(
        (certificate.level, certificate.method) == (SanitizeLevel::Purge, method),
        "the certificate is {certificate:?}"
    );
    fake.expect_image()
}

/// A lie, its name, and what the reason of the hold must say.
type Case = (&'static str, Lies, &'static str);

/// Each lie in turn, on one machine that starts anew for each: it is held, for the right reason and
/// without a certificate.
fn expect_each_held(fake: &mut FakeScsiSite<'_>, node: NodeId, cases: &[Case]) -> Result<()> {
    let reference = node.to_string();
    let mut job = None;
    for (name, lies, reason_has) in cases {
        soil(fake);
        fake.device.with(|disk, _| disk.set_lies(lies.clone()));
        let id = match job {
            None => fake.site.operator.wipe(&reference, "purge", name)?,
            Some(_) => start_again(fake, node)?,
        };
        let view = fake.wait_end(id).with_context(|| (*name).to_owned())?;
        let JobState::Held { reason } = &view.state else { bail!("{name}: {}", describe(&view)) };
        println!("{name}: {reason}");
        ensure!(reason.contains(reason_has), "{name}: held for another reason: {}", describe(&view));
        let certificates = fake.site.operator.certificate_count(&reference)?;
        ensure!(certificates == 0, "{name}: a certificate for a disk that is not clean");
        job = Some(id);
    }
    Ok(())
}

/// Machine and disk are switched off and on, and the held node is let go on.
fn start_again(fake: &mut FakeScsiSite<'_>, node: NodeId) -> Result<JobId> {
    fake.cut_power();
    let job = fake.release(node, "purge")?;
    fake.power_on()?;
    Ok(job)
}

#[test]
fn scsi_sanitize_of_flash_that_lies_is_held_and_an_honest_one_is_certified() -> Result<()> {
    let lab = Lab::new()?;
    let profile = Profile::solid_state(DISK_BYTES, &[BLOCK_ERASE, CRYPTOGRAPHIC_ERASE]);
    let (mut fake, node) = dirty_machine(&lab, profile)?;
    let half = EraseLie::First(DISK_BYTES / 2);
    let cases = [
        ("erases nothing", Lies { erase: EraseLie::Nothing, ..Lies::default() }, "survived the erase"),
        ("erases half", Lies { erase: half, ..Lies::default() }, "survived the erase"),
        ("reads from its cache", Lies { stale_cache: true, ..Lies::default() }, "survived the erase"),
        ("knows no sanitize", Lies { knows_no_sanitize: true, ..Lies::default() }, "no such command"),
        ("breaks down", Lies { breaks_down: true, ..Lies::default() }, "does not say how far"),
    ];
    expect_each_held(&mut fake, node, &cases)?;
    fake.device.with(|disk, _| disk.set_lies(Lies::default()));
    let before = fake.device.with(|disk, _| disk.counters()).sanitizes;
    let job = start_again(&mut fake, node)?;
    let job = fake.wait_end(job)?;
    let after = fake.device.with(|disk, _| disk.counters()).sanitizes;
    ensure!(after - before == 2, "crypto and block erase are two: {before} then {after}");
    expect_purged_and_imaged(&fake, node, &job, EraseMethod::ScsiSanitizeCryptoBlock)
}

#[test]
fn scsi_sanitize_by_overwrite_that_lies_is_held_and_one_that_failed_is_made_up_for() -> Result<()> {
    let lab = Lab::new()?;
    // One that stays mute after a failure has no size for the kernel, and then nothing can be planned.
    let profile = Profile { talkative: true, ..Profile::magnetic(DISK_BYTES, &[OVERWRITE]) };
    let (mut fake, node) = dirty_machine(&lab, profile)?;
    let fails = ProgressLie::FailsAt(64_880);
    let cases = [
        ("forgets writes", Lies { drops_writes: true, ..Lies::default() }, "was not on the disk after"),
        ("is write-protected", Lies { write_protected: true, ..Lies::default() }, "markers could not be"),
        ("cannot be read", Lies { unreadable: Some(0..1 << 20), ..Lies::default() }, "unrecoverable error"),
        ("fails at 99 %", Lies { progress: fails, ..Lies::default() }, "is not erased"),
    ];
    expect_each_held(&mut fake, node, &cases)?;
    let phase = fake.device.with(|disk, now| disk.sanitize_phase(now));
    ensure!(phase == Phase::Failed { restricted: true }, "the disk is {phase:?}");
    fake.device.with(|disk, _| disk.set_lies(Lies::default()));
    let job = start_again(&mut fake, node)?;
    let job = fake.wait_end(job)?;
    expect_purged_and_imaged(&fake, node, &job, EraseMethod::ScsiSanitizeOverwrite)
}

#[test]
fn scsi_power_cut_during_a_sanitize_that_stands_still_is_waited_out_and_erased_anew() -> Result<()> {
    let lab = Lab::new()?;
    let (mut fake, node) = dirty_machine(&lab, Profile::solid_state(DISK_BYTES, &[BLOCK_ERASE]))?;
    let stuck = Lies { progress: ProgressLie::StuckAt(655), ..Lies::default() };
    fake.device.with(|disk, _| disk.set_lies(stuck));
    let job = fake.site.operator.wipe(&node.to_string(), "purge", "laboratory")?;
    until("a running sanitize", SANITIZE_LIMIT, || {
        let phase = fake.device.with(|disk, now| disk.sanitize_phase(now));
        Ok(matches!(phase, Phase::Running { .. }).then_some(()))
    })
    .with_context(|| fake.console_end())?;
    fake.cut_power();
    fake.power_on()?;
    fake.machine.wait_console_times("waiting for its sanitize", 1, SANITIZE_LIMIT)?;
    let sanitizes = || fake.device.with(|disk, _| disk.counters().sanitizes);
    ensure!(sanitizes() == 1, "a running sanitize was started over");
    ensure!(fake.site.operator.certificate_count(&node.to_string())? == 0, "certified while it ran");
    fake.device.with(|disk, _| disk.set_lies(Lies::default()));
    let view = fake.wait_end(job)?;
    ensure!(sanitizes() == 2, "the one that was cut off was trusted");
    expect_purged_and_imaged(&fake, node, &view, EraseMethod::ScsiSanitizeBlock)
}
