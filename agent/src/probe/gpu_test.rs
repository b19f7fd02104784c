//! GPUs at work: known answers, and a test of a share of their memory. Each is timed, for the comparison with the
//! same GPU in other nodes.
//!
//! The work is two kernels of our own (`gpu_test/kernels.ptx`), which NVIDIA's driver compiles. Answers are copied
//! back and compared by the processor, which computes the same: every operation is exact by IEEE 754. Memory is
//! compared by the GPU itself, and whether it can tell is tried on a pattern that must differ everywhere. Nothing
//! is worked that another process uses. What cannot be tested is unreadable, with the reason.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use contract::inventory::GpuFacts;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use super::cuda_library::{Context, Kernel, Library, Memory, Refused};
use super::evidence::Found;
use super::question::Asked;
use super::source::Source;
use super::{gpus, nvml};

/// What the library is called; the loader knows where the driver put it.
const LIBRARY: &str = "libcuda.so.1";
/// A GPU that hangs keeps whoever waits for it for ever. Starting the driver takes seconds for each GPU.
static CUDA: Asked = Asked::new("the CUDA driver", Duration::from_secs(180));
/// Working a GPU longer says no more of its pace.
const GPU_TIME_MAX: Duration = Duration::from_secs(60);
/// Working it less says nothing: it first has to leave its sleep.
const GPU_TIME_MIN: Duration = Duration::from_secs(2);
/// Of the time of a burn-in, one part in so many is for all GPUs together.
const PART_OF_BURN_IN: u32 = 10;
/// At most this part of a GPU's free memory is taken.
const SHARE_OF_FREE: u64 = 8;
/// Less says nothing.
const BYTES_MIN: u64 = 1 << 20;
/// So many answers are different; the processor computes them once.
const SEEDS: usize = 256;
const KERNELS: &str = concat!(include_str!("gpu_test/kernels.ptx"), "\0");

/// The readings of one GPU.
pub const KEYS: [ReadingKey; 4] = [
    ReadingKey::GpuTestErrors,
    ReadingKey::GpuMemoryTestErrors,
    ReadingKey::GpuAnswers,
    ReadingKey::GpuMemoryMegabytes,
];

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Blocks of threads; each thread gives one answer.
    blocks: u32,
    /// Threads of a block.
    threads: u32,
    /// Steps to an answer.
    steps: u32,
    /// Memory is taken in pieces of this size.
    piece_bytes: u64,
}

impl Size {
    /// Some milliseconds for a large GPU, less than a second for a small one: a driver may end what takes longer.
    const USUAL: Self = Self { blocks: 4096, threads: 256, steps: 8192, piece_bytes: 256 << 20 };
}

/// Works every GPU in turn; `burn_in` is how long the whole burn-in takes. No GPU, no reading.
#[must_use]
pub fn read(source: &Source, burn_in: Duration) -> Vec<Found> {
    let found = match gpus::read(source).facts {
        Outcome::Value(found) => found,
        Outcome::Absent => return Vec::new(),
        Outcome::Unreadable(why) => {
            let why = format!("the GPUs could not be listed: {why}");
            return vec![(Subject::Node, ReadingKey::GpuTestErrors, Outcome::Unreadable(why))];
        }
    };
    let count = u32::try_from(found.len()).unwrap_or(u32::MAX).max(1);
    let time = (burn_in / PART_OF_BURN_IN / count).clamp(GPU_TIME_MIN, GPU_TIME_MAX);
    let test = |gpu: &GpuFacts| {
        tracing::info!("working GPU {} for {} s", gpu.id, time.as_secs());
        readings(&gpu.id, test(source, &gpu.pci_address, time))
    };
    found.iter().flat_map(test).collect()
}

/// The readings of GPUs that nobody worked, and why.
#[must_use]
pub fn untested(source: &Source, why: &str) -> Vec<Found> {
    let found = gpus::read(source).facts;
    let found = found.value().map_or(&[][..], Vec::as_slice);
    found.iter().flat_map(|gpu| readings(&gpu.id, Err(why.to_owned()))).collect()
}

fn readings(id: &str, tested: Result<Tested, String>) -> Vec<Found> {
    let outcomes = match tested {
        Ok(tested) => {
            let (answers, memory) = (&tested.answers, &tested.memory);
            [answers.errors(), memory.errors(), answers.a_second(), memory.megabytes_a_second()]
        }
        Err(why) => KEYS.map(|_| Outcome::Unreadable(why.clone())),
    };
    let found = KEYS.into_iter().zip(outcomes);
    found.map(|(key, outcome)| (Subject::Gpu(id.to_owned()), key, outcome.map(ReadingValue::Count))).collect()
}

