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

/// The finding of the rule; none if it does not apply.
fn severity(case: &Case) -> Option<Severity> {
    let decision = case.judge();
    decision.findings.iter().find(|found| found.rule == "policy/rule-mine").map(|found| found.severity)
}

#[test]
fn a_reading_that_is_missed_is_never_no() {
    use crate::testing::{DATA_DISK, disk, disk_subject, nvme};
    let second = || disk_subject("nvme-eui.second");
    let used = ReadingKey::NvmePercentageUsed;
    let two = Case::healthy()
        .evidence(|evidence| {
            let Outcome::Value(disks) = &mut evidence.inventory.disks else { panic!("no disks") };
            let of = disk("nvme-eui.second", "nvme1n1", contract::inventory::Transport::Nvme, 64 << 30);
            disks.push(contract::inventory::DiskFacts { nvme: Outcome::Value(nvme(1)), ..of });
        })
        .count(disk_subject(DATA_DISK), used, 10)
        .count(second(), used, 96);
    for when in [
        "evidence.nvme_percentage_used.exists(r, r.value > 95)",
        "has(evidence.nvme_percentage_used) && evidence.nvme_percentage_used.exists(r, r.value > 95)",
    ] {
        let worn = ruled(two.clone(), when, "quarantine");
        assert_eq!(severity(&worn), Some(Severity::Critical), "{when}");
        // Every agent reads it of such a disk, and of no other.
        let lost = worn.clone().untried(&second(), used);
        assert_eq!(severity(&lost), Some(Severity::Unknown), "{when}");
        assert_eq!(lost.resident().action(), Action::LookDeeper, "{when}");
        let all_lost = worn.untried(&second(), used).untried(&disk_subject(DATA_DISK), used);
        assert_eq!(severity(&all_lost), Some(Severity::Unknown), "{when}");
        assert_eq!(severity(&ruled(Case::healthy(), when, "quarantine")), None, "{when}");
    }
    // What was counted when the node was found right is missed, unless it needs a driver or is known by its place.
    for (subject, key, name, missed) in [
        (disk_subject(DATA_DISK), ReadingKey::DiskBytesWritten, "disk_bytes_written", true),
        (second(), ReadingKey::DiskBytesWritten, "disk_bytes_written", false),
        (
            Subject::MemoryModule("A1".to_owned()),
            ReadingKey::MemoryCorrectedErrors,
            "memory_corrected_errors",
            true,
        ),
        (Subject::Node, ReadingKey::MemoryPoisonedBytes, "memory_poisoned_bytes", true),
        (Subject::Node, ReadingKey::ProcessorThrottles, "processor_throttles", false),
        (
            Subject::PciDevice("0000:3b:00.0".to_owned()),
            ReadingKey::PcieFatalErrors,
            "pcie_fatal_errors",
            false,
        ),
        (Subject::Gpu("GPU-1".to_owned()), ReadingKey::GpuUncorrectedErrors, "gpu_uncorrected_errors", false),
    ] {
        let when = format!("has(evidence.{name}) && evidence.{name}.exists(r, r.value > 5)");
        let case = ruled(Case::healthy(), &when, "watch").context(|context| {
            let (boot_id, observed_at) =
                (contract::id::BootId(uuid::Uuid::nil()), contract::id::UnixMillis(1));
            context.baselines = vec![Baseline { subject, key, count: 1, boot_id, observed_at }];
        });
        assert_eq!(severity(&case), missed.then_some(Severity::Unknown), "{name}");
    }
}

#[test]
fn more_readings_than_can_be_gone_through_are_neither_yes_nor_no() {
    let mut case = Case::healthy();
    let template = case.evidence.readings[0].clone();
    for slot in 0..=ITEMS_MAX {
        let (subject, key) = (Subject::PciDevice(format!("{slot:04}")), ReadingKey::PcieFatalErrors);
        let outcome = Outcome::Value(ReadingValue::Count(0));
        case.evidence.readings.push(Reading { subject, key, outcome, ..template.clone() });
    }
    for when in [
        "evidence.pcie_fatal_errors.exists(r, r.value > 5)",
        "has(evidence.pcie_fatal_errors) && evidence.pcie_fatal_errors.exists(r, r.value > 5)",
        "has(evidence.pcie_fatal_errors) && evidence.pcie_fatal_errors.size() > 1000",
    ] {
        assert_eq!(severity(&ruled(case.clone(), when, "watch")), Some(Severity::Unknown), "{when}");
        let mut few = case.clone();
        few.evidence.readings.pop();
        assert_eq!(severity(&ruled(few, when, "watch")), None, "{when}");
    }
}

/// Of the machine, too, what could not be read is not what is not there.
#[test]
fn what_could_not_be_read_of_the_machine_is_there() {
    let when = "has(node.serial) && node.serial == 'X1'";
    let with = |serial| {
        let case = Case::healthy().evidence(|evidence| evidence.inventory.serial = serial);
        severity(&ruled(case, when, "watch"))
    };
    assert_eq!(with(Outcome::Absent), None);
    assert_eq!(with(Outcome::Value("X2".to_owned())), None);
    assert_eq!(with(Outcome::Value("X1".to_owned())), Some(Severity::Warning));
    assert_eq!(with(Outcome::Unreadable("EIO".to_owned())), Some(Severity::Unknown));
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

/// H9: what the site demands or holds, no pool takes back by giving its own the same name.
#[test]
fn a_pools_hold_or_rule_takes_no_other_ones_place() {
    let rule = |name: &str, action: &str| {
        format!("[[rule]]\nname = \"{name}\"\nwhen = \"true\"\naction = \"{action}\"\nwhy = \"w\"\n")
    };
    let hold = |name: &str| format!("[[hold]]\nname = \"{name}\"\ntenants = [\"acme\"]\nwhy = \"court\"\n");
    let site = rule("a", "quarantine") + &hold("case-17");
    for (pool, line, key) in [
        (rule("b", "watch") + &rule("a", "watch"), 7, "a.name"),
        (hold("b") + &hold("case-17"), 6, "case-17.name"),
    ] {
        let error = Policy::layered(&[("site.toml", &site), ("pools/gpu.toml", &pool)]).unwrap_err();
        let named = (error.layer.as_str(), error.line, error.key.as_str());
        assert_eq!(named, ("pools/gpu.toml", line, key), "{error}");
        assert!(error.to_string().contains("another name"), "{error}");
    }
    let pool = rule("b", "watch") + &hold("case-18");
    let policy = Policy::layered(&[("site.toml", &site), ("pools/gpu.toml", &pool)]).unwrap();
    let case = Case { policy, ..Case::healthy() };
    assert_eq!(case.action(), Action::Quarantine);
    assert_eq!(case.judge().findings.iter().filter(|f| f.rule.starts_with(NAMES)).count(), 2);
    assert_eq!(Policy::parse(case.policy.canonical_text()).unwrap().digest(), case.policy.digest());
}
