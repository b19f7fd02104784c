//! Layouts byte by byte, disks that answer badly, and arbitrary bytes.

use contract::inventory::{SanitizeObstacle, SanitizeState};
use contract::reading::Outcome;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::hidden;
use super::identify::{IDENTIFY_BYTES, Identify};
use super::pass_through::{Command, Registers, completed};
use super::sanitize::{self, SanitizeStatus};
use super::security::{self, Next, Refused};
use crate::command::{CommandProgress, SanitizeAction};

/// IDENTIFY data with these words; 2000 sectors and a good checksum.
pub fn identify_data(words: &[(usize, u16)]) -> Vec<u8> {
    let mut data = vec![0_u8; IDENTIFY_BYTES];
    let basics = [(60, 2000), (83, 0x4400), (100, 2000)];
    for (number, word) in basics.iter().chain(words) {
        data[2 * number..2 * number + 2].copy_from_slice(&u16::to_le_bytes(*word));
    }
    data[510] = 0xa5;
    let sum = data[..511].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    data[511] = 0_u8.wrapping_sub(sum);
    data
}

fn identify(words: &[(usize, u16)]) -> Identify {
    Identify::parse(&identify_data(words)).unwrap()
}

/// Sense data with a complete ATA Status Return descriptor.
fn returned(error: u8, count: u16, lba: u64, status: u8) -> Vec<u8> {
    let [lba0, lba1, lba2, lba3, lba4, lba5, ..] = lba.to_le_bytes();
    let [count_high, count_low] = count.to_be_bytes();
    let mut sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 14];
    sense.extend([
        0x09, 12, 1, error, count_high, count_low, lba3, lba0, lba4, lba1, lba5, lba2, 0x40, status,
    ]);
    sense
}

fn registers(error: u8, count: u16, lba: u64, status: u8) -> Registers {
    Registers::from_sense(&returned(error, count, lba, status)).unwrap()
}

/// What must be true of a disk.
type Holds = fn(&Identify) -> bool;

#[test]
fn identify_word_by_word() {
    let plain = identify(&[]);
    assert_eq!((plain.sectors, plain.logical_sector_bytes, plain.rotation), (2000, 512, None));
    assert!(!plain.sanitize && !plain.security_supported && !plain.host_protected_area);
    let cases: [(usize, u16, Holds); 14] = [
        (59, 1 << 12, |one| one.sanitize && !one.sanitize_block && !one.sanitize_crypto),
        (59, (1 << 12) | (1 << 13), |one| one.sanitize_crypto),
        (59, (1 << 12) | (1 << 14), |one| one.sanitize_overwrite),
        (59, (1 << 12) | (1 << 15), |one| one.sanitize_block),
        (59, (1 << 13) | (1 << 14) | (1 << 15), |one| !one.sanitize_block && !one.sanitize_crypto),
        (82, 1 << 10, |one| one.host_protected_area),
        (83, 0x4000 | (1 << 11) | (1 << 10), |one| one.configuration_overlay),
        (119, 0x4000 | (1 << 8), |one| one.accessible_max_address),
        (119, 1 << 8, |one| !one.accessible_max_address),
        (128, 0b1, |one| one.security_supported && !one.security_enabled),
        (128, 0b111, |one| one.security_enabled && one.security_locked),
        (85, 0b10, |one| one.security_enabled),
        (128, 0b1000, |one| one.security_frozen),
        (128, 0b11_0000, |one| one.security_count_expired && one.enhanced_erase),
    ];
    for (word, value, holds) in cases {
        assert!(holds(&identify(&[(word, value)])), "word {word} = {value:#06x}");
    }
    let large = identify(&[(106, 0x4000 | (1 << 12)), (117, 2048), (102, 1)]);
    assert_eq!((large.logical_sector_bytes, large.sectors), (4096, 2000 + (1 << 32)));
    assert_eq!(identify(&[(83, 0x4000)]).sectors, 2000, "words 60-61 without 48-bit addresses");
    for (word, rotation) in [(0, None), (1, Some(1)), (7200, Some(7200)), (0x400, None), (0xffff, None)] {
        assert_eq!(identify(&[(217, word)]).rotation, rotation);
    }
}

#[test]
fn estimates_have_two_forms() {
    let cases = [
        (0, None),
        (1, Some(2)),
        (255, Some(510)),
        (0x80ff, Some(510)),
        (0x8000, None),
        (0xfd20, Some(64064)),
    ];
    for (word, minutes) in cases {
        let facts = identify(&[(89, word)]).capabilities(Outcome::Value(0));
        assert_eq!(facts.erase_estimate_minutes, minutes, "{word:#06x}");
        assert_eq!(identify(&[(90, word)]).enhanced_estimate_minutes, minutes, "{word:#06x}");
    }
}

