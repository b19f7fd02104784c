//! `reprieve`: the technician's command.
//!
//! It asks the service and shows what the service says; the only thing it works out by itself is what
//! an image is (`import`). Errors go to standard error with what to do next, results to standard
//! output, as tables for people or as JSON (`--json`) for programs.

mod arguments;
mod blast_radius;
mod boot_trust;
mod burn_in;
mod certificate;
mod client;
mod history;
mod image;
mod import;
mod job;
mod ledger;
mod model;
mod node;
mod node_data;
mod output;
mod policy;
mod reimage;
mod report;
mod rollback;
mod settings;
mod shell;
mod status;
mod wave;
mod wipe;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::certificate::CertificateCommand;
use crate::client::Client;
use crate::image::ImageCommand;
use crate::job::JobCommand;
use crate::node::NodeCommand;
use crate::settings::Settings;

/// How a command that worked ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// As asked.
    Good,
    /// The job that was watched did not reach the state that was asked for; what was compared differs.
    NotReached,
}

/// Exit status for [`Ending::NotReached`]; 1 is an error, 2 a wrong command line.
const EXIT_NOT_REACHED: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(Ending::Good) => ExitCode::SUCCESS,
        Ok(Ending::NotReached) => ExitCode::from(EXIT_NOT_REACHED),
        Err(error) => {
            eprintln!("reprieve: {error:#}");
            if let Some(hint) = client::hint(&error) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    match arguments.command {
        Command::Completions { shell } => shell::completions(shell),
        Command::Man { directory } => shell::man(&directory),
        Command::Certificate { command: CertificateCommand::Verify(request) } => {
            certificate::verify(&request, arguments.json)
        }
        Command::Certificate { command: CertificateCommand::Export(export) }
            if let Some(file) = export.file() =>
        {
            certificate::export_file(&file, &export)
        }
        Command::Replay(request) => policy::replay(&request, arguments.json),
        Command::Policy { command } if let Some(ending) = policy::offline(&command, arguments.json) => ending,
        Command::Model { command } if let Some(ending) = model::offline(&command) => ending,
        command => {
            let settings = Settings::load(&arguments.connection)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let ending = runtime.block_on(ask(command, &settings, arguments.json));
            // After an interruption a thread may still be reading an image; nobody waits for it.
            runtime.shutdown_background();
            ending
        }
    }
}

async fn ask(command: Command, settings: &Settings, json: bool) -> anyhow::Result<Ending> {
    let client = Client::new(settings)?;
    match command {
        Command::Node { command } => match command {
            NodeCommand::List => node::list(&client, json).await,
            NodeCommand::Show { node } => node::show(&client, &node, json).await,
            NodeCommand::History { node } => history::history(&client, &node, json).await,
            NodeCommand::Data { command } => node_data::run(&client, command, json).await,
            NodeCommand::Approve(approve) => node::approve(&client, approve, json).await,
            NodeCommand::TrustBoot { node, why, for_model, system, yes } => {
                boot_trust::trust(&client, &node, (why, for_model, system), yes, json).await
            }
            NodeCommand::ForgetBoot { node, why, for_model } => {
                boot_trust::forget(&client, &node, (why, for_model), json).await
            }
            NodeCommand::Explain(request) => policy::explain(&client, &request, json).await,
        },
        Command::Assign(assign) => node::assign(&client, assign, json).await,
        Command::Protect { node, off } => node::protect(&client, &node, !off, json).await,
        Command::ReleaseHold { node } => node::release_hold(&client, &node, json).await,
        Command::Reimage(request) => reimage::reimage(&client, request, json).await,
        Command::BurnIn(request) => burn_in::burn_in(&client, request, json).await,
        Command::Rollback(request) => rollback::rollback(&client, request, json).await,
        Command::Wipe(request) => wipe::wipe(&client, request, json).await,
        Command::Certificate { command } => certificate::run(&client, command, json).await,
        Command::Job { command } => match command {
            JobCommand::List => job::list(&client, json).await,
            JobCommand::Show { job } => job::show(&client, job, json).await,
            JobCommand::Watch { job } => job::watch(&client, job, json).await,
            JobCommand::Cancel { job } => job::cancel(&client, job, json).await,
        },
        Command::Image { command } => match command {
            ImageCommand::List => image::list(&client, json).await,
            ImageCommand::Show { image } => image::show(&client, &image, json).await,
            ImageCommand::Import(request) => import::import(&client, request, json).await,
        },
        Command::Wave { command } => wave::run(&client, command, json).await,
        Command::BlastRadius { command } => blast_radius::run(&client, command, json).await,
        Command::Outcome(request) => report::outcome(&client, request, json).await,
        Command::Report { command } => report::run(&client, command, json).await,
        Command::Explain(request) => policy::explain(&client, &request, json).await,
        Command::Policy { command } => policy::run(&client, command, json).await,
        Command::Model { command } => model::run(&client, command, json).await,
        Command::Replay(request) => policy::replay(&request, json),
        Command::Status => status::status(&client, json).await,
        Command::Completions { .. } | Command::Man { .. } => Ok(Ending::Good),
    }
}
