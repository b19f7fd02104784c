//! The tree of a server with two sockets, as its kernel shows it, and what a look at it and at a machine that
//! shows nothing gives.

use std::time::{Duration, Instant};

use contract::id::NodeId;
use contract::reading::{Outcome, Reading, ReadingKey, ReadingValue, Subject, Tier, Trust};
use uuid::Uuid;

use super::catalogue::CHECKS;
use super::evidence::{Look, Looking, look};
use super::kernel_log::KernelLog;
use super::recorded::Tree;
use crate::clock::Clock;

const PROCESSORS: usize = 128;
const LOG_LINES: usize = 4000;

/// A sound server: 128 processors, 16 memory modules, 12 NVMe disks, 4 ports of 25 gigabits, 8 InfiniBand
/// ports, and a long kernel log.
pub fn server() -> Tree {
    let tree = Tree::new();
    processors(&tree);
    memory(&tree);
    buses(&tree);
    networks(&tree);
    sensors(&tree);
    firmware(&tree);
    kernel(&tree);
    tree
}

fn processors(tree: &Tree) {
    let mut cpuinfo = String::new();
    for number in 0..PROCESSORS {
        cpuinfo += &format!("processor\t: {number}\nmodel name\t: A Server Processor\n\n");
        let path = format!("sys/devices/system/cpu/cpu{number}");
        tree.write(&format!("{path}/topology/core_id"), (number % 64).to_string());
        for counter in ["core_throttle_count", "package_throttle_count"] {
            tree.write(&format!("{path}/thermal_throttle/{counter}"), "0\n");
        }
    }
    tree.write("proc/cpuinfo", cpuinfo);
    tree.write("sys/devices/system/cpu/online", format!("0-{}\n", PROCESSORS - 1));
}

fn memory(tree: &Tree) {
    let meminfo = "MemTotal: 1056000000 kB\nMemAvailable: 1000000000 kB\nHardwareCorrupted:     0 kB\n";
    tree.write("proc/meminfo", meminfo);
    for controller in 0..8 {
        let path = format!("sys/devices/system/edac/mc/mc{controller}");
        for name in ["ue_count", "ce_count", "ue_noinfo_count", "ce_noinfo_count"] {
            tree.write(&format!("{path}/{name}"), "0\n");
        }
        for module in 0..2 {
            let path = format!("{path}/dimm{module}");
            tree.write(&format!("{path}/dimm_label"), format!("CPU_SrcID#0_MC#{controller}_DIMM#{module}\n"));
            tree.write(&format!("{path}/dimm_ue_count"), "0\n");
            tree.write(&format!("{path}/dimm_ce_count"), "0\n");
        }
    }
}

fn buses(tree: &Tree) {
    let function = |address: &str, class: &str, width: &str, speed: &str| {
        let path = format!("sys/bus/pci/devices/{address}");
        tree.write(&format!("{path}/class"), class);
        tree.write(&format!("{path}/current_link_width"), width);
        tree.write(&format!("{path}/current_link_speed"), speed);
        for (name, total) in [("correctable", "COR"), ("nonfatal", "NONFATAL"), ("fatal", "FATAL")] {
            tree.write(&format!("{path}/aer_dev_{name}"), format!("Undefined 0\nTOTAL_ERR_{total} 0\n"));
        }
    };
    for number in 0..16 {
        function(&format!("0000:{number:02x}:01.0"), "0x060400", "0\n", "Unknown\n");
    }
    for number in 0x20..0x2c {
        function(&format!("0000:{number:02x}:00.0"), "0x010802", "4\n", "16.0 GT/s PCIe\n");
    }
    for number in 0x40..0x48 {
        function(&format!("0000:{number:02x}:00.0"), "0x020700", "16\n", "32.0 GT/s PCIe\n");
    }
    // The board's own graphics and a part of the processor's complex.
    function("0000:60:00.0", "0x030000", "1\n", "2.5 GT/s PCIe\n");
    function("0000:61:00.0", "0x010601", "0\n", "Unknown\n");
}

fn networks(tree: &Tree) {
    for number in 0..4 {
        let path = format!("sys/class/net/eno{number}");
        tree.directory(&format!("{path}/device"));
        for (name, text) in [
            ("address", format!("52:54:00:00:00:0{number}")),
            ("carrier", "1\n".to_owned()),
            ("speed", "25000\n".to_owned()),
            ("carrier_down_count", "1\n".to_owned()),
        ] {
            tree.write(&format!("{path}/{name}"), text);
        }
    }
    for number in 0..8 {
        let path = format!("sys/class/infiniband/mlx5_{number}/ports/1");
        tree.write(&format!("{path}/state"), "4: ACTIVE\n");
        tree.write(&format!("{path}/rate"), "400 Gb/sec (4X NDR)\n");
        for name in [
            "link_downed",
            "symbol_error",
            "link_error_recovery",
            "port_rcv_errors",
            "port_xmit_discards",
            "local_link_integrity_errors",
            "excessive_buffer_overrun_errors",
        ] {
            tree.write(&format!("{path}/counters/{name}"), "0\n");
        }
    }
}

