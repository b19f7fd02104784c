//! The stable identity of a disk, made from what it says about itself.

use contract::id::DiskId;

/// What a disk says about itself, as far as an identity can be made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// How the identity begins: `nvme`, `ata`, `scsi`, `virtio`, `mmc`.
    pub family: &'static str,
    /// The world-wide name as sysfs gives it: `eui.…`, `naa.…`, `nvme.…`, `t10.…`.
    pub world_wide_name: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// NVMe namespace, when it is not the first.
    pub namespace: Option<u32>,
    /// Where it is plugged in, for disks that say nothing of themselves.
    pub path: String,
}

/// Longest text between prefix and end; [`DiskId`] takes 160 in all.
const TEXT_MAX: usize = 140;

/// The identity: world-wide name, else model and serial, else the slot.
///
/// A disk without any name of its own is never hidden: it is named after its slot (`path-…`), which
/// holds as long as nobody moves it.
#[must_use]
pub fn disk_id(identity: &Identity) -> Option<DiskId> {
    let text = named(identity).unwrap_or_else(|| format!("path-{}", clean(&identity.path)));
    text.parse().ok()
}

/// The identity with the slot added, for disks that share what should be unique (some bridges do).
#[must_use]
pub fn disk_id_with_slot(id: &DiskId, path: &str) -> Option<DiskId> {
    let text: String = format!("{id}@{}", clean(path));
    text.chars().take(160).collect::<String>().parse().ok()
}

/// Whether the identity is only the slot.
#[must_use]
pub fn is_slot(id: &DiskId) -> bool {
    id.as_str().starts_with("path-") || id.as_str().contains('@')
}

fn named(identity: &Identity) -> Option<String> {
    if let Some(name) = identity.world_wide_name.as_deref().and_then(true_name) {
        return Some(match identity.family {
            "nvme" => format!("nvme-{}", clean(name)),
            _ => format!("wwn-{}", clean(name.strip_prefix("naa.").unwrap_or(name))),
        });
    }
    let serial = clean(identity.serial.as_deref()?);
    if serial.is_empty() || serial.bytes().all(|byte| byte == b'0') {
        return None;
    }
    let model = clean(identity.model.as_deref().unwrap_or_default());
    let name = if model.is_empty() { serial } else { format!("{model}_{serial}") };
    let suffix = identity.namespace.filter(|&id| id > 1).map_or(String::new(), |id| format!("_{id}"));
    Some(format!("{}-{name}{suffix}", identity.family))
}

/// A world-wide name that is one: assigned, not made up by the kernel from model and serial, not zero.
fn true_name(name: &str) -> Option<&str> {
    let (kind, digits) = name.split_once('.')?;
    let assigned = matches!(kind, "eui" | "naa" | "uuid");
    let not_zero = digits.bytes().any(|byte| byte.is_ascii_hexdigit() && byte != b'0');
    (assigned && digits.len() >= 12 && not_zero).then_some(name)
}

/// Printable ASCII without spaces; runs of anything else become one `_`.
fn clean(text: &str) -> String {
    let mut cleaned = String::new();
    for c in text.trim_matches(|c: char| !c.is_ascii_graphic()).chars() {
        if c.is_ascii_graphic() && c != '@' {
            cleaned.push(c);
        } else if !cleaned.ends_with('_') {
            cleaned.push('_');
        }
        if cleaned.len() == TEXT_MAX / 2 {
            break;
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    fn identity(family: &'static str, name: &str, model: &str, serial: &str) -> Identity {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Identity {
            family,
            world_wide_name: some(name),
            model: some(model),
            serial: some(serial),
            namespace: Some(1),
            path: "pci-0000:00:04.0".to_owned(),
        }
    }

    #[test]
    fn identities_as_disks_give_them() {
        let cases = [
            (identity("nvme", "eui.0025385b01234567", "M", "S"), "nvme-eui.0025385b01234567"),
            (
                identity("nvme", "nvme.1b36-6e31-51454d55-00000001", "QEMU NVMe Ctrl", "n1"),
                "nvme-QEMU_NVMe_Ctrl_n1",
            ),
            (identity("ata", "naa.5000c500a1b2c3d4", "M", "S"), "wwn-5000c500a1b2c3d4"),
            (
                identity("ata", "t10.ATA     QEMU HARDDISK   QM00001", "QEMU HARDDISK", "QM00001"),
                "ata-QEMU_HARDDISK_QM00001",
            ),
            (identity("ata", "naa.0000000000000000", "", "0000"), "path-pci-0000:00:04.0"),
            (identity("virtio", "", "", "disk-a"), "virtio-disk-a"),
            (identity("virtio", "", "", ""), "path-pci-0000:00:04.0"),
            (identity("scsi", "", "QEMU\u{1}\tDISK", "  x y "), "scsi-QEMU_DISK_x_y"),
        ];
        for (identity, expected) in cases {
            assert_eq!(disk_id(&identity).unwrap().as_str(), expected);
        }
        let second = Identity { namespace: Some(2), ..identity("nvme", "", "M", "S") };
        assert_eq!(disk_id(&second).unwrap().as_str(), "nvme-M_S_2");
    }

    #[test]
    fn a_shared_identity_gets_the_slot() {
        let id = disk_id(&identity("scsi", "", "BRIDGE", "123")).unwrap();
        let with_slot = disk_id_with_slot(&id, "usb-1").unwrap();
        assert_eq!(with_slot.as_str(), "scsi-BRIDGE_123@usb-1");
        assert!(is_slot(&with_slot) && !is_slot(&id));
    }

    proptest! {
        #[test]
        fn every_disk_gets_an_identity(name in any::<String>(), model in any::<String>(), serial in any::<String>()) {
            let id = disk_id(&identity("ata", &name, &model, &serial));
            prop_assert!(id.is_some());
        }
    }
}
