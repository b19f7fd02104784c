//! The ATA side of a disk: what comes by ATA PASS-THROUGH (16) (SAT-5, ACS-4; hidden areas ATA/ATAPI-7).

use std::time::Duration;

use super::lies::{AtaLies, ProgressLie};
use super::sanitize::{Action, Phase, Sanitize};
use super::wire::Answer;
use crate::nvme_tcp::medium::Fill;

/// Word 128, security: supported, a password is set, locked, frozen, no more tries, enhanced erase.
const SUPPORTED: u16 = 1;
const ENABLED: u16 = 1 << 1;
const LOCKED: u16 = 1 << 2;
const FROZEN: u16 = 1 << 3;
const EXPIRED: u16 = 1 << 4;
const ENHANCED: u16 = 1 << 5;
/// Wrong passwords that are listened to between two power cycles.
const TRIES: u8 = 5;

/// Status register of a command that is done, and of one that was aborted.
const GOOD: u8 = 0x50;
const FAILED: u8 = 0x51;
const ABORTED: u8 = 0x04;

/// The commands, by their numbers.
pub mod number {
    /// IDENTIFY DEVICE.
    pub const IDENTIFY: u8 = 0xec;
    /// READ NATIVE MAX ADDRESS EXT.
    pub const READ_NATIVE_MAX: u8 = 0x27;
    /// Accessible Max Address Configuration.
    pub const ACCESSIBLE_MAX: u8 = 0x78;
    /// DEVICE CONFIGURATION.
    pub const CONFIGURATION: u8 = 0xb1;
    /// SANITIZE DEVICE.
    pub const SANITIZE: u8 = 0xb4;
    /// SECURITY SET PASSWORD.
    pub const SET_PASSWORD: u8 = 0xf1;
    /// SECURITY UNLOCK.
    pub const UNLOCK: u8 = 0xf2;
    /// SECURITY ERASE PREPARE.
    pub const ERASE_PREPARE: u8 = 0xf3;
    /// SECURITY ERASE UNIT.
    pub const ERASE_UNIT: u8 = 0xf4;
    /// SECURITY FREEZE LOCK.
    pub const FREEZE_LOCK: u8 = 0xf5;
    /// SECURITY DISABLE PASSWORD.
    pub const DISABLE_PASSWORD: u8 = 0xf6;
}

/// What an ATA disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtaProfile {
    /// Word 59: bit 12 sanitize, 13 crypto scramble, 14 overwrite, 15 block erase.
    pub sanitizes: u16,
    /// It has the security feature set, with an enhanced erase.
    pub security: bool,
    /// Sectors behind a host-protected area, if there is one.
    pub protected_sectors: Option<u64>,
    /// Sectors above the accessible maximum, if it can be set.
    pub inaccessible_sectors: Option<u64>,
    /// The number of sectors that a configuration overlay names, if there is one.
    pub overlay_sectors: Option<u64>,
}

impl AtaProfile {
    /// Every sanitize, security with an enhanced erase, and nothing hidden.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            sanitizes: 0xf000,
            security: true,
            protected_sectors: None,
            inaccessible_sectors: None,
            overlay_sectors: None,
        }
    }
}

/// Registers as a command leaves them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Registers {
    error: u8,
    count: u16,
    lba: u64,
    status: u8,
}

impl Registers {
    const DONE: Self = Self { error: 0, count: 0, lba: 0, status: GOOD };
    const ABORTED: Self = Self { error: ABORTED, count: 0, lba: 0, status: FAILED };

    /// As sense data, descriptor format with an ATA Status Return descriptor (SAT-5).
    fn sense(self, extended: bool) -> Vec<u8> {
        let (key, qualifier) = if self.status == GOOD { (0x01, 0x1d) } else { (0x0b, 0x00) };
        let mut sense = vec![0x72, key, 0, qualifier, 0, 0, 0, 14, 0x09, 12];
        let [count_high, count_low] = self.count.to_be_bytes();
        let [lba0, lba1, lba2, lba3, lba4, lba5, ..] = self.lba.to_le_bytes();
        sense.extend([u8::from(extended), self.error, count_high, count_low]);
        sense.extend([lba3, lba0, lba4, lba1, lba5, lba2, 0x40, self.status]);
        sense
    }
}

/// The ATA side.
#[derive(Debug, Clone)]
pub struct Ata {
    profile: AtaProfile,
    sectors: u64,
    serial: String,
    security: u16,
    password: [u8; 32],
    tries: u8,
    prepared: bool,
    sanitize: Sanitize,
    sanitize_frozen: bool,
    sanitized_well: bool,
    /// Commands that came, by their numbers.
    commands: Vec<u8>,
    /// What is to be erased now.
    erase: Option<Fill>,
}

