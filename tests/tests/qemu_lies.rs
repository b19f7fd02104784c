//! Disks of QEMU and of the kernel that cannot be trusted: what cannot be read back is not erased and not
//! written, and what is still there was not erased, whatever the disk said before.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::id::JobId;
use contract::operator_api::JobState;
use reprieve_tests::artefacts::{Artefacts, build_folder, repository};
use reprieve_tests::direct_boot::Told;
use reprieve_tests::disk::{Disk, DiskBus, find_bytes};
use reprieve_tests::guest::archive::{Addition, KERNEL_ARGUMENT, write_ramdisk};
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, Loaded, Machine, OnReset, Spec};
use reprieve_tests::operator::describe;
use reprieve_tests::scenario::cutting::{Cutting, can_boot};
use reprieve_tests::scenario::site::{Site, console_end, spec};
use reprieve_tests::scenario::small::{DISK_BYTES, site};
use reprieve_tests::service::Configuration;

/// Longest time from a request, with the machine's start, to the end of erasing and writing.
const JOB_LIMIT: Duration = Duration::from_secs(300);
/// Within the last MiB, which every erase reads back.
const NEAR_THE_END: u64 = DISK_BYTES - (512 << 10);
/// In the middle of the small image's files.
const IN_THE_IMAGE: u64 = 20 << 20;

fn unreadable(site: &Site<'_>, bus: DiskBus, offset: u64) -> Result<Disk> {
    let path = site.lab.folder().join("node.raw");
    Ok(Disk::blank(path, bus, "NODE-DISK", DISK_BYTES)?.unreadable(offset))
}

/// Switches the machine on and waits until nothing more happens by itself: why it is held, after this
/// step had begun.
fn held(cutting: &mut Cutting<'_, '_>, job: JobId, step: &str) -> Result<String> {
    ensure!(cutting.boot.power_on(&mut cutting.machine)? == Told::Ramdisk, "the ramdisk is not handed out");
    let ends = |state: &JobState| matches!(state, JobState::ComingUp | JobState::Held { .. });
    let view = cutting
        .site
        .operator
        .wait_job(job, "the end of the work", JOB_LIMIT, ends)
        .with_context(|| format!("the console ends:\n{}", console_end(&cutting.machine)))?;
    cutting.machine.cut_power();
    let JobState::Held { reason } = view.state else { bail!("{}", describe(&view)) };
    println!("{reason}");
    let begun = view.events.iter().any(|event| event.text.contains("begins: ") && event.text.contains(step));
    ensure!(begun, "no step with {step:?} was begun: {:?}", view.events);
    Ok(reason)
}

#[test]
fn an_nvme_disk_that_was_formatted_and_cannot_be_read_back_is_not_erased() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = site(&lab, &artefacts, &Configuration::default())?;
    let disk = unreadable(&site, DiskBus::Nvme, NEAR_THE_END)?;
    let mut cutting = Cutting::with_disks(&site, &artefacts, vec![disk])?;
    let job = site.operator.wipe(&cutting.reference(), "clear", "laboratory")?;
    let reason = held(&mut cutting, job, "(NvmeFormatUserData)")?;
    ensure!(reason.contains("is not erased") && reason.contains("could not be read"), "{reason}");
    let certificates = site.operator.certificate_count(&cutting.reference())?;
    ensure!(certificates == 0, "a certificate for a disk that cannot be read");
    ensure!(!can_boot(cutting.disk())?, "a disk that is not erased was given an image");
    Ok(())
}

#[test]
fn an_image_that_cannot_be_read_back_is_not_written_and_never_booted() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = site(&lab, &artefacts, &Configuration::default())?;
    let disk = unreadable(&site, DiskBus::Scsi, IN_THE_IMAGE)?;
    let mut cutting = Cutting::with_disks(&site, &artefacts, vec![disk])?;
    let job = site.operator.reimage(&cutting.reference(), &[])?;
    let reason = held(&mut cutting, job, "write image")?;
    ensure!(reason.contains("could not read back chunk"), "{reason}");
    ensure!(!can_boot(cutting.disk())?, "a disk with half an image can boot");
    let told = cutting.boot.ask(&cutting.machine)?;
    ensure!(told != Told::Disk && told != Told::HeldWithDisk, "a disk with half an image is booted");
    Ok(())
}

/// What the first process of a machine with a SCSI disk loads before the agent's own drivers are there.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_net", "virtio_scsi", "sd_mod"];

