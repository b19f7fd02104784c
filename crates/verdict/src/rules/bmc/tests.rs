use contract::bmc::{BmcCondition, BmcPart, BmcPartKind, BmcTold, BmcView};
use contract::decision::{Action, Fitness, Severity};
use contract::id::UnixMillis;
use contract::outlook::Fix;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};

use crate::explain::explain;
use crate::policy::Policy;
use crate::properties::case;
use crate::testing::{Case, NOW};

use BmcCondition::{Critical, Warning};

fn part(kind: BmcPartKind, condition: BmcCondition) -> BmcPart {
    BmcPart { kind, name: "1/Part".to_owned(), condition, said: "health Critical".to_owned() }
}

fn told(bad: Vec<BmcPart>) -> BmcTold {
    let bad_total = u32::try_from(bad.len()).unwrap();
    BmcTold { observed_at: NOW, good: 12, not_told: 1, bad_total, bad, unread: Vec::new() }
}

fn with(view: BmcView) -> Case {
    Case::healthy().context(|context| context.bmc = Some(view))
}

fn with_told(told: BmcTold) -> Case {
    with(BmcView { told: Some(told), failure: None })
}

/// What a case comes to, and the worst that the rule found.
fn judged(case: &Case, rule: &str) -> (Action, Fitness, Option<Severity>) {
    let decision = case.judge();
    let found = decision.findings.iter().filter(|finding| finding.rule == rule);
    (decision.action, decision.fitness, found.map(|finding| finding.severity).max())
}

#[test]
fn each_kind_of_part_has_its_rule_and_follows_the_policy() {
    use BmcPartKind::{Fan, Other, PowerSupply, Redundancy, System, Temperature, Voltage};
    let table = [
        (Temperature, Critical, "fitness/bmc-temperature", Action::Quarantine, Fitness::Quarantine),
        (Temperature, Warning, "fitness/bmc-temperature", Action::Keep, Fitness::Watch),
        (Fan, Critical, "fitness/bmc-fan", Action::Keep, Fitness::Watch),
        (PowerSupply, Critical, "fitness/bmc-power", Action::Keep, Fitness::Watch),
        (Voltage, Critical, "fitness/bmc-power", Action::Keep, Fitness::Watch),
        (Redundancy, Critical, "fitness/bmc-redundancy", Action::Keep, Fitness::Watch),
        (Redundancy, Warning, "fitness/bmc-redundancy", Action::Keep, Fitness::Watch),
        (System, Critical, "fitness/bmc-health", Action::Keep, Fitness::Watch),
        (Other, Warning, "fitness/bmc-health", Action::Keep, Fitness::Watch),
    ];
    for (kind, condition, rule, action, fitness) in table {
        let case = with_told(told(vec![part(kind, condition)]));
        let (found_action, found_fitness, severity) = judged(&case, rule);
        assert_eq!((found_action, found_fitness), (action, fitness), "{kind:?} {condition:?}");
        assert!(severity > Some(Severity::Good), "{kind:?} {condition:?}");
    }
}

#[test]
fn what_the_policy_says_follows_and_a_warning_never_asks_for_more_than_what_is_critical() {
    let of = |policy: &str, kind, condition| {
        let mut case = with_told(told(vec![part(kind, condition)]));
        case.policy = Policy::parse(&format!("[bmc]\n{policy}")).unwrap();
        case.judge().fitness
    };
    use BmcPartKind::{Fan, Redundancy};
    assert_eq!(of("part_critical = \"quarantine\"", Fan, Critical), Fitness::Quarantine);
    assert_eq!(of("part_critical = \"quarantine\"", Fan, Warning), Fitness::Watch);
    assert_eq!(of("part_critical = \"ignore\"", Fan, Critical), Fitness::Fit);
    assert_eq!(of("part_critical = \"ignore\"", Fan, Warning), Fitness::Fit);
    assert_eq!(of("warning = \"quarantine\"", Fan, Warning), Fitness::Watch);
    assert_eq!(of("warning = \"ignore\"", Redundancy, Warning), Fitness::Watch);
    assert_eq!(of("redundancy_lost = \"quarantine\"", Redundancy, Warning), Fitness::Quarantine);
}

