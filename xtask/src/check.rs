//! `cargo xtask check`: everything about the tree that a machine can judge without running it.

mod arrows;
mod documents;
mod tidy;
mod units;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::command;
use crate::{packages, paths, toolchain};

/// What to check besides the usual.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// Put right what can be put right: format, and docs/commands.md from `--help`
    #[arg(long)]
    pub fix: bool,
    /// Check licences, bans and sources of all dependencies too (installs cargo-deny into build/tools once)
    #[arg(long)]
    pub deny: bool,
}

/// Checks everything, the dependencies too, without changing anything.
pub fn run() -> Result<()> {
    perform(&Options { fix: false, deny: true })
}

/// Checks; all findings are shown, not only the first.
pub fn perform(options: &Options) -> Result<()> {
    let started = Instant::now();
    packages::ensure(packages::CHECK)?;
    let mut checks: Vec<(&str, Check)> = vec![
        ("format", format),
        ("arrows between crates", |_| arrows::check()),
        ("tidiness", |_| tidy::check()),
        ("systemd units", |_| units::check()),
        ("lints", |_| lint()),
        ("docs against --help", |options| documents::check(options.fix)),
    ];
    if options.deny {
        checks.push(("licences, bans and sources of dependencies", |_| deny()));
    }
    let mut failed = Vec::new();
    for (name, check) in checks {
        match check(options) {
            Ok(()) => println!("check: {name}: good"),
            Err(error) => {
                println!("check: {name}: BAD\n{error:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("these checks failed: {}", failed.join(", "));
    }
    println!("all checks passed, in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// One check.
type Check = fn(&Options) -> Result<()>;

fn format(options: &Options) -> Result<()> {
    let mut cargo = toolchain::cargo();
    cargo.args(["fmt", "--all"]);
    if !options.fix {
        cargo.args(["--", "--check", "--files-with-diff"]);
    }
    command::run("checking the format (`cargo xtask check --fix` puts it right)", &mut cargo)
}

fn lint() -> Result<()> {
    let mut cargo = toolchain::cargo();
    cargo.args(["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    command::run("linting", &mut cargo)
}

/// cargo-deny is large, so it is built once, from a release that reads deny.toml as it is, into `build/tools`.
fn deny() -> Result<()> {
    const VERSION: &str = "^0.20";
    let tools = paths::build("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.is_file() {
        println!("installing cargo-deny into {} (some minutes, once)", tools.display());
        let mut cargo = toolchain::cargo();
        cargo
            // Unoptimized: it runs once for every time that it is built.
            .args(["install", "--quiet", "--debug", "--locked", "--version", VERSION, "cargo-deny", "--root"])
            .arg(&tools);
        command::run("installing cargo-deny", &mut cargo)?;
    }
    // Advisories are a database that is fetched; a check of the tree must not depend on the day.
    let mut command = std::process::Command::new(program);
    command.current_dir(paths::repository()).args([
        "--locked",
        "--log-level",
        "error",
        "check",
        "licenses",
        "bans",
        "sources",
    ]);
    command::run("checking the dependencies", &mut command)
}