impl Ata {
    /// As from the factory.
    #[must_use]
    pub fn new(profile: AtaProfile, size_bytes: u64, serial: &str) -> Self {
        Self {
            security: if profile.security { SUPPORTED | ENHANCED } else { 0 },
            profile,
            sectors: size_bytes / 512,
            serial: serial.to_owned(),
            password: [0; 32],
            tries: TRIES,
            prepared: false,
            sanitize: Sanitize::new(),
            sanitize_frozen: false,
            sanitized_well: false,
            commands: Vec::new(),
            erase: None,
        }
    }

    /// Whether it refuses to be read and written.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.security & LOCKED != 0
    }

    /// Whether a password is set.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.security & ENABLED != 0
    }

    /// The commands that came since this was last asked, by their numbers.
    pub fn take_commands(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.commands)
    }

    /// Somebody sets a password, as a program on another machine would have.
    pub fn set_password(&mut self, password: &[u8]) {
        self.password = [0; 32];
        for (to, from) in self.password.iter_mut().zip(password) {
            *to = *from;
        }
        self.security |= ENABLED;
    }

    /// Firmware freezes its security, as most do at every start.
    pub fn freeze(&mut self) {
        self.security |= FROZEN;
    }

    /// Somebody freezes its sanitize commands until the next power cycle.
    pub fn freeze_sanitize(&mut self) {
        self.sanitize_frozen = true;
    }

    /// Its power goes or comes: a disk with a password is locked then, and nothing is frozen.
    pub fn power(&mut self, powered: bool) {
        self.sanitize.power(powered);
        self.prepared = false;
        self.sanitize_frozen = false;
        self.tries = TRIES;
        self.security &= !(FROZEN | EXPIRED | LOCKED);
        if self.has_password() {
            self.security |= LOCKED;
        }
    }

    /// Time has passed. What is to be erased by what ended well just now.
    pub fn advance(&mut self, now: Duration, lie: ProgressLie) -> Option<Fill> {
        let action = self.sanitize.advance(now, lie)?;
        self.sanitized_well = true;
        Some(match action {
            Action::Overwrite(byte) => Fill::Byte(byte),
            Action::Block => Fill::Byte(0xff),
            Action::Crypto => Fill::Noise(now.as_millis() as u64),
        })
    }

    /// What the last command wants erased at once.
    pub fn take_erase(&mut self) -> Option<Fill> {
        self.erase.take()
    }

    /// A command.
    pub fn execute(
        &mut self,
        block: &[u8; 16],
        data: &[u8],
        lies: &AtaLies,
        progress: ProgressLie,
    ) -> Answer {
        let command = block[14];
        self.commands.push(command);
        let is_out = (block[1] >> 1) & 0xf == 5;
        let mut content = Vec::new();
        let registers = match command {
            _ if lies.aborts.contains(&command) => Registers::ABORTED,
            _ if lies.swallows_data && is_out => Registers::DONE,
            number::IDENTIFY | number::CONFIGURATION => {
                content = if command == number::IDENTIFY { self.identify() } else { self.overlay() };
                if content.is_empty() { Registers::ABORTED } else { Registers::DONE }
            }
            _ => self.without_content(command, block, data, lies, progress).unwrap_or(Registers::ABORTED),
        };
        let wants_registers = block[2] & 0x20 != 0;
        if lies.no_registers || registers.status == GOOD && !wants_registers {
            return Answer::good(content);
        }
        Answer { status: 2, sense: registers.sense(block[1] & 1 != 0), data: content }
    }

    /// None is an abort.
    fn without_content(
        &mut self,
        command: u8,
        block: &[u8; 16],
        data: &[u8],
        lies: &AtaLies,
        progress: ProgressLie,
    ) -> Option<Registers> {
        let prepared = std::mem::replace(&mut self.prepared, command == number::ERASE_PREPARE);
        let done = Some(Registers::DONE);
        let frozen = self.security & (FROZEN | SUPPORTED) != SUPPORTED;
        let native = |hidden: Option<u64>| {
            hidden.map(|hidden| Registers { lba: self.sectors + hidden - 1, ..Registers::DONE })
        };
        match command {
            number::READ_NATIVE_MAX => native(self.profile.protected_sectors),
            number::ACCESSIBLE_MAX if block[4] == 0 => native(self.profile.inaccessible_sectors),
            number::SANITIZE => Some(self.sanitize(block, progress)),
            number::SET_PASSWORD..=number::DISABLE_PASSWORD if frozen => None,
            number::ERASE_PREPARE => done,
            number::FREEZE_LOCK => {
                self.freeze();
                done
            }
            number::SET_PASSWORD if self.is_locked() => None,
            number::SET_PASSWORD => {
                if !lies.takes_no_password {
                    self.password = *data.get(2..)?.first_chunk()?;
                    self.security |= ENABLED;
                }
                done
            }
            number::UNLOCK => {
                self.check_password(data)?;
                self.security &= !LOCKED;
                done
            }
            number::DISABLE_PASSWORD if self.is_locked() => None,
            number::DISABLE_PASSWORD => {
                self.check_password(data)?;
                self.security &= !ENABLED;
                done
            }
            number::ERASE_UNIT if prepared && self.has_password() => {
                self.check_password(data)?;
                self.erase = Some(Fill::Byte(if data[0] & 0b10 != 0 { 0xff } else { 0 }));
                if !lies.keeps_password {
                    self.security &= !(ENABLED | LOCKED);
                }
                done
            }
            _ => None,
        }
    }

    /// None where it is wrong; after five of those, until the power comes anew, even where it is right.
    fn check_password(&mut self, data: &[u8]) -> Option<()> {
        if self.security & EXPIRED != 0 {
            return None;
        }
        if data.get(2..34)? == self.password {
            return Some(());
        }
        self.tries = self.tries.saturating_sub(1);
        if self.tries == 0 {
            self.security |= EXPIRED;
        }
        None
    }

    fn sanitize(&mut self, block: &[u8; 16], lie: ProgressLie) -> Registers {
        let feature = u16::from_be_bytes([block[3], block[4]]);
        // The bytes of the LBA, from its lowest.
        let lba = [block[8], block[10], block[12], block[7], block[9], block[11]];
        let key = [lba[3], lba[2], lba[1], lba[0]];
        let (bit, action) = match feature {
            0x0000 => return self.sanitize_status(lie),
            0x0011 if key == *b"Cryp" => (13, Action::Crypto),
            0x0012 if key == *b"BkEr" => (15, Action::Block),
            // The key is in the two highest bytes, the pattern in the others; one pass.
            0x0014 if [lba[5], lba[4]] == *b"OW" && block[6] & 0xf == 1 => (14, Action::Overwrite(lba[0])),
            0x0020 if key == *b"FrLk" => {
                self.sanitize_frozen = true;
                return Registers::DONE;
            }
            _ => return Registers::ABORTED,
        };
        if self.sanitize_frozen {
            return Registers { lba: 3, ..Registers::ABORTED };
        }
        let allowed = self.profile.sanitizes & (1 << bit) != 0;
        let restricted = block[6] & 0x10 == 0;
        if !allowed || self.sanitize.start(action, restricted, lie).is_err() {
            return Registers::ABORTED;
        }
        self.sanitized_well = false;
        Registers::DONE
    }

    fn sanitize_status(&self, lie: ProgressLie) -> Registers {
        let frozen = u16::from(self.sanitize_frozen) << 13;
        match self.sanitize.phase() {
            _ if self.profile.sanitizes == 0 => Registers::ABORTED,
            // The reason of an abort: the last operation failed.
            Phase::Failed { .. } => Registers { lba: 1, ..Registers::ABORTED },
            Phase::Running { .. } => {
                let lba = self.sanitize.progress_65536(lie).into();
                Registers { count: frozen | 1 << 14, lba, ..Registers::DONE }
            }
            Phase::Idle => {
                let count = frozen | u16::from(self.sanitized_well) << 15;
                Registers { count, lba: 0xffff, ..Registers::DONE }
            }
        }
    }

    fn identify(&self) -> Vec<u8> {
        let mut words = [0_u16; 256];
        let [low, high] = [self.sectors as u16, (self.sectors >> 16) as u16];
        let has = |there: bool, bit: u32| u16::from(there) << bit;
        // ATA strings have their bytes swapped in pairs.
        for (word, pair) in words[10..20].iter_mut().zip(format!("{:<20}", self.serial).as_bytes().chunks(2))
        {
            *word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&b' ')]);
        }
        words[27..47].fill(u16::from_be_bytes(*b"AT"));
        words[0] = 0x0040;
        words[49] = 0x0300;
        words[59] = self.profile.sanitizes;
        (words[60], words[61]) = (low, high);
        words[82] = has(self.profile.security, 1) | has(self.profile.protected_sectors.is_some(), 10);
        words[83] = 0x4400 | has(self.profile.overlay_sectors.is_some(), 11);
        words[85] = has(self.has_password(), 1);
        // Two and four minutes.
        (words[89], words[90]) = (1, 2);
        (words[100], words[101]) = (low, high);
        words[119] = 0x4000 | has(self.profile.inaccessible_sectors.is_some(), 8);
        words[128] = self.security;
        words[217] = 1;
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        checksum(&mut bytes);
        bytes
    }

    fn overlay(&self) -> Vec<u8> {
        let Some(sectors) = self.profile.overlay_sectors else { return Vec::new() };
        let mut bytes = vec![0; 512];
        bytes[6..14].copy_from_slice(&sectors.saturating_sub(1).to_le_bytes());
        checksum(&mut bytes);
        bytes
    }
}

/// The last byte makes the sum of all of them zero.
fn checksum(bytes: &mut [u8]) {
    bytes[510] = 0xa5;
    bytes[511] = 0;
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[511] = sum.wrapping_neg();
}
