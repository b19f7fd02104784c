//! A machine whose power is cut again and again, and what must be true after each cut.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use contract::id::{JobId, NodeId};
use contract::operator_api::{JobState, NodeState};

use crate::artefacts::Artefacts;
use crate::direct_boot::{DirectBoot, Told};
use crate::disk::{Disk, DiskBus};
use crate::lab::Lab;
use crate::machine::{Firmware, Machine, Spec};
use crate::operator::describe;
use crate::scenario::site::{DISCOVERY_LIMIT, IMAGE_NAME, Site, TENANT, console_end, spec};
use crate::scenario::small::DISK_BYTES;

/// Longest time from power-on to a byte that is written.
const WRITING_LIMIT: Duration = Duration::from_secs(240);
/// How often QEMU is asked for its counters: often, or every cut would come at the same kind of moment.
const COUNTERS_INTERVAL: Duration = Duration::from_millis(5);
/// How often the service is asked meanwhile: seldom, because it is a process each time.
const JOB_INTERVAL: Duration = Duration::from_secs(3);

/// A machine on one slow disk, and those who switch it on and off.
#[derive(Debug)]
pub struct Cutting<'site, 'lab> {
    /// The service and somebody who drives it.
    pub site: &'site Site<'lab>,
    /// Who loads the machine's kernel.
    pub boot: DirectBoot<'lab>,
    /// The machine; it is off.
    pub machine: Machine,
    /// Its id at the service.
    pub node: NodeId,
}

/// How a run after power-on went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// The power was cut when so many bytes were written since power-on.
    Cut(u64),
    /// Everything was done before; the machine is off. So many bytes were written.
    Done(u64),
    /// The ramdisk was not handed out any more.
    Held,
}

impl<'site, 'lab> Cutting<'site, 'lab> {
    /// Takes in a machine with a blank disk that writes at most so fast, and switches it off.
    ///
    /// # Errors
    /// If it is not discovered in time or a command refuses.
    pub fn start(site: &'site Site<'lab>, artefacts: &Artefacts, bytes_per_second: u64) -> Result<Self> {
        let path = site.lab.folder().join("node.raw");
        let disk = Disk::blank(path, DiskBus::Virtio, "NODE-DISK", DISK_BYTES)?;
        Self::with_disks(site, artefacts, vec![disk.slow(bytes_per_second)])
    }

    /// Takes in a machine with these disks of QEMU's, and switches it off.
    ///
    /// # Errors
    /// If it is not discovered in time or a command refuses.
    pub fn with_disks(site: &'site Site<'lab>, artefacts: &Artefacts, disks: Vec<Disk>) -> Result<Self> {
        let lab: &'lab Lab = site.lab;
        // A machine without a disk of QEMU's has one in its memory.
        let memory_mib = if disks.is_empty() { 640 } else { 384 };
        let spec = Spec { memory_mib, ..spec("node", 1, Firmware::Bios) };
        let mut machine = Machine::new(lab, spec, disks)?;
        let boot = DirectBoot::new(lab, artefacts, &site.service);
        ensure!(boot.power_on(&mut machine)? == Told::Ramdisk, "a new machine is not looked at");
        let node = site
            .operator
            .wait_discovered(&machine.spec().serial, DISCOVERY_LIMIT)
            .with_context(|| format!("the console ends:\n{}", console_end(&machine)))?;
        machine.cut_power();
        let reference = node.id.to_string();
        site.operator.approve_factory_new(&reference)?;
        site.operator.assign(&reference, IMAGE_NAME, TENANT)?;
        Ok(Self { site, boot, machine, node: node.id })
    }

    /// The node as commands name it.
    #[must_use]
    pub fn reference(&self) -> String {
        self.node.to_string()
    }

    /// The disk's file.
    #[must_use]
    pub fn disk(&self) -> &Path {
        self.machine.disks()[0].path()
    }

    /// Switches the machine on, lets the ramdisk work, and cuts the power as soon as `bytes` are written
    /// and `after` is over, unless all was done before.
    ///
    /// # Errors
    /// If the machine does not come to writing, or the job ends otherwise; with the end of the console.
    pub fn run(&mut self, job: JobId, bytes: u64, after: Duration) -> Result<Run> {
        match self.boot.power_on(&mut self.machine)? {
            Told::Ramdisk => {}
            Told::Held => return Ok(Run::Held),
            told => bail!("a disk that is being changed is booted: {told:?}"),
        }
        let ran = self.run_until(job, bytes, after).with_context(|| {
            let seen = self.site.operator.job(job).map(|view| describe(&view));
            format!("{seen:?}; the console ends:\n{}", console_end(&self.machine))
        })?;
        self.machine.cut_power();
        Ok(ran)
    }

    fn run_until(&mut self, job: JobId, bytes: u64, after: Duration) -> Result<Run> {
        let (begun, mut asked) = (Instant::now(), Instant::now());
        loop {
            let written = self.machine.counters()?.written_bytes;
            if written >= bytes {
                let stopped = self.machine.is_stopped_within(after)?;
                let written = self.machine.counters()?.written_bytes;
                return Ok(if stopped { Run::Done(written) } else { Run::Cut(written) });
            }
            if self.machine.is_stopped_within(COUNTERS_INTERVAL)? {
                return Ok(Run::Done(written));
            }
            if asked.elapsed() > JOB_INTERVAL {
                asked = Instant::now();
                let view = self.site.operator.job(job)?;
                ensure!(!matches!(view.state, JobState::Held { .. }), "held: {}", describe(&view));
                ensure!(begun.elapsed() < WRITING_LIMIT, "{bytes} bytes were not written in time");
            }
        }
    }

    /// A held node says why; a person looks and lets it go on.
    ///
    /// # Errors
    /// If it is not held, does not say why, or the command refuses.
    pub fn let_go_on(&self, job: JobId) -> Result<()> {
        let view = self.site.operator.job(job)?;
        let JobState::Held { reason } = &view.state else { bail!("the job is {}", describe(&view)) };
        ensure!(reason.contains("attempts"), "the job is held for another reason: {reason}");
        let reference = self.reference();
        let state = self.site.operator.node(&reference)?.state;
        ensure!(state == NodeState::Held, "the job is held but the node is {state:?}");
        self.site.operator.release_hold(&reference)?;
        let after = self.site.operator.node(&reference)?.job;
        ensure!(after == Some(job), "the job was given up with the hold: {after:?}");
        Ok(())
    }
}

/// Whether firmware would start something from a disk file: boot code, or a partition table at its
/// beginning.
///
/// # Errors
/// If it cannot be read.
pub fn can_boot(disk: &Path) -> Result<bool> {
    let file = File::open(disk).with_context(|| format!("could not open {}", disk.display()))?;
    let mut first = [0; 1024];
    file.read_exact_at(&mut first, 0).with_context(|| format!("could not read {}", disk.display()))?;
    Ok(first[510..512] == [0x55, 0xaa] || &first[512..520] == b"EFI PART")
}
