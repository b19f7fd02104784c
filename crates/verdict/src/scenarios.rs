//! The table of situations and what must follow, kept as text so that a change shows in review.

use std::collections::BTreeSet;
use std::fmt::Write;

use contract::assignment::{DataOwner, Floor, OsDiskRule, PastVerdict, Recalled};
use contract::decision::{Action, Confidentiality, Severity};
use contract::id::{EvidenceId, NodeId, UnixMillis};
use contract::inventory::Transport;
use contract::reading::{Outcome, ReadingKey as Key, ReadingValue, Subject};
use uuid::Uuid;

use crate::testing::{
    Case, DATA_DISK, NOW, OS_DISK, disk, disk_subject, erase_step, mac, unfinished, write_step,
};

fn healthy() -> Case {
    Case::healthy()
}

fn owner(owner: DataOwner) -> Case {
    healthy().context(|context| context.data_owner = owner)
}

fn other_tenant() -> Case {
    owner(DataOwner::Tenant("tenant-b".parse().unwrap()))
}

fn data() -> Subject {
    disk_subject(DATA_DISK)
}

fn hardware(change: impl FnOnce(&mut contract::inventory::Inventory)) -> Case {
    healthy().evidence(|evidence| change(&mut evidence.inventory))
}

fn ata(key: Key, count: u64) -> Case {
    let case = hardware(|inventory| {
        let disks = [
            disk(DATA_DISK, "sda", Transport::Ata, 64 << 30),
            disk(OS_DISK, "vda", Transport::Virtio, 8 << 30),
        ];
        inventory.disks = Outcome::Value(disks.to_vec());
    });
    let mut case =
        case.outcome(data(), Key::AtaSmartThresholdExceeded, Outcome::Value(ReadingValue::Flag(false)));
    let counters = [
        Key::AtaReallocatedSectors,
        Key::AtaReportedUncorrectable,
        Key::AtaPendingSectors,
        Key::AtaOfflineUncorrectable,
    ];
    for counter in counters {
        case = case.outcome(data(), counter, Outcome::Absent);
    }
    case.count(data(), key, count)
}

fn past(count: u32) -> Vec<PastVerdict> {
    let verdict = PastVerdict {
        evidence: EvidenceId(Uuid::from_u128(7)),
        decided_at: UnixMillis(NOW.0 - 3_600_000),
        action: Action::Repair,
        because: "files altered".to_owned(),
        recalled: Recalled::default(),
    };
    (0..count).map(|_| verdict.clone()).collect()
}

fn scenarios() -> Vec<(&'static str, Case)> {
    let mut all = same_tenant();
    all.extend(tenants());
    all.extend(disks());
    all.extend(machine());
    all.extend(requests());
    all
}

