//! Where figures were taken, and on what.

use std::path::Path;

use anyhow::Result;

use super::device::Device;
use crate::paths;

/// Says on which processor, kernel and device the figures were taken, and how busy the machine was.
pub fn words(device: &Device) -> Result<String> {
    let access = if device.is_direct() { "direct" } else { "through the page cache" };
    Ok(format!(
        "{}, loop device on {} ({access}), load {} at the start",
        processors(),
        device.place(),
        load()
    ))
}

/// The processors and the kernel.
pub fn processors() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processors = paths::read_text(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim()))
        .unwrap_or("an unknown processor");
    let kernel = paths::read_text(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default();
    format!("{cores} cores of {model}, Linux {}", kernel.trim())
}

/// How many processes wanted to run in the last minute; figures taken beside others are worth little.
pub fn load() -> String {
    let text = paths::read_text(Path::new("/proc/loadavg")).unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
