//! A wipe that installs nothing: how it ends, and what an empty node is.

use contract::agent_api::Instruction;
use contract::assignment::DataOwner;
use contract::decision::Action;
use contract::plan::{Plan, Step};

use crate::jobs::change::Change;
use crate::jobs::next::wait;
use crate::jobs::state;
use crate::refusal::Refusal;
use crate::store;
use crate::store::nodes::NodeRecord;
use crate::store::orders::OrderRow;

/// Whether a plan erases and installs nothing.
pub(super) fn leaves_empty(plan: &Plan) -> bool {
    let erases = |step| matches!(step, &Step::Erase { .. });
    plan.action == Action::Wipe && !plan.steps.is_empty() && plan.steps.iter().all(erases)
}

/// Whether there is nothing on a node's disks that anybody wants booted: they are nobody's. What is assigned
/// to it says what it shall have, not what it has.
pub(super) fn is_empty(node: &NodeRecord) -> bool {
    node.data_owner == DataOwner::Nobody
}

/// The disks are proven erased and certified, and nothing was installed: the node is nobody's, has nothing
/// to do, and is held, so that nobody boots what is not there.
///
/// # Errors
/// If not every step was begun, or the database fails.
pub(super) async fn end(change: &mut Change<'_>, order: &OrderRow) -> Result<Instruction, Refusal> {
    change.take(state::leave_empty)?;
    let now = change.now;
    let node = &mut change.node;
    node.unfinished = None;
    node.data_owner = DataOwner::Nobody;
    node.assignment.image = None;
    node.assignment.image_disk_bytes = None;
    node.assignment.tenant = None;
    node.assignment.data_images.clear();
    let reason = format!(
        "job {} erased its disks and left them empty; take it out, or release the hold and give it \
         something to do",
        order.job
    );
    node.hold_reason = Some(reason.clone());
    store::sessions::revoke_older_credentials(&mut change.transaction, order.node, order.job, now).await?;
    // A machine that goes away takes nothing along, and what comes back is given its data anew.
    store::node_data::remove(&mut change.transaction, order.node).await?;
    change.note("all steps are proven; the disks are left empty and the node is held");
    Ok(wait(format!("held: {reason}")))
}

#[cfg(test)]
mod tests {
    use contract::id::{EvidenceId, NodeId};
    use contract::plan::BootMethod;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_plan_that_erases_nothing_leaves_nothing_empty() {
        let (node, evidence) = (NodeId(Uuid::nil()), EvidenceId(Uuid::nil()));
        let plan = Plan { node, evidence, action: Action::Wipe, steps: Vec::new(), boot: BootMethod::Reboot };
        assert!(!leaves_empty(&plan));
    }
}
