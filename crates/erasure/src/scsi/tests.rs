//! Layouts byte by byte, and arbitrary bytes.

use contract::inventory::{SanitizeObstacle, SanitizeState};
use proptest::prelude::{any, prop_assert, proptest};

use super::sense::Sense;
use super::{opcodes, sanitize, vpd};
use crate::command::{CommandProgress, SanitizeAction};

fn fixed(key: u8, additional: (u8, u8), specific: [u8; 3]) -> Vec<u8> {
    let mut sense = vec![0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, additional.0, additional.1, 0];
    sense.extend(specific);
    sense
}

fn descriptor(key: u8, additional: (u8, u8), descriptors: &[u8]) -> Vec<u8> {
    let mut sense = vec![0x72, key, additional.0, additional.1, 0, 0, 0, descriptors.len() as u8];
    sense.extend(descriptors);
    sense
}

#[test]
fn both_formats_say_the_same() {
    let specific = [0x02, 6, 0, 0, 0x80, 0x12, 0x34, 0];
    let indication = [0x0a, 6, 0x02, 0x04, 0x1b, 0, 0x12, 0x34];
    for sense in [
        fixed(2, (4, 0x1b), [0x80, 0x12, 0x34]),
        descriptor(2, (4, 0x1b), &specific),
        descriptor(0, (4, 0x1b), &indication),
    ] {
        let read = Sense::parse(&sense).unwrap();
        assert_eq!((read.additional, read.progress_65536), ((4, 0x1b), Some(0x1234)), "{sense:x?}");
        assert_eq!(sanitize::state(&read), Ok(SanitizeState::Running { progress_65536: 0x1234 }));
        assert!(!read.deferred);
    }
    // Not valid (SKSV 0), or with a key with which these bytes mean something else.
    assert_eq!(Sense::parse(&fixed(2, (4, 0x1b), [0, 1, 2])).unwrap().progress_65536, None);
    assert_eq!(Sense::parse(&fixed(5, (0x24, 0), [0x80, 1, 2])).unwrap().progress_65536, None);
    // Cut after the length that it names.
    let mut short = fixed(2, (4, 0x1b), [0x80, 1, 2]);
    short[7] = 0;
    assert_eq!(Sense::parse(&short).unwrap().additional, (0, 0));
    assert!(Sense::parse(&[0x71, 0, 3, 0, 0, 0, 0, 0]).unwrap().deferred);
    assert_eq!(Sense::parse(&[0x7f; 32]), None);
    assert_eq!(Sense::parse(&[]), None);
}

#[test]
fn every_state_of_a_sanitize() {
    let of = |key, additional| sanitize::progress(&Sense::parse(&fixed(key, additional, [0; 3])).unwrap());
    assert_eq!(of(2, (4, 0x1b)), Some(CommandProgress::Running { progress_65536: None }));
    assert!(matches!(of(3, (0x31, 3)), Some(CommandProgress::Failed { .. })));
    assert!(matches!(of(0, (0, 0)), Some(CommandProgress::Done { .. })));
    assert!(matches!(of(0, (0x5e, 1)), Some(CommandProgress::Done { .. })));
    // A reset, another reason not to be ready, another medium error, a format: none is the end of a sanitize.
    for (key, additional) in [(6, (0x29, 0)), (2, (4, 1)), (3, (0x31, 0)), (0, (4, 4)), (5, (0x20, 0))] {
        assert_eq!(of(key, additional), None, "{key} {additional:?}");
    }
}

#[test]
fn commands_byte_by_byte() {
    use SanitizeAction::{Block, Crypto, Overwrite};
    assert_eq!(sanitize::start_command(Overwrite), [0x48, 0x81, 0, 0, 0, 0, 0, 0, 8, 0]);
    assert_eq!(sanitize::start_command(Block), [0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(sanitize::start_command(Crypto), [0x48, 0x83, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(sanitize::parameter_list(Overwrite), [1, 0, 0, 4, 0, 0, 0, 0]);
    assert!(sanitize::parameter_list(Block).is_empty());
    assert_eq!(sanitize::request_sense(252), [3, 0, 0, 0, 252, 0]);
    assert_eq!(opcodes::report_supported(0x48, 3), [0xa3, 0x0c, 2, 0x48, 0, 3, 0, 0, 0, 64, 0, 0]);
    assert_eq!(opcodes::report_supported_plain(0x93), [0xa3, 0x0c, 1, 0x93, 0, 0, 0, 0, 0, 64, 0, 0]);
}

#[test]
fn a_command_is_there_only_as_the_standard_has_it() {
    let answer = |support| opcodes::is_supported(&[0, support, 0, 10]);
    assert_eq!(answer(0b011), Ok(true));
    assert_eq!(answer(0b1000_0011), Ok(true));
    assert_eq!(answer(0b001), Ok(false));
    assert_eq!(answer(0b101), Ok(false));
    assert!(answer(0).is_err());
    assert!(opcodes::is_supported(&[0, 3, 0]).is_err());
}

#[test]
fn a_running_sanitize_is_an_obstacle() {
    let facts = sanitize::capabilities(true, false, true, SanitizeState::Running { progress_65536: 1 });
    assert_eq!(facts.obstacles, [SanitizeObstacle::SanitizeRunning]);
    assert_eq!(sanitize::capabilities(true, false, true, SanitizeState::Never).obstacles, []);
}

#[test]
fn an_ata_disk_behind_a_translator_shows_its_identify_data() {
    let mut page = vec![0; 572];
    page[1] = 0x89;
    page[56] = 0xec;
    page[60] = 7;
    assert!(vpd::is_ata_disk(&page));
    assert_eq!(vpd::ata_identify(&page).map(|data| (data.len(), data[0])), Some((512, 7)));
    assert_eq!(vpd::ata_identify(&page[..571]), None);
    page[56] = 0xa1;
    assert!(!vpd::is_ata_disk(&page), "a packet device");
}

#[test]
fn a_page_is_read_as_far_as_it_says_and_as_it_came() {
    assert_eq!(vpd::content(vpd::PAGE_SERIAL, b"\0\x80\0\x03abcdef"), Some(&b"abc"[..]));
    assert_eq!(vpd::content(vpd::PAGE_SERIAL, b"\0\x80\0\x09abc"), Some(&b"abc"[..]));
    assert_eq!(vpd::content(vpd::PAGE_SERIAL, b"\0\x83\0\x03abc"), None);
    assert_eq!(vpd::content(vpd::PAGE_SERIAL, b"\0\x80\0"), None);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Some(sense) = Sense::parse(&data) {
            let _ = sense.in_words();
            let _ = sanitize::state(&sense);
        }
        let _ = opcodes::is_supported(&data);
        let _ = vpd::ata_identify(&data);
        let _ = vpd::content(vpd::PAGE_SERIAL, &data);
    }

    #[test]
    fn any_sense_with_the_right_beginning_is_survived(
        first in proptest::sample::select(vec![0x70_u8, 0x71, 0x72, 0x73]),
        rest in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let bytes: Vec<u8> = std::iter::once(first).chain(rest).collect();
        if let Some(sense) = Sense::parse(&bytes) {
            let done = matches!(sanitize::progress(&sense), Some(CommandProgress::Done { .. }));
            prop_assert!(!done || sense.key == 0);
        }
    }
}
