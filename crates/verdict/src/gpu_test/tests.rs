use contract::inventory::GpuFacts;
use contract::reading::{Outcome, ReadingKey as Key, ReadingValue, Subject, Tier};

use super::{GPUS_MAX, merged, tested};
use crate::peers::{HardwareModel, measures, measures_of_gpus, models_of_gpus};
use crate::testing::Case;

fn gpu(id: &str) -> Subject {
    Subject::Gpu(id.to_owned())
}

fn with_gpus(ids: &[&str]) -> Case {
    let mut case = Case::healthy();
    let facts = |id: &&str| GpuFacts {
        id: (*id).to_owned(),
        pci_address: format!("0000:{id}:00.0"),
        model: Outcome::Value("GPU 9".to_owned()),
        firmware_version: Outcome::Absent,
    };
    case.evidence.inventory.gpus = Outcome::Value(ids.iter().map(facts).collect());
    case
}

#[test]
fn each_gpu_has_its_name_and_what_is_missing_is_unknown() {
    let case =
        with_gpus(&["3b", "5e"]).count(gpu("3b"), Key::GpuTestErrors, 0).count(gpu("zz"), Key::GpuAnswers, 7);
    let tests = tested(&case.evidence);
    let told: Vec<_> = tests.iter().map(|test| (test.gpu.as_str(), test.hardware_model.as_str())).collect();
    assert_eq!(told, [("3b", "GPU 9"), ("zz", "")], "one that nobody tried is not among them");
    assert_eq!(tests[0].pci_address, "0000:3b:00.0");
    assert_eq!(tests[0].wrong_answers, Outcome::Value(0));
    assert!(matches!(tests[0].memory_errors, Outcome::Unreadable(_)));
    assert_eq!(tests[1].answers, Outcome::Value(7));
}

#[test]
fn of_several_words_the_worst_counts_and_another_boot_says_nothing() {
    let case = with_gpus(&["3b"])
        .count(gpu("3b"), Key::GpuTestErrors, 0)
        .count(gpu("3b"), Key::GpuMemoryTestErrors, 0)
        .count(gpu("3b"), Key::GpuAnswers, 900)
        .count(gpu("3b"), Key::GpuMemoryMegabytes, 900);
    let mut evidence = case.evidence;
    let again = |key, outcome: Outcome<ReadingValue>| {
        let mut reading = evidence.readings.iter().find(|one| one.key == key).unwrap().clone();
        reading.outcome = outcome;
        reading
    };
    let unreadable = Outcome::Unreadable("gone".to_owned());
    let mut more = vec![
        again(Key::GpuTestErrors, Outcome::Value(ReadingValue::Count(3))),
        again(Key::GpuTestErrors, unreadable.clone()),
        again(Key::GpuMemoryTestErrors, unreadable),
        again(Key::GpuAnswers, Outcome::Value(ReadingValue::Count(40))),
        again(Key::GpuMemoryMegabytes, Outcome::Value(ReadingValue::Flag(true))),
    ];
    evidence.readings.append(&mut more);
    let test = tested(&evidence).swap_remove(0);
    assert_eq!(test.wrong_answers, Outcome::Value(3), "errors that were counted stay");
    assert!(matches!(test.memory_errors, Outcome::Unreadable(_)), "none of what was lost is not none");
    assert_eq!(test.answers, Outcome::Value(40));
    assert!(matches!(test.memory_megabytes, Outcome::Unreadable(_)));
    evidence.boot_id = contract::id::BootId(uuid::Uuid::from_u128(77));
    assert!(matches!(tested(&evidence)[0].answers, Outcome::Unreadable(_)));
}

#[test]
fn only_so_many_gpus_are_taken() {
    let case = (0..=GPUS_MAX)
        .fold(with_gpus(&[]), |case, at| case.count(gpu(&format!("{at:03}")), Key::GpuTestErrors, 0));
    assert_eq!(tested(&case.evidence).len(), GPUS_MAX);
}

#[test]
fn rates_of_gpus_are_those_of_a_burn_in_and_a_node_counts_once() {
    let mut case = with_gpus(&["3b", "5e", "af"]);
    for (id, rate) in [("3b", 10), ("5e", 30), ("af", 20)] {
        case = case.count(gpu(id), Key::GpuAnswers, rate);
    }
    assert!(measures(&case.evidence).iter().all(|measure| measure.key != Key::GpuAnswers));
    let mut tests = tested(&case.evidence);
    let model = HardwareModel::Part("GPU 9".to_owned());
    let found = measures_of_gpus(&tests);
    let told: Vec<_> = found.iter().map(|one| (&one.hardware_model, one.key, one.tier, one.value)).collect();
    assert_eq!(told, [(&model, Key::GpuAnswers, Tier::T3, 20)]);
    assert_eq!(models_of_gpus(&tests), [model]);
    tests.iter_mut().for_each(|test| test.hardware_model.clear());
    assert_eq!(measures_of_gpus(&tests), [], "what has no name is like no other");
}

#[test]
fn a_later_test_takes_no_error_back_and_forgets_no_gpu() {
    let told = |counts: &[(&str, u64)]| {
        let case = counts.iter().fold(with_gpus(&[]), |case, (id, count)| {
            case.count(gpu(id), Key::GpuTestErrors, *count).count(gpu(id), Key::GpuMemoryTestErrors, 0)
        });
        tested(&case.evidence)
    };
    let after = merged(&told(&[("a", 3), ("b", 0), ("d", 0)]), told(&[("a", 0), ("b", 1), ("c", 0)]));
    assert_eq!(after, told(&[("a", 3), ("b", 1), ("c", 0), ("d", 0)]));
}
