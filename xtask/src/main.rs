//! `cargo xtask`: the one entry point for building, checking, testing and showing Reprieve.

mod apt;
mod command;
mod ipxe;
mod kernel;
mod packages;
mod paths;
mod ramdisk;
mod toolchain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Builds, checks, tests and shows Reprieve")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build kernel and ramdisk into build/ramdisk
    Ramdisk(ramdisk::Options),
    /// Fetch iPXE's boot programs into build/ipxe
    Ipxe,
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Ramdisk(options) => ramdisk::build(&options).map(drop),
        Task::Ipxe => ipxe::ensure().map(drop),
    }
}
