//! A decision in words, as one person would tell it to another.

use std::fmt::Write;

use contract::decision::{
    Action, Confidentiality, Decision, Finding, Fitness, Integrity, SanitizeLevel, Severity,
};

use crate::judge::action_name;

/// The decision as text: the action and its main reason, the evidence with thresholds and sources,
/// what to watch, what would change it, and what was rejected.
#[must_use]
pub fn explain(decision: &Decision) -> String {
    let mut text = String::new();
    let reason =
        decision.reasons.first().map_or("no reason was recorded", |finding| finding.statement.as_str());
    line(
        &mut text,
        format_args!("{}: {}", action_name(decision.action).to_uppercase(), meaning(decision.action)),
    );
    line(&mut text, format_args!("{reason}"));
    line(&mut text, format_args!(""));
    line(&mut text, format_args!("Confidentiality  {}", confidentiality(&decision.confidentiality)));
    line(&mut text, format_args!("Integrity        {}", integrity(decision.integrity)));
    line(&mut text, format_args!("Fitness          {}", fitness(decision.fitness)));
    section(&mut text, "Why", &decision.reasons.iter().map(finding).collect::<Vec<_>>());
    let watched = decision
        .findings
        .iter()
        .filter(|found| found.severity == Severity::Warning && !decision.reasons.contains(found));
    section(&mut text, "Worth a look", &watched.map(finding).collect::<Vec<_>>());
    section(&mut text, "What would change it", &decision.what_would_change_it);
    let rejected =
        decision.rejected.iter().map(|other| format!("{}: {}", action_name(other.action), other.because));
    section(&mut text, "Why not another action", &rejected.collect::<Vec<_>>());
    line(&mut text, format_args!(""));
    line(&mut text, format_args!("Judged by {} under policy {}", decision.engine, decision.policy));
    line(
        &mut text,
        format_args!("on evidence {}; {} findings in all.", decision.evidence, decision.findings.len()),
    );
    text
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{words}");
}

fn section(text: &mut String, title: &str, entries: &[String]) {
    if entries.is_empty() {
        return;
    }
    line(text, format_args!("\n{title}"));
    for entry in entries {
        line(text, format_args!("  - {entry}"));
    }
}

fn finding(finding: &Finding) -> String {
    format!(
        "{}\n    seen: {}; accepted: {} ({}: {})",
        finding.statement, finding.observed, finding.threshold, finding.rule, finding.source
    )
}

fn meaning(action: Action) -> &'static str {
    match action {
        Action::Keep => "nothing is written; the node goes back to work.",
        Action::LookDeeper => "nothing is written; the node has to be looked at from the ramdisk.",
        Action::Repair => {
            "altered and missing immutable files and partitions are put back; local state stays."
        }
        Action::Reimage => "the operating system's disk is made identical to the image; other disks stay.",
        Action::Wipe => "the disks are sanitized, then the image is installed.",
        Action::Quarantine => "nothing is written; the node is taken out until a person has looked.",
    }
}

fn confidentiality(verdict: &Confidentiality) -> String {
    match verdict {
        Confidentiality::KeepData => "the data may stay".to_owned(),
        Confidentiality::Sanitize { level, disks } => {
            let level = match level {
                SanitizeLevel::Clear => "clear",
                SanitizeLevel::Purge => "purge",
            };
            let names: Vec<&str> = disks.iter().map(|disk| disk.as_str()).collect();
            format!("sanitize to the level {level}: {}", names.join(", "))
        }
        Confidentiality::Undetermined { why } => {
            format!("the data may not stay, but could not be located: {why}")
        }
    }
}

fn integrity(verdict: Integrity) -> &'static str {
    match verdict {
        Integrity::Intact => "the software is what was assigned, as far as anything is assigned",
        Integrity::Repair => "some immutable files or partitions are not what was assigned",
        Integrity::Reimage => "it is another image or none, or could not be seen",
    }
}

fn fitness(verdict: Fitness) -> &'static str {
    match verdict {
        Fitness::Fit => "nothing speaks against the hardware",
        Fitness::Watch => "something should be looked at again",
        Fitness::Quarantine => "the hardware is not fit for service",
    }
}
