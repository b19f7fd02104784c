//! `cargo xtask bench check`: how long the resident agent takes to answer on the machine itself, with
//! the immutable files of the demo's image.
//!
//! No machine is emulated: the image's root is mounted here, and the agent that is installed in it
//! looks at it with the context and the manifest that the real service gave out. Partitions are not
//! compared, because the mounted root is not the machine's own disk.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use reprieve_tests::lab::Lab;
use reprieve_tests::scenario::site::Site;
use reprieve_tests::scripted_agent::ScriptedAgent;
use reprieve_tests::service::Configuration;
use serde_json::Value;

use crate::command::{located, output, privileged};
use crate::demo::{self, aim_line};
use crate::{image, paths};

mod cost;

use cost::Cost;

/// How often the agent looks, for the 95th percentile.
const LOOKS: u32 = 100;
/// Aim for the answer, with the file check cached, in milliseconds.
const ANSWER_AIM_MILLIS: u128 = 1000;
/// The address of a machine that there is not.
const MAC: &str = "52:54:00:99:00:77";

/// How to measure.
#[derive(Debug, Clone, Args)]
// Its name would be that of the options that it is part of.
#[group(skip)]
pub struct Options {
    /// How often the agent is asked with its cache filled; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub runs: u8,
}

/// Builds what is missing and measures.
pub fn run(options: &Options) -> Result<()> {
    let artefacts = demo::prepare()?;
    let lab = Lab::new()?;
    let site = Site::new(&lab, &artefacts, &Configuration::default(), artefacts.image()?)?;
    let state = lab.folder().join("agent");
    keep_state(&site, &state)?;
    let root = Mounted::new(&site.image_file, &lab.folder().join("root"))?;
    println!("the agent of the demo's image, asked on this machine, without emulation:");
    println!("  run   files   answer");
    let mut times = Vec::new();
    for run in 0..=options.runs {
        let (millis, files) = ask(&root.path, &state)?;
        let cache = if run == 0 { "   (nothing cached yet)" } else { "" };
        println!("  {run:>3}   {files:>5}   {millis:>3} ms{cache}");
        if run > 0 {
            times.push(millis);
        }
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().context("nothing was measured")?;
    println!();
    println!(
        "{}",
        aim_line(
            "answer of check, files cached, median",
            &format!("{median} ms"),
            &format!("{ANSWER_AIM_MILLIS} ms"),
            median < ANSWER_AIM_MILLIS
        )
    );
    println!();
    cost::print(
        &Cost::measure(LOOKS, || look(&root.path))?,
        &Cost::measure(u32::from(options.runs), || checking(&root.path, &state))?,
    );
    Ok(())
}

fn look(root: &Path) -> Command {
    let mut command = Command::new(root.join("usr/bin/reprieve-agent"));
    command.arg("look");
    command
}

/// What the resident agent keeps: the service's last word, and the manifest of the assigned image.
fn keep_state(site: &Site<'_>, state: &Path) -> Result<()> {
    paths::ensure_directory(state)?;
    let agent = ScriptedAgent::new(site.lab.network(), &site.service);
    let handed = agent.boot(MAC)?;
    let (status, reply) = agent.enroll(&handed, MAC, 1)?;
    ensure!(status == 200, "the service answered the enrolment with {status}: {reply}");
    let mut context = reply.get("context").context("the service gave no context")?.clone();
    let image = site.image.id.to_string();
    let assigned = context.pointer_mut("/node/assignment/image").context("the context has no assignment")?;
    *assigned = Value::String(image.clone());
    paths::write_whole(&state.join("context.json"), context.to_string().as_bytes())?;
    let (status, manifest) = site.service.http_get(&format!("/images/{image}/manifest"))?;
    ensure!(status == 200, "the service answered for the manifest with {status}");
    paths::write_whole(&state.join("manifest"), &manifest)
}

fn checking(root: &Path, state: &Path) -> Command {
    let mut command = Command::new(root.join("usr/bin/reprieve-agent"));
    command.args(["check", "--json", "--sysroot"]).arg(root).arg("--state").arg(state);
    command
}

/// Asks once: milliseconds, and how many files were compared.
fn ask(root: &Path, state: &Path) -> Result<(u128, u64)> {
    let mut command = checking(root, state);
    command.stdin(Stdio::null());
    let begun = Instant::now();
    let said = output("asking the agent", &mut command)?;
    let millis = begun.elapsed().as_millis();
    let said: Value = serde_json::from_str(&said).context("reading what the agent said")?;
    let readings = said.pointer("/evidence/readings").and_then(Value::as_array).context("no readings")?;
    let reading = |key: &str| {
        let found = readings.iter().find(|reading| reading["key"] == key);
        found.with_context(|| format!("the agent gave no {key}"))
    };
    let altered = reading("image-files-altered")?;
    ensure!(altered.pointer("/of/is/total") == Some(&Value::from(0)), "the files differ: {altered}");
    let checked = reading("image-files-checked")?;
    let files = checked.pointer("/of/is").and_then(Value::as_u64);
    Ok((millis, files.with_context(|| format!("no count in {checked}"))?))
}

/// The image's root, mounted to be read; taken away when dropped.
struct Mounted {
    path: PathBuf,
}

impl Mounted {
    fn new(image: &Path, path: &Path) -> Result<Self> {
        paths::ensure_directory(path)?;
        let place = image::root_place();
        let options = format!("ro,noload,loop,offset={},sizelimit={}", place.start, place.end - place.start);
        let mut command = privileged(located("mount"))?;
        command.args(["-t", "ext4", "-o", &options]).arg(image).arg(path);
        output("mounting the image's root", &mut command)?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = privileged(located("umount"))
            .and_then(|mut command| output("unmounting the image's root", command.arg(&self.path)));
        if let Err(error) = unmounted {
            eprintln!("{} stays mounted: {error:#}", self.path.display());
        }
    }
}
