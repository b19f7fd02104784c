//! H4: data of some classes do not leave the site. A node that is taken out is the one whose disks are likely to
//! be carried away, so its verdict says that they must not be.

use contract::assignment::DataOwner;
use contract::decision::{Action, Axis};
use contract::reading::Subject;

use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;

/// C5: media with data of a class that stays are not carried away unsanitized.
const MEDIA_STAY: Rule = Rule {
    id: "confidentiality/media-stay",
    axis: Axis::Confidentiality,
    source: "policy: tenancy.media_stay; decision model 6.2 H4: media may not leave the site unsanitized",
};

/// C5, of a node for which this action follows. It makes no action another.
pub(crate) fn judge(facts: &Facts<'_>, action: Action) -> Option<Ruled> {
    let owner = &facts.context.data_owner;
    if action != Action::Quarantine || !facts.policy.media_stay(owner) {
        return None;
    }
    let class = facts.policy.data_class(owner);
    let whose = match owner {
        DataOwner::Tenant(tenant) => {
            format!("The disks hold data of tenant {tenant}, whose class is {class}")
        }
        DataOwner::Unknown | DataOwner::Nobody => {
            format!("Nobody knows whose data the disks hold, so their class may be {class}")
        }
    };
    let statement = format!(
        "{whose}: no disk of this node may leave the site before it is sanitized with a certificate (`reprieve \
         wipe NODE --leave-empty`) or destroyed."
    );
    let seen = Seen::fact(Subject::Node, format!("class {class}"), "data of a class that may leave the site");
    Some(MEDIA_STAY.found(Demand::Watch, seen, statement))
}

#[cfg(test)]
mod tests {
    use contract::decision::Decision;

    use super::*;
    use crate::testing::{Case, DATA_DISK, disk_subject};
    use contract::reading::ReadingKey;

    const BANK: &str = "[tenancy]\nclasses = { bank = \"regulated\", blog = \"public\" }\n";

    fn told(decision: &Decision) -> bool {
        decision.findings.iter().any(|finding| finding.rule == MEDIA_STAY.id)
    }

    #[test]
    fn who_takes_a_node_out_is_told_that_its_media_stay() {
        let owner = |name: &str| DataOwner::Tenant(name.parse().unwrap());
        let table = [
            (BANK, owner("bank"), true),
            (BANK, owner("blog"), false),
            (BANK, owner("other"), false),
            (BANK, DataOwner::Unknown, true),
            (BANK, DataOwner::Nobody, false),
            ("", DataOwner::Unknown, false),
            ("[tenancy]\nmedia_stay = [\"internal\"]\n", owner("other"), true),
            ("[tenancy]\nclasses = { bank = \"regulated\" }\nmedia_stay = []\n", owner("bank"), false),
        ];
        for (policy, of, expected) in table {
            let well = Case::healthy().policy(policy).context(|context| {
                context.data_owner = of.clone();
                context.assignment.tenant = None;
                context.assignment.image = None;
            });
            let failing =
                well.clone().count(disk_subject(DATA_DISK), ReadingKey::NvmeCriticalWarning, 4).judge();
            assert_eq!(failing.action, Action::Quarantine, "{policy} {of:?}");
            assert_eq!(told(&failing), expected, "{policy} {of:?}");
            let kept = well.judge();
            assert!(kept.action != Action::Quarantine && !told(&kept), "{policy} {of:?}");
        }
    }
}
