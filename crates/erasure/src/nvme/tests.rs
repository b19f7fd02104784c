//! Layouts byte by byte, and arbitrary bytes.

use contract::inventory::{SanitizeObstacle, SanitizeState};
use contract::reading::Outcome;
use proptest::prelude::{any, prop_assert, proptest};

use contract::plan::EraseMethod;

use super::admin::{self, AdminCommand};
use super::identify::{Controller, IDENTIFY_BYTES, Namespace, count_namespaces, is_write_protected};
use super::sanitize_log::SanitizeLog;
use super::{firmware_log, status};
use crate::command::{CommandProgress, SanitizeAction};

fn controller(set: &[(usize, u8)]) -> Controller {
    let mut data = vec![0; IDENTIFY_BYTES];
    for (at, value) in set {
        data[*at] = *value;
    }
    Controller::parse(&data).unwrap()
}

/// A log: progress, status, command, three estimates.
fn log(progress: u16, status: u16, command: u32, estimates: [u32; 3]) -> Vec<u8> {
    let mut data = Vec::new();
    data.extend(progress.to_le_bytes());
    data.extend(status.to_le_bytes());
    data.extend(command.to_le_bytes());
    for seconds in estimates {
        data.extend(seconds.to_le_bytes());
    }
    data.resize(usize::from(super::sanitize_log::LOG_BYTES), 0);
    data
}

/// What must be true of a controller.
type Holds = fn(&Controller) -> bool;

#[test]
fn identify_controller_bit_by_bit() {
    let none = controller(&[]);
    assert!(!none.sanitizes() && !none.format && !none.write_protection);
    assert_eq!(none.namespace_list(), admin::CNS_ACTIVE_NAMESPACES);
    let cases: [(usize, u8, Holds); 10] = [
        (256, 0b1, |one| one.security),
        (256, 0b10, |one| one.format),
        (256, 0b1000, |one| one.manages_namespaces),
        (328, 0b001, |one| one.sanitize_crypto && one.sanitizes()),
        (328, 0b010, |one| one.sanitize_block && one.sanitizes()),
        (328, 0b100, |one| one.sanitize_overwrite && one.sanitizes()),
        (524, 0b001, |one| one.format_covers_all_namespaces),
        (524, 0b010, |one| one.erase_covers_all_namespaces),
        (524, 0b100, |one| one.format_crypto),
        (531, 0b1, |one| one.write_protection),
    ];
    for (at, bit, is_set) in cases {
        assert!(is_set(&controller(&[(at, bit)])), "byte {at} bit {bit:#b}");
        assert!(!is_set(&controller(&[(at, !bit)])), "byte {at}, all but {bit:#b}");
    }
    assert_eq!(controller(&[(256, 8)]).namespace_list(), admin::CNS_ALLOCATED_NAMESPACES);
    assert_eq!(Controller::parse(&vec![0xff; 531]), None);
    let facts = controller(&[(256, 0b10), (524, 0b110)]).capabilities(Outcome::Value(1), Outcome::Absent);
    assert_eq!((facts.replay_protected, facts.boot_partitions), (Outcome::Absent, Outcome::Absent));
    assert!(facts.format && facts.crypto_erase && facts.erase_covers_all_namespaces);
    assert!(!facts.format_covers_all_namespaces);
}

#[test]
fn identify_namespace_byte_by_byte() {
    let mut data = vec![0; IDENTIFY_BYTES];
    assert_eq!(Namespace::parse(&data), None, "an inactive namespace answers with zeros");
    data[2] = 1;
    data[25] = 3;
    data[26] = 0x11;
    data[29] = 0b1010;
    let namespace = Namespace::parse(&data).unwrap();
    assert_eq!(
        namespace,
        Namespace { formats_less_one: 3, format_in_use: 0x11, protection: 0b1010, write_protected: false }
    );
    data[99] = 1;
    assert!(Namespace::parse(&data).unwrap().write_protected);
    assert_eq!(Namespace::parse(&data[..99]), None);
    for (feature, expected) in [(0, false), (0xfff0, false), (1, true), (2, true), (3, true), (7, true)] {
        assert_eq!(is_write_protected(feature), expected, "{feature}");
    }
}

#[test]
fn namespaces_are_counted_up_to_the_first_zero() {
    let mut data = vec![0; IDENTIFY_BYTES];
    data[0] = 1;
    data[5] = 1;
    data[12] = 9;
    assert_eq!(count_namespaces(&data), 2);
    assert_eq!(count_namespaces(&[]), 0);
}