#[test]
fn identify_data_that_are_none_are_refused() {
    let good = identify_data(&[]);
    let mut altered = good.clone();
    altered[100] ^= 1;
    let packet = identify_data(&[(0, 0x8000)]);
    let empty = identify_data(&[(60, 0), (100, 0)]);
    for (data, why) in [
        (&good[..511], "bytes"),
        (&altered[..], "checksum"),
        (&packet[..], "not those of a disk"),
        (&empty[..], "no sectors"),
        (&[0; 512][..], "no sectors"),
    ] {
        assert!(Identify::parse(data).unwrap_err().contains(why), "{why}");
    }
}

#[test]
fn commands_byte_by_byte() {
    let cases: [(Command, [u8; 16]); 10] = [
        (Command::identify(), [0x85, 8, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0xec, 0]),
        (sanitize::status_command(), [0x85, 7, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0xb4, 0]),
        (
            sanitize::start_command(SanitizeAction::Crypto),
            [0x85, 7, 0x20, 0, 0x11, 0, 0, 0x43, 0x70, 0, 0x79, 0, 0x72, 0x40, 0xb4, 0],
        ),
        (
            sanitize::start_command(SanitizeAction::Block),
            [0x85, 7, 0x20, 0, 0x12, 0, 0, 0x42, 0x72, 0, 0x45, 0, 0x6b, 0x40, 0xb4, 0],
        ),
        (
            sanitize::start_command(SanitizeAction::Overwrite),
            [0x85, 7, 0x20, 0, 0x14, 0, 1, 0, 0, 0x57, 0, 0x4f, 0, 0x40, 0xb4, 0],
        ),
        (security::set_password(), [0x85, 10, 0x06, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0xf1, 0]),
        (security::erase_prepare(), [0x85, 6, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0xf3, 0]),
        (security::erase_unit(), [0x85, 10, 0x06, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0xf4, 0]),
        (hidden::read_native_max(), [0x85, 7, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x27, 0]),
        (hidden::configuration_identify(), [0x85, 8, 0x0e, 0, 0xc2, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0xb1, 0]),
    ];
    for (command, expected) in cases {
        assert_eq!(command.block(), expected, "{}", command.name);
    }
    assert_eq!(security::unlock().block()[14], 0xf2);
    assert_eq!(security::disable_password().block()[14], 0xf6);
    assert_eq!(hidden::get_native_max().block()[14], 0x78);
}

