//! Network interfaces that have hardware behind them, and how often their links went down.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use contract::id::MacAddress;
use contract::inventory::NicFacts;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};

use super::check::Check;
use super::evidence::Found;
use super::source::{self, Source};

/// Links of network interfaces; their speed and state stand in the inventory.
pub const CHECK: Check = Check {
    number: 22,
    name: "network links",
    tier: Tier::T0,
    reads: "/sys/class/net/*/{carrier,speed,carrier_down_count}",
    keys: &[ReadingKey::NicLinkDowns],
    rules: &["fitness/nic-link-downs", "fitness/nic-speed"],
};

/// No machine has more; a directory that says so is not believed.
const NICS_MAX: usize = 1024;

/// All interfaces with a device, ordered by address.
#[must_use]
pub fn read(source: &Source) -> Outcome<Vec<NicFacts>> {
    let directory = source.path("sys/class/net");
    match try_read(&directory) {
        Ok(nics) => Outcome::Value(nics),
        Err(error) => source::unreadable(&directory, &error),
    }
}

fn try_read(directory: &Path) -> io::Result<Vec<NicFacts>> {
    let mut nics = Vec::new();
    for entry in std::fs::read_dir(directory)?.take(NICS_MAX) {
        let path = entry?.path();
        // Bridges, bonds, tunnels and the loopback have no device behind them.
        if !path.join("device").exists() {
            continue;
        }
        if let Some(nic) = facts(&path)? {
            nics.push(nic);
        }
    }
    nics.sort_by_key(|nic| nic.mac);
    Ok(nics)
}

/// How often the link of each interface went down in this boot. The members of a bond bear one address;
/// their counts are told together.
#[must_use]
pub fn link_downs(source: &Source) -> Vec<Found> {
    let directory = source.path("sys/class/net");
    let node = |outcome| vec![(Subject::Node, ReadingKey::NicLinkDowns, outcome)];
    let names = match source::names(&directory, NICS_MAX) {
        Outcome::Value(names) => names,
        Outcome::Absent => return node(Outcome::Unreadable(format!("{} is not there", directory.display()))),
        Outcome::Unreadable(why) => return node(Outcome::Unreadable(why)),
    };
    let mut counts: BTreeMap<MacAddress, Outcome<u64>> = BTreeMap::new();
    let mut unread = Vec::new();
    for path in names.iter().map(|name| directory.join(name)).filter(|path| path.join("device").exists()) {
        let mac = match source::read_text(&path.join("address")) {
            Ok(text) => text.parse(),
            Err(error) => {
                unread.extend(node(source::unreadable(&path.join("address"), &error)));
                continue;
            }
        };
        // An address of another form is no Ethernet's.
        let Ok(mac) = mac else { continue };
        let count = source::number(&path.join("carrier_down_count"));
        let count = match (counts.remove(&mac), count) {
            (None, count) => count,
            (Some(Outcome::Value(one)), Outcome::Value(other)) => Outcome::Value(one.saturating_add(other)),
            (Some(unknown @ Outcome::Unreadable(_)), _) | (_, unknown @ Outcome::Unreadable(_)) => unknown,
            (Some(Outcome::Value(one)), Outcome::Absent) | (Some(Outcome::Absent), Outcome::Value(one)) => {
                Outcome::Value(one)
            }
            // Kernels before 4.16 do not count.
            (Some(Outcome::Absent), Outcome::Absent) => Outcome::Absent,
        };
        counts.insert(mac, count);
    }
    let told = counts.into_iter();
    let told = told
        .map(|(mac, count)| (Subject::Nic(mac), ReadingKey::NicLinkDowns, count.map(ReadingValue::Count)));
    told.chain(unread).collect()
}

