//! Virtual machines: a network card, disks, firmware and nothing else. Under TCG, so that they run
//! anywhere; QEMU is the device model, not an accelerator.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::lab::Lab;
use crate::process::{Background, run, tail};
use crate::qmp::Qmp;
use crate::wait::{until, until_every};

mod command_line;
mod fittings;
mod tpm;

pub use fittings::Fittings;

/// Firmware code of Debian's `ovmf`, 4 MiB build.
const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// Another build of it, with the means to keep its variables from the system.
const OVMF_CODE_OTHER: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
/// Its variable store; each machine writes into a copy.
const OVMF_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// The iPXE option ROM of Debian's `ipxe-qemu` that QEMU gives the virtio card by itself.
const BIOS_ROM: &str = "/usr/lib/ipxe/qemu/efi-virtio.rom";

/// How long a system may take to show that it heard Ctrl-Alt-Del.
const KEY_INTERVAL: Duration = Duration::from_secs(15);

/// How a machine starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// `SeaBIOS` with the iPXE option ROM of the network card.
    Bios,
    /// OVMF with its own PXE.
    UefiPxe,
    /// OVMF with PXE off, so that it goes to UEFI HTTP Boot at once.
    UefiHttp,
}

impl Firmware {
    /// For tables.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Bios => "BIOS",
            Self::UefiPxe => "UEFI PXE",
            Self::UefiHttp => "UEFI HTTP",
        }
    }
}

/// What happens when the guest resets the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnReset {
    /// It starts again, as a real one does.
    Restart,
    /// It stands still, so that disks and counters can be looked at; [`Machine::resume`] lets it go on.
    Stop,
}

/// What a machine is.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name in logs and tables.
    pub name: String,
    /// How it starts.
    pub firmware: Firmware,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Serial number in its SMBIOS.
    pub serial: String,
    /// Last byte of its hardware address; unique in a laboratory.
    pub number: u8,
    /// A kernel that QEMU loads itself, instead of what the network would give; for an agent whose
    /// service is not there.
    pub loaded: Option<Loaded>,
}

/// A kernel loaded by QEMU itself.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The kernel.
    pub kernel: PathBuf,
    /// The ramdisk.
    pub ramdisk: PathBuf,
    /// The kernel's command line.
    pub arguments: String,
}

impl Spec {
    /// Hardware address of its network card.
    #[must_use]
    pub fn mac(&self) -> String {
        format!("52:54:00:77:00:{:02x}", self.number)
    }

    fn uuid(&self) -> String {
        format!("7e577e57-0000-4000-8000-0000000000{:02x}", self.number)
    }
}

/// What a disk has done since the machine was last started, as QEMU counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskCounters {
    /// Read by the guest, in bytes.
    pub read_bytes: u64,
    /// Written by the guest, in bytes.
    pub written_bytes: u64,
    /// Commands that write without carrying data: write zeroes, discard, format.
    pub dataless_writes: u64,
}

/// A machine, switched on or off.
#[derive(Debug)]
pub struct Machine {
    spec: Spec,
    disks: Vec<Disk>,
    folder: PathBuf,
    namespace: String,
    tap: String,
    running: Option<Running>,
    boots: u32,
    nvme_warning: Option<u8>,
    skips_network: bool,
    fittings: Fittings,
}

#[derive(Debug)]
struct Running {
    process: Background,
    _tpm: Option<Background>,
    qmp: Qmp,
}

impl Machine {
    /// Puts a machine on the wire; it is off.
    ///
    /// # Errors
    /// If its folder or tap cannot be made.
    pub fn new(lab: &Lab, spec: Spec, disks: Vec<Disk>) -> Result<Self> {
        let folder = lab.folder().join(&spec.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
        if spec.firmware != Firmware::Bios {
            std::fs::copy(OVMF_VARIABLES, folder.join("variables.fd"))
                .context("could not copy OVMF's variables")?;
        }
        let tap = lab.network().tap()?;
        let namespace = lab.network().name().to_owned();
        Ok(Self {
            spec,
            disks,
            folder,
            namespace,
            tap,
            running: None,
            boots: 0,
            nvme_warning: None,
            skips_network: false,
            fittings: Fittings::default(),
        })
    }

    /// What it is.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Its disks.
    #[must_use]
    pub fn disks(&self) -> &[Disk] {
        &self.disks
    }

    /// The serial console of the last start.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.folder.join(format!("console-{}.log", self.boots))
    }