fn same_tenant() -> Vec<(&'static str, Case)> {
    let image = || Subject::Image;
    let many: Vec<String> = (0..1500).map(|number| format!("/usr/lib/{number}")).collect();
    let many = Outcome::Value(ReadingValue::list(many));
    let big = healthy().count(image(), Key::ImageFilesChecked, 100_000);
    let file_system = || Subject::FileSystem("vda1".to_owned());
    let data_system = || Subject::FileSystem("nvme0n1p1".to_owned());
    let only_partitions = healthy()
        .outcome(image(), Key::ImageFilesChecked, Outcome::Absent)
        .outcome(image(), Key::ImageFilesAltered, Outcome::Absent)
        .outcome(image(), Key::ImageFilesMissing, Outcome::Absent);
    let nothing_compared =
        only_partitions.clone().outcome(image(), Key::ImagePartitionsAltered, Outcome::Absent);
    vec![
        ("healthy, same tenant", healthy()),
        ("healthy, same tenant, resident", healthy().resident()),
        ("files altered", healthy().list(image(), Key::ImageFilesAltered, &["/usr/bin/ls", "/usr/bin/cat"])),
        (
            "file altered, resident",
            healthy().resident().list(image(), Key::ImageFilesAltered, &["/usr/bin/ls"]),
        ),
        (
            "node's data taken away, and still there",
            healthy().list(image(), Key::NodeDataInstalled, &["0123456789abcdef"]),
        ),
        (
            "node's data not on the disk",
            healthy().context(|context| context.node_data = Some(contract::id::Digest::of(b"volume"))),
        ),
        ("file missing", healthy().list(image(), Key::ImageFilesMissing, &["/usr/bin/ls"])),
        ("partition altered", healthy().list(image(), Key::ImagePartitionsAltered, &["2"])),
        ("partition with a hostile name", healthy().list(image(), Key::ImagePartitionsAltered, &["../2"])),
        (
            "file with a hostile name",
            healthy().list(image(), Key::ImageFilesAltered, &["/usr/../etc/shadow"]),
        ),
        ("more files altered than are listed", big.outcome(image(), Key::ImageFilesAltered, many)),
        (
            "a fifth of the files altered",
            healthy().count(image(), Key::ImageFilesChecked, 5).list(
                image(),
                Key::ImageFilesAltered,
                &["/usr/a"],
            ),
        ),
        ("foreign files", healthy().list(image(), Key::ImageFilesForeign, &["/usr/bin/rootkit"])),
        (
            "foreign files, policy remove",
            healthy()
                .list(image(), Key::ImageFilesForeign, &["/usr/x"])
                .policy("[integrity]\nforeign_files = \"remove\""),
        ),
        (
            "foreign files, policy reimage",
            healthy()
                .list(image(), Key::ImageFilesForeign, &["/usr/x"])
                .policy("[integrity]\nforeign_files = \"reimage\""),
        ),
        (
            "other image",
            healthy().outcome(
                image(),
                Key::ImageInstalled,
                Outcome::Value(ReadingValue::Text("other".to_owned())),
            ),
        ),
        ("no image", healthy().outcome(image(), Key::ImageInstalled, Outcome::Absent)),
        (
            "image unfinished",
            healthy().outcome(image(), Key::ImageUnfinished, Outcome::Value(ReadingValue::Flag(true))),
        ),
        ("image unreadable", healthy().unreadable(image(), Key::ImageInstalled)),
        ("image unreadable, resident", healthy().resident().unreadable(image(), Key::ImageInstalled)),
        ("files not compared", healthy().count(image(), Key::ImageFilesChecked, 0)),
        ("files not compared, resident", healthy().resident().untried(&image(), Key::ImageFilesChecked)),
        (
            "partitions not compared, resident",
            healthy().resident().untried(&image(), Key::ImagePartitionsAltered),
        ),
        ("an image of partitions only", only_partitions),
        ("nothing at all compared", nothing_compared),
        ("file system errors", healthy().count(file_system(), Key::FileSystemErrors, 2)),
        ("file system errors on the data disk", healthy().count(data_system(), Key::FileSystemErrors, 2)),
        (
            "a file altered and file system errors within the policy",
            healthy()
                .count(file_system(), Key::FileSystemErrors, 2)
                .list(image(), Key::ImageFilesAltered, &["/usr/a"])
                .policy("[integrity]\nfile_system_errors_reimage_above = 5"),
        ),
        (
            "no file system looked at, resident",
            healthy().resident().untried(&file_system(), Key::FileSystemErrors),
        ),
        ("unfinished reimage", healthy().context(|context| context.unfinished = unfinished(write_step()))),
        ("unfinished wipe", healthy().context(|context| context.unfinished = unfinished(erase_step()))),
    ]
}

