//! Every way from firmware into the ramdisk that virtual machines have, with a small image written at
//! the end of it. BIOS and UEFI PXE to a running system are in `cases`.

use anyhow::{Context, Result, bail, ensure};
use contract::assignment::BootTrust;
use contract::decision::Action;
use contract::id::{JobId, NodeId};
use contract::reading::Trust;
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::disk::DiskBus;
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, Fittings, Machine, OnReset};
use reprieve_tests::scenario::site::Site;
use reprieve_tests::scenario::small::{self, install, site};
use reprieve_tests::scenario::stage::{expect_action, follow_ramdisk};
use reprieve_tests::service::{Configuration, Dhcp};
use reprieve_tests::site_dhcp;

#[test]
fn uefi_http_boot_comes_to_the_ramdisk_proves_itself_and_is_written() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = site(&lab, &artefacts, &Configuration::default())?;
    let mut machine = small::machine(&site, Firmware::UefiHttp, DiskBus::Virtio)?;
    machine.fit(Fittings { tpm: true, ..Fittings::default() });
    // Approved in its first boot, which its TPM has shown: later ones are compared with it.
    let node = site.take_in(&mut machine)?;
    ensure!(machine.console_text().contains("HTTP Boot"), "the firmware did not try HTTP Boot");
    let job = site.operator.reimage(&node.to_string(), &[])?;
    is_taken_out_with_other_firmware(&site, &mut machine, node, job)?;
    site.operator.release_hold(&node.to_string())?;
    small::write(&site, &mut machine, node, job)?;
    let boot = site.operator.node(&node.to_string())?.boot.context("the TPM has shown nothing")?;
    ensure!(boot.trust == BootTrust::Verified, "a boot like the first is not verified: {boot:?}");
    let seen = site.operator.decision(&node.to_string())?.evidence;
    ensure!(seen.trust == Trust::RamdiskAttested, "a proven boot is trusted as {:?}", seen.trust);
    Ok(())
}

/// The firmware measures something else than when the machine was approved: a finding, and less trust.
fn is_taken_out_with_other_firmware(
    site: &Site<'_>,
    machine: &mut Machine,
    node: NodeId,
    job: JobId,
) -> Result<()> {
    machine.fit(Fittings { tpm: true, other_firmware: true, ..Fittings::default() });
    machine.start(OnReset::Stop)?;
    let outcome = follow_ramdisk(site, machine, node, job, "other firmware")?;
    expect_action(&outcome, Action::Quarantine)?;
    machine.cut_power();
    machine.fit(Fittings { tpm: true, ..Fittings::default() });
    let boot = site.operator.node(&node.to_string())?.boot.context("the TPM has shown nothing")?;
    let BootTrust::Mismatch { registers } = &boot.trust else { bail!("another boot is {boot:?}") };
    ensure!(registers.iter().any(|register| register.contains('0')), "the registers are {registers:?}");
    let view = site.operator.decision(&node.to_string())?;
    ensure!(view.evidence.trust == Trust::Ramdisk, "trusted as {:?}", view.evidence.trust);
    let first = view.decision.reasons.first().context("no reason")?;
    ensure!(first.rule == "integrity/boot-registers", "{first:?}");
    let explanation = site.operator.explanation(&node.to_string())?;
    ensure!(explanation.contains("registers of this boot are not as recorded"), "{explanation}");
    Ok(())
}

#[test]
fn bios_beside_the_sites_own_dhcp_server_comes_to_the_ramdisk_and_is_written() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let mut own = site_dhcp::start(&lab)?;
    let configuration = Configuration { dhcp: Dhcp::Proxy, ..Configuration::default() };
    let site = site(&lab, &artefacts, &configuration)?;
    install(&site, Firmware::Bios, DiskBus::Scsi)?;
    own.check_running()?;
    let leases =
        std::fs::read_to_string(lab.folder().join("dnsmasq.leases")).context("could not read the leases")?;
    ensure!(
        leases.contains("52:54:00:77:00:01"),
        "the address did not come from the site's own server: {leases:?}"
    );
    Ok(())
}
