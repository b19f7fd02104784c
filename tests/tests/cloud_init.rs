//! What belongs to one node reaches a system that knows nothing of us: an image as Debian's generic cloud
//! image is, started by the firmware's entry of ours, becomes the node that it was told to be.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contract::decision::Action;
use contract::operator_api::JobState;
use reprieve_tests::artefacts::{Artefacts, build_folder};
use reprieve_tests::disk::DiskBus;
use reprieve_tests::lab::Lab;
use reprieve_tests::login::Key;
use reprieve_tests::machine::{Firmware, Machine, OnReset};
use reprieve_tests::operator::describe;
use reprieve_tests::process::capture;
use reprieve_tests::scenario::site::{Site, console_end, spec};
use reprieve_tests::scenario::stage::{expect_action, follow_ramdisk};
use reprieve_tests::service::{Configuration, HTTP_PORT};
use reprieve_tests::wait::until_every;

const ROOM_BYTES: u64 = 256 << 20;
/// Beside the addresses that the service gives out.
const ADDRESS: &str = "10.77.0.240";
/// What cloud-init is told in the machine's serial number; the older word, which every version knows.
const LOOK_ON_THE_NETWORK: &str = "ds=nocloud-net;s=http://10.77.0.1";
/// Longest time from the firmware's first step to a login, with everything emulated.
const LOGIN_LIMIT: Duration = Duration::from_secs(400);
const LOGIN_INTERVAL: Duration = Duration::from_secs(2);

/// Asked of the system that came up, as the node's own user.
const QUESTIONS: &str = r#"
set -e
echo "name: $(hostname)"
echo "user: $(id -un), $(sudo -n id -un)"
echo "address: $(ip -4 -oneline address show dev lan0)"
echo "source: $(cat /run/cloud-init/cloud-id)"
sed -n 's/.*"subplatform": /from: /p' /run/cloud-init/instance-data.json
cd /sys/firmware/efi/efivars
space=8be4df61-93ca-11d2-aa0d-00e098032b8c
number=$(od -An -tx2 -j4 -N2 BootCurrent-$space | tr -d ' ' | tr a-f A-F)
echo "entry: Boot$number $(tr -dc '[:print:]' < Boot$number-$space)"
sync
"#;

fn data(host_name: &str, user: &str, key: &str) -> String {
    format!(
        r#"
host_name = "{host_name}"

[[users]]
name = "{user}"
sudo = "no-password"
shell = "/bin/bash"
authorized_keys = ["{key}"]

[[interfaces]]
mac = "52:54:00:77:00:01"
name = "lan0"
addresses = ["{ADDRESS}/24"]
"#
    )
}

fn cloud_image() -> Result<PathBuf> {
    let file = build_folder()?.join("image/reprieve-cloud.qcow2");
    ensure!(file.is_file(), "{} is missing; run `cargo xtask image --cloud`", file.display());
    Ok(file)
}

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

fn expect_volume(disk: &Path, node: &str) -> Result<()> {
    let offset = volume_offset(disk)?;
    let meta_data = file_of(disk, offset, "meta-data")?;
    ensure!(meta_data.contains("\"local-hostname\": \"node-1.example.com\""), "{meta_data}");
    ensure!(meta_data.contains(node), "{meta_data}");
    let user_data = file_of(disk, offset, "user-data")?;
    ensure!(user_data.starts_with("#cloud-config\n") && user_data.contains("NOPASSWD"), "{user_data}");
    let network = file_of(disk, offset, "network-config")?;
    ensure!(network.contains("52:54:00:77:00:01"), "{network}");
    Ok(())
}

/// Sets a node's data: its name, and who may log in.
fn set_data(site: &Site<'_>, node: &str, host_name: &str, user: &str, key: &Key) -> Result<()> {
    let file = site.lab.folder().join("node.toml");
    std::fs::write(&file, data(host_name, user, &key.public()?))
        .context("could not write the node's data")?;
    capture(site.operator.command().args(["--json", "node", "data", "set", node]).arg(&file)).map(drop)
}

/// What the system answers as soon as somebody can log in.
fn answer(
    site: &Site<'_>,
    machine: &mut Machine,
    mut ask: impl FnMut() -> Result<Option<String>>,
) -> Result<String> {
    let answer = until_every(LOGIN_INTERVAL, "a login on the machine", LOGIN_LIMIT, || {
        machine.check_running()?;
        ask()
    })
    .with_context(|| {
        let log = reprieve_tests::process::tail(&site.service.log());
        format!("the console ends:\n{}\nthe service's log ends:\n{log}", console_end(machine))
    })?;
    println!("{answer}");
    Ok(answer)
}

