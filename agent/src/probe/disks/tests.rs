//! Recorded trees.

use super::*;

/// Makes a disk in a recorded tree, at its device path, with the link that sysfs has.
fn add(root: &Path, device_path: &str, name: &str, files: &[(&str, &[u8])]) {
    let real = root.join("sys/devices").join(device_path).join("block").join(name);
    std::fs::create_dir_all(real.join("queue")).unwrap();
    std::fs::create_dir_all(root.join("sys/block")).unwrap();
    std::os::unix::fs::symlink(&real, root.join("sys/block").join(name)).unwrap();
    std::os::unix::fs::symlink(real.join("../.."), real.join("device")).unwrap();
    let basics: [(&str, &[u8]); 5] = [
        ("size", b"2048\n"),
        ("ro", b"0\n"),
        ("removable", b"0\n"),
        ("queue/logical_block_size", b"512\n"),
        ("queue/rotational", b"0\n"),
    ];
    for (file, content) in basics.iter().chain(files) {
        std::fs::write(real.join(file), content).unwrap();
    }
}

fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = root.path();
    add(at, "pci0000:00/0000:00:04.0/virtio1", "vda", &[("serial", b"disk-a")]);
    add(at, "pci0000:00/0000:00:05.0/virtio2", "vdb", &[]);
    add(
        at,
        "pci0000:00/0000:00:06.0/nvme/nvme0",
        "nvme0n1",
        &[("wwid", b"eui.0025385b01234567"), ("device/model", b"QEMU NVMe Ctrl   "), ("nsid", b"1")],
    );
    add(
        at,
        "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0",
        "sda",
        &[
            ("device/wwid", b"t10.ATA     QEMU HARDDISK\n"),
            ("device/model", b"QEMU HARDDISK\n"),
            ("device/vpd_pg80", b"\0\x80\0\x07QM00001"),
        ],
    );
    add(at, "virtual", "loop0", &[]);
    add(at, "virtual", "dm-0", &[]);
    add(at, "pci0000:00/0000:00:1f.2/ata2/host1/target1:0:0/1:0:0:0", "sr0", &[("removable", b"1")]);
    add(at, "platform/floppy.0", "fd0", &[("removable", b"1")]);
    root
}

fn ids(root: &Path) -> Vec<String> {
    match read(&Source::recorded(root)) {
        Outcome::Value(disks) => disks.iter().map(|disk| disk.facts.id.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_disk_is_named_and_nothing_else_is() {
    let root = machine();
    assert_eq!(
        ids(root.path()),
        ["ata-QEMU_HARDDISK_QM00001", "nvme-eui.0025385b01234567", "path-pci-0000:00:05.0", "virtio-disk-a"]
    );
}

#[test]
fn disks_with_one_identity_are_told_apart_by_their_slots() {
    let root = machine();
    add(root.path(), "pci0000:00/0000:00:07.0/virtio3", "vdc", &[("serial", b"disk-a")]);
    let ids = ids(root.path());
    assert!(ids.contains(&"virtio-disk-a@pci-0000:00:04.0-vda".to_owned()), "{ids:?}");
    assert!(ids.contains(&"virtio-disk-a@pci-0000:00:07.0-vdc".to_owned()), "{ids:?}");
}

#[test]
fn a_disk_that_cannot_be_described_makes_the_list_unreadable() {
    let root = machine();
    add(root.path(), "pci0000:00/0000:00:07.0/virtio3", "vdc", &[("size", b"nonsense")]);
    assert!(matches!(read(&Source::recorded(root.path())), Outcome::Unreadable(_)));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(read(&Source::recorded(empty.path())), Outcome::Unreadable(_)));
}
