//! From demands to the one action.
//!
//! ```text
//! any quarantine                     -> quarantine            (nothing is written)
//! any look deeper                    -> look deeper           (what is unknown may yet forbid writing)
//! undetermined                       -> quarantine in the ramdisk, look deeper before it
//! else the strongest of              repair < reimage < wipe
//! none                               -> keep
//! a destructive action that may not be taken (protected, no image) -> quarantine
//! ```
//!
//! Only keep is a permission. Look deeper and quarantine write nothing, so evidence that got weaker
//! may turn any action into them, and nothing may turn them into keep but better evidence.

use contract::decision::Action;

use crate::facts::Facts;
use crate::rules::{Demand, Ruled, request, residency, strongest};

/// The action that these findings demand, before anything that forbids it.
pub(crate) fn demanded(facts: &Facts<'_>, ruled: &[Ruled]) -> Action {
    let strongest = strongest(ruled);
    if strongest != Demand::Quarantine && ruled.iter().any(|ruled| ruled.demand == Demand::LookDeeper) {
        return Action::LookDeeper;
    }
    match strongest {
        Demand::Nothing | Demand::Watch => Action::Keep,
        Demand::LookDeeper => Action::LookDeeper,
        Demand::Repair => Action::Repair,
        Demand::Reimage => Action::Reimage,
        Demand::Sanitize => Action::Wipe,
        Demand::Undetermined if facts.in_ramdisk() => Action::Quarantine,
        Demand::Undetermined => Action::LookDeeper,
        Demand::Quarantine => Action::Quarantine,
    }
}

/// How much a demand had to say in an action: the larger, the more it decided.
pub(crate) fn weight(action: Action, demand: Demand) -> (bool, Demand) {
    let looks = matches!(demand, Demand::LookDeeper | Demand::Undetermined);
    (action == Action::LookDeeper && looks, demand)
}

/// The action, with the findings that forbid what was demanded added to the list.
pub(crate) fn action(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) -> Action {
    let wanted = demanded(facts, ruled);
    ruled.extend(request::gates(facts, wanted));
    let action = demanded(facts, ruled);
    ruled.extend(residency::judge(facts, action));
    action
}
