//! What must hold for any evidence.
//!
//! Actions are ordered keep < look deeper < repair < reimage < wipe < quarantine. "Milder" means:
//!
//! - a value that got worse never gives an action further left;
//! - a reading that was lost, or is believed less, never gives one further left either, but for look
//!   deeper, which writes nothing and allows nothing; above all it never gives keep.

use contract::assignment::{DataOwner, Floor};
use contract::decision::Action;
use contract::plan::Step;
use contract::reading::{Outcome, Reading, ReadingKey as Key, ReadingValue, Trust};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};

use crate::testing::{
    Case, DATA_DISK, OS_DISK, data_image, data_step, disk_subject, erase_step, unfinished, write_step,
};

/// How the value of a reading can be bad, from bad to worse.
fn bad_values(key: Key) -> Vec<ReadingValue> {
    use ReadingValue::{Count, Flag, Text};
    let list = |items: &[&str]| ReadingValue::list(items.iter().map(|item| (*item).to_owned()).collect());
    match key {
        Key::NvmeCriticalWarning => vec![Count(2), Count(4)],
        Key::NvmeAvailableSparePercent | Key::ImageFilesChecked => vec![Count(0)],
        Key::NvmeAvailableSpareThresholdPercent | Key::NvmePercentageUsed => vec![Count(101)],
        Key::NvmeMediaErrors | Key::DiskReadErrors | Key::FileSystemErrors => vec![Count(1), Count(100)],
        Key::DiskReadOnly | Key::ImageUnfinished | Key::FileSystemNeedsRecovery => vec![Flag(true)],
        Key::KernelHardwareErrors => vec![list(&["corrected"]), list(&["severity: fatal"])],
        Key::ImagePartitionsAltered => vec![list(&["2"]), list(&["x"])],
        Key::ImageInstalled => vec![Text("other".to_owned())],
        Key::ImageFilesAltered | Key::ImageFilesMissing => vec![list(&["/usr/a"]), list(&["../a"])],
        _ => vec![list(&["something"])],
    }
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Good,
    Bad(usize),
    Absent,
    Unreadable,
    Untried,
    LessTrusted,
    Twice,
    OtherBoot,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        200 => Just(Fate::Good),
        3 => (0..2_usize).prop_map(Fate::Bad),
        1 => Just(Fate::Absent),
        1 => Just(Fate::Unreadable),
        1 => Just(Fate::Untried),
        1 => Just(Fate::LessTrusted),
        1 => Just(Fate::Twice),
        1 => Just(Fate::OtherBoot),
    ]
}

fn apply(reading: &Reading, fate: Fate) -> Vec<Reading> {
    let with = |outcome| vec![Reading { outcome, ..reading.clone() }];
    match fate {
        Fate::Good => vec![reading.clone()],
        Fate::Bad(which) => {
            let values = bad_values(reading.key);
            with(Outcome::Value(values[which.min(values.len() - 1)].clone()))
        }
        Fate::Absent => with(Outcome::Absent),
        Fate::Unreadable => with(Outcome::Unreadable("EIO".to_owned())),
        Fate::Untried => Vec::new(),
        Fate::LessTrusted => vec![Reading { trust: Trust::Resident, ..reading.clone() }],
        Fate::Twice => vec![reading.clone(), Reading { outcome: Outcome::Absent, ..reading.clone() }],
        Fate::OtherBoot => {
            vec![Reading { boot_id: contract::id::BootId(uuid::Uuid::from_u128(0xdead)), ..reading.clone() }]
        }
    }
}

fn owner() -> impl Strategy<Value = DataOwner> {
    prop_oneof![
        3 => Just(DataOwner::Tenant("tenant-a".parse().unwrap())),
        1 => Just(DataOwner::Tenant("tenant-b".parse().unwrap())),
        1 => Just(DataOwner::Unknown),
        2 => Just(DataOwner::Nobody),
    ]
}

