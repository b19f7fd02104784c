use contract::assignment::{PastFinding, PastRemedy, PastVerdict, Recalled};
use contract::decision::Action;
use contract::id::{EvidenceId, UnixMillis};
use contract::outlook::Fix;
use contract::reading::{ReadingKey as Key, Subject, Tier};
use uuid::Uuid;

use super::LADDERS;
use crate::recall::recall;
use crate::testing::{Case, DATA_DISK, NOW, disk_subject};

const RULE: &str = "fitness/nvme-media-errors";

/// A look of the past that named a remedy, or found nothing.
fn past(hours_ago: u64, named: Option<Fix>) -> PastVerdict {
    let remedy = |fix| PastRemedy { fix, subject: disk_subject(DATA_DISK), rule: RULE.to_owned() };
    PastVerdict {
        evidence: EvidenceId(Uuid::from_u128(u128::from(hours_ago))),
        decided_at: UnixMillis(NOW.0 - hours_ago * 3_600_000),
        action: Action::Keep,
        because: "past".to_owned(),
        recalled: Recalled {
            remedies: named.map(remedy).into_iter().collect(),
            tier: Some(Tier::T2),
            ..Recalled::default()
        },
    }
}

fn fixes(case: &Case) -> Vec<Fix> {
    case.judge().remedies.into_iter().map(|remedy| remedy.fix).collect()
}

#[test]
fn a_remedy_that_did_not_hold_gives_way_to_the_next() {
    let sick = Case::healthy().count(disk_subject(DATA_DISK), Key::NvmeMediaErrors, 1);
    let with = |history: Vec<PastVerdict>| fixes(&sick.clone().context(|context| context.history = history));
    assert_eq!(fixes(&Case::healthy()), []);
    assert_eq!(fixes(&sick), [Fix::TestDisk]);
    let named = Some(Fix::TestDisk);
    // It is still there: nobody has tried it yet.
    assert_eq!(with(vec![past(1, named), past(2, named)]), [Fix::TestDisk]);
    // It was gone, and came back.
    assert_eq!(with(vec![past(1, None), past(2, named)]), [Fix::ReplacePart]);
    // The ladder ends.
    let often =
        vec![past(1, None), past(2, named), past(3, None), past(4, named), past(5, None), past(6, named)];
    assert_eq!(with(often), [Fix::ReplacePart]);
}

/// "Could not look" is not "nothing there".
#[test]
fn a_look_that_could_not_see_it_is_none_in_which_it_was_gone() {
    let sick = Case::healthy().count(disk_subject(DATA_DISK), Key::NvmeMediaErrors, 1);
    let with = |change: &dyn Fn(&mut Recalled)| {
        let mut history = vec![past(1, None), past(2, Some(Fix::TestDisk))];
        change(&mut history[0].recalled);
        fixes(&sick.clone().context(|context| context.history = history))
    };
    let unseen = |rule: &str, subject: Subject| PastFinding { rule: rule.to_owned(), subject, unseen: true };
    assert_eq!(with(&|_| ()), [Fix::ReplacePart]);
    assert_eq!(with(&|look| look.tier = Some(Tier::T1)), [Fix::TestDisk], "from the running system");
    assert_eq!(with(&|look| look.tier = None), [Fix::TestDisk], "nobody knows how deep");
    assert_eq!(with(&|look| look.found = vec![unseen(RULE, disk_subject(DATA_DISK))]), [Fix::TestDisk]);
    assert_eq!(with(&|look| look.found = vec![unseen("fitness/nvme-", Subject::Node)]), [Fix::TestDisk]);
    let another = unseen(RULE, Subject::Disk("nvme-eui.another".parse().unwrap()));
    assert_eq!(with(&|look| look.found = vec![another.clone()]), [Fix::ReplacePart]);
    // What a running system sees too, it sees go.
    let resident = |hours_ago, named| {
        let mut past = past(hours_ago, named);
        past.recalled.tier = Some(Tier::T1);
        past
    };
    let history = vec![resident(1, None), resident(2, Some(Fix::TestDisk))];
    assert_eq!(fixes(&sick.context(|context| context.history = history)), [Fix::ReplacePart]);
}

#[test]
fn of_two_findings_with_one_remedy_none_was_gone() {
    let disk = || disk_subject(DATA_DISK);
    let worn = Case::healthy().count(disk(), Key::NvmeMediaErrors, 1);
    let both = worn.clone().count(disk(), Key::DiskReadErrors, 1);
    assert_eq!(fixes(&both), [Fix::TestDisk]);
    let look = |hours_ago, case: &Case| PastVerdict {
        recalled: recall(&case.judge(), Tier::T2),
        ..past(hours_ago, None)
    };
    for only in [worn, Case::healthy().count(disk(), Key::DiskReadErrors, 1)] {
        let history = vec![look(1, &both), look(2, &only)];
        assert_eq!(fixes(&only.context(|context| context.history = history)), [Fix::TestDisk]);
    }
}

#[test]
fn every_ladder_rises_and_each_rule_has_one() {
    for (at, (rule, ladder)) in LADDERS.iter().enumerate() {
        assert!(ladder.windows(2).all(|pair| pair[0] < pair[1]), "{rule}");
        let hidden = LADDERS[..at].iter().find(|(earlier, _)| rule.starts_with(earlier));
        assert_eq!(hidden, None, "{rule} is never reached");
    }
}

#[test]
fn what_is_critical_comes_first_and_each_fix_of_a_part_once() {
    let sick = Case::healthy()
        .count(disk_subject(DATA_DISK), Key::NvmePercentageUsed, 95)
        .count(disk_subject(DATA_DISK), Key::NvmeCriticalWarning, 4)
        .list(Subject::Node, Key::KernelStorageErrors, &["I/O error"]);
    let remedies = sick.judge().remedies;
    let told: Vec<_> = remedies.iter().map(|remedy| (remedy.fix, remedy.subject.to_string())).collect();
    assert_eq!(told, [(Fix::ReplacePart, format!("disk {DATA_DISK}")), (Fix::TestDisk, "node".to_owned()),]);
}
