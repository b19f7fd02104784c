//! The agent without a service: it says so, goes on trying, and writes nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::disk::{Disk, DiskBus, digest};
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, Loaded, Machine, OnReset};
use reprieve_tests::scenario::site::spec;
use reprieve_tests::small_image;

#[test]
fn an_agent_without_a_service_says_so_waits_and_writes_nothing() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let path = lab.folder().join("disk.raw");
    small_image::make(&path, 7)?;
    let disk = Disk::existing(path, DiskBus::Nvme, "ALONE");
    let before = digest(disk.path())?;
    let mut node = spec("alone", 1, Firmware::Bios);
    node.loaded = Some(Loaded {
        kernel: artefacts.kernel.clone(),
        ramdisk: artefacts.ramdisk.clone(),
        arguments: format!(
            "console=ttyS0 quiet reprieve.service=https://10.77.0.1:8443 reprieve.ca={} reprieve.node={} reprieve.token={} \
             reprieve.address=10.77.0.9/255.255.255.0 reprieve.interface={}",
            "00".repeat(32),
            "7e577e57-0000-4000-8000-0000000000ff",
            "11".repeat(32),
            node.mac()
        ),
    });
    let mut machine = Machine::new(&lab, node, vec![disk])?;
    machine.start(OnReset::Stop)?;
    machine.wait_console_times("cannot reach the service", 5, Duration::from_secs(180))?;
    let console = machine.console_text();
    ensure!(!console.contains(&"11".repeat(32)[..20]), "the agent shows its token on the console");
    let counters = machine.counters()?;
    ensure!(
        counters.written_bytes == 0,
        "the agent wrote {} bytes without a service",
        counters.written_bytes
    );
    machine.cut_power();
    ensure!(digest(machine.disks()[0].path())? == before, "the disk's bytes have changed");
    Ok(())
}
