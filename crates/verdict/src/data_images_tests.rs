//! Which data disks get their image, and which keep their data.

use contract::assignment::{DataOwner, Floor};
use contract::decision::Action;
use contract::plan::Step;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Trust};

use crate::plan::PlanRefusal;
use crate::testing::{
    Case, DATA_DISK, OS_DISK, data_image, data_step, disk, disk_subject, erase_step, unfinished, write_step,
};

/// With an image for the disk that each of these rules names.
fn with(case: Case, rules: &[&str]) -> Case {
    case.context(|context| {
        context.assignment.data_images = rules.iter().map(|rule| data_image(rule)).collect();
    })
}

fn asked(case: Case, floor: Floor) -> Case {
    case.context(|context| context.floor = Some(floor))
}

fn words(case: &Case) -> Vec<String> {
    let steps = case.plan().unwrap().map_or(Vec::new(), |plan| plan.steps);
    let word = |step: &Step| match step {
        Step::Erase { disk, .. } => format!("erase {}", disk.id),
        Step::WriteDataImage { disk, .. } => format!("data {}", disk.id),
        Step::WriteImage { disk, .. } => format!("write {}", disk.id),
        other => format!("{other:?}"),
    };
    steps.iter().map(word).collect()
}

/// Cut off while both disks were written: the system's disk has no tables, and the data disk something.
fn cut_off(steps: Vec<Step>) -> Case {
    let case = with(Case::blank(), &[DATA_DISK]).context(|context| {
        context.data_owner = DataOwner::Tenant("tenant-a".parse().unwrap());
        context.unfinished = unfinished(erase_step());
        if let Some(work) = &mut context.unfinished {
            work.plan.steps = steps;
        }
    });
    case.list(disk_subject(DATA_DISK), ReadingKey::DiskContentSignatures, &["data in 9 of 256 samples"])
        .outcome(disk_subject(OS_DISK), ReadingKey::DiskDataPartitions, Outcome::Absent)
}

#[test]
fn a_data_disk_gets_its_image_where_it_is_erased_or_blank_and_nobody_s() {
    let wiped = ["erase virtio-os", "erase nvme-eui.data", "data nvme-eui.data", "write virtio-os"];
    assert_eq!(words(&asked(with(Case::healthy(), &[DATA_DISK]), Floor::Wipe)), wiped);
    let blank = ["data nvme-eui.data", "write virtio-os"];
    for rule in [DATA_DISK, "nvme", "largest", "at-least=10G"] {
        assert_eq!(words(&with(Case::blank(), &[rule])), blank, "{rule}");
    }
    // A disk that should be nobody's and is not blank is erased first; the other one stays as it is.
    let dirty = with(Case::blank(), &[DATA_DISK]).list(
        disk_subject(DATA_DISK),
        ReadingKey::DiskContentSignatures,
        &["ext at the start"],
    );
    assert_eq!(words(&dirty), ["erase nvme-eui.data", "data nvme-eui.data", "write virtio-os"]);
    // Nothing is installed, so nothing is written.
    let emptied = asked(with(Case::healthy(), &[DATA_DISK]), Floor::Empty);
    assert_eq!(words(&emptied), ["erase virtio-os", "erase nvme-eui.data"]);
}

#[test]
fn the_step_says_everything_and_says_it_again() {
    let plan = with(Case::blank(), &[DATA_DISK]).plan().unwrap().unwrap();
    let Step::WriteDataImage { disk, image, disk_guid, .. } = &plan.steps[0] else { panic!("{plan:?}") };
    assert_eq!((disk.size_bytes, *image), (64 << 30, data_image(DATA_DISK).image));
    let Step::WriteImage { disk_guid: systems, .. } = &plan.steps[1] else { panic!("{plan:?}") };
    assert_ne!(disk_guid, systems);
    assert_eq!(disk_guid.get_version_num(), 4);
    assert_eq!(with(Case::blank(), &[DATA_DISK]).plan().unwrap().unwrap(), plan);
}

#[test]
fn the_tenant_s_data_stay_whatever_is_assigned() {
    let system = ["write virtio-os"];
    assert_eq!(words(&asked(with(Case::healthy(), &[DATA_DISK]), Floor::Reimage)), system);
    // Not even if the disk looks blank: the tenant may have wiped it themselves.
    let blank = Case::healthy().list(disk_subject(DATA_DISK), ReadingKey::DiskContentSignatures, &[]);
    assert_eq!(words(&asked(with(blank, &[DATA_DISK]), Floor::Reimage)), system);
    // A rule that names nothing any more is in nobody's way then.
    assert_eq!(words(&asked(with(Case::healthy(), &["serial=GONE"]), Floor::Reimage)), system);
    assert_eq!(with(Case::healthy(), &[DATA_DISK]).action(), Action::Keep);
}

/// Whether a disk is blank was not seen, or only the running system says so: it is erased, not believed.
#[test]
fn what_was_not_seen_blank_is_erased_first() {
    let (subject, key) = (disk_subject(DATA_DISK), ReadingKey::DiskContentSignatures);
    let with_data = || with(Case::blank(), &[DATA_DISK]);
    let doubtful = [
        with_data().unreadable(subject.clone(), key),
        with_data().untried(&subject, key),
        with_data().outcome(subject.clone(), key, Outcome::Absent),
        with_data().evidence(|evidence| {
            let of_disk = evidence.readings.iter_mut().filter(|one| one.subject == subject && one.key == key);
            of_disk.for_each(|one| one.trust = Trust::Resident);
        }),
    ];
    for case in doubtful {
        assert_eq!(words(&case), ["erase nvme-eui.data", "data nvme-eui.data", "write virtio-os"]);
    }
}

