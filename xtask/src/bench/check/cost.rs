//! What looking costs: time and memory of the checks of T0 and T1, and the resident agent's share of a core.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::demo::aim_line;

/// Aim for all checks of T0 and T1, 95th percentile.
const LOOK_AIM: Duration = Duration::from_secs(10);
/// Aim for the memory of a look, in KiB.
const MEMORY_AIM_KIB: u64 = 20 * 1024;
/// Aim for the resident agent's share of one core, in percent.
const RESIDENT_AIM_PERCENT: f64 = 0.1;
/// How often the agent looks at everything in an hour, as shipped, files and all (`--look-seconds 900`).
const LOOKS_AN_HOUR: f64 = 4.0;
/// How often it looks at the kernel's log and the disks alone in an hour.
const QUICK_LOOKS_AN_HOUR: f64 = 60.0;
/// How often `/proc` is asked for a process's memory.
const POLL: Duration = Duration::from_micros(500);

/// Some runs of one command.
pub struct Cost {
    /// How long each took, in order of size.
    times: Vec<Duration>,
    /// Processor seconds of one, on average.
    pub processor_seconds: f64,
    /// The most memory that one was seen with, in KiB.
    memory_kib: u64,
}

impl Cost {
    /// Runs a command so many times.
    ///
    /// # Errors
    /// If it cannot be run or fails.
    pub fn measure(runs: u32, command: impl Fn() -> Command) -> Result<Self> {
        let (mut times, mut memory_kib) = (Vec::new(), 0);
        let before = processor_seconds_of_children()?;
        for _ in 0..runs {
            let mut command = command();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let begun = Instant::now();
            let mut child = command.spawn().context("starting the agent")?;
            let status = Path::new("/proc").join(child.id().to_string()).join("status");
            let ended = loop {
                if let Some(ended) = child.try_wait()? {
                    break ended;
                }
                memory_kib = memory_kib.max(most_memory_kib(&status));
                std::thread::sleep(POLL);
            };
            times.push(begun.elapsed());
            ensure!(ended.success(), "the agent ended with {ended}");
        }
        let processor_seconds = (processor_seconds_of_children()? - before) / f64::from(runs);
        times.sort_unstable();
        Ok(Self { times, processor_seconds, memory_kib })
    }

    fn percentile_95(&self) -> Duration {
        let place = (self.times.len() * 95).div_ceil(100).saturating_sub(1);
        self.times.get(place).copied().unwrap_or_default()
    }
}

/// Prints what looks at this machine cost, those without files and those with them, and the aims.
pub fn print(here: &Cost, with_files: &Cost) {
    println!("  {:<44} runs   median      p95      most   processor   memory", "");
    let row = |name: &str, cost: &Cost| {
        let millis = |time: Option<&Duration>| time.map_or(0, Duration::as_millis);
        println!(
            "  {name:<44} {:>4} {:>5} ms {:>5} ms {:>6} ms {:>8.1} ms {:>4.1} MiB",
            cost.times.len(),
            millis(cost.times.get(cost.times.len() / 2)),
            cost.percentile_95().as_millis(),
            millis(cost.times.last()),
            cost.processor_seconds * 1000.0,
            cost.memory_kib as f64 / 1024.0
        );
    };
    row("look at this machine", here);
    row("look at the files of the image, cached", with_files);
    // The files are one of the checks.
    let slowest = here.percentile_95().max(with_files.percentile_95());
    let memory_kib = here.memory_kib.max(with_files.memory_kib);
    // A quick look is a part of a look, so this is more than it is.
    let an_hour = LOOKS_AN_HOUR * with_files.processor_seconds + QUICK_LOOKS_AN_HOUR * here.processor_seconds;
    let percent = an_hour / 3600.0 * 100.0;
    println!();
    let aim = |what: &str, figure: String, aim: String, met: bool| {
        println!("{}", aim_line(what, &figure, &aim, met));
    };
    aim(
        "checks of T0 and T1, 95th percentile",
        format!("{} ms", slowest.as_millis()),
        format!("{} ms", LOOK_AIM.as_millis()),
        slowest <= LOOK_AIM,
    );
    aim(
        "memory of a look",
        format!("{:.1} MiB", memory_kib as f64 / 1024.0),
        format!("{} MiB", MEMORY_AIM_KIB / 1024),
        memory_kib <= MEMORY_AIM_KIB,
    );
    aim(
        "resident agent, share of a core, at most",
        format!("{percent:.3} %"),
        format!("{RESIDENT_AIM_PERCENT} %"),
        percent < RESIDENT_AIM_PERCENT,
    );
}

/// `VmHWM`: the most memory that a process had so far; 0 if it is gone.
fn most_memory_kib(status: &Path) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0)
}

/// Processor time of all children that have ended, user and system (`proc(5)`, fields 16 and 17 of `stat`).
fn processor_seconds_of_children() -> Result<f64> {
    const TICKS_A_SECOND: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
    // The name in parentheses may hold spaces.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field =
        |number: usize| rest.split_whitespace().nth(number - 3).and_then(|text| text.parse::<f64>().ok());
    let ticks = field(16).zip(field(17)).map(|(user, system)| user + system);
    ticks.map(|ticks| ticks / TICKS_A_SECOND).context("/proc/self/stat has no times of children")
}
