//! From a decision to exact disks, methods, order and proofs. Nothing is left to choose afterwards.

use std::collections::BTreeMap;

use contract::assignment::NodeContext;
use contract::decision::{Action, Confidentiality, Decision};
use contract::evidence::Evidence;
use contract::id::{Digest, DiskId, ImageId, UnixMillis};
use contract::plan::{DiskTarget, EraseMethod, KeptPartition, Plan, Step};
use contract::reading::{LIST_ITEMS_MAX, Outcome, ReadingKey, Subject};
use uuid::Uuid;

use crate::already_clean;
use crate::data_images::data_image_steps;
use crate::delivers::delivers;
use crate::facts::Facts;
use crate::kept::kept_partitions;
pub use crate::kept::left_behind;
use crate::os_disk::{disk_target, os_disk};
use crate::policy::{ForeignFiles, Policy, written};
pub use crate::refusal::PlanRefusal;
use crate::rules::{holds, node_data, windows};

/// The hold that is on a node now, by name; none if there is none. An order may be older than a hold, so
/// whoever lets a step begin asks again.
#[must_use]
pub fn on_hold(context: &NodeContext, policy: &Policy, now: UnixMillis) -> Option<String> {
    holds::standing(context, policy, now)
}

/// When destructive work may begin on a node, if it may not begin now; none if it may. An order may be older
/// than the end of a window, so whoever lets a step begin asks again.
#[must_use]
pub fn waits_until(context: &NodeContext, policy: &Policy, now: UnixMillis) -> Option<UnixMillis> {
    windows::waits_until(context, policy, now)
}

/// Makes the plan that carries out a decision; `None` if the decision writes nothing, or was made by
/// the running system, whose word is not enough to write anything.
///
/// `methods` says per disk which method delivers the level that the decision demands
/// (`erasure::method::choose`). `seed` must be the same wherever the plan is made again, and unknown
/// to the disks beforehand: the digest of the evidence's id and the boot's nonce, for one.
///
/// # Errors
/// [`PlanRefusal`]; nothing may be written then.
pub fn plan(
    decision: &Decision,
    evidence: &Evidence,
    context: &NodeContext,
    policy: &Policy,
    methods: &BTreeMap<DiskId, Result<EraseMethod, String>>,
    seed: Digest,
) -> Result<Option<Plan>, PlanRefusal> {
    belong_together(decision, evidence, context, policy)?;
    let facts = Facts::of(evidence, context, policy, decision.decided_at);
    if matches!(decision.action, Action::Keep | Action::LookDeeper | Action::Quarantine)
        || !facts.in_ramdisk()
    {
        return Ok(None);
    }
    if let Some(hold) = on_hold(context, policy, facts.now) {
        return Err(PlanRefusal::OnHold { hold });
    }
    if let Some(opens_at) = waits_until(context, policy, facts.now) {
        return Err(PlanRefusal::OutsideWindow { opens_at: written(opens_at) });
    }
    let mut steps = Vec::new();
    if facts.leaves_empty() && decision.action == Action::Wipe {
        let first = system_disk(&facts)?;
        erase_steps(&facts, &decision.confidentiality, methods, first.as_ref(), seed, &mut steps)?;
        return Ok(Some(made(decision, steps, policy)));
    }
    let (image, os_disk) = target(&facts)?;
    match decision.action {
        Action::Keep | Action::LookDeeper | Action::Quarantine => return Ok(None),
        Action::Repair => repair_steps(&facts, image, &os_disk, &mut steps)?,
        Action::Reimage => {
            let keep = kept_partitions(&facts, &os_disk.id)?;
            steps.extend(data_image_steps(&facts, &os_disk.id, &[], seed)?);
            steps.push(write_step(context, image, os_disk, seed, keep));
        }
        Action::Wipe => {
            erase_steps(&facts, &decision.confidentiality, methods, Some(&os_disk.id), seed, &mut steps)?;
            steps.extend(data_image_steps(&facts, &os_disk.id, &steps, seed)?);
            steps.push(write_step(context, image, os_disk, seed, Vec::new()));
        }
    }
    let made = made(decision, steps, policy);
    match left_behind(context, &made) {
        Some(disk) => Err(PlanRefusal::KeptElsewhere { disk: disk.clone() }),
        None => Ok(Some(made)),
    }
}

fn made(decision: &Decision, steps: Vec<Step>, policy: &Policy) -> Plan {
    Plan {
        node: decision.node,
        evidence: decision.evidence,
        action: decision.action,
        steps,
        boot: policy.boot_method(),
    }
}