#[test]
fn a_rule_that_names_no_disk_of_its_own_is_refused_before_anything_is_erased() {
    let refused = |rules: &[&str]| {
        let wiped = asked(with(Case::healthy(), rules), Floor::Wipe).plan();
        let blank = with(Case::blank(), rules).plan();
        assert_eq!(wiped, blank);
        match wiped.unwrap_err() {
            PlanRefusal::DataDisk { rule, why } => format!("{rule}: {why}"),
            other => panic!("{other}"),
        }
    };
    assert!(refused(&[OS_DISK]).contains("the disk of the operating system"));
    assert!(refused(&["virtio"]).contains("the disk of the operating system"));
    assert!(refused(&["nvme", DATA_DISK]).contains("as another rule does"));
    assert!(refused(&["at-least=1G"]).contains("2 disks fit"));
    assert!(refused(&["nvme-eui.gone"]).contains("nvme-eui.gone is missing"));
    assert!(refused(&["scsi"]).contains("is attached by nvme"));
    assert!(refused(&["smallest"]).contains("is the one for the disk of the operating system"));
    let small = with(Case::blank(), &[DATA_DISK]).context(|context| {
        context.assignment.data_images[0].image_disk_bytes = 65 << 30;
    });
    assert!(small.plan().unwrap_err().to_string().contains("where the image needs"));
}

#[test]
fn a_disk_that_is_new_to_the_node_is_taken_only_by_name() {
    let add = |case: Case| {
        case.evidence(|evidence| {
            if let Outcome::Value(disks) = &mut evidence.inventory.disks {
                disks.push(disk("scsi-new", "sda", contract::inventory::Transport::Scsi, 90 << 30));
            }
        })
        .count(disk_subject("scsi-new"), ReadingKey::DiskReadErrors, 0)
        .list(disk_subject("scsi-new"), ReadingKey::DiskContentSignatures, &[])
    };
    let refused = add(with(Case::blank(), &["scsi"])).plan().unwrap_err();
    assert!(refused.to_string().contains("new to this node"), "{refused}");
    assert_eq!(words(&add(with(Case::blank(), &["scsi-new"]))), ["data scsi-new", "write virtio-os"]);
}

/// The half-written disk is not blank, and its owner is the tenant; the plan on record permits going on.
#[test]
fn a_write_that_was_cut_off_goes_on_as_the_same_step() {
    let begun = cut_off(vec![data_step(), write_step()]);
    assert_eq!(begun.action(), Action::Reimage);
    let plan = begun.plan().unwrap().unwrap();
    assert_eq!(plan.steps[0], data_step());
    assert_eq!(words(&begun), ["data nvme-eui.data", "write virtio-os"]);
    // Another image was assigned meanwhile: another step, with tables of its own.
    let other = cut_off(vec![data_step(), write_step()]).context(|context| {
        context.assignment.data_images[0].last_partition = contract::assignment::RootSize::Image
    });
    let Step::WriteDataImage { disk_guid, .. } = other.plan().unwrap().unwrap().steps[0] else { panic!() };
    assert_ne!(disk_guid, uuid::Uuid::from_u128(7));
    // Nothing of it was begun there, or it is not assigned any more: the disk stays as it is.
    assert_eq!(words(&cut_off(vec![write_step()])), ["write virtio-os"]);
    assert_eq!(words(&with(cut_off(vec![data_step(), write_step()]), &[])), ["write virtio-os"]);
    // What was begun with an erase begins with one again.
    let erased = cut_off(vec![erase_step(), data_step(), write_step()]);
    assert_eq!(
        words(&erased),
        ["erase virtio-os", "erase nvme-eui.data", "data nvme-eui.data", "write virtio-os"]
    );
}

/// The system's tables go last of all: where there is a system, a tenant may have used the data disk.
#[test]
fn once_a_system_is_installed_a_data_disk_is_the_tenant_s() {
    let key = ReadingKey::ImageInstalled;
    let cut = || cut_off(vec![data_step(), write_step()]);
    for installed in [crate::testing::image().to_string(), "another".to_owned()] {
        let value = Outcome::Value(ReadingValue::Text(installed));
        let case = cut().outcome(Subject::Image, key, value);
        let case = case.list(disk_subject(OS_DISK), ReadingKey::DiskDataPartitions, &[]);
        assert_eq!(words(&case), ["write virtio-os"]);
    }
    for unseen in [
        cut().unreadable(Subject::Image, key),
        cut().untried(&Subject::Image, key),
        cut().evidence(|evidence| {
            let image = evidence.readings.iter_mut().filter(|one| one.key == key);
            image.for_each(|one| one.trust = Trust::Resident);
        }),
    ] {
        let refused = unseen.plan().unwrap_err();
        assert!(matches!(refused, PlanRefusal::DataDiskUnknown { .. }), "{refused}");
    }
}
