//! What history, forecast and costs add to a verdict, and what they never do.

use contract::assignment::{BootTrust, DataOwner, Floor, PastVerdict, Recalled};
use contract::decision::{Action, Decision, Fitness};
use contract::id::{EvidenceId, UnixMillis};
use contract::outlook::ReadinessArea;
use contract::reading::{ReadingKey as Key, Subject, Tier};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use uuid::Uuid;

use crate::recall::recall;
use crate::testing::{Case, DATA_DISK, NOW, disk_subject};

const FILES: &str = "integrity/files";

fn past(hours_ago: u64, action: Action, rule: &str, because: &str) -> PastVerdict {
    PastVerdict {
        evidence: EvidenceId(Uuid::from_u128(u128::from(hours_ago))),
        decided_at: UnixMillis(NOW.0 - hours_ago * 3_600_000),
        action,
        because: because.to_owned(),
        recalled: Recalled {
            fitness: Some(Fitness::Fit),
            rule: Some(rule.to_owned()),
            ..Recalled::default()
        },
    }
}

fn altered() -> Case {
    Case::healthy().list(Subject::Image, Key::ImageFilesAltered, &["/usr/bin/a"])
}

/// Put right so many times, and found right after each; each time the machine was looked at twice.
fn put_right(times: u64, because: &str) -> Vec<PastVerdict> {
    let once = |n: u64| {
        [
            past(5 * n + 1, Action::Keep, FILES, "right"),
            past(5 * n + 2, Action::Repair, FILES, because),
            past(5 * n + 3, Action::LookDeeper, FILES, because),
            past(5 * n + 4, Action::Repair, FILES, because),
        ]
    };
    (0..times).flat_map(once).collect()
}

fn watched_disk() -> Case {
    Case::healthy().count(disk_subject(DATA_DISK), Key::NvmePercentageUsed, 95)
}

/// A model in which this one kind fails so often.
fn failing(percent_a_year: u64) -> crate::model::Model {
    let model = crate::model::Model::parse("").unwrap();
    model
        .with_observed(vec![crate::model::Observed {
            kind: contract::outlook::ComponentKind::FlashDisk,
            hardware_model: String::new(),
            bucket: crate::model::NO_SIGN.to_owned(),
            exposure_days: 36_525_000,
            failures: 1_000 * percent_a_year,
        }])
        .unwrap()
}

fn rules_of(decision: &Decision) -> Vec<&str> {
    decision.reasons.iter().map(|reason| reason.rule.as_str()).collect()
}

#[test]
fn a_repair_that_does_not_hold_ends_with_a_person() {
    let said = altered().judge().reasons[0].statement.clone();
    let with = |history: Vec<PastVerdict>| altered().context(|context| context.history = history).judge();
    for (name, history, action) in [
        ("first time", vec![], Action::Repair),
        ("put right once", put_right(1, &said), Action::Repair),
        ("put right twice for the same", put_right(2, &said), Action::Quarantine),
        ("four times for something else", put_right(4, "another"), Action::Repair),
        ("five times for something else", put_right(5, "another"), Action::Quarantine),
        ("still being written", put_right(2, &said).split_off(1)[..3].to_vec(), Action::Repair),
    ] {
        assert_eq!(with(history).action, action, "{name}");
    }
    let twice = with(put_right(2, &said));
    assert!(rules_of(&twice).contains(&"fitness/same-cause-again"));
    assert!(rules_of(&with(put_right(5, "x"))).contains(&"fitness/put-right-too-often"));
    // What nobody has to put right is not taken out for its past.
    let well = Case::healthy().context(|context| context.history = put_right(5, &said)).judge();
    assert_eq!(well.action, Action::Keep);
}

