//! A decision in words, as one person would tell it to another.

mod outlook;

use contract::decision::{
    Action, Confidentiality, Decision, Finding, Fitness, Integrity, SanitizeLevel, Severity,
};

use crate::judge::action_name;
use crate::plain::plain;

/// The decision as text: the action and its main reason as a person would say them, the three axes, the
/// evidence with thresholds and sources, what is ahead, what would change it, and what was rejected. Whatever
/// comes from the machine is escaped.
#[must_use]
pub fn explain(decision: &Decision) -> String {
    let mut text = String::new();
    let reason =
        decision.reasons.first().map_or("no reason was recorded", |finding| finding.statement.as_str());
    line(
        &mut text,
        &format!("{}: {}", action_name(decision.action).to_uppercase(), meaning(decision.action)),
    );
    line(&mut text, &plain(reason));
    line(&mut text, "");
    line(&mut text, &format!("Confidentiality  {}", plain(&confidentiality(&decision.confidentiality))));
    line(&mut text, &format!("Integrity        {}", integrity(decision.integrity)));
    line(&mut text, &format!("Fitness          {}", fitness(decision.fitness)));
    section(&mut text, "Why", &decision.reasons.iter().map(finding).collect::<Vec<_>>());
    let watched = decision
        .findings
        .iter()
        .filter(|found| found.severity == Severity::Warning && !decision.reasons.contains(found));
    section(&mut text, "Worth a look", &watched.map(finding).collect::<Vec<_>>());
    section(&mut text, "What to try", &outlook::remedies(decision));
    table(&mut text, "What each action costs", &outlook::costs(decision));
    section(&mut text, "What may fail", &outlook::forecast(decision));
    let ready = decision.readiness.as_ref().map(outlook::readiness).unwrap_or_default();
    section(&mut text, "How ready it is", &ready);
    let changes = decision.what_would_change_it.iter().map(|change| plain(change));
    section(&mut text, "What would change it", &changes.collect::<Vec<_>>());
    let rejected = decision
        .rejected
        .iter()
        .map(|other| format!("{}: {}", action_name(other.action), plain(&other.because)));
    section(&mut text, "Why not another action", &rejected.collect::<Vec<_>>());
    judged_by(&mut text, decision);
    text
}

fn judged_by(text: &mut String, decision: &Decision) {
    line(text, "");
    line(text, &format!("Judged by {} under policy {}", decision.engine, decision.policy));
    if let Some(model) = decision.model {
        line(text, &format!("with model {model}"));
    }
    line(text, &format!("on evidence {}; {} findings in all.", decision.evidence, decision.findings.len()));
}

/// One line, or several where the words themselves have been put on several; nothing else breaks a line.
fn line(text: &mut String, words: &str) {
    for (at, part) in words.split('\n').enumerate() {
        if at > 0 {
            text.push('\n');
        }
        text.push_str(&plain(part));
    }
    text.push('\n');
}

fn table(text: &mut String, title: &str, rows: &[String]) {
    if rows.is_empty() {
        return;
    }
    line(text, &format!("\n{title}"));
    for row in rows {
        line(text, row);
    }
}

fn section(text: &mut String, title: &str, entries: &[String]) {
    let entries: Vec<String> = entries.iter().map(|entry| format!("  - {entry}")).collect();
    table(text, title, &entries);
}

fn finding(finding: &Finding) -> String {
    format!(
        "{}\n    seen: {}; accepted: {} ({}: {})",
        plain(&finding.statement),
        plain(&finding.observed),
        plain(&finding.threshold),
        finding.rule,
        plain(&finding.source)
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
