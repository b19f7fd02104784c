//! The disk without a machine: each command, each state, each lie.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use proptest::prelude::{any, prop_assert, proptest};

use super::ata::{AtaProfile, number};
use super::command::is_to_disk;
use super::disk::{BLOCK_ERASE, CRYPTOGRAPHIC_ERASE, Disk, OVERWRITE, Profile};
use super::lies::{EraseLie, Lies, ProgressLie};
use super::sanitize::Phase;
use super::sense::Sense;
use super::server::FakeDisk;
use super::wire::{self, Answer, Request};

const SIZE_BYTES: u64 = 1 << 20;
const LATER: Duration = Duration::from_secs(10);
const SANITIZE_BLOCK: [u8; 10] = [0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0];

fn disk() -> Disk {
    let mut disk =
        Disk::new(Profile::solid_state(SIZE_BYTES, &[OVERWRITE, BLOCK_ERASE, CRYPTOGRAPHIC_ERASE]));
    ask(&mut disk, &write_block(3), &[7; 512]);
    disk
}

/// Asks at the beginning of time, when nothing that was started has got on.
fn ask(disk: &mut Disk, block: &[u8], data: &[u8]) -> Answer {
    disk.execute(Duration::ZERO, block, data)
}

fn write_block(number: u8) -> [u8; 10] {
    [0x2a, 0, 0, 0, 0, number, 0, 0, 1, 0]
}

fn read_block(number: u8) -> [u8; 16] {
    [0x88, 0, 0, 0, 0, 0, 0, 0, 0, number, 0, 0, 0, 1, 0, 0]
}

fn is(answer: &Answer, sense: Sense) -> bool {
    *answer == sense.refusal()
}

#[test]
fn it_says_what_it_is() {
    let mut disk = disk();
    let inquiry = ask(&mut disk, &[0x12, 0, 0, 0, 96, 0], &[]).data;
    assert_eq!(&inquiry[8..32], b"FAKE    TCMU DISK       ");
    let pages = ask(&mut disk, &[0x12, 1, 0, 0, 96, 0], &[]).data;
    for page in &pages[4..] {
        let content = ask(&mut disk, &[0x12, 1, *page, 0, 96, 0], &[]).data;
        assert_eq!((content[1], content.len()), (*page, usize::from(content[3]) + 4));
    }
    assert_eq!(&ask(&mut disk, &[0x12, 1, 0x80, 0, 96, 0], &[]).data[4..], b"TCMU0001");
    assert!(is(&ask(&mut disk, &[0x12, 1, 0x99, 0, 96, 0], &[]), Sense::BAD_FIELD));
    assert_eq!(ask(&mut disk, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]).data, [0, 0, 7, 255, 0, 0, 2, 0]);
    let long = ask(&mut disk, &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], &[]).data;
    assert_eq!((&long[..12], long.len()), (&[0, 0, 0, 0, 0, 0, 7, 255, 0, 0, 2, 0][..], 32));
    assert_eq!(ask(&mut disk, &[0x1a, 0, 8, 0, 255, 0], &[]).data[0], 23);
}

#[test]
fn it_says_which_commands_it_has() {
    let mut disk = Disk::new(Profile::solid_state(SIZE_BYTES, &[CRYPTOGRAPHIC_ERASE]));
    let mut support = |operation, action| {
        ask(&mut disk, &[0xa3, 0x0c, 2, operation, 0, action, 0, 0, 0, 64, 0, 0], &[]).data[1]
    };
    assert_eq!((support(0x48, 3), support(0x48, 2), support(0x93, 0), support(0x2a, 0)), (3, 1, 1, 3));
}

#[test]
fn what_is_written_is_read_and_nothing_beyond_the_end() {
    let mut disk = disk();
    assert_eq!(ask(&mut disk, &read_block(3), &[]), Answer::good(vec![7; 512]));
    let beyond = [0x28, 0, 0, 0, 8, 0, 0, 0, 1, 0];
    assert!(is(&ask(&mut disk, &beyond, &[]), Sense::OUT_OF_RANGE));
    assert!(is(&ask(&mut disk, &write_block(1), &[7; 100]), Sense::BAD_FIELD), "half a block");
    assert!(is(&ask(&mut disk, &[0xff; 6], &[]), Sense::UNKNOWN_COMMAND));
}

