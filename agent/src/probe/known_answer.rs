//! Known answers: every processor computes what is known beforehand, pinned to it. One that is wrong without
//! saying so ("silent data corruption") is found by nothing else.
//!
//! A round mixes integers, divides wide ones, walks a chaotic series of floating-point numbers, in which one
//! wrong bit changes all that follow, and hashes 64 KiB with BLAKE3, which uses the widest instructions that
//! the processor has. All of it is exact by IEEE 754 and gives the same on every sound processor.

use std::time::{Duration, Instant};

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::check::Check;
use super::evidence::Found;
use super::source::{self, Source};

/// Known answers and the test of the memory ([`super::memory_test`]), and the GPUs' ([`super::gpu_test`]).
pub const CHECK: Check = Check {
    number: 29,
    name: "known answers of processors, memory test",
    tier: Tier::T2,
    reads: "every processor in turn, and a share of the free memory; in a burn-in the GPUs",
    keys: &[
        ReadingKey::ProcessorTestErrors,
        ReadingKey::ProcessorsFailed,
        ReadingKey::ProcessorRounds,
        ReadingKey::MemoryTestErrors,
        ReadingKey::MemoryBandwidthMegabytes,
        ReadingKey::GpuTestErrors,
        ReadingKey::GpuMemoryTestErrors,
        ReadingKey::GpuAnswers,
        ReadingKey::GpuMemoryMegabytes,
    ],
    rules: &["fitness/processor-test", "fitness/memory-test", "fitness/gpu-test"],
};

/// BLAKE3 of what each seed gives.
const ANSWERS: [&str; 4] = [
    "c8f88350c2cd5e19da18ffdffb134db73b9424daf33599ee67870268d016b004",
    "af046389b161ba45c6244fc927b7798770f42907414e2a68d1f6de74312e9664",
    "0c0a5ca587da80935c934937fee36e1dc935b50ee2357b3686c08ee8697c1d60",
    "ec31d94ac9433273cd0519a9f544f227623ca6a5fde0fc5e45ffd60c532b7f55",
];
/// Bytes that a round hashes.
const HASHED_BYTES: usize = 64 << 10;
/// Steps of integer and floating-point arithmetic in a round.
const STEPS: u32 = 2048;
/// As many processors as a set of the kernel's interface holds.
const PROCESSORS_MAX: usize = 1024;
/// Memory for a thread: it calls little.
const STACK_BYTES: usize = 256 << 10;

/// What one processor did.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Work {
    processor: usize,
    rounds: u64,
    wrong: u64,
}

/// Computes the answer for one of the seeds.
fn answer(seed: usize, scratch: &mut Vec<u8>) -> blake3::Hash {
    let mut mixed = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        // SplitMix64.
        mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    scratch.clear();
    while scratch.len() < HASHED_BYTES {
        scratch.extend_from_slice(&next().to_le_bytes());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(scratch);
    let (mut whole, mut wide) = (next(), u128::from(next()));
    let mut chaotic = 0.3 + 1.0 / (seed as f64 + 7.0);
    let mut roots = 0.0_f64;
    for step in 0..STEPS {
        whole = whole.rotate_left(13).wrapping_mul(0x2545_f491_4f6c_dd1d) ^ u64::from(whole.count_ones());
        wide = (wide << 64 | u128::from(whole)) % (u128::from(u64::MAX) - u128::from(step));
        // The logistic map stays between 0 and 1.
        chaotic = 3.99 * chaotic * (1.0 - chaotic);
        roots = (roots + chaotic).sqrt() / (chaotic + 0.5);
    }
    for value in [whole, wide as u64, chaotic.to_bits(), roots.to_bits()] {
        hasher.update(&value.to_le_bytes());
    }
    hasher.finalize()
}

/// What computes; a test puts something broken in its place.
type Compute<'a> = &'a (dyn Fn(usize, usize, &mut Vec<u8>) -> blake3::Hash + Sync);

/// Lets all processors compute side by side, each for `time` and each answer at least once.
fn run(processors: &[usize], time: Duration, compute: Compute<'_>) -> Vec<Result<Work, String>> {
    let deadline = Instant::now() + time;
    std::thread::scope(|scope| {
        let running: Vec<_> = processors
            .iter()
            .map(|&processor| {
                let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
                builder.spawn_scoped(scope, move || work(processor, deadline, compute))
            })
            .collect();
        let broken = |what: String| Err(format!("the test of a processor broke off: {what}"));
        running
            .into_iter()
            .map(|thread| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|_| broken("it panicked".to_owned())),
                Err(error) => broken(error.to_string()),
            })
            .collect()
    })
}

