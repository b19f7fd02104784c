//! The GPUs: those that sysfs shows, with what their driver says of them.
//!
//! Names and UUIDs of NVIDIA's come from the driver's files and its library ([`super::nvml`]), those of AMD's
//! from sysfs. Without a driver, as in the ramdisk, a GPU is known by its PCI address alone.

use std::path::Path;

use contract::inventory::GpuFacts;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use super::evidence::Found;
use super::nvml::{self, Told};
use super::source::{self, Source};
use super::xid;

/// No machine has more PCI functions.
const FUNCTIONS_MAX: usize = 65536;
const NVIDIA: &str = "10de";
const AMD: &str = "1002";
/// The device of NVIDIA's driver as a whole.
const CONTROL_DEVICE: &str = "dev/nvidiactl";
/// PCI classes: 3D controller, other display controller, processing accelerator.
const ACCELERATORS: [&str; 3] = ["0302", "0380", "1200"];
/// PCI class: VGA controller. Boards have one of some maker for their console; it is a GPU with these makers.
const VGA: &str = "0300";

/// The readings of one GPU of NVIDIA's, and no others have them.
pub const KEYS: [ReadingKey; 8] = [
    ReadingKey::GpuRowRemapPending,
    ReadingKey::GpuRowRemapFailed,
    ReadingKey::GpuRowsRemappedUncorrectable,
    ReadingKey::GpuSramThresholdExceeded,
    ReadingKey::GpuUncorrectedErrors,
    ReadingKey::GpuNvlinkErrors,
    ReadingKey::GpuHardwareSlowdown,
    ReadingKey::TemperatureMillicelsius,
];

/// What was seen of the GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpus {
    /// For the inventory.
    pub facts: Outcome<Vec<GpuFacts>>,
    /// Their health.
    pub readings: Vec<Found>,
}

/// Finds the GPUs and asks NVIDIA's about their health.
#[must_use]
pub fn read(source: &Source) -> Gpus {
    read_with(source, |addresses| {
        has_driver(source)?;
        nvml::ask(addresses)
    })
}

/// Whether NVIDIA's driver is there to be asked. Without it its libraries would start a program that loads it, which
/// is not for us to do.
///
/// # Errors
/// In words, if it is not.
pub fn has_driver(source: &Source) -> Result<(), String> {
    if !source.is_machine() {
        return Err("a recorded tree has no library to ask".to_owned());
    }
    if !source.path(CONTROL_DEVICE).exists() {
        return Err(format!("NVIDIA's driver is not loaded: there is no /{CONTROL_DEVICE}"));
    }
    Ok(())
}

/// Whether the GPU at a PCI address is one of NVIDIA's.
///
/// # Errors
/// In words, if that cannot be read.
pub fn is_of_nvidia(source: &Source, address: &str) -> Result<bool, String> {
    let vendor = source.path("sys/bus/pci/devices").join(address).join("vendor");
    Ok(hex_digits(&vendor)? == NVIDIA)
}

/// A GPU as sysfs shows it.
struct Function {
    address: String,
    vendor: String,
    device: String,
}

