//! Links and errors of PCI Express functions.
//!
//! Layout: the kernel's `Documentation/ABI/testing/sysfs-bus-pci` and
//! `sysfs-bus-pci-devices-aer_stats`.

use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject, Tier};

use super::check::Check;
use super::evidence::Found;
use super::source::{self, Source};

/// Width and speed of links.
pub const CHECK_LINK: Check = Check {
    number: 20,
    name: "PCIe links",
    tier: Tier::T0,
    reads: "/sys/bus/pci/devices/*/{current_link_width,current_link_speed}",
    keys: &[ReadingKey::PcieLinkWidth, ReadingKey::PcieLinkMegatransfers],
    rules: &["fitness/pcie-link-width", "fitness/pcie-link-speed"],
};

/// Advanced Error Reporting.
pub const CHECK_ERRORS: Check = Check {
    number: 21,
    name: "PCIe errors",
    tier: Tier::T0,
    reads: "/sys/bus/pci/devices/*/{aer_dev_correctable,aer_dev_nonfatal,aer_dev_fatal}",
    keys: &[ReadingKey::PcieCorrectableErrors, ReadingKey::PcieNonfatalErrors, ReadingKey::PcieFatalErrors],
    rules: &["fitness/pcie-fatal", "fitness/pcie-nonfatal", "fitness/pcie-correctable"],
};

/// No machine has more functions.
const FUNCTIONS_MAX: usize = 16_384;
/// Functions that are told; more are said to be left out.
const TOLD_MAX: usize = 256;
/// Widest link (PCI Express Base Specification, Link Status Register): 63 and 255 are what a register full
/// of ones reads as.
const LANES_MAX: u64 = 32;

/// The error counters: attribute and key.
const COUNTERS: [(&str, ReadingKey); 3] = [
    ("aer_dev_correctable", ReadingKey::PcieCorrectableErrors),
    ("aer_dev_nonfatal", ReadingKey::PcieNonfatalErrors),
    ("aer_dev_fatal", ReadingKey::PcieFatalErrors),
];

/// What of a function is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
    /// Storage, network, display, accelerator: its link and its errors.
    Endpoint,
    /// A bridge: its errors. Its links are told by what stands behind it; an empty slot has none.
    Bridge,
    None,
}

/// Links of the functions that matter, and errors of these and of the bridges before them.
#[must_use]
pub fn read(source: &Source) -> Vec<Found> {
    let directory = source.path("sys/bus/pci/devices");
    let node = |outcome: Outcome<ReadingValue>| {
        [ReadingKey::PcieLinkWidth, ReadingKey::PcieFatalErrors]
            .map(|key| (Subject::Node, key, outcome.clone()))
    };
    let names = match source::names(&directory, FUNCTIONS_MAX) {
        Outcome::Value(names) => names,
        Outcome::Absent => return node(Outcome::Absent).to_vec(),
        Outcome::Unreadable(why) => return node(Outcome::Unreadable(why)).to_vec(),
    };
    let mut told = 0;
    let mut found = Vec::new();
    for name in names.iter().filter(|name| is_address(name)) {
        let of_function = read_function(&directory.join(name), name);
        told += usize::from(!of_function.is_empty());
        if told > TOLD_MAX {
            let why = format!("there are more than {TOLD_MAX} PCI Express functions; the rest was not read");
            found.extend(node(Outcome::Unreadable(why)));
            break;
        }
        found.extend(of_function);
    }
    // Virtual machines often have conventional functions only.
    if found.is_empty() { node(Outcome::Absent).to_vec() } else { found }
}

fn read_function(path: &Path, name: &str) -> Vec<Found> {
    let subject = Subject::PciDevice(name.to_owned());
    // Virtual functions come and go, and have no link of their own.
    let class = match path.join("physfn").exists() {
        true => return Vec::new(),
        false => source::attribute(&path.join("class")),
    };
    let interest = match &class {
        Outcome::Value(class) => interest(class),
        Outcome::Absent => Interest::None,
        // It may be anything, so it is told like what matters.
        Outcome::Unreadable(_) => Interest::Endpoint,
    };
    let mut found = Vec::new();
    if interest == Interest::Endpoint {
        let width = source::attribute(&path.join("current_link_width"));
        let speed = source::attribute(&path.join("current_link_speed"));
        let (width, speed) = parse_link(&width, &speed);
        found.push((subject.clone(), ReadingKey::PcieLinkWidth, width.map(ReadingValue::Count)));
        found.push((subject.clone(), ReadingKey::PcieLinkMegatransfers, speed.map(ReadingValue::Count)));
    }
    let reports = COUNTERS.iter().any(|(attribute, _)| path.join(attribute).exists());
    if interest == Interest::Endpoint || (interest == Interest::Bridge && reports) {
        found.extend(COUNTERS.map(|(attribute, key)| {
            let count = parse_total(&source::attribute(&path.join(attribute)));
            (subject.clone(), key, count.map(ReadingValue::Count))
        }));
    }
    // A function of conventional PCI has neither link nor reports: that it is there says the inventory.
    match found.iter().all(|(_, _, outcome)| *outcome == Outcome::Absent) {
        true => Vec::new(),
        false => found,
    }
}

