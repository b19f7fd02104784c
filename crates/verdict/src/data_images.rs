//! Images for data disks: on which disks they are written, and never over data.
//!
//! | the disk | the image |
//! |---|---|
//! | is erased by the same plan | is written |
//! | is blank, seen from the ramdisk, and the node is nobody's | is written |
//! | was begun by a plan that was never reported done, and no system is installed | is written on |
//! | the same, and whether a system is installed cannot be seen | is refused |
//! | anything else | stays as it is |

use contract::assignment::DataOwner;
use contract::data_image::{DataImage, check_data_images};
use contract::id::{Digest, DiskId};
use contract::inventory::DiskFacts;
use contract::plan::{DiskTarget, Step};
use contract::reading::{Outcome, ReadingKey, Subject, Trust};

use crate::facts::Facts;
use crate::kept::is_tenants_own;
use crate::os_disk::{disk_target, os_disk};
use crate::plan::{PlanRefusal, derived, guid};

/// The steps that write images to data disks, in the order of the assignment. `erases` are the steps of
/// the same plan that come before, `seed` as for the plan.
///
/// # Errors
/// [`PlanRefusal`] if something may be written and a rule does not name one disk of its own, or if it
/// could not be told whether a disk holds data.
pub(crate) fn data_image_steps(
    facts: &Facts<'_>,
    system: &DiskId,
    erases: &[Step],
    seed: Digest,
) -> Result<Vec<Step>, PlanRefusal> {
    let wanted = &facts.context.assignment.data_images;
    let nobodys = facts.context.data_owner == DataOwner::Nobody;
    // Where nothing may be written, a rule that fits no disk any more stands in nobody's way.
    if wanted.is_empty() || (erases.is_empty() && !nobodys && begun(facts).next().is_none()) {
        return Ok(Vec::new());
    }
    check_data_images(wanted, &facts.context.assignment.os_disk).map_err(|error| PlanRefusal::DataDisk {
        rule: "for data disks".to_owned(),
        why: error.to_string(),
    })?;
    let mut taken = vec![system.clone()];
    let mut steps = Vec::new();
    for data in wanted {
        let disk = chosen(facts, data, &taken)?;
        taken.push(disk.id.clone());
        let erased = erases
            .iter()
            .any(|step| matches!(step, Step::Erase { disk: erased, .. } if erased.id == disk.id));
        if erased || (nobodys && is_blank(facts, &disk.id)) {
            steps.push(new_step(data, disk_target(disk), seed));
        } else if let Some(earlier) = may_go_on(facts, &disk.id)? {
            steps.push(gone_on_with(earlier, data, disk_target(disk), seed));
        }
    }
    Ok(steps)
}

/// The one disk that a rule names.
fn chosen<'a>(facts: &Facts<'a>, data: &DataImage, taken: &[DiskId]) -> Result<&'a DiskFacts, PlanRefusal> {
    let refused = |why: String| PlanRefusal::DataDisk { rule: data.disk.to_string(), why };
    let disks = facts.disks().map_err(|why| PlanRefusal::NoDisks { why })?;
    let target = os_disk(&data.disk, data.image_disk_bytes, disks).map_err(|why| refused(in_words(why)))?;
    let disk = disks.iter().find(|disk| disk.id == target.id);
    let disk = disk.ok_or_else(|| refused(format!("disk {} is missing", target.id)))?;
    match taken.iter().position(|id| id == &disk.id) {
        Some(0) => Err(refused(format!("it names {}, the disk of the operating system", disk.id))),
        Some(_) => Err(refused(format!("it names {}, as another rule does", disk.id))),
        None if is_new(facts, data, &disk.id) => {
            Err(refused(format!("{} is new to this node; approve the new hardware or name it", disk.id)))
        }
        None => Ok(disk),
    }
}

/// Whether a disk that a rule found by what it is like was not there when the node was approved.
fn is_new(facts: &Facts<'_>, data: &DataImage, disk: &DiskId) -> bool {
    let expected = facts.context.expected_hardware.as_ref().map_or(&[][..], |hardware| &hardware.disks);
    !data.disk.names_one() && !expected.is_empty() && !expected.contains(disk)
}

/// A refusal that speaks of the operating system's disk, without it.
fn in_words(refusal: PlanRefusal) -> String {
    match refusal {
        PlanRefusal::NoOsDisk { image_bytes } => {
            format!("none that is writable and fixed has {image_bytes} bytes")
        }
        PlanRefusal::OsDiskMissing { disk } => format!("{disk} is missing"),
        PlanRefusal::OsDiskUnfit { disk, why } => format!("{disk} {why}"),
        PlanRefusal::OsDiskNoMatch { why, .. } => why,
        PlanRefusal::OsDiskAmbiguous { count, disks, .. } => {
            format!("{count} disks fit: {disks}; say more, or add smallest or largest")
        }
        other => other.to_string(),
    }
}

/// Whether the ramdisk itself saw that nothing is on a disk.
fn is_blank(facts: &Facts<'_>, disk: &DiskId) -> bool {
    let (subject, key) = (Subject::Disk(disk.clone()), ReadingKey::DiskContentSignatures);
    facts.trust_of(&subject, key).is_some_and(|trust| trust >= Trust::Ramdisk)
        && matches!(facts.list(&subject, key), Outcome::Value(list) if list.total == 0)
}

/// What was to be written to data disks by a plan that was begun and never reported done.
fn begun<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a Step> {
    let steps = facts.context.unfinished.as_ref().map_or(&[][..], |work| &work.plan.steps);
    steps.iter().filter(|step| matches!(step, Step::WriteDataImage { .. }))
}

/// The step that was begun on a disk, if it may be gone on with. The tables of the system's disk are
/// written only after every data disk is proven, so where a system is installed the disk is finished and
/// the tenant's.
fn may_go_on<'a>(facts: &Facts<'a>, disk: &DiskId) -> Result<Option<&'a Step>, PlanRefusal> {
    let Some(step) = begun(facts).find(|step| &step.disk().id == disk) else { return Ok(None) };
    if !is_tenants_own(facts) && facts.context.data_owner != DataOwner::Nobody {
        return Ok(None);
    }
    let unknown = |why: String| Err(PlanRefusal::DataDiskUnknown { disk: disk.clone(), why });
    let (subject, key) = (Subject::Image, ReadingKey::ImageInstalled);
    if facts.trust_of(&subject, key).is_none_or(|trust| trust < Trust::Ramdisk) {
        return unknown("the ramdisk did not look which system is installed".to_owned());
    }
    match facts.text(&subject, key) {
        Outcome::Absent => Ok(Some(step)),
        Outcome::Value(_) => Ok(None),
        Outcome::Unreadable(why) => unknown(why),
    }
}

fn new_step(data: &DataImage, disk: DiskTarget, seed: Digest) -> Step {
    let disk_guid = guid(derived(seed, "disk guid", &disk.id));
    Step::WriteDataImage { disk, image: data.image, disk_guid, last_partition: data.last_partition }
}

/// The same step again, so that the tables it may have written already are known for ours; with another
/// image or size, another step.
fn gone_on_with(earlier: &Step, data: &DataImage, disk: DiskTarget, seed: Digest) -> Step {
    match earlier {
        Step::WriteDataImage { disk: before, image, last_partition, .. }
            if (before, *image, *last_partition) == (&disk, data.image, data.last_partition) =>
        {
            earlier.clone()
        }
        _ => new_step(data, disk, seed),
    }
}
