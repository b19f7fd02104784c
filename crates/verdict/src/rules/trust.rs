//! H7: evidence that cannot be believed far enough. Where a deeper look is possible, it is asked for; in the
//! ramdisk, where none is, what follows is safe whatever the evidence hides: a node that may not be kept is made
//! what it should be, and one that may not be written is left as it is, for a person to look at.

use contract::decision::{Action, Axis};
use contract::reading::{Subject, Trust};

use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;

/// R3: the run can be believed far enough to allow keep.
const KEEP: Rule = Rule {
    id: "request/evidence-trust",
    axis: Axis::Request,
    source: "policy: trust.keep; decision model 6.2 H7: too little trust means a deeper look, or the safe action",
};
/// R10: the run can be believed far enough to change disks by it.
const WRITE: Rule = Rule {
    id: "request/trust-to-write",
    axis: Axis::Request,
    source: "policy: [trust]; decision model 6.2 H7: too little trust means a deeper look, or the safe action",
};

/// R3. It counts whatever else is demanded, or a worse finding would lead to a milder action.
pub(super) fn to_keep(facts: &Facts<'_>) -> Option<Ruled> {
    let least = facts.thresholds().trust.keep;
    let trust = facts.evidence.trust;
    (trust < least).then(|| {
        if facts.in_ramdisk() {
            let statement = "The policy keeps no node on the word of such a run, and none deeper is to be had; \
                             the image is written again.";
            KEEP.found(Demand::Reimage, seen(trust, least), statement)
        } else {
            let statement = "The policy wants a look from the ramdisk before a node is kept.";
            KEEP.found(Demand::LookDeeper, seen(trust, least), statement)
        }
    })
}

/// R10, of a node that needs what `word` says.
pub(super) fn to_write(facts: &Facts<'_>, action: Action, word: &str) -> Option<Ruled> {
    let least = facts.thresholds().trust.to_write(action)?;
    let trust = facts.evidence.trust;
    (trust < least).then(|| {
        let (demand, then) = if facts.in_ramdisk() {
            (Demand::Quarantine, "none deeper is to be had. Nothing is written, so that a person can look")
        } else {
            (Demand::LookDeeper, "the ramdisk may see better")
        };
        let statement =
            format!("The node needs a {word}, but the policy wants better evidence for that, and {then}.");
        WRITE.found(demand, seen(trust, least), statement)
    })
}

fn seen(trust: Trust, least: Trust) -> Seen {
    Seen::fact(Subject::Node, words(trust), format!("at least {}", words(least)))
}

fn words(trust: Trust) -> &'static str {
    match trust {
        Trust::Resident => "resident",
        Trust::ResidentAttested => "resident-attested",
        Trust::Ramdisk => "ramdisk",
        Trust::RamdiskAttested => "ramdisk-attested",
    }
}

#[cfg(test)]
mod tests {
    use contract::assignment::DataOwner;
    use contract::reading::ReadingKey;
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    use super::*;
    use crate::properties::{case, no_permission};
    use crate::testing::Case;

    fn cases() -> [Case; 4] {
        let altered = Case::healthy().list(Subject::Image, ReadingKey::ImageFilesAltered, &["/usr/bin/ls"]);
        let empty = Case::healthy().list(Subject::Image, ReadingKey::ImageInstalled, &[]);
        let foreign = Case::healthy().context(|context| context.data_owner = DataOwner::Unknown);
        [Case::healthy(), altered, empty, foreign]
    }

    #[test]
    fn each_action_needs_its_trust_and_the_safe_one_follows_where_it_lacks() {
        use Action::{Keep, LookDeeper, Quarantine, Reimage, Repair, Wipe};
        // Of a node to keep, to repair, to reimage and to wipe; from the ramdisk, and from the running system.
        let table = [
            ("", [Keep, Repair, Reimage, Wipe], [Keep, Repair, LookDeeper, Wipe]),
            ("keep = \"ramdisk\"", [Keep, Repair, Reimage, Wipe], [LookDeeper; 4]),
            ("keep = \"ramdisk-attested\"", [Reimage, Reimage, Reimage, Wipe], [LookDeeper; 4]),
            (
                "repair = \"ramdisk\"",
                [Keep, Repair, Reimage, Wipe],
                [Keep, LookDeeper, LookDeeper, LookDeeper],
            ),
            (
                "reimage = \"ramdisk-attested\"",
                [Keep, Repair, Quarantine, Quarantine],
                [Keep, Repair, LookDeeper, LookDeeper],
            ),
            (
                "wipe = \"ramdisk-attested\"",
                [Keep, Repair, Reimage, Quarantine],
                [Keep, Repair, LookDeeper, LookDeeper],
            ),
            ("keep = \"ramdisk-attested\"\nreimage = \"ramdisk-attested\"", [Quarantine; 4], [LookDeeper; 4]),
        ];
        for (trust, ramdisk, resident) in table {
            let judged = |seen_by: fn(Case) -> Case| {
                cases().map(|case| seen_by(case).policy(&format!("[trust]\n{trust}\n")).action())
            };
            assert_eq!(judged(|case| case), ramdisk, "{trust}");
            assert_eq!(judged(Case::resident), resident, "{trust}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever is demanded of evidence, more of it gives no permission, and neither does less trust.
        #[test]
        fn more_demanded_trust_gives_no_permission(case in case(), keep in 0_usize..4, repair in 0_usize..4, reimage in 0_usize..4, wipe in 0_usize..4) {
            let name = |of: usize| ["resident", "resident-attested", "ramdisk", "ramdisk-attested"][of];
            let text = format!(
                "[trust]\nkeep = \"{}\"\nrepair = \"{}\"\nreimage = \"{}\"\nwipe = \"{}\"\n",
                name(keep), name(repair), name(reimage), name(wipe)
            );
            let before = case.bare_action();
            let demanding = case.policy(&text);
            let after = demanding.bare_action();
            prop_assert!(no_permission(before, after), "{text}: {before:?} became {after:?}");
            let mut resident = demanding;
            resident.evidence.trust = Trust::Resident;
            let resident = resident.bare_action();
            prop_assert!(no_permission(after, resident), "{text}: {after:?} became {resident:?}");
        }
    }
}
