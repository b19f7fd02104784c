//! `cargo xtask bench`: sizes of kernel and ramdisks, and how long the kernel takes to start the agent.
//!
//! What needs a service and machines is measured by the demo, which prints its own figures.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{packages, paths, ramdisk};

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How often each ramdisk is booted; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub runs: u32,
    /// Memory of the machine, in mebibytes
    #[arg(long, default_value_t = 384)]
    pub memory_mebibytes: u32,
}

/// What the kernel prints just before it starts the agent.
const INIT_LINE: &str = "Run /init as init process";
const BOOT_TIMEOUT: Duration = Duration::from_secs(120);

/// Builds the ramdisks and measures them.
pub fn run(options: &Options) -> Result<()> {
    packages::ensure(&["qemu-system-x86"])?;
    let built = ramdisk::build(&ramdisk::Options::default())?;
    println!(
        "boots under emulation (TCG), {} MiB of memory, median of {}:",
        options.memory_mebibytes, options.runs
    );
    for (name, file) in [("virtual machines", &built.initramfs), ("servers", &built.server_initramfs)] {
        let mut kernel_millis = Vec::new();
        let mut wall_millis = Vec::new();
        for _ in 0..options.runs {
            let boot = boot(&built.kernel, file, options.memory_mebibytes)?;
            kernel_millis.push(boot.kernel_millis);
            wall_millis.push(boot.wall_millis);
        }
        println!(
            "  ramdisk for {name}: kernel start to agent {} ms, power-on to agent {} ms",
            median(&mut kernel_millis),
            median(&mut wall_millis)
        );
    }
    Ok(())
}

/// One boot, in milliseconds.
struct Boot {
    /// From kernel start to the start of the agent, as the kernel counts.
    kernel_millis: u64,
    /// From the start of the emulator to the same, as a clock on the wall counts.
    wall_millis: u64,
}

/// Ends the emulator whatever happens.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn boot(kernel: &Path, initramfs: &Path, memory_mebibytes: u32) -> Result<Boot> {
    let started = Instant::now();
    let child = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-machine", "q35", "-cpu", "max", "-nographic", "-no-reboot", "-net", "none"])
        .args(["-m", &format!("{memory_mebibytes}M"), "-append", "console=ttyS0"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .current_dir(paths::repository())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("booting the ramdisk: starting qemu-system-x86_64")?;
    let mut emulator = Emulator(child);
    let output = emulator.0.stdout.take().context("booting the ramdisk: the emulator has no output")?;
    let (sender, receiver) = channel();
    // Ends by itself when the emulator is gone.
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    loop {
        match receiver.recv_timeout(BOOT_TIMEOUT.saturating_sub(started.elapsed())) {
            Ok(line) if line.contains(INIT_LINE) => {
                let kernel_millis = kernel_time_millis(&line).context("the kernel prints no times")?;
                let wall_millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Ok(Boot { kernel_millis, wall_millis });
            }
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                bail!("the kernel did not start the agent within {BOOT_TIMEOUT:?}")
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the emulator ended before the agent was started"),
        }
    }
}

/// The time in `[    1.234567] text`, in milliseconds.
fn kernel_time_millis(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once('[')?;
    let (time, _) = rest.split_once(']')?;
    let (seconds, micros) = time.trim().split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let micros: u64 = micros.parse().ok()?;
    Some(seconds * 1000 + micros / 1000)
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_times_are_read() {
        assert_eq!(kernel_time_millis("[    1.234567] Run /init as init process\r"), Some(1234));
        assert_eq!(kernel_time_millis("no time"), None);
        assert_eq!(median(&mut [3, 1, 2]), 2);
    }
}
