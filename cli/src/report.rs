//! `reprieve report …` and `reprieve outcome`: what verdicts saved, and what became of them.

use clap::{Args, Subcommand};
use contract::ledger::{Aftermath, LedgerEntry, NodeNote, OutcomeRequest, SavingsReport, Total};

use crate::Ending;
use crate::client::{Client, escape};
use crate::ledger;
use crate::output::{bytes, clean, print, print_json, properties, short, table, time, trimmed, word};

/// What to report.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// What a month's verdicts saved against wiping always, and how right they were
    Savings {
        /// Which month in UTC, such as 2026-11
        #[arg(long, value_name = "YEAR-MONTH")]
        month: String,
    },
    /// Each verdict of a month that decided something: what it took and what became of it
    Verdicts {
        /// Which month in UTC, such as 2026-11
        #[arg(long, value_name = "YEAR-MONTH")]
        month: String,
    },
}

/// `reprieve outcome`.
#[derive(Debug, Args)]
pub struct Outcome {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// Nothing was wrong with what was taken out
    #[arg(long, required_unless_present = "failed", conflicts_with = "failed")]
    pub fine: bool,
    /// This has failed: `node`, or a part by its id
    #[arg(long, value_name = "COMPONENT")]
    pub failed: Option<String>,
    /// How you know, in one line; it is kept
    #[arg(long, value_name = "REASON")]
    pub why: String,
}

/// `reprieve outcome NODE`.
pub async fn outcome(client: &Client, outcome: Outcome, json: bool) -> anyhow::Result<Ending> {
    let path = format!("/v1/nodes/{}/outcome", escape(&outcome.node));
    let request = OutcomeRequest { failed: outcome.failed, why: outcome.why };
    let entry: LedgerEntry = client.post(&path, &request).await?;
    if json {
        print_json(&entry)?;
    } else {
        let of = format!("{} of {}", word(&entry.action), time(entry.at));
        print(&format!("{of}: {}", became(&entry.aftermath)))?;
    }
    Ok(Ending::Good)
}

/// Does what the command says.
pub async fn run(client: &Client, command: ReportCommand, json: bool) -> anyhow::Result<Ending> {
    match command {
        ReportCommand::Savings { month } => {
            let report: SavingsReport = client.get(&format!("/v1/savings?month={}", escape(&month))).await?;
            if json {
                print_json(&report)?;
            } else {
                print(&savings(&report))?;
            }
        }
        ReportCommand::Verdicts { month } => {
            let of_month = ledger::month(client, &month).await?;
            if json {
                print_json(&of_month.entries)?;
            } else {
                print(&verdicts(&of_month.entries))?;
            }
            if of_month.cut {
                // Programs read the other output.
                eprintln!(
                    "reprieve: month {month} has more verdicts than this command reads; the rest is left out"
                );
            }
        }
    }
    Ok(Ending::Good)
}

fn became(aftermath: &Aftermath) -> String {
    match aftermath {
        Aftermath::Pending => "not known yet".to_owned(),
        Aftermath::Held => "held".to_owned(),
        Aftermath::Failed { subject, because, .. } => {
            format!("failed: {}: {}", clean(&subject.to_string()), clean(because))
        }
        Aftermath::Confirmed { subject, why } => {
            format!("right: {}: {}", clean(&subject.to_string()), clean(why))
        }
        Aftermath::Fine { why } => format!("nothing was wrong: {}", clean(why)),
    }
}

fn verdicts(entries: &[LedgerEntry]) -> String {
    if entries.is_empty() {
        return "no verdict decided anything in that month".to_owned();
    }
    let mut rows = table(&["node", "when", "action", "minutes", "to flash", "became"]);
    for entry in entries {
        rows.add_row([
            short(&entry.node),
            time(entry.at),
            word(&entry.action),
            minutes(i64::try_from(entry.spent.milliminutes).unwrap_or(i64::MAX)),
            bytes(entry.spent.flash_bytes),
            became(&entry.aftermath),
        ]);
    }
    trimmed(&rows)
}

