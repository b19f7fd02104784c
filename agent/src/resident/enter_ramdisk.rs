//! From the running system into the ramdisk: tell the firmware to boot from the network once, then
//! reboot in good order.

use std::io;
use std::path::Path;

use anyhow::Context;
use contract::id::MacAddress;
use contract::inventory::Firmware;
use contract::reading::Outcome;
use nix::errno::Errno;
use nix::libc;

use super::boot_entries::{BootEntry, boot_next, network_entry, parse_entry, parse_numbers};
use crate::probe::source::{self, Source};
use crate::probe::{inventory, nics};

/// The vendor GUID of the firmware's own variables.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Where the kernel shows them.
const VARIABLES: &str = "sys/firmware/efi/efivars";
/// No firmware has more entries worth looking at.
const ENTRIES_MAX: usize = 1024;

/// Sets the next boot to the network and asks systemd to reboot. Returns when both are done; the
/// reboot follows.
///
/// # Errors
/// If systemd could not be asked. A firmware that cannot be told is not an error: where the network
/// comes first in its order it boots from there anyway, and the service counts the attempts.
pub fn enter(source: &Source) -> anyhow::Result<()> {
    match inventory::firmware(source) {
        Firmware::Uefi => match set_boot_next(source) {
            Ok(Some(entry)) => tracing::info!("the next boot is from the network: {entry}"),
            Ok(None) => {
                tracing::warn!("the firmware has no boot entry for our network interfaces; its order decides")
            }
            Err(error) => tracing::warn!("cannot set the next boot, the firmware's order decides: {error}"),
        },
        Firmware::Bios => tracing::info!("BIOS: the firmware's boot order decides"),
    }
    nix::unistd::sync();
    ask_systemd_to_reboot().context("cannot ask systemd to reboot; reboot this machine by hand")
}

/// The signal that starts `reboot.target` (systemd(1), "Signals": SIGRTMIN+5).
fn ask_systemd_to_reboot() -> io::Result<()> {
    // SAFETY: kill takes no pointers; 1 is the service manager.
    Errno::result(unsafe { libc::kill(1, libc::SIGRTMIN() + 5) }).map(|_| ()).map_err(io::Error::from)
}

fn set_boot_next(source: &Source) -> io::Result<Option<String>> {
    let directory = source.path(VARIABLES);
    let macs: Vec<MacAddress> = match nics::read(source) {
        Outcome::Value(nics) => nics.into_iter().map(|nic| nic.mac).collect(),
        Outcome::Absent | Outcome::Unreadable(_) => Vec::new(),
    };
    let entries = read_entries(&directory)?;
    let order = read_numbers(&directory, "BootOrder");
    let current = read_numbers(&directory, "BootCurrent").first().copied();
    let Some(number) = network_entry(&entries, &order, current, &macs) else { return Ok(None) };
    // One write: efivarfs takes a variable whole or not at all.
    std::fs::write(directory.join(format!("BootNext-{GLOBAL}")), boot_next(number))?;
    let written = read_numbers(&directory, "BootNext");
    if written != [number] {
        return Err(io::Error::other("the firmware did not keep BootNext"));
    }
    let description = entries.into_iter().find(|(one, _)| *one == number).map(|(_, entry)| entry.description);
    Ok(Some(format!("Boot{number:04X} {}", description.unwrap_or_default())))
}

fn read_numbers(directory: &Path, name: &str) -> Vec<u16> {
    source::read_bytes(&directory.join(format!("{name}-{GLOBAL}")))
        .map(|bytes| parse_numbers(&bytes))
        .unwrap_or_default()
}

fn read_entries(directory: &Path) -> io::Result<Vec<(u16, BootEntry)>> {
    let mut entries = Vec::new();
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        let Some(number) = entry_number(&name) else { continue };
        if let Some(entry) = source::read_bytes(&file.path()).ok().and_then(|bytes| parse_entry(&bytes)) {
            entries.push((number, entry));
        }
        if entries.len() >= ENTRIES_MAX {
            break;
        }
    }
    Ok(entries)
}

/// `Boot0003-8be4df61-…` is 3.
fn entry_number(file_name: &str) -> Option<u16> {
    let digits = file_name.strip_prefix("Boot")?.strip_suffix(GLOBAL)?.strip_suffix('-')?;
    if digits.len() == 4 { u16::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_entries_count() {
        assert_eq!(entry_number(&format!("Boot00A3-{GLOBAL}")), Some(0xa3));
        for name in [format!("BootOrder-{GLOBAL}"), format!("BootNext-{GLOBAL}"), "Boot0001-other".to_owned()]
        {
            assert_eq!(entry_number(&name), None);
        }
    }

    #[test]
    fn the_next_boot_is_written_and_read_back() {
        let root = tempfile::tempdir().unwrap();
        let variables = root.path().join(VARIABLES);
        std::fs::create_dir_all(&variables).unwrap();
        let nic = root.path().join("sys/class/net/eth0");
        std::fs::create_dir_all(nic.join("device")).unwrap();
        std::fs::write(nic.join("address"), "52:54:00:00:00:01").unwrap();
        std::fs::write(nic.join("carrier"), "1").unwrap();
        let mut entry =
            vec![7, 0, 0, 0, 1, 0, 0, 0, 41, 0, b'n', 0, 0, 0, 3, 0x0b, 37, 0, 0x52, 0x54, 0, 0, 0, 1];
        entry.extend([0; 27]);
        entry.extend([0x7f, 0xff, 4, 0]);
        std::fs::write(variables.join(format!("Boot0007-{GLOBAL}")), entry).unwrap();
        let source = Source::recorded(root.path());
        assert_eq!(set_boot_next(&source).unwrap().as_deref(), Some("Boot0007 n"));
        let written = std::fs::read(variables.join(format!("BootNext-{GLOBAL}"))).unwrap();
        assert_eq!(written, boot_next(7));
    }
}
