//! Whose data the disks of a node hold, while a plan is carried out and after it. Pure.

use contract::assignment::DataOwner;
use contract::decision::Action;
use contract::id::{ImageId, TenantId};
use contract::plan::{Plan, Step};

/// The image of the operating system that a plan writes.
pub(super) fn writes_image(plan: &Plan) -> Option<ImageId> {
    plan.steps.iter().find_map(|step| match step {
        Step::WriteImage { image, .. } => Some(*image),
        Step::Erase { .. }
        | Step::WriteDataImage { .. }
        | Step::RepairPartitions { .. }
        | Step::WriteSeed { .. }
        | Step::RepairFiles { .. } => None,
    })
}

/// Whose data the disks may hold once the first byte of an image is about to be written. Disks that were
/// nobody's are the tenant's from then on: a cut leaves bytes of that tenant's image, which a resumed
/// write goes on from, and which are never left for anybody else.
pub(super) fn owner_begun(before: &DataOwner, plan: &Plan, tenant: Option<&TenantId>) -> DataOwner {
    match (before, tenant) {
        (DataOwner::Nobody, Some(tenant)) if plan.action != Action::Wipe => DataOwner::Tenant(tenant.clone()),
        _ => before.clone(),
    }
}

/// Whose data the disks hold once a plan is proven. An erasure makes them nobody's; an image that is
/// written for a tenant makes them that tenant's; writing alone never takes them from anybody.
pub(super) fn owner_after(before: &DataOwner, plan: &Plan, tenant: Option<&TenantId>) -> DataOwner {
    let mut owner = if plan.action == Action::Wipe { DataOwner::Nobody } else { before.clone() };
    if let (DataOwner::Nobody, Some(tenant), Some(_)) = (&owner, tenant, writes_image(plan)) {
        owner = DataOwner::Tenant(tenant.clone());
    }
    owner
}

#[cfg(test)]
mod tests {
    use contract::id::{Digest, EvidenceId, ImageId, NodeId};
    use contract::plan::{BootMethod, DiskTarget};
    use uuid::Uuid;

    use super::*;

    fn plan(action: Action, writes: bool) -> Plan {
        let disk =
            DiskTarget { id: "nvme-eui.1".parse().unwrap(), size_bytes: 1 << 30, logical_sector_bytes: 512 };
        let image = ImageId(Digest::of(b"image"));
        let step = if writes {
            Step::WriteImage {
                disk,
                image,
                disk_guid: Uuid::nil(),
                node_partition_guid: Uuid::nil(),
                node_data: None,
                root_size: contract::root_size::RootSize::Grow,
                keep: Vec::new(),
            }
        } else {
            Step::RepairFiles { disk, image, paths: vec!["/usr/bin/x".into()], remove: Vec::new() }
        };
        Plan {
            node: NodeId(Uuid::nil()),
            evidence: EvidenceId(Uuid::nil()),
            action,
            steps: vec![step],
            boot: BootMethod::Reboot,
        }
    }

    #[test]
    fn the_owner_changes_on_proof_and_when_nobodys_disks_are_written() {
        let (a, b): (contract::id::TenantId, contract::id::TenantId) =
            ("a".parse().unwrap(), "b".parse().unwrap());
        let owned = |tenant: &contract::id::TenantId| DataOwner::Tenant(tenant.clone());
        let table = [
            (owned(&a), Action::Wipe, true, owned(&b)),
            (DataOwner::Unknown, Action::Wipe, true, owned(&b)),
            (DataOwner::Nobody, Action::Reimage, true, owned(&b)),
            (owned(&a), Action::Reimage, true, owned(&a)),
            (DataOwner::Unknown, Action::Reimage, true, DataOwner::Unknown),
            (owned(&b), Action::Repair, false, owned(&b)),
            (DataOwner::Nobody, Action::Repair, false, DataOwner::Nobody),
        ];
        for (before, action, writes, after) in table {
            assert_eq!(owner_after(&before, &plan(action, writes), Some(&b)), after, "{before:?} {action:?}");
        }
        let begun = [
            (DataOwner::Nobody, Action::Reimage, owned(&b)),
            (DataOwner::Nobody, Action::Wipe, DataOwner::Nobody),
            (DataOwner::Unknown, Action::Reimage, DataOwner::Unknown),
            (owned(&a), Action::Reimage, owned(&a)),
            (owned(&a), Action::Wipe, owned(&a)),
        ];
        for (before, action, after) in begun {
            assert_eq!(owner_begun(&before, &plan(action, true), Some(&b)), after, "{before:?} {action:?}");
        }
        assert_eq!(owner_begun(&DataOwner::Nobody, &plan(Action::Reimage, true), None), DataOwner::Nobody);
        assert_eq!(owner_after(&owned(&a), &plan(Action::Wipe, true), None), DataOwner::Nobody);
    }
}
