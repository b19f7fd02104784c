//! `cargo xtask fuzz`: crafted bytes into every parser of what comes from a network, a disk or a person,
//! guided by what each input reaches.
//!
//! The targets stand in `fuzz/targets`. They are built by the ordinary compiler with its own coverage
//! passes, so that no other toolchain is needed.

mod seeds;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::bench::table::render;
use crate::command::run;
use crate::{packages, paths, toolchain};

/// What libFuzzer needs of the compiler: counters at every edge, and the operands of comparisons.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
const PROFILE: &str = "fuzz";
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// An input that takes longer than this is a finding: somebody could hold the service with it.
const INPUT_SECONDS_MAX: u32 = 10;
const MEMORY_MEBIBYTES_MAX: u32 = 1024;
/// Names what a target changes, where an input is a list of changes (`fuzz/changed.rs`).
const BASE_VARIABLE: &str = "FUZZ_BASE";

/// How many are tried at a time; each keeps a core busy.
const SIDE_BY_SIDE: usize = 2;

/// What to fuzz.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How long each parser is tried, in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Only these parsers; their names are those of the files in fuzz/targets.
    pub target: Vec<String>,
}

/// What became of one target.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    executions: u64,
    edges: u64,
}

/// A target with what its inputs change, where they are lists of changes.
type Prepared = (String, Option<PathBuf>);

/// Builds and runs the targets. What was reached is kept in `build/fuzz/corpus` and tried first next time.
///
/// # Errors
/// If a target is not there, cannot be built, or an input crashes it, hangs it or takes too much memory.
pub fn perform(options: &Options) -> Result<()> {
    let started = Instant::now();
    let targets = chosen(&options.target)?;
    packages::ensure(packages::FUZZ)?;
    build()?;
    let prepared = targets.into_iter().map(prepare).collect::<Result<Vec<_>>>()?;
    let mut rows = vec![["parser", "inputs tried", "edges reached", "result"].map(str::to_owned).to_vec()];
    let mut broken = Vec::new();
    for some in prepared.chunks(SIDE_BY_SIDE) {
        let names: Vec<&str> = some.iter().map(|(target, _)| target.as_str()).collect();
        println!("  {}: {} s", names.join(" and "), options.seconds);
        for (target, (log, is_good)) in names.into_iter().zip(try_targets(some, options.seconds)?) {
            let figures = figures(&log);
            let words = if is_good { "nothing found" } else { "FOUND" };
            let [executions, edges] = [figures.executions, figures.edges].map(|count| count.to_string());
            rows.push(vec![target.to_owned(), executions, edges, words.to_owned()]);
            match is_good {
                // A fuzzer that ran nothing has shown nothing.
                true if figures.executions == 0 => bail!("{target} ended without having tried anything"),
                true => {}
                false => broken.push(format!("{target}: {}", how_to_try_again(target))),
            }
        }
    }
    print!("{}", render(&rows));
    if !broken.is_empty() {
        bail!("{} parsers can be broken:\n{}", broken.len(), broken.join("\n"));
    }
    println!("no input broke a parser, in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// The command that tries one input again, on the same base if it is a list of changes.
fn how_to_try_again(target: &str) -> String {
    let base = seeds::base_file(target, &paths::build("fuzz"));
    let base = base.map(|base| format!("{BASE_VARIABLE}={} ", base.display())).unwrap_or_default();
    format!(
        "the inputs are {}*; try one again with: {base}{} FILE",
        finding_prefix(target).display(),
        program(target).display()
    )
}

fn finding_prefix(target: &str) -> PathBuf {
    paths::build("fuzz").join("found").join(format!("{target}-"))
}

fn target_folder() -> PathBuf {
    paths::target().join("fuzz")
}

fn program(target: &str) -> PathBuf {
    target_folder().join(TRIPLE).join(PROFILE).join(target)
}

/// The targets that were asked for, or all.
fn chosen(wanted: &[String]) -> Result<Vec<String>> {
    let folder = paths::repository().join("fuzz/targets");
    let mut all = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        all.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    all.sort_unstable();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("there is no parser {unknown:?} to fuzz; there are: {}", all.join(", "));
    }
    Ok(if wanted.is_empty() { all } else { wanted.to_vec() })
}

/// Builds all targets.
pub fn build() -> Result<()> {
    println!("building the parsers with coverage");
    let mut cargo = toolchain::cargo();
    cargo
        .args(["build", "--quiet", "--locked", "--package", "reprieve-fuzz", "--profile", PROFILE])
        .args(["--target", TRIPLE, "--target-dir"])
        .arg(target_folder())
        .env("RUSTFLAGS", COVERAGE);
    run("building the parsers with coverage", &mut cargo)
}

/// Lays out a target's first inputs.
fn prepare(target: String) -> Result<Prepared> {
    let folder = paths::build("fuzz");
    let seeds = folder.join("seeds").join(&target);
    paths::ensure_directory(&folder.join("corpus").join(&target))?;
    paths::ensure_directory(&folder.join("found"))?;
    paths::fresh_directory(&seeds)?;
    seeds::lay_out(&target, &seeds)?;
    let base = seeds::base(&target, &folder)?;
    Ok((target, base))
}

fn try_targets(targets: &[Prepared], seconds: u32) -> Result<Vec<(String, bool)>> {
    std::thread::scope(|scope| {
        let running: Vec<_> =
            targets.iter().map(|prepared| scope.spawn(move || try_target(prepared, seconds))).collect();
        let panicked = |(target, _): &Prepared| anyhow!("trying {target} panicked");
        targets
            .iter()
            .zip(running)
            .map(|(prepared, one)| one.join().map_err(|_| panicked(prepared))?)
            .collect()
    })
}

/// Runs one target; gives what it printed, and whether nothing was found.
fn try_target((target, base): &Prepared, seconds: u32) -> Result<(String, bool)> {
    let folder = paths::build("fuzz");
    let corpus = folder.join("corpus").join(target);
    let seeds = folder.join("seeds").join(target);
    let program = program(target);
    let mut command = Command::new(&program);
    if let Some(base) = base {
        command.env(BASE_VARIABLE, base);
    }
    let done = command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MEBIBYTES_MAX}"))
        .arg(format!("-max_len={}", seeds::input_bytes_max(target)))
        .arg(format!("-artifact_prefix={}", finding_prefix(target).display()))
        .arg("-print_final_stats=1")
        .args([&corpus, &seeds])
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    paths::write_whole(&paths::build("log").join(format!("fuzz-{target}")), log.as_bytes())?;
    if !done.status.success() {
        let panic = log.lines().skip_while(|line| !line.contains("panicked at")).take(4);
        println!("  {target} ended with {}:\n{}", done.status, panic.collect::<Vec<_>>().join("\n"));
    }
    Ok((log, done.status.success()))
}

