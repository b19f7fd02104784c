//! The disk as a whole, in a real machine: a partition that somebody added stays over a reimage, and the
//! root is grown by the ramdisk's own kernel.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use contract::decision::Action;
use contract::id::JobId;
use contract::operator_api::{JobState, JobView};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::direct_boot::{DirectBoot, Told};
use reprieve_tests::disk::{Disk, DiskBus, Partition, digest, first_difference, partitions, root_partition};
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, Machine};
use reprieve_tests::operator::describe;
use reprieve_tests::process::{capture, run};
use reprieve_tests::scenario::site::{DISCOVERY_LIMIT, IMAGE_NAME, Site, TENANT, spec};
use reprieve_tests::scenario::small;
use reprieve_tests::scenario::stage::{Outcome, expect_action, follow_ramdisk};
use reprieve_tests::service::Configuration;
use reprieve_tests::small_image;

const MIB: u64 = 1 << 20;
const DISK_BYTES: u64 = 256 * MIB;
/// Another disk of the machine, on which there is nothing of the system.
const DATA_DISK_BYTES: u64 = 320 * MIB;
/// Where the data partition lies: free space is left before and behind it.
const DATA_OFFSET: u64 = 150 * MIB;
const DATA_BYTES: u64 = 40 * MIB;
/// How often a system may come to the network without a report; this image has none.
const ATTEMPTS_MAX: u32 = 1;

struct Subject<'site, 'lab> {
    site: &'site Site<'lab>,
    boot: DirectBoot<'lab>,
    machine: Machine,
    reference: String,
}

impl<'site, 'lab> Subject<'site, 'lab> {
    fn start(site: &'site Site<'lab>, artefacts: &Artefacts) -> Result<Self> {
        let blank = |name: &str, bytes| {
            let path = site.lab.folder().join(format!("{name}.raw"));
            Disk::blank(path, DiskBus::Virtio, &format!("{name}-DISK"), bytes)
        };
        // The smallest disk gets the system.
        let disks = vec![blank("node", DISK_BYTES)?, blank("data", DATA_DISK_BYTES)?];
        let mut machine = Machine::new(site.lab, spec("node", 1, Firmware::Bios), disks)?;
        let boot = DirectBoot::new(site.lab, artefacts, &site.service);
        ensure!(boot.power_on(&mut machine)? == Told::Ramdisk, "a new machine is not looked at");
        let node = site.operator.wait_discovered(&machine.spec().serial, DISCOVERY_LIMIT)?;
        machine.cut_power();
        let reference = node.id.to_string();
        site.operator.approve_factory_new(&reference)?;
        site.operator.assign(&reference, IMAGE_NAME, TENANT)?;
        Ok(Self { site, boot, machine, reference })
    }

    fn disk(&self) -> &Path {
        self.machine.disks()[0].path()
    }

    /// The tenant fills the other disk with bytes of their own; gives a digest of all of it.
    fn fill_data_disk(&self) -> Result<String> {
        let path = self.machine.disks()[1].path();
        let mut bytes = vec![0; 8 << 20];
        blake3::Hasher::new().update(b"another disk").finalize_xof().fill(&mut bytes);
        let file = std::fs::OpenOptions::new().write(true).open(path).context("could not open a disk")?;
        file.write_all_at(&bytes, 0).context("could not write to the data disk")?;
        digest(path)
    }

    /// The data disk gets an image of its own with the next one for the system.
    fn assign_data_image(&self) -> Result<()> {
        let image = self.data_image();
        small_image::make_data(&image, 5)?;
        let operator = &self.site.operator;
        let import = ["image", "import", "--name", "scratch", "--no-root"];
        run(operator.command().args(import).arg(&image))?;
        run(operator.command().args(["assign", &self.reference, "--data-image", "largest=scratch"]))
    }

    fn data_image(&self) -> PathBuf {
        self.site.lab.folder().join("scratch.raw")
    }

    /// The image's one partition is on the data disk, grown over all of it, and nothing of ours.
    fn expect_data_image(&self) -> Result<()> {
        let disk = self.machine.disks()[1].path();
        let found = partitions(disk)?;
        let [scratch] = found.as_slice() else { bail!("not one partition: {found:?}") };
        ensure!((scratch.name.as_str(), scratch.offset_bytes) == ("scratch", MIB), "{scratch:?}");
        ensure!(scratch.size_bytes == DATA_DISK_BYTES - 2 * MIB, "{scratch:?}");
        ensure!(first_difference(&self.data_image(), disk)?.is_none(), "the data disk is not as its image");
        run(Command::new("sgdisk").arg("--verify").arg(disk))
    }

