//! A test of a share of the free memory: what was written must read back. The quick form finds broken
//! memory, not memory that is wrong now and then; that takes a burn-in.

use std::hint::black_box;
use std::num::NonZero;
use std::time::{Duration, Instant};

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use super::evidence::Found;
use super::source::{self, Source};

/// At most this part of the free memory is taken.
const SHARE_OF_FREE: u64 = 8;
/// Less says nothing.
const BYTES_MIN: u64 = 1 << 20;
/// More threads than this add nothing.
const THREADS_MAX: usize = 64;
/// Each thread has at least so much: less would stay in its processor's own cache, and the memory behind it
/// would not be tried.
const BYTES_OF_THREAD_MIN: u64 = 16 << 20;

/// What one thread found in its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Work {
    wrong: u64,
    copied_megabytes_a_second: u64,
}

/// What stands at a place in a pass: its own number, the reverse, noise, and alternating bits. Each bit of each
/// word is 0 and 1 within two passes.
fn word(index: u64, pass: u64) -> u64 {
    let noise = (index ^ (pass / 4)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    match pass % 4 {
        0 => noise ^ index,
        1 => !(noise ^ index),
        2 => 0x5555_5555_5555_5555_u64.rotate_left((index & 1) as u32),
        _ => 0xaaaa_aaaa_aaaa_aaaa_u64.rotate_left((index & 1) as u32),
    }
}

fn fill(words: &mut [u64], pass: u64) {
    for (index, place) in (0_u64..).zip(words.iter_mut()) {
        *place = word(index, pass);
    }
}

fn count_wrong(words: &[u64], pass: u64) -> u64 {
    (0_u64..).zip(words).filter(|(index, found)| **found != word(*index, pass)).count() as u64
}

/// What happens to the memory between writing and reading: nothing, unless a test says so.
type Between<'a> = &'a (dyn Fn(&mut [u64], u64) + Sync);

/// Tests `words` until the deadline, at least once over, then copies one half onto the other.
fn work(words: &mut [u64], deadline: Instant, between: Between<'_>) -> Work {
    let mut wrong = 0_u64;
    let mut pass = 0;
    while pass == 0 || Instant::now() < deadline {
        fill(words, pass);
        // Without this the compiler may take what it wrote for what it would read.
        between(black_box(&mut *words), pass);
        wrong = wrong.saturating_add(count_wrong(black_box(words), pass));
        pass += 1;
    }
    Work { wrong, copied_megabytes_a_second: copy_rate(words) }
}

fn copy_rate(words: &mut [u64]) -> u64 {
    const COPIES: u64 = 4;
    let (from, onto) = words.split_at_mut(words.len() / 2);
    let onto = &mut onto[..from.len()];
    let began = Instant::now();
    for _ in 0..COPIES {
        onto.copy_from_slice(black_box(from));
        black_box(&mut *onto);
    }
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    // Bytes a microsecond are megabytes a second.
    COPIES.saturating_mul(size_of_val(from) as u64) / micros
}

/// Tests `bytes` of memory with `threads`.
fn run(bytes: usize, threads: usize, time: Duration, between: Between<'_>) -> Result<Vec<Work>, String> {
    let mut memory: Vec<u64> = Vec::new();
    let length = bytes / size_of::<u64>();
    memory
        .try_reserve_exact(length)
        .map_err(|error| format!("cannot have {bytes} bytes to test: {error}"))?;
    memory.resize(length, 0);
    let deadline = Instant::now() + time;
    let part = length.div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let running: Vec<_> = memory
            .chunks_mut(part)
            .map(|words| scope.spawn(move || work(words, deadline, between)))
            .collect();
        let broken = |_| "the test of the memory broke off".to_owned();
        running.into_iter().map(|thread| thread.join().map_err(broken)).collect()
    })
}

const KEYS: [ReadingKey; 2] = [ReadingKey::MemoryTestErrors, ReadingKey::MemoryBandwidthMegabytes];