fn tenants() -> Vec<(&'static str, Case)> {
    let signatures = Key::DiskContentSignatures;
    vec![
        ("other tenant's data", other_tenant()),
        ("other tenant's data, resident", other_tenant().resident()),
        ("nobody knows whose data", owner(DataOwner::Unknown)),
        (
            "nobody knows whose data, policy purge",
            owner(DataOwner::Unknown).policy("[confidentiality]\ntenant_change_level = \"purge\""),
        ),
        (
            "other tenant's data, disks unseen",
            other_tenant().evidence(|e| e.inventory.disks = Outcome::Unreadable("EIO".to_owned())),
        ),
        (
            "other tenant's data, disks unseen, resident",
            other_tenant().resident().evidence(|e| e.inventory.disks = Outcome::Unreadable("EIO".to_owned())),
        ),
        (
            "other tenant's data, two disks of one name",
            other_tenant().evidence(|e| {
                e.inventory.disks = Outcome::Value(vec![
                    disk("a", "sda", Transport::Scsi, 8 << 30),
                    disk("a", "sdb", Transport::Scsi, 8 << 30),
                ])
            }),
        ),
        ("blank and new", Case::blank()),
        ("new but not blank", Case::blank().list(disk_subject(OS_DISK), signatures, &["ext4"])),
        ("new, blankness unreadable", Case::blank().unreadable(disk_subject(OS_DISK), signatures)),
        ("new, blankness not tried", Case::blank().untried(&disk_subject(OS_DISK), signatures)),
        ("new, blank says the resident", Case::blank().resident()),
        (
            "new, reimage was cut off",
            Case::blank()
                .list(disk_subject(OS_DISK), signatures, &["gpt"])
                .context(|context| context.unfinished = unfinished(write_step())),
        ),
        (
            "new, wipe was cut off",
            Case::blank().context(|context| context.unfinished = unfinished(erase_step())),
        ),
        (
            "nothing assigned",
            healthy().context(|context| {
                context.assignment.tenant = None;
                context.assignment.image = None;
            }),
        ),
        ("image without tenant", healthy().context(|context| context.assignment.tenant = None)),
        ("tenant without image", healthy().context(|context| context.assignment.image = None)),
        (
            "other tenant's data, no image assigned",
            other_tenant().context(|context| context.assignment.image = None),
        ),
    ]
}

fn disks() -> Vec<(&'static str, Case)> {
    let read_only = healthy().evidence(|evidence| {
        if let Outcome::Value(disks) = &mut evidence.inventory.disks {
            disks[0].read_only = true;
        }
    });
    vec![
        ("NVMe reliability degraded", healthy().count(data(), Key::NvmeCriticalWarning, 4)),
        (
            "NVMe reliability degraded, other tenant",
            other_tenant().count(data(), Key::NvmeCriticalWarning, 4),
        ),
        ("NVMe too hot", healthy().count(data(), Key::NvmeCriticalWarning, 2)),
        ("NVMe log unreadable", healthy().unreadable(data(), Key::NvmeCriticalWarning)),
        ("NVMe log unreadable, resident", healthy().resident().unreadable(data(), Key::NvmeCriticalWarning)),
        (
            "NVMe log unreadable, policy watch",
            healthy()
                .unreadable(data(), Key::NvmeCriticalWarning)
                .policy("[fitness]\nhealth_unreadable = \"watch\""),
        ),
        (
            "no NVMe log on a virtio disk",
            healthy().outcome(disk_subject(OS_DISK), Key::NvmeCriticalWarning, Outcome::Absent),
        ),
        ("NVMe spare below threshold", healthy().count(data(), Key::NvmeAvailableSparePercent, 9)),
        (
            "NVMe without a spare threshold",
            healthy().count(data(), Key::NvmeAvailableSparePercent, 0).count(
                data(),
                Key::NvmeAvailableSpareThresholdPercent,
                0,
            ),
        ),
        ("NVMe worn", healthy().count(data(), Key::NvmePercentageUsed, 103)),
        ("NVMe media errors", healthy().count(data(), Key::NvmeMediaErrors, 1)),
        ("read error", healthy().count(data(), Key::DiskReadErrors, 1)),
        ("read-only disk", read_only),
        ("ATA pending sectors", ata(Key::AtaPendingSectors, 17)),
        ("ATA reported uncorrectable", ata(Key::AtaReportedUncorrectable, 66)),
        ("ATA offline uncorrectable", ata(Key::AtaOfflineUncorrectable, 17)),
        ("ATA few reallocated", ata(Key::AtaReallocatedSectors, 3)),
        ("ATA many reallocated", ata(Key::AtaReallocatedSectors, 261)),
        (
            "ATA failing",
            ata(Key::AtaPendingSectors, 0).outcome(
                data(),
                Key::AtaSmartThresholdExceeded,
                Outcome::Value(ReadingValue::Flag(true)),
            ),
        ),
        (
            "disk missing",
            hardware(|inventory| {
                inventory.disks = Outcome::Value(vec![disk(OS_DISK, "vda", Transport::Virtio, 8 << 30)])
            }),
        ),
        (
            "disk new",
            healthy().context(|context| {
                context.expected_hardware.as_mut().unwrap().disks.remove(0);
            }),
        ),
        ("no disks", hardware(|inventory| inventory.disks = Outcome::Value(Vec::new()))),
    ]
}

