//! Plans: the right disks, in the right order, or a refusal that says what to do.

use std::collections::BTreeMap;

use contract::assignment::{DataOwner, Floor, OsDiskRule};
use contract::decision::{Action, SanitizeLevel};
use contract::id::Digest;
use contract::inventory::{SanitizeCapabilities, SanitizeState, Transport};
use contract::plan::{EraseMethod, Step};
use contract::reading::{Outcome, ReadingKey, Subject};

use crate::os_disk::os_disk;
use crate::plan::PlanRefusal;
use crate::testing::{Case, DATA_DISK, OS_DISK, disk, erase_step, unfinished};

fn other_tenant() -> Case {
    Case::healthy().context(|context| context.data_owner = DataOwner::Unknown)
}

fn words(step: &Step) -> String {
    match step {
        Step::Erase { disk, method, level, verify_samples, .. } => {
            format!("erase {} {method:?} {level:?} {verify_samples}", disk.id)
        }
        Step::WriteImage { disk, .. } => format!("write {}", disk.id),
        Step::WriteDataImage { disk, .. } => format!("data {}", disk.id),
        Step::WriteSeed { disk, .. } => format!("seed {}", disk.id),
        Step::RepairPartitions { disk, partitions, .. } => format!("partitions {} {partitions:?}", disk.id),
        Step::RepairFiles { disk, paths, remove, .. } => {
            let removed: Vec<String> = remove.iter().map(|path| format!("-{path}")).collect();
            format!("files {} {}", disk.id, [paths.as_slice(), &removed].concat().join(" "))
        }
    }
}

fn steps(case: &Case) -> Vec<String> {
    case.plan().unwrap().map_or(Vec::new(), |plan| plan.steps.iter().map(words).collect())
}

/// A wipe that installs nothing needs nothing to install, and installs nothing whatever is assigned.
#[test]
fn what_is_left_empty_gets_no_image() {
    let empty = || Case::healthy().context(|context| context.floor = Some(Floor::Empty));
    let erased =
        ["erase virtio-os Overwrite Clear 2000", "erase nvme-eui.data NvmeFormatUserData Clear 2000"];
    let unassigned = |owner: DataOwner| {
        empty().context(|context| {
            context.data_owner = owner;
            context.assignment.image = None;
            context.assignment.image_disk_bytes = None;
            context.assignment.tenant = None;
        })
    };
    let no_such_disk = empty().context(|context| {
        context.assignment.os_disk = OsDiskRule::Disk("gone".parse().unwrap());
    });
    for case in [empty(), unassigned(DataOwner::Unknown), unassigned(DataOwner::Nobody)] {
        assert_eq!(case.action(), Action::Wipe);
        assert_eq!(steps(&case), erased);
    }
    // The rule of the system's disk decides the order alone.
    let mut sorted = steps(&no_such_disk);
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(sorted, erased);
    // What forbids a wipe forbids this one.
    let protected = empty().context(|context| context.protected = true);
    assert_eq!((protected.action(), steps(&protected)), (Action::Quarantine, vec![]));
    assert_eq!(steps(&empty().resident()), Vec::<String>::new());
}

/// The node's data are part of what is ordered: other data are another plan, and none are none.
#[test]
fn whatever_writes_an_image_names_the_nodes_data() {
    let digest = |text: &[u8]| Some(Digest::of(text));
    for floor in [Floor::Reimage, Floor::Wipe] {
        let plan = |data: Option<Digest>| {
            let case = Case::healthy().context(|context| {
                context.floor = Some(floor);
                context.node_data = data;
            });
            case.plan().unwrap().unwrap()
        };
        for data in [None, digest(b"one")] {
            let named = plan(data).steps.into_iter().find_map(|step| match step {
                Step::WriteImage { node_data, .. } => Some(node_data),
                _ => None,
            });
            assert_eq!(named, Some(data));
        }
        let digests = [None, digest(b"one"), digest(b"two")].map(|data| plan(data).digest().unwrap());
        assert!(digests[0] != digests[1] && digests[1] != digests[2]);
    }
}