/// A month in words.
fn savings(report: &SavingsReport) -> String {
    let mut actions = table(&["action", "verdicts", "minutes", "to flash", "energy"]);
    for total in &report.actions {
        let spent = &total.spent;
        actions.add_row([
            word(&total.action),
            total.verdicts.to_string(),
            minutes(i64::try_from(spent.milliminutes).unwrap_or(i64::MAX)),
            bytes(spent.flash_bytes),
            kilowatt_hours(i64::try_from(spent.watt_hours).unwrap_or(i64::MAX)),
        ]);
    }
    let expected: Vec<String> = report
        .expected_failures
        .iter()
        .map(|kind| {
            let failures = kind.failures_thousandths as f64 / 1000.0;
            format!("{failures:.3} of {} {}", kind.parts, word(&kind.kind))
        })
        .collect();
    let quarantines = format!(
        "{}, of these {} for nothing and {} not looked at yet",
        report.quarantines, report.false_quarantines, report.quarantines_pending
    );
    let saved = properties(vec![
        ("month", Some(clean(&report.month))),
        ("node-minutes saved", Some(range(&report.milliminutes, minutes))),
        ("flash not written", Some(range(&report.flash_bytes, signed_bytes))),
        ("energy saved", Some(range(&report.watt_hours, kilowatt_hours))),
        ("not counted", (report.not_counted > 0).then(|| format!("{} verdicts", report.not_counted))),
        ("escapes", Some(notes(&report.escapes))),
        ("quarantines", Some(quarantines)),
        ("certificates", Some(report.certificates.to_string())),
        ("repeat offenders", Some(notes(&report.repeat_offenders))),
        (
            "expected to fail",
            (!expected.is_empty())
                .then(|| format!("within {} days: {}", report.horizon_days, expected.join(", "))),
        ),
    ]);
    let assumptions: Vec<String> =
        report.assumptions.iter().map(|line| format!("  {}", clean(line))).collect();
    format!("{}\n\n{saved}\n\nCounted so:\n{}", trimmed(&actions), assumptions.join("\n"))
}

fn notes(notes: &[NodeNote]) -> String {
    if notes.is_empty() {
        return "none".to_owned();
    }
    let named: Vec<String> = notes
        .iter()
        .take(10)
        .map(|note| format!("{} ({} times, last: {})", short(&note.node), note.times, clean(&note.because)))
        .collect();
    format!("{}: {}", notes.len(), named.join("; "))
}

fn range(total: &Total, show: impl Fn(i64) -> String) -> String {
    match (total.low, total.high) {
        (Some(low), Some(high)) => format!("{} (95 %: {} to {})", show(total.sum), show(low), show(high)),
        _ => format!("{} (too few for a range)", show(total.sum)),
    }
}

fn minutes(milliminutes: i64) -> String {
    format!("{:.1}", milliminutes as f64 / 1000.0)
}

fn kilowatt_hours(watt_hours: i64) -> String {
    format!("{:.2} kWh", watt_hours as f64 / 1000.0)
}

fn signed_bytes(count: i64) -> String {
    let sign = if count < 0 { "-" } else { "" };
    format!("{sign}{}", bytes(count.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::decision::Action;
    use contract::id::NodeId;
    use contract::ledger::{ActionTotal, Amount};

    #[test]
    fn a_month_is_told_with_ranges_and_with_what_went_wrong() {
        let total = |sum| Total { sum, low: Some(sum - 500), high: Some(sum + 500) };
        let report = SavingsReport {
            month: "2026-11".to_owned(),
            formula: 1,
            assumptions: vec!["a node needs 400 watts\u{1b}[2J".to_owned()],
            actions: vec![ActionTotal { action: Action::Keep, verdicts: 3, spent: Amount::default() }],
            not_counted: 0,
            milliminutes: total(90_000),
            flash_bytes: Total { sum: -1024, low: None, high: None },
            watt_hours: total(600),
            escapes: vec![NodeNote {
                node: NodeId(uuid::Uuid::from_u128(1)),
                times: 2,
                because: "a disk failed".to_owned(),
            }],
            quarantines: 4,
            false_quarantines: 1,
            quarantines_pending: 2,
            certificates: 5,
            repeat_offenders: Vec::new(),
            expected_failures: Vec::new(),
            horizon_days: 30,
        };
        let text = savings(&report);
        for words in [
            "90.0 (95 %: 89.5 to 90.5)",
            "-1.0 KiB (too few for a range)",
            "1: 00000000-0000 (2 times, last: a disk failed)",
            "4, of these 1 for nothing and 2 not looked at yet",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
