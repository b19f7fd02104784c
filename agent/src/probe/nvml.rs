//! What NVIDIA's management library (NVML) says of GPUs.
//!
//! The library comes with the driver and is opened at run time, only where there is a GPU of NVIDIA's. The
//! agent in the ramdisk is linked statically and cannot open any.

use std::time::Duration;

use contract::reading::{Outcome, ReadingValue};

use super::gpus::KEYS;
use super::nvml_library::{Device, Library, Refused};
use super::question::Asked;

/// What the library is called; the loader knows where the driver put it.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// A driver that lost a GPU can keep a question waiting for ever.
static NVML: Asked = Asked::new("NVML", Duration::from_secs(15));
/// No GPU has more NVLinks (`NVML_NVLINK_MAX_LINKS`).
const LINKS_MAX: u32 = 18;
/// Error counters of an NVLink (`nvmlNvLinkErrorCounter_t`): replays, recoveries, CRC errors of flits and data.
const LINK_COUNTERS: [u32; 4] = [0, 1, 2, 3];
/// Clocks event reasons: hardware slowdown, hardware thermal slowdown, hardware power brake.
const HARDWARE_SLOWDOWN: u64 = 0x08 | 0x40 | 0x80;

/// What the library says of one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its PCI address.
    pub address: String,
    /// Its UUID.
    pub uuid: Outcome<String>,
    /// Its product name.
    pub name: Outcome<String>,
    /// The version of its VBIOS.
    pub firmware: Outcome<String>,
    /// A row is to be remapped at the next reset.
    pub row_remap_pending: Outcome<bool>,
    /// A row could not be remapped.
    pub row_remap_failed: Outcome<bool>,
    /// Rows remapped for uncorrectable errors.
    pub rows_remapped_uncorrectable: Outcome<u64>,
    /// SRAM errors crossed the maker's threshold.
    pub sram_threshold_exceeded: Outcome<bool>,
    /// Uncorrected ECC errors since the driver was loaded.
    pub uncorrected_errors: Outcome<u64>,
    /// Errors of all NVLinks together.
    pub nvlink_errors: Outcome<u64>,
    /// The hardware holds the clocks down.
    pub hardware_slowdown: Outcome<bool>,
    /// Its temperature, in degrees Celsius.
    pub temperature_celsius: Outcome<u64>,
}

impl Told {
    /// One outcome for each of [`KEYS`], in that order.
    #[must_use]
    pub fn outcomes(&self) -> [Outcome<ReadingValue>; KEYS.len()] {
        let flag = |flag: &Outcome<bool>| flag.clone().map(ReadingValue::Flag);
        let count = |count: &Outcome<u64>| count.clone().map(ReadingValue::Count);
        [
            flag(&self.row_remap_pending),
            flag(&self.row_remap_failed),
            count(&self.rows_remapped_uncorrectable),
            flag(&self.sram_threshold_exceeded),
            count(&self.uncorrected_errors),
            count(&self.nvlink_errors),
            flag(&self.hardware_slowdown),
            count(&self.temperature_celsius.clone().map(|degrees| degrees.saturating_mul(1000))),
        ]
    }
}

/// Asks the library about the GPUs at these PCI addresses.
///
/// # Errors
/// In words, if the library cannot be opened or does not answer in time.
pub fn ask(addresses: &[String]) -> Result<Vec<Told>, String> {
    let addresses = addresses.to_vec();
    NVML.ask(move || Library::open(LIBRARY).map(|library| read(&library, &addresses)))
}

/// How many processes compute on the GPU at this PCI address.
///
/// # Errors
/// In words, if the library cannot be opened, does not answer in time, or does not say it.
pub fn computing_processes(address: &str) -> Result<u32, String> {
    let address = address.to_owned();
    NVML.ask(move || {
        let library = Library::open(LIBRARY)?;
        computing(&library, &address)
    })
}

fn computing(library: &Library, address: &str) -> Result<u32, String> {
    let asked = library.device(address).and_then(|device| device.computing_processes());
    asked.map_err(|refused| refused.to_string())
}

/// Everything that is asked, of each GPU.
#[must_use]
pub fn read(library: &Library, addresses: &[String]) -> Vec<Told> {
    addresses.iter().map(|address| read_one(library.device(address), address)).collect()
}

fn read_one(device: Result<Device<'_>, Refused>, address: &str) -> Told {
    fn each<'a, T>(
        device: &Result<Device<'a>, Refused>,
        read: impl FnOnce(&Device<'a>) -> Result<T, Refused>,
    ) -> Outcome<T> {
        match device {
            Ok(device) => outcome(read(device)),
            // A GPU that the library does not find is not one that lacks the function.
            Err(refused) => Outcome::Unreadable(refused.to_string()),
        }
    }
    let rows = each(&device, Device::remapped_rows);
    Told {
        address: address.to_owned(),
        uuid: each(&device, Device::uuid),
        name: each(&device, Device::name),
        firmware: each(&device, Device::firmware_version),
        row_remap_pending: rows.clone().map(|rows| rows.pending),
        row_remap_failed: rows.clone().map(|rows| rows.failed),
        rows_remapped_uncorrectable: rows.map(|rows| u64::from(rows.uncorrectable)),
        sram_threshold_exceeded: each(&device, Device::sram_threshold_exceeded),
        uncorrected_errors: each(&device, Device::uncorrected_errors),
        nvlink_errors: match &device {
            Ok(device) => nvlink_errors(device),
            Err(refused) => Outcome::Unreadable(refused.to_string()),
        },
        hardware_slowdown: each(&device, Device::clocks_event_reasons)
            .map(|reasons| reasons & HARDWARE_SLOWDOWN != 0),
        temperature_celsius: each(&device, Device::temperature_celsius).map(u64::from),
    }
}

/// What this GPU cannot do is absent; every other refusal is unreadable.
fn outcome<T>(asked: Result<T, Refused>) -> Outcome<T> {
    match asked {
        Ok(value) => Outcome::Value(value),
        Err(refused) if refused.is_not_supported() => Outcome::Absent,
        Err(refused) => Outcome::Unreadable(refused.to_string()),
    }
}

/// The errors of all links that are up; absent where there is none, or none counts.
fn nvlink_errors(device: &Device<'_>) -> Outcome<u64> {
    let (mut total, mut counted) = (0_u64, false);
    for link in 0..LINKS_MAX {
        match device.is_nvlink_up(link) {
            Ok(true) => {}
            Ok(false) => continue,
            // This one and those behind it are not there.
            Err(refused) if refused.is_not_supported() || refused.is_invalid_argument() => break,
            Err(refused) => return Outcome::Unreadable(refused.to_string()),
        }
        for counter in LINK_COUNTERS {
            match device.nvlink_errors(link, counter) {
                Ok(errors) => (total, counted) = (total.saturating_add(errors), true),
                Err(refused) if refused.is_not_supported() => {}
                Err(refused) => return Outcome::Unreadable(refused.to_string()),
            }
        }
    }
    if counted { Outcome::Value(total) } else { Outcome::Absent }
}

#[cfg(test)]
mod tests;