#[test]
fn only_what_was_found_in_time_and_not_looked_at_by_a_person_counts() {
    let said = altered().judge().reasons[0].statement.clone();
    let action = |change: &dyn Fn(&mut Vec<PastVerdict>)| {
        let mut history = put_right(2, &said);
        change(&mut history);
        altered().context(|context| context.history = history).action()
    };
    assert_eq!(action(&|_| {}), Action::Quarantine);
    let asked = |history: &mut Vec<PastVerdict>| {
        history.iter_mut().for_each(|past| past.recalled.rule = Some("request/at-least".to_owned()));
    };
    assert_eq!(action(&asked), Action::Repair);
    let another_image = |history: &mut Vec<PastVerdict>| {
        history.iter_mut().for_each(|past| past.recalled.rule = Some("integrity/image-installed".to_owned()));
    };
    assert_eq!(action(&another_image), Action::Repair);
    let older = |history: &mut Vec<PastVerdict>| {
        history.iter_mut().for_each(|past| past.decided_at = UnixMillis(past.decided_at.0 - 8 * 86_400_000));
    };
    assert_eq!(action(&older), Action::Repair);
    let looked_at =
        |history: &mut Vec<PastVerdict>| history.insert(4, past(5, Action::Quarantine, FILES, &said));
    assert_eq!(action(&looked_at), Action::Repair);
    let unrecorded = |history: &mut Vec<PastVerdict>| {
        history.iter_mut().for_each(|past| past.recalled = Recalled::default())
    };
    assert_eq!(action(&unrecorded), Action::Repair);
}

#[test]
fn a_watched_node_is_fit_after_looks_that_found_nothing() {
    let watched = watched_disk().judge();
    assert_eq!((watched.fitness, recall(&watched, Tier::T2).fitness), (Fitness::Watch, Some(Fitness::Watch)));
    let remembered = |decision: &Decision| PastVerdict {
        recalled: recall(decision, Tier::T2),
        ..past(1, decision.action, "", &decision.reasons[0].statement)
    };
    let mut history = vec![remembered(&watched)];
    let first = Case::healthy().context(|context| context.history = history.clone()).judge();
    assert_eq!((first.fitness, first.action), (Fitness::Watch, Action::Keep));
    assert!(first.findings.iter().any(|found| found.rule == crate::recall::RECENTLY_WATCHED));
    // That it remembers is not remembered.
    assert_eq!(recall(&first, Tier::T2).fitness, Some(Fitness::Fit));
    history.insert(0, remembered(&first));
    let second = Case::healthy().context(|context| context.history = history).judge();
    assert_eq!(second.fitness, Fitness::Fit);
}

#[test]
fn costs_take_out_only_what_is_watched_and_likelier_to_fail_than_it_is_worth() {
    let with = |case: Case, percent_a_year| {
        let mut case = case;
        case.model = failing(percent_a_year);
        case.judge()
    };
    // 700 % a year is 44 % within 30 days; 200 % is 15 %: above the limit, and cheaper to wait for.
    assert_eq!(with(watched_disk(), 1).action, Action::Keep);
    let waits = with(watched_disk(), 200);
    assert_eq!(waits.action, Action::Keep);
    let open = |decision: &Decision| -> Vec<Action> {
        decision.costs.iter().filter(|cost| cost.allowed).map(|cost| cost.action).collect()
    };
    assert_eq!(open(&waits), [Action::Keep], "what is told to be open is what could be chosen");
    assert_eq!(open(&with(watched_disk(), 700)), [Action::Keep, Action::Quarantine]);
    let taken = with(watched_disk(), 700);
    assert_eq!((taken.action, taken.fitness), (Action::Quarantine, Fitness::Quarantine));
    assert_eq!(rules_of(&taken), ["fitness/failure-likely"]);
    assert_eq!(with(Case::healthy(), 700).action, Action::Keep, "nothing is watched");
    // Whatever else is to be done: taking it out is never the milder way.
    let altered = watched_disk().list(Subject::Image, Key::ImageFilesAltered, &["/usr/bin/a"]);
    assert_eq!(with(altered, 700).action, Action::Quarantine);
    let emptied = watched_disk().context(|context| context.floor = Some(Floor::Empty));
    assert_eq!(with(emptied, 700).action, Action::Wipe);
}

