//! Which disk carries the operating system.

use contract::inventory::DiskFacts;
use contract::os_disk::{DiskMatch, DiskPick, OsDiskRule};
use contract::plan::DiskTarget;
use contract::reading::Outcome;

use crate::plan::PlanRefusal;

/// How many disks a refusal speaks of.
const DISKS_TOLD_MAX: usize = 8;

/// The disk that carries the operating system.
///
/// # Errors
/// [`PlanRefusal`] if the named disk is missing or unfit, no disk fits, or several fit and the rule does
/// not say which.
pub fn os_disk(rule: &OsDiskRule, image_bytes: u64, disks: &[DiskFacts]) -> Result<DiskTarget, PlanRefusal> {
    match rule {
        OsDiskRule::Smallest => {
            let fit = disks.iter().filter(|disk| unfit(disk, image_bytes).is_none());
            let smallest = fit.min_by_key(|disk| (disk.size_bytes, &disk.id));
            smallest.map(disk_target).ok_or(PlanRefusal::NoOsDisk { image_bytes })
        }
        OsDiskRule::Disk(id) => {
            let mut named = disks.iter().filter(|disk| &disk.id == id);
            let disk = named.next().ok_or_else(|| PlanRefusal::OsDiskMissing { disk: id.clone() })?;
            let why = match named.next() {
                Some(_) => Some("is there twice".to_owned()),
                None => unfit(disk, image_bytes),
            };
            match why {
                Some(why) => Err(PlanRefusal::OsDiskUnfit { disk: id.clone(), why }),
                None => Ok(disk_target(disk)),
            }
        }
        OsDiskRule::Match(wanted) => matching(wanted, image_bytes, disks),
    }
}

fn matching(wanted: &DiskMatch, image_bytes: u64, disks: &[DiskFacts]) -> Result<DiskTarget, PlanRefusal> {
    let mut fit: Vec<&DiskFacts> = Vec::new();
    let mut misses: Vec<String> = Vec::new();
    for disk in disks {
        match miss(wanted, disk).or_else(|| unfit(disk, image_bytes)) {
            None => fit.push(disk),
            Some(why) => misses.push(format!("{} {why}", disk.id)),
        }
    }
    let chosen = match wanted.pick {
        DiskPick::Smallest => fit.iter().min_by_key(|disk| (disk.size_bytes, &disk.id)),
        DiskPick::Largest => fit.iter().min_by_key(|disk| (std::cmp::Reverse(disk.size_bytes), &disk.id)),
        DiskPick::Only if fit.len() > 1 => {
            let ids = fit.iter().map(|disk| disk.id.to_string());
            let (count, disks) = (fit.len(), told(ids.collect()));
            return Err(PlanRefusal::OsDiskAmbiguous { count, rule: wanted.to_string(), disks });
        }
        DiskPick::Only => fit.first(),
    };
    chosen.map(|disk| disk_target(disk)).ok_or_else(|| {
        let why = if misses.is_empty() { "there is no disk".to_owned() } else { told(misses) };
        PlanRefusal::OsDiskNoMatch { rule: wanted.to_string(), why }
    })
}

/// The first of these, and how many more there are.
fn told(mut words: Vec<String>) -> String {
    let more = words.len().saturating_sub(DISKS_TOLD_MAX);
    words.truncate(DISKS_TOLD_MAX);
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join(", ")
}

/// What about a disk is not as wanted; none if all is. What a disk does not say is not as wanted.
fn miss(wanted: &DiskMatch, disk: &DiskFacts) -> Option<String> {
    if wanted.transport.is_some_and(|transport| transport != disk.transport) {
        return Some(format!("is attached by {}", format!("{:?}", disk.transport).to_lowercase()));
    }
    if let Some(rotating) = wanted.rotational {
        match &disk.rotational {
            Outcome::Value(is) if *is == rotating => {}
            Outcome::Value(true) => return Some("rotates".to_owned()),
            Outcome::Value(false) => return Some("does not rotate".to_owned()),
            Outcome::Absent | Outcome::Unreadable(_) => {
                return Some("does not say whether it rotates".to_owned());
            }
        }
    }
    if let Some(serial) = &wanted.serial {
        match &disk.serial {
            Outcome::Value(is) if is == serial => {}
            Outcome::Value(_) => return Some("has another serial number".to_owned()),
            Outcome::Absent | Outcome::Unreadable(_) => {
                return Some("does not say its serial number".to_owned());
            }
        }
    }
    let size = disk.size_bytes;
    let small = wanted.size_bytes_min.is_some_and(|min| size < min);
    let large = wanted.size_bytes_max.is_some_and(|max| size > max);
    (small || large).then(|| format!("has {size} bytes"))
}

