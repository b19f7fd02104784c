//! `cargo xtask test`: everything that can be tested, the machines included.

use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::Args;

use crate::command::{find, run};
use crate::{check, demo, fuzz, image, packages, toolchain};

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
/// What is compiled for this machine and what is built for the machines of the laboratory goes on side
/// by side: each has long parts that keep only one core busy, or wait for the network.
///
/// # Errors
/// If a check or a test fails.
pub fn run_all(options: &Options) -> Result<()> {
    let begun = Instant::now();
    let is_whole = options.filter.is_empty();
    install(options)?;
    check::quick()?;
    let arguments = arguments(options);
    std::thread::scope(|scope| {
        let machines = scope.spawn(|| build_for_machines(options));
        let ours = check_and_compile(&arguments, is_whole);
        let machines = machines.join().map_err(|_| anyhow!("building for the machines panicked"))?;
        ours.and(machines)
    })?;
    println!("checked and built after {:.0} s", begun.elapsed().as_secs_f64());
    let mut tests = toolchain::cargo();
    tests.env("NEXTEST_TEST_THREADS", at_once().to_string()).args(&arguments).args(&options.filter);
    run("running the tests", &mut tests)?;
    println!("tested after {:.0} s", begun.elapsed().as_secs_f64());
    let mut ran = vec!["checks", "tests of every package"];
    if !options.no_machines {
        ran.push("tests in virtual machines");
    }
    if is_whole {
        fuzz::perform(&fuzz::Options { seconds: FUZZ_SECONDS, target: Vec::new() })?;
        ran.extend(["examples in the documentation", "crafted bytes on every parser"]);
    }
    println!("ran {}, in {:.0} s", ran.join(", "), begun.elapsed().as_secs_f64());
    Ok(())
}

/// All at once and before anything else: there is one installer at a time.
fn install(options: &Options) -> Result<()> {
    ensure_nextest()?;
    let mut needed = [packages::CHECK, packages::TEST].concat();
    if options.filter.is_empty() {
        needed.extend(packages::FUZZ);
    }
    if !options.no_machines {
        needed.extend([packages::BUILD, packages::IMAGE, packages::LABORATORY].concat());
    }
    packages::ensure(&needed)
}

/// Half as many again as there are processors: an emulated machine waits a third of its time, for firmware
/// and for the network.
fn at_once() -> usize {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    processors + processors / 2
}

fn arguments(options: &Options) -> Vec<&'static str> {
    let mut arguments = vec!["nextest", "run", "--locked", "--workspace"];
    if options.no_machines {
        arguments.extend(["--exclude", "reprieve-tests"]);
    }
    arguments
}

fn check_and_compile(arguments: &[&str], is_whole: bool) -> Result<()> {
    check::slow()?;
    run("compiling the tests", toolchain::cargo().args(arguments).arg("--no-run"))?;
    if is_whole {
        // The other runner leaves these out: code that must not compile, such as a forged permit.
        run("testing the examples", toolchain::cargo().args(["test", "--quiet", "--locked", "--doc"]))?;
    }
    Ok(())
}

fn build_for_machines(options: &Options) -> Result<()> {
    if !options.no_machines {
        demo::build_for_machines()?;
        image::build(&image::Options { cloud: true, ..image::Options::default() })?;
    }
    if options.filter.is_empty() { fuzz::build() } else { Ok(()) }
}

/// The runner that gives each test its own process, which namespaces need.
fn ensure_nextest() -> Result<()> {
    if find("cargo-nextest").is_some() {
        return Ok(());
    }
    println!("installing cargo-nextest, which is missing");
    run("installing cargo-nextest", toolchain::cargo().args(["install", "--locked", "cargo-nextest"]))
}
