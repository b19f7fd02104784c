//! `cargo xtask`: the one entry point for building, checking, testing and showing Reprieve.

mod apt;
mod bench;
mod check;
mod command;
mod deb;
mod demo;
mod fuzz;
mod image;
mod ipxe;
mod kernel;
mod packages;
mod paths;
mod ramdisk;
mod test;
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
    /// Show the whole path: machines are network-booted, judged and brought to their end states
    Demo(demo::Options),
    /// Check the tree and run every test, virtual machines included
    Test(test::Options),
    /// Check format, arrows between crates, tidiness, units, lints and docs
    Check(check::Options),
    /// Build kernel and ramdisk into build/ramdisk
    Ramdisk(ramdisk::Options),
    /// Build a small Debian image with the agent in it into build/image
    Image(image::Options),
    /// Build the Debian packages of agent, service and command into build/deb
    Deb(deb::Options),
    /// Measure the ramdisks and how soon a machine is in contact with the service
    Bench(bench::Options),
    /// Try crafted bytes on every parser of what comes from a network, a disk or a person
    Fuzz(fuzz::Options),
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
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run_all(&options),
        Task::Check(options) => check::perform(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Ramdisk(options) => ramdisk::build(&options).map(drop),
        Task::Image(options) => image::build(&options).map(drop),
        Task::Deb(options) => deb::build(&options).map(drop),
        Task::Fuzz(options) => fuzz::perform(&options),
        Task::Ipxe => ipxe::ensure().map(drop),
    }
}
