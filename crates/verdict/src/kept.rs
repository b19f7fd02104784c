//! Partitions with data on the disk of the operating system, which an image is written beside.

use contract::assignment::{DataOwner, NodeContext};
use contract::decision::Action;
use contract::id::DiskId;
use contract::plan::{KeptPartition, Plan, Step};
use contract::reading::{Outcome, ReadingKey, Subject};

use crate::facts::Facts;
use crate::plan::PlanRefusal;

/// Whether what is on the disks is the assigned tenant's, so that there is something to keep. What is
/// nobody's was erased with proof or is new; what is somebody else's is sanitized.
pub(crate) fn is_tenants_own(facts: &Facts<'_>) -> bool {
    is_owners(facts.context)
}

fn is_owners(context: &NodeContext) -> bool {
    matches!((&context.data_owner, &context.assignment.tenant),
        (DataOwner::Tenant(owner), Some(tenant)) if owner == tenant)
}

/// The partitions that stay when an image is written to this disk, ordered by number. Between the old
/// table and the new one the disk has none: then the plan that was under way says which they are.
///
/// # Errors
/// [`PlanRefusal::DataUnknown`] if it could not be told which there are.
pub(crate) fn kept_partitions(facts: &Facts<'_>, disk: &DiskId) -> Result<Vec<KeptPartition>, PlanRefusal> {
    if !is_tenants_own(facts) {
        return Ok(Vec::new());
    }
    match seen(facts, disk) {
        Outcome::Value(partitions) => Ok(partitions),
        Outcome::Absent => Ok(of_unfinished_work(facts, disk)),
        Outcome::Unreadable(why) => Err(PlanRefusal::DataUnknown { disk: disk.clone(), why }),
    }
}

/// What the look at the disk says; absent if it has no partition table.
pub(crate) fn seen(facts: &Facts<'_>, disk: &DiskId) -> Outcome<Vec<KeptPartition>> {
    let key = ReadingKey::DiskDataPartitions;
    let listed = match facts.list(&Subject::Disk(disk.clone()), key) {
        Outcome::Value(listed) if listed.items.len() as u64 == listed.total => listed.items,
        Outcome::Value(listed) => return Outcome::Unreadable(format!("{} are too many", listed.total)),
        Outcome::Absent => return Outcome::Absent,
        Outcome::Unreadable(why) => return Outcome::Unreadable(why),
    };
    let parsed: Result<Vec<KeptPartition>, _> =
        listed.iter().map(|item| serde_json::from_str(item)).collect();
    match parsed {
        Ok(mut partitions) => {
            partitions.sort_by_key(|partition| (partition.number, partition.first_byte));
            Outcome::Value(partitions)
        }
        Err(error) => Outcome::Unreadable(format!("{key} is not a list of partitions: {error}")),
    }
}

/// What work on this disk that was begun and never reported done was to keep. Work that erased the disk
/// kept nothing.
fn of_unfinished_work(facts: &Facts<'_>, disk: &DiskId) -> Vec<KeptPartition> {
    let Some(work) = &facts.context.unfinished else { return Vec::new() };
    let steps = work.plan.steps.iter().filter(|step| &step.disk().id == disk);
    let mut kept = Vec::new();
    for step in steps {
        match step {
            Step::Erase { .. } => return Vec::new(),
            Step::WriteImage { keep, .. } => kept.clone_from(keep),
            Step::WriteDataImage { .. }
            | Step::RepairPartitions { .. }
            | Step::RepairFiles { .. }
            | Step::WriteSeed { .. } => {}
        }
    }
    kept
}

/// The disk on which work that was begun was to keep partitions, and which this plan neither erases nor
/// writes the image to. It may have no table, and then the record of that work is all that is left of
/// their entries; a plan that is begun takes the place of the record. A wipe leaves nothing behind.
#[must_use]
pub fn left_behind<'a>(context: &'a NodeContext, plan: &Plan) -> Option<&'a DiskId> {
    if plan.action == Action::Wipe || !is_owners(context) {
        return None;
    }
    let goes_on = |disk: &DiskId| {
        let mut steps = plan.steps.iter().filter(|step| &step.disk().id == disk);
        steps.any(|step| matches!(step, Step::Erase { .. } | Step::WriteImage { .. }))
    };
    context.unfinished.as_ref()?.plan.steps.iter().find_map(|step| match step {
        Step::WriteImage { disk, keep, .. } if !keep.is_empty() && !goes_on(&disk.id) => Some(&disk.id),
        _ => None,
    })
}

/// The partitions in words.
pub(crate) fn in_words(partitions: &[KeptPartition]) -> String {
    let words: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    words.join(", ")
}