fn test(source: &Source, address: &str, time: Duration) -> Result<Tested, String> {
    if !gpus::is_of_nvidia(source, address)? {
        return Err("only GPUs of NVIDIA's can be worked by this agent".to_owned());
    }
    gpus::has_driver(source)?;
    match nvml::computing_processes(address) {
        Ok(0) => {}
        Ok(processes) => return Err(format!("it is in use: {processes} processes compute on it")),
        Err(why) => return Err(format!("whether it is in use could not be asked: {why}")),
    }
    let address = address.to_owned();
    CUDA.ask(move || work(&Library::open(LIBRARY)?, &address, Size::USUAL, time))
}

/// What came of working one GPU.
#[derive(Debug)]
struct Tested {
    answers: Tally,
    memory: Tally,
}

/// What one kind of work came to.
#[derive(Debug, Default)]
struct Tally {
    errors: u64,
    /// Answers, or bytes.
    done: u64,
    /// How long the GPU worked for what was done.
    busy: Duration,
    /// Why it ended early.
    broken: Option<String>,
}

impl Tally {
    /// An error is one, whatever else came; none is none only if all was done.
    fn errors(&self) -> Outcome<u64> {
        match &self.broken {
            Some(why) if self.errors == 0 => Outcome::Unreadable(why.clone()),
            _ => Outcome::Value(self.errors),
        }
    }

    fn a_second(&self) -> Outcome<u64> {
        self.rate(1_000_000)
    }

    /// Bytes a microsecond are megabytes a second.
    fn megabytes_a_second(&self) -> Outcome<u64> {
        self.rate(1)
    }

    fn rate(&self, factor: u128) -> Outcome<u64> {
        match &self.broken {
            Some(why) => Outcome::Unreadable(why.clone()),
            None => {
                let rate = u128::from(self.done) * factor / self.busy.as_micros().max(1);
                Outcome::Value(u64::try_from(rate).unwrap_or(u64::MAX))
            }
        }
    }

    /// What ends in a refusal keeps what was found before it.
    fn of(work: impl FnOnce(&mut Self) -> Result<(), Refused>) -> Self {
        let mut tally = Self::default();
        if let Err(refused) = work(&mut tally) {
            tally.broken = Some(refused.to_string());
            tally.errors = tally.errors.saturating_add(refused.is_uncorrectable_memory().into());
        }
        tally
    }
}

/// Works the GPU at an address, for `time` in all, and everything at least once.
fn work(library: &Library, address: &str, size: Size, time: Duration) -> Result<Tested, String> {
    let in_words = |refused: Refused| refused.to_string();
    let context = library.context(address).map_err(in_words)?;
    let text = CStr::from_bytes_with_nul(KERNELS.as_bytes()).map_err(|error| error.to_string())?;
    let module = context.load(text).map_err(in_words)?;
    let kernel = |name| module.kernel(name).map_err(in_words);
    let (answers, fill, check) = (kernel(c"answers")?, kernel(c"fill")?, kernel(c"check")?);
    let answers = Tally::of(|tally| give_answers(&context, &answers, size, time / 2, tally));
    let memory = MemoryTest { context: &context, fill, check, size };
    let memory = Tally::of(|tally| memory.run(time / 2, tally));
    Ok(Tested { answers, memory })
}

/// The answer for a seed, as the kernel computes it.
fn answer(seed: u32, steps: u32) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut whole = (u64::from(seed) + 1).wrapping_mul(ODD);
    let mut word = whole as u32;
    let mut single = (seed as f32).mul_add(f32::from_bits(0x3a80_0000), 0.25);
    let mut double = f64::from(seed).mul_add(f64::from_bits(0x3f50_0000_0000_0000), 0.25);
    for _ in 0..steps {
        whole = whole.rotate_left(13).wrapping_mul(0x2545_f491_4f6c_dd1d) ^ u64::from(word);
        word = word.wrapping_mul(1_664_525).wrapping_add(whole as u32);
        single = (-single).mul_add(single, single) * f32::from_bits(0x407f_5c29);
        double = (-double).mul_add(double, double) * f64::from_bits(0x400f_eb85_1eb8_51ec);
    }
    (whole ^ double.to_bits()).wrapping_mul(ODD) ^ (u64::from(word) << 32 | u64::from(single.to_bits()))
}

