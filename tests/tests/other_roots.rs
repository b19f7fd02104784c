//! A root that is not ext4, in a machine: its driver is loaded in the ramdisk, and files come back.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use contract::decision::Action;
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::direct_boot::DirectBoot;
use reprieve_tests::disk::{DiskBus, Mounted};
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, OnReset};
use reprieve_tests::scenario::site::Site;
use reprieve_tests::scenario::small::install;
use reprieve_tests::scenario::stage::{expect_action, follow_ramdisk};
use reprieve_tests::service::Configuration;
use reprieve_tests::small_image::{self, OtherRoot};

/// How often a system may come to the network without a report.
const ATTEMPTS_MAX: u32 = 3;

const ALTERED: &str = "/usr/share/data/05";
const DELETED: &str = "/usr/share/data/09";
/// On btrfs it stands in the tree, so its content comes from beside the image.
const SMALL: &str = "/usr/bin/tool";
const MODE_CHANGED: &str = "/usr/share/data/11";
const OWN: &str = "/var/lib/own";

#[test]
fn files_of_an_xfs_root_are_put_back_and_the_nodes_own_stay() -> Result<()> {
    repaired(OtherRoot::Xfs)
}

#[test]
fn files_of_a_btrfs_root_are_put_back_and_the_nodes_own_stay() -> Result<()> {
    repaired(OtherRoot::Btrfs)
}

fn repaired(root: OtherRoot) -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let image = lab.folder().join("other.raw");
    small_image::make_other(&image, 11, root)?;
    let site = Site::new(&lab, &artefacts, &Configuration::default(), &image)?;
    let (mut machine, node, outcome) = install(&site, Firmware::Bios, DiskBus::Virtio)?;
    machine.cut_power();
    // There is no system on it that could report, so a person ends the job.
    let boot = DirectBoot::new(&lab, &artefacts, &site.service);
    for _ in 0..=ATTEMPTS_MAX {
        boot.ask(&machine)?;
    }
    site.operator.cancel(outcome.job.id)?;
    site.operator.release_hold(&node.to_string())?;
    let disk = machine.disks()[0].path().to_owned();
    let point = lab.folder().join("mounted");
    let mounted = Mounted::root(&disk, &point, false)?;
    let read = |mounted: &Mounted, path: &str| {
        std::fs::read(mounted.path(path)).with_context(|| format!("could not read {path}"))
    };
    let whole = [read(&mounted, ALTERED)?, read(&mounted, DELETED)?, read(&mounted, SMALL)?];
    let mut altered = whole[0].clone();
    altered[500_000] ^= 1;
    std::fs::write(mounted.path(ALTERED), altered).context("could not alter a file")?;
    std::fs::remove_file(mounted.path(DELETED)).context("could not delete a file")?;
    std::fs::write(mounted.path(SMALL), "altered").context("could not alter a small file")?;
    let setuid = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(mounted.path(MODE_CHANGED), setuid).context("could not change a mode")?;
    std::fs::write(mounted.path(OWN), "its own").context("could not write the node's own file")?;
    mounted.unmount()?;

    let job = site.operator.reimage(&node.to_string(), &[])?;
    machine.start(OnReset::Stop)?;
    let outcome = follow_ramdisk(&site, &mut machine, node, job, &format!("{root:?} root"))?;
    expect_action(&outcome, Action::Repair)?;
    machine.cut_power();

    let mounted = Mounted::root(&disk, &point, true)?;
    let now = [read(&mounted, ALTERED)?, read(&mounted, DELETED)?, read(&mounted, SMALL)?];
    ensure!(now == whole, "the files are not the image's");
    let mode = std::fs::metadata(mounted.path(MODE_CHANGED)).context("could not look at the mode")?;
    ensure!(mode.permissions().mode() & 0o7777 == 0o644, "the mode was not put back");
    ensure!(read(&mounted, OWN)? == b"its own", "the node's own file was not kept");
    mounted.unmount()
}
