//! `reprieve model …`: what verdicts foretell with, how well it did, and whether the fleet knows better.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use contract::id::UnixMillis;
use contract::ledger::LedgerEntry;
use contract::model_api::ModelView;
use serde::Serialize;
use verdict::learning::{self, PartOutcome, Score};
use verdict::model::Model;

use crate::Ending;
use crate::client::Client;
use crate::ledger;
use crate::output::{clean, print, print_json, table, time, trimmed};

/// How large a model file may be, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Print the model in force, with its digest and the source of each figure
    Show,
    /// Check a model file without the service; exit status 1 names line, key and the nearest known name
    Check {
        /// The file
        file: PathBuf,
    },
    /// Report how well verdicts foretold failures: Brier score and reliability
    Report {
        /// Verdicts of this many months, the present one included
        #[arg(long, value_name = "MONTHS", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=60))]
        months: u32,
    },
    /// Teach a model with the fleet's outcomes and try it on the newest fifth of them; exit status 3 if it is
    /// not better than the one in force
    Learn {
        /// Verdicts of this many months, the present one included
        #[arg(long, value_name = "MONTHS", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=60))]
        months: u32,
        /// Write the model there if it is better; the service takes it as its `model` at its next start or SIGHUP
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
}

/// How the model in force did.
#[derive(Debug, Serialize)]
struct Report {
    /// Parts that were watched after a verdict.
    watched: usize,
    /// Verdicts were left out, because a month has more than one answer holds.
    cut: bool,
    /// What verdicts said at their time.
    score: Score,
}

/// What was taught.
#[derive(Debug, Serialize)]
struct Taught {
    digest: String,
    in_force: Score,
    taught: Score,
    refused: Option<String>,
}

/// The commands that need no service; none if this one does.
pub fn offline(command: &ModelCommand) -> Option<anyhow::Result<Ending>> {
    match command {
        ModelCommand::Check { file } => Some(check(file)),
        ModelCommand::Show | ModelCommand::Report { .. } | ModelCommand::Learn { .. } => None,
    }
}

/// Does what the command says.
pub async fn run(client: &Client, command: ModelCommand, json: bool) -> anyhow::Result<Ending> {
    match command {
        ModelCommand::Show => {
            let view: ModelView = client.get("/v1/model").await?;
            if json {
                print_json(&view)?
            } else {
                print(&shown(&view))?
            }
            Ok(Ending::Good)
        }
        ModelCommand::Check { file } => check(&file),
        ModelCommand::Report { months } => report(client, months, json).await,
        ModelCommand::Learn { months, write } => learn(client, months, write.as_deref(), json).await,
    }
}

/// The model as a file that can be read again: what is said of it stands in comments.
fn shown(view: &ModelView) -> String {
    let read = view.read_at.map_or_else(String::new, |at| format!(", read {}", time(at)));
    let mut text = format!("# model {}{read}\n", view.digest);
    if let Some(problem) = &view.problem {
        text.push_str("# THE FILE AS IT IS NOW WAS NOT TAKEN\n");
        for line in clean(problem).lines() {
            text.push_str(&format!("# {line}\n"));
        }
    }
    text.push_str(clean(&view.text).trim_end());
    text
}

fn check(file: &Path) -> anyhow::Result<Ending> {
    let size = std::fs::metadata(file).with_context(|| format!("could not read {}", file.display()))?.len();
    anyhow::ensure!(
        size <= FILE_BYTES_MAX,
        "{} has {size} bytes; a model has at most {FILE_BYTES_MAX}",
        file.display()
    );
    let text = std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
    let model = Model::parse(&text).with_context(|| file.display().to_string())?;
    print(&format!("{} is a model: {}", file.display(), model.digest()))?;
    Ok(Ending::Good)
}

async fn report(client: &Client, months: u32, json: bool) -> anyhow::Result<Ending> {
    let (outcomes, cut) = outcomes(client, months).await?;
    let known = outcomes.iter().filter(|outcome| outcome.known);
    let forecasts: Vec<(u64, bool)> =
        known.map(|outcome| (outcome.forecast_parts_per_million, outcome.failed_in_horizon)).collect();
    let report = Report { watched: outcomes.len(), cut, score: learning::score(&forecasts) };
    if json {
        print_json(&report)?;
    } else {
        let head =
            format!("{} parts were watched after a verdict.\n{}", report.watched, words(&report.score));
        let note = if cut {
            "\nA month has more verdicts than this command reads; the rest was left out."
        } else {
            ""
        };
        print(&format!("{head}{note}"))?;
    }
    Ok(Ending::Good)
}