#[test]
fn each_action_has_its_steps() {
    let image = || Subject::Image;
    let broken = Case::healthy()
        .list(image(), ReadingKey::ImagePartitionsAltered, &["3", "1", "3"])
        .list(image(), ReadingKey::ImageFilesAltered, &["/usr/b", "/usr/a"])
        .list(image(), ReadingKey::ImageFilesMissing, &["/usr/a", "/boot/c"]);
    let sick =
        other_tenant().count(Subject::Disk(DATA_DISK.parse().unwrap()), ReadingKey::NvmeCriticalWarning, 4);
    let dirty = Case::blank().list(
        Subject::Disk(DATA_DISK.parse().unwrap()),
        ReadingKey::DiskContentSignatures,
        &["ext4"],
    );
    let foreign = || {
        Case::healthy()
            .list(image(), ReadingKey::ImageFilesForeign, &["/usr/x/y", "/usr/x"])
            .policy("[integrity]\nforeign_files = \"remove\"")
    };
    let both = foreign().list(image(), ReadingKey::ImageFilesMissing, &["/usr/a"]);
    let not_named = foreign().list(image(), ReadingKey::ImageFilesForeign, &["/usr/\u{fffd}"]);
    let cases: [(Case, &[&str]); 11] = [
        (foreign(), &["files virtio-os -/usr/x -/usr/x/y"]),
        (both, &["files virtio-os /usr/a -/usr/x -/usr/x/y"]),
        (not_named, &["write virtio-os"]),
        (Case::healthy(), &[]),
        (broken, &["partitions virtio-os [1, 3]", "files virtio-os /boot/c /usr/a /usr/b"]),
        (Case::blank(), &["write virtio-os"]),
        (
            other_tenant(),
            &[
                "erase virtio-os Overwrite Clear 2000",
                "erase nvme-eui.data NvmeFormatUserData Clear 2000",
                "write virtio-os",
            ],
        ),
        (dirty, &["erase nvme-eui.data NvmeFormatUserData Clear 2000", "write virtio-os"]),
        (other_tenant().resident(), &[]),
        (sick, &[]),
        (other_tenant().context(|context| context.protected = true), &[]),
    ];
    for (case, expected) in cases {
        assert_eq!(steps(&case), expected, "{:?}", case.action());
    }
}

