//! From the running system into the ramdisk: tell the firmware to boot from the network once, then
//! reboot in good order.

use std::io;

use anyhow::Context;
use contract::id::MacAddress;
use contract::inventory::Firmware;
use contract::reading::Outcome;
use nix::errno::Errno;
use nix::libc;

use crate::efi::boot_entry::{BootEntry, encode_numbers, network_entry};
use crate::efi::variables::Variables;
use crate::probe::source::Source;
use crate::probe::{inventory, nics};

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
    let variables = Variables::of(source);
    let macs: Vec<MacAddress> = match nics::read(source) {
        Outcome::Value(nics) => nics.into_iter().map(|nic| nic.mac).collect(),
        Outcome::Absent | Outcome::Unreadable(_) => Vec::new(),
    };
    let entries: Vec<(u16, BootEntry)> =
        variables.entries()?.into_iter().filter_map(|one| Some((one.number, one.entry?))).collect();
    let order = variables.numbers("BootOrder").unwrap_or_default();
    let current = variables.numbers("BootCurrent").unwrap_or_default().first().copied();
    let Some(number) = network_entry(&entries, &order, current, &macs) else { return Ok(None) };
    variables.write("BootNext", &encode_numbers(&[number]))?;
    let description = entries.into_iter().find(|(one, _)| *one == number).map(|(_, entry)| entry.description);
    Ok(Some(format!("Boot{number:04X} {}", description.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::efi::variables::GLOBAL;

    #[test]
    fn the_next_boot_is_written_and_read_back() {
        let root = tempfile::tempdir().unwrap();
        let variables = root.path().join("sys/firmware/efi/efivars");
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
        assert_eq!(written, [7, 0, 0, 0, 7, 0]);
    }
}