#[test]
fn while_it_sanitizes_it_says_only_how_far_it_is() {
    let mut disk = disk();
    assert_eq!(ask(&mut disk, &SANITIZE_BLOCK, &[]).status, 0);
    let half = Duration::from_millis(750);
    for block in [&read_block(3)[..], &[0; 6], &SANITIZE_BLOCK, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        assert!(is(&disk.execute(half, block, &[]), Sense::sanitizing(32_768)), "{block:x?}");
    }
    assert_eq!(disk.execute(half, &[3, 0, 0, 0, 252, 0], &[]).data, Sense::sanitizing(32_768).bytes());
    assert_eq!(disk.execute(half, &[0x12, 0, 0, 0, 96, 0], &[]).status, 0);
    assert_eq!(disk.execute(LATER, &[0; 6], &[]).status, 0);
    assert_eq!(disk.execute(LATER, &read_block(3), &[]).data, [0xff; 512]);
}

#[test]
fn each_kind_leaves_what_it_says() {
    let overwrite = [0x48, 0x81, 0, 0, 0, 0, 0, 0, 8, 0];
    let mut disk = disk();
    assert_eq!(ask(&mut disk, &overwrite, &[1, 0, 0, 4, 9, 9, 9, 9]).status, 0);
    assert_eq!(disk.execute(LATER, &read_block(3), &[]).data, [9; 512]);
    for list in [&[0, 0, 0, 4, 9, 9, 9, 9][..], &[1, 0, 0, 3, 9, 9, 9, 9], &[0x81, 0, 0, 4, 9, 9, 9, 9]] {
        assert!(is(&disk.execute(LATER, &overwrite, list), Sense::BAD_PARAMETER), "{list:x?}");
    }
    let crypto = [0x48, 0x83, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(disk.execute(LATER, &crypto, &[]).status, 0);
    let noise = disk.execute(2 * LATER, &read_block(3), &[]).data;
    assert!(noise != [9; 512] && noise[..256] != noise[256..]);
}

#[test]
fn only_another_sanitize_leads_out_of_one_that_failed() {
    let mut disk = disk();
    let fails = Lies { progress: ProgressLie::FailsAt(60_000), ..Lies::default() };
    disk.set_lies(fails.clone());
    ask(&mut disk, &SANITIZE_BLOCK, &[]);
    let exit = [0x48, 0x9f, 0, 0, 0, 0, 0, 0, 0, 0];
    let unrestricted = [0x48, 0xa2, 0, 0, 0, 0, 0, 0, 0, 0];
    for block in [&[0; 6][..], &read_block(3), &exit, &unrestricted] {
        assert!(is(&disk.execute(LATER, block, &[]), Sense::SANITIZE_FAILED), "{block:x?}");
    }
    assert_eq!(disk.execute(LATER, &[3, 0, 0, 0, 252, 0], &[]).data, Sense::NONE.bytes());
    disk.set_lies(Lies::default());
    assert_eq!(disk.execute(LATER, &SANITIZE_BLOCK, &[]).status, 0);
    assert_eq!(disk.execute(2 * LATER, &read_block(3), &[]).data, [0xff; 512]);
    // Begun without restriction, a failure can be left, and nothing is erased then.
    ask(&mut disk, &write_block(3), &[7; 512]);
    disk.set_lies(fails);
    assert_eq!(disk.execute(2 * LATER, &unrestricted, &[]).status, 0);
    assert_eq!(disk.execute(3 * LATER, &exit, &[]).status, 0);
    assert_eq!(disk.execute(3 * LATER, &read_block(3), &[]).data, [7; 512]);
}

#[test]
fn a_sanitize_stands_still_without_power_and_goes_on_with_it() {
    let mut disk = disk();
    ask(&mut disk, &SANITIZE_BLOCK, &[]);
    disk.power(Duration::ZERO, false);
    disk.power(LATER, true);
    assert!(matches!(disk.sanitize_phase(LATER), Phase::Running { .. }));
    assert_eq!(disk.sanitize_phase(2 * LATER), Phase::Idle);
}

#[test]
fn every_lie_is_told() {
    let sanitized = |lies: Lies| {
        let mut disk = disk();
        disk.set_lies(lies);
        ask(&mut disk, &write_block(2), &[8; 512]);
        let status = ask(&mut disk, &SANITIZE_BLOCK, &[]).status;
        (status, disk.execute(LATER, &read_block(2), &[]), disk.execute(LATER, &read_block(3), &[]))
    };
    let (old, cached) = (Answer::good(vec![7; 512]), Answer::good(vec![8; 512]));
    let blank = Answer::good(vec![0xff; 512]);
    let lies = Lies::default;
    let nothing = Lies { erase: EraseLie::Nothing, ..lies() };
    let first = Lies { erase: EraseLie::First(1536), ..lies() };
    let stuck = Lies { progress: ProgressLie::StuckAt(655), ..lies() };
    let stuck_says = Sense::sanitizing(655).refusal();
    let cases = [
        ("honest", lies(), (0, blank.clone(), blank.clone())),
        ("nothing", nothing, (0, cached.clone(), old.clone())),
        ("first", first, (0, blank.clone(), old.clone())),
        ("stale cache", Lies { stale_cache: true, ..lies() }, (0, cached.clone(), blank.clone())),
        ("drops writes", Lies { drops_writes: true, ..lies() }, (0, blank.clone(), blank)),
        ("no sanitize", Lies { knows_no_sanitize: true, ..lies() }, (2, cached, old.clone())),
        ("write-protected", Lies { write_protected: true, ..lies() }, (2, Answer::good(vec![0; 512]), old)),
        (
            "breaks down",
            Lies { breaks_down: true, ..lies() },
            (0, Sense::BROKEN.refusal(), Sense::BROKEN.refusal()),
        ),
        ("stuck", stuck, (0, stuck_says.clone(), stuck_says)),
    ];
    for (name, lies, expected) in cases {
        assert_eq!(sanitized(lies), expected, "{name}");
    }
    let mut disk = disk();
    disk.set_lies(Lies { unreadable: Some(1536..1537), drops_writes: true, ..lies() });
    assert!(is(&ask(&mut disk, &read_block(3), &[]), Sense::UNREADABLE));
    ask(&mut disk, &write_block(2), &[8; 512]);
    assert_eq!(ask(&mut disk, &read_block(2), &[]).data, [0; 512]);
    disk.set_lies(Lies { progress: ProgressLie::FailsAt(1), leaves_failure: true, ..lies() });
    ask(&mut disk, &SANITIZE_BLOCK, &[]);
    assert_eq!(disk.execute(LATER, &read_block(3), &[]).data, [7; 512]);
}

#[test]
fn over_the_wire_it_says_first_that_it_was_switched_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fake = FakeDisk::serve(listener, Profile::solid_state(SIZE_BYTES, &[]));
    let ask = |stream: &TcpStream, block: &[u8], room_bytes, data: &[u8]| {
        let request = Request { command: block.to_vec(), room_bytes, data: data.to_vec() };
        wire::send(stream, &request.bytes())?;
        wire::receive(stream).map(|bytes| Answer::parse(&bytes).unwrap())
    };
    let stream = TcpStream::connect(address).unwrap();
    assert_eq!(ask(&stream, &[0; 6], 0, &[]).unwrap(), Sense::POWERED_ON.refusal());
    assert_eq!(ask(&stream, &write_block(1), 0, &[5; 512]).unwrap().status, 0);
    assert_eq!(ask(&stream, &read_block(1), 100, &[]).unwrap().data, [5; 100]);
    fake.power(false);
    assert!(ask(&stream, &[0; 6], 0, &[]).is_err());
    fake.power(true);
    let again = TcpStream::connect(address).unwrap();
    assert_eq!(ask(&again, &[0; 6], 0, &[]).unwrap().status, 2);
    assert_eq!(ask(&again, &read_block(1), 512, &[]).unwrap().data, [5; 512]);
}