/// What a class (`0x010802`) makes worth telling.
fn interest(class: &str) -> Interest {
    let code = class.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match code.map(|code| (code >> 16, (code >> 8) & 0xff)) {
        // 0b40: co-processors, as which some GPUs and accelerators come.
        Some((0x01 | 0x02 | 0x03 | 0x12, _) | (0x0b, 0x40)) => Interest::Endpoint,
        Some((0x06, 0x04)) => Interest::Bridge,
        _ => Interest::None,
    }
}

/// Lanes and megatransfers a second. A function that is part of the processor's own complex has no link:
/// width 0, speed unknown. One that fell off the bus answers with ones only.
fn parse_link(width: &Outcome<String>, speed: &Outcome<String>) -> (Outcome<u64>, Outcome<u64>) {
    let unreadable = |what: &str, text: &str| {
        Outcome::Unreadable(format!(
            "the function says {what} {}: does it still answer?",
            source::quoted(text)
        ))
    };
    let lanes = match width {
        Outcome::Value(text) => match text.parse() {
            Ok(0) => Outcome::Absent,
            Ok(lanes) if lanes <= LANES_MAX => Outcome::Value(lanes),
            _ => unreadable("width", text),
        },
        Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
    };
    let megatransfers = match (speed, &lanes) {
        (_, Outcome::Absent) => Outcome::Absent,
        (Outcome::Value(text), _) => {
            parse_gigatransfers(text).map_or_else(|| unreadable("speed", text), Outcome::Value)
        }
        (Outcome::Absent, _) => Outcome::Unreadable("the function says a width and no speed".to_owned()),
        (Outcome::Unreadable(why), _) => Outcome::Unreadable(why.clone()),
    };
    (lanes, megatransfers)
}

/// `16.0 GT/s PCIe` is 16000.
fn parse_gigatransfers(text: &str) -> Option<u64> {
    let number = text.split_once(" GT/s")?.0;
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let one_digit = |text: &str| text.len() == 1 && text.bytes().all(|b| b.is_ascii_digit());
    let whole: u64 = whole.parse().ok().filter(|whole| *whole <= 1024)?;
    one_digit(tenths)
        .then(|| whole * 1000 + tenths.parse::<u64>().unwrap_or(0) * 100)
        .filter(|speed| *speed > 0)
}

/// The total of an error counter: the line `TOTAL_ERR_…`, which older kernels give alone.
fn parse_total(text: &Outcome<String>) -> Outcome<u64> {
    match text {
        Outcome::Value(text) => {
            let total = text.lines().find_map(|line| line.trim().strip_prefix("TOTAL_ERR_"));
            let count =
                total.and_then(|rest| rest.split_whitespace().nth(1)).and_then(|count| count.parse().ok());
            count.map_or_else(
                || Outcome::Unreadable(format!("the error counters have no total: {}", source::quoted(text))),
                Outcome::Value,
            )
        }
        Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
    }
}

