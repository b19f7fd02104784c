//! An ATA disk in memory behind a translator, as far as probing and erasing ask it anything. It takes
//! CDBs and answers with sense data, so that everything above the ioctl is the real thing.

use std::cell::{Cell, RefCell};
use std::io;

use super::fake_scsi::discovery_answer;
use super::scsi_generic::{Answer, Data, ScsiPort};

/// Registers as a fake answers: error, count, LBA, status.
pub type Returned = (u8, u16, u64, u8);

const GOOD: u8 = 0x50;
const ERROR: u8 = 0x51;
const ABORTED: u8 = 0x04;

/// The disk.
pub struct FakeAta {
    /// Word 59.
    pub sanitize_word: u16,
    /// Word 48.
    pub trusted_word: u16,
    /// The answer to Level 0 Discovery, if the translator knows the question.
    pub discovery: Option<Vec<u8>>,
    /// The answer to SMART READ DATA; none of it is a disk without SMART.
    pub smart_data: Vec<u8>,
    /// The answer to SMART READ LOG.
    pub self_test_log: Vec<u8>,
    /// Word 128: bit 0 supported, 1 enabled, 2 locked, 3 frozen, 4 expired, 5 enhanced erase.
    pub security: Cell<u16>,
    /// The password that is set.
    pub password: Cell<[u8; 32]>,
    /// What SANITIZE STATUS EXT returns.
    pub sanitize_registers: Cell<Returned>,
    /// A host-protected area, if there is one: the native number of sectors.
    pub native_sectors: Option<u64>,
    /// A configuration overlay, if there is one: the number of sectors in it.
    pub overlay_sectors: Option<u64>,
    /// Commands that it aborts.
    pub aborts: Vec<u8>,
    /// A translator that says "good" to everything and gives no registers back.
    pub good_without_registers: bool,
    /// A translator that says "good" to everything with data and passes on IDENTIFY DEVICE alone.
    pub swallows_data: bool,
    /// The power fails when this command arrives, before it does anything.
    pub power_fails_at: Cell<Option<u8>>,
    /// Says that the erase is done and keeps its password.
    pub keeps_password: bool,
    /// The commands that came.
    pub commands: RefCell<Vec<u8>>,
    /// Feature and sectors of the commands that erase.
    pub erased: RefCell<Vec<(u8, u16, u8)>>,
    prepared: Cell<bool>,
    powered: Cell<bool>,
}

impl FakeAta {
    /// How many sectors it shows.
    pub const SECTORS: u64 = 2000;
    /// Registers of a disk whose sanitize commands are frozen.
    pub const SANITIZE_FROZEN: Returned = (0, 0x2000, 0, GOOD);
    /// Registers of one that is at it.
    pub const SANITIZE_RUNNING: Returned = (0, 0x4000, 0x8000, GOOD);
    /// Registers of one that is done.
    pub const SANITIZE_DONE: Returned = (0, 0x8000, 0xffff, GOOD);

    /// Like QEMU's: neither sanitize nor security nor hidden areas.
    pub fn plain() -> Self {
        Self {
            sanitize_word: 0,
            trusted_word: 0,
            discovery: None,
            smart_data: Vec::new(),
            self_test_log: Vec::new(),
            security: Cell::new(0),
            password: Cell::new([0; 32]),
            sanitize_registers: Cell::new((0, 0, 0, GOOD)),
            native_sectors: None,
            overlay_sectors: None,
            aborts: Vec::new(),
            good_without_registers: false,
            swallows_data: false,
            power_fails_at: Cell::new(None),
            keeps_password: false,
            commands: RefCell::default(),
            erased: RefCell::default(),
            prepared: Cell::new(false),
            powered: Cell::new(true),
        }
    }

    /// With security and enhanced erase, and nothing set.
    pub fn with_security() -> Self {
        let fake = Self::plain();
        fake.security.set(0b10_0001);
        fake
    }

    /// Switches it off and on: a disk with a password is locked then.
    pub fn power_cycle(&self) {
        self.powered.set(true);
        self.power_fails_at.set(None);
        self.prepared.set(false);
        let word = self.security.get() & !0b1_1100;
        self.security.set(if word & 0b10 != 0 { word | 0b100 } else { word });
    }

    fn identify_data(&self) -> Vec<u8> {
        let mut data = vec![0_u8; 512];
        let sectors = Self::SECTORS as u16;
        let words = [
            (48, self.trusted_word),
            (59, self.sanitize_word),
            (60, sectors),
            (82, if self.native_sectors.is_some() { 1 << 10 } else { 0 }),
            (83, if self.overlay_sectors.is_some() { 0x4c00 } else { 0x4400 }),
            (100, sectors),
            (128, self.security.get()),
        ];
        for (number, word) in words {
            data[2 * number..2 * number + 2].copy_from_slice(&u16::to_le_bytes(word));
        }
        data
    }

