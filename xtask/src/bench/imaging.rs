//! `cargo xtask bench imaging`: a whole image written, verified and imported, beside other tools.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use super::device::{Device, MEBIBYTE};
use super::image::{self, Folder};
use super::service::{Imported, Programs, Service};
use super::table::{mebibytes, median, render};
use super::{limit, machine, together, tools, virtual_machine};
use crate::demo::aim_line;
use crate::{packages, paths};

/// Room behind the image for the node's partition and the backup table, in mebibytes.
pub const ROOM_MEBIBYTES: u64 = 64;
/// Aim for our memory, in mebibytes.
const MEMORY_AIM_MEBIBYTES: f64 = 200.0;
/// In the second version of the image one mebibyte of so many with content has changed.
const SECOND_VERSION_STEP: usize = 20;

/// How large, how often, and where.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Size of the image, in mebibytes; three fifths of it are zeros
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(64..=65536))]
    pub size_mebibytes: u64,
    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub runs: u8,
    /// Folder of the device's file; its file system decides how fast the device is
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Leave out the virtual machine, which takes some minutes (`imaging` alone has one)
    #[arg(long)]
    pub no_machine: bool,
    /// Folder with `reprieve-agent-bench`, `reprieve-bootsvc` and `reprieve`, instead of building them
    #[arg(long, value_name = "FOLDER")]
    pub programs: Option<PathBuf>,
}

/// Everything that measurements need.
pub struct Stage {
    /// Our programs.
    pub programs: Programs,
    /// Where the image and the service's files lie.
    pub folder: Folder,
    /// The raw image.
    pub image: PathBuf,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// What is written to.
    pub device: Device,
    /// Where the device's file lies.
    pub place: Folder,
}

impl Stage {
    /// Builds what is missing and says what is measured on what.
    pub fn new(options: &Options) -> Result<Self> {
        packages::ensure(packages::BENCH)?;
        let programs = match &options.programs {
            Some(folder) => Programs::built(folder)?,
            None => Programs::build()?,
        };
        let folder = Folder::new(paths::build("bench"))?;
        let image = folder.file(&format!("image-{}.raw", options.size_mebibytes));
        image::make(&image, options.size_mebibytes)?;
        let place = Folder::new(options.folder.clone().unwrap_or_else(|| folder.path.clone()))?;
        let device = Device::new(&place.path, (options.size_mebibytes + ROOM_MEBIBYTES) * MEBIBYTE)?;
        println!("\n{}", machine::words(&device)?);
        println!(
            "image of {} MiB, three fifths zeros; median of {} runs; the device held other bytes before each\n",
            options.size_mebibytes, options.runs
        );
        Ok(Self { programs, folder, image, size_bytes: options.size_mebibytes * MEBIBYTE, device, place })
    }
}

/// One row of the table.
pub struct Row {
    /// What was done.
    pub what: &'static str,
    /// By whom.
    pub by: String,
    /// How long it took.
    pub seconds: f64,
    /// How many bytes were made or looked at.
    pub bytes: u64,
    /// What it cost, if it was ours.
    pub ours: Option<tools::Ours>,
}

impl Row {
    fn rate(&self) -> f64 {
        mebibytes(self.bytes) / self.seconds
    }

    fn cells(&self) -> Vec<String> {
        let ours = |figure: fn(&tools::Ours) -> f64| {
            self.ours.as_ref().map_or_else(String::new, |ours| format!("{:.0}", figure(ours)))
        };
        vec![
            self.what.to_owned(),
            self.by.clone(),
            format!("{:.2}", self.seconds),
            format!("{:.0}", self.rate()),
            ours(|ours| mebibytes(ours.bytes_read)),
            ours(|ours| mebibytes(ours.bytes_fetched)),
            ours(|ours| mebibytes(ours.bytes_written)),
            ours(memory),
        ]
    }
}

/// The most memory that a run of ours used, in mebibytes.
#[allow(clippy::cast_precision_loss)] // for people
pub fn memory(ours: &tools::Ours) -> f64 {
    ours.peak_memory_kibibytes as f64 / 1024.0
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let mut stage = Stage::new(options)?;
    let compressed = stage.folder.file("image.raw.zst");
    let zstd = repeat(options.runs, || {
        let script = format!("zstd -T0 -f -q {} -o {}", stage.image.display(), compressed.display());
        tools::shell("compressing the image with zstd", &script)
    })?;
    let service = Service::start(&stage.programs, &stage.folder.file("service"), &compressed)?;
    let (imported, again) = import(&stage, &service)?;
    let mut rows = written(&stage, &service, &imported, options.runs)?;
    rows.extend(verified(&stage, &service, &imported, options.runs)?);
    rows.extend(together::written(&stage, &service, options.runs)?);
    let whole = stage.size_bytes;
    let row =
        |by: &str, seconds| Row { what: "import", by: by.to_owned(), seconds, bytes: whole, ours: None };
    rows.push(row("zstd -T0 (compressing alone)", zstd));
    rows.push(row("reprieve image import", imported.seconds));
    rows.push(row("the same, second version with 5 % changed", again.seconds));
    print_table(&rows);
    println!("\nload {} at the end\n", machine::load());
    device_aims("", &rows);
    aims(&rows, &imported, &again);
    limited(&mut stage, &service, &imported, options.runs)?;
    if !options.no_machine {
        drop(service);
        let rows = virtual_machine::rows(&stage.programs, options.runs)?;
        println!("\n{}\n", virtual_machine::words());
        print_table(&rows);
        println!("\nload {} at the end\n", machine::load());
        device_aims("virtual machine, ", &rows);
    }
    Ok(())
}