    /// What the serial console of the last start shows so far.
    #[must_use]
    pub fn console_text(&self) -> String {
        let bytes = std::fs::read(self.console()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Has QEMU load this kernel from the next start on, or none.
    pub fn load(&mut self, loaded: Option<Loaded>) {
        self.spec.loaded = loaded;
    }

    /// Switches it on.
    ///
    /// # Errors
    /// If it is on already or QEMU does not start.
    pub fn start(&mut self, on_reset: OnReset) -> Result<()> {
        if self.running.is_some() {
            bail!("{} is already on", self.spec.name);
        }
        self.boots += 1;
        let socket = self.folder.join("qmp");
        let _ = std::fs::remove_file(&socket);
        let tpm = self.fittings.tpm.then(|| tpm::start(&self.folder)).transpose()?;
        let process =
            Background::start(&self.spec.name, &mut self.command(&socket), &self.folder.join("qemu.log"))?;
        let mut qmp = Qmp::connect(&socket)
            .with_context(|| format!("QEMU said: {}", tail(&self.folder.join("qemu.log"))))?;
        set_on_reset(&mut qmp, on_reset)?;
        if let Some(bits) = self.nvme_warning {
            fittings::set_nvme_warning(&mut qmp, bits)?;
        }
        qmp.call("cont", json!({}))?;
        self.running = Some(Running { process, _tpm: tpm, qmp });
        Ok(())
    }

    /// Says what is to happen at the next reset by the guest.
    ///
    /// # Errors
    /// If it is off or QEMU refuses.
    pub fn on_reset(&mut self, on_reset: OnReset) -> Result<()> {
        let qmp = self.qmp()?;
        qmp.forget_events();
        set_on_reset(qmp, on_reset)
    }

    /// Waits until the guest resets a machine that was told to stop then.
    ///
    /// # Errors
    /// If it is off, or does not reset within `limit`; with the end of its console.
    pub fn wait_stopped(&mut self, limit: Duration) -> Result<()> {
        let name = self.spec.name.clone();
        let console = self.console();
        match self.qmp()?.event("SHUTDOWN", limit)? {
            Some(_) => Ok(()),
            None => bail!(
                "{name} did not reset within {} s; its console ends:\n{}",
                limit.as_secs(),
                tail(&console)
            ),
        }
    }

    /// Lets a machine run on for a while; whether it reset and stopped within it.
    ///
    /// # Errors
    /// If it is off.
    pub fn is_stopped_within(&mut self, limit: Duration) -> Result<bool> {
        Ok(self.qmp()?.event("SHUTDOWN", limit)?.is_some())
    }

    /// Starts a stopped machine again from its firmware.
    ///
    /// # Errors
    /// If it is off or QEMU refuses.
    pub fn resume(&mut self, on_reset: OnReset) -> Result<()> {
        let qmp = self.qmp()?;
        qmp.forget_events();
        set_on_reset(qmp, on_reset)?;
        qmp.call("system_reset", json!({}))?;
        qmp.call("cont", json!({}))?;
        Ok(())
    }

    /// Resets it, as somebody's finger would.
    ///
    /// # Errors
    /// If it is off or QEMU refuses.
    pub fn reset(&mut self) -> Result<()> {
        self.qmp()?.call("system_reset", json!({})).map(|_| ())
    }

    /// Takes its power away at once.
    pub fn cut_power(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.process.kill();
        }
    }

    /// Asks the operating system to shut down and waits until it has; the machine is off then. By
    /// Ctrl-Alt-Del, which a system obeys that has nobody to watch the power button.
    ///
    /// # Errors
    /// If it is off or does not shut down within `limit`; with the end of its console.
    pub fn shut_down(&mut self, limit: Duration) -> Result<()> {
        let qmp = self.qmp()?;
        qmp.forget_events();
        set_on_reset(qmp, OnReset::Stop)?;
        let keys = ["ctrl", "alt", "delete"].map(|key| json!({ "type": "qcode", "data": key }));
        let name = self.spec.name.clone();
        // Pressed again if nothing follows: a system that is still coming up may not listen yet.
        until_every(Duration::ZERO, &format!("{name}, shut down"), limit, || {
            let qmp = self.qmp()?;
            qmp.call("send-key", json!({ "keys": keys }))?;
            qmp.event("SHUTDOWN", KEY_INTERVAL)
        })
        .with_context(|| format!("its console ends:\n{}", tail(&self.console())))?;
        self.cut_power();
        Ok(())
    }

    /// Fails if it is on and QEMU has ended by itself.
    ///
    /// # Errors
    /// That it has ended, with the end of QEMU's log.
    pub fn check_running(&mut self) -> Result<()> {
        match &mut self.running {
            Some(running) => running.process.check_running(),
            None => Ok(()),
        }
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// Waits until a text has come this many times on the serial console.
    ///
    /// # Errors
    /// If QEMU ends or the text does not come within `limit`; with the end of the console.
    pub fn wait_console_times(&mut self, text: &str, times: usize, limit: Duration) -> Result<()> {
        let console = self.console();
        let what = format!("{text:?} on the console of {}", self.spec.name);
        let found = until(&what, limit, || {
            if let Some(running) = &mut self.running {
                running.process.check_running()?;
            }
            let bytes = std::fs::read(&console).unwrap_or_default();
            Ok((String::from_utf8_lossy(&bytes).matches(text).count() >= times).then_some(()))
        });
        found.with_context(|| format!("the console of {} ends:\n{}", self.spec.name, tail(&console)))
    }

    /// What the disks have done since the start, summed.
    ///
    /// # Errors
    /// If it is off or QEMU refuses.
    pub fn counters(&mut self) -> Result<DiskCounters> {
        let stats = self.qmp()?.call("query-blockstats", json!({}))?;
        let mut sum = DiskCounters::default();
        for device in stats.as_array().context("QEMU gave no list of block devices")? {
            if !device["qdev"].as_str().is_some_and(|name| name.contains("disk")) {
                continue;
            }
            let count = |name: &str| device["stats"][name].as_u64().unwrap_or(0);
            sum.read_bytes += count("rd_bytes");
            sum.written_bytes += count("wr_bytes");
            sum.dataless_writes += count("unmap_operations") + count("zone_append_operations");
        }
        Ok(sum)
    }

    fn qmp(&mut self) -> Result<&mut Qmp> {
        match &mut self.running {
            Some(running) => {
                running.process.check_running()?;
                Ok(&mut running.qmp)
            }
            None => bail!("{} is off", self.spec.name),
        }
    }
}

fn set_on_reset(qmp: &mut Qmp, on_reset: OnReset) -> Result<()> {
    let (reboot, shutdown) = match on_reset {
        OnReset::Restart => ("reset", "pause"),
        OnReset::Stop => ("shutdown", "pause"),
    };
    let arguments: Value = json!({ "reboot": reboot, "shutdown": shutdown });
    qmp.call("set-action", arguments).map(|_| ())
}

/// Says which of the programs and firmware files that machines need is missing.
///
/// # Errors
/// Names the first missing file and the Debian package that has it.
pub fn check_installed() -> Result<()> {
    for (file, package) in [(OVMF_CODE, "ovmf"), (OVMF_VARIABLES, "ovmf"), (BIOS_ROM, "ipxe-qemu")] {
        if !Path::new(file).exists() {
            bail!("{file} is missing; install the package {package}");
        }
    }
    run(Command::new("qemu-system-x86_64").arg("--version")).context("install the package qemu-system-x86")
}
