//! May the next user read what is on the media? Nothing measured can answer that but blank disks.

use contract::assignment::{DataOwner, Floor};
use contract::decision::{Axis, Confidentiality, SanitizeLevel};
use contract::id::DiskId;
use contract::inventory::DiskFacts;
use contract::plan::Step;
use contract::reading::{Outcome, ReadingKey, Subject, Trust};

use super::operator_rules;
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;

/// C1: data of one tenant are never left for another; whose data nobody knows are somebody else's.
const OWNER: Rule = Rule {
    id: "confidentiality/data-owner",
    axis: Axis::Confidentiality,
    source: "design: tenant changed or unknown means sanitize; NIST SP 800-88r2 section 3.1",
};
/// C2: disks that are said to be nobody's are believed only if they look blank from the ramdisk.
const BLANK: Rule = Rule {
    id: "confidentiality/blank-disk",
    axis: Axis::Confidentiality,
    source: "design: unknown is never permission",
};
/// C3: an erase that was begun and never reported done is done again.
const UNFINISHED: Rule = Rule {
    id: "confidentiality/unfinished-erase",
    axis: Axis::Confidentiality,
    source: "design: intent is recorded before every irreversible step",
};
/// C4: what cannot be listed cannot be sanitized.
const DISKS: Rule = Rule {
    id: "confidentiality/disks-seen",
    axis: Axis::Confidentiality,
    source: "design: could not look is not nothing there",
};

/// The verdict of the first axis and its findings.
pub(crate) fn judge(facts: &Facts<'_>) -> (Confidentiality, Vec<Ruled>) {
    // A request may ask for more than the policy demands, never for less.
    let demanded = facts.policy.sanitize_level(&facts.context.data_owner);
    let level = facts.context.sanitize_level.map_or(demanded, |asked| demanded.max(asked));
    let mut ruled = Vec::new();
    let mut level_needed = level;
    let mut disks_needed: Vec<DiskId> = Vec::new();
    let all = facts.disks();

    let mut owner_demands_all = owner(facts, &mut ruled);
    if let Some(level_begun) = erase_begun(facts) {
        level_needed = level.max(level_begun);
        owner_demands_all = true;
        ruled.push(UNFINISHED.found(
            Demand::Sanitize,
            Seen::fact(
                Subject::Node,
                "an erase was begun and never reported done",
                "every erase reported done",
            ),
            "An erase of this node was begun and never reported done; it is done again.",
        ));
    }
    // The request's own finding says why; here it only decides which disks.
    owner_demands_all |= matches!(facts.context.floor, Some(Floor::Wipe | Floor::Empty))
        || operator_rules::demand_sanitizing(facts);
    let nobodys = facts.context.data_owner == DataOwner::Nobody && facts.context.assignment.tenant.is_some();
    match all {
        Ok(disks) if owner_demands_all => disks_needed.extend(disks.iter().map(|disk| disk.id.clone())),
        Ok(disks) if nobodys => {
            for disk in disks {
                if let Some(dirty) = not_blank(facts, disk) {
                    disks_needed.push(disk.id.clone());
                    ruled.push(dirty);
                } else {
                    ruled.push(BLANK.found(
                        Demand::Nothing,
                        signatures(disk, "blank", "blank"),
                        format!("Disk {} is blank.", disk.id),
                    ));
                }
            }
        }
        Ok(_) => {}
        Err(why) if owner_demands_all || nobodys => {
            ruled.push(DISKS.found(
                Demand::Undetermined,
                Seen::fact(Subject::Node, &why, "all disks listed"),
                format!("Data may not stay, but which disks hold them could not be seen: {why}."),
            ));
            return (Confidentiality::Undetermined { why }, ruled);
        }
        Err(_) => {}
    }
    if disks_needed.is_empty() {
        return (Confidentiality::KeepData, ruled);
    }
    disks_needed.sort();
    (Confidentiality::Sanitize { level: level_needed, disks: disks_needed }, ruled)
}