#[test]
fn the_way_of_the_data_is_known() {
    let pass_through = |protocol: u8| is_to_disk(&[0x85, protocol << 1]);
    assert!(is_to_disk(&SANITIZE_BLOCK) && is_to_disk(&write_block(1)) && pass_through(5));
    assert!(!is_to_disk(&read_block(1)) && !pass_through(4) && !is_to_disk(&[]));
}

proptest! {
    #[test]
    fn any_command_is_answered(
        block in proptest::collection::vec(any::<u8>(), 0..17),
        data in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut disk = Disk::new(Profile::solid_state(64 << 10, &[OVERWRITE, BLOCK_ERASE]));
        let answer = disk.execute(Duration::ZERO, &block, &data);
        prop_assert!(answer.status == 0 && answer.sense.is_empty() || answer.status == 2 && answer.data.is_empty());
    }
}

#[test]
fn a_disk_may_say_how_large_it_is_while_it_sanitizes() {
    let profile = Profile::solid_state(SIZE_BYTES, &[BLOCK_ERASE]);
    for (talkative, status) in [(false, 2), (true, 0)] {
        let mut disk = Disk::new(Profile { talkative, ..profile.clone() });
        ask(&mut disk, &SANITIZE_BLOCK, &[]);
        assert_eq!(ask(&mut disk, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]).status, status);
        assert_eq!(ask(&mut disk, &[0; 6], &[]).status, 2);
        assert_eq!(ask(&mut disk, &read_block(3), &[]).status, 2);
    }
}

