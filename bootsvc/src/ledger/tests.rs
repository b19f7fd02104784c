use contract::decision::{Confidentiality, Finding, Fitness, Integrity, Severity};
use contract::id::{Digest, EvidenceId, NodeId, PolicyDigest};
use contract::ledger::Amount;
use uuid::Uuid;

use super::*;

fn decision(evidence: u128, action: Action, axis: Axis, rule: &str) -> Decision {
    Decision {
        node: NodeId(Uuid::from_u128(1)),
        evidence: EvidenceId(Uuid::from_u128(evidence)),
        decided_at: UnixMillis(0),
        confidentiality: Confidentiality::KeepData,
        integrity: Integrity::Intact,
        fitness: Fitness::Fit,
        action,
        reasons: vec![Finding {
            rule: rule.to_owned(),
            axis,
            severity: Severity::Critical,
            subject: Subject::Node,
            key: None,
            observed: String::new(),
            threshold: String::new(),
            source: String::new(),
            statement: "it is so".to_owned(),
        }],
        findings: Vec::new(),
        rejected: Vec::new(),
        what_would_change_it: Vec::new(),
        policy: PolicyDigest(Digest::of(b"policy")),
        engine: String::new(),
        model: None,
        costs: Vec::new(),
        forecast: Vec::new(),
        readiness: None,
        remedies: Vec::new(),
    }
}

fn entry(action: Action, rule: &str) -> LedgerEntry {
    LedgerEntry {
        evidence: EvidenceId(Uuid::from_u128(1)),
        node: NodeId(Uuid::from_u128(1)),
        job: None,
        at: UnixMillis(100),
        action,
        rule: rule.to_owned(),
        policy: PolicyDigest(Digest::of(b"policy")),
        model: None,
        formula: savings::FORMULA,
        always_wipe: None,
        spent: Amount::default(),
        forecast: Vec::new(),
        due_at: UnixMillis(1000),
        aftermath: Aftermath::Pending,
        aftermath_at: UnixMillis(100),
    }
}

#[test]
fn what_a_later_verdict_says_of_an_earlier_one() {
    use Action::{Keep, LookDeeper, Quarantine, Repair, Wipe};
    let files = "integrity/files";
    let fit = |action| decision(2, action, Axis::Confidentiality, "confidentiality/data-owner");
    let sick = decision(2, Quarantine, Axis::Fitness, "fitness/disk-read-errors");
    let again = decision(2, Repair, Axis::Integrity, files);
    let other = decision(2, Repair, Axis::Integrity, "integrity/partitions");
    let table = [
        ("kept and sick in time", entry(Keep, files), &sick, 999, "failed"),
        ("kept and sick too late", entry(Keep, files), &sick, 1000, "-"),
        ("kept and seen well in time", entry(Keep, files), &fit(Keep), 999, "-"),
        ("kept and seen well when due", entry(Keep, files), &fit(Keep), 1000, "held"),
        ("not seen enough when due", entry(Keep, files), &fit(LookDeeper), 1000, "-"),
        ("another tenant says nothing", entry(Keep, files), &fit(Wipe), 999, "-"),
        ("repaired and the same again", entry(Repair, files), &again, 999, "failed"),
        ("repaired and something else", entry(Repair, files), &other, 999, "-"),
        ("kept and altered later", entry(Keep, files), &again, 999, "-"),
        ("taken out is for a person to say", entry(Quarantine, files), &sick, 999, "-"),
        ("itself", entry(Keep, files), &decision(1, Quarantine, Axis::Fitness, "x"), 999, "-"),
    ];
    for (name, entry, later, now, expected) in table {
        let word = match aftermath(&entry, later, UnixMillis(now)) {
            None => "-",
            Some(Aftermath::Held) => "held",
            Some(Aftermath::Failed { by, .. }) if by == Some(later.evidence) => "failed",
            other => panic!("{other:?}"),
        };
        assert_eq!(word, expected, "{name}");
    }
    let settled = LedgerEntry { aftermath: Aftermath::Held, ..entry(Keep, files) };
    assert_eq!(aftermath(&settled, &sick, UnixMillis(999)), None, "what is settled stays");
}
