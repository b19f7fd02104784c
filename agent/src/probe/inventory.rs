//! What the machine is made of.

use contract::inventory::{Firmware, GpuFacts, Inventory};
use contract::reading::Outcome;

use super::disks::FoundDisk;
use super::source::{self, Source};
use super::{firmware as firmware_versions, memory_modules, nics, smbios};

/// Gathers the inventory around the disks and GPUs that were found.
#[must_use]
pub fn read(source: &Source, disks: &Outcome<Vec<FoundDisk>>, gpus: Outcome<Vec<GpuFacts>>) -> Inventory {
    let smbios = smbios::read(source);
    let (cpu_model, cpu_count) = match source::read_bytes(&source.path("proc/cpuinfo")) {
        Ok(text) => parse_cpuinfo(&String::from_utf8_lossy(&text)),
        Err(error) => {
            let why = format!("cannot read /proc/cpuinfo: {error}");
            (Outcome::Unreadable(why.clone()), Outcome::Unreadable(why))
        }
    };
    let memory_bytes = match source::read_text(&source.path("proc/meminfo")) {
        Ok(text) => parse_meminfo(&text),
        Err(error) => Outcome::Unreadable(format!("cannot read /proc/meminfo: {error}")),
    };
    Inventory {
        system_uuid: smbios.system_uuid,
        vendor: smbios.vendor,
        product: smbios.product,
        serial: smbios.serial,
        bios_version: smbios.bios_version,
        firmware: Outcome::Value(firmware(source)),
        cpu_model,
        cpu_count,
        memory_bytes,
        disks: disks.clone().map(|disks| disks.into_iter().map(|disk| disk.facts).collect()),
        nics: nics::read(source),
        memory_modules: memory_modules::read(source),
        gpus,
        bmc_version: firmware_versions::bmc_version(source, &smbios.has_bmc),
    }
}

/// The kernel makes `/sys/firmware/efi` exactly when UEFI started it.
#[must_use]
pub fn firmware(source: &Source) -> Firmware {
    if source.path("sys/firmware/efi").is_dir() { Firmware::Uefi } else { Firmware::Bios }
}

/// Model of the first processor and number of processors, from `/proc/cpuinfo`.
fn parse_cpuinfo(text: &str) -> (Outcome<String>, Outcome<u32>) {
    let values = |key: &'static str| {
        text.lines().filter_map(move |line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        })
    };
    let model = values("model name").next().map_or(Outcome::Absent, Outcome::Value);
    let count = match u32::try_from(values("processor").count()) {
        Ok(count) if count > 0 => Outcome::Value(count),
        _ => Outcome::Unreadable("/proc/cpuinfo lists no processor".to_owned()),
    };
    (model, count)
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn parse_meminfo(text: &str) -> Outcome<u64> {
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    match kibibytes.and_then(|count| count.checked_mul(1024)) {
        Some(bytes) => Outcome::Value(bytes),
        None => Outcome::Unreadable("/proc/meminfo has no MemTotal".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn processors_and_memory_are_read() {
        let text =
            "processor\t: 0\nmodel name\t: QEMU TCG CPU\n\nprocessor\t: 1\nmodel name\t: QEMU TCG CPU\n";
        assert_eq!(parse_cpuinfo(text), (Outcome::Value("QEMU TCG CPU".into()), Outcome::Value(2)));
        assert_eq!(parse_meminfo("MemTotal:        1000 kB\nMemFree: 1 kB\n"), Outcome::Value(1_024_000));
        assert!(matches!(parse_meminfo("MemTotal: x kB"), Outcome::Unreadable(_)));
        assert!(matches!(parse_cpuinfo("").1, Outcome::Unreadable(_)));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = parse_cpuinfo(&text);
            let _ = parse_meminfo(&format!("MemTotal:{text}"));
        }
    }
}
