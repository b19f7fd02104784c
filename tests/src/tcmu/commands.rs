//! A machine that sends the fake disk single commands with the agent's own code, as it is asked to.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::disk::Profile;
use super::server::FakeDisk;
use super::site::{MODULES, disk_address};
use crate::artefacts::Artefacts;
use crate::guest::archive::{Addition, KERNEL_ARGUMENT, LABORATORY_ADDRESS, write_ramdisk};
use crate::lab::Lab;
use crate::machine::{Firmware, Loaded, Machine, OnReset, Spec};
use crate::process::tail;
use crate::scenario::site::spec;
use crate::wait::until;

/// The program in the machine.
const PROGRAM: &str = "ata-laboratory";
/// Where it calls.
const PORT: u16 = 8601;
/// How long the machine may take to start, and each answer to come.
const LIMIT: Duration = Duration::from_secs(120);

/// A machine with a fake disk for its only one.
#[derive(Debug)]
pub struct CommandSite {
    /// The disk.
    pub disk: FakeDisk,
    machine: Machine,
    stream: BufReader<TcpStream>,
}

/// Where the program in the machine calls.
#[must_use]
pub fn address() -> SocketAddr {
    SocketAddr::from((LABORATORY_ADDRESS, PORT))
}

impl CommandSite {
    /// Starts the machine and waits until it can be asked.
    ///
    /// # Errors
    /// If something is missing or does not start; with the end of its console.
    pub fn start(lab: &Lab, profile: Profile) -> Result<Self> {
        let artefacts = Artefacts::find()?;
        let ramdisk = lab.folder().join("laboratory.cpio");
        let size = profile.size_bytes.to_string();
        let files = [("size", size.as_bytes()), ("then", PROGRAM.as_bytes())];
        let addition =
            Addition { init: "tcmu-attach", programs: &[PROGRAM], modules: &MODULES, files: &files };
        write_ramdisk(&ramdisk, &artefacts.ramdisk, &addition)?;
        lab.network().add_address(LABORATORY_ADDRESS).context("could not add the disk's network")?;
        let disk = FakeDisk::start(lab.network(), disk_address(), profile)?;
        let listener = lab
            .network()
            .enter(|| TcpListener::bind(address()))?
            .context("could not listen for the machine")?;
        listener.set_nonblocking(true).context("could not listen for the machine")?;
        let arguments = format!("console=ttyS0 {KERNEL_ARGUMENT}");
        let loaded = Some(Loaded { kernel: artefacts.kernel, ramdisk, arguments });
        let spec = Spec { memory_mib: 384, loaded, ..spec("node", 1, Firmware::Bios) };
        let mut machine = Machine::new(lab, spec, Vec::new())?;
        machine.start(OnReset::Stop)?;
        let stream = until("the machine", LIMIT, || {
            machine.check_running()?;
            Ok(listener.accept().ok())
        });
        let (stream, _) =
            stream.with_context(|| format!("the console ends:\n{}", tail(&machine.console())))?;
        stream.set_nonblocking(false).context("could not wait for answers")?;
        stream.set_read_timeout(Some(LIMIT)).context("could not wait for answers")?;
        Ok(Self { disk, machine, stream: BufReader::new(stream) })
    }

    /// Has the machine do one thing; what came of it, or why nothing did.
    ///
    /// # Errors
    /// If the machine does not answer; with the end of its console.
    pub fn ask(&mut self, line: &str) -> Result<Result<String, String>> {
        let console = self.machine.console();
        let context = || format!("{line}; the console ends:\n{}", tail(&console));
        self.stream.get_ref().write_all(format!("{line}\n").as_bytes()).with_context(context)?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).with_context(context)?;
        match answer.trim_end().split_once(' ') {
            Some(("ok", rest)) => Ok(Ok(rest.to_owned())),
            Some(("error", rest)) => Ok(Err(rest.to_owned())),
            _ => bail!("the machine answered {answer:?} to {line}; the console ends:\n{}", tail(&console)),
        }
    }
}
