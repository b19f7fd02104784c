//! A machine whose disk is erased and left empty: the real agent against a fake NVMe device.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::assignment::DataOwner;
use contract::id::JobId;
use contract::operator_api::{JobState, NodeState, ReimageReply};
use reprieve_tests::lab::Lab;
use reprieve_tests::nvme_tcp::identify::Profile;
use reprieve_tests::nvme_tcp::site::FakeDiskSite;
use reprieve_tests::operator::describe;
use reprieve_tests::scenario::small::DISK_BYTES;
use reprieve_tests::service::Configuration;
use reprieve_tests::wait::until;

/// What the last tenant left behind.
const LEFTOVER: &[u8; 512] = &[0x5e; 512];
/// Longest time until the agent has heard what follows.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn nvme_wipe_that_leaves_empty_ends_certified_held_and_without_an_image() -> Result<()> {
    let lab = Lab::new()?;
    let profile = Profile::solid_state("FAKE0001", DISK_BYTES);
    // The first wipe finds a disk that was never sanitized, so its word is no help.
    let policy = Some("[erase]\nskip_already_clean = true\n".to_owned());
    let configuration = Configuration { policy, ..Configuration::default() };
    let mut fake = FakeDiskSite::start(&lab, configuration, profile)?;
    let node = fake.take_in()?.to_string();
    fake.device.with(|it, _| it.medium(1).map(|medium| medium.write(90 << 20, LEFTOVER)));
    let job = leave_empty(&fake, &node)?;
    let view = fake.wait_end(job)?;
    ensure!(matches!(view.state, JobState::Done { .. }), "{}", describe(&view));
    let holds = fake.device.with(|it, _| it.medium(1).is_some_and(|medium| medium.holds(LEFTOVER)));
    ensure!(!holds, "what the last tenant left is still there");
    ensure!(fake.expect_image().is_err(), "the image was written all the same");
    let certificate = fake.site.operator.certificate(&node)?;
    ensure!(certificate["sanitization"]["method"] == "purge", "{certificate}");
    let areas = certificate["not_covered"].as_array().context("the certificate names no areas")?;
    let boot = areas.iter().find(|area| area["area"] == "boot-partitions").context("no such area")?;
    // A device of version 1.4 has no log page that says it.
    ensure!(boot["presence"]["outcome"] == "unreadable", "{boot}");
    let after = fake.site.operator.node(&node)?;
    ensure!((after.state, &after.data_owner) == (NodeState::Held, &DataOwner::Nobody), "{after:?}");
    ensure!(after.assignment.image.is_none() && after.assignment.tenant.is_none(), "{after:?}");
    // The agent waits where it is; it boots nothing.
    until("the agent to say that it waits", ANSWER_LIMIT, || {
        Ok(fake.machine.console_text().contains("left them empty").then_some(()))
    })
    .with_context(|| fake.console_end())?;
    expect_found_clean(&fake, &node)?;
    expect_erased_where_it_lies(&mut fake, &node)
}

/// Wiped once more under a policy that lets the disk's word count: it is read back and not erased.
fn expect_found_clean(fake: &FakeDiskSite<'_>, node: &str) -> Result<()> {
    let before = fake.device.with(|it, _| it.counters());
    wiped_again(fake, node)?;
    let after = fake.device.with(|it, _| it.counters());
    ensure!((after.sanitizes, after.formats) == (before.sanitizes, before.formats), "erased: {after:?}");
    ensure!(after.written_bytes == before.written_bytes, "written to: {after:?}");
    ensure!(after.read_bytes > before.read_bytes, "not read back: {after:?}");
    let certificate = fake.site.operator.certificate(node)?;
    ensure!(certificate["sanitization"]["technique"] == "nvme-found-clean", "{certificate}");
    let statement = certificate["statement"].as_str().context("the certificate states nothing")?;
    ensure!(statement.contains("was not erased now"), "{statement}");
    Ok(())
}

/// The disk says that it is clean and holds what a tenant wrote: it is erased like any other.
fn expect_erased_where_it_lies(fake: &mut FakeDiskSite<'_>, node: &str) -> Result<()> {
    let dirt = vec![0x5e; 8 << 20];
    fake.device.with(|it, _| it.medium(1).map(|medium| medium.write(50 << 20, &dirt)));
    let before = fake.device.with(|it, _| it.counters());
    wiped_again(fake, node)?;
    let after = fake.device.with(|it, _| it.counters());
    ensure!(after.sanitizes > before.sanitizes, "the disk's word was taken: {after:?}");
    let holds = fake.device.with(|it, _| it.medium(1).is_some_and(|medium| medium.holds(LEFTOVER)));
    ensure!(!holds, "what the tenant wrote is still there");
    let certificate = fake.site.operator.certificate(node)?;
    ensure!(certificate["sanitization"]["technique"] == "nvme-sanitize-crypto-block", "{certificate}");
    Ok(())
}

/// The machine, still in the ramdisk, is let go on and wiped again.
fn wiped_again(fake: &FakeDiskSite<'_>, node: &str) -> Result<()> {
    fake.site.operator.release_hold(node)?;
    let view = fake.wait_end(leave_empty(fake, node)?)?;
    ensure!(matches!(view.state, JobState::Done { .. }), "{}", describe(&view));
    Ok(())
}

fn leave_empty(fake: &FakeDiskSite<'_>, node: &str) -> Result<JobId> {
    let mut command = fake.site.operator.command();
    let arguments = ["--json", "wipe", node, "--level", "purge", "--leave-empty", "--why", "RMA", "--yes"];
    let output = command.args(arguments).arg("--no-watch").output().context("could not run reprieve")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    match serde_json::from_slice(&output.stdout)? {
        ReimageReply::Job { job: Some(job), .. } => Ok(job),
        other => bail!("no job was made: {other:?}"),
    }
}
