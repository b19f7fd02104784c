//! Do the node's data stand on its disk as they should?

use contract::decision::Axis;
use contract::plan::Step;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;

/// I8: the seed partition holds the node's data, or nothing where it has none.
const NODE_DATA: Rule = Rule {
    id: "integrity/node-data",
    axis: Axis::Integrity,
    source: "design: what belongs to the node is on its disk as it was set",
};

/// I8, of a disk that carries the assigned image. The running system does not look there and need not, so
/// a change of the data alone sends no machine out of its work.
pub(super) fn judge(facts: &Facts<'_>) -> Option<Ruled> {
    let (subject, key) = (Subject::Image, ReadingKey::NodeDataInstalled);
    let wanted = facts.context.node_data.map(|digest| digest.to_string());
    let expected = facts.in_ramdisk() && wanted.is_some();
    if !expected && !facts.was_tried(&subject, key) {
        return None;
    }
    let threshold = wanted.as_deref().map_or("blank", short).to_owned();
    let seen = |observed: &str| Seen::reading(subject.clone(), key, short(observed), &threshold);
    match facts.list(&subject, key) {
        Outcome::Absent if wanted.is_none() => None,
        Outcome::Absent => Some(NODE_DATA.found(
            Demand::Watch,
            seen("no place for them"),
            "The disk was laid out before there was a place for the node's data; the next reimage makes one.",
        )),
        Outcome::Value(list) if list.total == 0 && wanted.is_none() => None,
        Outcome::Value(list) if list.total == 1 && list.items.first() == wanted.as_ref() => Some(
            NODE_DATA.found(Demand::Nothing, seen(list.items.first()?), "The node's data are on its disk."),
        ),
        Outcome::Value(list) => Some(NODE_DATA.found(
            Demand::Repair,
            seen(list.items.first().map_or("blank", String::as_str)),
            match wanted {
                Some(_) => "The node's data on its disk are not those that it should have.",
                None => "The disk holds data of the node that were taken away from it.",
            },
        )),
        Outcome::Unreadable(why) => Some(NODE_DATA.unknown(
            Demand::Repair,
            Seen::reading(subject.clone(), key, &why, &threshold),
            format!("Whether the node's data are on its disk could not be seen: {why}."),
        )),
    }
}

/// Whether the node's data have to be written, alone: they are not there, or nobody knows; or their
/// writing was begun and never proven.
pub(crate) fn to_be_written(facts: &Facts<'_>) -> bool {
    judge(facts).is_some_and(|ruled| ruled.demand == Demand::Repair) || alone_begun(facts)
}

/// Whether nothing but the node's data was begun and not reported done. Cut anywhere, it leaves no volume
/// or the whole one, and nothing else on the disk was touched.
pub(super) fn alone_begun(facts: &Facts<'_>) -> bool {
    facts.context.unfinished.as_ref().is_some_and(|work| {
        let steps = &work.plan.steps;
        !steps.is_empty() && steps.iter().all(|step| matches!(step, Step::WriteSeed { .. }))
    })
}

/// As much of a digest as a person compares.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use contract::decision::Action;
    use contract::id::Digest;
    use contract::plan::Plan;
    use contract::reading::ReadingValue;

    use super::*;
    use crate::testing::{Case, unfinished, write_step};

    const KEY: ReadingKey = ReadingKey::NodeDataInstalled;

    fn digest() -> Digest {
        Digest::of(b"volume")
    }

    fn wanted(case: Case) -> Case {
        case.context(|context| context.node_data = Some(digest()))
    }

    fn holds(case: Case, items: &[&str]) -> Case {
        case.list(Subject::Image, KEY, items)
    }

    fn steps(case: &Case) -> Vec<Step> {
        case.plan().unwrap().map_or_else(Vec::new, |plan: Plan| plan.steps)
    }

    #[test]
    fn what_follows_from_what_stands_in_the_partition() {
        use Action::{Keep, Repair};
        let (healthy, text) = (Case::healthy, digest().to_string());
        let absent = |case: Case| case.outcome(Subject::Image, KEY, Outcome::Absent);
        let table = [
            ("none wanted, blank", healthy(), Keep),
            ("none wanted, none there", absent(healthy()), Keep),
            ("none wanted, nobody looked", healthy().untried(&Subject::Image, KEY), Keep),
            ("none wanted, some there", holds(healthy(), &["beef"]), Repair),
            ("none wanted, unreadable", healthy().unreadable(Subject::Image, KEY), Repair),
            ("wanted and there", wanted(holds(healthy(), &[&text])), Keep),
            ("wanted, blank", wanted(healthy()), Repair),
            ("wanted, others there", wanted(holds(healthy(), &["beef"])), Repair),
            ("wanted, twice there", wanted(holds(healthy(), &[&text, &text])), Repair),
            ("wanted, no place", wanted(absent(healthy())), Keep),
            ("wanted, nobody looked", wanted(healthy().untried(&Subject::Image, KEY)), Repair),
            ("wanted, unreadable", wanted(healthy().unreadable(Subject::Image, KEY)), Repair),
        ];
        let resident = wanted(healthy()).resident();
        assert_eq!(resident.action(), Repair, "less trust is no permission");
        assert_eq!(resident.untried(&Subject::Image, KEY).action(), Keep, "the running system does not look");
        for (name, case, expected) in table {
            assert_eq!(case.action(), expected, "{name}");
            let node_data = case.context.node_data;
            let alone = |steps: &[Step]| matches!(steps, [Step::WriteSeed { node_data: named, .. }] if *named == node_data);
            assert_eq!(alone(&steps(&case)), expected == Repair, "{name}");
        }
    }

    #[test]
    fn an_image_that_is_written_brings_the_data_and_nothing_is_written_twice() {
        let other = ReadingValue::Text("other".to_owned());
        let case = wanted(Case::healthy()).outcome(
            Subject::Image,
            ReadingKey::ImageInstalled,
            Outcome::Value(other),
        );
        assert_eq!(case.action(), Action::Reimage);
        let steps = steps(&case);
        assert!(matches!(&steps[..], [Step::WriteImage { node_data: Some(_), .. }]), "{steps:?}");
    }

    #[test]
    fn files_and_data_are_put_right_in_one_plan() {
        let case =
            wanted(Case::healthy()).list(Subject::Image, ReadingKey::ImageFilesAltered, &["/usr/bin/ls"]);
        let steps = steps(&case);
        assert!(matches!(&steps[..], [Step::RepairFiles { .. }, Step::WriteSeed { .. }]), "{steps:?}");
    }

    /// Cut off, the data are written again, whatever stands there; more than that was not begun.
    #[test]
    fn data_whose_writing_was_cut_off_are_written_again_and_no_image_is() {
        let begun = steps(&wanted(Case::healthy())).remove(0);
        let text = digest().to_string();
        for case in [wanted(Case::healthy()), wanted(holds(Case::healthy(), &[&text]))] {
            let case = case.context(|context| context.unfinished = unfinished(begun.clone()));
            assert_eq!(case.action(), Action::Repair);
            assert!(matches!(&steps(&case)[..], [Step::WriteSeed { .. }]));
        }
        let with_image = Case::healthy().context(|context| {
            context.unfinished = unfinished(begun);
            let work = context.unfinished.as_mut().unwrap();
            work.plan.steps.push(write_step());
        });
        assert_eq!(with_image.action(), Action::Reimage);
    }
}
