//! The real boot service on this machine's loopback, and the technician's command that imports.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reprieve_tests::process::{Background, tail};
use reprieve_tests::wait::until;
use serde::Deserialize;

use crate::command::output;
use crate::toolchain::{build_agent_with, build_native};
use crate::{packages, paths};

/// Longest time until the service answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The programs that are measured, built as they are shipped.
#[derive(Debug)]
pub struct Programs {
    /// The agent of the ramdisk, with the feature that lets it write without a job.
    pub agent: PathBuf,
    service: PathBuf,
    operator: PathBuf,
}

impl Programs {
    /// Builds them.
    pub fn build() -> Result<Self> {
        packages::ensure(packages::BUILD)?;
        Ok(Self {
            agent: build_agent_with("bench")?,
            service: build_native("reprieve-bootsvc", "release")?,
            operator: build_native("reprieve", "release")?,
        })
    }

    /// Takes those that were built before.
    pub fn built(folder: &Path) -> Result<Self> {
        let program = |name: &str| {
            let file = folder.join(name);
            ensure!(file.is_file(), "{} is not there; leave out --programs to build it", file.display());
            Ok(file)
        };
        Ok(Self {
            agent: program("reprieve-agent-bench")?,
            service: program("reprieve-bootsvc")?,
            operator: program("reprieve")?,
        })
    }
}

/// An image as the service has taken it in.
#[derive(Debug, Deserialize)]
pub struct Imported {
    /// Its id.
    pub id: String,
    /// Bytes of its chunks as stored.
    pub stored_bytes: u64,
    /// Of these, bytes that were there before.
    pub shared_bytes: u64,
    /// How long the import took.
    #[serde(skip)]
    pub seconds: f64,
}

/// A running service with nothing in it; stopped when dropped.
#[derive(Debug)]
pub struct Service {
    state: PathBuf,
    operator: PathBuf,
    http_port: u16,
    api_port: u16,
    _process: Background,
}

impl Service {
    /// Starts it in this folder, which is emptied. What it hands out as ramdisk is this file.
    pub fn start(programs: &Programs, folder: &Path, ramdisk: &Path) -> Result<Self> {
        paths::fresh_directory(folder)?;
        let (http_port, api_port) = (free_port()?, free_port()?);
        let state = folder.join("state");
        let configuration = format!(
            "state_directory = {state:?}\n[http]\nlisten = [\"127.0.0.1:{http_port}\"]\n[api]\nlisten = \
             [\"127.0.0.1:{api_port}\"]\n[boot]\nkernel = {ramdisk:?}\nramdisk = {ramdisk:?}\nloaders = {folder:?}\n"
        );
        let (file, log) = (folder.join("bootsvc.toml"), folder.join("bootsvc.log"));
        paths::write_whole(&file, configuration.as_bytes())?;
        let mut command = Command::new(&programs.service);
        command.arg("serve").arg("--config").arg(&file).env("RUST_LOG", "warn");
        let mut process = Background::start("reprieve-bootsvc", &mut command, &log)?;
        until("the service's answer", START_LIMIT, || {
            process.check_running()?;
            let answers = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            Ok((answers(http_port) && answers(api_port)).then_some(()))
        })
        .with_context(|| format!("the service's log ends:\n{}", tail(&log)))?;
        let operator = programs.operator.clone();
        Ok(Self { state, operator, http_port, api_port, _process: process })
    }

    /// Where images are.
    pub fn images_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Where the file is that it hands out as ramdisk.
    pub fn ramdisk_url(&self) -> String {
        format!("{}/boot/ramdisk", self.images_url())
    }

    /// The key that it signs images with.
    pub fn image_key(&self) -> PathBuf {
        self.state.join("image.key")
    }

    /// Imports an image with the technician's command.
    pub fn import(&self, image: &Path, name: &str) -> Result<Imported> {
        self.import_as(image, name, &[])
    }

    /// Imports an image for data disks.
    pub fn import_data(&self, image: &Path, name: &str) -> Result<Imported> {
        self.import_as(image, name, &["--no-root"])
    }

    fn import_as(&self, image: &Path, name: &str, how: &[&str]) -> Result<Imported> {
        let mut command = Command::new(&self.operator);
        command.env("REPRIEVE_SERVICE", format!("https://127.0.0.1:{}", self.api_port));
        command.env("REPRIEVE_TOKEN_FILE", self.state.join("operator.token"));
        command.env("REPRIEVE_CA", self.state.join("ca.pem"));
        command.args(["--json", "image", "import"]).arg(image).args(["--name", name]).args(how);
        let started = Instant::now();
        let said = output("importing the image", &mut command)?;
        let seconds = started.elapsed().as_secs_f64();
        let imported: Imported =
            serde_json::from_str(&said).with_context(|| format!("reading what the import said: {said}"))?;
        Ok(Imported { seconds, ..imported })
    }
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr().context("asking for a free port")?.port())
}
