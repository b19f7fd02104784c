//! `reprieve wave …`: an image goes to a pool in stages.

use clap::{Args, Subcommand};
use contract::id::{PoolName, WaveId};
use contract::wave::{StartWave, WaveState, WaveView, WaveWord};

use crate::Ending;
use crate::client::Client;
use crate::output::{clean, print, print_json, properties, short, table, time, trimmed, word};

/// What to do with waves.
#[derive(Debug, Subcommand)]
pub enum WaveCommand {
    /// Give a pool another image: one node, 1 %, 10 %, all, with a time to bake in between
    Start(Start),
    /// List waves, open ones first
    List,
    /// Show one wave with the nodes that did not get the image
    Show {
        /// Wave id
        wave: WaveId,
    },
    /// Begin nothing more; what was begun goes on
    Halt(Word),
    /// Let a halted wave go on, after you have looked
    Resume(Word),
    /// Give a wave up; what was begun goes on
    Cancel(Word),
}

/// `reprieve wave start`.
#[derive(Debug, Args)]
pub struct Start {
    /// Pool: its approved nodes whose disks hold the data of their own tenant get the image
    #[arg(long)]
    pub pool: PoolName,
    /// Image: id, start of an id, or name
    #[arg(long)]
    pub image: String,
    /// Say how many nodes each stage reaches and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Begin; without it nothing is written
    #[arg(long)]
    pub yes: bool,
}

/// What you say to a wave.
#[derive(Debug, Args)]
pub struct Word {
    /// Wave id
    pub wave: WaveId,
    /// Why, in one line; it is kept
    #[arg(long, value_name = "REASON")]
    pub why: String,
}

/// Does what the command says.
pub async fn run(client: &Client, command: WaveCommand, json: bool) -> anyhow::Result<Ending> {
    let view: WaveView = match command {
        WaveCommand::List => return list(client, json).await,
        WaveCommand::Start(start) => {
            let request = StartWave {
                pool: start.pool,
                image: start.image,
                dry_run: start.dry_run,
                confirmed: start.yes,
            };
            client.post("/v1/waves", &request).await?
        }
        WaveCommand::Show { wave } => client.get(&format!("/v1/waves/{wave}")).await?,
        WaveCommand::Halt(said) => say(client, said, "halt").await?,
        WaveCommand::Resume(said) => say(client, said, "resume").await?,
        WaveCommand::Cancel(said) => say(client, said, "cancel").await?,
    };
    if json {
        print_json(&view)?;
    } else {
        print(&describe(&view))?;
    }
    Ok(Ending::Good)
}

async fn say(client: &Client, said: Word, what: &str) -> anyhow::Result<WaveView> {
    let path = format!("/v1/waves/{}/{what}", said.wave);
    client.post(&path, &WaveWord { why: said.why }).await
}

async fn list(client: &Client, json: bool) -> anyhow::Result<Ending> {
    let waves: Vec<WaveView> = client.get("/v1/waves").await?;
    if json {
        print_json(&waves)?;
        return Ok(Ending::Good);
    }
    if waves.is_empty() {
        print("no waves yet; reprieve wave start begins one")?;
        return Ok(Ending::Good);
    }
    let mut rows = table(&["wave", "pool", "image", "state", "nodes", "good", "failed", "skipped", "since"]);
    for wave in &waves {
        rows.add_row([
            wave.id.map(|id| id.to_string()).unwrap_or_default(),
            wave.pool.to_string(),
            short(&wave.image),
            state(&wave.state),
            wave.counts.nodes.to_string(),
            wave.counts.good.to_string(),
            wave.counts.failed.to_string(),
            wave.counts.skipped.to_string(),
            time(wave.started_at),
        ]);
    }
    print(&trimmed(&rows))?;
    Ok(Ending::Good)
}

/// Where a wave stands, in words.
fn state(state: &WaveState) -> String {
    match state {
        WaveState::Rolling(rolling) => format!("rolling ({})", word(&rolling.stage)),
        WaveState::Baking(baking) => format!("baking ({}) since {}", word(&baking.stage), time(baking.since)),
        WaveState::Halted(halted) => format!("HALTED ({}): {}", word(&halted.stage), clean(&halted.because)),
        WaveState::Ended(ended) => match &ended.given_up {
            None => "done".to_owned(),
            Some(why) => format!("given up: {}", clean(why)),
        },
    }
}

fn describe(view: &WaveView) -> String {
    let counts = &view.counts;
    let stages: Vec<String> =
        view.stages.iter().map(|(stage, nodes)| format!("{} {nodes}", word(stage))).collect();
    let mut rows = vec![
        ("wave", Some(view.id.map_or("none yet: begin it with --yes".to_owned(), |id| id.to_string()))),
        ("pool", Some(view.pool.to_string())),
        ("image", Some(view.image.to_string())),
        ("state", Some(state(&view.state))),
        ("stages", Some(stages.join(", "))),
        (
            "nodes",
            Some(format!(
                "{}: {} waiting, {} working, {} good, {} failed, {} skipped",
                counts.nodes, counts.waiting, counts.working, counts.good, counts.failed, counts.skipped
            )),
        ),
    ];
    let exceptions: Vec<String> =
        view.exceptions.iter().map(|(node, why)| format!("{}: {}", short(node), clean(why))).collect();
    rows.extend(exceptions.iter().map(|text| ("not given", Some(text.clone()))));
    let events: Vec<String> =
        view.events.iter().map(|(at, text)| format!("{}  {}", time(*at), clean(text))).collect();
    format!("{}\n{}", properties(rows), events.join("\n"))
}
