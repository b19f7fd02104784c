//! `reprieve-bootsvc`: network-boots machines and decides from evidence what each one needs.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use reprieve_bootsvc::config::{self, Flags};
use tracing_subscriber::EnvFilter;

/// Network-boots machines and decides from evidence what each one needs.
#[derive(Debug, Parser)]
#[command(name = "reprieve-bootsvc", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service.
    Serve {
        /// Configuration file; see docs/configuration.md.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        flags: Box<Flags>,
    },
    /// Look at configuration files.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print how a configuration file is understood.
    Check {
        /// The file.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // A reader of the log that goes away must not take requests with it.
        .log_internal_errors(false)
        .init();
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reprieve-bootsvc: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve { config, flags } => {
            let settings = config::load(config.as_deref(), &flags)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(reprieve_bootsvc::serve::run(settings))
        }
        Command::Config { command: ConfigCommand::Check { file } } => {
            print!("{}", config::load(Some(&file), &Flags::default())?);
            Ok(())
        }
    }
}