#[test]
fn the_same_seed_gives_the_same_plan_and_every_guid_is_its_own() {
    let plan = other_tenant().plan().unwrap().unwrap();
    assert_eq!(plan, other_tenant().plan().unwrap().unwrap());
    let seeds: Vec<String> = plan
        .steps
        .iter()
        .flat_map(|step| match step {
            Step::Erase { verify_seed, .. } => vec![verify_seed.to_string()],
            Step::WriteImage { disk_guid, node_partition_guid, .. } => {
                assert_eq!((disk_guid.get_version_num(), node_partition_guid.get_version_num()), (4, 4));
                vec![disk_guid.to_string(), node_partition_guid.to_string()]
            }
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(seeds.len(), 4);
    assert!(seeds.iter().enumerate().all(|(at, seed)| !seeds[..at].contains(seed)));
}

#[test]
fn a_disk_that_cannot_be_sanitized_is_refused_by_name() {
    let os = (OS_DISK.parse().unwrap(), Ok(EraseMethod::Overwrite));
    let usb = Err("it is behind a USB bridge; attach it directly".to_owned());
    let refused = other_tenant()
        .plan_with(&BTreeMap::from([os.clone(), (DATA_DISK.parse().unwrap(), usb)]))
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "disk nvme-eui.data cannot be sanitized to the level Clear: it is behind a USB bridge; attach it directly"
    );
    let refused = other_tenant().plan_with(&BTreeMap::from([os.clone()])).unwrap_err();
    assert!(refused.to_string().contains("no method was chosen"), "{refused}");
    // So is a method that erases more or less than the disk, whoever chose it.
    let two = other_tenant().evidence(|evidence| {
        if let contract::reading::Outcome::Value(disks) = &mut evidence.inventory.disks {
            disks[0].nvme = contract::reading::Outcome::Value(crate::testing::nvme(2));
        }
    });
    let format = (DATA_DISK.parse().unwrap(), Ok(EraseMethod::NvmeFormatUserData));
    let refused = two.plan_with(&BTreeMap::from([os, format])).unwrap_err();
    assert!(refused.to_string().contains("more or less than this one namespace"), "{refused}");
    // A method that does not deliver the level is refused here too, whoever chose it.
    let purge = other_tenant().policy("[confidentiality]\ntenant_change_level = \"purge\"");
    let refused = purge.plan().unwrap_err();
    assert!(matches!(refused, PlanRefusal::CannotErase { level: SanitizeLevel::Purge, .. }), "{refused}");
}

/// A sanitize that was cut off runs on and lets nobody read. The disk is not taken for a failing one,
/// but only where we began the sanitize, and only because of what it says of it.
#[test]
fn a_disk_that_sanitizes_since_a_power_cut_is_erased_again() {
    let (running, failed) = (SanitizeState::Running { progress_65536: 7 }, SanitizeState::Failed);
    let case = |state, begun: bool| {
        let subject = || Subject::Disk(OS_DISK.parse().unwrap());
        Case::healthy()
            .context(|context| context.unfinished = unfinished(erase_step()).filter(|_| begun))
            .context(|context| context.data_owner = DataOwner::Unknown)
            .unreadable(subject(), ReadingKey::DiskReadErrors)
            .unreadable(subject(), ReadingKey::DiskContentSignatures)
            .unreadable(subject(), ReadingKey::ScsiFailurePredicted)
            .unreadable(subject(), ReadingKey::ScsiGrownDefects)
            .unreadable(subject(), ReadingKey::DiskSelfTestFailed)
            .evidence(|evidence| {
                let Outcome::Value(disks) = &mut evidence.inventory.disks else { panic!("no disks") };
                let disk = disks.iter_mut().find(|disk| disk.id.as_str() == OS_DISK).unwrap();
                disk.sanitize = Outcome::Value(SanitizeCapabilities {
                    block: true,
                    crypto: true,
                    overwrite: false,
                    block_estimate_seconds: None,
                    crypto_estimate_seconds: None,
                    overwrite_estimate_seconds: None,
                    state,
                    obstacles: Vec::new(),
                    sanitized_by: None,
                });
            })
    };
    for state in [running, failed] {
        assert_eq!(case(state, true).action(), Action::Wipe);
        assert_eq!(case(state, false).action(), Action::Quarantine);
    }
    assert_eq!(case(SanitizeState::Done { erased_since: true }, true).action(), Action::Quarantine);
    assert_eq!(case(running, true).resident().action(), Action::LookDeeper);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let case = other_tenant();
    let decision = case.judge();
    let seed = contract::id::Digest::of(b"seed");
    let plan = |case: &Case, decision| {
        crate::plan::plan(decision, &case.evidence, &case.context, &case.policy, &BTreeMap::new(), seed)
    };
    let other_evidence =
        case.clone().evidence(|e| e.id = contract::id::EvidenceId(uuid::Uuid::from_u128(77)));
    let other_node = case.clone().context(|c| c.node = contract::id::NodeId(uuid::Uuid::from_u128(77)));
    let other_policy = case.clone().policy("[erase]\nverify_samples = 3000");
    for (case, what) in [(other_evidence, "evidence"), (other_node, "node"), (other_policy, "policy")] {
        assert_eq!(plan(&case, &decision), Err(PlanRefusal::Mismatched { what }));
    }
    // Protection that came after the decision still holds.
    let protected = case.context(|context| context.protected = true);
    assert_eq!(plan(&protected, &decision), Err(PlanRefusal::Protected));
}

#[test]
fn a_new_disk_is_not_taken_for_the_operating_system_s() {
    let add = |case: Case| {
        case.evidence(|evidence| {
            if let contract::reading::Outcome::Value(disks) = &mut evidence.inventory.disks {
                disks.push(disk("virtio-new", "vdb", Transport::Virtio, 4 << 30));
            }
        })
        .count(Subject::Disk("virtio-new".parse().unwrap()), ReadingKey::DiskReadErrors, 0)
        .list(Subject::Disk("virtio-new".parse().unwrap()), ReadingKey::DiskDataPartitions, &[])
        .context(|context| context.floor = Some(Floor::Reimage))
    };
    let refused = add(Case::healthy()).plan().unwrap_err();
    assert_eq!(refused, PlanRefusal::OsDiskUnexpected { disk: "virtio-new".parse().unwrap() });
    let named = |context: &mut contract::assignment::NodeContext| {
        context.assignment.os_disk = OsDiskRule::Disk("virtio-new".parse().unwrap());
    };
    assert_eq!(steps(&add(Case::healthy()).context(named)), ["write virtio-new"]);
}

#[test]
fn the_operating_system_s_disk() {
    let small = disk("b-small", "sda", Transport::Scsi, 4 << 30);
    let twin = disk("a-small", "sdb", Transport::Scsi, 4 << 30);
    let large = disk("large", "sdc", Transport::Scsi, 64 << 30);
    let mut locked = disk("locked", "sdd", Transport::Scsi, 3 << 30);
    locked.read_only = true;
    let mut stick = disk("stick", "sde", Transport::Usb, 3 << 30);
    stick.removable = true;
    let all = [large.clone(), small.clone(), twin, locked, stick];
    let named = |id: &str| OsDiskRule::Disk(id.parse().unwrap());
    let cases: [(OsDiskRule, u64, &str); 9] = [
        (OsDiskRule::Smallest, 2 << 30, "a-small"),
        (OsDiskRule::Smallest, 5 << 30, "large"),
        (OsDiskRule::Smallest, 65 << 30, "no disk can carry"),
        (named("large"), 2 << 30, "large"),
        (named("gone"), 2 << 30, "gone, which should carry the operating system, is missing"),
        (named("locked"), 1, "read-only"),
        (named("stick"), 1, "removable"),
        (named("b-small"), 5 << 30, "the image needs 5368709120"),
        (named("b-small"), 4 << 30, "b-small"),
    ];
    for (rule, bytes, expected) in cases {
        let chosen = os_disk(&rule, bytes, &all)
            .map_or_else(|refusal| refusal.to_string(), |disk| disk.id.to_string());
        assert!(chosen.contains(expected), "{rule:?}: {chosen}");
    }
    assert!(os_disk(&OsDiskRule::Smallest, 1, &[]).is_err());
    let twice = os_disk(&named("large"), 1, &[large.clone(), large]).unwrap_err();
    assert!(twice.to_string().contains("is there twice"), "{twice}");
}

#[test]
fn paths_that_leave_their_place_are_not_paths() {
    let one = |path: &str| crate::plan::file_paths(&[path.to_owned()]);
    for path in ["usr/bin", "/usr/../etc", "/usr/./bin", "//etc", "/etc/", "", "/", "/a\0b"] {
        assert!(one(path).is_err(), "{path:?}");
    }
    for path in ["/usr/bin/ls", "/usr/lib/..data", "/usr/share/a b"] {
        assert!(one(path).is_ok(), "{path:?}");
    }
}