#[test]
fn every_status_of_the_sanitize_log() {
    let never = u32::MAX;
    let read = |progress, status| SanitizeLog::parse(&log(progress, status, 2, [never; 3]));
    let cases = [
        (0x000, SanitizeState::Never),
        // Factory-new and never written: still never sanitized.
        (0x100, SanitizeState::Never),
        (0x001, SanitizeState::Done { erased_since: false }),
        (0x101, SanitizeState::Done { erased_since: true }),
        (0x104, SanitizeState::Done { erased_since: true }),
        (0x002, SanitizeState::Running { progress_65536: 0x8000 }),
        // One pass done, the second running.
        (0x00a, SanitizeState::Running { progress_65536: 0x8000 }),
        (0x003, SanitizeState::Failed),
        // A failed one is failed whatever else is claimed.
        (0x103, SanitizeState::Failed),
    ];
    for (status, expected) in cases {
        assert_eq!(read(0x8000, status).unwrap().state, expected, "{status:#x}");
    }
    for reserved in [5, 6, 7] {
        assert!(read(0xffff, reserved).unwrap_err().contains("unknown status"), "{reserved}");
    }
}

/// Clean is only what a sanitize that erases has left, in the device's own words, and nothing else.
#[test]
fn which_words_of_the_sanitize_log_say_clean() {
    let cases = [
        (0x101, 2, Some(EraseMethod::NvmeSanitizeBlock)),
        (0x104, 2, Some(EraseMethod::NvmeSanitizeBlock)),
        (0x101, 3 | 1 << 4, Some(EraseMethod::NvmeSanitizeOverwrite)),
        (0x101, 4, Some(EraseMethod::NvmeSanitizeCrypto)),
        // Leaving a failure is no erase; an action that nobody knows is none.
        (0x101, 1, None),
        (0x101, 0, None),
        (0x101, 7, None),
        // Factory-new, written since, running, failed.
        (0x100, 2, None),
        (0x001, 2, None),
        (0x102, 2, None),
        (0x103, 2, None),
    ];
    for (status, action, expected) in cases {
        let read = SanitizeLog::parse(&log(0xffff, status, action, [0; 3])).unwrap();
        let said = read.said_clean();
        assert_eq!(said.as_ref().ok().map(|said| said.sanitized_by), expected, "{status:#x} {action}");
        let words = said.map_or_else(|why| why, |said| said.status);
        assert!(words.contains(&format!("SSTAT {status:#06x}")), "{words}");
    }
}

#[test]
fn estimates_are_seconds_or_nothing_and_an_overwrite_is_one_pass() {
    let read = SanitizeLog::parse(&log(0xffff, 1, 4, [1601, 30, 2])).unwrap();
    assert_eq!(read.estimate_seconds(SanitizeAction::Overwrite), Some(101));
    assert_eq!(read.estimate_seconds(SanitizeAction::Block), Some(30));
    assert_eq!(read.estimate_seconds(SanitizeAction::Crypto), Some(2));
    let silent = SanitizeLog::parse(&log(0xffff, 1, 4, [u32::MAX; 3])).unwrap();
    assert_eq!(silent.estimate_seconds(SanitizeAction::Overwrite), None);
    assert_eq!(silent.estimate_seconds(SanitizeAction::Block), None);
    assert!(SanitizeLog::parse(&log(0, 1, 4, [0; 3])[..19]).is_err());
}

#[test]
fn a_log_about_another_sanitize_says_nothing_of_ours() {
    let of = |status, command, action| {
        SanitizeLog::parse(&log(7, status, command, [0; 3])).unwrap().progress_of(action)
    };
    use SanitizeAction::{Block, Crypto, Overwrite};
    assert!(matches!(of(1, 2, Block), CommandProgress::Done { .. }));
    assert!(matches!(of(1, 4, Block), CommandProgress::Never { .. }));
    assert!(matches!(of(3, 4, Crypto), CommandProgress::Failed { .. }));
    assert!(matches!(of(3, 2, Crypto), CommandProgress::Failed { .. }));
    assert!(matches!(of(1, 3 | (1 << 4), Overwrite), CommandProgress::Done { .. }));
    assert!(matches!(of(0, 0, Block), CommandProgress::Never { .. }));
    assert_eq!(of(2, 2, Crypto), CommandProgress::Running { progress_65536: Some(7) });
    let CommandProgress::Done { status } = of(0x101, 2, Block) else { panic!("not done") };
    assert_eq!(status, "NVMe sanitize log: SSTAT 0x0101, SPROG 0x0007, CDW10 0x2");
}

