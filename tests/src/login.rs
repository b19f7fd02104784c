//! Logging in to a running machine over the wire, as somebody with a key.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::process::{Background, capture, tail};
use crate::wait::until_every;

/// How often a machine that is coming up is knocked at.
const KNOCK_INTERVAL: Duration = Duration::from_millis(500);

/// A key pair of somebody who may log in.
#[derive(Debug, Clone)]
pub struct Key(PathBuf);

impl Key {
    /// Makes one in this folder.
    ///
    /// # Errors
    /// If `ssh-keygen` is missing or refuses.
    pub fn make(folder: &Path) -> Result<Self> {
        let file = folder.join("key");
        let mut make = Command::new("ssh-keygen");
        capture(make.args(["-q", "-t", "ed25519", "-N", "", "-C", "anna", "-f"]).arg(&file))?;
        Ok(Self(file))
    }

    /// Its public half, in one line.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn public(&self) -> Result<String> {
        let file = self.0.with_extension("pub");
        let text = std::fs::read_to_string(file).context("could not read the public key")?;
        Ok(text.trim().to_owned())
    }

    /// Logs in and runs a script of the shell's; gives what it says.
    ///
    /// # Errors
    /// If nobody answers, or the script does not end with success.
    pub fn ask(&self, lab: &Lab, login_as: &str, script: &str) -> Result<String> {
        let answer = capture(self.command(lab).arg(login_as).arg(script))?;
        String::from_utf8(answer).context("the answer is not text")
    }

    fn command(&self, lab: &Lab) -> Command {
        let mut command = lab.network().command(Path::new("ssh"));
        command.args(["-F", "/dev/null", "-i"]).arg(&self.0);
        for option in [
            "BatchMode=yes",
            "ConnectTimeout=20",
            "IdentitiesOnly=yes",
            "LogLevel=ERROR",
            // The machine makes its host key itself, at this start.
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
        ] {
            command.args(["-o", option]);
        }
        command
    }
}

/// Somebody who stays logged in; an emulated processor takes long to let one in.
#[derive(Debug)]
pub struct Login<'lab> {
    lab: &'lab Lab,
    key: Key,
    login_as: String,
    socket: PathBuf,
    _connection: Option<Background>,
}

impl<'lab> Login<'lab> {
    /// Knocks until the machine lets `login_as` (`user@address`) in.
    ///
    /// # Errors
    /// If it does not within `limit`.
    pub fn open(lab: &'lab Lab, key: &Key, login_as: &str, limit: Duration) -> Result<Self> {
        let (socket, log) = (lab.folder().join("login.sock"), lab.folder().join("login.log"));
        let _ = std::fs::remove_file(&socket);
        let mut connection: Option<Background> = None;
        until_every(KNOCK_INTERVAL, &format!("a login as {login_as}"), limit, || {
            let knocks = connection.as_mut().map_or(Ok(false), |it| it.ended().map(|end| end.is_none()))?;
            if !knocks {
                // Nobody answers yet, or nobody that lets this key in.
                let mut command = key.command(lab);
                command.args(["-M", "-N", "-S"]).arg(&socket).arg(login_as);
                connection = Some(Background::start("ssh", &mut command, &log)?);
            }
            Ok((knocks && socket.exists()).then_some(()))
        })
        .with_context(|| tail(&log))?;
        let (key, login_as) = (key.clone(), login_as.to_owned());
        Ok(Self { lab, key, login_as, socket, _connection: connection })
    }

    /// Runs a script of the shell's; gives what it says.
    ///
    /// # Errors
    /// If it does not end with success; with what it says of it.
    pub fn run(&self, script: &str) -> Result<String> {
        let mut command = self.key.command(self.lab);
        command.arg("-S").arg(&self.socket).arg(&self.login_as);
        let said = capture(command.arg(format!("set -e\n{script}")))?;
        String::from_utf8(said).context("the answer is not text")
    }
}
