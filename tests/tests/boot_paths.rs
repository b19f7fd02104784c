//! Every way from firmware into the ramdisk that virtual machines have, with a small image written at
//! the end of it. BIOS and UEFI PXE to a running system are in `cases`.

use anyhow::{Context, Result, ensure};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::disk::DiskBus;
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::Firmware;
use reprieve_tests::scenario::small::{install, site};
use reprieve_tests::service::{Configuration, Dhcp};
use reprieve_tests::site_dhcp;

#[test]
fn uefi_http_boot_comes_to_the_ramdisk_and_is_written() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = site(&lab, &artefacts, &Configuration::default())?;
    let (machine, _, _) = install(&site, Firmware::UefiHttp, DiskBus::Virtio)?;
    ensure!(machine.console_text().contains("HTTP Boot"), "the firmware did not try HTTP Boot");
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
