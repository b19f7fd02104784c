//! `cargo xtask bench erase`: overwriting a device with a proof, beside tools that overwrite.

use anyhow::{Result, ensure};
use clap::Args;

use super::device::{Device, MEBIBYTE};
use super::image::Folder;
use super::service::Programs;
use super::table::{mebibytes, median, render};
use super::{machine, tools};
use crate::demo::aim_line;
use crate::{packages, paths};

/// The overwrite alone writes at least so much of what fio writes, in percent.
const OVERWRITE_AIM_PERCENT: f64 = 90.0;
/// Markers, samples and the record cost at most so much of the overwrite's time, in percent.
const SAMPLING_AIM_PERCENT: f64 = 5.0;

/// How large, how often, and where.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Size of the device, in mebibytes
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(64..=65536))]
    pub size_mebibytes: u64,
    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub runs: u8,
    /// Folder of the device's file; its file system decides how fast the device is
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<std::path::PathBuf>,
    /// Folder with `reprieve-agent-bench`, `reprieve-bootsvc` and `reprieve`, instead of building them
    #[arg(long, value_name = "FOLDER")]
    pub programs: Option<std::path::PathBuf>,
}

/// Another tool, and what is known after it.
struct Other {
    by: &'static str,
    script: &'static str,
    known: &'static str,
}

/// DEVICE stands for the device, BYTES for its size, LOG for a file. What is not told a device wipes all that it finds, so the
/// device is a loop device by name, or nothing is run.
const OTHERS: [Other; 4] = [
    Other {
        by: "dd if=/dev/zero oflag=direct conv=fsync",
        script: "dd if=/dev/zero of=DEVICE oflag=direct iflag=count_bytes count=BYTES bs=4M conv=fsync status=none",
        known: "that every write was taken",
    },
    Other { by: "shred -n1 (random bytes)", script: "shred -n1 DEVICE", known: "that every write was taken" },
    Other {
        by: "blkdiscard -z",
        script: "blkdiscard --zeroout DEVICE && sync DEVICE",
        known: "that the device took the command",
    },
    Other {
        by: "nwipe --method=zero --verify=last",
        script: "nwipe --autonuke --nogui --nowait --nousb --noblank --method=zero --rounds=1 --verify=last \
                 --logfile=LOG DEVICE > LOG.out 2>&1 && grep -q 'Nwipe successfully completed' LOG",
        known: "that zeros were read back; a log",
    },
];

/// How deep ours reads back, and what is known after it.
const DEPTHS: [(&str, &str); 3] = [
    ("sampling", "markers gone, samples and both ends read back; a record"),
    ("ten-percent", "the same, and a tenth read back"),
    ("full", "the same, and everything read back"),
];

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    packages::ensure(packages::BENCH)?;
    packages::ensure(packages::BENCH_ERASE)?;
    let programs = match &options.programs {
        Some(folder) => Programs::built(folder)?,
        None => Programs::build()?,
    };
    let place = Folder::new(options.folder.clone().unwrap_or_else(|| paths::build("bench")))?;
    let device = Device::new(&place.path, options.size_mebibytes * MEBIBYTE)?;
    println!("\n{}", machine::words(&device)?);
    println!(
        "device of {} MiB; median of {} runs; it held other bytes before each\n",
        options.size_mebibytes, options.runs
    );
    let bytes = options.size_mebibytes * MEBIBYTE;
    let fill = || device.fill_with_old_content();
    let head = ["by", "seconds", "MiB/s", "read back MiB", "known afterwards"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let fio = repeat(options.runs, || fill().and_then(|()| tools::fio(&device, "write", bytes)))?;
    #[allow(clippy::cast_precision_loss)] // for people
    let fio_seconds = bytes as f64 / fio;
    rows.push(row("fio, sequential writes", fio_seconds, bytes, 0, "nothing"));
    for Other { by, script, known } in OTHERS {
        let (path, log) = (device.path().display().to_string(), place.file("erase.log"));
        ensure!(path.starts_with("/dev/loop"), "{path} is not a loop device");
        let script = script.replace("DEVICE", &path).replace("LOG", &log.display().to_string());
        let script = script.replace("BYTES", &bytes.to_string());
        let measure = || {
            fill()?;
            // nwipe adds to its log, where an earlier run's success would be found.
            let _ = std::fs::remove_file(&log);
            tools::shell(by, &script)
        };
        let seconds = repeat(options.runs, measure)?;
        let read = if by.starts_with("nwipe") { bytes } else { 0 };
        rows.push(row(by, seconds, bytes, read, known));
    }
    let mut aims = Vec::new();
    for (depth, known) in DEPTHS {
        let ours = middle(options.runs, || fill().and_then(|()| tools::erase(&programs, &device, depth)))?;
        ensure!(ours.bytes_written >= bytes, "our agent wrote {} of {bytes} bytes", ours.bytes_written);
        println!("{depth}: {}", ours.proof);
        rows.push(row(&format!("reprieve, {depth}"), ours.seconds, bytes, ours.bytes_read, known));
        if depth == "sampling" {
            aims = sampling_aims(&ours, fio_seconds);
            let (around, size_gibibytes) = around(&ours, bytes);
            println!(
                "around the overwrite: {around:.2} s whatever the size; at this speed {SAMPLING_AIM_PERCENT:.0} % from {size_gibibytes:.0} GiB on"
            );
        }
    }
    print!("\n{}", render(&rows));
    println!("\nload {} at the end\n\n{}", machine::load(), aims.join("\n"));
    Ok(())
}