/// Tests up to `bytes_max` of memory for `time`, less where less is free.
#[must_use]
pub fn read(source: &Source, bytes_max: u64, time: Duration) -> Vec<Found> {
    let meminfo = source.path("proc/meminfo");
    let free = match source::read_text(&meminfo) {
        Ok(text) => parse_available(&text).ok_or_else(|| "/proc/meminfo has no MemAvailable".to_owned()),
        Err(error) => Err(format!("cannot read {}: {error}", meminfo.display())),
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let done = free.and_then(|free| {
        let bytes = bytes_max.min(free / SHARE_OF_FREE);
        if bytes < BYTES_MIN {
            return Err(format!("only {free} bytes of memory are free, too few to test any"));
        }
        let enough_for = usize::try_from(bytes / BYTES_OF_THREAD_MIN).unwrap_or(usize::MAX);
        let threads = threads.min(enough_for).max(1);
        run(usize::try_from(bytes).unwrap_or(usize::MAX), threads, time, &|_, _| {})
    });
    readings(done)
}

fn readings(done: Result<Vec<Work>, String>) -> Vec<Found> {
    let value = |key, value| (Subject::Node, key, Outcome::Value(ReadingValue::Count(value)));
    match done {
        Ok(works) => {
            let sum = |of: fn(&Work) -> u64| works.iter().map(of).fold(0, u64::saturating_add);
            let sums = [sum(|work| work.wrong), sum(|work| work.copied_megabytes_a_second)];
            KEYS.into_iter().zip(sums).map(|(key, sum)| value(key, sum)).collect()
        }
        Err(why) => KEYS.map(|key| (Subject::Node, key, Outcome::Unreadable(why.clone()))).to_vec(),
    }
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn parse_available(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    fn errors(found: &[Found]) -> &Outcome<ReadingValue> {
        &found[0].2
    }

    #[test]
    fn sound_memory_has_no_errors_and_a_bit_that_sticks_is_found() {
        let bytes = 2 << 20;
        let sound = readings(run(bytes, 2, Duration::ZERO, &|_, _| {}));
        assert_eq!(errors(&sound), &Outcome::Value(ReadingValue::Count(0)));
        assert!(matches!(sound[1].2, Outcome::Value(ReadingValue::Count(rate)) if rate > 0));
        for mask in [1_u64, 1 << 63] {
            // One bit of one word in each thread's part sticks, at 0 or at 1; two passes show either.
            let stuck = |words: &mut [u64], high: bool| {
                words[77] = if high { words[77] | mask } else { words[77] & !mask };
            };
            for high in [false, true] {
                let wrong: u64 = (0..2)
                    .map(|pass| {
                        let mut words = vec![0; 1024];
                        fill(&mut words, pass);
                        stuck(&mut words, high);
                        count_wrong(&words, pass)
                    })
                    .sum();
                assert_eq!(wrong, 1, "the bit {mask:x} stuck at {high}");
            }
        }
        let broken = readings(run(bytes, 2, Duration::ZERO, &|words, _| words[5] ^= 4));
        assert_eq!(errors(&broken), &Outcome::Value(ReadingValue::Count(2)));
    }

    #[test]
    fn little_free_memory_is_left_alone_and_said() {
        let tree = Tree::new();
        let test = |tree: &Tree| read(&tree.source(), 4 << 20, Duration::ZERO);
        assert!(matches!(errors(&test(&tree)), Outcome::Unreadable(_)));
        tree.write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n");
        let Outcome::Unreadable(why) = errors(&test(&tree)).clone() else { panic!("tested") };
        assert!(why.contains("too few"), "{why}");
        tree.write("proc/meminfo", "MemAvailable: 16000000 kB\n");
        assert_eq!(errors(&test(&tree)), &Outcome::Value(ReadingValue::Count(0)));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = parse_available(&text);
            let _ = parse_available(&format!("MemAvailable:{text}"));
        }

        #[test]
        fn every_bit_is_both_within_two_passes(index in any::<u64>(), pass in (0_u64..1000).prop_map(|n| n * 2)) {
            assert_eq!(word(index, pass) ^ word(index, pass + 1), u64::MAX);
        }
    }
    use proptest::strategy::Strategy;
}
