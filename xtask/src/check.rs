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

/// A check with its name.
type Named = (&'static str, Check);

/// Those that take no compiler: seconds.
const QUICK: &[Named] = &[
    ("format", format),
    ("arrows between crates", |_| arrows::check()),
    ("tidiness", |_| tidy::check()),
    ("systemd units", |_| units::check()),
];

/// Those that compile everything.
const SLOW: &[Named] =
    &[("lints", |_| lint()), ("docs against --help", |options| documents::check(options.fix))];

/// Looks for what takes no compiler to find, without changing anything.
pub fn quick() -> Result<()> {
    packages::ensure(packages::CHECK)?;
    each(QUICK, &Options::default())
}

/// Checks the rest, the dependencies too, without changing anything.
pub fn slow() -> Result<()> {
    each(&[SLOW, &[DENY]].concat(), &Options::default())
}

const DENY: Named = ("licences, bans and sources of dependencies", |_| deny());

/// Checks; all findings are shown, not only the first.
pub fn perform(options: &Options) -> Result<()> {
    let started = Instant::now();
    packages::ensure(packages::CHECK)?;
    let mut checks = [QUICK, SLOW].concat();
    if options.deny {
        checks.push(DENY);
    }
    each(&checks, options)?;
    println!("all checks passed, in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn each(checks: &[Named], options: &Options) -> Result<()> {
    let mut failed = Vec::new();
    for (name, check) in checks {
        let started = Instant::now();
        match check(options) {
            Ok(()) => println!("check: {name}: good, after {:.0} s", started.elapsed().as_secs_f64()),
            Err(error) => {
                println!("check: {name}: BAD\n{error:#}");
                failed.push(*name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("these checks failed: {}", failed.join(", "));
    }
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
            .arg(&tools)
            // Nobody will debug it: half of the time that building it takes.
            .env("CARGO_PROFILE_DEV_DEBUG", "false");
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
