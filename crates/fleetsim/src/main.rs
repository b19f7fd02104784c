//! `fleetsim`: runs simulated fleets under several strategies and prints what came of it.

use std::io::Write;
use std::time::Instant;

use clap::Parser;
use fleetsim::fleet;
use fleetsim::parameters::Parameters;
use fleetsim::report::{self, Aims, Swept, Years};
use fleetsim::strategy::{AlwaysWipe, NeverWipe, Oracle, Ours, StaticThresholds, Strategy};

/// Runs simulated fleets for a year under several strategies.
#[derive(Debug, Parser)]
struct Options {
    /// Machines of a fleet
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Fleets, each with its own seed
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Fleets of each sweep
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    sweep_seeds: u64,
    /// Machines of the one large fleet under the product's verdict alone; 0 for none
    #[arg(long, default_value_t = 100_000)]
    large: u32,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let ours = Ours::new()?;
    let parameters = Parameters { nodes: options.nodes, ..Parameters::published() };
    let strategies: [&(dyn Strategy + Sync); 5] =
        [&ours, &AlwaysWipe, &NeverWipe, &StaticThresholds, &Oracle];
    let mut all = Vec::new();
    for strategy in strategies {
        all.push(years(&parameters, strategy, options.seeds)?);
    }
    let mut out = std::io::stdout();
    writeln!(
        out,
        "A year of {} fleets of {} nodes; mean over the fleets and its 95 % interval (bootstrap).\n",
        options.seeds, options.nodes
    )?;
    writeln!(out, "{}\n", report::comparison(&all))?;

    let mut swept = Vec::new();
    for (parameter, value, changed) in parameters.sweeps() {
        let ours = years(&changed, &ours, options.sweep_seeds)?;
        let fixed = years(&changed, &StaticThresholds, options.sweep_seeds)?;
        swept.push(Swept { parameter, value, ours, fixed });
    }
    writeln!(
        out,
        "What nobody publishes, swept ({} fleets each):\n\n{}\n",
        options.sweep_seeds,
        report::sweeps(&swept)
    )?;

    let keep = Parameters { same_owner_share: 0.8, ..parameters.clone() };
    let ours_keep = years(&keep, &ours, options.sweep_seeds)?;
    let always_keep = years(&keep, &AlwaysWipe, options.sweep_seeds)?;
    let large_seconds =
        if options.large > 0 { Some(large(&parameters, &ours, options.large)?) } else { None };
    let aims = Aims {
        ours: &all[0],
        fixed: &all[3],
        ours_keep: &ours_keep,
        always_keep: &always_keep,
        large_seconds,
    };
    for line in aims.lines() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn years(parameters: &Parameters, strategy: &(dyn Strategy + Sync), seeds: u64) -> anyhow::Result<Years> {
    let mut scores = Vec::new();
    for seed in 0..seeds {
        say(&format!("  {}: fleet {} of {seeds}", strategy.name(), seed + 1))?;
        scores.push(fleet::run(parameters, strategy, seed)?);
    }
    Ok(Years { strategy: strategy.name(), scores, nodes: parameters.nodes })
}

fn large(parameters: &Parameters, ours: &Ours, nodes: u32) -> anyhow::Result<f64> {
    say(&format!("  {nodes} nodes for a year"))?;
    let begun = Instant::now();
    let score = fleet::run(&Parameters { nodes, ..parameters.clone() }, ours, 0)?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{nodes} nodes for a year: {} releases, {} verdicts, {} leaks in {seconds:.0} s\n",
        score.releases,
        score.verdicts,
        score.leaks
    )?;
    Ok(seconds)
}

/// Progress, for people.
fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr(), "{line}")
}
