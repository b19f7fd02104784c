use contract::decision::Action;
use contract::id::{Digest, EvidenceId, NodeId, PolicyDigest, UnixMillis};
use contract::ledger::{Aftermath, Amount, LedgerEntry, Prediction};
use contract::outlook::ComponentKind;
use contract::reading::Subject;
use uuid::Uuid;

use super::{DAY_MILLIS, PartOutcome, observed, outcomes, propose, score};
use crate::model::Model;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const BAD: &str = "ata-pending-sectors from 2";

fn disk() -> Subject {
    Subject::Disk("ata-1".parse().unwrap())
}

fn entry(days_ago: u64, aftermath: Aftermath, known_days_ago: u64) -> LedgerEntry {
    let at = UnixMillis(NOW.0 - days_ago * DAY_MILLIS);
    let prediction = |subject, kind, bucket: &str| Prediction {
        subject,
        kind,
        hardware_model: "SPIN 3000".to_owned(),
        bucket: bucket.to_owned(),
        failure_parts_per_million: 54_319,
    };
    LedgerEntry {
        evidence: EvidenceId(Uuid::from_u128(u128::from(days_ago))),
        node: NodeId(Uuid::from_u128(1)),
        job: None,
        at,
        action: Action::Keep,
        rule: String::new(),
        policy: PolicyDigest(Digest::of(b"")),
        model: None,
        formula: 1,
        always_wipe: None,
        spent: Amount::default(),
        forecast: vec![
            prediction(disk(), ComponentKind::HardDisk, BAD),
            prediction(Subject::Node, ComponentKind::Memory, "no sign"),
        ],
        due_at: at.plus_millis(30 * DAY_MILLIS),
        aftermath,
        aftermath_at: UnixMillis(NOW.0 - known_days_ago * DAY_MILLIS),
    }
}

fn failed(subject: Subject) -> Aftermath {
    Aftermath::Failed { subject, because: String::new(), by: None }
}

/// Days watched, failed, known: of the disk and of the memory.
fn told(entries: &[LedgerEntry]) -> Vec<(u64, bool, bool)> {
    let outcomes = outcomes(entries, NOW);
    outcomes.iter().map(|one| (one.exposure_millis / DAY_MILLIS, one.failed, one.known)).collect()
}

#[test]
fn a_part_is_watched_until_the_next_verdict_its_failure_or_the_horizon() {
    let fine = Aftermath::Fine { why: String::new() };
    for (name, entries, expected) in [
        ("held", vec![entry(40, Aftermath::Held, 10)], vec![(30, false, true), (30, false, true)]),
        ("not yet", vec![entry(10, Aftermath::Pending, 10)], vec![(10, false, false), (10, false, false)]),
        ("failed", vec![entry(40, failed(disk()), 35)], vec![(5, true, true), (5, false, false)]),
        (
            "a memory module",
            vec![entry(40, failed(Subject::MemoryModule("A1".to_owned())), 35)],
            vec![(5, false, false), (5, true, true)],
        ),
        (
            "nobody knows what",
            vec![entry(40, failed(Subject::Node), 35)],
            vec![(5, false, false), (5, false, false)],
        ),
        ("fine", vec![entry(40, fine, 35)], vec![(1, false, false), (1, false, false)]),
        (
            "the later verdict has the failure",
            vec![entry(40, failed(disk()), 20), entry(30, failed(disk()), 20)],
            vec![(10, false, true), (10, false, false), (10, true, true), (10, false, false)],
        ),
    ] {
        assert_eq!(told(&entries), expected, "{name}");
    }
}

/// Two verdicts before one failure: it is counted once, and both forecasts were of it.
#[test]
fn a_forecast_is_scored_by_the_whole_horizon_whatever_verdicts_came_between() {
    let of_disk = |entries: &[LedgerEntry]| {
        let all = outcomes(entries, NOW);
        let disks = all.into_iter().filter(|one| one.kind == ComponentKind::HardDisk);
        disks.map(|one| (one.failed, one.failed_in_horizon)).collect::<Vec<_>>()
    };
    let before_it = [entry(40, failed(disk()), 20), entry(30, failed(disk()), 20)];
    assert_eq!(of_disk(&before_it), [(false, true), (true, true)]);
    assert_eq!(of_disk(&[entry(40, Aftermath::Held, 10)]), [(false, false)]);
    assert_eq!(of_disk(&[entry(40, failed(Subject::Node), 35)]), [(false, false)], "nobody knows what");
    // After the horizon it says nothing of the forecast.
    assert_eq!(of_disk(&[entry(40, failed(disk()), 5)]), [(false, false)]);

    // A candidate that foretells what came is better, although each part was judged again meanwhile.
    let mut again = fleet(20_000, 500, true);
    again.iter_mut().for_each(|one| one.failed_in_horizon = true);
    let proposal = propose(&Model::parse("").unwrap(), &again).unwrap();
    assert_eq!(proposal.in_use.failures, proposal.in_use.forecasts);
}

