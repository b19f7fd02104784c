//! The laboratory itself: a tool that measures wrongly proves nothing.

use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use reprieve_tests::disk::{
    Disk, DiskBus, Mounted, digest, find_bytes, first_difference, partitions, root_partition,
};
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, Machine, OnReset};
use reprieve_tests::scenario::site::spec;
use reprieve_tests::small_image;

#[test]
fn bytes_are_found_wherever_they_stand_and_differences_are_seen() -> Result<()> {
    let lab = Lab::new()?;
    let image = lab.folder().join("image.raw");
    small_image::make(&image, 3)?;
    let numbers: Vec<u32> = partitions(&image)?.iter().map(|partition| partition.number).collect();
    ensure!(numbers == [1, 2], "partitions {numbers:?}");
    let copy = lab.folder().join("copy.raw");
    std::fs::copy(&image, &copy).context("could not copy the image")?;
    ensure!(first_difference(&image, &copy)?.is_none());
    let before = digest(&copy)?;

    // Across the border of two pieces, and one byte inside the root partition.
    let pattern = b"a pattern that is nowhere else";
    ensure!(find_bytes(&copy, pattern)?.is_none());
    let at = root_partition(&copy)?.offset_bytes + (4 << 20) - 7;
    let file = std::fs::File::options().write(true).open(&copy).context("could not open the copy")?;
    file.write_all_at(pattern, at).context("could not alter the copy")?;
    ensure!(find_bytes(&copy, pattern)? == Some(at), "found at {:?}", find_bytes(&copy, pattern)?);
    let difference = first_difference(&image, &copy)?;
    ensure!(difference == Some(at), "first difference at {difference:?}, not {at}");
    ensure!(digest(&copy)? != before, "an altered disk has the same digest");
    Ok(())
}

#[test]
fn a_read_only_mount_changes_nothing_and_a_writing_one_does() -> Result<()> {
    let lab = Lab::new()?;
    let image = lab.folder().join("image.raw");
    small_image::make(&image, 3)?;
    let before = digest(&image)?;
    let mounted = Mounted::root(&image, &lab.folder().join("mnt"), true)?;
    ensure!(std::fs::read(mounted.path("/usr/bin/tool")).context("could not read")? == b"a tool\n");
    mounted.unmount()?;
    ensure!(digest(&image)? == before, "looking changed the disk");
    let mounted = Mounted::root(&image, &lab.folder().join("mnt"), false)?;
    std::fs::write(mounted.path("/var/lib/marker"), "x").context("could not write")?;
    mounted.unmount()?;
    ensure!(digest(&image)? != before, "writing changed nothing");
    Ok(())
}

#[test]
fn a_machine_counts_what_its_firmware_reads_and_its_power_can_be_cut() -> Result<()> {
    let lab = Lab::new()?;
    let disk = Disk::blank(lab.folder().join("disk.raw"), DiskBus::Nvme, "ONE", 16 << 20)?;
    let mut machine = Machine::new(&lab, spec("one", 1, Firmware::Bios), vec![disk])?;
    machine.raise_nvme_warning(0b100);
    machine.start(OnReset::Stop)?;
    machine.wait_console_times("iPXE", 1, std::time::Duration::from_secs(60))?;
    ensure!(machine.counters()?.written_bytes == 0);
    ensure!(machine.start(OnReset::Stop).is_err(), "a machine was switched on twice");
    machine.cut_power();
    ensure!(!machine.is_on() && machine.counters().is_err());
    Ok(())
}
