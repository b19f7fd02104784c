//! The tools that are measured, ours among them. Each is run on its own, and its wall time counts.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::device::{Device, MEBIBYTE};
use super::service::{Programs, Service};
use crate::command::{output, privileged};

/// What one run of our agent cost.
#[derive(Debug, Clone, Deserialize)]
pub struct Ours {
    /// Wall time in seconds.
    pub seconds: f64,
    /// Read from the device, in bytes.
    pub bytes_read: u64,
    /// Fetched, in bytes as they came.
    pub bytes_fetched: u64,
    /// Written to the device, in bytes.
    pub bytes_written: u64,
    /// The most memory in use, in kibibytes.
    pub peak_memory_kibibytes: u64,
    /// What was proven.
    pub proof: String,
}

/// What one erase by our agent cost.
#[derive(Debug, Clone, Deserialize)]
pub struct Erased {
    /// Wall time in seconds.
    pub seconds: f64,
    /// Of these, from the first zero written until all of them were flushed.
    pub overwrite_seconds: f64,
    /// Read from the device, in bytes.
    pub bytes_read: u64,
    /// Written to the device, in bytes.
    pub bytes_written: u64,
    /// What was proven.
    pub proof: String,
}

/// Our agent overwrites a device and reads back as deep as it is told.
pub fn erase(programs: &Programs, device: &Device, depth: &str) -> Result<Erased> {
    let mut command = privileged(&programs.agent)?;
    command.env("REPRIEVE_LOG", "error").arg("bench-erase").arg("--device").arg(device.path());
    command.args(["--depth", depth]);
    let said = output("erasing the device with our agent", &mut command)?;
    let line = said.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("reading what our agent said: {said}"))
}

/// Our agent writes an image.
pub fn agent(programs: &Programs, service: &Service, device: &Device, image: &str) -> Result<Ours> {
    agent_beside(programs, service, (device, image), (&[], image))
}

/// Our agent writes an image, and at the same time another to data disks.
pub fn agent_beside(
    programs: &Programs,
    service: &Service,
    (device, image): (&Device, &str),
    (data_devices, data_image): (&[Device], &str),
) -> Result<Ours> {
    let _limited = device.limit()?;
    let mut command = privileged(&programs.agent)?;
    command.env("REPRIEVE_LOG", "error").arg("bench-write").arg("--device").arg(device.path());
    command.args(["--images", &service.images_url(), "--image", image]);
    command.arg("--image-key").arg(service.image_key());
    if !data_devices.is_empty() {
        command.args(["--data-image", data_image]);
    }
    for data_device in data_devices {
        command.arg("--data-device").arg(data_device.path());
    }
    let said = output("writing the image with our agent", &mut command)?;
    let line = said.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("reading what our agent said: {said}"))
}

/// How fast the device itself takes or gives bytes, in bytes a second: fio, one MiB at a time, 16 at
/// once, flushed at the end.
pub fn fio(device: &Device, direction: &str, size_bytes: u64) -> Result<f64> {
    let _limited = device.limit()?;
    let mut command = privileged("fio")?;
    command.args(["--name=bench", "--direct=1", "--ioengine=libaio", "--iodepth=16", "--bs=1M"]);
    command.args(["--end_fsync=1", "--output-format=json"]);
    command.arg(format!("--filename={}", device.path().display()));
    command.args([format!("--rw={direction}"), format!("--size={}", size_bytes / MEBIBYTE * MEBIBYTE)]);
    let said = output("measuring with fio", &mut command)?;
    let report: Value = serde_json::from_str(&said).context("reading fio's report")?;
    let figure = |name: &str| report.pointer(&format!("/jobs/0/{direction}/{name}")).and_then(Value::as_f64);
    match (figure("io_bytes"), figure("runtime")) {
        (Some(bytes), Some(millis)) if millis > 0.0 => Ok(bytes / (millis / 1e3)),
        _ => anyhow::bail!("fio's report says nothing about the {direction}"),
    }
}

/// A shell's pipe, as administrators write it.
pub fn shell(what: &str, script: &str) -> Result<f64> {
    let mut command = privileged("bash")?;
    command.args(["-o", "errexit", "-o", "pipefail", "-c", script]);
    let started = Instant::now();
    output(what, &mut command)?;
    Ok(started.elapsed().as_secs_f64())
}

/// `curl | zstd | dd`.
pub fn dd_pipe(url: &str, device: &Device) -> Result<f64> {
    let _limited = device.limit()?;
    let device = device.path().display();
    let script = format!(
        "curl --silent --fail {url} | zstd -dc | dd of={device} oflag=direct iflag=fullblock bs=4M conv=fsync status=none"
    );
    shell("writing the image with dd", &script)
}

/// `qemu-img convert` from the raw file.
pub fn qemu_img(image: &Path, device: &Device) -> Result<f64> {
    let _limited = device.limit()?;
    let (image, device) = (image.display(), device.path().display());
    let script = format!("qemu-img convert -n -f raw -O raw -t none {image} {device} && sync {device}");
    shell("writing the image with qemu-img", &script)
}

/// `bmaptool copy` from the raw file with its map.
pub fn bmaptool(image: &Path, map: &Path, device: &Device) -> Result<f64> {
    let _limited = device.limit()?;
    let (image, map, device) = (image.display(), map.display(), device.path().display());
    shell("writing the image with bmaptool", &format!("bmaptool --quiet copy --bmap {map} {image} {device}"))
}

/// The map that bmaptool needs.
pub fn make_map(image: &Path, map: &Path) -> Result<()> {
    let mut command = Command::new("bmaptool");
    command.args(["--quiet", "create", "--output"]).arg(map).arg(image);
    output("making bmaptool's map", &mut command).map(drop)
}

/// A program that reads all of the device, past what the kernel has cached, and prints a digest.
pub fn digest(program: &str, device: &Device) -> Result<f64> {
    device.forget_cached()?;
    let _limited = device.limit()?;
    let script = format!("{program} {} > /dev/null", device.path().display());
    shell(&format!("reading the device with {program}"), &script)
}