fn belong_together(
    decision: &Decision,
    evidence: &Evidence,
    context: &NodeContext,
    policy: &Policy,
) -> Result<(), PlanRefusal> {
    let pairs = [
        (decision.node == context.node && evidence.node == context.node, "node"),
        (decision.evidence == evidence.id, "evidence"),
        (decision.policy == policy.digest(), "policy"),
    ];
    match pairs.into_iter().find(|(agree, _)| !agree) {
        Some((_, what)) => Err(PlanRefusal::Mismatched { what }),
        None => Ok(()),
    }
}

/// What is installed, and where; refuses what must never be written, whatever the decision says.
fn target(facts: &Facts<'_>) -> Result<(ImageId, DiskTarget), PlanRefusal> {
    let context = facts.context;
    let assignment = &context.assignment;
    if context.protected {
        return Err(PlanRefusal::Protected);
    }
    let image = assignment.image.ok_or(PlanRefusal::NotAssigned { what: "image" })?;
    let image_bytes = assignment.image_disk_bytes.ok_or(PlanRefusal::NotAssigned { what: "image size" })?;
    if assignment.tenant.is_none() {
        return Err(PlanRefusal::NotAssigned { what: "tenant" });
    }
    let disks = facts.disks().map_err(|why| PlanRefusal::NoDisks { why })?;
    let os_disk = os_disk(&assignment.os_disk, image_bytes, disks)?;
    let expected = context.expected_hardware.as_ref().map_or(&[][..], |hardware| &hardware.disks);
    if !assignment.os_disk.names_one() && !expected.is_empty() && !expected.contains(&os_disk.id) {
        return Err(PlanRefusal::OsDiskUnexpected { disk: os_disk.id });
    }
    Ok((image, os_disk))
}

/// Which disk is likely to carry the system of before, where nothing is installed afterwards. It decides
/// the order alone, so a rule that fits no disk is no reason to erase none.
fn system_disk(facts: &Facts<'_>) -> Result<Option<DiskId>, PlanRefusal> {
    if facts.context.protected {
        return Err(PlanRefusal::Protected);
    }
    let assignment = &facts.context.assignment;
    let disks = facts.disks().map_err(|why| PlanRefusal::NoDisks { why })?;
    let found = os_disk(&assignment.os_disk, assignment.image_disk_bytes.unwrap_or(1), disks);
    Ok(found.ok().map(|disk| disk.id))
}

/// The operating system's disk first: a machine that is cut off half-way must not come up with the
/// old tenant's system. Then the others in the order of their ids.
fn erase_steps(
    facts: &Facts<'_>,
    confidentiality: &Confidentiality,
    methods: &BTreeMap<DiskId, Result<EraseMethod, String>>,
    os_disk: Option<&DiskId>,
    seed: Digest,
    steps: &mut Vec<Step>,
) -> Result<(), PlanRefusal> {
    let (level, ids) = match confidentiality {
        Confidentiality::Sanitize { level, disks } if !disks.is_empty() => (*level, disks),
        _ => return Err(PlanRefusal::NoDisks { why: "the decision to wipe names no disks".to_owned() }),
    };
    let disks = facts.disks().map_err(|why| PlanRefusal::NoDisks { why })?;
    let may_be_clean = already_clean::among(facts);
    let mut ordered: Vec<&DiskId> = ids.iter().collect();
    ordered.sort_by_key(|id| (Some(*id) != os_disk, (*id).clone()));
    ordered.dedup();
    for id in ordered {
        let refused = |why: &str| PlanRefusal::CannotErase { disk: id.clone(), level, why: why.to_owned() };
        let disk = disks
            .iter()
            .find(|disk| &disk.id == id)
            .ok_or_else(|| refused("it is missing; put it back or destroy it"))?;
        let method = match methods.get(id) {
            Some(Ok(method)) => *method,
            Some(Err(why)) => return Err(refused(why)),
            None => return Err(refused("no method was chosen for it")),
        };
        delivers(disk, method, level).map_err(|why| refused(&why))?;
        if method == EraseMethod::NvmeFoundClean && !may_be_clean.contains(id) {
            return Err(refused("that it is clean already may not be taken on its word here; judge again"));
        }
        steps.push(Step::Erase {
            disk: disk_target(disk),
            method,
            level,
            verify_seed: derived(seed, "verify positions", id),
            verify_samples: facts.thresholds().erase.verify_samples,
            verify_depth: facts.thresholds().erase.verify,
        });
    }
    Ok(())
}

