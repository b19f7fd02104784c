//! What belongs to one node reaches its disk, and its firmware keeps an entry of ours for that disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use contract::decision::Action;
use contract::operator_api::JobState;
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::disk::DiskBus;
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, OnReset};
use reprieve_tests::operator::describe;
use reprieve_tests::process::capture;
use reprieve_tests::scenario::site::{Site, spec};
use reprieve_tests::scenario::stage::{bring_up, expect_action, follow_ramdisk};
use reprieve_tests::service::Configuration;

const ROOM_BYTES: u64 = 256 << 20;

const DATA: &str = r##"
host_name = "node-1.example.com"
authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5zZ5X0Yk1GmJQw4ZQ1c4xD3oC9eV0y1b2c3d4e5f6g anna"]

[[users]]
name = "anna"
sudo = "no-password"

[[interfaces]]
mac = "52:54:00:77:00:01"
dhcp4 = true
"##;

/// Where the volume that cloud-init looks for stands on a disk: a FAT boot sector with its label.
fn volume_offset(disk: &Path) -> Result<u64> {
    let file = File::open(disk).with_context(|| format!("could not open {}", disk.display()))?;
    let length = file.metadata().context("could not look at the disk")?.len();
    let mut sector = [0; 512];
    let mut found = Vec::new();
    for offset in (0..length - 512).step_by(1 << 20) {
        file.read_exact_at(&mut sector, offset).context("could not read the disk")?;
        if &sector[43..49] == b"CIDATA" && sector[510..] == [0x55, 0xaa] {
            found.push(offset);
        }
    }
    ensure!(found.len() == 1, "volumes stand at {found:?}");
    Ok(found[0])
}

/// A file of the volume, read by somebody else's program.
fn file_of(disk: &Path, offset: u64, name: &str) -> Result<String> {
    let image = format!("{}@@{offset}", disk.display());
    let bytes = capture(Command::new("mtype").args(["-i", &image, &format!("::{name}")]))?;
    String::from_utf8(bytes).with_context(|| format!("{name} is not text"))
}

#[test]
fn the_nodes_data_are_on_its_disk_and_its_firmware_has_our_entry() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = Site::new(&lab, &artefacts, &Configuration::default(), artefacts.image()?)?;
    let disk_bytes = site.image.disk_bytes + ROOM_BYTES;
    let mut machine = site.machine(spec("node", 1, Firmware::UefiPxe), DiskBus::Nvme, disk_bytes)?;
    let node = site.take_in(&mut machine)?.to_string();
    let file = lab.folder().join("node.toml");
    std::fs::write(&file, DATA).context("could not write the node's data")?;
    let mut set = site.operator.command();
    capture(set.args(["--json", "node", "data", "set", &node]).arg(&file))?;

    let job = site.operator.reimage(&node, &[])?;
    machine.start(OnReset::Stop)?;
    let mut outcome = follow_ramdisk(&site, &mut machine, node.parse()?, job, "node data")?;
    expect_action(&outcome, Action::Reimage)?;
    ensure!(matches!(outcome.job.state, JobState::ComingUp), "{}", describe(&outcome.job));
    let proof = outcome.job.steps.iter().map(|step| step.proof.as_str()).collect::<Vec<_>>().join("\n");
    ensure!(proof.contains("the node's data ("), "{proof}");
    ensure!(proof.contains("the firmware's entry Boot") && proof.contains("read back"), "{proof}");

    let disk = machine.disks()[0].path().to_owned();
    let offset = volume_offset(&disk)?;
    let meta_data = file_of(&disk, offset, "meta-data")?;
    ensure!(meta_data.contains("\"local-hostname\": \"node-1.example.com\""), "{meta_data}");
    ensure!(meta_data.contains(&node), "{meta_data}");
    let user_data = file_of(&disk, offset, "user-data")?;
    ensure!(user_data.starts_with("#cloud-config\n") && user_data.contains("NOPASSWD"), "{user_data}");
    let network = file_of(&disk, offset, "network-config")?;
    ensure!(network.contains("52:54:00:77:00:01"), "{network}");
    let shown = capture(site.operator.command().args(["node", "data", "show", &node]))?;
    ensure!(String::from_utf8_lossy(&shown).contains("yes, written and read back"), "not shown as written");

    // The system that came from the image comes up beside them.
    bring_up(&site, &mut machine, &mut outcome)?;
    Ok(())
}