fn sensors(tree: &Tree) {
    for socket in 0..2 {
        let path = format!("sys/class/hwmon/hwmon{socket}");
        tree.link(&format!("{path}/device"), &format!("../../../coretemp.{socket}"));
        tree.write(&format!("{path}/name"), "coretemp\n");
        for sensor in 1..=65 {
            let label = if sensor == 1 { format!("Package id {socket}") } else { format!("Core {sensor}") };
            tree.write(&format!("{path}/temp{sensor}_label"), label);
            tree.write(&format!("{path}/temp{sensor}_input"), "52000\n");
            tree.write(&format!("{path}/temp{sensor}_crit"), "100000\n");
            tree.write(&format!("{path}/temp{sensor}_crit_alarm"), "0\n");
        }
    }
    // A monitor on the board whose limits nobody set.
    for (name, text) in [("name", "nct6796"), ("fan3_alarm", "1"), ("temp5_input", "-62000")] {
        tree.write(&format!("sys/class/hwmon/hwmon9/{name}"), text);
    }
}

fn firmware(tree: &Tree) {
    let global = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    for (name, value) in [("SecureBoot", 1), ("SetupMode", 0)] {
        tree.write(&format!("sys/firmware/efi/efivars/{name}-{global}"), [6, 0, 0, 0, value]);
    }
    tree.write("sys/bus/platform/devices/ipmi_bmc.0/firmware_revision", "2.19\n");
    tree.directory("sys/fs/pstore");
    tree.write("sys/module/pstore/parameters/backend", "erst\n");
}

fn kernel(tree: &Tree) {
    tree.write("proc/sys/kernel/tainted", "0\n");
    tree.write("proc/sys/kernel/random/boot_id", "b9c6b1f4-6a43-4e3b-8d43-0c4c0cbb5f0d\n");
    tree.write("proc/cmdline", "root=/dev/nvme0n1p2 quiet\n");
    let line = |number| format!("6,{number},{number}00,-;nvme nvme{}: 128/0/0 queues\n", number % 12);
    tree.write("dev/kmsg", (0..LOG_LINES).map(line).collect::<String>());
}

fn looked(tree: &Tree) -> Look {
    let looking = Looking {
        node: NodeId(Uuid::from_u128(1)),
        tier: Tier::T1,
        trust: Trust::Resident,
        source: tree.source(),
        clock: Clock::machine(),
    };
    look(&looking, &mut KernelLog::default())
}

/// What these checks gave.
fn of_checks<'a>(seen: &'a Look, numbers: &[u8]) -> Vec<&'a Reading> {
    let keys: Vec<ReadingKey> = CHECKS
        .iter()
        .filter(|check| numbers.contains(&check.number))
        .flat_map(|check| check.keys.iter().copied())
        .collect();
    seen.evidence.readings.iter().filter(|reading| keys.contains(&reading.key)).collect()
}

/// The checks that read this tree: no disk is in it.
const MACHINE_CHECKS: [u8; 11] = [6, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24];

#[test]
fn a_sound_server_is_seen_whole_and_nothing_is_found_on_it() {
    let began = Instant::now();
    let seen = looked(&server());
    assert!(began.elapsed() < Duration::from_secs(10), "T0 and T1 have ten seconds");
    for reading in of_checks(&seen, &MACHINE_CHECKS) {
        assert!(!matches!(reading.outcome, Outcome::Unreadable(_)), "{reading:?}");
        let trouble = match (&reading.outcome, reading.key) {
            (_, ReadingKey::NicLinkDowns | ReadingKey::FabricRateMegabits) => false,
            (_, ReadingKey::PcieLinkWidth | ReadingKey::PcieLinkMegatransfers) => false,
            (Outcome::Value(ReadingValue::Count(count)), _) => *count > 0,
            (Outcome::Value(ReadingValue::List { total, .. }), _) => *total > 0,
            (Outcome::Value(ReadingValue::Flag(flag)), _) => *flag,
            _ => false,
        };
        assert!(!trouble, "{reading:?}");
    }
    let alarms = seen.evidence.outcome(&Subject::Node, ReadingKey::SensorAlarms);
    assert_eq!(alarms, Outcome::Value(ReadingValue::list(vec![])));
    assert_eq!(seen.evidence.inventory.bmc_version, Outcome::Value("2.19".to_owned()));
    assert_eq!(of_checks(&seen, &[17]).len(), 17, "sixteen modules and the machine");
    assert_eq!(of_checks(&seen, &[20]).len(), 2 * 22, "storage, network and display, not the bridges");
    assert_eq!(of_checks(&seen, &[23]).len(), 8 * 7);
    assert!(serde_json::to_vec(&seen.evidence).unwrap().len() < 1 << 20, "evidence stays small");
}

#[test]
fn a_machine_that_shows_nothing_says_so_of_every_check() {
    let seen = looked(&Tree::new());
    for number in MACHINE_CHECKS.into_iter().chain([27]) {
        let readings = of_checks(&seen, &[number]);
        assert!(!readings.is_empty(), "check {number} says nothing at all");
        let value = readings.iter().find(|reading| matches!(reading.outcome, Outcome::Value(_)));
        assert!(value.is_none(), "check {number} saw what is not there: {value:?}");
    }
    // No file says that there is none of these, so they are not known to be well.
    for key in [ReadingKey::KernelStorageErrors, ReadingKey::MemoryPoisonedBytes, ReadingKey::KernelLockups] {
        let outcome = seen.evidence.outcome(&Subject::Node, key);
        assert!(matches!(outcome, Outcome::Unreadable(_)), "{key}");
    }
}
