//! Which disks need no new erase, if they say that they are clean already.
//!
//! This takes nothing on a disk's word: it says on which disks the policy lets the word count, after
//! everything else that was seen agrees with it. Whether a disk gives that word, and for which level, is
//! asked by `erasure::method::choose_for` and again by [`crate::delivers`]; whether it is true is asked
//! when the step is carried out, by asking the disk again and reading it back.

use std::collections::BTreeSet;

use contract::assignment::NodeContext;
use contract::evidence::Evidence;
use contract::id::DiskId;
use contract::inventory::{DiskFacts, Transport};
use contract::reading::{Outcome, ReadingKey, Subject, Trust};

use crate::facts::Facts;
use crate::policy::Policy;

/// The disks that may be proven clean instead of being erased. Empty unless the policy says so
/// (`erase.skip_already_clean`), for all disks of a node on which anything was begun and not finished,
/// and from anywhere but the ramdisk. A disk must look blank there.
#[must_use]
pub fn disks(evidence: &Evidence, context: &NodeContext, policy: &Policy) -> BTreeSet<DiskId> {
    // What was read has an age, and the same one wherever this is asked.
    among(&Facts::of(evidence, context, policy, evidence.taken_at))
}

/// As [`disks`], of these facts.
pub(crate) fn among(facts: &Facts<'_>) -> BTreeSet<DiskId> {
    let allowed = facts.thresholds().erase.skip_already_clean
        && facts.in_ramdisk()
        && facts.context.unfinished.is_none();
    let disks = facts.disks().unwrap_or_default();
    disks.iter().filter(|disk| allowed && looks_blank(facts, disk)).map(|disk| disk.id.clone()).collect()
}

fn looks_blank(facts: &Facts<'_>, disk: &DiskFacts) -> bool {
    let (subject, key) = (Subject::Disk(disk.id.clone()), ReadingKey::DiskContentSignatures);
    disk.transport == Transport::Nvme
        && facts.trust_of(&subject, key).is_some_and(|trust| trust >= Trust::Ramdisk)
        && matches!(facts.list(&subject, key), Outcome::Value(list) if list.total == 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contract::assignment::DataOwner;
    use contract::inventory::{SanitizeCapabilities, SanitizeState};
    use contract::plan::{EraseMethod, Plan, Step};

    use super::*;
    use crate::plan::PlanRefusal;
    use crate::testing::{Case, DATA_DISK, OS_DISK, disk_subject, unfinished, write_step};

    const ON: &str = "[erase]\nskip_already_clean = true\n";

    fn said(state: SanitizeState) -> Outcome<SanitizeCapabilities> {
        Outcome::Value(SanitizeCapabilities {
            block: true,
            crypto: true,
            overwrite: false,
            block_estimate_seconds: None,
            crypto_estimate_seconds: None,
            overwrite_estimate_seconds: None,
            state,
            obstacles: Vec::new(),
            sanitized_by: Some(EraseMethod::NvmeSanitizeBlock),
        })
    }

    /// Nobody knows whose data it holds, and both disks say that they are clean and look blank.
    fn clean() -> Case {
        let mut case = Case::blank().policy(ON).context(|context| context.data_owner = DataOwner::Unknown);
        let Outcome::Value(disks) = &mut case.evidence.inventory.disks else { panic!("no disks") };
        for disk in disks {
            disk.sanitize = said(SanitizeState::Done { erased_since: true });
        }
        case
    }

    fn names(case: &Case) -> Vec<String> {
        disks(&case.evidence, &case.context, &case.policy).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_word_counts_only_where_everything_else_agrees_with_it() {
        let (subject, key) = (disk_subject(DATA_DISK), ReadingKey::DiskContentSignatures);
        // The other disk is no NVMe disk.
        assert_eq!(names(&clean()), [DATA_DISK]);
        let none: [(&str, Case); 7] = [
            ("by default", clean().policy("")),
            ("switched off", clean().policy("[erase]\nskip_already_clean = false\n")),
            ("not blank", clean().list(subject.clone(), key, &["ext4"])),
            ("cannot be read", clean().unreadable(subject.clone(), key)),
            ("nobody looked", clean().untried(&subject, key)),
            ("the running system's word", clean().resident()),
            ("begun", clean().context(|context| context.unfinished = unfinished(write_step()))),
        ];
        for (name, case) in none {
            assert_eq!(names(&case), Vec::<String>::new(), "{name}");
        }
    }

    fn plan_with(case: &Case, data_disk: EraseMethod) -> Result<Plan, PlanRefusal> {
        let methods = BTreeMap::from([
            (OS_DISK.parse().unwrap(), Ok(EraseMethod::Overwrite)),
            (DATA_DISK.parse().unwrap(), Ok(data_disk)),
        ]);
        case.plan_with(&methods).map(|plan| plan.unwrap())
    }

    /// Whoever chose it: a plan finds a disk clean only where that may count.
    #[test]
    fn a_plan_finds_clean_only_what_may_be_found_clean() {
        let plan = plan_with(&clean(), EraseMethod::NvmeFoundClean).unwrap();
        let methods: Vec<EraseMethod> = plan
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Erase { method, .. } => Some(*method),
                _ => None,
            })
            .collect();
        assert_eq!(methods, [EraseMethod::Overwrite, EraseMethod::NvmeFoundClean]);
        let mut written = clean();
        let Outcome::Value(disks) = &mut written.evidence.inventory.disks else { panic!("no disks") };
        disks[0].sanitize = said(SanitizeState::Done { erased_since: false });
        let cases = [
            ("off", clean().policy(""), "may not be taken on its word"),
            ("begun", clean().context(|c| c.unfinished = unfinished(write_step())), "on its word"),
            ("written since", written, "does not say that it was sanitized"),
        ];
        for (name, case, expected) in cases {
            let refused = plan_with(&case, EraseMethod::NvmeFoundClean).unwrap_err().to_string();
            assert!(refused.contains(expected), "{name}: {refused}");
            assert!(plan_with(&case, EraseMethod::NvmeFormatUserData).is_ok(), "{name}");
        }
    }
}
