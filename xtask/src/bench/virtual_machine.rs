//! The same measurements in a virtual machine: Debian's kernel and an NVMe disk of QEMU's, with emulated
//! processors. The machine's root is that of this machine, read-only, so that it has the same programs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reprieve_tests::process::Background;
use reprieve_tests::wait::until_every;

use super::device::MEBIBYTE;
use super::image::{self, Folder};
use super::imaging::Row;
use super::service::{Programs, Service};
use super::table::median;
use super::tools::{self, Ours};
use crate::kernel::{self, Kernel};
use crate::ramdisk::cpio::Archive;
use crate::{command, packages, paths};

/// Size of the image that is written in the machine, in mebibytes: emulated processors are slow.
pub const IMAGE_MEBIBYTES: u64 = 512;
/// Longest time for all of it.
const LIMIT: Duration = Duration::from_secs(40 * 60);
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How this machine's loopback is called in the virtual one, by QEMU's own network.
const HOST: &str = "10.0.2.2";
/// Enough to reach this machine's root; the rest is loaded from there.
const MODULES: [&str; 3] = ["virtio_pci", "9pnet_virtio", "9p"];
const MARK: &str = "FIGURE ";

/// The first process: reaches this machine's root and goes on there.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /proc /sys /dev /host
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
for module in /modules/*; do busybox insmod $module; done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose host /host || echo FIGURE failed root
for folder in proc sys dev; do busybox mount -o bind /$folder /host/$folder; done
busybox mount -t tmpfs none /host/run
busybox mount -t tmpfs none /host/tmp
exec busybox chroot /host /bin/bash SCRIPT
"#;

/// Measures in a machine; the rows of its table.
pub fn rows(programs: &Programs, runs: u8) -> Result<Vec<Row>> {
    packages::ensure(packages::BENCH_MACHINE)?;
    let kernel = kernel::ensure()?;
    let folder = Folder::new(paths::build("bench/machine"))?;
    let image = folder.file("image.raw");
    image::make(&image, IMAGE_MEBIBYTES)?;
    let compressed = folder.file("image.raw.zst");
    tools::shell(
        "compressing the image with zstd",
        &format!("zstd -T0 -f -q {} -o {}", image.display(), compressed.display()),
    )?;
    let service = Service::start(programs, &folder.file("service"), &compressed)?;
    let imported = service.import(&image, "bench")?;
    let script = folder.file("guest.sh");
    paths::write_whole(&script, include_bytes!("guest.sh"))?;
    let images = service.images_url().replace("127.0.0.1", HOST);
    let key = service.image_key();
    let words = [
        &script.display().to_string(),
        &kernel.root.display().to_string(),
        &programs.agent.display().to_string(),
        &images,
        &imported.id,
        &key.display().to_string(),
        &runs.to_string(),
        &IMAGE_MEBIBYTES.to_string(),
    ];
    let start = words.map(|word| format!("'{word}'")).join(" ");
    let ramdisk = folder.file("initramfs.cpio");
    write_ramdisk(&ramdisk, &kernel, &start)?;
    let console = run(&folder, &kernel, &ramdisk)?;
    rows_of(&console)
}

fn write_ramdisk(file: &Path, kernel: &Kernel, start: &str) -> Result<()> {
    let mut archive = Archive::default();
    for folder in ["bin", "modules"] {
        archive.directory(folder);
    }
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    archive.file("bin/busybox", 0o755, &read(Path::new("/bin/busybox"))?);
    archive.file("init", 0o755, INIT.replace("SCRIPT", start).as_bytes());
    for (number, module) in in_order(&kernel.modules())?.into_iter().enumerate() {
        archive.file(&format!("modules/{number:02}.ko"), 0o644, &read(&module)?);
    }
    paths::write_whole(file, &archive.finish())
}

/// The modules that are needed, each behind those that it needs itself.
fn in_order(modules: &Path) -> Result<Vec<PathBuf>> {
    let dependencies = paths::read_text(&modules.join("modules.dep"))?;
    let mut ordered: Vec<PathBuf> = Vec::new();
    for name in MODULES {
        let line = dependencies.lines().find(|line| {
            line.split_once(':').is_some_and(|(path, _)| path.ends_with(&format!("/{name}.ko")))
        });
        let (path, needed) = line
            .and_then(|line| line.split_once(':'))
            .with_context(|| format!("the kernel has no module {name}"))?;
        for path in needed.split_whitespace().rev().chain([path]) {
            let path = modules.join(path);
            if !ordered.contains(&path) {
                ordered.push(path);
            }
        }
    }
    Ok(ordered)
}

/// Runs the machine to its end; what it wrote to its console.
fn run(folder: &Folder, kernel: &Kernel, ramdisk: &Path) -> Result<String> {
    let disk = folder.file("disk.raw");
    File::create(&disk)
        .and_then(|file| file.set_len((IMAGE_MEBIBYTES + 64) * MEBIBYTE))
        .with_context(|| format!("making {}", disk.display()))?;
    let console = folder.file("console.log");
    let mut machine = Command::new(command::located("qemu-system-x86_64"));
    machine.args(["-machine", "q35,accel=tcg,graphics=off", "-cpu", "max", "-smp", "2", "-m", "2048"]);
    machine.args(["-nodefaults", "-display", "none", "-no-reboot"]);
    machine.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(ramdisk);
    machine.args(["-append", "console=ttyS0 quiet panic=-1"]);
    machine.arg("-serial").arg(format!("file:{}", console.display()));
    machine.args(["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"]);
    machine.args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]);
    machine.args([
        "-drive",
        &format!("file={},if=none,id=disk,format=raw,cache=none,aio=threads", disk.display()),
    ]);
    machine.args(["-device", "nvme,drive=disk,serial=bench"]);
    machine.stdin(Stdio::null());
    let _ = std::fs::remove_file(&console);
    let mut process = Background::start("qemu", &mut machine, &folder.file("qemu.log"))?;
    println!("  measuring in a virtual machine, which takes some minutes: {}", console.display());
    let text = || std::fs::read_to_string(&console).unwrap_or_default();
    until_every(LOOK_INTERVAL, "the machine's last figure", LIMIT, || {
        let said = text();
        let ended = said.contains("FIGURE end") || said.contains("FIGURE failed");
        if !ended {
            process.check_running()?;
        }
        Ok(ended.then_some(said))
    })
    .with_context(|| format!("the console ends:\n{}", end_of(&text())))
}

fn end_of(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}

fn rows_of(console: &str) -> Result<Vec<Row>> {
    let figures: Vec<(&str, &str)> =
        console.lines().filter_map(|line| line.trim().split_once(MARK)?.1.split_once(' ')).collect();
    ensure!(
        !figures.iter().any(|(name, _)| *name == "failed"),
        "something failed in the machine; the console ends:\n{}",
        end_of(console)
    );
    let bytes = IMAGE_MEBIBYTES * MEBIBYTE;
    let mut rows = Vec::new();
    for (name, what, by) in [
        ("fio-write", "write", "fio, sequential writes"),
        ("pipe", "write", "curl, zstd -dc, dd oflag=direct"),
        ("write", "write", "reprieve, read back, zeros made sure of"),
        ("fio-read", "verify", "fio, sequential reads"),
        ("b3sum", "verify", "b3sum"),
        ("verify", "verify", "reprieve"),
    ] {
        let of_name = figures.iter().filter(|(of, _)| *of == name).map(|(_, value)| *value);
        let row = match name {
            "write" | "verify" => ours(of_name)?.map(|ours| (ours.seconds, Some(ours))),
            _ => seconds(of_name)?.map(|seconds| (seconds, None)),
        };
        let (seconds, ours) = row.with_context(|| format!("the machine measured no {name}"))?;
        rows.push(Row { what, by: by.to_owned(), seconds, bytes, ours });
    }
    Ok(rows)
}

fn seconds<'a>(values: impl Iterator<Item = &'a str>) -> Result<Option<f64>> {
    let all: Vec<f64> =
        values.map(str::parse).collect::<Result<_, _>>().context("reading what the machine measured")?;
    Ok((!all.is_empty()).then(|| median(all)))
}

fn ours<'a>(values: impl Iterator<Item = &'a str>) -> Result<Option<Ours>> {
    let mut all: Vec<Ours> = values
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("reading what our agent said in the machine")?;
    all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let middle = all.len().saturating_sub(1) / 2;
    Ok(all.into_iter().nth(middle))
}

/// What the machine is, for people.
pub fn words() -> String {
    format!(
        "In a virtual machine (QEMU, TCG, 2 emulated processors, Debian's kernel), a loop device on QEMU's NVMe disk, image of {IMAGE_MEBIBYTES} MiB"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_console_become_rows_and_none_is_made_up() {
        let ours = r#"{"seconds": 2.5, "bytes_read": 1, "bytes_fetched": 2, "bytes_written": 3, "peak_memory_kibibytes": 4, "proof": "read back"}"#;
        let console = |last: &str| {
            format!(
                "noise\r\nFIGURE fio-write 1\r\nFIGURE pipe 4\nFIGURE pipe 3\nFIGURE pipe 9\nFIGURE write {ours}\nFIGURE fio-read 1\nFIGURE b3sum 2\n{last}\nFIGURE end 0\n"
            )
        };
        let rows = rows_of(&console(&format!("FIGURE verify {ours}"))).unwrap();
        assert_eq!(rows.len(), 6);
        assert!((rows[1].seconds - 4.0).abs() < 1e-9 && (rows[2].seconds - 2.5).abs() < 1e-9);
        assert!(rows_of(&console("")).is_err());
        assert!(rows_of(&console("FIGURE failed 17")).is_err());
    }
}
