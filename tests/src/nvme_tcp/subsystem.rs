//! The device behind the wire: admin and I/O commands, what is stored, and the lies.

mod io;

use std::time::Duration;

use super::command::{Answer, Command, Status};
use super::identify::{self, Profile};
use super::lies::{EraseLie, Lies};
use super::medium::{Fill, Medium};
use super::sanitize::{Action, Phase, Sanitize};
use super::wire::DATA_BYTES_MAX;

const NAMESPACE_ALL: u32 = u32::MAX;

/// Commands that have come, for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Sanitize commands, exit-failure included.
    pub sanitizes: u32,
    /// Formats.
    pub formats: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written, zeroed and deallocated.
    pub written_bytes: u64,
    /// Resets: controllers made.
    pub resets: u32,
}

/// A device. Time is what has passed since it was made.
#[derive(Debug)]
pub struct Subsystem {
    profile: Profile,
    serial: String,
    lies: Lies,
    media: Vec<Medium>,
    sanitize: Sanitize,
    written_since: bool,
    key: u64,
    gone: bool,
    counters: Counters,
}

impl Subsystem {
    /// A blank and honest device.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            serial: profile.serial.clone(),
            lies: Lies::default(),
            media: profile.namespaces.iter().map(|bytes| Medium::blank(*bytes)).collect(),
            sanitize: Sanitize::new(profile.takes),
            written_since: false,
            key: 0,
            gone: false,
            counters: Counters::default(),
            profile,
        }
    }

    /// What it is.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Changes what it does wrong from now on.
    pub fn set_lies(&mut self, lies: Lies) {
        self.lies = lies;
    }

    /// What has come so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// A namespace's medium, behind the device's back; none if there is no such namespace.
    pub fn medium(&mut self, namespace: u32) -> Option<&mut Medium> {
        self.media.get_mut(usize::try_from(namespace).ok()?.checked_sub(1)?)
    }

    /// Where its sanitize is at this time.
    pub fn sanitize_phase(&mut self, now: Duration) -> Phase {
        self.pass(now);
        self.sanitize.phase()
    }

    /// Whether it has gone off the wire.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// The power goes or comes. One that went off the wire comes back with it.
    pub fn power(&mut self, now: Duration, powered: bool) {
        self.pass(now);
        self.gone &= !powered;
        self.sanitize.power(now, powered);
    }

    /// A controller is made or made anew.
    pub fn reset(&mut self) {
        self.counters.resets = self.counters.resets.saturating_add(1);
        if let Some(serial) = &self.lies.serial_after_reset {
            self.serial.clone_from(serial);
        }
    }

    /// Lets time pass: a sanitize may have ended.
    fn pass(&mut self, now: Duration) {
        if let Some(action) = self.sanitize.advance(now, self.lies.progress) {
            let fill = match action {
                Action::Block => Fill::Byte(0),
                Action::Crypto => self.new_key(),
                // One byte stands for the pattern; those that are used repeat one.
                Action::Overwrite(pattern) => Fill::Byte(pattern.to_le_bytes()[0]),
            };
            self.erase(NAMESPACE_ALL, fill);
            self.written_since = false;
        }
    }

    fn new_key(&mut self) -> Fill {
        self.key += 1;
        Fill::Noise(self.key)
    }

    fn erase(&mut self, namespace: u32, fill: Fill) {
        for (id, medium) in (1_u32..).zip(&mut self.media) {
            let meant = namespace == NAMESPACE_ALL || namespace == id;
            let bytes = match self.lies.erase {
                EraseLie::Honest => u64::MAX,
                EraseLie::Nothing => 0,
                EraseLie::First(bytes) => bytes,
                EraseLie::AllBut(spared) => u64::from(spared != id) * u64::MAX,
            };
            if meant {
                medium.erase_first(bytes, fill);
            }
        }
    }

    /// An admin command other than Connect, property and event commands.
    pub fn admin(&mut self, now: Duration, controller: u16, command: &Command) -> Answer {
        self.pass(now);
        match command.opcode() {
            0x02 => self.log_page(command),
            0x06 => self.identify(controller, command),
            // Abort: nothing is aborted, which the command may answer.
            0x08 => Ok(Answer::done(1)),
            0x09 => self.set_feature(command),
            0x0a => self.get_feature(command),
            0x18 => Ok(Answer::done(0)),
            0x80 => self.format(command),
            0x84 => self.start_sanitize(command),
            _ => Err(self.sanitize.refusal().unwrap_or(Status::INVALID_OPCODE)),
        }
        .into()
    }

    fn log_page(&self, command: &Command) -> Result<Answer, Status> {
        let dwords = u64::from(command.dword(10) >> 16) | u64::from(command.dword(11) & 0xffff) << 16;
        let bytes = (dwords + 1) * 4;
        if bytes > u64::from(DATA_BYTES_MAX) {
            return Err(Status::INVALID_FIELD);
        }
        let page = match command.dword(10) & 0xff {
            0x01 => vec![0; 64],
            0x02 => identify::smart_log(self.counters.read_bytes, self.counters.written_bytes),
            0x03 => identify::firmware_log(&self.profile, self.lies.firmware_pending),
            0x81 => {
                let erased = self.lies.claims_erased || !self.written_since;
                self.sanitize.log_page(erased, self.lies.progress)
            }
            _ => return Err(Status::INVALID_LOG_PAGE),
        };
        let begin = usize::try_from(command.quad(12)).map_err(|_| Status::INVALID_FIELD)?;
        let mut data = page.get(begin..).ok_or(Status::INVALID_FIELD)?.to_vec();
        data.resize(usize::try_from(bytes).map_err(|_| Status::INVALID_FIELD)?, 0);
        Ok(Answer::data(data))
    }

    fn identify(&mut self, controller: u16, command: &Command) -> Result<Answer, Status> {
        let id = command.namespace();
        let protected = self.lies.write_protected;
        let sector_bytes = self.profile.sector_bytes;
        let page = match command.dword(10) & 0xff {
            0x00 => {
                let medium = self.medium(id).ok_or(Status::INVALID_NAMESPACE)?;
                identify::namespace(medium.size_bytes(), sector_bytes, protected)
            }
            0x01 => identify::controller(&self.profile, &self.serial, controller),
            0x02 | 0x10 => identify::namespace_list(&self.profile, id),
            0x03 => {
                self.medium(id).ok_or(Status::INVALID_NAMESPACE)?;
                identify::namespace_descriptors(&self.serial, id)
            }
            // What is special to the NVM command set: nothing.
            0x05 | 0x06 if command.dword(11) >> 24 == 0 => vec![0; identify::IDENTIFY_BYTES],
            _ => return Err(Status::INVALID_FIELD),
        };
        Ok(Answer::data(page))
    }

    fn set_feature(&mut self, command: &Command) -> Result<Answer, Status> {
        match command.dword(10) & 0xff {
            // As many queues as are asked for.
            0x07 => Ok(Answer::done(u64::from(command.dword(11)))),
            // Volatile write cache, asynchronous events, keep-alive timer.
            0x06 | 0x0b | 0x0f => Ok(Answer::done(0)),
            0x84 => {
                self.medium(command.namespace()).ok_or(Status::INVALID_NAMESPACE)?;
                self.lies.write_protected = command.dword(11) & 0b111 != 0;
                Ok(Answer::done(0))
            }
            _ => Err(Status::INVALID_FIELD),
        }
    }

    fn get_feature(&mut self, command: &Command) -> Result<Answer, Status> {
        match command.dword(10) & 0xff {
            0x06 => Ok(Answer::done(1)),
            0x84 => {
                self.medium(command.namespace()).ok_or(Status::INVALID_NAMESPACE)?;
                Ok(Answer::done(u64::from(self.lies.write_protected)))
            }
            _ => Err(Status::INVALID_FIELD),
        }
    }

    /// Dword 10: LBA format in bits 3:0, secure erase in 11:9, upper bits of the format in 13:12.
    fn format(&mut self, command: &Command) -> Result<Answer, Status> {
        self.counters.formats = self.counters.formats.saturating_add(1);
        let (settings, id) = (command.dword(10), command.namespace());
        if let Some(refusal) = self.sanitize.refusal() {
            return Err(refusal);
        }
        if !self.profile.format {
            return Err(Status::INVALID_OPCODE);
        }
        if settings & 0x300f != 0 {
            return Err(Status::INVALID_FORMAT);
        }
        if id != NAMESPACE_ALL {
            self.medium(id).ok_or(Status::INVALID_NAMESPACE)?;
        }
        if self.lies.write_protected {
            return Err(Status::WRITE_PROTECTED);
        }
        let covered = if self.profile.format_covers_all { NAMESPACE_ALL } else { id };
        match settings >> 9 & 0b111 {
            // No erase was asked for, and none is made.
            0 => {}
            1 => self.begin_erase(|it| it.erase(covered, Fill::Byte(0))),
            2 if self.profile.format_crypto => self.begin_erase(|it| {
                let fill = it.new_key();
                it.erase(covered, fill);
            }),
            _ => return Err(Status::INVALID_FIELD),
        }
        Ok(Answer::done(0))
    }

    fn start_sanitize(&mut self, command: &Command) -> Result<Answer, Status> {
        self.counters.sanitizes = self.counters.sanitizes.saturating_add(1);
        let settings = command.dword(10);
        let actions = self.profile.actions;
        let supported = match settings & 0b111 {
            1 => actions.block || actions.crypto || actions.overwrite,
            2 => actions.block,
            3 => actions.overwrite,
            4 => actions.crypto,
            _ => false,
        };
        if !supported {
            return Err(Status::INVALID_FIELD);
        }
        if self.lies.firmware_pending || self.lies.firmware_hidden {
            return Err(Status::NEEDS_RESET);
        }
        if self.lies.write_protected {
            return Err(Status::WRITE_PROTECTED);
        }
        let mut started = Ok(());
        self.begin_erase(|it| started = it.sanitize.start(settings, command.dword(11)));
        started.map(|()| Answer::done(0))
    }

    /// The moment at which one that disappears does.
    fn begin_erase(&mut self, work: impl FnOnce(&mut Self)) {
        if self.lies.disappears {
            self.gone = true;
        } else {
            work(self);
        }
    }
}
