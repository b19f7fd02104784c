//! Recorded trees.

use super::*;

/// A block device at its real path under `root`, with files beside it.
fn device(root: &Path, real: &str, files: &[(&str, &str)]) -> PathBuf {
    let path = root.join(real);
    fs::create_dir_all(&path).unwrap();
    for (file, content) in files {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    path
}

fn composition(real: &str, files: &[(&str, &str)], model: &str) -> Result<Composition, String> {
    let root = tempfile::tempdir().unwrap();
    let path = device(root.path(), real, files);
    read(&path, &path.to_string_lossy(), Some(model))
}

#[test]
fn volumes_of_raid_controllers_by_driver() {
    let cases = [
        ("virtio_scsi", "host0/target0:0:0/0:0:0:0/block/sda", Composition::Single),
        ("ahci", "ata1/host0/target0:0:0/0:0:0:0/block/sda", Composition::Single),
        ("megaraid_sas", "host0/target0:2:0/0:2:0:0/block/sda", Composition::RaidVolume),
        ("megaraid_sas", "host0/target0:0:5/0:0:5:0/block/sda", Composition::Single),
        ("mpt3sas", "host0/target0:1:0/0:1:0:0/block/sda", Composition::RaidVolume),
        ("mpt3sas", "host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0/block/sda", Composition::Single),
        ("aacraid", "host0/target0:1:0/0:1:0:0/block/sda", Composition::RaidVolume),
        ("hpsa", "host0/target0:0:0/0:0:0:0/block/sda", Composition::RaidVolume),
    ];
    for (driver, place, expected) in cases {
        let host = format!("pci0/{}", place.split("/target").next().unwrap().split("/port").next().unwrap());
        let name = format!("{host}/scsi_host/host0/proc_name");
        let found = composition(&format!("pci0/{place}"), &[(&name, driver)], "DISK");
        assert_eq!(found, Ok(expected), "{driver} {place}");
    }
}

#[test]
fn a_level_says_what_smart_array_controllers_show() {
    let real = "pci0/host0/target0:0:0/0:0:0:0/block/sda";
    let name = "pci0/host0/scsi_host/host0/proc_name";
    let level = "pci0/host0/target0:0:0/0:0:0:0/block/sda/device/raid_level";
    for (text, expected) in [("N/A\n", Composition::Single), ("RAID 1(+0)\n", Composition::RaidVolume)] {
        assert_eq!(composition(real, &[(name, "hpsa"), (level, text)], "DISK"), Ok(expected));
    }
}

#[test]
fn a_scsi_disk_whose_driver_cannot_be_seen_is_not_taken_for_one_disk() {
    let refused = composition("pci0/host0/target0:0:0/0:0:0:0/block/sda", &[], "DISK").unwrap_err();
    assert!(refused.contains("which driver"), "{refused}");
}

#[test]
fn boot_controllers_that_mirror_are_known_by_their_models() {
    assert_eq!(composition("pci0/ata1/block/sda", &[], "DELLBOSS VD"), Ok(Composition::RaidVolume));
    assert_eq!(composition("pci0/nvme/nvme0/nvme0n1", &[], "Dell BOSS-N1"), Ok(Composition::RaidVolume));
    assert_eq!(composition("pci0/nvme/nvme0/nvme0n1", &[], "Dell Ent NVMe"), Ok(Composition::Single));
}

#[test]
fn several_paths_are_seen() {
    let real = "virtual/nvme-subsystem/nvme-subsys0/nvme0n1";
    let one = "virtual/nvme-subsystem/nvme-subsys0/nvme0/state";
    let two = "virtual/nvme-subsystem/nvme-subsys0/nvme1/state";
    assert_eq!(composition(real, &[(one, "live")], "DISK"), Ok(Composition::Single));
    assert_eq!(composition(real, &[(one, "live"), (two, "live")], "DISK"), Ok(Composition::MultipathMember));
    for (uuid, expected) in [("mpath-360000", Composition::MultipathMember), ("LVM-abc", Composition::Single)]
    {
        let holder = "pci0/block/vda/holders/dm-0/dm/uuid";
        assert_eq!(composition("pci0/block/vda", &[(holder, uuid)], "DISK"), Ok(expected));
    }
}
