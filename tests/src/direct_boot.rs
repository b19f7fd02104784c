//! Switching machines on without firmware and network loader: QEMU loads kernel and ramdisk itself.
//!
//! What a machine is told stays the service's own word: its boot script is fetched as iPXE fetches it,
//! with the attempt that it counts and the one-time token that it mints, and its kernel line is used as
//! it stands. Left out is only what firmware and iPXE do, which takes most of the time from power-on to
//! the agent's first word and is tested elsewhere.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::artefacts::Artefacts;
use crate::lab::Lab;
use crate::machine::{Loaded, Machine, OnReset};
use crate::scripted_agent::ScriptedAgent;
use crate::service::Service;

/// What the service tells a machine that comes to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// To start the ramdisk; the machine is on.
    Ramdisk,
    /// To boot its disk; the machine is off.
    Disk,
    /// Nothing, and its disk is not booted either; the machine is off.
    Held,
    /// That it is held and boots its disk all the same; the machine is off.
    HeldWithDisk,
}

/// Somebody who loads kernels for machines.
#[derive(Debug)]
pub struct DirectBoot<'lab> {
    agent: ScriptedAgent<'lab>,
    kernel: PathBuf,
    ramdisk: PathBuf,
}

impl<'lab> DirectBoot<'lab> {
    /// For machines of this service.
    #[must_use]
    pub fn new(lab: &'lab Lab, artefacts: &Artefacts, service: &Service<'_>) -> Self {
        Self {
            agent: ScriptedAgent::new(lab.network(), service),
            kernel: artefacts.kernel.clone(),
            ramdisk: artefacts.ramdisk.clone(),
        }
    }

    /// Asks for the machine's boot script and, if that starts the ramdisk, switches the machine on with
    /// it. It stands still at its first reset.
    ///
    /// # Errors
    /// If the service does not answer, its script is none that it could give, or QEMU does not start.
    pub fn power_on(&self, machine: &mut Machine) -> Result<Told> {
        self.power_on_with(machine, |arguments| arguments)
    }

    /// As [`DirectBoot::power_on`], with the kernel's arguments changed on the way.
    ///
    /// # Errors
    /// As there.
    pub fn power_on_with(
        &self,
        machine: &mut Machine,
        change: impl FnOnce(String) -> String,
    ) -> Result<Told> {
        let mac = machine.spec().mac();
        let script = self.agent.script(&mac)?;
        let told = told(&script)?;
        if told == Told::Ramdisk {
            let arguments = change(arguments(&script, &mac, machine.spec().number)?);
            let (kernel, ramdisk) = (self.kernel.clone(), self.ramdisk.clone());
            machine.load(Some(Loaded { kernel, ramdisk, arguments }));
            machine.start(OnReset::Stop)?;
        }
        Ok(told)
    }

    /// Asks for the boot script of a machine that is off, as one does that comes to the network and then
    /// does something else.
    ///
    /// # Errors
    /// If the service does not answer, or its script is none that it could give.
    pub fn ask(&self, machine: &Machine) -> Result<Told> {
        told(&self.agent.script(&machine.spec().mac())?)
    }
}

fn told(script: &str) -> Result<Told> {
    let says = |text: &str| script.contains(text);
    match (says("starting the ramdisk"), says("booting the local disk"), says("holds this machine")) {
        (true, false, false) => Ok(Told::Ramdisk),
        (false, true, false) => Ok(Told::Disk),
        (false, false, true) if says("is not booted") => Ok(Told::Held),
        (false, false, true) => Ok(Told::HeldWithDisk),
        _ => bail!("this is no boot script of ours:\n{script}"),
    }
}

/// The kernel line of a script, with what iPXE would fill in.
fn arguments(script: &str, mac: &str, number: u8) -> Result<String> {
    let line = script.lines().find(|line| line.starts_with("kernel ")).context("no kernel in the script")?;
    let line = line.split(" || ").next().unwrap_or(line);
    let (_, arguments) = line.split_once("initrd=initrd.img ").context("no arguments in the script")?;
    // Beside the addresses that the service gives out.
    let address = format!("10.77.0.{}", 200 + u32::from(number));
    let filled = arguments
        .replace("${netX/ip}", &address)
        .replace("${netX/netmask}", "255.255.255.0")
        .replace("${netX/gateway}", "0.0.0.0")
        .replace("${netX/mac}", mac);
    if filled.contains("${") {
        bail!("the script wants more filled in than is known here: {arguments}");
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::{Told, arguments, told};

    const SCRIPT: &str = "#!ipxe\necho Reprieve: starting the ramdisk for job 1\n\
        kernel --name vmlinuz http://h/boot/kernel initrd=initrd.img quiet reprieve.node=1 \
        reprieve.address=${netX/ip}/${netX/netmask} reprieve.interface=${netX/mac} || goto failed\n";

    #[test]
    fn a_script_is_read_as_it_is_written() -> anyhow::Result<()> {
        assert_eq!(told(SCRIPT)?, Told::Ramdisk);
        let line = arguments(SCRIPT, "52:54:00:77:00:01", 1)?;
        assert_eq!(
            line,
            "quiet reprieve.node=1 reprieve.address=10.77.0.201/255.255.255.0 reprieve.interface=52:54:00:77:00:01"
        );
        assert_eq!(told("echo Reprieve: booting the local disk: x")?, Told::Disk);
        assert_eq!(told("echo Reprieve holds this machine: x\nIts disk is not booted")?, Told::Held);
        assert_eq!(told("echo Reprieve holds this machine: x\nIt boots what it has")?, Told::HeldWithDisk);
        assert!(told("#!ipxe\n").is_err());
        assert!(arguments(&SCRIPT.replace("netX/mac", "netX/other"), "m", 1).is_err());
        Ok(())
    }
}
