use contract::id::{Digest, EvidenceId, NodeId, PolicyDigest};
use contract::outlook::ActionCost;
use contract::reading::Subject;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::testing::Case;

fn entry(node: u128, action: Action, minutes: u64) -> LedgerEntry {
    LedgerEntry {
        evidence: EvidenceId(Uuid::from_u128(7)),
        node: NodeId(Uuid::from_u128(node)),
        job: None,
        at: UnixMillis(1),
        action,
        rule: "integrity/files".to_owned(),
        policy: PolicyDigest(Digest::of(b"policy")),
        model: None,
        formula: FORMULA,
        always_wipe: Some(Amount { milliminutes: 40_000, flash_bytes: 1000, watt_hours: 266 }),
        spent: spent(minutes * 1000, 100, &Model::parse("").unwrap()),
        forecast: Vec::new(),
        due_at: UnixMillis(2),
        aftermath: Aftermath::Pending,
        aftermath_at: UnixMillis(1),
    }
}

#[test]
fn what_is_saved_is_wiping_less_what_it_took() {
    assert_eq!(saved(&entry(1, Action::Keep, 4)), Some([36_000, 900, 240]));
    assert_eq!(
        saved(&entry(1, Action::Repair, 100)),
        Some([-60_000, 900, -400]),
        "it took longer than a wipe"
    );
    assert_eq!(saved(&entry(1, Action::Wipe, 100)), Some([0, 0, 0]));
    assert_eq!(saved(&entry(1, Action::Quarantine, 1)), Some([0, 0, 0]));
    let silent = LedgerEntry { always_wipe: None, ..entry(1, Action::Keep, 1) };
    assert_eq!(saved(&silent), None, "what is not known is not claimed");
}

#[test]
fn the_verdict_itself_says_what_a_wipe_would_have_cost() {
    let mut decision = Case::healthy().judge();
    decision.costs = vec![ActionCost {
        action: Action::Wipe,
        allowed: false,
        because: String::new(),
        away_milliminutes: 5,
        interruption_milliminutes: 1,
        written_bytes: 6,
        wear_milliminutes: 1,
        energy_watt_hours: 7,
        energy_milliminutes: 1,
        total_milliminutes: 99,
    }];
    assert_eq!(always_wipe(&decision), Some(Amount { milliminutes: 5, flash_bytes: 6, watt_hours: 7 }));
    decision.costs.clear();
    assert_eq!(always_wipe(&decision), None);
}

#[test]
fn sums_have_a_range_that_is_worked_out_by_hand() {
    assert_eq!(total(&[]), Total { sum: 0, low: None, high: None });
    assert_eq!(total(&[5]), Total { sum: 5, low: None, high: None });
    // Mean 20, squares 200, variance 100, error of the sum sqrt(300) = 17.32, times 1.96 is 33.95.
    assert_eq!(total(&[10, 20, 30]), Total { sum: 60, low: Some(26), high: Some(94) });
    assert_eq!(total(&[7, 7, 7]), Total { sum: 21, low: Some(21), high: Some(21) });
}

#[test]
fn nodes_are_named_by_what_became_of_them() {
    let failed = |node, action| LedgerEntry {
        aftermath: Aftermath::Failed {
            subject: Subject::Node,
            because: "a disk failed".to_owned(),
            by: None,
        },
        ..entry(node, action, 1)
    };
    let entries = [
        failed(1, Action::Keep),
        entry(2, Action::Repair, 1),
        entry(2, Action::Quarantine, 1),
        entry(3, Action::Repair, 1),
        failed(4, Action::Quarantine),
        entry(5, Action::Keep, 1),
        entry(5, Action::Keep, 1),
    ];
    let named = |notes: Vec<NodeNote>| notes.iter().map(|note| note.node.0.as_u128()).collect::<Vec<_>>();
    assert_eq!(named(escapes(&entries)), [1], "what was taken out did not escape");
    assert_eq!(named(repeat_offenders(&entries)), [2], "being kept is no offence");
    let counts: Vec<_> = by_action(&entries).iter().map(|total| (total.action, total.verdicts)).collect();
    assert_eq!(counts, [(Action::Keep, 3), (Action::Repair, 2), (Action::Quarantine, 2)]);
}

#[test]
fn months_begin_and_end_where_the_calendar_says() {
    let table = [
        ("1970-01", Some((0, 31))),
        ("2000-02", Some((10_988, 11_017))),
        ("2026-11", Some((20_758, 20_788))),
        ("2026-12", Some((20_788, 20_819))),
        ("2100-02", Some((47_513, 47_541))),
        ("2026-13", None),
        ("2026-00", None),
        ("1969-12", None),
        ("2026-1", None),
        ("+026-11", None),
        ("2026", None),
        ("", None),
    ];
    for (text, days) in table {
        let expected = days
            .map(|(from, until): (u64, u64)| (UnixMillis(from * 86_400_000), UnixMillis(until * 86_400_000)));
        assert_eq!(month(text), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_month_or_none(text in ".{0,12}") {
        if let Some((from, until)) = month(&text) {
            prop_assert!((28..=31).contains(&((until.0 - from.0) / 86_400_000)));
        }
    }

    #[test]
    fn any_values_have_a_sum_within_their_range(values in proptest::collection::vec(any::<i64>(), 0..20)) {
        let total = total(&values);
        if let (Some(low), Some(high)) = (total.low, total.high) {
            prop_assert!(low <= total.sum && total.sum <= high);
        }
    }
}
