//! A root that is not ext4, in a machine: its driver is loaded in the ramdisk, it is grown over the disk,
//! and files come back.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use contract::decision::Action;
use contract::id::NodeId;
use contract::operator_api::{JobState, JobView};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::direct_boot::DirectBoot;
use reprieve_tests::disk::{DiskBus, Mounted, root_partition};
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, Machine, OnReset, Spec};
use reprieve_tests::operator::describe;
use reprieve_tests::process::run;
use reprieve_tests::scenario::site::{Site, spec};
use reprieve_tests::scenario::stage::{expect_action, follow_ramdisk};
use reprieve_tests::service::Configuration;
use reprieve_tests::small_image::{self, OtherRoot};

/// How often a system may come to the network without a report.
const ATTEMPTS_MAX: u32 = 3;

const MIB: u64 = 1 << 20;
const DISK_BYTES: u64 = 384 * MIB;
/// The kernel gives btrfs no size below 256 MiB.
const GROWN_BYTES: u64 = 300 * MIB;

const ALTERED: &str = "/usr/share/data/05";
const DELETED: &str = "/usr/share/data/09";
/// On btrfs it stands in the tree, so its content comes from beside the image.
const SMALL: &str = "/usr/bin/tool";
const MODE_CHANGED: &str = "/usr/share/data/11";
const OWN: &str = "/var/lib/own";

#[test]
fn an_xfs_root_is_grown_and_files_are_put_back_and_the_nodes_own_stay() -> Result<()> {
    repaired(OtherRoot::Xfs)
}

#[test]
fn a_btrfs_root_is_grown_and_files_are_put_back_and_the_nodes_own_stay() -> Result<()> {
    repaired(OtherRoot::Btrfs)
}

fn repaired(root: OtherRoot) -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let image = lab.folder().join("other.raw");
    small_image::make_other(&image, 11, root)?;
    let site = Site::new(&lab, &artefacts, &Configuration::default(), &image)?;
    let (mut machine, node, job) = installed(&site)?;
    let disk = machine.disks()[0].path().to_owned();
    expect_grown(&disk, &lab.folder().join("root"), root)?;
    // There is no system on it that could report, so a person ends the job.
    let boot = DirectBoot::new(&lab, &artefacts, &site.service);
    for _ in 0..=ATTEMPTS_MAX {
        boot.ask(&machine)?;
    }
    site.operator.cancel(job.id)?;
    site.operator.release_hold(&node.to_string())?;
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
    mounted.unmount()?;
    expect_grown(&disk, &lab.folder().join("root"), root)
}

/// A machine with the image on its disk, which is off; its root is larger than the image's.
fn installed(site: &Site<'_>) -> Result<(Machine, NodeId, JobView)> {
    // No more memory than the ramdisk is meant to need, for the whole job.
    let spec = Spec { memory_mib: 384, ..spec("node", 1, Firmware::Bios) };
    let mut machine = site.machine(spec, DiskBus::Virtio, DISK_BYTES)?;
    let node = site.take_in(&mut machine)?;
    let size = format!("{}Mi", GROWN_BYTES / MIB);
    run(site.operator.command().args(["assign", &node.to_string(), "--root", &size]))?;
    let job = site.operator.reimage(&node.to_string(), &[])?;
    machine.start(OnReset::Stop)?;
    let job = follow_ramdisk(site, &mut machine, node, job, "install")?.job;
    ensure!(job.state == JobState::ComingUp, "{}", describe(&job));
    let grown = format!("was grown from 56 to {} MiB", GROWN_BYTES / MIB);
    ensure!(job.steps.iter().any(|step| step.proof.contains(&grown)), "{}", describe(&job));
    machine.cut_power();
    Ok((machine, node, job))
}

/// The root fills its partition, and its own tools find nothing wrong with it.
fn expect_grown(disk: &Path, copy: &Path, root: OtherRoot) -> Result<()> {
    let place = root_partition(disk)?;
    ensure!(place.size_bytes == GROWN_BYTES, "the root is {place:?}");
    let (skip, count) = (place.offset_bytes / MIB, place.size_bytes / MIB);
    let [from, to] = [disk, copy].map(Path::display);
    run(Command::new("dd").args(["bs=1M", "conv=sparse", "status=none"]).args([
        format!("if={from}"),
        format!("of={to}"),
        format!("skip={skip}"),
        format!("count={count}"),
    ]))?;
    let mut head = vec![0; 0x1_1000];
    let file = std::fs::File::open(copy).with_context(|| format!("could not open {to}"))?;
    file.read_exact_at(&mut head, 0).with_context(|| format!("could not read {to}"))?;
    let number = |at: usize| head[at..at + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let size_bytes = match root {
        // Blocks, which are long as the half of a number before it says.
        OtherRoot::Xfs => number(8) * (number(0) & 0xffff_ffff),
        OtherRoot::Btrfs => number(0x1_0000 + 112).swap_bytes(),
    };
    ensure!(size_bytes == GROWN_BYTES, "the file system has {size_bytes} bytes");
    match root {
        OtherRoot::Xfs => run(Command::new("xfs_repair").args(["-n", "-f"]).arg(copy)),
        OtherRoot::Btrfs => run(Command::new("btrfs").args(["check", "--readonly"]).arg(copy)),
    }
}