    fn overlay_data(&self) -> Vec<u8> {
        let mut data = vec![0_u8; 512];
        data[6..14].copy_from_slice(&self.overlay_sectors.unwrap_or(1).saturating_sub(1).to_le_bytes());
        data
    }

    fn smart(&self, feature: u16) -> &[u8] {
        match feature {
            0xd0 => &self.smart_data,
            0xd5 => &self.self_test_log,
            _ => &[],
        }
    }

    fn set_security(&self, set: u16, clear: u16) {
        self.security.set((self.security.get() | set) & !clear);
    }

    /// What a command does; none is an abort.
    fn execute(&self, command: u8, feature: u16, sector: &[u8]) -> Option<Returned> {
        let good = Some((0, 0, 0, GOOD));
        let security = self.security.get();
        let (enabled, locked, frozen) = (security & 0b10 != 0, security & 0b100 != 0, security & 0b1000 != 0);
        let matches = sector.get(2..34).is_some_and(|given| given == self.password.get());
        let prepared = self.prepared.replace(command == 0xf3);
        match command {
            0xec | 0xb1 => good,
            0xb0 => (self.smart(feature).len() == 512).then_some((0, 0, 0, GOOD)),
            0x27 => self.native_sectors.map(|sectors| (0, 0, sectors - 1, GOOD)),
            0xb4 if feature == 0 => Some(self.sanitize_registers.get()),
            0xb4 if self.sanitize_word & 0x1000 == 0 || self.sanitize_registers.get().1 & 0x2000 != 0 => None,
            0xb4 => {
                self.erased.borrow_mut().push((command, feature, 0));
                self.sanitize_registers.set(Self::SANITIZE_RUNNING);
                good
            }
            0xf1..=0xf6 if security & 1 == 0 || frozen => None,
            0xf1 if locked => None,
            0xf1 => {
                self.password.set(sector.get(2..34)?.try_into().ok()?);
                self.set_security(0b10, 0);
                good
            }
            0xf2 | 0xf6 if !enabled || !matches || command == 0xf6 && locked => None,
            0xf2 => {
                self.set_security(0, 0b100);
                good
            }
            0xf6 => {
                self.set_security(0, 0b110);
                good
            }
            0xf3 => good,
            0xf4 if prepared && enabled && matches => {
                self.erased.borrow_mut().push((command, 0, sector[0]));
                if !self.keeps_password {
                    self.set_security(0, 0b110);
                }
                good
            }
            _ => None,
        }
    }
}

impl ScsiPort for FakeAta {
    fn send(&self, block: &[u8], data: Data<'_>, _timeout_millis: u32) -> io::Result<Answer> {
        if block[0] == erasure::opal::SECURITY_PROTOCOL_IN {
            return Ok(discovery_answer(self.discovery.as_deref(), (5, 0x20, 0), data));
        }
        let command = block[14];
        if self.power_fails_at.get() == Some(command) {
            self.powered.set(false);
        }
        if !self.powered.get() {
            return Err(io::Error::other("the disk has no power"));
        }
        self.commands.borrow_mut().push(command);
        let feature = u16::from_be_bytes([block[3], block[4]]);
        let sector = if let Data::Out(sector) = &data { sector.to_vec() } else { Vec::new() };
        let returned = match &data {
            _ if self.aborts.contains(&command) => None,
            Data::Out(_) if self.swallows_data => Some((0, 0, 0, GOOD)),
            _ => self.execute(command, feature, &sector),
        };
        let mut moved_bytes = sector.len();
        if let (Data::In(buffer), Some(_)) = (data, returned) {
            buffer.copy_from_slice(&match command {
                0xec => self.identify_data(),
                0xb0 => self.smart(feature).to_vec(),
                _ => self.overlay_data(),
            });
            moved_bytes = buffer.len();
        }
        // Without CK_COND there is sense only with an error.
        let silent = block[2] & 0x20 == 0 && returned.is_some();
        if self.good_without_registers || silent {
            return Ok(Answer { status: 0, sense: Vec::new(), moved_bytes });
        }
        let (error, count, lba, status) = returned.unwrap_or((ABORTED, 0, 0, ERROR));
        let [lba0, lba1, lba2, lba3, lba4, lba5, ..] = lba.to_le_bytes();
        let [count_high, count_low] = count.to_be_bytes();
        let extended = block[1] & 1;
        let mut sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 14, 0x09, 12, extended, error, count_high, count_low];
        sense.extend([lba3, lba0, lba4, lba1, lba5, lba2, 0x40, status]);
        Ok(Answer { status: 2, sense, moved_bytes })
    }
}
