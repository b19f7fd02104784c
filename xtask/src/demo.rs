//! `cargo xtask demo`: machines taken through the whole path, side by side, in a network of their own.

mod figures;
mod table;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::lab::Lab;
use reprieve_tests::machine;
use reprieve_tests::machine::Fittings;
use reprieve_tests::scenario::cases::Subject;
use reprieve_tests::scenario::rows::{Extent, News, first_row, second_row};
use reprieve_tests::scenario::site::Site;
use reprieve_tests::scenario::stage::Outcome;
use reprieve_tests::service::Configuration;

pub use self::figures::{aim_line, ramdisk_aims};
use crate::{image, ipxe, packages, ramdisk, toolchain};

/// How to show it.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Only the first three cases: new, used, altered.
    #[arg(long)]
    pub fast: bool,
    /// Leave service and machines running at the end, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// Write table and figures into docs/benchmarks.md.
    #[arg(long)]
    pub record: bool,
}

/// Builds what is missing, runs the cases and prints the table.
///
/// # Errors
/// If a case does not end as it must; the laboratory's folder is kept then.
pub fn run(options: &Options) -> Result<()> {
    let begun = Instant::now();
    let artefacts = prepare()?;
    let mut lab = Lab::new()?;
    println!("laboratory: network namespace {}, files in {}", lab.network().name(), lab.folder().display());
    let shown = show(options, &lab, &artefacts);
    if shown.is_err() {
        lab.keep_folder();
        println!("the laboratory's files are kept in {}", lab.folder().display());
    }
    shown?;
    println!("the demo took {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Builds what the laboratory runs, if it is not there yet.
pub fn prepare() -> Result<Artefacts> {
    packages::ensure(packages::LABORATORY)?;
    build_for_machines()?;
    for package in ["reprieve-bootsvc", "reprieve"] {
        toolchain::build_native(package, "dev")?;
    }
    Artefacts::find()
}

/// Builds what the laboratory's machines start from and what they are given.
pub fn build_for_machines() -> Result<()> {
    machine::check_installed()?;
    ipxe::ensure()?;
    ramdisk::build(&ramdisk::Options::default())?;
    image::build(&image::Options::default()).map(drop)
}

fn show(options: &Options, lab: &Lab, artefacts: &Artefacts) -> Result<()> {
    let image: PathBuf = artefacts.image()?.to_owned();
    let importing = Instant::now();
    let site = Site::new(lab, artefacts, &Configuration::default(), &image)?;
    println!(
        "imported {}: {} chunks, {} stored, {} immutable files, in {:.0} s",
        site.image.name,
        site.image.chunks,
        table::bytes(site.image.stored_bytes),
        site.image.immutable_files,
        importing.elapsed().as_secs_f64()
    );
    let (outcomes, subjects) = run_rows(options, &site)?;
    println!("\n{}", table::render(&outcomes));
    let figures = figures::of(&outcomes, &site)?;
    print!("{figures}");
    figures::record(options, &outcomes, &figures)?;
    if options.keep {
        stay(&site, subjects)?;
    }
    Ok(())
}

/// Two rows of machines side by side, one for each core.
fn run_rows(options: &Options, site: &Site<'_>) -> Result<(Vec<Outcome>, Vec<Subject>)> {
    let extent = if options.fast { Extent::Fast } else { Extent::Full };
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        let (first, second) = (sender.clone(), sender);
        let rows = [
            scope.spawn(move || first_row(site, extent, &mut teller(first))),
            scope.spawn(move || second_row(site, extent, Fittings::default(), &mut teller(second))),
        ];
        let outcomes = listen(&receiver);
        let mut subjects = Vec::new();
        let mut failures = Vec::new();
        for row in rows {
            match joined(row) {
                Ok(subject) => subjects.push(subject),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        if !failures.is_empty() {
            bail!("{}", failures.join("\n\n"));
        }
        Ok((outcomes, subjects))
    })
}

/// Prints what the rows tell until both have ended; gives the outcomes in the order of the cases.
fn listen(receiver: &Receiver<News>) -> Vec<Outcome> {
    let begun = Instant::now();
    let mut outcomes = Vec::new();
    for news in receiver {
        let seconds = begun.elapsed().as_secs_f64();
        match news {
            News::Begins(text) => println!("{seconds:>4.0} s  {text}"),
            News::Ended(outcome) => {
                println!("{seconds:>4.0} s  {}", table::line(&outcome));
                outcomes.push(*outcome);
            }
        }
    }
    outcomes.sort_by(|a, b| (&a.case, &a.machine).cmp(&(&b.case, &b.machine)));
    outcomes
}

fn teller(sender: Sender<News>) -> impl FnMut(News) -> Result<()> {
    move |news| sender.send(news).context("nobody listens to the row of machines")
}

fn joined(row: ScopedJoinHandle<'_, Result<Subject>>) -> Result<Subject> {
    row.join().map_err(|_| anyhow!("a row of machines panicked"))?
}

/// Leaves everything running and says how to look around.
fn stay(site: &Site<'_>, mut subjects: Vec<Subject>) -> Result<()> {
    let state = site.service.state();
    println!("\neverything keeps running until Ctrl-C. In another terminal, as root:");
    println!("  export REPRIEVE_SERVICE={}", site.service.api_url());
    println!("  export REPRIEVE_TOKEN_FILE={}/operator.token", state.display());
    println!("  export REPRIEVE_CA={}/ca.pem", state.display());
    let namespace = site.lab.network().name();
    println!("  ip netns exec {namespace} {} node list", site.operator.program().display());
    for subject in &subjects {
        println!(
            "  tail -f {}   # the console of {}",
            subject.machine.console().display(),
            subject.machine.spec().name
        );
    }
    loop {
        for subject in &mut subjects {
            subject.machine.check_running()?;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