/// Any node: readings with fates, any owner, request and circumstances.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    let readings = Case::healthy().evidence.readings.len();
    let floor = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Floor::Repair)),
        1 => Just(Some(Floor::Reimage)),
        1 => Just(Some(Floor::Wipe)),
        1 => Just(Some(Floor::Empty)),
    ];
    let begun = prop_oneof![6 => Just(None), 1 => Just(unfinished(erase_step())), 1 => Just(unfinished(write_step())), 1 => Just(unfinished(data_step()))];
    let facts = (owner(), floor, begun, any::<bool>(), any::<bool>());
    let rare = (0..8_u8, 0..8_u8, 0..10_u8, 0..10_u8, 0..3_u8);
    (proptest::collection::vec(fate(), readings), facts, rare).prop_map(
        |(
            fates,
            (owner, floor, begun, blank, resident),
            (protected, imageless, tenantless, diskless, data_imageless),
        )| {
            let mut case = if blank { Case::blank() } else { Case::healthy() };
            let pairs = case.evidence.readings.iter().zip(fates);
            case.evidence.readings = pairs.flat_map(|(reading, fate)| apply(reading, fate)).collect();
            case.context.data_owner = owner;
            case.context.floor = floor;
            case.context.unfinished = begun;
            case.context.protected = protected == 0;
            if imageless == 0 {
                case.context.assignment.image = None;
            }
            if tenantless == 0 {
                case.context.assignment.tenant = None;
            }
            if data_imageless > 0 {
                case.context.assignment.data_images = vec![data_image(DATA_DISK)];
            }
            if diskless == 0 {
                case.evidence.inventory.disks = Outcome::Unreadable("EIO".to_owned());
            }
            if resident { case.resident() } else { case }
        },
    )
}

/// Not milder, when evidence got weaker.
pub(crate) fn no_permission(before: Action, after: Action) -> bool {
    after >= before || (after == Action::LookDeeper && before != Action::Keep)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_evidence_is_judged_and_judged_alike(case in case()) {
        let decision = case.judge();
        prop_assert!(!decision.reasons.is_empty());
        prop_assert!(decision.rejected.len() == 5);
        prop_assert!(serde_json::to_vec(&decision).unwrap() == serde_json::to_vec(&case.judge()).unwrap());
        prop_assert!(!crate::explain::explain(&decision).is_empty());
        // As it comes over the wire.
        let mut carried = case.clone();
        carried.evidence = serde_json::from_slice(&serde_json::to_vec(&case.evidence).unwrap()).unwrap();
        carried.context = serde_json::from_slice(&serde_json::to_vec(&case.context).unwrap()).unwrap();
        prop_assert!(carried.judge() == decision);
    }

    #[test]
    fn a_worse_value_never_gives_a_milder_action(case in case(), which: proptest::sample::Index, how in 0..2_usize) {
        proptest::prop_assume!(!case.evidence.readings.is_empty());
        let at = which.index(case.evidence.readings.len());
        let reading = case.evidence.readings[at].clone();
        // That no file was compared is not a worse value but a lost one.
        proptest::prop_assume!(reading.key != Key::ImageFilesChecked);
        let good = Case::healthy().evidence.outcome(&reading.subject, reading.key);
        // A blank disk is the good value where blankness is asked for.
        let good = if reading.key == Key::DiskContentSignatures { Outcome::Value(ReadingValue::list(Vec::new())) } else { good };
        let mut better = case.clone();
        better.evidence.readings[at].outcome = good;
        let mut worse = case;
        let values = bad_values(reading.key);
        worse.evidence.readings[at].outcome = Outcome::Value(values[how.min(values.len() - 1)].clone());
        prop_assert!(worse.action() >= better.action(), "{:?} {:?}: {:?} after {:?}", reading.subject, reading.key, worse.action(), better.action());
    }

    #[test]
    fn a_lost_reading_never_gives_permission(case in case(), which: proptest::sample::Index, how in 0..4_u8) {
        proptest::prop_assume!(!case.evidence.readings.is_empty());
        let at = which.index(case.evidence.readings.len());
        // Of a read-only disk the inventory says the same, and is always there.
        proptest::prop_assume!(case.evidence.readings[at].key != Key::DiskReadOnly);
        let before = case.action();
        let mut weaker = case;
        match how {
            0 => weaker.evidence.readings[at].outcome = Outcome::Unreadable("EIO".to_owned()),
            1 => weaker.evidence.readings[at].outcome = Outcome::Value(ReadingValue::Text("nonsense".to_owned())),
            2 if weaker.evidence.readings[at].key == Key::ImageFilesChecked => {
                weaker.evidence.readings[at].outcome = Outcome::Value(ReadingValue::Count(0));
            }
            _ => weaker.evidence.readings[at].boot_id = contract::id::BootId(uuid::Uuid::from_u128(0xdead)),
        }
        let after = weaker.action();
        prop_assert!(no_permission(before, after), "{:?}: {:?} after {:?}", weaker.evidence.readings[at], after, before);
    }

    #[test]
    fn less_trust_never_gives_permission(case in case(), which: proptest::sample::Index) {
        proptest::prop_assume!(!case.evidence.readings.is_empty());
        let before = case.action();
        let all = case.clone().resident().action();
        prop_assert!(no_permission(before, all), "{:?} after {:?}", all, before);
        let mut one = case;
        let at = which.index(one.evidence.readings.len());
        one.evidence.readings[at].trust = Trust::Resident;
        prop_assert!(no_permission(before, one.action()), "{:?} after {:?}", one.action(), before);
    }

    #[test]
    fn nothing_is_kept_or_left_across_tenants(case in case()) {
        let action = case.action();
        let owner = case.context.data_owner.clone();
        let tenant = case.context.assignment.tenant.clone();
        if let Some(tenant) = tenant
            && owner != DataOwner::Tenant(tenant)
            && owner != DataOwner::Nobody
        {
            prop_assert!(matches!(action, Action::Wipe | Action::Quarantine | Action::LookDeeper), "{:?}", action);
        }
        if case.context.protected {
            prop_assert!(matches!(action, Action::Keep | Action::Quarantine | Action::LookDeeper), "{:?}", action);
        }
    }

    #[test]
    fn a_request_is_a_floor(case in case()) {
        let mut asked = case.clone();
        asked.context.floor = Some(Floor::Reimage);
        let mut free = case;
        free.context.floor = None;
        prop_assert!(asked.action() >= free.action());
        prop_assert!(asked.action() >= Action::Reimage || asked.action() == Action::LookDeeper);
    }

    #[test]
    fn a_plan_writes_only_what_was_decided(case in case()) {
        let action = case.action();
        let ramdisk = case.evidence.trust >= Trust::Ramdisk;
        if let Ok(Some(plan)) = case.plan() {
            prop_assert!(matches!(action, Action::Repair | Action::Reimage | Action::Wipe));
            prop_assert!(ramdisk && !case.context.protected && !plan.steps.is_empty());
            let on_data_disks = plan.steps.iter().filter(|step| matches!(step, Step::WriteDataImage { .. })).count();
            let writes = |step: &Step| matches!(step, Step::WriteImage { .. });
            let erases = |step: &Step| matches!(step, Step::Erase { .. });
            let erased = plan.steps.iter().filter(|step| erases(step)).count();
            prop_assert!((erased > 0) == (action == Action::Wipe));
            let installs = (case.context.floor != Some(Floor::Empty)).then_some(erased + on_data_disks);
            prop_assert!(action == Action::Repair || plan.steps.iter().position(writes) == installs);
            let os_disk = &plan.steps.last().unwrap().disk().id;
            prop_assert!(action == Action::Wipe || on_data_disks > 0 || plan.disks() == [os_disk.clone()]);
            prop_assert!(plan == case.plan().unwrap().unwrap());
        }
    }
}