/// The same on a device that is as slow as a disk.
fn limited(stage: &mut Stage, service: &Service, imported: &Imported, runs: u8) -> Result<()> {
    if !limit::is_possible() {
        println!("\nThe kernel of this machine cannot hold a device to the speed of a disk.");
        return Ok(());
    }
    stage.device.is_limited = true;
    println!(
        "\nThe same device, held to the speed of a SATA SSD: {} MB/s written and {} MB/s read, each by itself\n",
        limit::WRITE_BYTES_PER_SECOND / 1_000_000,
        limit::READ_BYTES_PER_SECOND / 1_000_000
    );
    let mut rows = written(stage, service, imported, runs)?;
    rows.extend(verified(stage, service, imported, runs)?);
    print_table(&rows);
    println!("\nload {} at the end\n", machine::load());
    device_aims("SATA SSD, ", &rows);
    Ok(())
}

fn print_table(rows: &[Row]) {
    let head = ["what", "by", "seconds", "MiB/s", "read MiB", "fetched MiB", "written MiB", "memory MiB"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(Row::cells));
    print!("{}", render(&cells));
}

fn repeat(runs: u8, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    (0..runs).map(|_| measure()).collect::<Result<Vec<f64>>>().map(median)
}

fn import(stage: &Stage, service: &Service) -> Result<(Imported, Imported)> {
    let imported = service.import(&stage.image, "bench")?;
    let second = stage.folder.file("second.raw");
    let changed = (0..stage.size_bytes / MEBIBYTE - 1)
        .filter(|index| index % 10 < 4 && *index > 0)
        .step_by(SECOND_VERSION_STEP);
    image::changed_copy(&stage.image, &second, changed)?;
    let again = service.import(&second, "bench-second")?;
    std::fs::remove_file(&second)?;
    Ok((imported, again))
}

/// Everybody who does the same thing, in turn.
pub struct Contest<'a> {
    what: &'static str,
    contenders: Vec<Contender<'a>>,
}

struct Contender<'a> {
    by: &'static str,
    bytes: u64,
    prepare: Box<dyn Fn() -> Result<()> + 'a>,
    measure: Box<dyn Fn() -> Result<Sample> + 'a>,
}

/// One run.
pub struct Sample {
    seconds: f64,
    ours: Option<tools::Ours>,
}

impl From<f64> for Sample {
    fn from(seconds: f64) -> Self {
        Self { seconds, ours: None }
    }
}

impl From<tools::Ours> for Sample {
    fn from(ours: tools::Ours) -> Self {
        Self { seconds: ours.seconds, ours: Some(ours) }
    }
}

impl<'a> Contest<'a> {
    /// One without contenders, for what they do.
    pub fn new(what: &'static str) -> Self {
        Self { what, contenders: Vec::new() }
    }

    /// One more; `prepare` is not measured.
    pub fn add<S: Into<Sample>>(
        &mut self,
        by: &'static str,
        bytes: u64,
        prepare: impl Fn() -> Result<()> + 'a,
        measure: impl Fn() -> Result<S> + 'a,
    ) {
        let measure = Box::new(move || measure().map(Into::into));
        self.contenders.push(Contender { by, bytes, prepare: Box::new(prepare), measure });
    }

    /// Round after round, so that a machine that becomes slower does so for all; the median run of each.
    pub fn hold(self, runs: u8) -> Result<Vec<Row>> {
        let mut samples: Vec<Vec<Sample>> = self.contenders.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for (contender, samples) in self.contenders.iter().zip(&mut samples) {
                (contender.prepare)()?;
                samples.push((contender.measure)()?);
            }
        }
        let rows = self.contenders.iter().zip(samples);
        Ok(rows.map(|(contender, samples)| middle(self.what, contender, samples)).collect())
    }
}

/// The run with the median time, and the most memory of all.
fn middle(what: &'static str, contender: &Contender<'_>, mut samples: Vec<Sample>) -> Row {
    let memory = samples.iter().filter_map(|run| run.ours.as_ref()).map(|ours| ours.peak_memory_kibibytes);
    let memory = memory.max().unwrap_or(0);
    samples.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let Sample { seconds, ours } = samples.swap_remove(samples.len().saturating_sub(1) / 2);
    let ours = ours.map(|ours| tools::Ours { peak_memory_kibibytes: memory, ..ours });
    Row { what, by: contender.by.to_owned(), seconds, bytes: contender.bytes, ours }
}