/// QEMU's SCSI disk answers FORMAT UNIT with "good" and does nothing.
#[test]
fn a_scsi_disk_that_says_it_formatted_and_kept_its_data_is_not_erased() -> Result<()> {
    const LEFTOVER: &[u8; 512] = &[0x5e; 512];
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let disk = Disk::blank(lab.folder().join("disk.raw"), DiskBus::Scsi, "LIAR", DISK_BYTES)?;
    let file = std::fs::File::options().write(true).open(disk.path()).context("could not open the disk")?;
    file.write_all_at(LEFTOVER, 50 << 20).context("could not soil the disk")?;
    let ramdisk = lab.folder().join("laboratory.cpio");
    let files = [("then", &b"ata-laboratory format-unit"[..])];
    let programs = ["ata-laboratory"];
    let addition = Addition { init: "scsi-attach", programs: &programs, modules: &MODULES, files: &files };
    write_ramdisk(&ramdisk, &artefacts.ramdisk, &addition)?;
    let arguments = format!("console=ttyS0 quiet {KERNEL_ARGUMENT}");
    let loaded = Some(Loaded { kernel: artefacts.kernel, ramdisk, arguments });
    let spec = Spec { memory_mib: 384, loaded, ..spec("node", 1, Firmware::Bios) };
    let mut machine = Machine::new(&lab, spec, vec![disk])?;
    machine.start(OnReset::Stop)?;
    machine.wait_console_times("ERASED: ", 1, JOB_LIMIT)?;
    let console = machine.console_text();
    machine.cut_power();
    ensure!(console.contains("FORMAT UNIT ended with status 0"), "it was not told to format:\n{console}");
    let said = console.lines().find(|line| line.contains("laboratory: NOT ERASED")).unwrap_or_default();
    println!("{said}");
    ensure!(said.contains("survived the erase"), "the lie was not caught:\n{console}");
    ensure!(find_bytes(machine.disks()[0].path(), LEFTOVER)?.is_some(), "the disk did erase itself");
    Ok(())
}

/// A site whose machines have the kernel's `scsi_debug` for their disk, in their memory, which cannot read
/// ten sectors from 0x1234 on. Everything that is erased is read back.
fn fake_disk_site<'lab>(lab: &'lab Lab, artefacts: &mut Artefacts) -> Result<Site<'lab>> {
    let kernel = build_folder()?.join("kernel");
    let release = std::fs::read_to_string(kernel.join("release")).context("no kernel is built")?;
    let module =
        kernel.join("root/lib/modules").join(release.trim()).join("kernel/drivers/scsi/scsi_debug.ko");
    let module = std::fs::read(&module).with_context(|| format!("could not read {}", module.display()))?;
    let options = format!("dev_size_mb={} opts=2", DISK_BYTES >> 20);
    let files = [("scsi_debug.ko", module.as_slice()), ("options", options.as_bytes())];
    let ramdisk = lab.folder().join("laboratory.cpio");
    let addition = Addition { init: "scsi-attach", programs: &[], modules: &MODULES, files: &files };
    write_ramdisk(&ramdisk, &artefacts.ramdisk, &addition)?;
    artefacts.ramdisk = ramdisk;
    let policy = repository()?.join("crates/verdict/src/default_policy.toml");
    let policy = std::fs::read_to_string(&policy).context("could not read the policy")?;
    let full = policy.replace("verify = \"sampling\"", "verify = \"full\"");
    ensure!(full != policy, "the policy does not say how much is read back");
    let kernel_arguments = KERNEL_ARGUMENT.to_owned();
    site(lab, artefacts, &Configuration { policy: Some(full), kernel_arguments, ..Configuration::default() })
}

#[test]
fn a_scsi_disk_with_a_medium_error_that_wrote_zeros_over_itself_is_not_erased() -> Result<()> {
    let mut artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = fake_disk_site(&lab, &mut artefacts)?;
    let mut cutting = Cutting::with_disks(&site, &artefacts, Vec::new())?;
    let job = site.operator.wipe(&cutting.reference(), "clear", "laboratory")?;
    let reason = held(&mut cutting, job, "(ScsiWriteSame)")?;
    ensure!(reason.contains("is not erased") && reason.contains("could not be read"), "{reason}");
    let certificates = site.operator.certificate_count(&cutting.reference())?;
    ensure!(certificates == 0, "a certificate for a disk that cannot be read");
    Ok(())
}

#[test]
fn an_image_on_a_scsi_disk_with_a_medium_error_is_not_written_and_never_booted() -> Result<()> {
    let mut artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = fake_disk_site(&lab, &mut artefacts)?;
    let mut cutting = Cutting::with_disks(&site, &artefacts, Vec::new())?;
    let job = site.operator.reimage(&cutting.reference(), &[])?;
    let reason = held(&mut cutting, job, "write image")?;
    ensure!(reason.contains("could not read back chunk"), "{reason}");
    let told = cutting.boot.ask(&cutting.machine)?;
    ensure!(told != Told::Disk && told != Told::HeldWithDisk, "a disk with half an image is booted");
    Ok(())
}
