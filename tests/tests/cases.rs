//! The six cases of the demo, with BIOS and with UEFI, to the end: the running system's own report.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contract::assignment::BootTrust;
use contract::boot_proof::SystemBootView;
use contract::decision::Action;
use contract::reading::Trust;
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Fittings, OnReset};
use reprieve_tests::scenario::cases::Subject;
use reprieve_tests::scenario::rows::{Extent, News, first_row, second_row};
use reprieve_tests::scenario::site::Site;
use reprieve_tests::service::Configuration;

/// Longest times for an operating system under TCG to shut down, and from power-on to its agent's report.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(180);
const UP_LIMIT: Duration = Duration::from_secs(400);

fn print(news: News) -> Result<()> {
    match news {
        News::Begins(text) => println!("{text}"),
        News::Ended(outcome) => println!("{}: {:?}, {}", outcome.case, outcome.action, outcome.reason),
    }
    Ok(())
}

#[test]
fn bios_with_nvme_new_used_next_tenant_failing_disk() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = Site::new(&lab, &artefacts, &Configuration::default(), artefacts.image()?)?;
    first_row(&site, Extent::Full, &mut print).map(drop)
}

#[test]
fn uefi_with_scsi_new_used_altered_reimaged_by_hand() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = Site::new(&lab, &artefacts, &Configuration::default(), artefacts.image()?)?;
    let fittings = Fittings { tpm: true, ..Fittings::default() };
    let mut subject = second_row(&site, Extent::Full, fittings, &mut print)?;
    the_running_system_has_proven_its_boot_and_other_firmware_is_found(&site, &mut subject)
}

/// From its first start on: reimaged, repaired and started again it boots as it was recorded.
fn the_running_system_has_proven_its_boot_and_other_firmware_is_found(
    site: &Site<'_>,
    subject: &mut Subject,
) -> Result<()> {
    let node = subject.node.to_string();
    let boot = system_boot(site, &node)?;
    ensure!(boot.trust == Some(BootTrust::Verified), "the system's boot: {boot:?}");
    ensure!(boot.why.as_ref().is_some_and(|why| why.contains("first boot")), "{boot:?}");
    let before = site.operator.decision(&node)?.evidence.boot_id;
    subject.machine.shut_down(SHUT_DOWN_LIMIT)?;
    subject.machine.fit(Fittings { tpm: true, other_firmware: true, ..Fittings::default() });
    subject.machine.start(OnReset::Restart)?;
    let seen = site
        .operator
        .wait_decision(&node, UP_LIMIT, |seen| seen.trust == Trust::Resident && seen.boot_id != before)?;
    let first = seen.decision.reasons.first().context("no reason")?;
    ensure!(
        (seen.decision.action, first.rule.as_str()) == (Action::Quarantine, "integrity/boot-registers"),
        "{first:?}"
    );
    let boot = system_boot(site, &node)?;
    ensure!(matches!(boot.trust, Some(BootTrust::Mismatch { .. })), "other firmware is {boot:?}");
    Ok(())
}

fn system_boot(site: &Site<'_>, node: &str) -> Result<SystemBootView> {
    let boot = site.operator.node(node)?.boot.context("the TPM has shown nothing")?;
    boot.system.context("the running system has shown nothing")
}