/// Reads the counts out of libFuzzer's log.
fn figures(log: &str) -> Figures {
    let mut figures = Figures::default();
    for line in log.lines() {
        if let Some((_, count)) = line.split_once("stat::number_of_executed_units:") {
            figures.executions = count.trim().parse().unwrap_or(0);
        }
        let mut words = line.split_whitespace().skip_while(|word| *word != "cov:").skip(1);
        if let Some(edges) = words.next().and_then(|word| word.parse().ok()) {
            figures.edges = edges;
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_read_out_of_the_log() {
        let log = "#2\tINITED cov: 41 ft: 42 corp: 1/1b\n#99\tDONE   cov: 120 ft: 300 corp: 9/1Kb\n\
                   stat::number_of_executed_units: 4711\n";
        assert_eq!(figures(log), Figures { executions: 4711, edges: 120 });
        assert_eq!(figures("no fuzzer"), Figures::default());
    }

    #[test]
    fn a_finding_is_tried_again_on_the_base_that_it_was_found_on() {
        let again = how_to_try_again("xfs_root");
        assert!(again.contains("with: FUZZ_BASE=/") && again.ends_with("/xfs_root FILE"), "{again}");
        assert!(!how_to_try_again("gpt").contains("FUZZ_BASE"));
    }

    #[test]
    fn every_parser_has_a_target_and_an_unknown_one_is_named() {
        let all = chosen(&[]).unwrap();
        for name in ["gpt", "qcow2", "manifest", "nvme_pages", "ata_pages", "scsi_pages", "certificate"] {
            assert!(all.iter().any(|target| target == name), "{name}");
        }
        let error = chosen(&["gtp".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("gtp") && error.contains("gpt"), "{error}");
    }
}