#[test]
fn a_deeper_look_is_asked_for_where_what_was_not_read_could_take_the_node_out() {
    let lost = || watched_disk().unreadable(disk_subject(DATA_DISK), Key::DiskReadErrors);
    let mut case = lost().policy("[fitness]\nhealth_unreadable = \"watch\"\n").resident();
    let sign = "[[sign]]\nkind = \"flash-disk\"\nkey = \"disk-read-errors\"\nsteps = [[0, 0], [1, 9000000]]\nunread = 0\n";
    case.model = crate::model::Model::parse(sign).unwrap();
    let decision = case.judge();
    assert_eq!(decision.action, Action::LookDeeper);
    assert!(decision.findings.iter().any(|found| found.rule == "fitness/forecast-unread"));
}

#[test]
fn a_repair_gives_way_to_a_reimage_only_where_the_policy_says_so() {
    let history = || put_right(2, "another");
    let case = || altered().context(|context| context.history = history());
    assert_eq!(case().action(), Action::Repair);
    let may = case().policy("[outlook]\nrepair_cost_may_reimage = true\n");
    assert_eq!(may.action(), Action::Repair, "it still costs less");
    let mut may = may;
    may.model = crate::model::Model::parse("[cost]\nrepair_milliminutes = 12000\n").unwrap();
    assert_eq!(may.action(), Action::Reimage);
    assert_eq!(may.clone().context(|context| context.history = Vec::new()).action(), Action::Repair);
    assert_eq!(may.policy("").action(), Action::Repair);
}

#[test]
fn every_action_has_its_cost_and_says_whether_it_was_open() {
    let decision = altered().judge();
    let allowed: Vec<Action> =
        decision.costs.iter().filter(|cost| cost.allowed).map(|cost| cost.action).collect();
    assert_eq!(decision.costs.len(), 6);
    assert_eq!(allowed, [Action::Repair]);
    let of = |action| decision.costs.iter().find(|cost| cost.action == action).unwrap();
    assert_eq!(of(Action::Keep).away_milliminutes, 0);
    assert_eq!(of(Action::Keep).written_bytes, 0);
    assert_eq!(of(Action::Reimage).away_milliminutes, 30_000);
    // 30 minutes at 400 W.
    assert_eq!(
        (of(Action::Reimage).energy_watt_hours, of(Action::Reimage).energy_milliminutes),
        (200, 3_000)
    );
    // The disk with the data formats itself; the other, of 8 GiB, is overwritten at 260 MB/s: 33 s.
    assert_eq!(of(Action::Wipe).away_milliminutes, 40_000);
    for cost in &decision.costs {
        let sum = cost.away_milliminutes
            + cost.interruption_milliminutes
            + cost.wear_milliminutes
            + cost.energy_milliminutes;
        assert_eq!(cost.total_milliminutes, sum);
    }
}