#[test]
fn what_makes_a_sanitize_refused_is_named() {
    let able = controller(&[(328, 0b011)]);
    let read = SanitizeLog::parse(&log(7, 2, 2, [16, u32::MAX, 3])).unwrap();
    let facts = read.capabilities(&able, true, true);
    assert_eq!(
        facts.obstacles,
        [
            SanitizeObstacle::NamespaceWriteProtected,
            SanitizeObstacle::FirmwareActivationPending,
            SanitizeObstacle::SanitizeRunning
        ]
    );
    assert!(facts.block && facts.crypto && !facts.overwrite);
    assert_eq!((facts.block_estimate_seconds, facts.crypto_estimate_seconds), (None, Some(3)));
    let idle = SanitizeLog::parse(&log(0xffff, 0x101, 2, [0; 3])).unwrap();
    assert_eq!(idle.capabilities(&able, false, false).obstacles, []);
}

#[test]
fn a_firmware_waits_where_the_next_slot_is_another() {
    for (active_firmware, pending) in
        [(0x01, false), (0x21, true), (0x11, false), (0x71, true), (0x00, false)]
    {
        assert_eq!(
            firmware_log::activation_pending(&[active_firmware]),
            Some(pending),
            "{active_firmware:#x}"
        );
    }
    assert_eq!(firmware_log::activation_pending(&[]), None);
}

#[test]
fn commands_dword_by_dword() {
    let sanitize = |dword_10| AdminCommand { opcode: 0x84, namespace: 0, dword_10, dword_11: 0 };
    assert_eq!(admin::sanitize(SanitizeAction::Block), sanitize(0x02));
    assert_eq!(admin::sanitize(SanitizeAction::Overwrite), sanitize(0x13));
    assert_eq!(admin::sanitize(SanitizeAction::Crypto), sanitize(0x04));
    let page = admin::get_log_page(admin::LOG_SANITIZE_STATUS, 512);
    assert_eq!((page.opcode, page.namespace, page.dword_10), (0x02, u32::MAX, 0x007f_0081));
    let identify = admin::identify(admin::CNS_NAMESPACE, 5);
    assert_eq!((identify.opcode, identify.namespace, identify.dword_10), (0x06, 5, 0));
    let feature = admin::get_write_protection(1);
    assert_eq!((feature.opcode, feature.namespace, feature.dword_10), (0x0a, 1, 0x84));
}

#[test]
fn a_format_keeps_the_lba_format_and_sets_the_erase() {
    let namespace = |formats_less_one, format_in_use, protection| Namespace {
        formats_less_one,
        format_in_use,
        protection,
        write_protected: false,
    };
    let dword = |namespace: Namespace, crypto| admin::format(1, &namespace, crypto).dword_10;
    assert_eq!(dword(namespace(0, 0, 0), false), 0x200);
    // Format 1, metadata with the data, protection type 2 in the first bytes.
    assert_eq!(dword(namespace(3, 0x11, 0b1010), true), 0x400 | 0x11 | (2 << 5) | (1 << 8));
    // Format 34 of more than 16; with 16 the upper bits mean nothing.
    assert_eq!(dword(namespace(40, 0b0100_0010, 0), false), 0x200 | 2 | (0b10 << 12));
    assert_eq!(dword(namespace(15, 0b0100_0010, 0), false), 0x200 | 2);
    assert_eq!(admin::format(7, &namespace(0, 0, 0), true).namespace, 7);
}

#[test]
fn a_status_is_always_a_number_and_in_words_where_it_is_known() {
    // The upper bits (do not retry, more) do not change the meaning.
    assert!(status::in_words(0x4023).contains("persistent memory region"));
    assert!(status::in_words(0x4023).contains("0x4023"));
    assert_eq!(status::in_words(0x02ff), "NVMe status 0x02ff");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Controller::parse(&data);
        let _ = Namespace::parse(&data);
        let _ = count_namespaces(&data);
        let _ = firmware_log::activation_pending(&data);
        if let Ok(log) = SanitizeLog::parse(&data) {
            prop_assert!(log.said_clean().is_err() || (data[3] & 1 == 1 && matches!(data[2] & 7, 1 | 4)));
            for action in [SanitizeAction::Block, SanitizeAction::Crypto, SanitizeAction::Overwrite] {
                let done = matches!(log.progress_of(action), CommandProgress::Done { .. });
                prop_assert!(!done || matches!(data[2] & 7, 1 | 4));
            }
        }
    }

    #[test]
    fn a_cut_log_is_never_read(length in 0_usize..20) {
        prop_assert!(SanitizeLog::parse(&log(0, 1, 2, [0; 3])[..length]).is_err());
    }

    #[test]
    fn any_status_has_words(number in any::<u16>()) {
        let shown = format!("{number:#06x}");
        prop_assert!(status::in_words(number).contains(&shown));
    }
}