#[test]
fn registers_come_back_from_both_formats() {
    let all = registers(0x04, 0xc001, 0x4f57_1234_5678, 0x51);
    assert_eq!((all.error, all.count, all.lba, all.status), (0x04, 0xc001, 0x4f57_1234_5678, 0x51));
    assert!(all.complete && all.is_aborted());
    // Another descriptor before it.
    let mut sense = returned(0, 7, 9, 0x50);
    sense.splice(8..8, [0x00, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Registers::from_sense(&sense).unwrap().lba, 9);
    // Not extended: the upper halves are old.
    let mut short = returned(0, 0xffff, 0xffff_ffff_ffff, 0x50);
    short[10] = 0;
    let short = Registers::from_sense(&short).unwrap();
    assert_eq!((short.count, short.lba, short.complete), (0xff, 0xff_ffff, false));
    let fixed = [0x70, 0, 1, 0x04, 0x51, 0x40, 3, 10, 0, 1, 2, 3, 0x00, 0x1d];
    let fixed_registers = Registers::from_sense(&fixed).unwrap();
    assert_eq!((fixed_registers.status, fixed_registers.count, fixed_registers.lba), (0x51, 3, 0x03_0201));
    assert!(!fixed_registers.complete);
    let mut other = fixed;
    (other[13], other[4]) = (0, 0x50);
    assert_eq!(Registers::from_sense(&other), None, "other fixed sense is about no success");
}

#[test]
fn nothing_is_done_unless_the_registers_say_so() {
    let command = security::set_password();
    assert!(completed(&command, &returned(0, 0, 0, 0x50)).is_ok());
    for (sense, why) in [
        (vec![], "no registers"),
        (vec![0x72, 0x05, 0x20, 0, 0, 0, 0, 0], "no registers"),
        (vec![0x70; 18], "no registers"),
        (returned(0x04, 0, 0, 0x51), "aborted SECURITY SET PASSWORD"),
        (returned(0, 0, 0, 0x51), "failed"),
        (returned(0, 0, 0, 0x70), "failed"),
        (returned(0, 0, 0, 0xd0), "failed"),
    ] {
        let refused = completed(&command, &sense).unwrap_err();
        assert!(refused.contains(why), "{refused}: not {why}");
    }
}

#[test]
fn a_refusal_is_read_from_what_kernels_make_of_it_and_never_a_success() {
    // As Linux 6.1 answered an aborted SANITIZE STATUS EXT, with the reason 01h put in.
    let old = hex("70000b000000000a04414000000000008001");
    // The same where SAT has it.
    let new = hex("f0000b045140000a800100000000000000");
    for sense in [&old, &new] {
        let read = Registers::from_sense(sense).unwrap();
        assert!(read.is_aborted() && read.completed(&sanitize::status_command()).is_err());
        assert_eq!(SanitizeStatus::parse(read).unwrap().state(), SanitizeState::Failed);
    }
    // Other SCSI errors, and one without the error bit.
    for other in [
        "700005000000000a00000000200000000000",
        "f00004000000000a00000000440000000000",
        "70000b000000000a04404000000000008000",
    ] {
        assert_eq!(Registers::from_sense(&hex(other)), None, "{other}");
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn every_sanitize_status() {
    let read = |registers| SanitizeStatus::parse(registers).map(|status| (status.state(), status.frozen));
    let running = |progress_65536| SanitizeState::Running { progress_65536 };
    let done = SanitizeState::Done { erased_since: false };
    let cases = [
        (registers(0, 0x0000, 0, 0x50), SanitizeState::Never, false),
        (registers(0, 0x8000, 0xffff, 0x50), done, false),
        (registers(0, 0x4000, 0x1234, 0x50), running(0x1234), false),
        (registers(0, 0x2000, 0, 0x50), SanitizeState::Never, true),
        (registers(0, 0xa000, 0, 0x50), done, true),
        // Claims both; what is running is not done.
        (registers(0, 0xc000, 1, 0x50), running(1), false),
        (registers(0x04, 0, 0x01, 0x51), SanitizeState::Failed, false),
        (registers(0x04, 0, 0x03, 0x51), SanitizeState::Never, true),
    ];
    for (registers, state, frozen) in cases {
        assert_eq!(read(registers), Ok((state, frozen)), "{registers:?}");
    }
    assert!(read(registers(0x04, 0, 0x02, 0x51)).is_err(), "an unsupported command is no state");
    assert!(read(Registers { complete: false, ..registers(0, 0x8000, 0, 0x50) }).is_err());
}

#[test]
fn a_sanitize_is_done_only_by_its_own_bit() {
    let of = |registers| SanitizeStatus::parse(registers).unwrap().progress();
    assert!(matches!(of(registers(0, 0x8000, 0, 0x50)), CommandProgress::Done { .. }));
    assert!(matches!(of(registers(0, 0x0000, 0, 0x50)), CommandProgress::Never { .. }));
    assert!(matches!(of(registers(0x04, 0, 1, 0x51)), CommandProgress::Failed { .. }));
    assert_eq!(of(registers(0, 0x4000, 9, 0x50)), CommandProgress::Running { progress_65536: Some(9) });
    let able = identify(&[(59, 0xf000)]);
    let facts = SanitizeStatus::parse(registers(0, 0x6000, 9, 0x50)).unwrap().capabilities(&able);
    assert_eq!(facts.obstacles, [SanitizeObstacle::SanitizeRunning, SanitizeObstacle::Frozen]);
    assert!(facts.block && facts.crypto && facts.overwrite);
}

#[test]
fn the_password_lies_where_it_must_and_the_erase_says_which() {
    let block = security::password_block();
    assert_eq!(block[..2], [0, 0]);
    assert_eq!(block[2..10], *b"reprieve");
    assert!(block[10..].iter().all(|byte| *byte == 0));
    assert_eq!(security::erase_block(false)[0], 0);
    assert_eq!(security::erase_block(true)[0], 2);
    assert_eq!(security::erase_block(true)[2..], block[2..]);
}

#[test]
fn the_way_to_a_disk_without_a_password() {
    const SUPPORTED: u16 = 1;
    let cases = [
        (SUPPORTED, Ok(Next::Open)),
        (0, Ok(Next::Open)),
        (SUPPORTED | 0b1000, Ok(Next::Open)),
        (SUPPORTED | 0b0010, Ok(Next::Disable)),
        (SUPPORTED | 0b0110, Ok(Next::Unlock)),
        (SUPPORTED | 0b1110, Err(Refused::Frozen)),
        (SUPPORTED | 0b1_0110, Err(Refused::CountExpired)),
    ];
    for (word, expected) in cases {
        assert_eq!(security::next_to_open(&identify(&[(128, word)])), expected, "{word:#b}");
    }
    let can = |word, enhanced| security::can_erase(&identify(&[(128, word)]), enhanced);
    assert_eq!(can(0b10_0001, true), Ok(()));
    assert_eq!(can(0b00_0001, false), Ok(()));
    assert_eq!(can(0b00_0001, true), Err(Refused::NoEnhancedErase));
    assert_eq!(can(0b10_0000, false), Err(Refused::NotSupported));
    assert_eq!(can(0b10_1001, true), Err(Refused::Frozen));
    assert_eq!(can(0b01_0001, false), Err(Refused::CountExpired));
}

#[test]
fn an_erase_gets_more_time_than_the_disk_says() {
    let timeout = |word, enhanced| security::timeout_minutes(&identify(&[(89, word), (90, 1)]), enhanced);
    assert_eq!(timeout(200, false), 1600);
    assert_eq!(timeout(200, true), 360);
    assert_eq!(timeout(0, false), 2880);
}

#[test]
fn hidden_areas_are_counted_and_contradictions_are_no_measure() {
    let disk = identify(&[]);
    let cases = [
        (None, None, Ok(0)),
        (Some(2000), None, Ok(0)),
        (Some(3000), None, Ok(512_000)),
        (Some(3000), Some(3001), Ok(512_512)),
        (None, Some(2002), Ok(1024)),
        (Some(1999), None, Err("are native")),
        (Some((1 << 48) + 1), None, Err("are native")),
        // "Real max sectors: 1", as an emulated disk answers.
        (Some(2000), Some(1), Err("overlay says 1")),
        (Some(2000), Some((1 << 48) + 1), Err("overlay")),
    ];
    for (native, overlay, expected) in cases {
        match (hidden::hidden_bytes(&disk, native, overlay), expected) {
            (Ok(bytes), Ok(wanted)) => assert_eq!(bytes, wanted),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (found, wanted) => panic!("{found:?}, not {wanted:?}"),
        }
    }
    assert_eq!(hidden::native_sectors(registers(0, 0, 2999, 0x50)), Ok(3000));
    let half = Registers { complete: false, ..registers(0, 0, 2999, 0x50) };
    assert!(hidden::native_sectors(half).is_err());
    let mut overlay = vec![0; 512];
    overlay[6..8].copy_from_slice(&[0xb8, 0x0b]);
    assert_eq!(hidden::configuration_sectors(&overlay), Ok(3001));
    overlay[510] = 0xa5;
    assert!(hidden::configuration_sectors(&overlay).unwrap_err().contains("checksum"));
    assert!(hidden::configuration_sectors(&overlay[..511]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Identify::parse(&data);
        let _ = hidden::configuration_sectors(&data);
        if let Some(registers) = Registers::from_sense(&data) {
            let _ = SanitizeStatus::parse(registers);
            let _ = hidden::native_sectors(registers);
        }
    }

    #[test]
    fn any_sense_with_the_right_beginning_is_survived(
        first in proptest::sample::select(vec![0x70_u8, 0x71, 0x72, 0x73, 0xf0, 0xf2]),
        rest in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let sense: Vec<u8> = std::iter::once(first).chain(rest).collect();
        let done = completed(&Command::identify(), &sense).is_ok();
        // In fixed format only the additional sense 00h/1Dh can mean success.
        prop_assert!(!done || first & 0x7f >= 0x72 || sense[12..14] == [0, 0x1d]);
    }

    #[test]
    fn a_command_keeps_every_register(feature: u16, count: u16, lba in 0_u64..1 << 48) {
        let block = Command::extended("TEST", 0xb4, feature, count, lba).block();
        let [f1, f0, c1, c0, l3, l0, l4, l1, l5, l2] = block[3..13].try_into().unwrap();
        prop_assert_eq!(u16::from_be_bytes([f1, f0]), feature);
        prop_assert_eq!(u16::from_be_bytes([c1, c0]), count);
        prop_assert_eq!(u64::from_le_bytes([l0, l1, l2, l3, l4, l5, 0, 0]), lba);
    }

    #[test]
    fn cut_identify_data_are_never_read(length in 0..IDENTIFY_BYTES) {
        prop_assert!(Identify::parse(&identify_data(&[])[..length]).is_err());
    }

    #[test]
    fn hidden_bytes_are_never_less_than_nothing(native: Option<u64>, overlay: Option<u64>) {
        if let Ok(bytes) = hidden::hidden_bytes(&identify(&[]), native, overlay) {
            prop_assert!(bytes <= (1 << 48) * 512);
        }
    }
}