/// The same machine with other data, no volume on its disk, and the word where to look instead.
fn expect_data_over_http(site: &Site<'_>, machine: &mut Machine, node: &str, key: &Key) -> Result<()> {
    machine.cut_power();
    let disk = machine.disks()[0].path();
    let offset = volume_offset(disk)?;
    let file = File::options().write(true).open(disk).context("could not open the disk")?;
    file.write_all_at(&[0; 1 << 20], offset).context("could not take the volume away")?;
    set_data(site, node, "node-2.example.com", "berta", key)?;
    machine.renumber(&format!("{LOOK_ON_THE_NETWORK}:{HTTP_PORT}/metadata/"));
    machine.start(OnReset::Restart)?;
    let answer = answer(site, machine, || {
        let address = site.service.lent_address()?;
        Ok(address.and_then(|address| key.ask(site.lab, &format!("berta@{address}"), QUESTIONS).ok()))
    })?;
    let says = |text: &str| answer.contains(text);
    ensure!(says("name: node-2\n") && says("user: berta, root\n"), "{answer}");
    ensure!(says("source: nocloud\n") && says(":8080/metadata/"), "{answer}");
    Ok(())
}

/// The number of the firmware's entry that a proof says was written and read back, such as `Boot0004`.
fn entry_of(proof: &str) -> Result<&str> {
    ensure!(proof.contains("the node's data (") && proof.contains("read back"), "{proof}");
    let (_, rest) = proof.split_once("the firmware's entry ").with_context(|| proof.to_owned())?;
    rest.split(' ').next().with_context(|| proof.to_owned())
}

#[test]
fn a_cloud_image_becomes_its_node_and_the_firmware_starts_it_by_our_entry() -> Result<()> {
    let (artefacts, image) = (Artefacts::find()?, cloud_image()?);
    let lab = Lab::new()?;
    let configuration = Configuration { metadata: true, ..Configuration::default() };
    let site = Site::importing(&lab, &artefacts, &configuration, &image, &["--no-agent"])?;
    let disk_bytes = site.image.disk_bytes + ROOM_BYTES;
    let mut machine = site.machine(spec("node", 1, Firmware::UefiPxe), DiskBus::Nvme, disk_bytes)?;
    let node = site.take_in(&mut machine)?.to_string();
    let key = Key::make(lab.folder())?;
    set_data(&site, &node, "node-1.example.com", "anna", &key)?;

    let job = site.operator.reimage(&node, &[])?;
    machine.start(OnReset::Stop)?;
    let outcome = follow_ramdisk(&site, &mut machine, node.parse()?, job, "node data")?;
    expect_action(&outcome, Action::Reimage)?;
    // Nobody waits for a report of a system that has no agent.
    ensure!(matches!(outcome.job.state, JobState::Done { .. }), "{}", describe(&outcome.job));
    let proof = outcome.job.steps.iter().map(|step| step.proof.as_str()).collect::<Vec<_>>().join("\n");
    let entry = entry_of(&proof)?;
    machine.cut_power();
    expect_volume(machine.disks()[0].path(), &node)?;
    let shown = capture(site.operator.command().args(["node", "data", "show", &node]))?;
    ensure!(String::from_utf8_lossy(&shown).contains("yes, written and read back"), "not shown as written");

    // Without the network there is nobody but the firmware to choose what it starts.
    machine.skip_network(true);
    machine.start(OnReset::Restart)?;
    let answer =
        answer(&site, &mut machine, || Ok(key.ask(&lab, &format!("anna@{ADDRESS}"), QUESTIONS).ok()))?;
    let says = |text: &str| answer.contains(text);
    ensure!(says("name: node-1\n") && says("user: anna, root\n"), "{answer}");
    ensure!(says(&format!("inet {ADDRESS}/24")) && says("source: nocloud\n"), "{answer}");
    ensure!(says("from: \"config-disk"), "{answer}");
    ensure!(says(&format!("entry: {entry} ")) && says("Reprieve"), "the proof says {entry}:\n{answer}");
    let view = site.operator.job(job)?;
    let told = view.events.iter().any(|event| event.text.contains("told to boot its system"));
    ensure!(!told, "the network chose: {}", describe(&view));
    expect_data_over_http(&site, &mut machine, &node, &key)
}