#[allow(clippy::cast_precision_loss)] // for people
fn fio_seconds(device: &Device, direction: &str, bytes: u64) -> Result<f64> {
    Ok(bytes as f64 / tools::fio(device, direction, bytes)?)
}

fn written(stage: &Stage, service: &Service, image: &Imported, runs: u8) -> Result<Vec<Row>> {
    let (device, whole) = (&stage.device, stage.size_bytes);
    let fill = || device.fill_with_old_content();
    // So that the service has it in memory, as it has chunks.
    tools::shell("warming up", &format!("curl --silent --fail {} > /dev/null", service.ramdisk_url()))?;
    let map = stage.folder.file("image.bmap");
    tools::make_map(&stage.image, &map)?;
    let mut contest = Contest::new("write");
    contest.add("fio, sequential writes", whole, fill, || fio_seconds(device, "write", whole));
    contest.add("curl, zstd -dc, dd oflag=direct", whole, fill, || {
        tools::dd_pipe(&service.ramdisk_url(), device)
    });
    contest.add("qemu-img convert -n -t none (local file)", whole, fill, || {
        tools::qemu_img(&stage.image, device)
    });
    contest.add("bmaptool copy (local file, leaves old bytes where zeros belong)", whole, fill, || {
        tools::bmaptool(&stage.image, &map, device)
    });
    contest.add("reprieve, read back, zeros made sure of", whole, fill, || {
        let ours = tools::agent(&stage.programs, service, device, &image.id)?;
        // The tables are in the first and last mebibyte and are our own.
        let same = device.holds(&stage.image, MEBIBYTE, whole - MEBIBYTE)?;
        ensure!(same, "the device does not hold the image after our agent said so");
        Ok(ours)
    });
    contest.add(
        "reprieve, on a blank device",
        whole,
        || device.make_blank(),
        || tools::agent(&stage.programs, service, device, &image.id),
    );
    contest.hold(runs)
}

fn verified(stage: &Stage, service: &Service, image: &Imported, runs: u8) -> Result<Vec<Row>> {
    let (device, whole) = (&stage.device, stage.size_bytes);
    device.fill_with_old_content()?;
    tools::agent(&stage.programs, service, device, &image.id)?;
    let device_bytes = whole + ROOM_MEBIBYTES * MEBIBYTE;
    let forget = || device.forget_cached();
    let mut contest = Contest::new("verify");
    contest.add("fio, sequential reads", whole, forget, || fio_seconds(device, "read", whole));
    contest.add("b3sum", device_bytes, forget, || tools::digest("b3sum", device));
    contest.add("sha256sum", device_bytes, forget, || tools::digest("sha256sum", device));
    contest.add("reprieve", whole, forget, || tools::agent(&stage.programs, service, device, &image.id));
    contest.hold(runs)
}

fn rate(rows: &[Row], what: &str, by: &str) -> f64 {
    rows.iter().find(|row| row.what == what && row.by.starts_with(by)).map_or(f64::NAN, Row::rate)
}

/// What is held against others on the same device.
fn device_aims(which: &str, rows: &[Row]) {
    let ours = rate(rows, "write", "reprieve, read");
    let factor = ours / rate(rows, "write", "curl");
    say(&format!("{which}whole image against curl, zstd, dd"), factor, 2.0, "x");
    let share = 100.0 * ours / rate(rows, "write", "fio");
    say(&format!("{which}whole image against fio's writes"), share, 90.0, " %");
    let share = 100.0 * rate(rows, "verify", "reprieve") / rate(rows, "verify", "fio");
    say(&format!("{which}verify against fio's reads"), share, 90.0, " %");
}

fn aims(rows: &[Row], imported: &Imported, again: &Imported) {
    let factor = rate(rows, "import", "reprieve") / rate(rows, "import", "zstd");
    say("import against zstd -T0", factor, 0.8, "x");
    let peak = rows.iter().filter_map(|row| row.ours.as_ref()).map(memory).fold(0.0, f64::max);
    let (figure, aim) = (format!("{peak:.0} MiB"), format!("{MEMORY_AIM_MEBIBYTES:.0} MiB"));
    println!("{}", aim_line("memory", &figure, &aim, peak <= MEMORY_AIM_MEBIBYTES));
    // A twentieth of the chunks with content, give or take how well each compresses.
    let new = 100.0 * mebibytes(again.stored_bytes - again.shared_bytes) / mebibytes(imported.stored_bytes);
    println!("{}", aim_line("second version stored anew", &format!("{new:.1} %"), "10 %", new <= 10.0));
}

/// One aim that is met by more.
fn say(name: &str, figure: f64, aim: f64, unit: &str) {
    println!("{}", aim_line(name, &format!("{figure:.2}{unit}"), &format!("{aim:.1}{unit}"), figure >= aim));
}