fn sampling_aims(ours: &tools::Erased, fio_seconds: f64) -> Vec<String> {
    let overwrite = 100.0 * fio_seconds / ours.overwrite_seconds;
    let rest = 100.0 * (ours.seconds - ours.overwrite_seconds) / ours.overwrite_seconds;
    vec![
        aim_line(
            "overwrite against fio's writes",
            &format!("{overwrite:.1} %"),
            &format!("{OVERWRITE_AIM_PERCENT:.0} %"),
            overwrite >= OVERWRITE_AIM_PERCENT,
        ),
        aim_line(
            "markers, sampling and record beside the overwrite",
            &format!("{rest:.1} %"),
            &format!("{SAMPLING_AIM_PERCENT:.0} %"),
            rest <= SAMPLING_AIM_PERCENT,
        ),
    ]
}

/// What everything but the overwrite took, in seconds, and the size of a device in GiB of whose overwrite
/// that would be as much as the aim allows.
fn around(ours: &tools::Erased, bytes: u64) -> (f64, f64) {
    let around = ours.seconds - ours.overwrite_seconds;
    let allowed = ours.overwrite_seconds * SAMPLING_AIM_PERCENT / 100.0;
    (around, mebibytes(bytes) / 1024.0 * around / allowed)
}

fn row(by: &str, seconds: f64, bytes: u64, read: u64, known: &str) -> Vec<String> {
    let read = if read == 0 { String::new() } else { format!("{:.0}", mebibytes(read)) };
    let rate = mebibytes(bytes) / seconds;
    vec![by.to_owned(), format!("{seconds:.2}"), format!("{rate:.0}"), read, known.to_owned()]
}

fn repeat(runs: u8, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    (0..runs).map(|_| measure()).collect::<Result<Vec<f64>>>().map(median)
}

/// The run with the median time.
fn middle(runs: u8, mut measure: impl FnMut() -> Result<tools::Erased>) -> Result<tools::Erased> {
    let mut all: Vec<tools::Erased> = (0..runs).map(|_| measure()).collect::<Result<_>>()?;
    all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let middle = all.len().saturating_sub(1) / 2;
    ensure!(middle < all.len(), "nothing was measured");
    Ok(all.swap_remove(middle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aims_hold_the_parts_of_a_run_against_each_other() {
        let ours = tools::Erased {
            seconds: 1.03,
            overwrite_seconds: 1.0,
            bytes_read: 1,
            bytes_written: 1,
            proof: String::new(),
        };
        let aims = sampling_aims(&ours, 0.95);
        assert!(aims[0].contains("95.0 %") && aims[0].ends_with("met"), "{aims:?}");
        assert!(aims[1].contains("3.0 %") && aims[1].ends_with("met"), "{aims:?}");
        let (seconds, size_gibibytes) = around(&ours, 2 << 30);
        assert!((seconds - 0.03).abs() < 1e-9 && (size_gibibytes - 1.2).abs() < 1e-9);
        let slow = sampling_aims(&tools::Erased { seconds: 1.3, overwrite_seconds: 1.2, ..ours }, 0.95);
        assert!(slow.iter().all(|line| line.ends_with("missed")), "{slow:?}");
    }
}
