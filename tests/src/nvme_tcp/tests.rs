//! A small scripted host against the device, without a kernel and without a socket.

use std::time::Duration;

use proptest::prelude::{any, prop_assert, proptest};

use super::connection::{Connection, Device, Ended};
use super::identify::Profile;
use super::lies::{EraseLie, Lies, ProgressLie};
use super::subsystem::Subsystem;
use super::wire::{self, Pdu};

const SIZE_BYTES: u64 = 1 << 20;
const SECTOR_BYTES: usize = 512;
const INITIALIZE: u8 = 0x00;

/// A PDU of a host.
fn pdu(kind: u8, header: &[u8], data: &[u8]) -> Vec<u8> {
    let length = 8 + header.len();
    let place = if data.is_empty() { 0 } else { length };
    let mut bytes = vec![kind, 0, length as u8, place as u8];
    bytes.extend(((length + data.len()) as u32).to_le_bytes());
    bytes.extend(header);
    bytes.extend(data);
    bytes
}

/// An entry: opcode, namespace, descriptor, dwords 10 and following.
fn entry(opcode: u8, namespace: u32, place: u8, length: usize, dwords: &[u32]) -> Vec<u8> {
    let mut entry = vec![0; 64];
    entry[0] = opcode;
    entry[2] = 7;
    entry[4..8].copy_from_slice(&namespace.to_le_bytes());
    entry[32..36].copy_from_slice(&(length as u32).to_le_bytes());
    entry[39] = place;
    for (at, dword) in (40..64).step_by(4).zip(dwords) {
        entry[at..at + 4].copy_from_slice(&dword.to_le_bytes());
    }
    entry
}

const CAPSULE: u8 = 0x01;
const HOST: u8 = 0x5a;

struct Host {
    device: Device,
    admin: Connection,
    io: Connection,
    now: Duration,
}

/// What came back: the data, and the status without its retry bit.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    data: Vec<u8>,
    result: u64,
    status: u16,
}

impl Host {
    fn new(profile: Profile) -> Self {
        let device = Device::new(Subsystem::new(profile));
        let mut host =
            Self { device, admin: Connection::default(), io: Connection::default(), now: Duration::ZERO };
        host.connect();
        host
    }

    /// As after a reset: two new connections.
    fn connect(&mut self) {
        (self.admin, self.io) = (Connection::default(), Connection::default());
        assert_eq!(self.connect_queue(0, 0xffff).status, 0);
        let id = self.admin.controller().unwrap();
        assert_eq!(self.connect_queue(1, id).status, 0);
    }

    fn connect_queue(&mut self, queue: u16, controller: u16) -> Reply {
        let is_io = queue > 0;
        self.send(is_io, &pdu(INITIALIZE, &[0; 120], &[])).unwrap();
        let mut data = vec![0; 1024];
        data[16..18].copy_from_slice(&controller.to_le_bytes());
        let name = self.device.subsystem.profile().name.clone();
        data[256..256 + name.len()].copy_from_slice(name.as_bytes());
        let mut connect = entry(0x7f, 0, CAPSULE, 1024, &[u32::from(queue) << 16, 31]);
        connect[4] = 1;
        self.command(is_io, connect, &data)
    }

    fn send(&mut self, is_io: bool, bytes: &[u8]) -> Result<Vec<u8>, Ended> {
        assert_eq!(wire::pdu_bytes(bytes.first_chunk().unwrap()), Ok(bytes.len()));
        let connection = if is_io { &mut self.io } else { &mut self.admin };
        connection.receive(self.now, wire::parse(bytes).unwrap(), &mut self.device)
    }

    fn command(&mut self, is_io: bool, entry: Vec<u8>, data: &[u8]) -> Reply {
        reply(&self.send(is_io, &pdu(0x04, &entry, data)).unwrap())
    }

    fn admin(&mut self, opcode: u8, namespace: u32, length: usize, dwords: &[u32]) -> Reply {
        self.command(false, entry(opcode, namespace, HOST, length, dwords), &[])
    }

    fn log(&mut self, page: u32) -> Vec<u8> {
        self.admin(0x02, u32::MAX, 512, &[127 << 16 | page, 0]).data
    }

    /// Progress and status of log page 81h.
    fn sanitize_log(&mut self) -> (u16, u16) {
        let page = self.log(0x81);
        (u16::from_le_bytes([page[0], page[1]]), u16::from_le_bytes([page[2], page[3]]))
    }

    fn write(&mut self, sector: u32, bytes: &[u8]) -> Reply {
        let sectors = (bytes.len() / SECTOR_BYTES) as u32;
        let write = entry(0x01, 1, HOST, bytes.len(), &[sector, 0, sectors - 1]);
        let ready = self.send(true, &pdu(0x04, &write, &[])).unwrap();
        assert_eq!((ready[0], &ready[8..12]), (0x09, &[7, 0, 7, 0][..]));
        // In two pieces, as a host does whose buffers are small.
        let half = bytes.len() / 2;
        let mut last = Vec::new();
        for (offset, piece) in [(0, &bytes[..half]), (half, &bytes[half..])] {
            let mut header = vec![7, 0, 7, 0];
            header.extend((offset as u32).to_le_bytes());
            header.extend((piece.len() as u32).to_le_bytes());
            header.extend([0; 4]);
            last = self.send(true, &pdu(0x06, &header, piece)).unwrap();
        }
        reply(&last)
    }

