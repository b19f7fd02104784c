//! The cases in two rows, each with one machine, so that two cores are busy and the rows do not meet.

use anyhow::{Context, Result};

use crate::disk::DiskBus;
use crate::machine::{Firmware, Fittings};
use crate::scenario::cases::{
    Subject, altered_machine, failing_disk, new_machine, next_tenant, running_machine, used_machine,
};
use crate::scenario::site::{Site, spec};
use crate::scenario::stage::Outcome;

/// Room on a disk beyond the image: the partition of ours, and some more as on any real disk.
const DISK_ROOM_BYTES: u64 = 256 << 20;

/// What a row has to tell while it goes on.
#[derive(Debug)]
pub enum News {
    /// Something begins.
    Begins(String),
    /// A case has ended as it must.
    Ended(Box<Outcome>),
}

/// Which cases are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The first three: new, used, altered.
    Fast,
    /// All six.
    Full,
}

/// A BIOS machine with an NVMe disk: new, used, next tenant, failing disk.
///
/// # Errors
/// If a case does not end as it must, or whoever is told fails.
pub fn first_row(
    site: &Site<'_>,
    extent: Extent,
    tell: &mut dyn FnMut(News) -> Result<()>,
) -> Result<Subject> {
    let name = "iris";
    let machine =
        site.machine(spec(name, 1, Firmware::Bios), DiskBus::Nvme, site.image.disk_bytes + DISK_ROOM_BYTES)?;
    tell(News::Begins(format!("{name}: BIOS, NVMe disk, blank; switched on")))?;
    let (mut subject, outcome) = new_machine(site, machine).context("iris, case 1")?;
    tell(News::Ended(Box::new(outcome)))?;
    tell(News::Begins(format!("{name}: used for a while, switched off, asked for the same again")))?;
    tell(News::Ended(Box::new(used_machine(site, &mut subject).context("iris, case 2")?)))?;
    if extent == Extent::Full {
        tell(News::Begins(format!("{name}: given to the next tenant")))?;
        tell(News::Ended(Box::new(next_tenant(site, &mut subject).context("iris, case 4")?)))?;
        tell(News::Begins(format!("{name}: its disk raises a critical warning")))?;
        tell(News::Ended(Box::new(failing_disk(site, &mut subject).context("iris, case 5")?)))?;
    }
    Ok(subject)
}

/// A UEFI machine with a SCSI disk, and what else is fitted: new, used, altered, reimaged by hand while it runs.
///
/// # Errors
/// If a case does not end as it must, or whoever is told fails.
pub fn second_row(
    site: &Site<'_>,
    extent: Extent,
    fittings: Fittings,
    tell: &mut dyn FnMut(News) -> Result<()>,
) -> Result<Subject> {
    let name = "juno";
    let spec = spec(name, 2, Firmware::UefiPxe);
    let mut machine = site.machine(spec, DiskBus::Scsi, site.image.disk_bytes + DISK_ROOM_BYTES)?;
    machine.fit(fittings);
    tell(News::Begins(format!("{name}: UEFI, SCSI disk, blank; switched on")))?;
    let (mut subject, outcome) = new_machine(site, machine).context("juno, case 1")?;
    tell(News::Ended(Box::new(outcome)))?;
    tell(News::Begins(format!("{name}: used for a while, switched off, asked for the same again")))?;
    tell(News::Ended(Box::new(used_machine(site, &mut subject).context("juno, case 2")?)))?;
    tell(News::Begins(format!("{name}: switched off, files altered behind its back")))?;
    tell(News::Ended(Box::new(altered_machine(site, &mut subject).context("juno, case 3")?)))?;
    if extent == Extent::Full {
        tell(News::Begins(format!("{name}: reimaged by hand while it runs")))?;
        tell(News::Ended(Box::new(running_machine(site, &mut subject).context("juno, case 6")?)))?;
    }
    Ok(subject)
}
