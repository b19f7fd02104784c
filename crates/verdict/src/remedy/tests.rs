use contract::assignment::{PastRemedy, PastVerdict, Recalled};
use contract::decision::Action;
use contract::id::{EvidenceId, UnixMillis};
use contract::outlook::Fix;
use contract::reading::{ReadingKey as Key, Subject};
use uuid::Uuid;

use super::LADDERS;
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
        recalled: Recalled { remedies: named.map(remedy).into_iter().collect(), ..Recalled::default() },
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
