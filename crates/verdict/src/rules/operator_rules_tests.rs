//! What the operator's rules make of evidence.

use contract::decision::{Action, Confidentiality, Severity};

use super::*;
use crate::policy::Policy;
use crate::testing::Case;

fn ruled(case: Case, when: &str, action: &str) -> Case {
    let text = format!(
        "[[rule]]\nname = \"mine\"\nwhen = {when:?}\naction = \"{action}\"\nwhy = \"we saw it fail\"\n"
    );
    Case { policy: Policy::parse(&text).unwrap(), ..case }
}

const READ_ERRORS: &str = "evidence.disk_read_errors.exists(r, r.value >= 0)";

#[test]
fn each_action_is_the_least_that_follows() {
    let table = [
        ("watch", Action::Keep),
        ("repair", Action::Keep),
        ("reimage", Action::Reimage),
        ("sanitize", Action::Wipe),
        ("quarantine", Action::Quarantine),
    ];
    for (action, expected) in table {
        let case = ruled(Case::healthy(), READ_ERRORS, action);
        assert_eq!(case.action(), expected, "{action}");
        let decision = case.judge();
        let finding = decision.findings.iter().find(|found| found.rule == "policy/rule-mine").unwrap();
        assert!(finding.statement.contains("we saw it fail"), "{finding:?}");
        assert!(finding.observed.contains("disk-read-errors of disk"), "{finding:?}");
        assert_eq!(ruled(Case::healthy(), "evidence.trust < 0", action).action(), Action::Keep);
    }
    let decision = ruled(Case::healthy(), READ_ERRORS, "sanitize").judge();
    assert!(matches!(decision.confidentiality, Confidentiality::Sanitize { disks, .. } if disks.len() == 2));
    let resident = ruled(Case::healthy().resident(), READ_ERRORS, "repair");
    assert_eq!(
        resident.action(),
        Action::Repair,
        "whether anything has to be put back is seen in the ramdisk"
    );
}

/// In the ramdisk nobody can look deeper, so what the rule names follows.
#[test]
fn what_is_not_known_is_never_no() {
    let when = "evidence.gpu_uncorrected_errors.exists(r, r.value > 0)";
    for (case, expected) in
        [(Case::healthy().resident(), Action::LookDeeper), (Case::healthy(), Action::Quarantine)]
    {
        let case = ruled(case, when, "quarantine");
        assert_eq!(case.action(), expected);
        let decision = case.judge();
        let finding = decision.findings.iter().find(|found| found.rule == "policy/rule-mine").unwrap();
        assert_eq!(finding.severity, Severity::Unknown);
        assert!(finding.statement.contains("gpu_uncorrected_errors"), "{finding:?}");
    }
    let unreadable =
        Case::healthy().unreadable(crate::testing::disk_subject("virtio-os"), ReadingKey::DiskReadOnly);
    let when = "evidence.disk_read_only.exists(r, r.value)";
    assert_eq!(
        ruled(unreadable, when, "reimage")
            .judge()
            .findings
            .iter()
            .filter(|f| f.rule == "policy/rule-mine")
            .count(),
        1
    );
    let asked = "has(evidence.gpu_uncorrected_errors) && evidence.gpu_uncorrected_errors.size() > 0";
    assert_eq!(ruled(Case::healthy(), asked, "quarantine").action(), Action::Keep);
}

#[test]
fn what_is_looked_for_and_not_there_is_an_empty_list() {
    let absent = Case::healthy().outcome(Subject::Node, ReadingKey::KernelTaint, Outcome::Absent);
    let when = "evidence.kernel_taint.exists(r, r.value > 0)";
    assert_eq!(ruled(absent, when, "quarantine").action(), Action::Keep);
}

#[test]
fn node_and_time_can_be_asked() {
    for (when, expected) in [
        ("node.pool == 'pool' && !node.protected", Action::Quarantine),
        ("node.pool == 'gpu'", Action::Keep),
        ("node.memory_bytes < 8589934592 && node.cpu_count == 2", Action::Quarantine),
        ("now > 1800000001", Action::Keep),
        ("now >= 1800000000 && evidence.age_seconds < 60", Action::Quarantine),
        ("node.serial.startsWith('S')", Action::Quarantine),
    ] {
        assert_eq!(ruled(Case::healthy(), when, "quarantine").action(), expected, "{when}");
    }
}

#[test]
fn a_rule_that_cannot_be_meant_is_refused_with_its_line_and_the_nearest_name() {
    let rule = |when: &str| {
        format!(
            "\n[[rule]]\nname = \"other\"\naction = \"watch\"\nwhy = \"w\"\nwhen = \"true\"\n[[rule]]\nname = \"mine\"\naction = \"watch\"\nwhy = \"w\"\nwhen = {when:?}\n"
        )
    };
    let error =
        Policy::layered(&[("site.toml", ""), ("gpu.toml", &rule("evidence.nvme_media_error.size() > 0"))])
            .unwrap_err();
    let named = (error.layer.as_str(), error.line, error.key.as_str(), error.suggestion.as_deref());
    assert_eq!(named, ("gpu.toml", 11, "mine.when", Some("nvme_media_errors")), "{error}");
    let error = Policy::parse(&rule("true").replace("\"watch\"", "\"keep\"")).unwrap_err();
    assert!(error.to_string().contains("keep"), "{error}");
    let error = Policy::parse(&rule("true").replace("other", "mine")).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}

#[test]
fn a_pools_rule_takes_the_place_of_the_sites_with_the_same_name() {
    let rule = |name: &str, action: &str| {
        format!("[[rule]]\nname = \"{name}\"\nwhen = \"true\"\naction = \"{action}\"\nwhy = \"w\"\n")
    };
    let site = rule("a", "quarantine") + &rule("b", "watch");
    let policy = Policy::layered(&[("site", &site), ("pool", &rule("a", "watch"))]).unwrap();
    let case = Case { policy, ..Case::healthy() };
    assert_eq!(case.action(), Action::Keep);
    assert_eq!(case.judge().findings.iter().filter(|f| f.rule.starts_with("policy/rule-")).count(), 2);
    assert_eq!(Policy::parse(case.policy.canonical_text()).unwrap().digest(), case.policy.digest());
}
