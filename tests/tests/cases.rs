//! The six cases of the demo, with BIOS and with UEFI, to the end: the running system's own report.

use anyhow::Result;
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::lab::Lab;
use reprieve_tests::scenario::rows::{Extent, News, first_row, second_row};
use reprieve_tests::scenario::site::Site;
use reprieve_tests::service::Configuration;

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
    second_row(&site, Extent::Full, &mut print).map(drop)
}