fn unfit(disk: &DiskFacts, image_bytes: u64) -> Option<String> {
    if disk.read_only {
        return Some("is read-only".to_owned());
    }
    if disk.removable {
        return Some("is removable".to_owned());
    }
    (disk.size_bytes < image_bytes)
        .then(|| format!("has {} bytes where the image needs {image_bytes}", disk.size_bytes))
}

/// A disk as a plan names it.
pub(crate) fn disk_target(disk: &DiskFacts) -> DiskTarget {
    DiskTarget {
        id: disk.id.clone(),
        size_bytes: disk.size_bytes,
        logical_sector_bytes: disk.logical_sector_bytes,
    }
}

#[cfg(test)]
mod tests {
    use contract::inventory::Transport;

    use super::*;
    use crate::testing::disk;

    fn all() -> Vec<DiskFacts> {
        let mut spinning = disk("spinning", "sda", Transport::Ata, 8_000_000_000_000);
        (spinning.rotational, spinning.serial) = (Outcome::Value(true), Outcome::Value("HDD 1".to_owned()));
        let mut flash = disk("flash", "sdb", Transport::Ata, 480_000_000_000);
        (flash.rotational, flash.serial) = (Outcome::Value(false), Outcome::Unreadable("no".to_owned()));
        let mut boot = disk("boot", "nvme0n1", Transport::Nvme, 240_000_000_000);
        (boot.rotational, boot.serial) = (Outcome::Value(false), Outcome::Value("S1".to_owned()));
        let mut data = disk("data", "nvme1n1", Transport::Nvme, 3_840_000_000_000);
        (data.rotational, data.serial) = (Outcome::Absent, Outcome::Value("S10".to_owned()));
        let mut stick = disk("stick", "sdc", Transport::Usb, 16_000_000_000);
        (stick.removable, stick.serial) = (true, Outcome::Value("S1".to_owned()));
        vec![data, spinning, stick, flash, boot]
    }

    #[test]
    fn a_disk_is_chosen_by_what_it_is() {
        let table = [
            ("smallest", "boot"),
            ("largest", "spinning"),
            ("nvme,smallest", "boot"),
            ("nvme,largest", "data"),
            ("nvme", "2 disks fit"),
            ("nvme,at-most=1T", "boot"),
            ("ata,not-rotating", "flash"),
            ("rotating", "spinning"),
            ("not-rotating,largest", "flash"),
            ("serial=S1", "boot"),
            ("serial=S", "has another serial number"),
            ("serial=HDD 1", "spinning"),
            ("ata,serial=S1", "boot is attached by nvme"),
            ("scsi", "flash is attached by ata"),
            ("usb", "stick is removable"),
            ("at-least=10T", "spinning has 8000000000000 bytes"),
            ("ata,at-least=400G,at-most=500G", "flash"),
            ("nvme,not-rotating,at-least=1T", "data does not say whether it rotates"),
            ("ata,serial=X", "flash does not say its serial number"),
        ];
        for (text, expected) in table {
            let rule: OsDiskRule = text.parse().unwrap();
            let chosen = os_disk(&rule, 8_000_000_000, &all())
                .map_or_else(|refusal| refusal.to_string(), |disk| disk.id.to_string());
            let whole = all().iter().any(|disk| disk.id.as_str() == expected);
            assert!(if whole { chosen == expected } else { chosen.contains(expected) }, "{text}: {chosen}");
        }
    }

    #[test]
    fn the_image_s_size_counts_and_a_refusal_names_every_disk() {
        let rule: OsDiskRule = "nvme,smallest".parse().unwrap();
        assert_eq!(os_disk(&rule, 1_000_000_000_000, &all()).unwrap().id.as_str(), "data");
        let refusal = os_disk(&rule, 5_000_000_000_000, &all()).unwrap_err().to_string();
        for disk in all() {
            assert!(refusal.contains(disk.id.as_str()), "{refusal}");
        }
        assert!(refusal.contains("nvme,smallest"), "{refusal}");
        assert!(os_disk(&rule, 1, &[]).unwrap_err().to_string().contains("there is no disk"));
        let many: Vec<DiskFacts> =
            (0..30).map(|at| disk(&format!("d{at}"), "sda", Transport::Ata, 1 << 30)).collect();
        let refusal = os_disk(&rule, 1, &many).unwrap_err().to_string();
        assert!(refusal.contains("and 22 more"), "{refusal}");
    }

    #[test]
    fn ties_are_broken_by_id_whatever_the_order() {
        let mut twins = vec![
            disk("b", "sda", Transport::Nvme, 1 << 40),
            disk("a", "sdb", Transport::Nvme, 1 << 40),
            disk("c", "sdc", Transport::Nvme, 1 << 40),
        ];
        for _ in 0..3 {
            twins.rotate_left(1);
            for text in ["nvme,smallest", "nvme,largest"] {
                assert_eq!(os_disk(&text.parse().unwrap(), 1, &twins).unwrap().id.as_str(), "a");
            }
        }
    }
}
