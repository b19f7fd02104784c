//! The real boot service in a laboratory: configured, started, killed and started again.

use std::fmt::Write;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::artefacts::Artefacts;
use crate::lab::Lab;
use crate::namespace::{ADDRESS, BRIDGE, Namespace};
use crate::process::{Background, tail};
use crate::wait::until;

/// Port of plain HTTP.
pub const HTTP_PORT: u16 = 8080;
/// Port of the API.
pub const API_PORT: u16 = 8443;
/// Longest time until the service answers, a database and a CA made anew included.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How the service takes part in DHCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dhcp {
    /// It gives out the addresses.
    Authoritative,
    /// It answers beside the site's own server.
    Proxy,
}

/// How a service is configured.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Its part in DHCP.
    pub dhcp: Dhcp,
    /// Its address.
    pub address: Ipv4Addr,
    /// A policy instead of the built-in one.
    pub policy: Option<String>,
    /// How often a job may hand out the ramdisk.
    pub attempts_max: Option<u32>,
    /// More arguments for the ramdisk's kernel.
    pub kernel_arguments: String,
    /// Whether it serves nodes' own data over HTTP.
    pub metadata: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            dhcp: Dhcp::Authoritative,
            address: ADDRESS,
            policy: None,
            attempts_max: None,
            kernel_arguments: String::new(),
            metadata: false,
        }
    }
}

/// A running service.
#[derive(Debug)]
pub struct Service<'lab> {
    network: &'lab Namespace,
    program: PathBuf,
    folder: PathBuf,
    address: Ipv4Addr,
    process: Option<Background>,
}

impl<'lab> Service<'lab> {
    /// Configures a service in its own folder of the laboratory and starts it.
    ///
    /// # Errors
    /// If it does not answer in time; with the end of its log.
    pub fn start(lab: &'lab Lab, artefacts: &Artefacts, configuration: &Configuration) -> Result<Self> {
        let folder = lab.folder().join("service");
        std::fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
        let text = configuration_text(artefacts, configuration, &folder)?;
        std::fs::write(folder.join("bootsvc.toml"), text)
            .context("could not write the service's configuration")?;
        let mut service = Self {
            network: lab.network(),
            program: artefacts.service.clone(),
            folder,
            address: configuration.address,
            process: None,
        };
        service.start_again()?;
        Ok(service)
    }

    /// Starts it after it was killed.
    ///
    /// # Errors
    /// If it does not answer in time; with the end of its log.
    pub fn start_again(&mut self) -> Result<()> {
        let mut command = self.network.command(&self.program);
        command.arg("serve").arg("--config").arg(self.folder.join("bootsvc.toml"));
        command.env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()));
        let listened = self.times_dhcp_listened();
        let mut process = Background::start("reprieve-bootsvc", &mut command, &self.log())?;
        until("the service's answer", START_LIMIT, || {
            process.check_running()?;
            // HTTP may answer before DHCP listens, and scripted clients ask only once.
            Ok((self.times_dhcp_listened() > listened && self.is_ready()).then_some(()))
        })
        .with_context(|| format!("the service's log ends:\n{}", tail(&self.log())))?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// That it has ended, with the end of its log.
    pub fn check_running(&mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => process.check_running(),
            None => bail!("the service was killed and not started again"),
        }
    }

    /// What it has written to its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("bootsvc.log")
    }

    /// The address that its DHCP gave last; none while it gave none.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn lent_address(&self) -> Result<Option<String>> {
        let log = std::fs::read(self.log()).context("could not read the service's log")?;
        let log = String::from_utf8_lossy(&log);
        let replies = log.lines().filter(|line| line.contains("DHCP reply"));
        let last = replies.filter_map(|line| line.split_once("address=")).next_back();
        Ok(last.map(|(_, rest)| rest.split(' ').next().unwrap_or(rest).to_owned()))
    }

    /// The folder of its database, keys and images.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Address of its API, such as `https://10.77.0.1:8443`.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("https://{}:{API_PORT}", self.address)
    }

    /// Fetches a path over plain HTTP: status and body.
    ///
    /// # Errors
    /// If nobody answers or what answers is not HTTP.
    pub fn http_get(&self, path: &str) -> Result<(u16, Vec<u8>)> {
        let address = SocketAddr::from((self.address, HTTP_PORT));
        self.network.enter(|| http_get(address, path))?
    }

    fn times_dhcp_listened(&self) -> usize {
        let log = std::fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&log).matches("DHCP listens").count()
    }

    fn is_ready(&self) -> bool {
        self.http_get("/healthz").is_ok_and(|(status, _)| status == 200)
    }
}

fn http_get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))
        .with_context(|| format!("could not reach {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).context("could not set a timeout")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(|| format!("could not ask {address}"))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("could not read the answer of {address}"))?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer is not HTTP")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    Ok((status, answer[end + 4..].to_vec()))
}

fn configuration_text(artefacts: &Artefacts, configuration: &Configuration, folder: &Path) -> Result<String> {
    let address = configuration.address;
    let mut text = String::new();
    let line = &mut text;
    writeln!(line, "state_directory = {:?}", folder.join("state"))?;
    if let Some(policy) = &configuration.policy {
        let file = folder.join("policy.toml");
        std::fs::write(&file, policy).context("could not write the policy")?;
        writeln!(line, "policy = {file:?}")?;
    }
    writeln!(line, "[http]\nlisten = [\"{address}:{HTTP_PORT}\"]")?;
    writeln!(line, "[api]\nlisten = [\"{address}:{API_PORT}\"]")?;
    writeln!(line, "[tftp]\nlisten = [\"{address}:69\"]")?;
    writeln!(line, "[boot]\nkernel = {:?}\nramdisk = {:?}", artefacts.kernel, artefacts.ramdisk)?;
    writeln!(line, "loaders = {:?}", artefacts.loaders)?;
    // Quiet, because the kernel would show its command line with the token in it, and slowly.
    let arguments = format!("console=ttyS0 quiet {}", configuration.kernel_arguments);
    writeln!(line, "extra_kernel_arguments = {:?}", arguments.trim_end())?;
    if let Some(attempts_max) = configuration.attempts_max {
        writeln!(line, "attempts_max = {attempts_max}")?;
    }
    writeln!(line, "[metadata]\nenabled = {}", configuration.metadata)?;
    writeln!(line, "[[dhcp]]\ninterface = \"{BRIDGE}\"\naddress = \"{address}\"\nsubnet = \"10.77.0.0/24\"")?;
    match configuration.dhcp {
        Dhcp::Authoritative => {
            writeln!(line, "mode = \"authoritative\"\npool = [\"10.77.0.100-10.77.0.150\"]")?
        }
        Dhcp::Proxy => writeln!(line, "mode = \"proxy\"")?,
    }
    Ok(text)
}