    fn set_node_data(&self, text: &str) -> Result<()> {
        let file = self.site.lab.folder().join("node.toml");
        std::fs::write(&file, text).context("could not write the node's data")?;
        run(self.site.operator.command().args(["node", "data", "set", &self.reference]).arg(file))
    }

    fn expect_node_data_written(&self) -> Result<()> {
        let mut show = self.site.operator.command();
        let shown = capture(show.args(["--json", "node", "data", "show", &self.reference]))?;
        let shown: serde_json::Value = serde_json::from_slice(&shown).context("the answer is no JSON")?;
        ensure!(shown["wanted"].is_string() && shown["wanted"] == shown["written"], "{shown}");
        Ok(())
    }

    fn assign_root(&self, size: &str) -> Result<()> {
        run(self.site.operator.command().args(["assign", &self.reference, "--root", size]))
    }

    /// One job through the ramdisk; the machine is off afterwards.
    fn through_ramdisk(&mut self, arguments: &[&str], case: &str) -> Result<Outcome> {
        let job = self.site.operator.reimage(&self.reference, arguments)?;
        let told = self.boot.power_on(&mut self.machine)?;
        ensure!(told == Told::Ramdisk, "{case}: the machine is told {told:?}");
        let node = self.site.operator.job(job)?.node;
        let outcome = follow_ramdisk(self.site, &mut self.machine, node, job, case)?;
        self.machine.cut_power();
        println!("{case}: {}", describe(&outcome.job));
        Ok(outcome)
    }

    /// There is no system in the image that could report, so a person ends the job.
    fn end(&self, job: JobId) -> Result<()> {
        let operator = &self.site.operator;
        for _ in 0..=ATTEMPTS_MAX {
            self.boot.ask(&self.machine)?;
        }
        let view = operator.job(job)?;
        ensure!(matches!(view.state, JobState::Held { .. }), "{}", describe(&view));
        operator.cancel(job)?;
        operator.release_hold(&self.reference)?;
        Ok(())
    }

    fn root(&self) -> Result<Partition> {
        root_partition(self.disk())
    }

    /// What the ext4 of the root says of its size, in bytes; it must be sound.
    fn root_file_system_bytes(&self) -> Result<u64> {
        let root = self.root()?;
        let place = format!("{}?offset={}", self.disk().display(), root.offset_bytes);
        run(Command::new("e2fsck").args(["-f", "-n", &place]))?;
        let superblock = self.read(root.offset_bytes + 1024, 1024)?;
        let number =
            |at: usize| superblock[at..at + 4].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Ok(number(4) * (1024 << number(24)))
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let file = std::fs::File::open(self.disk()).context("could not open the disk")?;
        file.read_exact_at(&mut bytes, offset).context("could not read the disk")?;
        Ok(bytes)
    }

    /// The data's digest, and their whole entry in the partition table.
    fn data(&self, number: u32) -> Result<(blake3::Hash, Vec<u8>)> {
        let digest = blake3::hash(&self.read(DATA_OFFSET, DATA_BYTES as usize)?);
        Ok((digest, self.read(1024 + u64::from(number - 1) * 128, 128)?))
    }
}

/// Adds a partition as a tenant would, and fills it with bytes that are nowhere else; gives its number.
fn add_data(disk: &Path) -> Result<u32> {
    let sectors = |bytes: u64| (bytes / 512).to_string();
    let place = format!("0:{}:{}", sectors(DATA_OFFSET), (DATA_OFFSET + DATA_BYTES) / 512 - 1);
    run(Command::new("sgdisk").arg(format!("--new={place}")).arg(disk))?;
    let added = partitions(disk)?.into_iter().find(|partition| partition.offset_bytes == DATA_OFFSET);
    let number = added.context("sgdisk added no partition")?.number;
    run(Command::new("sgdisk")
        .arg(format!("--change-name={number}:tenant data"))
        .arg(format!("--attributes={number}:set:59"))
        .arg(disk))?;
    let mut bytes = vec![0; DATA_BYTES as usize];
    blake3::Hasher::new().update(b"the tenant's").finalize_xof().fill(&mut bytes);
    let file = std::fs::OpenOptions::new().write(true).open(disk).context("could not open the disk")?;
    file.write_all_at(&bytes, DATA_OFFSET).context("could not write the data")?;
    Ok(number)
}

