//! What was asked for, whether the evidence can answer it, and what forbids acting on the answer.

use contract::assignment::Floor;
use contract::decision::{Action, Axis, SanitizeLevel};
use contract::reading::Subject;

use super::{Demand, Rule, Ruled, Seen, strongest};
use super::{holds, trust, windows};
use crate::facts::Facts;

/// R1: the evidence is this node's.
const NODE: Rule = Rule {
    id: "request/evidence-of-node",
    axis: Axis::Request,
    source: "design: everything that arrives is hostile until parsed",
};
/// R2: the evidence is of now.
const AGE: Rule =
    Rule { id: "request/evidence-age", axis: Axis::Request, source: "policy: evidence.age_max_seconds" };
/// R4: the request's floor.
const FLOOR: Rule = Rule { id: "request/at-least", axis: Axis::Request, source: "the request" };
/// R5: a protected node is never written.
const PROTECTED: Rule =
    Rule { id: "request/protected", axis: Axis::Request, source: "an operator protected the node" };
/// R6: there is an image to install.
const NO_IMAGE: Rule = Rule {
    id: "request/image-assigned",
    axis: Axis::Request,
    source: "design: wipe is sanitize, then image",
};
/// R7: there is a tenant to install it for.
const NO_TENANT: Rule = Rule {
    id: "request/tenant-assigned",
    axis: Axis::Request,
    source: "design: unknown is never permission",
};

/// How far a clock may be ahead of the service's before its evidence is not believed.
const SKEW_MAX_MILLIS: u64 = 5 * 60 * 1000;

/// R1 to R4 and R7. `integrity` are the findings of that axis: a floor of repair is met if everything
/// was compared from the ramdisk and nothing has to be put back.
pub(crate) fn judge(facts: &Facts<'_>, integrity: &[Ruled]) -> Vec<Ruled> {
    let mut ruled = Vec::new();
    if facts.evidence.node != facts.context.node {
        let seen = Seen::fact(
            Subject::Node,
            format!("evidence of {}", facts.evidence.node),
            format!("evidence of {}", facts.context.node),
        );
        ruled.push(NODE.found(Demand::Quarantine, seen, "The evidence is of another node."));
    }
    ruled.extend(age(facts));
    ruled.extend(trust::to_keep(facts));
    ruled.extend(floor(facts, integrity));
    let assignment = &facts.context.assignment;
    if assignment.tenant.is_none()
        && !facts.leaves_empty()
        && (assignment.image.is_some() || facts.context.floor.is_some())
    {
        let seen = Seen::fact(Subject::Node, "no tenant is assigned", "a tenant");
        ruled.push(NO_TENANT.found(
            Demand::Quarantine,
            seen,
            "An image is assigned or work is asked for, but no tenant; assign one to say whose data the node will hold.",
        ));
    }
    ruled
}

fn age(facts: &Facts<'_>) -> Option<Ruled> {
    let age_max = facts.thresholds().evidence.age_max_seconds;
    let ahead_millis = facts.evidence.taken_at.millis_since(facts.now);
    let age_seconds = facts.now.millis_since(facts.evidence.taken_at) / 1000;
    let threshold = format!("at most {age_max} s old");
    if ahead_millis > SKEW_MAX_MILLIS {
        let seen = Seen::fact(Subject::Node, format!("{} s in the future", ahead_millis / 1000), threshold);
        return Some(AGE.found(
            Demand::LookDeeper,
            seen,
            "The evidence says that it was taken in the future; look again.",
        ));
    }
    (age_seconds > age_max).then(|| {
        let seen = Seen::fact(Subject::Node, format!("{age_seconds} s old"), threshold);
        AGE.found(Demand::LookDeeper, seen, format!("The evidence is {age_seconds} s old; look again."))
    })
}

fn floor(facts: &Facts<'_>, integrity: &[Ruled]) -> Option<Ruled> {
    let floor = facts.context.floor?;
    let seen = |observed| Seen::fact(Subject::Node, observed, "the least that was asked for");
    Some(match floor {
        Floor::Wipe => FLOOR.found(Demand::Sanitize, seen("at least wipe"), at_least_wipe(facts)),
        Floor::Empty => FLOOR.found(Demand::Sanitize, seen("wipe and leave empty"), at_least_empty(facts)),
        Floor::Reimage => FLOOR.found(Demand::Reimage, seen("at least reimage"), "The request asks for at least a reimage."),
        Floor::Repair if facts.in_ramdisk() && strongest(integrity) <= Demand::Watch => FLOOR.found(
            Demand::Nothing,
            seen("at least repair"),
            "The request asks for at least a repair; everything was compared from the ramdisk and nothing has to be put back.",
        ),
        Floor::Repair => FLOOR.found(Demand::Repair, seen("at least repair"), "The request asks for at least a repair."),
    })
}

fn at_least_wipe(facts: &Facts<'_>) -> &'static str {
    match facts.context.sanitize_level {
        None => "The request asks for at least a wipe.",
        Some(SanitizeLevel::Clear) => "The request asks for at least a wipe, at least to the level clear.",
        Some(SanitizeLevel::Purge) => "The request asks for at least a wipe, to the level purge.",
    }
}

fn at_least_empty(facts: &Facts<'_>) -> &'static str {
    match facts.context.sanitize_level {
        None => "The request asks for a wipe that leaves the disks empty.",
        Some(SanitizeLevel::Clear) => {
            "The request asks for a wipe that leaves the disks empty, at least to the level clear."
        }
        Some(SanitizeLevel::Purge) => {
            "The request asks for a wipe that leaves the disks empty, to the level purge."
        }
    }
}

/// R5, R6 and R8 to R10: what stands against a destructive action, or makes it wait.
pub(crate) fn gates(facts: &Facts<'_>, action: Action) -> Vec<Ruled> {
    let mut ruled = Vec::new();
    let word = match action {
        Action::Repair => "repair",
        Action::Reimage => "reimage",
        Action::Wipe => "wipe",
        Action::Keep | Action::LookDeeper | Action::Quarantine => return ruled,
    };
    if facts.context.protected {
        let seen = Seen::fact(Subject::Node, "protected", "not protected");
        let statement = format!(
            "The node is protected, but needs a {word}; nothing is written. Take the protection off to go on."
        );
        ruled.push(PROTECTED.found(Demand::Quarantine, seen, statement));
    }
    ruled.extend(trust::to_write(facts, action, word));
    ruled.extend(holds::judge(facts, word));
    ruled.extend(windows::judge(facts, word));
    if facts.context.assignment.image.is_none() && !facts.leaves_empty() {
        let seen = Seen::fact(Subject::Node, "no image is assigned", "an image");
        let statement = format!(
            "The node needs a {word}, but no image is assigned, so nothing could be installed; assign one."
        );
        ruled.push(NO_IMAGE.found(Demand::Quarantine, seen, statement));
    }
    ruled
}