#[test]
fn counts_are_by_hardware_model_and_for_all_of_a_kind() {
    let rows = observed(&outcomes(&[entry(40, failed(disk()), 35)], NOW));
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.kind, row.hardware_model.as_str(), row.exposure_days, row.failures))
        .collect();
    assert_eq!(
        told,
        [
            (ComponentKind::HardDisk, "", 5, 1),
            (ComponentKind::Memory, "", 5, 0),
            (ComponentKind::HardDisk, "SPIN 3000", 5, 1),
            (ComponentKind::Memory, "SPIN 3000", 5, 0),
        ]
    );
}

#[test]
fn scores_are_those_that_are_worked_out_by_hand() {
    let half = score(&[(500_000, true), (500_000, false)]);
    assert_eq!((half.brier_parts_per_million, half.brier_of_average_parts_per_million), (250_000, 250_000));
    let right = score(&[(1_000_000, true), (0, false), (0, false), (0, false)]);
    assert_eq!((right.brier_parts_per_million, right.brier_of_average_parts_per_million), (0, 187_500));
    let told: Vec<_> = right
        .reliability
        .iter()
        .map(|bin| (bin.from_parts_per_million, bin.forecasts, bin.came_parts_per_million))
        .collect();
    assert_eq!(told, [(0, 3, 0), (200_000, 1, 1_000_000)]);
    assert_eq!(score(&[]).forecasts, 0);
}

/// Outcomes of hard disks, one an hour, of which so many of a thousand fail.
fn fleet(count: u64, failing_of_thousand: u64, known: bool) -> Vec<PartOutcome> {
    (0..count)
        .map(|n| {
            // Spread evenly, without randomness.
            let failed = n * failing_of_thousand / 1000 != (n + 1) * failing_of_thousand / 1000;
            PartOutcome {
                kind: ComponentKind::HardDisk,
                hardware_model: "SPIN 3000".to_owned(),
                bucket: BAD.to_owned(),
                forecast_parts_per_million: 54_319,
                at: UnixMillis(NOW.0 + n * 3_600_000),
                exposure_millis: if failed { 15 } else { 30 } * DAY_MILLIS,
                failed,
                failed_in_horizon: failed,
                known,
            }
        })
        .collect()
}

#[test]
fn a_candidate_is_proposed_only_if_it_is_better_on_what_it_was_not_taught_with() {
    let model = Model::parse("").unwrap();
    // Half of them fail, where one in twenty is foretold.
    let better = propose(&model, &fleet(20_000, 500, true)).unwrap();
    assert_eq!(better.refused, None);
    assert!(better.taught.brier_parts_per_million < better.in_use.brier_parts_per_million);
    assert_eq!((better.in_use.forecasts, better.in_use.failures), (4_000, 2_000));
    assert_ne!(better.candidate.digest(), model.digest());
    for (name, outcomes, words) in [
        ("too few", fleet(400, 500, true), "prove nothing"),
        ("no failures", fleet(20_000, 0, true), "prove nothing"),
        ("nobody knows yet", fleet(20_000, 500, false), "prove nothing"),
        ("none", Vec::new(), "prove nothing"),
        // As foretold: what is learned is chance.
        ("as foretold", fleet(20_000, 54, true), "not better"),
    ] {
        let refused = propose(&model, &outcomes).unwrap().refused.unwrap_or_default();
        assert!(refused.contains(words), "{name}: {refused}");
    }
    // Older outcomes that say the opposite of the newest.
    let mut turned = fleet(20_000, 900, true);
    turned
        .iter_mut()
        .skip(16_000)
        .for_each(|outcome| (outcome.failed, outcome.failed_in_horizon) = (false, false));
    let spoiled = propose(&model, &turned).unwrap();
    assert!(spoiled.refused.is_some());
}

proptest::proptest! {
    #[test]
    fn any_outcomes_make_a_model_that_is_read_again(
        days in proptest::collection::vec((0..400_u64, 0..400_u64, 0..5_u8, ".{0,6}"), 0..40),
    ) {
        let entries: Vec<LedgerEntry> = days
            .into_iter()
            .map(|(ago, known, what, name)| {
                let aftermath = match what {
                    0 => Aftermath::Pending,
                    1 => Aftermath::Held,
                    2 => failed(disk()),
                    3 => Aftermath::Confirmed { subject: disk(), why: String::new() },
                    _ => Aftermath::Fine { why: String::new() },
                };
                let mut entry = entry(ago, aftermath, known);
                entry.forecast[0].hardware_model = name;
                entry
            })
            .collect();
        let proposal = propose(&Model::parse("").unwrap(), &outcomes(&entries, NOW)).unwrap();
        let text = proposal.candidate.canonical_text().unwrap();
        proptest::prop_assert_eq!(Model::parse(&text).unwrap().digest(), proposal.candidate.digest());
    }
}
