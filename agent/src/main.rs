//! `reprieve-agent`: looks at a machine, judges it, and does to it what the service has ordered.
//!
//! One binary, two lives: as PID 1 of the network-booted ramdisk, and as a service of the running
//! system. It starts no other program.

mod act;
#[cfg(feature = "bench")]
mod bench;
mod check;
mod clock;
mod efi;
mod image_check;
mod judging;
mod kernel_command_line;
mod look;
mod node_partition;
mod partner;
mod probe;
mod ramdisk;
#[cfg(feature = "bench")]
mod rehearsal;
mod resident;
mod service;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Version of the agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Looks at this machine, judges it, and does to it what the service has ordered.
#[derive(Debug, Parser)]
#[command(name = "reprieve-agent", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run as PID 1 of the ramdisk. Nothing else may start it.
    Init,
    /// Run as the service of the running system.
    #[command(visible_alias = "serve")]
    Resident(resident::Options),
    /// Look at this machine now and say what would be done with it.
    Check {
        /// JSON instead of a table.
        #[arg(long)]
        json: bool,
        /// Look at a recorded tree of /sys, /proc and /dev instead of the machine.
        #[arg(long, value_name = "DIR")]
        sysroot: Option<PathBuf>,
        /// Where the service of the running system keeps what it knows.
        #[arg(long, value_name = "DIR", default_value = resident::STATE_DIRECTORY)]
        state: PathBuf,
    },
    /// Look at this machine and say what each check saw, without judging it.
    Look(look::Options),
    /// Say what this machine is made of.
    Inventory {
        /// JSON instead of a table.
        #[arg(long)]
        json: bool,
        /// Look at a recorded tree of /sys, /proc and /dev instead of the machine.
        #[arg(long, value_name = "DIR")]
        sysroot: Option<PathBuf>,
    },
    /// Write an image onto a loop device and say what it cost.
    #[cfg(feature = "bench")]
    BenchWrite(bench::Options),
    /// Overwrite a loop device, prove it, and say what it cost.
    #[cfg(feature = "bench")]
    BenchErase(bench::erase::Options),
    /// Say the version.
    Version,
}

/// Begins to log to standard output. In the ramdisk lines carry the seconds since it started, for the
/// clock may be wrong; in the running system the journal knows the time.
pub fn start_log(in_ramdisk: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("REPRIEVE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false);
    // A log that is already running stays as it is.
    let _ = if in_ramdisk {
        log.with_timer(tracing_subscriber::fmt::time::uptime()).try_init()
    } else {
        log.without_time().try_init()
    };
}

fn main() -> ExitCode {
    let called_as = std::env::args().next().unwrap_or_default();
    if called_as.ends_with("modprobe") {
        let arguments: Vec<String> = std::env::args().collect();
        return ExitCode::from(u8::from(ramdisk::modules::answer_kernel_request(&arguments) != 0));
    }
    if std::process::id() == 1 || called_as.ends_with("init") {
        return start_ramdisk();
    }
    let done = match Arguments::parse().command {
        Command::Init => return start_ramdisk(),
        Command::Resident(options) => resident::run(&options),
        Command::Check { json, sysroot, state } => check::check(json, sysroot.as_deref(), &state),
        Command::Look(options) => look::look(&options),
        Command::Inventory { json, sysroot } => check::inventory(json, sysroot.as_deref()),
        #[cfg(feature = "bench")]
        Command::BenchWrite(options) => bench::write(&options),
        #[cfg(feature = "bench")]
        Command::BenchErase(options) => bench::erase::erase(&options),
        Command::Version => {
            println!("reprieve-agent {VERSION}");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reprieve-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_ramdisk() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("reprieve-agent: init runs only as PID 1 of the ramdisk; try `reprieve-agent check`");
        return ExitCode::FAILURE;
    }
    ramdisk::run()
}
