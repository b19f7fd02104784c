//! `cargo xtask test`: everything that can be tested, the machines included.

use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::command::{find, run};
use crate::{check, demo, fuzz, toolchain};

/// Long enough to see that each parser is built, begun and not broken at once; `cargo xtask fuzz` goes on.
const FUZZ_SECONDS: u32 = 3;

/// What to test.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Leave out the virtual machines.
    #[arg(long)]
    pub no_machines: bool,
    /// Only tests whose name contains this.
    pub filter: Vec<String>,
}

/// Installs and builds what is missing, checks, and runs the tests.
///
/// # Errors
/// If a check or a test fails.
pub fn run_all(options: &Options) -> Result<()> {
    let begun = Instant::now();
    let mut ran = vec!["checks"];
    check::run()?;
    ensure_nextest()?;
    let mut arguments = vec!["nextest", "run", "--locked", "--workspace"];
    if options.no_machines {
        arguments.extend(["--exclude", "reprieve-tests"]);
    } else {
        demo::prepare()?;
        ran.push("tests in virtual machines");
    }
    ran.push("tests of every package");
    arguments.extend(options.filter.iter().map(String::as_str));
    if options.filter.is_empty() {
        // The other runner leaves these out: code that must not compile, such as a forged permit.
        run("testing the examples", toolchain::cargo().args(["test", "--quiet", "--locked", "--doc"]))?;
        ran.push("examples in the documentation");
    }
    run("running the tests", toolchain::cargo().args(arguments))?;
    if options.filter.is_empty() {
        fuzz::perform(&fuzz::Options { seconds: FUZZ_SECONDS, target: Vec::new() })?;
        ran.push("crafted bytes on every parser");
    }
    println!("ran {}, in {:.0} s", ran.join(", "), begun.elapsed().as_secs_f64());
    Ok(())
}

/// The runner that gives each test its own process, which namespaces need.
fn ensure_nextest() -> Result<()> {
    if find("cargo-nextest").is_some() {
        return Ok(());
    }
    println!("installing cargo-nextest, which is missing");
    run("installing cargo-nextest", toolchain::cargo().args(["install", "--locked", "cargo-nextest"]))
}
