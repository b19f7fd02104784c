//! `cargo xtask bench`: what things cost, measured beside the tools that people use otherwise.

mod contact;
mod device;
mod image;
mod imaging;
mod machine;
mod repair;
mod service;
mod table;
mod tools;

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
    /// Writing, verifying and importing an image, beside other tools on the same device
    Imaging(imaging::Options),
    /// Reimaging a disk of which a part has changed
    Repair(imaging::Options),
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    match &options.what {
        None => contact::run(&options.contact),
        Some(What::Imaging(options)) => imaging::run(options),
        Some(What::Repair(options)) => repair::run(options),
    }
}
