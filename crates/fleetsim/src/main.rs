//! `fleetsim`: runs fleets and prints figures as JSON, a line each, for `cargo xtask bench judgement`.

use std::io::Write;
use std::time::Instant;

use clap::Parser;
use fleetsim::fleet;
use fleetsim::parameters::Parameters;
use fleetsim::score::Score;
use fleetsim::strategy::{AlwaysWipe, NeverWipe, Oracle, Ours, StaticThresholds, Strategy};
use serde_json::{Value, json};

/// Runs simulated fleets under several strategies.
#[derive(Debug, Parser)]
struct Options {
    /// Machines of a fleet
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Fleets, each with its own seed
    #[arg(long, default_value_t = 30)]
    seeds: u64,
    /// Fleets of each sweep
    #[arg(long, default_value_t = 5)]
    sweep_seeds: u64,
    /// Machines of the one large fleet, which is run under the product's verdict alone; 0 for none
    #[arg(long, default_value_t = 100_000)]
    large: u32,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let ours = Ours::new()?;
    let strategies: [&(dyn Strategy + Sync); 5] =
        [&ours, &AlwaysWipe, &NeverWipe, &StaticThresholds, &Oracle];
    let parameters = Parameters { nodes: options.nodes, ..Parameters::published() };
    for strategy in strategies {
        for seed in 0..options.seeds {
            let score = fleet::run(&parameters, strategy, seed)?;
            say(
                &json!({ "part": "compare", "strategy": strategy.name(), "seed": seed, "score": figures(&score) }),
            )?;
        }
    }
    // The share of releases after which the node could be kept, as the closed form has it.
    let keep = Parameters { same_owner_share: 0.8, ..parameters.clone() };
    for strategy in [&ours as &(dyn Strategy + Sync), &AlwaysWipe] {
        for seed in 0..options.sweep_seeds {
            let score = fleet::run(&keep, strategy, seed)?;
            say(
                &json!({ "part": "keep-0.8", "strategy": strategy.name(), "seed": seed, "score": figures(&score) }),
            )?;
        }
    }
    for (name, value, changed) in parameters.sweeps() {
        for strategy in [&ours as &(dyn Strategy + Sync), &StaticThresholds] {
            for seed in 0..options.sweep_seeds {
                let score = fleet::run(&changed, strategy, seed)?;
                say(
                    &json!({ "part": "sweep", "parameter": name, "value": value, "strategy": strategy.name(), "seed": seed, "score": figures(&score) }),
                )?;
            }
        }
    }
    if options.large > 0 {
        let large = Parameters { nodes: options.large, ..parameters };
        let begun = Instant::now();
        let score = fleet::run(&large, &ours, 0)?;
        let seconds = begun.elapsed().as_secs_f64();
        say(
            &json!({ "part": "large", "nodes": options.large, "seconds": seconds, "score": figures(&score) }),
        )?;
    }
    Ok(())
}

fn say(line: &Value) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}

fn figures(score: &Score) -> Value {
    json!({
        "releases": score.releases,
        "leaks": score.leaks,
        "escapes": score.escapes,
        "unneeded-share": score.unneeded_share(),
        "interruptions": score.interruptions(),
        "failures": score.failures,
        "drains": score.drains,
        "false-quarantine-share": score.false_quarantine_share(),
        "grey-caught": score.grey_share_caught(),
        "grey-refused": score.refused_share(),
        "disk-precision": score.disk_precision(),
        "disk-recall": score.disk_recall(),
        "minutes-per-release": score.minutes_per_release(),
        "lost-minutes": score.lost_minutes,
        "flash-terabytes": score.flash_bytes / 1e12,
        "kilowatt-hours": score.kilowatt_hours,
        "verdicts": score.verdicts,
    })
}
