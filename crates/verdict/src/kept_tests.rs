//! Which partitions stay, and when it could not be told.

use contract::assignment::{DataOwner, Floor, RootSize};
use contract::decision::{Action, Integrity};
use contract::plan::{KeptPartition, Step};
use contract::reading::{Outcome, ReadingKey};
use uuid::Uuid;

use crate::explain::explain;
use crate::plan::PlanRefusal;
use crate::testing::{Case, DATA_DISK, OS_DISK, disk_subject, erase_step, unfinished, write_step};

const KEY: ReadingKey = ReadingKey::DiskDataPartitions;

fn data(number: u32) -> KeptPartition {
    KeptPartition {
        number,
        type_guid: Uuid::from_u128(1),
        unique_guid: Uuid::from_u128(2),
        first_byte: 4 << 30,
        length_bytes: 100 << 20,
        attributes: 0,
        name: "data".to_owned(),
    }
}

/// A node that is reimaged, with these partitions beside the image.
fn reimaged(partitions: &[KeptPartition]) -> Case {
    let items: Vec<String> = partitions.iter().map(|one| serde_json::to_string(one).unwrap()).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    Case::healthy().context(|context| context.floor = Some(Floor::Reimage)).list(
        disk_subject(OS_DISK),
        KEY,
        &items,
    )
}

/// What is kept, if an image is written.
fn kept(case: &Case) -> Vec<u32> {
    let plan = case.plan().unwrap().unwrap();
    let Some(Step::WriteImage { keep, .. }) = plan.steps.last() else { panic!("{plan:?}") };
    keep.iter().map(|partition| partition.number).collect()
}

#[test]
fn the_tenants_own_partitions_stay_and_are_named() {
    let case = reimaged(&[data(7), data(5)]);
    assert_eq!(kept(&case), [5, 7]);
    let words = explain(&case.judge());
    let expected =
        "stays when an image is written: partition 5 \"data\" (100 MiB), partition 7 \"data\" (100 MiB).";
    assert!(words.contains(expected), "{words}");
    assert_eq!(kept(&reimaged(&[])), [] as [u32; 0]);
    let healthy = reimaged(&[data(5)]).context(|context| context.floor = None);
    assert_eq!(healthy.action(), Action::Keep);
    let sized = reimaged(&[]).context(|context| context.assignment.root_size = RootSize::Bytes(5 << 30));
    let plan = sized.plan().unwrap().unwrap();
    assert!(
        matches!(plan.steps[0], Step::WriteImage { root_size: RootSize::Bytes(bytes), .. } if bytes == 5 << 30)
    );
}

#[test]
fn nothing_of_others_is_kept_and_nothing_that_is_wiped() {
    let wiped = reimaged(&[data(5)]).context(|context| context.floor = Some(Floor::Wipe));
    assert_eq!((wiped.action(), kept(&wiped)), (Action::Wipe, Vec::new()));
    for owner in [DataOwner::Unknown, DataOwner::Tenant("tenant-b".parse().unwrap()), DataOwner::Nobody] {
        let case = reimaged(&[data(5)]).context(|context| context.data_owner = owner);
        assert_eq!(kept(&case), [] as [u32; 0]);
        assert!(!explain(&case.judge()).contains("stays when"));
    }
}

#[test]
fn what_could_not_be_told_is_not_written_over() {
    let subject = || disk_subject(OS_DISK);
    let broken = [
        reimaged(&[]).unreadable(subject(), KEY),
        reimaged(&[]).untried(&subject(), KEY),
        reimaged(&[]).list(subject(), KEY, &["{\"number\":5}"]),
        reimaged(&[]).count(subject(), KEY, 0),
    ];
    for case in broken {
        let refused = case.plan().unwrap_err();
        assert!(matches!(refused, PlanRefusal::DataUnknown { .. }), "{refused}");
        assert!(refused.to_string().contains("wipe"));
        // What is not the tenant's is sanitized whatever it is.
        let others = case.context(|context| context.data_owner = DataOwner::Unknown);
        assert!(others.plan().unwrap().is_some());
    }
}

/// Between the old table and the new one the disk has none.
#[test]
fn work_that_was_cut_off_goes_on_with_what_it_was_to_keep() {
    let mut step = write_step();
    if let Step::WriteImage { keep, .. } = &mut step {
        keep.push(data(5));
    }
    let cut_off = |steps: Vec<Step>, outcome| {
        reimaged(&[]).outcome(disk_subject(OS_DISK), KEY, outcome).context(|context| {
            context.unfinished = unfinished(erase_step());
            if let Some(work) = &mut context.unfinished {
                work.plan.steps = steps;
            }
        })
    };
    let no_table = cut_off(vec![step.clone()], Outcome::Absent);
    assert_eq!((no_table.action(), kept(&no_table)), (Action::Reimage, vec![5]));
    // With a table the disk itself says it.
    let with_table = reimaged(&[data(9)]).context(|context| context.unfinished = unfinished(step.clone()));
    assert_eq!(kept(&with_table), [9]);
    let erased = cut_off(vec![erase_step(), step], Outcome::Absent);
    assert_eq!(kept(&erased), [] as [u32; 0]);
    let blank = reimaged(&[]).outcome(disk_subject(OS_DISK), KEY, Outcome::Absent);
    assert_eq!(kept(&blank), [] as [u32; 0]);
}

/// The next plan takes the place of the record that says what was to be kept.
#[test]
fn another_disk_is_not_written_while_partitions_wait_on_the_first() {
    let begun_on = |disk: &str, keep: Vec<KeptPartition>| {
        let mut step = write_step();
        if let Step::WriteImage { disk: target, keep: kept, .. } = &mut step {
            target.id = disk.parse().unwrap();
            *kept = keep;
        }
        reimaged(&[]).context(|context| context.unfinished = unfinished(step))
    };
    let waiting = || begun_on(DATA_DISK, vec![data(5)]);
    let refused = waiting().plan().unwrap_err();
    assert_eq!(refused, PlanRefusal::KeptElsewhere { disk: DATA_DISK.parse().unwrap() });
    let words = refused.to_string();
    assert!(words.contains("assign it again") && words.contains("wipe"), "{words}");
    // The same disk again, nothing to keep, a wipe, and data that are nobody's to keep.
    let fine = [
        begun_on(OS_DISK, vec![data(5)]),
        begun_on(DATA_DISK, Vec::new()),
        waiting().context(|context| context.floor = Some(Floor::Wipe)),
        waiting().context(|context| context.data_owner = DataOwner::Nobody),
        waiting().context(|context| context.data_owner = DataOwner::Unknown),
    ];
    for case in fine {
        let plan = case.plan();
        assert!(matches!(plan, Ok(Some(_))), "{plan:?}");
    }
}

#[test]
fn errors_on_a_kept_file_system_are_no_reason_to_write_the_image() {
    let errors = |partitions: &[KeptPartition]| {
        let subject = contract::reading::Subject::FileSystem("vda5".to_owned());
        let case = reimaged(partitions).count(subject, ReadingKey::FileSystemErrors, 9);
        case.context(|context| context.floor = None)
    };
    for (kept, action) in [(5, Action::Keep), (6, Action::Reimage)] {
        let case = errors(&[data(kept)]);
        assert_eq!(case.action(), action);
        // The running system looks at the same file systems; the first that it says after an image was
        // written decides whether that one stays.
        assert_eq!(case.resident().action(), action);
    }
    let others = errors(&[data(5)]).context(|context| context.data_owner = DataOwner::Unknown);
    assert!(others.judge().integrity == Integrity::Reimage);
}