async fn learn(client: &Client, months: u32, write: Option<&Path>, json: bool) -> anyhow::Result<Ending> {
    let view: ModelView = client.get("/v1/model").await?;
    let in_force = Model::parse(&view.text)
        .context("the service's model cannot be read; this command may be older than the service")?;
    let outcomes = whole(outcomes(client, months).await?)?;
    let proposal = learning::propose(&in_force, &outcomes).context("could not teach a model")?;
    let better = proposal.refused.is_none();
    if let (true, Some(file)) = (better, write) {
        let text = proposal.candidate.canonical_text().context("could not write the model down")?;
        std::fs::write(file, text).with_context(|| format!("could not write {}", file.display()))?;
    }
    if json {
        print_json(&Taught {
            digest: proposal.candidate.digest().to_string(),
            in_force: proposal.in_use,
            taught: proposal.taught,
            refused: proposal.refused,
        })?;
    } else {
        let verdict = match (&proposal.refused, write) {
            (Some(why), _) => format!("The model in force stays: {why}."),
            (None, Some(file)) => format!("The taught model is better; it is in {}.", file.display()),
            (None, None) => "The taught model is better; --write FILE keeps it.".to_owned(),
        };
        print(&format!(
            "On the newest fifth, which it was not taught with:\n\nThe model in force\n{}\n\nThe taught model\n{}\n\n{verdict}",
            words(&proposal.in_use),
            words(&proposal.taught)
        ))?;
    }
    Ok(if better { Ending::Good } else { Ending::NotReached })
}

/// What a model may be taught with: a part of what happened would teach it something else.
fn whole((outcomes, cut): (Vec<PartOutcome>, bool)) -> anyhow::Result<Vec<PartOutcome>> {
    anyhow::ensure!(
        !cut,
        "a month has more verdicts than this command reads, and a model is not taught with a part of them; name fewer months (`--months`)"
    );
    Ok(outcomes)
}

/// What became of parts, and whether verdicts were left out.
async fn outcomes(client: &Client, months: u32) -> anyhow::Result<(Vec<PartOutcome>, bool)> {
    let now = jiff::Timestamp::now();
    let mut entries: Vec<LedgerEntry> = Vec::new();
    let mut cut = false;
    let mut day = now.to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month();
    for _ in 0..months {
        let month = format!("{:04}-{:02}", day.year(), day.month());
        let of_month = ledger::month(client, &month).await?;
        cut |= of_month.cut;
        entries.extend(of_month.entries);
        day = day.yesterday().context("there is no earlier month")?.first_of_month();
    }
    let now = UnixMillis(u64::try_from(now.as_millisecond()).unwrap_or(0));
    Ok((learning::outcomes(&entries, now), cut))
}

fn words(score: &Score) -> String {
    if score.forecasts == 0 {
        return "No forecast is old enough to be scored.".to_owned();
    }
    let mut rows = table(&["foretold", "forecasts", "on average", "came", "failures"]);
    for bin in &score.reliability {
        rows.add_row([
            format!("{} to {}", percent(bin.from_parts_per_million), percent(bin.below_parts_per_million)),
            bin.forecasts.to_string(),
            percent(bin.foretold_parts_per_million),
            percent(bin.came_parts_per_million),
            bin.failures.to_string(),
        ]);
    }
    format!(
        "{} forecasts, {} failures. Brier score {}; foretelling the average for all has {}.\n{}",
        score.forecasts,
        score.failures,
        millionths(score.brier_parts_per_million),
        millionths(score.brier_of_average_parts_per_million),
        trimmed(&rows)
    )
}

/// `0.13 %` of parts per million.
fn percent(parts_per_million: u64) -> String {
    let hundredths = parts_per_million.saturating_add(50) / 100;
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn millionths(parts: u64) -> String {
    format!("{}.{:06}", parts / 1_000_000, parts % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_model_is_taught_with_a_part_of_the_ledger() {
        assert!(whole((Vec::new(), false)).is_ok());
        let refused = whole((Vec::new(), true)).unwrap_err().to_string();
        assert!(refused.contains("--months"), "{refused}");
    }
}
