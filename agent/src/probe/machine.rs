//! The probes of the machine as a whole, one after the other, and what each of them took.

use std::time::{Duration, Instant};

use super::evidence::Found;
use super::source::Source;
use super::{
    boot_state, crash_records, fabric, file_system_errors, kernel, memory_errors, nics, pcie, processor,
    raid, sensors, tpm,
};

/// One probe, and which checks its readings are of.
struct Probe {
    checks: &'static [u8],
    read: fn(&Source) -> Vec<Found>,
}

/// All of them. Disks are looked at side by side, the kernel's log last; both elsewhere.
const PROBES: [Probe; 12] = [
    Probe { checks: &[5], read: tpm::read },
    Probe { checks: &[6, 19], read: kernel::read },
    Probe { checks: &[6], read: boot_state::read },
    Probe { checks: &[13], read: file_system_errors::read },
    Probe { checks: &[14], read: raid::read },
    Probe { checks: &[16, 17], read: memory_errors::read },
    Probe { checks: &[18], read: crash_records::read },
    Probe { checks: &[20, 21], read: pcie::read },
    Probe { checks: &[22], read: nics::link_downs },
    Probe { checks: &[23], read: fabric::read },
    Probe { checks: &[27], read: sensors::read },
    Probe { checks: &[27], read: processor::read },
];

/// What some checks took together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Which.
    pub checks: &'static [u8],
    /// How long.
    pub time: Duration,
}

/// Runs `work` and writes down what it took.
pub fn timed<T>(spent: &mut Vec<Spent>, checks: &'static [u8], work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    spent.push(Spent { checks, time: began.elapsed() });
    done
}

/// Runs all probes of the machine as a whole.
pub fn read(source: &Source, spent: &mut Vec<Spent>) -> Vec<Found> {
    PROBES.iter().flat_map(|probe| timed(spent, probe.checks, || (probe.read)(source))).collect()
}
