//! `reprieve policy …`, `explain` and `replay`: what verdicts are made of, and what another policy would
//! make of the same.

mod diff;
mod files;
mod replay;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use contract::id::PoolName;
use contract::operator_api::DecisionView;
use contract::policy_api::{DecisionRecord, PolicyView};
use verdict::policy::{Policy, described};

use crate::Ending;
use crate::client::{Client, escape};
use crate::output::{clean, print, print_json};

pub use files::{check, test};
pub use replay::replay;

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check policy files without the service; exit status 1 names file, line and the nearest known name
    Check {
        /// Files, the site's first and a pool's behind it; each goes over those before it
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show a policy with every default filled in, and the file that each value comes from
    Show(Show),
    /// Judge situations from files and compare with what they say must follow; exit status 3 if any differs
    Test(Test),
    /// Show which nodes would get another verdict under a new file; nothing is changed
    Diff(Diff),
}

/// `reprieve policy show`.
#[derive(Debug, Args)]
pub struct Show {
    /// These files instead of what the service judges with, the site's first
    #[arg(value_name = "FILE", conflicts_with = "pool")]
    pub files: Vec<PathBuf>,
    /// The policy of this pool instead of the site's
    #[arg(long)]
    pub pool: Option<PoolName>,
}

/// `reprieve policy test`.
#[derive(Debug, Args)]
pub struct Test {
    /// Folder with situations, one TOML file each
    pub directory: PathBuf,
    /// Policy files to judge under, the site's first; the built-in policy if there are none
    #[arg(long = "policy", value_name = "FILE")]
    pub policies: Vec<PathBuf>,
}

/// `reprieve policy diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// The new file
    pub new: PathBuf,
    /// The pool whose own file it would be; it would be the site's if this is left out
    #[arg(long)]
    pub pool: Option<PoolName>,
}

/// `reprieve explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// Write all that the verdict was made of into this file, for `reprieve replay`
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Show names of files also of data that do not leave the site; the service logs it
    #[arg(long, conflicts_with = "export")]
    pub names: bool,
}

/// `reprieve replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// What `reprieve explain --export` wrote
    pub file: PathBuf,
    /// Judge under these policy files instead, the site's first
    #[arg(long = "policy", value_name = "FILE")]
    pub policies: Vec<PathBuf>,
    /// Judge with this model instead
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
}

/// The commands that need no service; none if this one does.
pub fn offline(command: &PolicyCommand, json: bool) -> Option<anyhow::Result<Ending>> {
    match command {
        PolicyCommand::Check { files } => Some(check(files, json)),
        PolicyCommand::Show(show) if !show.files.is_empty() => Some(show_files(&show.files)),
        PolicyCommand::Test(request) => Some(test(request, json)),
        PolicyCommand::Show(_) | PolicyCommand::Diff(_) => None,
    }
}

/// The commands that ask the service.
pub async fn run(client: &Client, command: PolicyCommand, json: bool) -> anyhow::Result<Ending> {
    match command {
        PolicyCommand::Show(show) if show.files.is_empty() => show_of_service(client, show.pool, json).await,
        PolicyCommand::Diff(request) => diff::diff(client, &request, json).await,
        other => offline(&other, json).unwrap_or(Ok(Ending::Good)),
    }
}

/// `reprieve explain NODE`.
pub async fn explain(client: &Client, request: &Explain, json: bool) -> anyhow::Result<Ending> {
    let node = escape(&request.node);
    if let Some(file) = &request.export {
        let record: DecisionRecord = client.get(&format!("/v1/nodes/{node}/decision-record")).await?;
        let text = serde_json::to_string_pretty(&record).context("could not encode the verdict")?;
        std::fs::write(file, text).with_context(|| format!("could not write {}", file.display()))?;
        print(&format!("{} holds the verdict and all that it was made of", file.display()))?;
        return Ok(Ending::Good);
    }
    let names = if request.names { "?names=true" } else { "" };
    let view: DecisionView = client.get(&format!("/v1/nodes/{node}/decision{names}")).await?;
    if json {
        print_json(&view)?;
    } else {
        print(clean(&verdict::explain::explain(&view.decision)).trim_end())?;
        if view.names_withheld {
            print(
                "names of files are withheld, because these data do not leave the site (--names shows them, and the service logs it)",
            )?;
        }
    }
    Ok(Ending::Good)
}

async fn show_of_service(client: &Client, pool: Option<PoolName>, json: bool) -> anyhow::Result<Ending> {
    let query = pool.map_or_else(String::new, |pool| format!("?pool={}", escape(pool.as_str())));
    let view: PolicyView = client.get(&format!("/v1/policy{query}")).await?;
    if json {
        print_json(&view)?;
        return Ok(Ending::Good);
    }
    let layers: Vec<_> = view.layers.iter().map(|one| (one.name.as_str(), one.text.as_str())).collect();
    let told = described(&layers)
        .context("the service's policy cannot be read; this command may be older than the service")?;
    print(clean(&told).trim_end())?;
    Ok(Ending::Good)
}

fn show_files(paths: &[PathBuf]) -> anyhow::Result<Ending> {
    let texts = read_all(paths)?;
    print(clean(&described(&named(&texts))?).trim_end())?;
    Ok(Ending::Good)
}

/// Files with their names as errors give them.
fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    paths.iter().map(|path| Ok((path.display().to_string(), read(path)?))).collect()
}

fn named(texts: &[(String, String)]) -> Vec<(&str, &str)> {
    texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

fn policy_of(paths: &[PathBuf]) -> anyhow::Result<Policy> {
    Ok(Policy::layered(&named(&read_all(paths)?))?)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}
