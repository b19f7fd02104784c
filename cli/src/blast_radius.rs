//! `reprieve blast-radius …`: what too many nodes want at once, and letting it go on.

use clap::{Args, Subcommand};
use contract::blast_radius::{IncidentView, ReleaseRequest};
use contract::id::IncidentId;

use crate::Ending;
use crate::client::Client;
use crate::output::{clean, print, print_json, properties, short, table, time, trimmed};

/// What to do with incidents.
#[derive(Debug, Subcommand)]
pub enum BlastRadiusCommand {
    /// List what was held because too many nodes wanted it, open first
    List,
    /// Say that you have looked, and let the nodes go on
    Release(Release),
}

/// `reprieve blast-radius release`.
#[derive(Debug, Args)]
pub struct Release {
    /// Incident id, as the nodes' hold and `blast-radius list` have it
    pub incident: IncidentId,
    /// Why, in one line; it is kept
    #[arg(long, value_name = "REASON")]
    pub why: String,
    /// Minutes for which the same goes on among the same nodes without being held, at most 1440. 0: the
    /// nodes look again, and are held again if they still want it
    #[arg(long, value_name = "MINUTES", default_value_t = 0)]
    pub allow_minutes: u64,
    /// Close the incident and leave its nodes held
    #[arg(long, conflicts_with = "allow_minutes")]
    pub keep_held: bool,
}

/// Does what the command says.
pub async fn run(client: &Client, command: BlastRadiusCommand, json: bool) -> anyhow::Result<Ending> {
    match command {
        BlastRadiusCommand::List => list(client, json).await,
        BlastRadiusCommand::Release(release) => {
            let request = ReleaseRequest {
                why: release.why,
                allow_minutes: release.allow_minutes,
                keep_held: release.keep_held,
            };
            let path = format!("/v1/blast-radius/{}/release", release.incident);
            let view: IncidentView = client.post(&path, &request).await?;
            if json {
                print_json(&view)?;
            } else {
                print(&describe(&view))?;
            }
            Ok(Ending::Good)
        }
    }
}

async fn list(client: &Client, json: bool) -> anyhow::Result<Ending> {
    let incidents: Vec<IncidentView> = client.get("/v1/blast-radius").await?;
    if json {
        print_json(&incidents)?;
        return Ok(Ending::Good);
    }
    if incidents.is_empty() {
        print("nothing was ever held because too many nodes wanted it")?;
        return Ok(Ending::Good);
    }
    let mut rows = table(&["incident", "state", "what", "among", "wanting", "held", "since"]);
    for incident in &incidents {
        rows.add_row([
            incident.id.to_string(),
            if incident.release.is_some() { "released" } else { "open" }.to_owned(),
            clean(&incident.alike.to_string()),
            clean(&incident.group.to_string()),
            format!("{} of {}", incident.wanting, incident.nodes),
            incident.held_total.to_string(),
            time(incident.opened_at),
        ]);
    }
    print(&trimmed(&rows))?;
    Ok(Ending::Good)
}

/// An incident in words.
fn describe(view: &IncidentView) -> String {
    let nodes: Vec<String> = view.held.iter().take(20).map(short).collect();
    let more = if view.held_total > 20 { ", …" } else { "" };
    let release = view.release.as_ref();
    properties(vec![
        ("incident", Some(view.id.to_string())),
        ("what", Some(clean(&view.alike.to_string()))),
        ("among", Some(clean(&view.group.to_string()))),
        (
            "wanting",
            Some(format!(
                "{} of {} within {} minutes; {} go through",
                view.wanting, view.nodes, view.window_minutes, view.most
            )),
        ),
        ("held", Some(format!("{} ({}{more})", view.held_total, nodes.join(", ")))),
        ("opened", Some(time(view.opened_at))),
        ("released", release.map(|release| format!("{}: {}", time(release.at), clean(&release.why)))),
        ("went on", release.map(|release| format!("{} nodes", release.released))),
        (
            "allowed until",
            release.filter(|it| it.allowed_until > it.at).map(|release| time(release.allowed_until)),
        ),
    ])
}
