//! The disk: what each command does.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ata::{Ata, AtaProfile};
use super::command::{Blocks, Command, parse};
use super::describe::{self, BLOCK_BYTES};
use super::lies::{EraseLie, Lies};
use super::sanitize::{self, Action, Phase, Sanitize};
use super::sense::Sense;
use super::wire::Answer;
use crate::nvme_tcp::medium::{Fill, Medium};

/// Service actions of SANITIZE.
pub const OVERWRITE: u8 = 0x01;
/// Block erase.
pub const BLOCK_ERASE: u8 = 0x02;
/// Cryptographic erase.
pub const CRYPTOGRAPHIC_ERASE: u8 = 0x03;
/// Exit failure mode.
const EXIT_FAILURE: u8 = 0x1f;

/// What a disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Vendor, up to 8 letters.
    pub vendor: &'static str,
    /// Product, up to 16 letters.
    pub product: &'static str,
    /// Serial number.
    pub serial: String,
    /// Its NAA name.
    pub world_wide_name: u64,
    /// Size in bytes, a multiple of 64 KiB.
    pub size_bytes: u64,
    /// 1 is no rotation, more are turns a minute.
    pub rotation: u16,
    /// The service actions of SANITIZE that it has.
    pub sanitizes: Vec<u8>,
    /// The most blocks of one WRITE SAME; 0 if it has none.
    pub write_same_blocks_max: u64,
    /// It says how large it is and which commands it has whatever its sanitize does. It may refuse.
    pub talkative: bool,
    /// It is an ATA disk behind a translator.
    pub ata: Option<AtaProfile>,
}

impl Profile {
    /// A solid-state disk with these service actions of SANITIZE.
    #[must_use]
    pub fn solid_state(size_bytes: u64, sanitizes: &[u8]) -> Self {
        Self {
            vendor: "FAKE",
            product: "TCMU DISK",
            serial: "TCMU0001".to_owned(),
            world_wide_name: 0x5001_4050_0000_0001,
            size_bytes,
            rotation: 1,
            sanitizes: sanitizes.to_vec(),
            write_same_blocks_max: 0,
            talkative: false,
            ata: None,
        }
    }

    /// An ATA disk behind a translator that has no SANITIZE of its own.
    #[must_use]
    pub fn ata(size_bytes: u64, ata: AtaProfile) -> Self {
        Self { vendor: "ATA", ata: Some(ata), ..Self::solid_state(size_bytes, &[]) }
    }

    /// The same disk, but it turns.
    #[must_use]
    pub fn magnetic(size_bytes: u64, sanitizes: &[u8]) -> Self {
        Self { rotation: 7200, ..Self::solid_state(size_bytes, sanitizes) }
    }
}

/// What it was told so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Sanitizes that began.
    pub sanitizes: u32,
    /// FORMAT UNIT.
    pub formats: u32,
    /// WRITE SAME.
    pub write_sames: u32,
    /// Bytes of the writes.
    pub written_bytes: u64,
}

/// The disk.
#[derive(Debug, Clone)]
pub struct Disk {
    profile: Profile,
    medium: Medium,
    sanitize: Sanitize,
    lies: Lies,
    counters: Counters,
    ata: Option<Ata>,
    attention: Option<Sense>,
    broken: bool,
    /// Blocks written since the power came, for a disk that answers from its cache.
    cache: BTreeMap<u64, Vec<u8>>,
}