fn read_with(source: &Source, ask: impl FnOnce(&[String]) -> Result<Vec<Told>, String>) -> Gpus {
    let functions = match functions(source) {
        Outcome::Value(functions) => functions,
        Outcome::Absent => return Gpus { facts: Outcome::Absent, readings: Vec::new() },
        Outcome::Unreadable(why) => return Gpus { facts: Outcome::Unreadable(why), readings: Vec::new() },
    };
    let of_nvidia = |function: &&Function| function.vendor == NVIDIA;
    let addresses: Vec<String> = functions.iter().filter(of_nvidia).map(|gpu| gpu.address.clone()).collect();
    let told = if addresses.is_empty() { Ok(Vec::new()) } else { ask(&addresses) };
    let mut gpus = Gpus { facts: Outcome::Absent, readings: Vec::new() };
    let mut all = Vec::new();
    for function in &functions {
        let one = told.as_ref().map(|told| told.iter().find(|one| one.address == function.address));
        let facts = facts(source, function, one.ok().flatten());
        if function.vendor == NVIDIA {
            let outcomes = match one {
                Ok(Some(told)) => told.outcomes(),
                Ok(None) => KEYS.map(|_| Outcome::Unreadable("NVML said nothing of this GPU".to_owned())),
                Err(why) => KEYS.map(|_| Outcome::Unreadable(why.clone())),
            };
            gpus.readings.extend(about(&facts.id, outcomes));
        }
        all.push(facts);
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    gpus.facts = Outcome::Value(all);
    gpus
}

fn about(id: &str, outcomes: [Outcome<ReadingValue>; KEYS.len()]) -> impl Iterator<Item = Found> {
    let subject = Subject::Gpu(id.to_owned());
    KEYS.into_iter().zip(outcomes).map(move |(key, outcome)| (subject.clone(), key, outcome))
}

/// The GPUs among the PCI functions. One whose class cannot be read may be one, so that makes the list
/// unreadable; a machine without PCI has none.
fn functions(source: &Source) -> Outcome<Vec<Function>> {
    let directory = source.path("sys/bus/pci/devices");
    let names = match source::names(&directory, FUNCTIONS_MAX) {
        Outcome::Value(names) => names,
        Outcome::Absent if source.path("sys/bus").is_dir() => return Outcome::Value(Vec::new()),
        Outcome::Absent => return Outcome::Unreadable(format!("{} is not there", directory.display())),
        Outcome::Unreadable(why) => return Outcome::Unreadable(why),
    };
    let mut found = Vec::new();
    for name in names {
        let text = |attribute: &str| hex_digits(&directory.join(&name).join(attribute));
        match (text("class"), text("vendor")) {
            (Ok(class), Ok(vendor)) if is_gpu(&class, &vendor) => {
                let Some(address) = xid::address(&name) else { continue };
                let device = text("device").unwrap_or_else(|_| "unknown".to_owned());
                found.push(Function { address, vendor, device });
            }
            (Ok(_), Ok(_)) => {}
            (Err(why), _) | (_, Err(why)) => return Outcome::Unreadable(why),
        }
    }
    Outcome::Value(found)
}

fn is_gpu(class: &str, vendor: &str) -> bool {
    let class = class.get(..4).unwrap_or_default();
    ACCELERATORS.contains(&class) || class == VGA && [NVIDIA, AMD].contains(&vendor)
}

/// The digits of an attribute such as `0x030200`.
fn hex_digits(path: &Path) -> Result<String, String> {
    match source::attribute(path) {
        Outcome::Value(text) => match text.strip_prefix("0x") {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(digits.to_lowercase()),
            _ => Err(format!("{} says {}", path.display(), source::quoted(&text))),
        },
        Outcome::Absent => Err(format!("{} is missing or empty", path.display())),
        Outcome::Unreadable(why) => Err(why),
    }
}

/// What is said of a GPU, the library's word before the files'.
fn facts(source: &Source, function: &Function, told: Option<&Told>) -> GpuFacts {
    let driver = match function.vendor.as_str() {
        NVIDIA => nvidia_files(source, &function.address),
        AMD => amd_files(source, &function.address),
        _ => Driver::default(),
    };
    let first = |said: Option<&Outcome<String>>, file: Option<String>| {
        said.and_then(Outcome::value).cloned().or(file)
    };
    let unsaid = |what: &str| {
        let (vendor, device) = (&function.vendor, &function.device);
        Outcome::Unreadable(format!("no driver says the {what} of the GPU (PCI {vendor}:{device})"))
    };
    let or_unsaid = |text: Option<String>, what| text.map_or_else(|| unsaid(what), Outcome::Value);
    GpuFacts {
        id: first(told.map(|told| &told.uuid), driver.uuid).unwrap_or_else(|| function.address.clone()),
        pci_address: function.address.clone(),
        model: or_unsaid(first(told.map(|told| &told.name), driver.model), "name"),
        firmware_version: or_unsaid(first(told.map(|told| &told.firmware), driver.firmware), "firmware"),
    }
}

/// What a driver's files say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Driver {
    uuid: Option<String>,
    model: Option<String>,
    firmware: Option<String>,
}

fn nvidia_files(source: &Source, address: &str) -> Driver {
    let path = source.path("proc/driver/nvidia/gpus").join(address).join("information");
    source::read_text(&path).map(|text| parse_information(&text)).unwrap_or_default()
}

/// `NAME: VALUE` a line. What the driver does not know yet it writes with question marks.
fn parse_information(text: &str) -> Driver {
    let value = |wanted: &str| {
        let (_, value) =
            text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| *name == wanted)?;
        known(value)
    };
    Driver { uuid: value("GPU UUID"), model: value("Model"), firmware: value("Video BIOS") }
}

fn amd_files(source: &Source, address: &str) -> Driver {
    let folder = source.path("sys/bus/pci/devices").join(address);
    let value = |name: &str| source::attribute(&folder.join(name)).value().and_then(|text| known(text));
    Driver { uuid: value("unique_id"), model: value("product_name"), firmware: value("vbios_version") }
}

/// A text that says something, as it may be shown: one line, short, without control characters.
fn known(text: &str) -> Option<String> {
    let text = source::shown(text.trim(), 100);
    (!text.is_empty() && !text.contains("??") && text != "0").then_some(text)
}

#[cfg(test)]
mod tests;
