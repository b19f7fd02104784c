//! The verdict beside simpler ways to decide, in simulated fleets.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use super::machine;
use crate::command::run as run_program;
use crate::paths;

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Machines of a fleet
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Fleets, each with its own seed
    #[arg(long, default_value_t = 30)]
    seeds: u64,
    /// Machines of the one large fleet; 0 for none
    #[arg(long, default_value_t = 100_000)]
    large: u32,
}

/// Builds the simulator as it would be shipped and runs it.
pub fn run(options: &Options) -> Result<()> {
    let number = |name: &str, value: String| [name.to_owned(), value];
    let mut command = Command::new("cargo");
    command.current_dir(paths::repository()).args(["run", "--release", "--quiet", "-p", "fleetsim", "--"]);
    command.args(number("--nodes", options.nodes.to_string()));
    command.args(number("--seeds", options.seeds.to_string()));
    command.args(number("--large", options.large.to_string()));
    println!("{}, load {} at the start\n", machine::processors(), machine::load());
    run_program("simulating fleets", &mut command)
}