impl Disk {
    /// A blank disk.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            medium: Medium::blank(profile.size_bytes),
            ata: profile.ata.clone().map(|ata| Ata::new(ata, profile.size_bytes, &profile.serial)),
            profile,
            sanitize: Sanitize::new(),
            lies: Lies::default(),
            counters: Counters::default(),
            attention: None,
            broken: false,
            cache: BTreeMap::new(),
        }
    }

    /// What it stores.
    pub fn medium(&mut self) -> &mut Medium {
        &mut self.medium
    }

    /// Its ATA side, if it has one.
    pub fn ata(&mut self) -> Option<&mut Ata> {
        self.ata.as_mut()
    }

    /// What it was told so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Where its sanitize is.
    pub fn sanitize_phase(&mut self, now: Duration) -> Phase {
        self.advance(now);
        self.sanitize.phase()
    }

    /// How it lies from now on.
    pub fn set_lies(&mut self, lies: Lies) {
        self.lies = lies;
    }

    /// Its power goes or comes.
    pub fn power(&mut self, now: Duration, powered: bool) {
        self.advance(now);
        self.sanitize.power(powered);
        if let Some(ata) = &mut self.ata {
            ata.power(powered);
        }
        self.cache.clear();
        self.broken = false;
    }

    /// A host begins to speak to it: it says first that it was switched on.
    pub fn connect(&mut self) {
        self.attention = Some(Sense::POWERED_ON);
    }

    /// A command and the data that go with it to the disk.
    pub fn execute(&mut self, now: Duration, block: &[u8], data: &[u8]) -> Answer {
        self.advance(now);
        let answer = match parse(block) {
            _ if self.broken => Err(Sense::BROKEN),
            Some(Command::AtaPassThrough(block)) if self.ata.is_some() => {
                return self.pass_through(&block, data);
            }
            Some(command) => self.answer(command, data),
            None => Err(Sense::UNKNOWN_COMMAND),
        };
        answer.map_or_else(Sense::refusal, Answer::good)
    }

    fn advance(&mut self, now: Duration) {
        if let Some(action) = self.sanitize.advance(now, self.lies.progress) {
            let fill = match action {
                Action::Overwrite(byte) => Fill::Byte(byte),
                Action::Block => Fill::Byte(0xff),
                Action::Crypto => Fill::Noise(self.counters.sanitizes.into()),
            };
            self.erase(fill);
        }
        let ata_erase = self.ata.as_mut().and_then(|ata| ata.advance(now, self.lies.progress));
        if let Some(fill) = ata_erase {
            self.erase(fill);
        }
        if self.lies.leaves_failure {
            self.sanitize.forget_failure();
        }
    }

    fn erase(&mut self, fill: Fill) {
        match self.lies.erase {
            EraseLie::Honest => self.medium.erase_first(u64::MAX, fill),
            EraseLie::First(bytes) => self.medium.erase_first(bytes, fill),
            EraseLie::Nothing | EraseLie::AllBut(_) => {}
        }
        if !self.lies.stale_cache {
            self.cache.clear();
        }
    }

    fn pass_through(&mut self, block: &[u8; 16], data: &[u8]) -> Answer {
        if self.lies.ata.power_fails_at == Some(block[14]) {
            self.broken = true;
        }
        let Some(ata) = self.ata.as_mut().filter(|_| !self.broken) else { return Sense::BROKEN.refusal() };
        let answer = ata.execute(block, data, &self.lies.ata, self.lies.progress);
        if let Some(fill) = ata.take_erase() {
            self.erase(fill);
        }
        answer
    }

    fn answer(&mut self, command: Command, data: &[u8]) -> Result<Vec<u8>, Sense> {
        match command {
            Command::Inquiry { page: None } => return Ok(describe::inquiry(&self.profile)),
            Command::Inquiry { page: Some(page) } => {
                return describe::vital_product_data(&self.profile, page).ok_or(Sense::BAD_FIELD);
            }
            Command::RequestSense => return Ok(self.request_sense().bytes()),
            _ => {}
        }
        if let Some(attention) = self.attention.take() {
            return Err(attention);
        }
        if let Command::Sanitize { action, unrestricted, list_bytes, .. } = command {
            return self.start_sanitize(action, !unrestricted, list_bytes, data).map(|()| Vec::new());
        }
        let asks = matches!(
            command,
            Command::ReadCapacity10
                | Command::ReadCapacity16
                | Command::ModeSense { .. }
                | Command::ReportOpcodes { .. }
        );
        match self.sanitize.phase() {
            Phase::Idle => self.work(command, data),
            _ if asks && self.profile.talkative => self.work(command, data),
            Phase::Running { .. } => Err(Sense::sanitizing(self.sanitize.progress_65536(self.lies.progress))),
            Phase::Failed { .. } => Err(Sense::SANITIZE_FAILED),
        }
    }

    /// A disk says while it sanitizes how far it is; that one failed it says only to other commands.
    fn request_sense(&mut self) -> Sense {
        match (self.attention.take(), self.sanitize.phase()) {
            (Some(attention), _) => attention,
            (None, Phase::Running { .. }) => {
                Sense::sanitizing(self.sanitize.progress_65536(self.lies.progress))
            }
            (None, Phase::Idle | Phase::Failed { .. }) => Sense::NONE,
        }
    }

    fn start_sanitize(
        &mut self,
        action: u8,
        restricted: bool,
        list_bytes: u16,
        list: &[u8],
    ) -> Result<(), Sense> {
        let lie = self.lies.progress;
        if self.lies.knows_no_sanitize {
            return Err(Sense::UNKNOWN_COMMAND);
        }
        if action == EXIT_FAILURE {
            return self.sanitize.exit_failure(lie);
        }
        if !self.profile.sanitizes.contains(&action) {
            return Err(Sense::BAD_FIELD);
        }
        if self.lies.write_protected {
            return Err(Sense::WRITE_PROTECTED);
        }
        let action = match action {
            OVERWRITE => Action::Overwrite(sanitize::overwrite_pattern(list_bytes, list)?),
            BLOCK_ERASE if list_bytes == 0 => Action::Block,
            CRYPTOGRAPHIC_ERASE if list_bytes == 0 => Action::Crypto,
            _ => return Err(Sense::BAD_FIELD),
        };
        self.sanitize.start(action, restricted, lie)?;
        self.counters.sanitizes += 1;
        self.broken = self.lies.breaks_down;
        Ok(())
    }

    fn work(&mut self, command: Command, data: &[u8]) -> Result<Vec<u8>, Sense> {
        let locked = self.ata.as_ref().is_some_and(Ata::is_locked);
        match command {
            Command::Read(_) | Command::Write(_) if locked => Err(Sense::LOCKED),
            Command::ReadCapacity10 => Ok(describe::capacity_10(self.profile.size_bytes)),
            Command::ReadCapacity16 => Ok(describe::capacity_16(self.profile.size_bytes)),
            Command::ModeSense { ten, page } => describe::mode_sense(ten, page).ok_or(Sense::BAD_FIELD),
            Command::ReportOpcodes { options, operation, action } => {
                describe::operation(&self.profile, options, operation, action).ok_or(Sense::BAD_FIELD)
            }
            Command::Read(blocks) => self.read(blocks),
            Command::Write(blocks) => {
                let (offset, length) = self.place(blocks)?;
                let data = data.get(..length).ok_or(Sense::BAD_FIELD)?;
                self.write(offset, data)?;
                Ok(Vec::new())
            }
            Command::WriteSame { blocks, no_data } => self.write_same(blocks, no_data, data),
            Command::FormatUnit => {
                self.counters.formats += 1;
                self.erase(Fill::Byte(0));
                Ok(Vec::new())
            }
            Command::TestUnitReady | Command::Nothing => Ok(Vec::new()),
            Command::Inquiry { .. } | Command::RequestSense | Command::Sanitize { .. } => {
                Err(Sense::BAD_FIELD)
            }
            Command::AtaPassThrough(_) => Err(Sense::UNKNOWN_COMMAND),
        }
    }

    /// Offset and length in bytes.
    fn place(&self, blocks: Blocks) -> Result<(u64, usize), Sense> {
        let offset = blocks.first.checked_mul(BLOCK_BYTES).ok_or(Sense::OUT_OF_RANGE)?;
        let length = blocks.count.checked_mul(BLOCK_BYTES).ok_or(Sense::OUT_OF_RANGE)?;
        if !self.medium.has(offset, length) {
            return Err(Sense::OUT_OF_RANGE);
        }
        usize::try_from(length).map(|length| (offset, length)).map_err(|_| Sense::OUT_OF_RANGE)
    }

    fn read(&self, blocks: Blocks) -> Result<Vec<u8>, Sense> {
        let (offset, length) = self.place(blocks)?;
        let end = offset + length as u64;
        if self.lies.unreadable.as_ref().is_some_and(|bad| bad.start < end && offset < bad.end) {
            return Err(Sense::UNREADABLE);
        }
        let mut bytes = self.medium.read(offset, length);
        for (place, number) in bytes.chunks_mut(BLOCK_BYTES as usize).zip(blocks.first..) {
            if let Some(cached) = self.cache.get(&number) {
                place.copy_from_slice(cached);
            }
        }
        Ok(bytes)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Sense> {
        if self.lies.write_protected {
            return Err(Sense::WRITE_PROTECTED);
        }
        self.counters.written_bytes += bytes.len() as u64;
        if self.lies.stale_cache {
            let numbers = offset / BLOCK_BYTES..;
            let blocks = bytes.chunks_exact(BLOCK_BYTES as usize).map(<[u8]>::to_vec);
            self.cache.extend(numbers.zip(blocks));
        }
        if !self.lies.drops_writes {
            self.medium.write(offset, bytes);
        }
        Ok(())
    }

    fn write_same(&mut self, blocks: Blocks, no_data: bool, data: &[u8]) -> Result<Vec<u8>, Sense> {
        if blocks.count > self.profile.write_same_blocks_max {
            return Err(Sense::BAD_FIELD);
        }
        let (offset, length) = self.place(blocks)?;
        let block = if no_data { &[0; BLOCK_BYTES as usize][..] } else { data };
        if block.len() != BLOCK_BYTES as usize {
            return Err(Sense::BAD_FIELD);
        }
        self.counters.write_sames += 1;
        if self.lies.erase != EraseLie::Nothing {
            self.write(offset, &block.repeat(length / block.len()))?;
        }
        Ok(Vec::new())
    }
}