fn write_step(
    context: &NodeContext,
    image: ImageId,
    disk: DiskTarget,
    seed: Digest,
    keep: Vec<KeptPartition>,
) -> Step {
    let disk_guid = guid(derived(seed, "disk guid", &disk.id));
    let node_partition_guid = guid(derived(seed, "node partition guid", &disk.id));
    Step::WriteImage {
        disk,
        image,
        disk_guid,
        node_partition_guid,
        node_data: context.node_data,
        root_size: context.assignment.root_size,
        keep,
    }
}

/// A digest for one purpose on one disk; other purposes and disks get unrelated ones.
pub(crate) fn derived(seed: Digest, purpose: &str, disk: &DiskId) -> Digest {
    let mut hasher = blake3::Hasher::new_keyed(&seed.0);
    hasher.update(purpose.as_bytes()).update(&[0]).update(disk.as_str().as_bytes());
    Digest(*hasher.finalize().as_bytes())
}

/// A well-formed UUID (RFC 9562, version 4 and variant bits) from a digest.
pub(crate) fn guid(digest: Digest) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.0[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn repair_steps(
    facts: &Facts<'_>,
    image: ImageId,
    os_disk: &DiskTarget,
    steps: &mut Vec<Step>,
) -> Result<(), PlanRefusal> {
    let refuse = |why: String| PlanRefusal::NotNameable { why };
    let partitions =
        partition_numbers(&altered(facts, ReadingKey::ImagePartitionsAltered)?).map_err(refuse)?;
    if !partitions.is_empty() {
        steps.push(Step::RepairPartitions { disk: os_disk.clone(), image, partitions });
    }
    let mut paths = altered(facts, ReadingKey::ImageFilesAltered)?;
    paths.extend(altered(facts, ReadingKey::ImageFilesMissing)?);
    let paths = file_paths(&paths).map_err(refuse)?;
    let foreign = match facts.thresholds().integrity.foreign_files {
        ForeignFiles::Remove => altered(facts, ReadingKey::ImageFilesForeign)?,
        ForeignFiles::Ignore | ForeignFiles::Watch | ForeignFiles::Reimage => Vec::new(),
    };
    let remove = file_paths(&foreign).map_err(refuse)?;
    if !paths.is_empty() || !remove.is_empty() {
        steps.push(Step::RepairFiles { disk: os_disk.clone(), image, paths, remove });
    }
    if node_data::to_be_written(facts) {
        steps.push(Step::WriteSeed { disk: os_disk.clone(), node_data: facts.context.node_data });
    }
    if steps.is_empty() {
        return Err(PlanRefusal::NotNameable {
            why: "nothing was found altered, missing or foreign".to_owned(),
        });
    }
    Ok(())
}

fn altered(facts: &Facts<'_>, key: ReadingKey) -> Result<Vec<String>, PlanRefusal> {
    match facts.list(&Subject::Image, key) {
        Outcome::Value(list) if list.items.len() as u64 == list.total => Ok(list.items),
        Outcome::Value(list) => Err(PlanRefusal::NotNameable {
            why: format!("{key} has {} entries, more than the {LIST_ITEMS_MAX} that are listed", list.total),
        }),
        Outcome::Absent => Ok(Vec::new()),
        Outcome::Unreadable(why) => Err(PlanRefusal::NotNameable { why }),
    }
}

/// Partition numbers as they stand in a reading, ordered, each once.
pub(crate) fn partition_numbers(items: &[String]) -> Result<Vec<u32>, String> {
    let mut numbers = Vec::with_capacity(items.len());
    for item in items {
        match item.parse::<u32>() {
            Ok(number) if (1..=128).contains(&number) => numbers.push(number),
            _ => return Err(format!("{item:?} is not a partition number")),
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Paths as they stand in a reading, ordered, each once. Only absolute paths without detours: they
/// come from a machine that may be hostile, and name what will be written.
pub(crate) fn file_paths(items: &[String]) -> Result<Vec<String>, String> {
    let mut paths = Vec::with_capacity(items.len());
    for item in items {
        let detour = item.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..");
        // The replacement character stands for a name that is not UTF-8, which it does not name.
        let plain = item.starts_with('/') && !item.contains(['\0', '\u{fffd}']) && item.len() <= 4096;
        if !plain || detour {
            return Err(format!(
                "{:?} is not an absolute path without detours",
                item.chars().take(80).collect::<String>()
            ));
        }
        paths.push(item.clone());
    }
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}