    fn read(&mut self, sector: u32, sectors: u32) -> Reply {
        let length = sectors as usize * SECTOR_BYTES;
        self.command(true, entry(0x02, 1, HOST, length, &[sector, 0, sectors - 1]), &[])
    }

    fn sanitize(&mut self, dword: u32) -> u16 {
        self.admin(0x84, 0, 0, &[dword]).status
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn lie(&mut self, lies: Lies) {
        self.device.subsystem.set_lies(lies);
    }
}

fn reply(mut bytes: &[u8]) -> Reply {
    let mut data = Vec::new();
    while bytes[0] == 0x07 {
        let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        data.extend(&bytes[24..length]);
        bytes = &bytes[length..];
    }
    assert_eq!((bytes[0], bytes.len()), (0x05, 24));
    let result = u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    let status = u16::from_le_bytes([bytes[22], bytes[23]]) >> 1 & 0x7ff;
    Reply { data, result, status }
}

fn host() -> Host {
    Host::new(Profile::solid_state("S1", SIZE_BYTES))
}

fn pattern() -> Vec<u8> {
    (0..4096_u32).map(|at| (at % 251) as u8).collect()
}

#[test]
fn it_says_what_it_is() {
    let mut host = host();
    let controller = host.admin(0x06, 0, 4096, &[1]).data;
    assert_eq!(&controller[4..24], b"S1                  ");
    assert_eq!(controller[328] & 0b111, 0b111, "SANICAP");
    assert_eq!(host.admin(0x06, 0, 4096, &[2]).data[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    let namespace = host.admin(0x06, 1, 4096, &[0]).data;
    assert_eq!(namespace[..8], (SIZE_BYTES / 512).to_le_bytes());
    assert_eq!(host.admin(0x06, 2, 4096, &[0]).status, 0x00b);
    assert_eq!(host.log(0x02)[3], 100, "available spare");
    let mut property = entry(0x7f, 0, 0, 0, &[1, 0]);
    property[4] = 4;
    assert_eq!(host.command(false, property, &[]).result & 0xffff, 127, "CAP");
}

#[test]
fn what_is_written_is_read_and_formatted_away() {
    for (erase, kept) in [(0, true), (1 << 9, false), (2 << 9, false)] {
        let mut host = host();
        assert_eq!(host.write(8, &pattern()).status, 0);
        assert_eq!(host.read(8, 8).data, pattern());
        assert_eq!(host.admin(0x80, 1, 0, &[erase]).status, 0);
        assert_eq!(host.read(8, 8).data == pattern(), kept, "secure erase setting {}", erase >> 9);
    }
}

#[test]
fn zeroes_and_deallocation_reach_the_medium() {
    let mut host = host();
    host.write(0, &pattern());
    assert_eq!(host.command(true, entry(0x08, 1, HOST, 0, &[1, 0, 0]), &[]).status, 0);
    assert_eq!(host.read(1, 1).data, [0; 512]);
    let mut range = vec![0; 16];
    range[4] = 2;
    range[8] = 4;
    assert_eq!(host.command(true, entry(0x09, 1, CAPSULE, 16, &[0, 0b100]), &range).status, 0);
    assert_eq!(host.read(4, 2).data, [0; 1024]);
    assert_eq!(host.read(6, 1).data, pattern()[3072..3584]);
    assert_eq!(host.read(2047, 2).status, 0x080, "beyond the end");
}

#[test]
fn a_sanitize_keeps_everything_away_until_it_is_done() {
    let mut host = host();
    host.write(0, &pattern());
    assert_eq!(host.sanitize_log(), (0xffff, 0));
    assert_eq!(host.sanitize(2), 0);
    host.pass(1);
    assert_eq!(host.read(0, 1).status, 0x01d);
    assert_eq!(host.admin(0x80, 1, 0, &[1 << 9]).status, 0x01d);
    assert_eq!(host.sanitize(2), 0x01d);
    let (progress, status) = host.sanitize_log();
    assert!((21_000..22_500).contains(&progress) && status == 2, "{progress} {status}");
    // A reset does not stop it.
    host.connect();
    host.pass(2);
    assert_eq!(host.sanitize_log(), (0xffff, 0x101));
    assert_eq!(host.read(0, 8).data, vec![0; 4096]);
    host.write(0, &pattern());
    assert_eq!(host.sanitize_log(), (0xffff, 0x001), "written since");
}

#[test]
fn each_lie_is_told() {
    let lie = |lies: Lies, dword: u32| {
        let mut host = host();
        host.write(0, &pattern());
        host.write(200, &pattern());
        host.lie(lies);
        let started = host.sanitize(dword);
        host.pass(4);
        let log = host.sanitize_log();
        (started, log, host.read(0, 8).data == pattern(), host.read(200, 8).data == pattern())
    };
    let erase = |erase| Lies { erase, ..Lies::default() };
    let progress = |progress| Lies { progress, ..Lies::default() };
    assert_eq!(lie(erase(EraseLie::Nothing), 4), (0, (0xffff, 0x101), true, true));
    assert_eq!(lie(erase(EraseLie::First(4096)), 2), (0, (0xffff, 0x101), false, true));
    assert_eq!(lie(erase(EraseLie::AllBut(1)), 2), (0, (0xffff, 0x101), true, true));
    assert_eq!(lie(progress(ProgressLie::StuckAt(655)), 2).1, (655, 2));
    assert_eq!(lie(progress(ProgressLie::FailsAt(64_880)), 2).1, (0xffff, 3));
    assert_eq!(lie(Lies { write_protected: true, ..Lies::default() }, 2).0, 0x020);
    assert_eq!(lie(Lies { firmware_pending: true, ..Lies::default() }, 2).0, 0x10b);
    assert_eq!(lie(Lies { firmware_hidden: true, ..Lies::default() }, 2).0, 0x10b);
    let claims = Lies { claims_erased: true, erase: EraseLie::Nothing, ..Lies::default() };
    assert_eq!(lie(claims, 2).1.1 & 0x100, 0x100);
}

#[test]
fn a_pending_firmware_is_said_unless_it_is_hidden() {
    let mut host = host();
    for (firmware_pending, firmware_hidden, says) in [(false, true, 0x01), (true, false, 0x21)] {
        host.lie(Lies { firmware_pending, firmware_hidden, ..Lies::default() });
        assert_eq!(host.log(0x03)[0], says);
    }
}

#[test]
fn lies_about_storing_reading_and_the_name() {
    let mut host = host();
    host.lie(Lies { drops_writes: true, unreadable: Some(8192..8193), ..Lies::default() });
    assert_eq!(host.write(0, &pattern()).status, 0);
    assert_eq!(host.read(0, 8).data, vec![0; 4096]);
    assert_eq!((host.read(16, 1).status, host.read(17, 1).status), (0x281, 0));
    host.lie(Lies { serial_after_reset: Some("S2".to_owned()), ..Lies::default() });
    assert_eq!(host.admin(0x06, 0, 4096, &[1]).data[4..6], *b"S1");
    host.connect();
    assert_eq!(host.admin(0x06, 0, 4096, &[1]).data[4..6], *b"S2");
    host.lie(Lies { disappears: true, ..Lies::default() });
    let format = pdu(0x04, &entry(0x80, 1, HOST, 0, &[1 << 9]), &[]);
    assert_eq!(host.send(false, &format), Err(Ended::Gone));
}

#[test]
fn who_connects_anew_ends_the_old_connections() {
    let mut host = host();
    let old = std::mem::take(&mut host.io);
    host.connect();
    host.io = old;
    let read = pdu(0x04, &entry(0x02, 1, HOST, 512, &[0, 0, 0]), &[]);
    assert_eq!(host.send(true, &read), Err(Ended::Replaced));
}

#[test]
fn hosts_that_break_the_rules_are_shown_out() {
    let data = |offset: u32, piece: &[u8]| {
        let mut header = vec![7, 0, 7, 0];
        header.extend(offset.to_le_bytes());
        header.extend((piece.len() as u32).to_le_bytes());
        header.extend([0; 4]);
        pdu(0x06, &header, piece)
    };
    let mut host = host();
    assert!(matches!(host.send(true, &data(0, &[1; 512])), Err(Ended::Protocol(_))), "not asked for");
    let write = pdu(0x04, &entry(0x01, 1, HOST, 1024, &[0, 0, 1]), &[]);
    host.send(true, &write).unwrap();
    assert!(matches!(host.send(true, &data(512, &[1; 512])), Err(Ended::Protocol(_))), "a hole");
    host.send(true, &write).unwrap();
    assert!(matches!(host.send(true, &data(0, &[1; 2048])), Err(Ended::Protocol(_))), "too much");
    let first = pdu(INITIALIZE, &[0; 120], &[]);
    assert!(matches!(host.send(false, &first), Err(Ended::Protocol(_))), "a second first word");
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Some(common) = bytes.first_chunk() {
            let _ = wire::pdu_bytes(common);
        }
        let _ = wire::parse(&bytes);
    }

    #[test]
    fn a_pdu_cut_short_is_refused(cut in 0_usize..88) {
        let whole = pdu(0x04, &entry(0x01, 1, CAPSULE, 16, &[0, 0, 0]), &[5; 16]);
        let is_command = matches!(wire::parse(&whole), Ok(Pdu::Command { .. }));
        prop_assert!(is_command);
        prop_assert!(wire::parse(&whole[..cut]).is_err());
    }

    #[test]
    fn any_command_gets_an_answer(
        bytes in proptest::collection::vec(any::<u8>(), 64),
        opcode in any::<u8>(),
        is_io in any::<bool>(),
        data in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut host = host();
        let mut entry = bytes;
        entry[0] = opcode;
        if let Ok(sent) = host.send(is_io, &pdu(0x04, &entry, &data)) {
            prop_assert!(sent.is_empty() || matches!(sent[0], 0x05 | 0x07 | 0x09));
        }
    }
}