/// C1. Says whether all disks have to be sanitized.
fn owner(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) -> bool {
    let Some(tenant) = &facts.context.assignment.tenant else {
        let statement = if facts.leaves_empty() {
            "Nobody is to get this node, and its disks are to be left empty."
        } else {
            "Nobody is to get this node, so its data stay where they are."
        };
        ruled.push(OWNER.found(
            Demand::Nothing,
            Seen::fact(Subject::Node, "no tenant is assigned", "no new tenant, or the same"),
            statement,
        ));
        return false;
    };
    let threshold = format!("data of tenant {tenant}, or nobody's");
    let (demand, observed, statement) = match &facts.context.data_owner {
        DataOwner::Tenant(owner) if owner == tenant => (
            Demand::Nothing,
            format!("data of tenant {owner}"),
            format!("The data belong to tenant {owner}, who keeps the node."),
        ),
        DataOwner::Tenant(owner) => (
            Demand::Sanitize,
            format!("data of tenant {owner}"),
            format!("The disks hold data of tenant {owner}, and the node goes to tenant {tenant}."),
        ),
        DataOwner::Unknown => (
            Demand::Sanitize,
            "nobody knows whose data".to_owned(),
            format!("Nobody knows whose data the disks hold, and the node goes to tenant {tenant}."),
        ),
        DataOwner::Nobody => (
            Demand::Nothing,
            "nobody's data".to_owned(),
            "The disks are recorded as holding nobody's data.".to_owned(),
        ),
    };
    ruled.push(OWNER.found(demand, Seen::fact(Subject::Node, observed, threshold), statement));
    demand == Demand::Sanitize
}

/// C2. A finding if the disk is not proven blank.
fn not_blank(facts: &Facts<'_>, disk: &DiskFacts) -> Option<Ruled> {
    let subject = Subject::Disk(disk.id.clone());
    let key = ReadingKey::DiskContentSignatures;
    let threshold = "no signature of data, seen from a network-booted ramdisk";
    let weak = facts.trust_of(&subject, key).is_none_or(|trust| trust < Trust::Ramdisk);
    match facts.list(&subject, key) {
        Outcome::Value(list) if list.total == 0 && !weak => None,
        Outcome::Value(list) if list.total == 0 => Some(BLANK.unknown(
            Demand::Sanitize,
            signatures(disk, "blank, says the running system", threshold),
            format!("Only the running system says that disk {} is blank; that is not enough.", disk.id),
        )),
        Outcome::Value(list) => {
            let first = list.items.first().map_or("data", String::as_str);
            Some(BLANK.found(
                Demand::Sanitize,
                signatures(disk, format!("{} ({first})", list.total), threshold),
                format!("Disk {} should hold nobody's data, but carries {first}.", disk.id),
            ))
        }
        Outcome::Absent => Some(BLANK.unknown(
            Demand::Sanitize,
            signatures(disk, "absent", threshold),
            format!("Whether disk {} is blank was not seen.", disk.id),
        )),
        Outcome::Unreadable(why) => Some(BLANK.unknown(
            Demand::Sanitize,
            signatures(disk, &why, threshold),
            format!("Whether disk {} is blank could not be seen: {why}.", disk.id),
        )),
    }
}

fn signatures(disk: &DiskFacts, observed: impl ToString, threshold: impl ToString) -> Seen {
    Seen::reading(Subject::Disk(disk.id.clone()), ReadingKey::DiskContentSignatures, observed, threshold)
}

/// C3. The strongest level of an unfinished plan's erase steps.
fn erase_begun(facts: &Facts<'_>) -> Option<SanitizeLevel> {
    let steps = &facts.context.unfinished.as_ref()?.plan.steps;
    let levels = steps.iter().filter_map(|step| match step {
        Step::Erase { level, .. } => Some(*level),
        _ => None,
    });
    levels.max()
}

#[cfg(test)]
mod tests {
    use contract::assignment::Floor;
    use contract::decision::{Action, Confidentiality, SanitizeLevel};

    use crate::testing::Case;

    /// The level of a request is a floor like its action: the stronger of request and policy counts.
    #[test]
    fn a_request_may_raise_the_level_and_never_lowers_it() {
        use SanitizeLevel::{Clear, Purge};
        let table = [
            ("clear", None, Clear),
            ("clear", Some(Clear), Clear),
            ("clear", Some(Purge), Purge),
            ("purge", None, Purge),
            ("purge", Some(Clear), Purge),
            ("purge", Some(Purge), Purge),
        ];
        for (policy, asked, expected) in table {
            let text = format!("[confidentiality]\ntenant_change_level = \"{policy}\"\n");
            let case = Case::healthy().policy(&text).context(|context| {
                context.floor = Some(Floor::Wipe);
                context.sanitize_level = asked;
            });
            let decision = case.judge();
            assert_eq!(decision.action, Action::Wipe);
            let Confidentiality::Sanitize { level, .. } = decision.confidentiality else {
                panic!("{policy} {asked:?}")
            };
            assert_eq!(level, expected, "{policy} {asked:?}");
        }
    }

    #[test]
    fn a_level_alone_asks_for_nothing() {
        let case = Case::healthy().context(|context| context.sanitize_level = Some(SanitizeLevel::Purge));
        assert_eq!(case.action(), Action::Keep);
    }
}