fn work(processor: usize, deadline: Instant, compute: Compute<'_>) -> Result<Work, String> {
    let pinned = || {
        let mut set = CpuSet::new();
        set.set(processor)?;
        sched_setaffinity(Pid::from_raw(0), &set)
    };
    pinned().map_err(|error| format!("cannot run on processor {processor}: {error}"))?;
    let mut scratch = Vec::with_capacity(HASHED_BYTES);
    let mut work = Work { processor, rounds: 0, wrong: 0 };
    while work.rounds < ANSWERS.len() as u64 || Instant::now() < deadline {
        let seed = (work.rounds % ANSWERS.len() as u64) as usize;
        let computed = compute(processor, seed, &mut scratch);
        work.wrong += u64::from(computed.to_hex().as_str() != ANSWERS[seed]);
        work.rounds += 1;
    }
    Ok(work)
}

/// Tests every processor that is online for `time`.
#[must_use]
pub fn read(source: &Source, time: Duration) -> Vec<Found> {
    let online = source.path("sys/devices/system/cpu/online");
    let processors = match source::read_text(&online) {
        Ok(text) => parse_list(&text),
        Err(error) => Err(format!("cannot read {}: {error}", online.display())),
    };
    match processors {
        Ok(processors) => {
            let began = Instant::now();
            let done = run(&processors, time, &|_, seed, scratch| answer(seed, scratch));
            readings(&done, began.elapsed(), |processor| place(source, processor))
        }
        Err(why) => KEYS.map(|key| (Subject::Node, key, Outcome::Unreadable(why.clone()))).to_vec(),
    }
}

const KEYS: [ReadingKey; 3] =
    [ReadingKey::ProcessorTestErrors, ReadingKey::ProcessorsFailed, ReadingKey::ProcessorRounds];

fn readings(done: &[Result<Work, String>], took: Duration, place: impl Fn(usize) -> String) -> Vec<Found> {
    let works: Vec<&Work> = done.iter().filter_map(|done| done.as_ref().ok()).collect();
    let untested = done.iter().find_map(|done| done.as_ref().err());
    let wrong = works.iter().map(|work| work.wrong).fold(0, u64::saturating_add);
    let failed = works.iter().filter(|work| work.wrong > 0).map(|work| place(work.processor)).collect();
    let rounds = works.iter().map(|work| work.rounds).fold(0, u64::saturating_add);
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let a_second = ReadingValue::Count(rounds.saturating_mul(1000) / millis);
    let values = [ReadingValue::Count(wrong), ReadingValue::list(failed), a_second];
    let outcome = |value| match untested {
        // A wrong answer is one, whatever else was not tested; none is none only if all were.
        Some(why) if wrong == 0 => Outcome::Unreadable(why.clone()),
        _ => Outcome::Value(value),
    };
    KEYS.into_iter().zip(values).map(|(key, value)| (Subject::Node, key, outcome(value))).collect()
}

/// A processor as a person finds it: its number, core and package.
fn place(source: &Source, processor: usize) -> String {
    let topology = source.path(&format!("sys/devices/system/cpu/cpu{processor}/topology"));
    let number = |name: &str| source::number(&topology.join(name)).value().map(u64::to_string);
    let [core, package] =
        ["core_id", "physical_package_id"].map(|name| number(name).unwrap_or("?".to_owned()));
    format!("processor {processor} (core {core}, package {package})")
}

