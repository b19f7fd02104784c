//! systemd's own opinion of our units.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::output;
use crate::paths;

const UNITS: &[&str] = &["reprieve-agent.service", "reprieve-bootsvc.service"];

/// Verifies the units and that docs/security.md quotes their exposure as it is.
pub fn check() -> Result<()> {
    let folder = paths::build("check/units");
    paths::fresh_directory(&folder)?;
    let document = paths::read_text(&paths::repository().join("docs/security.md"))?;
    for unit in UNITS {
        verify(unit, &folder)?;
        let exposure = exposure(unit, &folder)?;
        if !document.contains(&exposure) {
            bail!("docs/security.md does not quote systemd-analyze's line on {unit}: {exposure}");
        }
    }
    Ok(())
}

/// The programs are not installed where this runs, and systemd complains about that; another one stands in.
fn verify(unit: &str, folder: &std::path::Path) -> Result<()> {
    let text = paths::read_text(&paths::repository().join("systemd").join(unit))?;
    let program = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .and_then(|line| line.split_whitespace().next())
        .with_context(|| format!("{unit} starts no program"))?;
    let copy = folder.join(unit);
    paths::write_whole(&copy, text.replace(program, "/bin/true").as_bytes())?;
    let result = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&copy)
        .output()
        .context("starting systemd-analyze")?;
    let said = String::from_utf8_lossy(&result.stderr);
    // Units of the machine itself may be complained about too; only ours matter.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains(unit)).collect();
    if !ours.is_empty() {
        bail!("{}", ours.join("\n"));
    }
    Ok(())
}

/// The line with the exposure level, without the picture at its end.
fn exposure(unit: &str, folder: &std::path::Path) -> Result<String> {
    let text = output(
        &format!("asking systemd for the exposure of {unit}"),
        Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager"])
            .arg(folder.join(unit)),
    )?;
    let line = text.lines().rev().find(|line| line.contains("Overall exposure level")).map(|line| {
        line.trim_start_matches(|character: char| !character.is_ascii_alphabetic())
            .trim_end_matches(|character: char| !character.is_ascii_alphabetic())
            .to_owned()
    });
    line.with_context(|| format!("systemd-analyze names no exposure level of {unit}"))
}
