use super::*;
use crate::probe::recorded::Tree;
use std::path::PathBuf;
use std::process::Command;

use interpreter::Words;

mod interpreter;

const ADDRESS: &str = "0000:3b:00.0";
/// A thousandth of the usual, which a processor does at once.
const SMALL: Size = Size { blocks: 3, threads: 256, steps: 40, piece_bytes: 1 << 20 };

/// What comes of working the GPU of `fake.c`, compiled with these definitions.
fn worked(definitions: &[&str]) -> Result<Tested, String> {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libcuda.so.1");
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/probe/gpu_test/fake.c");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-ffp-contract=off", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .args(definitions.iter().map(|one| format!("-D{one}")))
        .arg(source)
        .arg("-lm")
        .status();
    assert!(made.expect("cc runs").success());
    work(&Library::open(library.to_str().unwrap())?, ADDRESS, SMALL, Duration::ZERO)
}

/// What is told of answers and memory: errors, or `?` where they are not known.
fn errors(definitions: &[&str]) -> [String; 2] {
    let tested = worked(definitions).unwrap();
    [&tested.answers, &tested.memory].map(|tally| match tally.errors() {
        Outcome::Value(count) => count.to_string(),
        Outcome::Absent => panic!("nothing of a GPU is absent"),
        Outcome::Unreadable(why) => format!("? {why}"),
    })
}

#[test]
fn a_sound_gpu_gives_the_answers_that_are_known_and_keeps_what_is_written() {
    let tested = worked(&[]).unwrap();
    let found = readings("GPU-1234", Ok(tested));
    let told: Vec<_> = found.iter().map(|(subject, key, _)| (subject.to_string(), *key)).collect();
    assert_eq!(told, KEYS.map(|key| ("GPU GPU-1234".to_owned(), key)));
    let zero = Outcome::Value(ReadingValue::Count(0));
    assert_eq!([&found[0].2, &found[1].2], [&zero, &zero]);
    for (_, key, outcome) in &found[2..] {
        assert!(
            matches!(outcome, Outcome::Value(ReadingValue::Count(rate)) if *rate > 0),
            "{key}: {outcome:?}"
        );
    }
}

#[test]
fn one_wrong_answer_is_one_and_a_round_that_was_not_computed_is_all_wrong() {
    assert_eq!(errors(&["WRONG_IN=0"]), ["1", "0"], "the round that wakes it up counts");
    assert_eq!(errors(&["WRONG_IN=1"]), ["1", "0"]);
    // Two rounds of answers; memory that was not even looked at counts for each pass, and for the trial.
    let [answers, memory] = errors(&["IDLE"]);
    assert_eq!(answers, (2 * 3 * 256).to_string());
    let (words, pieces) = ((1 << 20) / 8, 8);
    assert_eq!(memory, (2 * words + 2 * pieces * words).to_string());
}

#[test]
fn bits_that_stick_are_found_at_either_value_and_a_gpu_that_does_not_look_is_found_too() {
    // 64 MiB are free: eight pieces, in each of which one word is wrong in one of two passes. In the trial it is
    // wrong where all are to be wrong, or right by chance.
    for definition in ["STUCK=4", "STUCK_LOW=4", "STUCK=1ull<<63", "STUCK_LOW=1ull<<63"] {
        assert_eq!(errors(&[definition]), ["0", "8"], "{definition}");
    }
    for definition in ["BLIND", "LAZY"] {
        let [answers, memory] = errors(&[definition]);
        assert_eq!(answers, "0");
        assert!(memory.parse::<u64>().unwrap() > 1000, "{definition}: {memory}");
    }
}

#[test]
fn a_gpu_that_gives_up_is_unknown_and_what_it_found_before_stays() {
    let [answers, memory] = errors(&["LAUNCH=999"]);
    assert!(answers.starts_with("? ") && answers.contains("CUDA_ERROR_UNKNOWN"), "{answers}");
    assert!(memory.starts_with("? "), "{memory}");
    let [answers, memory] = errors(&["LAUNCH=999", "LAUNCHES=1", "WRONG_IN=0"]);
    assert_eq!(answers, "1");
    assert!(memory.starts_with("? "), "{memory}");
    let tested = worked(&["LAUNCH=999", "LAUNCHES=1"]).unwrap();
    assert!(matches!(tested.answers.a_second(), Outcome::Unreadable(_)));
    // The driver itself says that memory was lost.
    let [answers, memory] = errors(&["LAUNCH=214", "LAUNCHES=5"]);
    assert_eq!([answers.as_str(), memory.as_str()], ["0", "1"]);
}

#[test]
fn little_memory_is_left_alone_and_less_than_was_promised_is_enough() {
    let [answers, memory] = errors(&["FREE_BYTES=100000"]);
    assert!(answers == "0" && memory.contains("too few to test any"), "{memory}");
    // Two passes that write and read each piece of a MiB; one place is for what is told.
    for (definition, pieces) in [("FREE_BYTES=(9<<20)", 1), ("FREE_BYTES=(16<<20)", 2), ("ROOM=4", 3)] {
        let tested = worked(&[definition]).unwrap();
        assert_eq!(tested.memory.errors(), Outcome::Value(0), "{definition}");
        assert_eq!(tested.memory.done, (pieces * 2 * 2) << 20, "{definition}");
    }
    assert_eq!(errors(&["ROOM=1"])[1], "? cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY (CUDA error 2)");
}