#[test]
fn a_controller_that_is_silent_is_unknown_and_never_well() {
    let old = |age_seconds: u64| BmcTold {
        observed_at: UnixMillis(NOW.0 - age_seconds * 1000),
        ..told(vec![part(BmcPartKind::Temperature, Critical)])
    };
    let failure = || Some("no answer within 5 s".to_owned());
    let rule = "fitness/bmc-readings";
    let unknown = (Action::Keep, Fitness::Watch, Some(Severity::Unknown));
    let cases = [
        (BmcView { told: None, failure: failure() }, unknown),
        (BmcView { told: None, failure: None }, unknown),
        (BmcView { told: Some(old(3_601)), failure: failure() }, unknown),
        (
            BmcView {
                told: Some(BmcTold { observed_at: UnixMillis(NOW.0 + 300_001), ..told(vec![]) }),
                failure: None,
            },
            unknown,
        ),
        (
            BmcView {
                told: Some(BmcTold { unread: vec!["power".to_owned()], ..told(vec![]) }),
                failure: None,
            },
            unknown,
        ),
        (BmcView { told: Some(BmcTold { bad_total: 70, ..told(vec![]) }), failure: None }, unknown),
        (
            BmcView { told: Some(told(vec![])), failure: None },
            (Action::Keep, Fitness::Fit, Some(Severity::Good)),
        ),
        // One poll that came to nothing takes nothing back.
        (
            BmcView { told: Some(told(vec![])), failure: failure() },
            (Action::Keep, Fitness::Fit, Some(Severity::Good)),
        ),
    ];
    for (view, expected) in cases {
        assert_eq!(judged(&with(view.clone()), rule), expected, "{view:?}");
    }
    let still = with(BmcView { told: Some(old(3_600)), failure: failure() });
    assert_eq!(still.judge().action, Action::Quarantine, "what it said last counts for its time");
    let mut strict = with(BmcView { told: None, failure: failure() });
    strict.policy = Policy::parse("[bmc]\nunreadable = \"quarantine\"").unwrap();
    assert_eq!(strict.judge().action, Action::Quarantine);
}

#[test]
fn the_explanation_names_the_part_and_what_to_try() {
    let bad = vec![
        BmcPart {
            name: "1/Fan 3".to_owned(),
            said: "0 RPM, critical from 600 RPM down".to_owned(),
            ..part(BmcPartKind::Fan, Critical)
        },
        BmcPart { name: "1/PSU 2".to_owned(), ..part(BmcPartKind::PowerSupply, Critical) },
    ];
    let decision = with_told(told(bad)).judge();
    let told = explain(&decision);
    assert!(told.contains("the fan 1/Fan 3 critical: 0 RPM, critical from 600 RPM down"), "{told}");
    let fixes: Vec<Fix> = decision.remedies.iter().map(|remedy| remedy.fix).collect();
    assert_eq!(fixes, [Fix::CheckCooling, Fix::CheckPower]);
}

fn parts() -> impl Strategy<Value = Vec<BmcPart>> {
    use BmcPartKind::{Fan, Other, PowerSupply, Redundancy, System, Temperature, Voltage};
    let kinds = [Temperature, Fan, PowerSupply, Voltage, Redundancy, System, Other];
    let one = (0..7_usize, any::<bool>(), any::<String>()).prop_map(move |(kind, critical, text)| BmcPart {
        kind: kinds[kind],
        name: text.clone(),
        condition: if critical { Critical } else { Warning },
        said: text,
    });
    proptest::collection::vec(one, 0..4)
}

fn view() -> impl Strategy<Value = BmcView> {
    let told = (parts(), any::<u32>(), any::<u32>(), any::<bool>(), any::<u64>()).prop_map(
        |(bad, good, bad_total, unread, at)| BmcTold {
            observed_at: if at % 2 == 0 { NOW } else { UnixMillis(at) },
            good,
            not_told: good / 2,
            bad_total,
            bad,
            unread: if unread { vec!["power".to_owned()] } else { Vec::new() },
        },
    );
    let told = prop_oneof![1 => Just(None), 4 => told.prop_map(Some)];
    (told, any::<Option<String>>()).prop_map(|(told, failure)| BmcView { told, failure })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever a controller says, or does not say, makes no verdict milder than one without it.
    #[test]
    fn a_controller_never_makes_an_action_milder(case in case(), view in view()) {
        let without = case.bare_action();
        let with = case.context(|context| context.bmc = Some(view)).bare_action();
        prop_assert!(with >= without || with == Action::LookDeeper && without != Action::Keep);
    }

    /// A part that gets worse, and one more that is bad, make it no milder either.
    #[test]
    fn a_part_that_is_worse_is_never_milder(bad in parts(), more in parts()) {
        let action = |bad: Vec<BmcPart>| with_told(told(bad)).bare_action();
        let before = action(bad.clone());
        let worse = bad.iter().map(|part| BmcPart { condition: Critical, ..part.clone() }).collect();
        prop_assert!(action(worse) >= before);
        prop_assert!(action([bad, more].concat()) >= before);
    }
}
