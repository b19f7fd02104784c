//! `cargo xtask bench` alone: sizes of the ramdisks, and how long a machine takes from kernel start until its
//! agent has spoken to the service.
//!
//! What whole jobs cost is measured by the demo, which prints its own figures.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use reprieve_tests::disk::DiskBus;
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, OnReset};
use reprieve_tests::scenario::{site, small};
use reprieve_tests::service::Configuration;

use crate::demo::{self, aim_line, ramdisk_aims};

/// Longest time that a boot may take.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// Aim for the time from kernel start to the agent's first word, in milliseconds.
pub const FIRST_CONTACT_AIM_MILLIS: u64 = 4000;
/// What the agent says when the service has answered.
const CONTACT: &str = "first contact ";

/// What to measure.
#[derive(Debug, Clone, Args)]
// Its name would be that of the options that it is part of.
#[group(skip)]
pub struct Options {
    /// How often each firmware boots the ramdisk; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub runs: u8,
    /// Memory of the machine, in mebibytes
    #[arg(long, default_value_t = 384)]
    pub memory_mebibytes: u32,
}

/// Builds what is missing and measures, one machine at a time.
pub fn run(options: &Options) -> Result<()> {
    demo::prepare()?;
    println!("machines under emulation (TCG), one at a time, {} MiB of memory:", options.memory_mebibytes);
    println!("  firmware   run   kernel start to first contact   power-on to first contact");
    let mut medians = Vec::new();
    for firmware in [Firmware::Bios, Firmware::UefiPxe] {
        medians.push((firmware, measure(firmware, options)?));
    }
    println!();
    for line in ramdisk_aims()? {
        println!("{line}");
    }
    for (firmware, millis) in medians {
        println!(
            "{}",
            aim_line(
                &format!("kernel start to first contact, {}, median", firmware.words()),
                &format!("{millis} ms"),
                &format!("{FIRST_CONTACT_AIM_MILLIS} ms"),
                millis <= FIRST_CONTACT_AIM_MILLIS
            )
        );
    }
    Ok(())
}

/// The median of some boots, in milliseconds from kernel start as the kernel counts.
fn measure(firmware: Firmware, options: &Options) -> Result<u64> {
    let artefacts = reprieve_tests::artefacts::Artefacts::find()?;
    let lab = Lab::new()?;
    let place = small::site(&lab, &artefacts, &Configuration::default())?;
    let mut times = Vec::new();
    for run in 1..=options.runs {
        let mut spec = site::spec(&format!("bench{run}"), run, firmware);
        spec.memory_mib = options.memory_mebibytes;
        let mut machine = place.machine(spec, DiskBus::Virtio, small::DISK_BYTES)?;
        let started = Instant::now();
        machine.start(OnReset::Restart)?;
        machine.wait_console_times(CONTACT, 1, BOOT_LIMIT)?;
        let wall_millis = started.elapsed().as_millis();
        let millis = contact_millis(&machine.console_text())
            .with_context(|| format!("reading {}", Path::display(&machine.console())))?;
        machine.cut_power();
        println!("  {:<10} {run:>3}   {millis:>23} ms   {wall_millis:>22} ms", firmware.words());
        times.push(millis);
    }
    times.sort_unstable();
    times.get(times.len() / 2).copied().context("nothing was measured")
}

/// The figure in `first contact 1234 ms after kernel start`.
fn contact_millis(console: &str) -> Option<u64> {
    let (_, rest) = console.split_once(CONTACT)?;
    rest.split_once(" ms")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_first_word_is_read() {
        assert_eq!(contact_millis("INFO first contact 3937 ms after kernel start\r\n"), Some(3937));
        assert_eq!(contact_millis("INFO first contact"), None);
    }
}