/// Why the data disk of a case may be written, told from the facts alone.
fn holds_nobodys_data(case: &Case, plan: &contract::plan::Plan) -> bool {
    let erased = plan
        .steps
        .iter()
        .any(|step| matches!(step, Step::Erase { disk, .. } if disk.id.as_str() == DATA_DISK));
    let of = |subject, key| {
        case.evidence
            .readings
            .iter()
            .filter(move |reading| (&reading.subject, reading.key) == (&subject, key))
    };
    let blank = case.context.data_owner == DataOwner::Nobody
        && of(disk_subject(DATA_DISK), Key::DiskContentSignatures)
            .any(|reading| reading.outcome == Outcome::Value(ReadingValue::list(Vec::new())));
    let begun = case.context.unfinished.as_ref().is_some_and(|work| work.plan.steps.contains(&data_step()));
    let installed = of(contract::reading::Subject::Image, Key::ImageInstalled)
        .all(|reading| reading.outcome == Outcome::Absent);
    erased || blank || (begun && installed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_data_disk_with_data_is_never_written(case in case()) {
        let Ok(Some(plan)) = case.plan() else { return Ok(()) };
        for step in plan.steps.iter().filter(|step| matches!(step, Step::WriteDataImage { .. })) {
            prop_assert!(step.disk().id.as_str() == DATA_DISK);
            prop_assert!(!case.context.assignment.data_images.is_empty());
            prop_assert!(holds_nobodys_data(&case, &plan), "{:?}", plan.steps);
        }
        prop_assert!(plan.disks().iter().all(|disk| [OS_DISK, DATA_DISK].contains(&disk.as_str())));
    }
}

/// The strategies above must reach every action, or the properties say little.
#[test]
fn the_cases_reach_every_action() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    let mut on_data_disks = 0;
    for _ in 0..600 {
        let case = case().new_tree(&mut runner).unwrap().current();
        seen.insert(case.action());
        let plan = case.plan().ok().flatten().map(|plan| plan.steps).unwrap_or_default();
        on_data_disks += plan.iter().filter(|step| matches!(step, Step::WriteDataImage { .. })).count();
    }
    assert!(on_data_disks > 20, "{on_data_disks}");
    assert_eq!(seen.len(), 6, "{seen:?}");
}