/// Whether a name is an address, such as `0000:3b:00.0`.
fn is_address(name: &str) -> bool {
    (12..=16).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    fn function(tree: &Tree, address: &str, attributes: &[(&str, &str)]) {
        for (name, text) in attributes {
            tree.write(&format!("sys/bus/pci/devices/{address}/{name}"), text);
        }
    }

    fn told(tree: &Tree, address: &str) -> Vec<(ReadingKey, Outcome<ReadingValue>)> {
        let subject = Subject::PciDevice(address.to_owned());
        let found = read(&tree.source()).into_iter().filter(|(of, _, _)| *of == subject);
        found.map(|(_, key, outcome)| (key, outcome)).collect()
    }

    #[test]
    fn links_and_errors_of_what_matters_are_told() {
        let tree = Tree::new();
        let correctable = "RxErr 3\nBadTLP 0\nTOTAL_ERR_COR 3\n";
        function(
            &tree,
            "0000:3b:00.0",
            &[
                ("class", "0x020000\n"),
                ("current_link_width", "16\n"),
                ("current_link_speed", "16.0 GT/s PCIe\n"),
                ("aer_dev_correctable", correctable),
                ("aer_dev_nonfatal", "TOTAL_ERR_NONFATAL 1\n"),
                ("aer_dev_fatal", "TOTAL_ERR_FATAL 0\n"),
            ],
        );
        function(&tree, "0000:00:1f.3", &[("class", "0x040300"), ("current_link_width", "1")]);
        let counts: Vec<_> = told(&tree, "0000:3b:00.0")
            .into_iter()
            .map(|(_, outcome)| match outcome {
                Outcome::Value(ReadingValue::Count(count)) => count,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(counts, [16, 16000, 3, 1, 0]);
        assert_eq!(told(&tree, "0000:00:1f.3"), [], "sound does not matter");
    }

    #[test]
    fn a_bridge_tells_its_errors_and_an_empty_slot_is_no_narrow_link() {
        let tree = Tree::new();
        function(
            &tree,
            "0000:00:01.0",
            &[
                ("class", "0x060400"),
                ("current_link_width", "0"),
                ("current_link_speed", "Unknown"),
                ("aer_dev_correctable", "TOTAL_ERR_COR 0"),
                ("aer_dev_nonfatal", "TOTAL_ERR_NONFATAL 0"),
                ("aer_dev_fatal", "TOTAL_ERR_FATAL 2"),
            ],
        );
        let keys: Vec<_> = told(&tree, "0000:00:01.0").into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, COUNTERS.map(|(_, key)| key));
    }

    #[test]
    fn what_has_no_link_and_what_fell_off_the_bus_are_two_things() {
        let link = |width: &str, speed: &str| {
            parse_link(&Outcome::Value(width.to_owned()), &Outcome::Value(speed.to_owned()))
        };
        assert_eq!(link("8", "2.5 GT/s PCIe"), (Outcome::Value(8), Outcome::Value(2500)));
        assert_eq!(link("4", "32 GT/s PCIe"), (Outcome::Value(4), Outcome::Value(32000)));
        assert_eq!(link("0", "Unknown"), (Outcome::Absent, Outcome::Absent));
        for fallen in ["63", "255", "-1", "18446744073709551616"] {
            let (width, speed) = link(fallen, "Unknown");
            assert!(matches!(width, Outcome::Unreadable(_)), "{fallen}");
            assert!(matches!(speed, Outcome::Unreadable(_)), "{fallen}");
        }
        assert_eq!(parse_link(&Outcome::Absent, &Outcome::Absent), (Outcome::Absent, Outcome::Absent));
    }

    #[test]
    fn virtual_functions_and_conventional_functions_are_not_told_and_no_bus_is_absent() {
        let tree = Tree::new();
        assert!(read(&tree.source()).iter().all(|(_, _, outcome)| *outcome == Outcome::Absent));
        function(
            &tree,
            "0000:3b:02.1",
            &[("class", "0x020000"), ("current_link_width", "0"), ("physfn", "")],
        );
        function(&tree, "0000:00:02.0", &[("class", "0x030000")]);
        assert!(read(&tree.source()).iter().all(|(_, _, outcome)| *outcome == Outcome::Absent));
        assert_eq!(told(&tree, "0000:3b:02.1"), []);
    }

    #[test]
    fn a_machine_with_more_functions_than_are_told_says_so() {
        let tree = Tree::new();
        for number in 0..=TOLD_MAX {
            let address = format!("0000:{:02x}:{:02x}.0", number / 32, number % 32);
            function(&tree, &address, &[("class", "0x010802"), ("current_link_width", "4")]);
        }
        let found = read(&tree.source());
        assert!(found.iter().any(|(subject, _, outcome)| {
            *subject == Subject::Node && matches!(outcome, Outcome::Unreadable(_))
        }));
        assert!(found.len() <= TOLD_MAX * 5 + 2);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>(), other in any::<String>()) {
            let (text, other) = (Outcome::Value(text), Outcome::Value(other));
            let _ = parse_link(&text, &other);
            let _ = parse_total(&text);
            if let Outcome::Value(text) = &text {
                let _ = interest(text);
                let _ = parse_gigatransfers(&format!("{text} GT/s PCIe"));
            }
        }
    }
}