fn proof(job: &JobView) -> Result<&str> {
    match job.steps.as_slice() {
        [step] => Ok(&step.proof),
        other => bail!("not one step: {other:?}"),
    }
}

#[test]
fn a_reimage_leaves_data_and_grows_the_root() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let configuration = Configuration { attempts_max: Some(ATTEMPTS_MAX), ..Configuration::default() };
    let site = small::site(&lab, &artefacts, &configuration)?;
    let mut subject = Subject::start(&site, &artefacts)?;

    subject.assign_root("100Mi")?;
    subject.assign_data_image()?;
    let outcome = subject.through_ramdisk(&[], "install")?;
    ensure!(outcome.job.state == JobState::ComingUp, "{}", describe(&outcome.job));
    ensure!(subject.root()?.size_bytes == 100 * MIB, "the root is {:?}", subject.root()?);
    let [data, system] = outcome.job.steps.as_slice() else {
        bail!("not two steps: {:?}", outcome.job.steps)
    };
    ensure!(system.proof.contains("was grown from 56 to 100 MiB"), "{}", system.proof);
    ensure!(data.proof.contains("read back") && !data.proof.contains("node's"), "{}", data.proof);
    subject.expect_data_image()?;
    ensure!(subject.root_file_system_bytes()? == 100 * MIB, "{}", subject.root_file_system_bytes()?);
    subject.end(outcome.job.id)?;

    let number = add_data(subject.disk())?;
    let before = subject.data(number)?;
    let data_disk = subject.fill_data_disk()?;
    subject.assign_root("grow")?;
    let outcome = subject.through_ramdisk(&["--at-least", "reimage"], "reimage")?;
    expect_action(&outcome, Action::Reimage)?;
    ensure!(outcome.job.state == JobState::ComingUp, "{}", describe(&outcome.job));
    ensure!(subject.data(number)? == before, "the data or their entry have changed");
    ensure!(digest(subject.machine.disks()[1].path())? == data_disk, "the data disk has changed");
    let (root, grown) = (subject.root()?, DATA_OFFSET - subject.root()?.offset_bytes);
    ensure!(root.size_bytes == grown, "the root is {root:?}");
    ensure!(subject.root_file_system_bytes()? == grown, "{}", subject.root_file_system_bytes()?);
    said(&subject, &outcome.job, number)?;
    subject.end(outcome.job.id)?;

    // Nothing of all this is foreign to the next look.
    let outcome = subject.through_ramdisk(&["--from-ramdisk"], "look")?;
    expect_action(&outcome, Action::Keep)?;
    ensure!(outcome.counters.written_bytes == 0, "a look wrote: {:?}", outcome.counters);
    ensure!(subject.data(number)? == before, "the data or their entry have changed");

    // What belongs to the node is written alone.
    subject.set_node_data("host_name = \"node-1\"\n")?;
    let outcome = subject.through_ramdisk(&["--at-least", "repair"], "the node's data")?;
    expect_action(&outcome, Action::Repair)?;
    let written = proof(&outcome.job)?;
    ensure!(written.starts_with("the node's data (") && written.ends_with("read back"), "{written}");
    ensure!(outcome.counters.written_bytes <= 2 * MIB, "more was written: {:?}", outcome.counters);
    ensure!(subject.data(number)? == before, "the data or their entry have changed");
    subject.expect_node_data_written()
}

/// The technician is told what stays, before and after; and writing over a grown root costs what growing
/// changed.
fn said(subject: &Subject<'_, '_>, job: &JobView, number: u32) -> Result<()> {
    let proof = proof(job)?;
    let name = format!("partition {number} \"tenant data\" (40 MiB)");
    ensure!(proof.contains(&format!("{name} stayed as they were")), "{proof}");
    ensure!(proof.contains("was grown from 56 to 146 MiB"), "{proof}");
    let explanation = subject.site.operator.explanation(&subject.reference)?;
    ensure!(explanation.contains(&format!("stays when an image is written: {name}.")), "{explanation}");
    let told = job.events.iter().any(|event| event.text.contains(&format!("and keep {name}")));
    ensure!(told, "{}", describe(job));
    let (differed, _) = proof.split_once(" of 60 chunks differed").context("no count of chunks")?;
    let differed: u64 = differed.parse().with_context(|| format!("{differed:?} is no count"))?;
    println!("growing a root of 56 MiB to 100 changed {differed} chunks");
    ensure!((1..=8).contains(&differed), "{proof}");
    Ok(())
}