fn machine() -> Vec<(&'static str, Case)> {
    let node = || Subject::Node;
    vec![
        ("interface missing", hardware(|inventory| inventory.nics = Outcome::Value(Vec::new()))),
        (
            "interfaces unreadable, resident",
            hardware(|inventory| inventory.nics = Outcome::Unreadable("EIO".to_owned())).resident(),
        ),
        ("half of the memory", hardware(|inventory| inventory.memory_bytes = Outcome::Value(2 << 30))),
        (
            "a little less memory",
            hardware(|inventory| inventory.memory_bytes = Outcome::Value((4 << 30) - (64 << 20))),
        ),
        (
            "fatal hardware error",
            healthy().list(
                node(),
                Key::KernelHardwareErrors,
                &["{1}[Hardware Error]: event severity: Fatal"],
            ),
        ),
        (
            "corrected hardware error",
            healthy().list(
                node(),
                Key::KernelHardwareErrors,
                &["{1}[Hardware Error]: event severity: corrected"],
            ),
        ),
        ("kernel log unreadable", healthy().unreadable(node(), Key::KernelHardwareErrors)),
        (
            "storage errors in the log",
            healthy().list(node(), Key::KernelStorageErrors, &["Buffer I/O error on dev sda"]),
        ),
        ("put right again and again", healthy().context(|context| context.history = past(5))),
        (
            "network card swapped",
            hardware(|inventory| {
                if let Outcome::Value(nics) = &mut inventory.nics {
                    nics[0].mac = mac(9);
                }
            }),
        ),
    ]
}

fn requests() -> Vec<(&'static str, Case)> {
    let floor = |floor| healthy().context(|context| context.floor = Some(floor));
    vec![
        ("at least repair, all well", floor(Floor::Repair)),
        ("at least repair, resident", floor(Floor::Repair).resident()),
        ("at least reimage", floor(Floor::Reimage)),
        ("at least wipe", floor(Floor::Wipe)),
        ("wipe and leave empty", floor(Floor::Empty)),
        (
            "wipe and leave empty, nothing assigned",
            floor(Floor::Empty).context(|context| {
                context.assignment.image = None;
                context.assignment.tenant = None;
            }),
        ),
        (
            "wipe and leave empty, failing disk",
            floor(Floor::Empty).count(data(), Key::NvmeCriticalWarning, 4),
        ),
        (
            "wipe and leave empty, failing memory",
            floor(Floor::Empty).list(Subject::Node, Key::KernelHardwareErrors, &["severity: fatal"]),
        ),
        (
            "wipe and leave empty, disk missing",
            floor(Floor::Empty).context(|context| {
                context.expected_hardware.as_mut().unwrap().disks.push("gone".parse().unwrap());
            }),
        ),
        ("at least wipe, failing disk", floor(Floor::Wipe).count(data(), Key::NvmeCriticalWarning, 4)),
        (
            "at least reimage, no image",
            floor(Floor::Reimage).context(|context| context.assignment.image = None),
        ),
        ("at least reimage, sick disk", floor(Floor::Reimage).count(data(), Key::NvmeCriticalWarning, 8)),
        ("protected, all well", healthy().context(|context| context.protected = true)),
        ("protected, other tenant's data", other_tenant().context(|context| context.protected = true)),
        ("old evidence", healthy().evidence(|evidence| evidence.taken_at = UnixMillis(NOW.0 - 7_200_000))),
        (
            "evidence of the future",
            healthy().evidence(|evidence| evidence.taken_at = UnixMillis(NOW.0 + 600_000)),
        ),
        (
            "evidence of another node",
            healthy().evidence(|evidence| evidence.node = NodeId(Uuid::from_u128(99))),
        ),
        (
            "resident where the policy wants the ramdisk",
            healthy().resident().policy("[integrity]\nkeep_trust_min = \"ramdisk\""),
        ),
        (
            "operating system's disk named and missing",
            healthy()
                .context(|context| context.assignment.os_disk = OsDiskRule::Disk("gone".parse().unwrap())),
        ),
    ]
}