#[test]
fn a_driver_that_cannot_be_used_is_said_in_words() {
    let said = |definitions: &[&str]| worked(definitions).map(|_| ()).unwrap_err();
    assert!(said(&["INIT=999"]).contains("cuInit: CUDA_ERROR_UNKNOWN"));
    let tested = worked(&["OLD"]).unwrap();
    assert!(tested.answers.broken.unwrap().contains("has no cuCtxSynchronize"));
    let error = Library::open("libcuda-of-nobody.so.1").unwrap_err();
    assert!(error.contains("libcuda-of-nobody.so.1"), "{error}");
}

#[test]
fn each_gpu_that_is_seen_is_tested_or_unreadable_and_none_is_none() {
    let tree = Tree::new();
    tree.write("sys/bus/pci/devices/.keep", "");
    std::fs::remove_file(tree.path("sys/bus/pci/devices/.keep")).unwrap();
    assert_eq!(read(&tree.source(), Duration::ZERO), [], "no GPU, no reading");
    for (address, vendor) in [("0000:3b:00.0", "0x10de"), ("0000:5e:00.0", "0x1002")] {
        for (name, text) in [("class", "0x030200\n"), ("vendor", vendor), ("device", "0x2330")] {
            tree.write(&format!("sys/bus/pci/devices/{address}/{name}"), text);
        }
    }
    let found = read(&tree.source(), Duration::ZERO);
    assert_eq!(found.len(), 2 * KEYS.len());
    let why = |at: usize| match &found[at].2 {
        Outcome::Unreadable(why) => why.clone(),
        other => panic!("{other:?}"),
    };
    assert!(why(0).contains("recorded tree") && why(KEYS.len()).contains("only GPUs of NVIDIA's"));
    let killed = untested(&tree.source(), "killed");
    assert!(
        killed.len() == found.len()
            && killed.iter().all(|(_, _, outcome)| *outcome == Outcome::Unreadable("killed".to_owned()))
    );
    std::fs::remove_file(tree.path("sys/bus/pci/devices/0000:3b:00.0/class")).unwrap();
    let unlisted = read(&tree.source(), Duration::ZERO);
    assert!(matches!(
        unlisted.as_slice(),
        [(Subject::Node, ReadingKey::GpuTestErrors, Outcome::Unreadable(_))]
    ));
}

/// Where the memory of these tests is.
const BASE: u64 = 0x7000;

#[test]
fn the_kernels_text_gives_the_answers_that_the_processor_computes() {
    let kernel = interpreter::Kernel::of(KERNELS, "answers");
    for steps in [1, 2, 77] {
        let mut memory = Words::new();
        kernel.run(3, 128, &[BASE, steps], &mut memory);
        assert_eq!(memory.len(), 3 * 128);
        for (thread, (address, answered)) in memory.into_iter().enumerate() {
            assert_eq!(address, BASE + 8 * thread as u64);
            let expected = answer(thread as u32 % 256, steps as u32);
            assert_eq!(answered, expected, "thread {thread}, {steps} steps");
        }
    }
    let different: std::collections::BTreeSet<u64> = (0..256).map(|seed| answer(seed, 40)).collect();
    assert_eq!(different.len(), SEEDS);
}

#[test]
fn the_kernels_text_writes_every_bit_as_both_and_counts_what_differs() {
    let text = |name| interpreter::Kernel::of(KERNELS, name);
    let (fill, check, count, told) = (text("fill"), text("check"), 41, 0x10);
    let mut patterns = Vec::new();
    for pass in 0..6 {
        let mut memory = Words::from([(told, 0), (told + 8, 0)]);
        fill.run(2, 8, &[BASE, count, pass], &mut memory);
        patterns.push(memory.range(BASE..).map(|(_, word)| *word).collect::<Vec<u64>>());
        assert_eq!(patterns[pass as usize].len() as u64, count);
        check.run(2, 8, &[BASE, count, pass, told], &mut memory);
        assert_eq!([memory[&told], memory[&(told + 8)]], [0, count], "pass {pass}");
        *memory.get_mut(&(BASE + 8 * 40)).unwrap() ^= 1 << 63;
        check.run(2, 8, &[BASE, count, pass, told], &mut memory);
        assert_eq!([memory[&told], memory[&(told + 8)]], [1, 2 * count], "pass {pass}");
        check.run(2, 8, &[BASE, count, pass ^ 1, told], &mut memory);
        assert_eq!(memory[&told], 1 + count, "pass {pass}: in its complement every word differs");
    }
    for pair in patterns.chunks(2) {
        assert!(pair[0].iter().zip(&pair[1]).all(|(one, other)| one ^ other == u64::MAX));
    }
    assert_ne!(patterns[0], patterns[2]);
}