fn facts(path: &Path) -> io::Result<Option<NicFacts>> {
    // The permanent address would be better where a bond has changed it; sysfs does not show it.
    let Ok(mac) = source::read_text(&path.join("address"))?.parse() else { return Ok(None) };
    let kernel_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let driver = match std::fs::read_link(path.join("device/driver")) {
        Ok(target) => Outcome::Value(target.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Absent,
        Err(error) => source::unreadable(&path.join("device/driver"), &error),
    };
    // An interface that is down answers EINVAL for carrier, and has no speed.
    let link_up = match source::read_text(&path.join("carrier")) {
        Ok(text) => Outcome::Value(text == "1"),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Outcome::Value(false),
        Err(error) => source::unreadable(&path.join("carrier"), &error),
    };
    let speed_megabits = match source::read_text(&path.join("speed")) {
        Ok(text) => text.parse().map_or(Outcome::Absent, Outcome::Value),
        // So answers one that is down, or whose driver tells no speed.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
            Outcome::Absent
        }
        Err(error) => source::unreadable(&path.join("speed"), &error),
    };
    Ok(Some(NicFacts { mac, kernel_name, driver, link_up, speed_megabits }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hardware_is_listed() {
        let root = tempfile::tempdir().unwrap();
        let net = root.path().join("sys/class/net");
        for (name, address, device) in [
            ("eth1", "52:54:00:00:00:02", true),
            ("eth0", "52:54:00:00:00:01", true),
            ("lo", "00:00:00:00:00:00", false),
        ] {
            let path = net.join(name);
            std::fs::create_dir_all(if device { path.join("device") } else { path.clone() }).unwrap();
            std::fs::write(path.join("address"), address).unwrap();
            std::fs::write(path.join("carrier"), "1\n").unwrap();
            std::fs::write(path.join("speed"), "-1\n").unwrap();
        }
        // Reading a directory is an error like any other.
        std::fs::remove_file(net.join("eth1/speed")).unwrap();
        std::fs::create_dir(net.join("eth1/speed")).unwrap();
        let Outcome::Value(nics) = read(&Source::recorded(root.path())) else { panic!("unreadable") };
        let names: Vec<&str> = nics.iter().map(|nic| nic.kernel_name.as_str()).collect();
        assert_eq!(names, ["eth0", "eth1"]);
        assert_eq!(nics[0].link_up, Outcome::Value(true));
        assert_eq!(nics[0].speed_megabits, Outcome::Absent);
        assert!(
            matches!(nics[1].speed_megabits, Outcome::Unreadable(_)),
            "could not look is not nothing there"
        );
    }

    #[test]
    fn lost_links_are_counted_by_address() {
        let tree = crate::probe::recorded::Tree::new();
        for (name, address, downs) in [
            ("eth0", "52:54:00:00:00:01", "2\n"),
            ("eth1", "52:54:00:00:00:01", "3\n"),
            ("eth2", "52:54:00:00:00:02", "x"),
        ] {
            tree.directory(&format!("sys/class/net/{name}/device"));
            tree.write(&format!("sys/class/net/{name}/address"), address);
            tree.write(&format!("sys/class/net/{name}/carrier_down_count"), downs);
        }
        tree.write("sys/class/net/lo/address", "00:00:00:00:00:00");
        // One that does not count, beside one that does.
        tree.directory("sys/class/net/eth3/device");
        tree.write("sys/class/net/eth3/address", "52:54:00:00:00:01");
        // One whose address cannot be read.
        tree.directory("sys/class/net/eth4/device");
        tree.directory("sys/class/net/eth4/address");
        let found = link_downs(&tree.source());
        assert_eq!(found.len(), 3);
        assert!(matches!(found[2], (Subject::Node, _, Outcome::Unreadable(_))));
        assert_eq!(found[0].2, Outcome::Value(ReadingValue::Count(5)), "a bond's members bear one address");
        assert!(matches!(found[1].2, Outcome::Unreadable(_)));
        let nothing = link_downs(&crate::probe::recorded::Tree::new().source());
        assert!(matches!(nothing[..], [(Subject::Node, _, Outcome::Unreadable(_))]));
    }

    #[test]
    fn a_missing_directory_is_unreadable_not_empty() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(read(&Source::recorded(root.path())), Outcome::Unreadable(_)));
    }
}
