//! `reprieve reimage NODE`: asks for a state, and for the serial number before data may be destroyed.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use contract::assignment::Floor;
use contract::id::TenantId;
use contract::operator_api::{NodeView, ReimageReply, ReimageRequest};

use crate::Ending;
use crate::client::{Client, escape};
use crate::job;
use crate::output::{clean, print, print_json};

/// The least that must be done.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum AtLeast {
    /// Put immutable files back even if they are only suspected
    Repair,
    /// Make the disk of the operating system bit-identical to the image
    Reimage,
    /// Sanitize, then image
    Wipe,
}

impl From<AtLeast> for Floor {
    fn from(at_least: AtLeast) -> Self {
        match at_least {
            AtLeast::Repair => Self::Repair,
            AtLeast::Reimage => Self::Reimage,
            AtLeast::Wipe => Self::Wipe,
        }
    }
}

/// What `reprieve reimage` takes.
#[derive(Debug, Args)]
pub struct Reimage {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// Another image than the assigned one: id, start of an id, or name
    #[arg(long)]
    pub image: Option<String>,
    /// Another tenant than the assigned one
    #[arg(long)]
    pub tenant: Option<TenantId>,
    /// The least that must be done; rules may demand more
    #[arg(long, value_enum)]
    pub at_least: Option<AtLeast>,
    /// Say what would happen and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Look from the ramdisk even if the agent in the running system could answer
    #[arg(long)]
    pub from_ramdisk: bool,
    /// Begin outside the policy's windows too; it is recorded with the job
    #[arg(long)]
    pub outside_windows: bool,
    /// Do not ask for the serial number before data may be destroyed
    #[arg(long)]
    pub yes: bool,
    /// Watch the job until it ends
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
}

/// `reprieve reimage NODE`.
pub async fn reimage(client: &Client, arguments: Reimage, json: bool) -> anyhow::Result<Ending> {
    let path = format!("/v1/nodes/{}", escape(&arguments.node));
    let mut request = ReimageRequest {
        image: arguments.image,
        tenant: arguments.tenant,
        at_least: arguments.at_least.map(Into::into),
        sanitize_level: None,
        why: None,
        outside_windows: arguments.outside_windows,
        dry_run: true,
        from_ramdisk: arguments.from_ramdisk,
        confirm_serial: None,
        confirmed: arguments.yes,
    };
    if arguments.dry_run || !arguments.yes {
        let foreseen: ReimageReply = client.post(&format!("{path}/reimage"), &request).await?;
        if arguments.dry_run {
            return show(&foreseen, json, true);
        }
        request.confirm_serial = confirm(client, &path, &foreseen).await?;
    }
    request.dry_run = false;
    let reply: ReimageReply = client.post(&format!("{path}/reimage"), &request).await?;
    show_or_watch(client, &reply, arguments.watch, json).await
}

/// Asks for the serial number of the node at `path` if what is foreseen may destroy data.
pub async fn confirm(client: &Client, path: &str, foreseen: &ReimageReply) -> anyhow::Result<Option<String>> {
    match foreseen {
        ReimageReply::Job { expectation, destructive: true, .. } => {
            let node: NodeView = client.get(path).await?;
            ask_serial(&node, expectation).map(Some)
        }
        ReimageReply::Job { .. } | ReimageReply::NothingToDo { .. } => Ok(None),
    }
}

/// Shows what became of a request, and watches its job if that is wanted.
pub async fn show_or_watch(
    client: &Client,
    reply: &ReimageReply,
    watch: bool,
    json: bool,
) -> anyhow::Result<Ending> {
    match reply {
        ReimageReply::Job { job: Some(job), .. } if watch => {
            if !json {
                show(reply, json, false)?;
            }
            job::watch(client, *job, json).await
        }
        _ => show(reply, json, false),
    }
}

/// Asks the person at the terminal for the serial number; the service compares it, and so do we, so
/// that a slip is told at once.
fn ask_serial(node: &NodeView, expectation: &str) -> anyhow::Result<String> {
    let serial = node.serial.as_deref().with_context(|| {
        format!("node {} has no known serial number to confirm with; say --yes if you are sure", node.id)
    })?;
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "data on node {} may be destroyed and nobody is there to confirm it; say --yes if you are sure",
        node.id
    );
    let mut terminal = std::io::stderr();
    writeln!(terminal, "{}", clean(expectation))?;
    writeln!(terminal, "Data on node {} may be destroyed.", node.id)?;
    write!(terminal, "Type its serial number ({}) to go on: ", clean(serial))?;
    terminal.flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed).context("could not read the serial number")?;
    let typed = typed.trim();
    anyhow::ensure!(
        typed == serial.trim(),
        "{typed:?} is not the serial number of node {}; nothing was done",
        node.id
    );
    Ok(typed.to_owned())
}

/// Shows what became of a request.
pub fn show(reply: &ReimageReply, json: bool, dry_run: bool) -> anyhow::Result<Ending> {
    if json {
        print_json(reply)?;
        return Ok(Ending::Good);
    }
    match reply {
        ReimageReply::NothingToDo { decision } => {
            let reason = decision.reasons.first().map(|finding| finding.statement.as_str());
            print(&format!("nothing to do: {}", clean(reason.unwrap_or("the node is in that state"))))?;
            print("why: reprieve node explain NODE; to insist: --at-least repair, reimage or wipe")?;
        }
        ReimageReply::Job { job, expectation, destructive, entry } => {
            print(&clean(expectation))?;
            print(&format!("entry: {}", clean(entry)))?;
            print(if *destructive { "data may be destroyed" } else { "no data is destroyed" })?;
            match job {
                Some(job) => print(&format!("job {job}; watch it with: reprieve job watch {job}"))?,
                None if dry_run => print("nothing was changed (--dry-run)")?,
                None => print("no job was made")?,
            }
        }
    }
    Ok(Ending::Good)
}