#[test]
fn readiness_is_weighted_and_capped() {
    let ready = |case: Case| case.judge().readiness.unwrap();
    let nobody_looked = Case::healthy().context(|context| context.boot_trust = Some(BootTrust::Verified));
    let proven = || nobody_looked.clone().list(Subject::Node, Key::SensorAlarms, &[]);
    let well = ready(proven());
    assert_eq!((well.score, well.coverage_percent, well.age_seconds), (99, 100, 0));
    assert_eq!(well.parts.iter().map(|part| part.weight).sum::<u64>(), 100);
    assert!(well.parts.iter().all(|part| part.name != ReadinessArea::Gpu), "there is none");
    let power = |ready: &contract::outlook::Readiness| {
        ready.parts.iter().find(|part| part.name == ReadinessArea::Power).unwrap().score
    };
    let no_sensors = proven().outcome(Subject::Node, Key::SensorAlarms, contract::reading::Outcome::Absent);
    assert_eq!((power(&well), power(&ready(no_sensors))), (100, 100), "looked, and there is none");
    let unseen = ready(nobody_looked.clone());
    assert_eq!(power(&unseen), 50, "nobody looked");
    assert!(unseen.score < well.score && unseen.coverage_percent < 100, "{unseen:?}");
    let other = |context: &mut contract::assignment::NodeContext| {
        context.data_owner = DataOwner::Tenant("tenant-b".parse().unwrap());
    };
    let image = Subject::Image;
    for (name, case, most) in [
        ("quarantine", proven().count(disk_subject(DATA_DISK), Key::NvmeCriticalWarning, 4), 20),
        ("sanitize", proven().context(other), 40),
        ("reimage", proven().outcome(image, Key::ImageInstalled, contract::reading::Outcome::Absent), 60),
    ] {
        let ready = ready(case);
        assert_eq!((ready.score, ready.caps[0].most), (most, most), "{name}");
        assert!(ready.uncapped > most, "{name}");
    }
    let repair = proven().list(Subject::Image, Key::ImageFilesAltered, &["/usr/bin/a"]);
    assert_eq!(ready(repair).caps[0].most, 80);
    let mut blind = proven();
    blind.evidence.readings.iter_mut().take(20).for_each(|reading| {
        reading.outcome = contract::reading::Outcome::Unreadable("EIO".to_owned());
    });
    let blind = ready(blind);
    assert!(blind.coverage_percent < 80 && blind.caps.iter().any(|cap| cap.most == 75), "{blind:?}");
}

fn history() -> impl Strategy<Value = Vec<PastVerdict>> {
    let one = (0..6_u8, 0..3_u8, any::<bool>(), 1..200_u64);
    proptest::collection::vec(one, 0..20).prop_map(|all| {
        all.into_iter()
            .map(|(action, fitness, found, hours)| {
                let action = crate::cost::ACTIONS[usize::from(action)];
                let fitness = [Fitness::Fit, Fitness::Watch, Fitness::Quarantine][usize::from(fitness)];
                let mut past = past(hours, action, if found { FILES } else { "request/at-least" }, "x");
                past.recalled.fitness = Some(fitness);
                past
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn history_forecast_and_costs_never_make_milder_and_never_sanitize(
        history in history(),
        percent_a_year in 0..3000_u64,
        sick in 0..4_u8,
        resident: bool,
        may_reimage: bool,
    ) {
        let case = match sick {
            0 => Case::healthy(),
            1 => watched_disk(),
            2 => altered(),
            _ => watched_disk().list(Subject::Image, Key::ImageFilesAltered, &["/usr/bin/a"]),
        };
        let case = if resident { case.resident() } else { case };
        let before = case.judge();
        let mut case = case.policy(&format!("[outlook]\nrepair_cost_may_reimage = {may_reimage}\n"));
        case = case.context(|context| context.history = history);
        case.model = failing(percent_a_year);
        let after = case.judge();
        prop_assert!(after.action >= before.action, "{:?} after {:?}", after.action, before.action);
        prop_assert!(after.fitness >= before.fitness);
        prop_assert!(after.action != Action::Wipe);
        prop_assert_eq!(&after.confidentiality, &before.confidentiality);
        // What costs could choose is at least what the rules demand.
        let least = after.costs.iter().filter(|cost| cost.allowed).map(|cost| cost.action).min();
        prop_assert!(least.is_some_and(|least| least >= before.action));
        // A worse finding is never milder for what is remembered or forecast.
        let worse = case.clone().list(Subject::Image, Key::ImageFilesMissing, &["/usr/bin/b"]).judge();
        prop_assert!(worse.action >= after.action, "{:?} after {:?}", worse.action, after.action);
        let words = crate::explain::explain(&after);
        prop_assert!(words.contains("What each action costs") && words.contains("How ready it is"));
    }
}
