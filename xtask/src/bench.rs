//! `cargo xtask bench`: what things cost, measured beside the tools that people use otherwise.

mod check;
mod contact;
mod device;
mod erase;
mod image;
mod imaging;
mod judgement;
mod limit;
mod machine;
mod repair;
mod scratch;
mod service;
pub mod table;
mod together;
mod tools;
mod virtual_machine;

use anyhow::Result;
use clap::{Args, Subcommand};

pub use self::contact::FIRST_CONTACT_AIM_MILLIS;

/// What to measure; without a word, first contact.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(flatten)]
    contact: contact::Options,
    #[command(subcommand)]
    what: Option<What>,
}

/// What to measure.
#[derive(Debug, Clone, Subcommand)]
enum What {
    /// How long the agent of a running system takes to answer
    Check(check::Options),
    /// Overwriting a device with a proof, beside tools that overwrite
    Erase(erase::Options),
    /// Writing, verifying and importing an image, beside other tools on the same device
    Imaging(imaging::Options),
    /// The verdict beside simpler ways to decide, in simulated fleets
    Judgement(judgement::Options),
    /// Reimaging a disk of which a part has changed
    Repair(imaging::Options),
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    match &options.what {
        None => contact::run(&options.contact),
        Some(What::Check(options)) => check::run(options),
        Some(What::Erase(options)) => erase::run(options),
        Some(What::Imaging(options)) => imaging::run(options),
        Some(What::Judgement(options)) => judgement::run(options),
        Some(What::Repair(options)) => repair::run(options),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn each_measurement_has_its_own_options() {
        Arguments::command().debug_assert();
        let parse = |words: &str| Arguments::try_parse_from(words.split(' ')).map(|found| found.options.what);
        assert!(matches!(parse("bench --runs 2"), Ok(None)));
        assert!(matches!(parse("bench imaging --runs 2 --size-mebibytes 64"), Ok(Some(What::Imaging(_)))));
        assert!(matches!(parse("bench check --runs 2"), Ok(Some(What::Check(_)))));
        assert!(matches!(parse("bench erase --size-mebibytes 64"), Ok(Some(What::Erase(_)))));
        assert!(matches!(parse("bench repair --folder /x"), Ok(Some(What::Repair(_)))));
        assert!(matches!(parse("bench judgement --seeds 2"), Ok(Some(What::Judgement(_)))));
        assert!(parse("bench --runs 2 imaging").is_err());
    }
}