/// The numbers in a list of the kernel's, such as `0-3,8`.
fn parse_list(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("the list of processors is {}", source::quoted(text));
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let bounds = first.trim().parse::<usize>().ok().zip(last.trim().parse::<usize>().ok());
        let (first, last) = bounds.filter(|(first, last)| first <= last).ok_or_else(wrong)?;
        if last >= PROCESSORS_MAX {
            return Err(format!("processor {last} cannot be tested: only the first {PROCESSORS_MAX} can"));
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    fn here() -> Vec<usize> {
        let allowed = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
        (0..CpuSet::count()).filter(|number| allowed.is_set(*number).unwrap_or(false)).take(2).collect()
    }

    fn outcome(found: &[Found], wanted: ReadingKey) -> &Outcome<ReadingValue> {
        found.iter().find(|(_, key, _)| *key == wanted).map(|(_, _, outcome)| outcome).unwrap()
    }

    #[test]
    fn the_answers_are_those_that_are_known() {
        let mut scratch = Vec::new();
        let computed = [0, 1, 2, 3].map(|seed| answer(seed, &mut scratch).to_hex().to_string());
        assert_eq!(computed, ANSWERS);
    }

    #[test]
    fn a_processor_that_is_wrong_once_is_named() {
        let processors = here();
        let broken = processors[0];
        let compute = |processor: usize, seed: usize, scratch: &mut Vec<u8>| match (processor, seed) {
            (number, 2) if number == broken => blake3::hash(b"one bit is wrong"),
            _ => answer(seed, scratch),
        };
        let done = run(&processors, Duration::ZERO, &compute);
        let found = readings(&done, Duration::from_secs(1), |processor| format!("processor {processor}"));
        let count = |count| Outcome::Value(ReadingValue::Count(count));
        assert_eq!(outcome(&found, ReadingKey::ProcessorTestErrors), &count(1));
        let named = Outcome::Value(ReadingValue::list(vec![format!("processor {broken}")]));
        assert_eq!(outcome(&found, ReadingKey::ProcessorsFailed), &named);
        assert_eq!(outcome(&found, ReadingKey::ProcessorRounds), &count(4 * processors.len() as u64));
    }

    #[test]
    fn sound_processors_are_not_wrong_and_one_that_cannot_be_tested_is_not_sound() {
        let compute = |_: usize, seed: usize, scratch: &mut Vec<u8>| answer(seed, scratch);
        let mut done = run(&here(), Duration::ZERO, &compute);
        let found = readings(&done, Duration::from_secs(1), |_| String::new());
        assert_eq!(outcome(&found, ReadingKey::ProcessorTestErrors), &Outcome::Value(ReadingValue::Count(0)));
        // No machine that runs this has so many.
        done.extend(run(&[PROCESSORS_MAX - 1], Duration::ZERO, &compute));
        let found = readings(&done, Duration::from_secs(1), |_| String::new());
        assert!(matches!(outcome(&found, ReadingKey::ProcessorTestErrors), Outcome::Unreadable(_)));
    }

    #[test]
    fn lists_of_processors_are_read_and_a_machine_without_one_is_untested() {
        assert_eq!(parse_list("0-2,5\n"), Ok(vec![0, 1, 2, 5]));
        for wrong in ["", "x", "3-1", "0-99999999999", "1024"] {
            assert!(parse_list(wrong).is_err(), "{wrong}");
        }
        let found = read(&Tree::new().source(), Duration::ZERO);
        assert!(matches!(outcome(&found, ReadingKey::ProcessorTestErrors), Outcome::Unreadable(_)));
        assert_eq!(place(&Tree::new().source(), 7), "processor 7 (core ?, package ?)");
    }

    proptest! {
        #[test]
        fn any_list_is_survived(text in any::<String>(), numbers in "[0-9,-]{0,12}") {
            let _ = parse_list(&text);
            assert!(parse_list(&numbers).map_or(0, |list| list.len()) <= PROCESSORS_MAX);
        }
    }
}
