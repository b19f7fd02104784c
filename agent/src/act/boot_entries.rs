//! The firmware's boot entry for the installed system: one of ours, earlier ones of ours gone, others
//! never touched.
//!
//! It is set after the image is proven, and may fail without harm: the image's removable-media path
//! boots without any entry. What counts is what is read back from the firmware.

use std::io;

use contract::plan::Step;
use imaging::manifest::{Manifest, PartitionRole};

use super::begun::Begun;
use crate::efi::boot_entry::{BootEntry, encode_numbers};
use crate::efi::load_option::{HardDrive, encode};
use crate::efi::variables::{NumberedEntry, Variables};

/// What our entries are called, and how they are known again.
const DESCRIPTION: &str = "Reprieve";

/// What every firmware looks for on a disk without an entry (UEFI Specification, section 3.5.1.1), and
/// what every cloud image has.
const LOADER: &str =
    if cfg!(target_arch = "aarch64") { "\\EFI\\BOOT\\BOOTAA64.EFI" } else { "\\EFI\\BOOT\\BOOTX64.EFI" };

/// The right to set the firmware's boot entries for an image that is about to be written. It comes from
/// a step that has begun, and there is no other way to get one.
#[derive(Debug)]
pub struct BootEntries {
    variables: Variables,
    /// None if the image has no EFI system partition.
    esp: Option<HardDrive>,
}

impl BootEntries {
    /// For the image that this step writes; none if the firmware has no variables (BIOS).
    #[must_use]
    pub fn permitted_by(begun: &Begun, manifest: &Manifest, variables: Option<&Variables>) -> Option<Self> {
        let Step::WriteImage { .. } = begun.step() else { return None };
        Some(Self { variables: variables?.clone(), esp: esp(manifest) })
    }

    /// Sets them; says for the proof what was read back, or why nothing was set.
    #[must_use]
    pub fn set(self) -> String {
        match self.try_set() {
            Ok(said) => said,
            Err(error) => {
                tracing::warn!("the firmware's boot entries were not set: {error}");
                format!(
                    "the firmware's boot entries were not set ({error}); it starts the disk by its removable-media path"
                )
            }
        }
    }

    fn try_set(&self) -> io::Result<String> {
        let entries = self.variables.entries()?;
        let order = self.variables.numbers("BootOrder")?;
        let wanted = self.esp.map(|esp| encode(DESCRIPTION, &esp, LOADER));
        let changes = changes(&entries, &order, wanted.as_deref())?;
        // In this order a power cut leaves an entry that nobody asks for, never an order that names
        // nothing.
        if let (Some(number), Some(option), true) = (changes.ours, &wanted, changes.add) {
            self.variables.write(&entry_name(number), option)?;
        }
        if changes.order != order {
            self.variables.write("BootOrder", &encode_numbers(&changes.order))?;
        }
        for number in &changes.remove {
            self.variables.remove(&entry_name(*number))?;
        }
        self.read_back(&changes, wanted.as_deref())?;
        Ok(in_words(&changes))
    }

    fn read_back(&self, changes: &Changes, wanted: Option<&[u8]>) -> io::Result<()> {
        let entries = self.variables.entries()?;
        let is_there = |number: u16| entries.iter().find(|entry| entry.number == number);
        let kept = changes
            .ours
            .is_none_or(|number| is_there(number).is_some_and(|entry| entry.option.as_deref() == wanted));
        let gone = changes.remove.iter().all(|number| is_there(*number).is_none());
        let ordered = self.variables.numbers("BootOrder")? == changes.order;
        match kept && gone && ordered {
            true => Ok(()),
            false => Err(io::Error::other("the firmware did not keep them as they were written")),
        }
    }
}

fn esp(manifest: &Manifest) -> Option<HardDrive> {
    let sector = u64::from(manifest.sector_bytes);
    let esp = manifest.partitions.iter().find(|partition| partition.role == PartitionRole::Esp)?;
    Some(HardDrive {
        number: esp.number,
        first_sector: esp.first_byte.checked_div(sector)?,
        sectors: esp.length_bytes.checked_div(sector)?,
        guid: esp.unique_guid,
    })
}

fn entry_name(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// What has to change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Changes {
    /// The number of our entry; none if the image has nothing that firmware could start.
    ours: Option<u16>,
    /// It is not there yet.
    add: bool,
    /// Earlier ones of ours.
    remove: Vec<u16>,
    /// The order afterwards.
    order: Vec<u16>,
}

/// Ours is known by its name and by starting from a disk. It goes before the first entry of the order that is neither of the
/// network nor a program of the firmware itself: the first disk, behind the network entries that stood
/// before it. What cannot be understood counts as a disk, and stays where it is. Firmware without an
/// order goes by one of its own, which may begin with the network, and is left to it.
fn changes(entries: &[NumberedEntry], order: &[u16], wanted: Option<&[u8]>) -> io::Result<Changes> {
    let is_ours = |entry: &&NumberedEntry| entry.entry.as_ref().is_some_and(is_of_our_making);
    let earlier: Vec<u16> = entries.iter().filter(is_ours).map(|entry| entry.number).collect();
    let same = entries.iter().filter(is_ours).find(|entry| entry.option.as_deref() == wanted);
    let (ours, add) = match (wanted, same) {
        (None, _) => (None, false),
        (Some(_), Some(entry)) => (Some(entry.number), false),
        (Some(_), None) => (Some(free_number(entries, order)?), true),
    };
    let mut new_order: Vec<u16> = order.iter().copied().filter(|number| !earlier.contains(number)).collect();
    let goes_before = |number: &u16| {
        let entry = entries.iter().find(|entry| entry.number == *number).and_then(|one| one.entry.as_ref());
        entry.is_some_and(|entry| is_network(entry) || entry.built_in)
    };
    let place = new_order.iter().position(|number| !goes_before(number)).unwrap_or(new_order.len());
    if !order.is_empty() {
        new_order.splice(place..place, ours);
    }
    let remove = earlier.into_iter().filter(|number| Some(*number) != ours).collect();
    Ok(Changes { ours, add, remove, order: new_order })
}

/// What a person calls by our name is a person's, unless it starts from a partition as ours do.
fn is_of_our_making(entry: &BootEntry) -> bool {
    entry.description == DESCRIPTION && entry.hard_drive.is_some() && !is_network(entry)
}

fn is_network(entry: &BootEntry) -> bool {
    entry.mac.is_some() || entry.ipv4 || entry.ipv6
}

/// A number that nobody has and that the order does not name.
fn free_number(entries: &[NumberedEntry], order: &[u16]) -> io::Result<u16> {
    (0..=u16::MAX)
        .find(|number| !order.contains(number) && entries.iter().all(|entry| entry.number != *number))
        .ok_or_else(|| io::Error::other("the firmware has no number left for a boot entry"))
}

fn in_words(changes: &Changes) -> String {
    let gone = match changes.remove.len() {
        0 => String::new(),
        count => format!(", {count} earlier of ours were taken away"),
    };
    let Some(number) = changes.ours else {
        return format!("the image has no EFI system partition, so the firmware has no entry for it{gone}");
    };
    let was = if changes.add { "written" } else { "there already" };
    let place = match changes.order.iter().position(|other| *other == number) {
        Some(at) => format!("at place {} of {} in its order", at + 1, changes.order.len()),
        None => "and its order was left to it, because it has none".to_owned(),
    };
    format!("the firmware's entry Boot{number:04X} for the image was {was} and read back, {place}{gone}")
}

#[cfg(test)]
mod tests;
