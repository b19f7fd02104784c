//! The figures that the demo is held against: sizes and times, each with its aim.

use std::fmt::Write;

use anyhow::{Context, Result};
use reprieve_tests::scenario::site::Site;
use reprieve_tests::scenario::stage::Outcome;
use serde_json::Value;

use crate::bench::FIRST_CONTACT_AIM_MILLIS;
use crate::command::output;
use crate::demo::{Options, table};
use crate::paths;

/// Where the demo's figures stand in docs/benchmarks.md.
const BEGIN: &str = "<!-- demo: written by `cargo xtask demo --record` -->";
const END: &str = "<!-- /demo -->";

/// Sizes and times against their aims, one a line.
pub fn of(outcomes: &[Outcome], site: &Site<'_>) -> Result<String> {
    let mut text = String::new();
    for line in ramdisk_aims()? {
        writeln!(text, "{line}")?;
    }
    let slowest = outcomes.iter().filter_map(|outcome| outcome.first_contact_millis).max();
    match slowest {
        Some(millis) => {
            let met = millis <= FIRST_CONTACT_AIM_MILLIS;
            let (figure, aim) = (format!("{millis} ms"), format!("{FIRST_CONTACT_AIM_MILLIS} ms"));
            writeln!(text, "{}", aim_line("kernel start to first contact, slowest", &figure, &aim, met))?;
        }
        None => writeln!(text, "kernel start to first contact: no machine said it")?,
    }
    let kept = outcomes
        .iter()
        .filter(|outcome| outcome.case.starts_with('2'))
        .map(|outcome| outcome.counters.written_bytes)
        .max();
    if let Some(written) = kept {
        writeln!(
            text,
            "{}",
            aim_line("written to a disk that is kept", &table::bytes(written), "0 B", written == 0)
        )?;
    }
    writeln!(
        text,
        "image: {} on disk, {} stored as chunks",
        table::bytes(site.image.disk_bytes),
        table::bytes(site.image.stored_bytes)
    )?;
    Ok(text)
}

/// Sizes of the ramdisks against their aims, one a line.
pub fn ramdisk_aims() -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for set in ramdisk_sets()? {
        let (size, aim) = (set["compressed_bytes"].as_u64(), set["size_aim_bytes"].as_u64());
        if let (Some(name), Some(size), Some(aim)) = (set["name"].as_str(), size, aim) {
            let (name, met) = (format!("ramdisk for {name}"), size <= aim);
            lines.push(aim_line(&name, &table::bytes(size), &table::bytes(aim), met));
        }
    }
    Ok(lines)
}

/// A figure held against what was aimed for.
pub fn aim_line(name: &str, figure: &str, aim: &str, met: bool) -> String {
    format!("aim {name}: {figure} (aim {aim}) {}", if met { "met" } else { "missed" })
}

fn ramdisk_sets() -> Result<Vec<Value>> {
    let text = paths::read_text(&paths::build("ramdisk/report.json"))?;
    let report: Value = serde_json::from_str(&text).context("reading the ramdisk's report")?;
    Ok(report["sets"].as_array().cloned().unwrap_or_default())
}

/// Puts table, figures and the machine they were taken on into docs/benchmarks.md.
pub fn record(options: &Options, outcomes: &[Outcome], figures: &str) -> Result<()> {
    if !options.record {
        return Ok(());
    }
    let file = paths::repository().join("docs/benchmarks.md");
    let text = paths::read_text(&file)?;
    let (before, rest) =
        text.split_once(BEGIN).with_context(|| format!("{} has no {BEGIN:?}", file.display()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{} has no {END:?}", file.display()))?;
    let new = format!(
        "{before}{BEGIN}\n{}\n\n{}\n```\n{figures}```\n{END}{after}",
        machine()?,
        table::render(outcomes)
    );
    paths::write_whole(&file, new.as_bytes())?;
    println!("written into {}", file.display());
    Ok(())
}

/// The machine that the figures were taken on, in a sentence.
fn machine() -> Result<String> {
    let information = paths::read_text("/proc/cpuinfo".as_ref())?;
    let model =
        information.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let cores = std::thread::available_parallelism().context("counting the cores")?;
    let emulator = output(
        "asking for QEMU's version",
        std::process::Command::new("qemu-system-x86_64").arg("--version"),
    )?;
    Ok(format!(
        "Taken on {cores} cores of {}, {} (TCG, one core a machine, two machines at a time).",
        model.trim_start_matches([' ', '\t', ':']),
        emulator.lines().next().unwrap_or_default()
    ))
}