/// ATA PASS-THROUGH (16) with this command; with data to the disk or without any.
fn pass_through(command: u8, with_data: bool) -> [u8; 16] {
    let (protocol, flags) = if with_data { (5 << 1, 0x06) } else { (3 << 1, 0x20) };
    [0x85, protocol, flags, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, command, 0]
}

fn password(text: &[u8]) -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[2..2 + text.len()].copy_from_slice(text);
    sector
}

#[test]
fn ata_security_needs_its_password_its_order_and_no_frost() {
    let mut disk = Disk::new(Profile::ata(SIZE_BYTES, AtaProfile::whole()));
    let give = |disk: &mut Disk, command: u8, data: &[u8]| {
        let answer = ask(disk, &pass_through(command, !data.is_empty()), data);
        // The status register is the last byte; without sense data all is well.
        answer.sense.last().is_none_or(|status| *status == 0x50)
    };
    ask(&mut disk, &write_block(3), &[7; 512]);
    assert!(!give(&mut disk, number::ERASE_UNIT, &password(b"a")), "no password is set");
    assert!(give(&mut disk, number::SET_PASSWORD, &password(b"a")));
    assert!(!give(&mut disk, number::ERASE_UNIT, &password(b"a")), "not prepared");
    disk.power(Duration::ZERO, false);
    disk.power(Duration::ZERO, true);
    assert!(is(&ask(&mut disk, &read_block(3), &[]), Sense::LOCKED));
    assert!(!give(&mut disk, number::UNLOCK, &password(b"b")));
    assert!(give(&mut disk, number::UNLOCK, &password(b"a")));
    assert_eq!(ask(&mut disk, &read_block(3), &[]).data, [7; 512]);
    assert!(give(&mut disk, number::FREEZE_LOCK, &[]));
    assert!(!give(&mut disk, number::DISABLE_PASSWORD, &password(b"a")), "frozen");
    disk.power(Duration::ZERO, true);
    assert!(give(&mut disk, number::ERASE_PREPARE, &[]));
    assert!(!give(&mut disk, number::ERASE_UNIT, &password(b"b")));
    assert!(give(&mut disk, number::ERASE_PREPARE, &[]));
    assert!(give(&mut disk, number::ERASE_UNIT, &password(b"a")));
    assert_eq!(ask(&mut disk, &read_block(3), &[]).data, [0; 512]);
    assert!(!disk.ata().unwrap().has_password());
    let commands = disk.ata().unwrap().take_commands();
    assert_eq!(commands.last(), Some(&number::ERASE_UNIT));
}

#[test]
fn five_wrong_passwords_are_the_last() {
    let mut disk = Disk::new(Profile::ata(SIZE_BYTES, AtaProfile::whole()));
    disk.ata().unwrap().set_password(b"a");
    disk.power(Duration::ZERO, true);
    let unlock = |disk: &mut Disk, text: &[u8]| {
        ask(disk, &pass_through(number::UNLOCK, true), &password(text)).status == 0
    };
    assert!((0..5).all(|_| !unlock(&mut disk, b"b")));
    assert!(!unlock(&mut disk, b"a"));
    disk.power(Duration::ZERO, true);
    assert!(unlock(&mut disk, b"a"));
}

proptest! {
    #[test]
    fn any_ata_command_is_answered(block: [u8; 16], data in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut disk = Disk::new(Profile::ata(64 << 10, AtaProfile::whole()));
        let mut block = block;
        block[0] = 0x85;
        for command in [block[14], 0xec, 0xb4, 0xf1, 0xf3, 0xf4] {
            block[14] = command;
            let answer = disk.execute(Duration::ZERO, &block, &data);
            prop_assert!(matches!(answer.status, 0 | 2));
        }
    }
}
