//! Running other programs, so that a failure names what was being done and shows the program's last words.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths;

/// How many lines of a log are shown when its program failed.
const LINES_SHOWN_ON_FAILURE: usize = 25;

/// Runs a program with its output on the terminal.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{what}: starting {}", shown(command)))?;
    if !status.success() {
        bail!("{what}: {} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a program with its output appended to `build/log/LOG`; on failure its last lines are shown.
pub fn run_logged(what: &str, command: &mut Command, log: &str) -> Result<()> {
    let path = log_path(log);
    let file = open_log(&path)?;
    let errors = file.try_clone().with_context(|| format!("{what}: sharing log {}", path.display()))?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors);
    let status = command.status().with_context(|| format!("{what}: starting {}", shown(command)))?;
    if !status.success() {
        bail!(
            "{what}: {} ended with {status}; all of its output is in {}, the end of it:\n{}",
            shown(command),
            path.display(),
            last_lines(&path)
        );
    }
    Ok(())
}

/// Runs a program and gives its standard output back.
pub fn output(what: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{what}: starting {}", shown(command)))?;
    if !output.status.success() {
        bail!(
            "{what}: {} ended with {}: {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{what}: {} printed no UTF-8", shown(command)))
}

/// A command that needs root: as it is for root, else through sudo.
pub fn privileged(program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    let user = output("asking who runs this", Command::new("id").arg("-u"))?;
    if user.trim() == "0" {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("sudo");
    command.arg("--").arg(program);
    Ok(command)
}

/// Whether a program is on the path, or where Debian keeps administrators' programs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(administrators)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Where a program is; for a user without `/usr/sbin` on the path too.
pub fn located(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| PathBuf::from(program))
}

fn log_path(log: &str) -> PathBuf {
    paths::build("log").join(log)
}

fn open_log(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        paths::ensure_directory(parent)?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening log {}", path.display()))
}

fn last_lines(path: &Path) -> String {
    let text =
        std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(LINES_SHOWN_ON_FAILURE);
    lines.get(start..).unwrap_or_default().join("\n")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}