fn give_answers(
    context: &Context<'_>,
    kernel: &Kernel<'_>,
    size: Size,
    time: Duration,
    tally: &mut Tally,
) -> Result<(), Refused> {
    let expected: Vec<u64> = (0_u32..).map(|seed| answer(seed, size.steps)).take(SEEDS).collect();
    let mut answers = vec![0_u64; size.blocks as usize * size.threads as usize];
    let out = context.allocate(size_of_val(answers.as_slice()))?;
    let deadline = Instant::now() + time;
    // The first round wakes the GPU up: it counts, but not for the pace.
    let mut is_awake = false;
    while !is_awake || tally.done == 0 || Instant::now() < deadline {
        // What an earlier round left must not pass for this one's.
        out.clear()?;
        let began = Instant::now();
        kernel.launch(size.blocks, size.threads, vec![out.address(), size.steps.into()])?;
        context.synchronize()?;
        if is_awake {
            tally.busy += began.elapsed();
            tally.done += answers.len() as u64;
        }
        is_awake = true;
        out.copy_to(&mut answers)?;
        let rounds = answers.chunks(SEEDS).flat_map(|round| round.iter().zip(&expected));
        let wrong = rounds.filter(|(answer, expected)| answer != expected).count();
        tally.errors = tally.errors.saturating_add(wrong as u64);
    }
    Ok(())
}

/// What the GPU counted in its memory.
struct Counted {
    /// Words that are not as they should be.
    wrong: u64,
    /// Words that it did not look at.
    overlooked: u64,
}

/// The test of a GPU's memory.
struct MemoryTest<'a> {
    context: &'a Context<'a>,
    fill: Kernel<'a>,
    check: Kernel<'a>,
    size: Size,
}

impl MemoryTest<'_> {
    /// Passes come in pairs: a pattern, and its complement.
    fn run(&self, time: Duration, tally: &mut Tally) -> Result<(), Refused> {
        let free = self.context.free_bytes()?;
        let told = self.context.allocate(2 * size_of::<u64>())?;
        let pieces = self.take(free)?;
        let Some(first) = pieces.first() else {
            tally.broken = Some(format!("only {free} bytes of its memory are free, too few to test any"));
            return Ok(());
        };
        tally.errors = self.blindness(first, &told)?;
        let deadline = Instant::now() + time;
        let mut pass = 0;
        while pass < 2 || Instant::now() < deadline {
            let began = Instant::now();
            let Counted { wrong, overlooked } = self.pass(&pieces, &told, (pass, pass))?;
            tally.busy += began.elapsed();
            tally.errors = tally.errors.saturating_add(wrong).saturating_add(overlooked);
            let words: usize = pieces.iter().map(Memory::words).sum();
            // Each was written, and read.
            tally.done = tally.done.saturating_add(2 * (words * size_of::<u64>()) as u64);
            pass += 1;
        }
        Ok(())
    }

    /// Takes an eighth of what is free, less where somebody else was faster.
    fn take(&self, free: u64) -> Result<Vec<Memory<'_>>, Refused> {
        let share = free / SHARE_OF_FREE;
        let piece = self.size.piece_bytes.min(share);
        let mut pieces = Vec::new();
        if piece < BYTES_MIN {
            return Ok(pieces);
        }
        let bytes = usize::try_from(piece).unwrap_or(usize::MAX) / size_of::<u64>() * size_of::<u64>();
        for _ in 0..share / piece {
            match self.context.allocate(bytes) {
                Ok(memory) => pieces.push(memory),
                Err(refused) if refused.is_out_of_memory() && !pieces.is_empty() => break,
                Err(refused) => return Err(refused),
            }
        }
        Ok(pieces)
    }

    /// How many words the GPU takes for right that are not: where a pattern stands, its complement is looked for.
    fn blindness(&self, piece: &Memory<'_>, told: &Memory<'_>) -> Result<u64, Refused> {
        let Counted { wrong, overlooked } = self.pass(std::slice::from_ref(piece), told, (0, 1))?;
        Ok(wrong.abs_diff(piece.words() as u64).saturating_add(overlooked))
    }

    /// Writes one pass's pattern everywhere, then looks for one.
    fn pass(
        &self,
        pieces: &[Memory<'_>],
        told: &Memory<'_>,
        (written, wanted): (u64, u64),
    ) -> Result<Counted, Refused> {
        let Size { blocks, threads, .. } = self.size;
        told.clear()?;
        for piece in pieces {
            let parameters = vec![piece.address(), piece.words() as u64, written];
            self.fill.launch(blocks, threads, parameters)?;
        }
        self.context.synchronize()?;
        for piece in pieces {
            let parameters = vec![piece.address(), piece.words() as u64, wanted, told.address()];
            self.check.launch(blocks, threads, parameters)?;
        }
        self.context.synchronize()?;
        let mut counted = [0; 2];
        told.copy_to(&mut counted)?;
        let [wrong, looked_at] = counted;
        let words: usize = pieces.iter().map(Memory::words).sum();
        Ok(Counted { wrong, overlooked: looked_at.abs_diff(words as u64) })
    }
}

#[cfg(test)]
mod tests;
