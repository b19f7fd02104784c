//! H9: what a court or an investigation wants as it is, nobody changes.

use contract::assignment::NodeContext;
use contract::decision::Axis;
use contract::id::UnixMillis;
use contract::reading::Subject;

use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;
use crate::policy::Policy;

/// R8: nothing destructive is done under a hold.
const HOLD: Rule = Rule {
    id: "request/hold",
    axis: Axis::Request,
    source: "policy: [[hold]]; decision model 6.2 H9: a legal or forensic hold blocks any destructive action",
};

/// R8, of a node that needs what `word` says.
pub(super) fn judge(facts: &Facts<'_>, word: &str) -> Vec<Ruled> {
    let holds = facts.thresholds().hold.iter();
    let on = holds.filter_map(|hold| Some((hold, hold.on(facts.context, facts.now)?)));
    let ruled = on.map(|(hold, because)| {
        let until = hold.until.as_ref().map_or_else(String::new, |until| format!(" until {until}"));
        let seen = Seen::fact(Subject::Node, &because, "no hold");
        let statement = format!(
            "The node needs a {word}, but hold {:?} is on it{until}, as {because}: {}. Nothing is written.",
            hold.name, hold.why
        );
        HOLD.found(Demand::Quarantine, seen, statement)
    });
    ruled.collect()
}

/// The first hold that is on the node; none if there is none. What writes asks this once more.
pub(crate) fn standing(context: &NodeContext, policy: &Policy, now: UnixMillis) -> Option<String> {
    let mut holds = policy.sections().hold.iter();
    holds.find(|hold| hold.on(context, now).is_some()).map(|hold| hold.name.clone())
}

#[cfg(test)]
mod tests {
    use contract::assignment::DataOwner;
    use contract::decision::Action;
    use contract::reading::ReadingKey;

    use super::*;
    use crate::policy::Policy;
    use crate::testing::Case;

    fn under(case: Case, hold: &str) -> Case {
        let text = format!("[[hold]]\nname = \"case-17\"\nwhy = \"court order 17\"\n{hold}");
        Case { policy: Policy::parse(&text).unwrap(), ..case }
    }

    fn damaged() -> Case {
        Case::healthy().list(Subject::Image, ReadingKey::ImageFilesAltered, &["/usr/bin/ls"])
    }

    #[test]
    fn a_hold_forbids_every_change_and_says_why() {
        let tenant = Case::healthy().context.assignment.tenant.unwrap();
        let node = Case::healthy().context.node;
        let holds = [
            (format!("nodes = [\"{node}\"]\n"), Action::Quarantine),
            (format!("tenants = [\"{tenant}\"]\n"), Action::Quarantine),
            ("tenants = [\"somebody-else\"]\n".to_owned(), Action::Repair),
            (format!("nodes = [\"{node}\"]\nuntil = \"2099-01-01T00:00:00Z\"\n"), Action::Quarantine),
            (format!("nodes = [\"{node}\"]\nuntil = \"2027-01-15T08:00:00Z\"\n"), Action::Repair),
        ];
        assert_eq!(damaged().action(), Action::Repair);
        for (hold, expected) in holds {
            let case = under(damaged(), &hold);
            assert_eq!(case.action(), expected, "{hold}");
            if expected == Action::Quarantine {
                let first = case.judge().reasons[0].clone();
                assert!(
                    first.rule == "request/hold" && first.statement.contains("court order 17"),
                    "{first:?}"
                );
            }
            // What is well stays in service.
            assert_eq!(under(Case::healthy(), &hold).action(), Action::Keep, "{hold}");
        }
    }

    /// Whatever a decision says that was made by other means.
    #[test]
    fn no_plan_is_made_under_a_hold() {
        let case = under(Case::healthy(), &format!("nodes = [\"{}\"]\n", Case::healthy().context.node));
        let mut decision = case.judge();
        assert_eq!(decision.action, Action::Keep);
        decision.action = Action::Reimage;
        let methods = std::collections::BTreeMap::new();
        let seed = contract::id::Digest::of(b"seed");
        let plan = crate::plan::plan(&decision, &case.evidence, &case.context, &case.policy, &methods, seed);
        assert_eq!(plan, Err(crate::plan::PlanRefusal::OnHold { hold: "case-17".to_owned() }));
    }

    #[test]
    fn data_of_the_tenant_and_data_that_may_be_the_tenants_are_held() {
        let owned = |owner: DataOwner, hold: &str| {
            under(Case::healthy(), hold).context(|context| context.data_owner = owner).action()
        };
        let acme = || DataOwner::Tenant("acme".parse().unwrap());
        assert_eq!(owned(acme(), "tenants = [\"acme\"]\n"), Action::Quarantine);
        assert_eq!(owned(acme(), "tenants = [\"other\"]\n"), Action::Wipe);
        assert_eq!(owned(DataOwner::Unknown, "tenants = [\"acme\"]\n"), Action::Quarantine);
        assert_eq!(owned(DataOwner::Unknown, "tenants = [\"acme\"]\nunknown_owners = false\n"), Action::Wipe);
    }

    #[test]
    fn a_hold_that_cannot_be_meant_is_refused_with_its_line() {
        let cases = [
            ("[[hold]]\nname = \"a\"\nwhy = \"x\"\n", 2, "names no nodes"),
            ("[[hold]]\nname = \"A b\"\nwhy = \"x\"\ntenants = [\"t\"]\n", 2, "small letters"),
            ("[[hold]]\nname = \"a\"\ntenants = [\"t\"]\nwhy = \"\"\n", 4, "say why"),
            (
                "[[hold]]\nname = \"a\"\ntenants = [\"t\"]\nwhy = \"x\"\nuntil = \"soon\"\n",
                5,
                "2027-01-31T12:00:00Z",
            ),
            ("[[hold]]\nname = \"a\"\ntenants = [\"t\"]\nwhy = \"x\"\nuntli = \"x\"\n", 5, "until"),
        ];
        for (text, line, problem) in cases {
            let error = Policy::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
