use proptest::prelude::{Strategy, any};
use proptest::{option, prop_assert_eq, proptest};

use super::*;

fn parse(text: &str) -> Result<OsDiskRule, OsDiskRuleError> {
    text.parse()
}

#[test]
fn rules_as_people_write_them() {
    let wanted = |change: fn(&mut DiskMatch)| {
        let mut wanted = DiskMatch::default();
        change(&mut wanted);
        OsDiskRule::Match(wanted)
    };
    let table = [
        ("smallest", OsDiskRule::Smallest),
        (" smallest ", OsDiskRule::Smallest),
        ("nvme-eui.0025385b71b0a2c1", OsDiskRule::Disk("nvme-eui.0025385b71b0a2c1".parse().unwrap())),
        ("ata-A,B_1", OsDiskRule::Disk("ata-A,B_1".parse().unwrap())),
        ("largest", wanted(|disk| disk.pick = DiskPick::Largest)),
        ("nvme", wanted(|disk| disk.transport = Some(Transport::Nvme))),
        (
            "nvme, smallest",
            wanted(|disk| (disk.transport, disk.pick) = (Some(Transport::Nvme), DiskPick::Smallest)),
        ),
        ("serial=S3Z8 NB0K=1", wanted(|disk| disk.serial = Some("S3Z8 NB0K=1".to_owned()))),
        (
            "not-rotating,at-least=480G,at-most=1TiB",
            wanted(|disk| {
                disk.rotational = Some(false);
                (disk.size_bytes_min, disk.size_bytes_max) = (Some(480_000_000_000), Some(1 << 40));
            }),
        ),
        (
            "rotating,at-most=1024",
            wanted(|disk| (disk.rotational, disk.size_bytes_max) = (Some(true), Some(1024))),
        ),
    ];
    for (text, rule) in table {
        assert_eq!(parse(text).unwrap(), rule, "{text}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_in_words() {
    let table = [
        ("", "says nothing"),
        ("/dev/sda", "kernel's name"),
        ("/dev/disk/by-id/nvme-x", "kernel's name"),
        ("sda", "kernel's name"),
        ("sdaa1", "kernel's name"),
        ("vdb", "kernel's name"),
        ("xvda1", "kernel's name"),
        ("nvme0n1", "kernel's name"),
        ("nvme0n1p2", "kernel's name"),
        ("nvme1c0n1", "kernel's name"),
        ("mmcblk0", "kernel's name"),
        ("md127", "kernel's name"),
        ("dm-0", "kernel's name"),
        ("nvme0n1,smallest", "kernel's name"),
        ("nvme,smalest", "\"smalest\" is neither"),
        ("fastest", "\"fastest\" is neither"),
        ("nvme,,smallest", "\"\" is neither"),
        ("NVMe", "is neither"),
        ("smallest=1", "is neither"),
        ("serial", "is neither"),
        ("nvme,ata", "\"ata\" contradicts"),
        ("smallest,largest", "contradicts"),
        ("rotating,not-rotating", "contradicts"),
        ("serial=a,serial=a", "contradicts"),
        ("serial=", "serial number is"),
        ("at-least=", "not a size"),
        ("at-least=1.5T", "not a size"),
        ("at-least=-1", "not a size"),
        ("at-least=1X", "not a size"),
        ("at-least=99999999T", "not a size"),
        ("at-least=2G,at-most=1G", "no disk has"),
    ];
    for (text, words) in table {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn rules_that_come_as_json_are_checked_too() {
    let read = |json: &str| serde_json::from_str::<OsDiskRule>(json).unwrap();
    assert!(read(r#"{"rule":"smallest"}"#).check().is_ok());
    assert!(read(r#"{"rule":"disk","disk":"virtio-os"}"#).check().is_ok());
    assert!(read(r#"{"rule":"match","disk":{"transport":"nvme","pick":"smallest"}}"#).check().is_ok());
    for json in [
        r#"{"rule":"disk","disk":"/dev/sda"}"#,
        r#"{"rule":"disk","disk":"nvme0n1"}"#,
        r#"{"rule":"match","disk":{}}"#,
        r#"{"rule":"match","disk":{"transport":"other"}}"#,
        r#"{"rule":"match","disk":{"serial":"a\u001bb"}}"#,
        r#"{"rule":"match","disk":{"size_bytes_min":2,"size_bytes_max":1}}"#,
    ] {
        assert!(read(json).check().is_err(), "{json}");
    }
    assert!(serde_json::from_str::<OsDiskRule>(r#"{"rule":"match","disk":{"kernel_name":"sda"}}"#).is_err());
}

#[test]
fn ids_of_disks_are_no_kernel_names() {
    for id in ["nvme-eui.1", "wwn-5000c500a1b2c3d4", "ata-QEMU_HARDDISK_QM00001", "virtio-os", "path-pci-0"] {
        assert!(parse(id).is_ok_and(|rule| rule.check().is_ok()), "{id}");
    }
}

fn any_match() -> impl Strategy<Value = DiskMatch> {
    let transport = proptest::sample::select(TRANSPORTS.map(|(_, transport)| transport).to_vec());
    let pick = proptest::sample::select(vec![DiskPick::Only, DiskPick::Smallest, DiskPick::Largest]);
    let size = (any::<u32>(), 0..4u32).prop_map(|(count, power)| u64::from(count) * 1000_u64.pow(power));
    (
        option::of(transport),
        option::of(any::<bool>()),
        option::of("[!-+\\--~]{1,20}"),
        (option::of(size), option::of(any::<u64>())),
        pick,
    )
        .prop_map(|(transport, rotational, serial, (size_bytes_min, size_bytes_max), pick)| DiskMatch {
            transport,
            rotational,
            serial,
            size_bytes_min,
            size_bytes_max,
            pick,
        })
}

proptest! {
    #[test]
    fn what_is_shown_can_be_given_again(wanted in any_match()) {
        let rule = OsDiskRule::Match(wanted);
        let alone = rule.to_string() == "smallest";
        if rule.check().is_ok() && !alone {
            prop_assert_eq!(parse(&rule.to_string()), Ok(rule.clone()));
            let json = serde_json::to_string(&rule).unwrap();
            prop_assert_eq!(serde_json::from_str::<OsDiskRule>(&json).unwrap(), rule);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_without_panic(text in any::<String>(), words in "[a-z0-9=,GTi -]{0,40}") {
        let _ = parse(&text);
        let _ = parse(&words);
    }
}
