//! F58, F59 and I12: what costs may choose within what the rules leave open.
//!
//! | least action by the rules | what costs may choose |
//! |---|---|
//! | keep, repair, reimage, wipe | quarantine, if something is watched, failure is likelier than the policy's limit, and waiting for it costs more |
//! | repair | reimage, if the policy allows it and it costs less |
//!
//! Taking a node out writes nothing, so it is allowed beside any action; that it does not depend on the other
//! axes keeps a worse finding there from giving a milder action here.
//!
//! Where it would be so only if what could not be read were at its worst, a deeper look is asked for, and in
//! the ramdisk what the policy says of health that cannot be read.

use contract::decision::{Action, Axis, Fitness};
use contract::reading::Subject;

use super::fitness::cautious;
use super::{Demand, Rule, Ruled, Seen};
use crate::cost::{self, Bill};
use crate::facts::Facts;
use crate::forecast::Risk;

/// F58: failure is not so likely that waiting for it costs more than taking the node out.
const LIKELY: Rule = Rule {
    id: "fitness/failure-likely",
    axis: Axis::Fitness,
    source: "forecast and costs of the model; policy: outlook.quarantine_parts_per_million_above",
};
/// F59: as F58, with what could not be read at its worst.
const UNREAD: Rule = Rule {
    id: "fitness/forecast-unread",
    axis: Axis::Fitness,
    source: "forecast of the model; policy: outlook.quarantine_parts_per_million_above",
};
/// I12: a repair is worth its while.
const NOT_WORTH: Rule = Rule {
    id: "integrity/repair-costs-more",
    axis: Axis::Integrity,
    source: "costs of the model; policy: outlook.repair_cost_may_reimage",
};

/// What costs choose: findings that are added to those of the rules.
pub(crate) fn judge(facts: &Facts<'_>, bill: &Bill<'_>, fitness: Fitness, least: Action) -> Vec<Ruled> {
    let mut chosen = Vec::new();
    if fitness == Fitness::Watch {
        chosen.extend(failure_likely(facts, bill));
    }
    let may_reimage = facts.thresholds().outlook.repair_cost_may_reimage;
    let (repair, reimage) = (bill.total(Action::Repair), bill.total(Action::Reimage));
    if least == Action::Repair && may_reimage && reimage < repair {
        let seen = Seen::fact(
            Subject::Image,
            cost::minutes(repair),
            format!("less than {}", cost::minutes(reimage)),
        );
        let statement = "A repair is likelier to fail than it is worth: a reimage costs less.";
        chosen.push(NOT_WORTH.found(Demand::Reimage, seen, statement));
    }
    chosen
}

fn failure_likely(facts: &Facts<'_>, bill: &Bill<'_>) -> Option<Ruled> {
    let limit = facts.thresholds().outlook.quarantine_parts_per_million_above;
    let Risk { failure_parts_per_million: risk, at_worst_parts_per_million: at_worst } = bill.risk;
    let days = bill.model.horizon_days();
    let (rule, demand, risk, words) = if risk > limit && bill.waiting_costs_more(risk) {
        let words = "and waiting for it costs more than taking the node out now";
        (&LIKELY, Demand::Quarantine, risk, words)
    } else if at_worst > limit && bill.waiting_costs_more(at_worst) {
        (&UNREAD, cautious(facts), at_worst, "if what could not be read is at its worst")
    } else {
        return None;
    };
    let demand = if facts.leaves_empty() { Demand::Watch } else { demand };
    let seen = Seen::fact(Subject::Node, percent(risk), format!("at most {}", percent(limit)));
    Some(rule.found(
        demand,
        seen,
        format!(
            "A part of the node fails within {days} days with a probability of {}, {words}.",
            percent(risk)
        ),
    ))
}

/// `12.3 %` of parts per million.
pub(crate) fn percent(parts_per_million: u64) -> String {
    let tenths = parts_per_million.saturating_add(500) / 1000;
    format!("{}.{} %", tenths / 10, tenths % 10)
}