#[test]
fn what_follows_from_what() {
    let mut table = String::new();
    for (name, case) in scenarios() {
        let decision = case.judge();
        let confidentiality = match &decision.confidentiality {
            Confidentiality::KeepData => "keep-data".to_owned(),
            Confidentiality::Sanitize { level, disks } => {
                let disks: Vec<&str> = disks.iter().map(|disk| disk.as_str()).collect();
                format!("sanitize {level:?} {}", disks.join(" "))
            }
            Confidentiality::Undetermined { .. } => "undetermined".to_owned(),
        };
        let reason = &decision.reasons[0];
        writeln!(table, "{name}").unwrap();
        writeln!(
            table,
            "    {:?} | {confidentiality} | {:?} | {:?}",
            decision.action, decision.integrity, decision.fitness
        )
        .unwrap();
        writeln!(table, "    {}: {}", reason.rule, reason.statement).unwrap();
    }
    insta::assert_snapshot!(table);
}

/// Each rule of these files must be seen to find something here; of all rules, in `tests/situations`.
#[test]
fn every_rule_is_in_the_table() {
    let sources = [
        include_str!("rules/confidentiality.rs"),
        include_str!("rules/integrity.rs"),
        include_str!("rules/fitness.rs"),
        include_str!("rules/hardware.rs"),
        include_str!("rules/node_data.rs"),
        include_str!("rules/request.rs"),
    ];
    let ids = sources.iter().flat_map(|source| source.split("id: \"").skip(1));
    let written: BTreeSet<String> =
        ids.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect();
    let found = scenarios().into_iter().flat_map(|(_, case)| case.judge().findings);
    let found: BTreeSet<String> =
        found.filter(|finding| finding.severity != Severity::Good).map(|finding| finding.rule).collect();
    assert_eq!(written.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(written.len() >= 25, "{}", written.len());
}

#[test]
fn decisions_in_words() {
    let healthy = Case::healthy();
    let changed = other_tenant();
    let weak = healthy.clone().resident().untried(&Subject::Image, Key::ImageFilesChecked);
    let sick = other_tenant().count(data(), Key::NvmeCriticalWarning, 0x0c).list(
        Subject::Image,
        Key::ImageFilesForeign,
        &["/usr/x"],
    );
    for (name, case) in [("keep", healthy), ("wipe", changed), ("look-deeper", weak), ("quarantine", sick)] {
        // The digest changes with every default, which is no change of the words.
        let told = crate::explain::explain(&case.judge());
        let digests = [case.policy.digest().to_string(), case.model.digest().to_string()];
        let told = digests.iter().fold(told, |told, digest| told.replace(digest, "(its digest)"));
        insta::assert_snapshot!(name, told);
    }
}

#[test]
fn a_decision_is_replayed_and_a_changed_one_is_found_out() {
    for (name, case) in scenarios() {
        let decision = case.judge();
        let again = |decision| {
            crate::replay::replay(decision, &case.evidence, &case.context, &case.policy, &case.model)
        };
        assert!(again(&decision).is_ok(), "{name}");
        let mut changed = decision.clone();
        changed.action = if decision.action == Action::Keep { Action::Wipe } else { Action::Keep };
        assert!(again(&changed).unwrap_err().to_string().contains("action differs"), "{name}");
        let mut older = decision.clone();
        older.engine = "reprieve-verdict 0.0.1".to_owned();
        assert!(again(&older).unwrap_err().to_string().contains("same version"), "{name}");
        // As it comes back from the wire or the store.
        let stored = serde_json::from_str(&serde_json::to_string(&decision).unwrap()).unwrap();
        assert!(again(&stored).is_ok(), "{name}");
    }
}

/// Every sentence about what would change the action names another action than the one taken.
#[test]
fn every_decision_says_what_would_change_it() {
    for (name, case) in scenarios() {
        let decision = case.judge();
        assert!(!decision.what_would_change_it.is_empty(), "{name}");
        assert!(decision.what_would_change_it.len() <= 10, "{name}");
        let taken = format!("would be {}.", crate::judge::action_name(decision.action));
        for sentence in &decision.what_would_change_it {
            assert!(!sentence.ends_with(&taken), "{name}: {sentence}");
        }
        assert_eq!(decision.rejected.len(), 5, "{name}");
    }
}
