//! A device in memory that erases itself as NVMe, ATA and SCSI devices do, and lies on demand.

use std::rc::Rc;

use contract::id::Digest;
use contract::reading::Outcome;

use super::fills::{leaves, tenant_text};
use super::lie::{Lie, says_clean};
use super::zeros::Same;
use crate::command::{CommandProgress, DeviceCommand, SanitizeAction};
use crate::markers::marker;
use crate::record::HealthReading;
use crate::run::{DiskSeen, SaidClean};

pub(super) const BLOCK: usize = 4096;

/// How many questions an honest sanitize answers with "running".
const SANITIZE_POLLS: u32 = 8;

/// What a device does about a sanitize when its power fails in the middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum AfterCut {
    GoesOn,
    Failed,
    Forgotten,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    Tenant,
    Written(Rc<Vec<u8>>),
    Filled(u8),
    Noise(u64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sanitize {
    Never,
    Running { command: DeviceCommand, polls: u32 },
    Done,
    Failed,
}

pub(super) struct Device {
    pub(super) blocks: Vec<Block>,
    pub(super) cached: Vec<Block>,
    markers: Vec<usize>,
    pub(super) lie: Lie,
    pub(super) same: Same,
    after_cut: AfterCut,
    sanitize: Sanitize,
    password: bool,
    completed: Option<DeviceCommand>,
    commands_done: u32,
    asked_if_clean: u32,
    pub(super) erasing: bool,
    /// How many operations the power lasts.
    fuse: u64,
    pub operations: u64,
    pub now_millis: u64,
}

pub(super) type Answer<T> = Result<T, String>;

impl Device {
    /// A disk full of a tenant's text, each block its own.
    pub fn dirty(blocks: usize, lie: Lie) -> Self {
        let command = DeviceCommand::NvmeSanitize(SanitizeAction::Block);
        Self {
            blocks: vec![Block::Tenant; blocks],
            cached: Vec::new(),
            markers: Vec::new(),
            lie,
            same: Same::default(),
            after_cut: AfterCut::GoesOn,
            sanitize: match lie {
                Lie::EarlierNeverEnds => Sanitize::Running { command, polls: 0 },
                Lie::FailsAgain => Sanitize::Failed,
                _ => Sanitize::Never,
            },
            password: false,
            completed: None,
            commands_done: 0,
            asked_if_clean: 0,
            erasing: false,
            fuse: u64::MAX,
            operations: 0,
            now_millis: 5,
        }
    }

    /// A disk that was sanitized before and is blank, or says so.
    pub fn sanitized_before(blocks: usize, lie: Lie) -> Self {
        let mut device = Self::dirty(blocks, lie);
        device.blocks.fill(Block::Filled(0xff));
        (device.sanitize, device.erasing) = (Sanitize::Done, true);
        device.cached.clone_from(&device.blocks);
        device
    }

    /// Whether it was given anything to store, or told to erase itself.
    pub fn was_touched(&self) -> bool {
        !self.markers.is_empty() || self.commands_done > 0
    }

    pub fn said_clean(&mut self) -> Answer<SaidClean> {
        self.operate()?;
        self.asked_if_clean += 1;
        says_clean(self.lie, self.asked_if_clean)
    }

    pub fn with_content(mut self, content: impl Fn(usize) -> Vec<u8>) -> Self {
        for (number, block) in self.blocks.iter_mut().enumerate() {
            *block = Block::Written(Rc::new(content(number)));
        }
        self
    }

    pub fn size_bytes(&self) -> u64 {
        (self.blocks.len() * BLOCK) as u64
    }

    pub fn has_power(&self) -> bool {
        self.fuse > 0
    }

    /// The power fails after so many operations more.
    pub fn lose_power_after(&mut self, operations: u64, after_cut: AfterCut) {
        (self.fuse, self.after_cut) = (operations, after_cut);
    }

    /// The power comes back. What an erase command had done is done; whether it goes on is its kind.
    pub fn restart(&mut self, lie: Lie) {
        (self.fuse, self.lie, self.completed, self.erasing) = (u64::MAX, lie, None, false);
        self.commands_done = 0;
        self.markers.clear();
        if let Sanitize::Running { .. } = self.sanitize {
            match self.after_cut {
                AfterCut::GoesOn => {}
                AfterCut::Failed => self.sanitize = Sanitize::Failed,
                AfterCut::Forgotten => self.sanitize = Sanitize::Never,
            }
        }
    }

    /// Blocks that still hold what a tenant or we wrote.
    pub fn blocks_left(&self) -> usize {
        let left = |block: &&Block| matches!(block, Block::Tenant | Block::Written(_));
        self.blocks.iter().filter(left).count()
    }

    pub(super) fn operate(&mut self) -> Answer<()> {
        self.operations += 1;
        self.fuse = self.fuse.saturating_sub(1);
        if self.fuse == 0 { Err("power is off".to_owned()) } else { Ok(()) }
    }

    /// Reads and writes are refused while the device is locked, sanitizes, or has failed to.
    pub(super) fn accept(&mut self) -> Answer<()> {
        self.operate()?;
        match self.sanitize {
            Sanitize::Running { .. } => Err("Sanitize In Progress".to_owned()),
            Sanitize::Failed => Err("Sanitize Failed".to_owned()),
            Sanitize::Never | Sanitize::Done if self.password => Err("locked".to_owned()),
            Sanitize::Never | Sanitize::Done => Ok(()),
        }
    }

    pub fn prepare(&mut self) -> Answer<()> {
        self.operate()?;
        if self.lie == Lie::ForeignPassword {
            return Err("the password is not ours; ask who set it".to_owned());
        }
        self.password = false;
        Ok(())
    }

    pub fn estimate_seconds(&self) -> Option<u32> {
        match self.lie {
            Lie::EstimatesForever => Some(u32::MAX),
            Lie::StandsStill => Some(1800),
            _ => None,
        }
    }

    pub fn health(&self) -> Outcome<Vec<HealthReading>> {
        let reading =
            |name: &str, value: u64| HealthReading { name: name.to_owned(), value: value.to_string() };
        Outcome::Value((0..100).map(|_| reading("media errors", self.operations)).collect())
    }

    pub fn write(&mut self, offset: u64, content: &[u8]) -> Answer<()> {
        self.accept()?;
        let block = offset as usize / BLOCK;
        self.markers.push(block);
        match self.lie {
            Lie::RefusesWrites => return Err("write protected".to_owned()),
            Lie::IgnoresWrites => {}
            _ => self.blocks[block] = Block::Written(Rc::new(content.to_vec())),
        }
        Ok(())
    }

    pub fn read(&mut self, offset: u64, length: u64) -> Answer<Vec<u8>> {
        self.accept()?;
        let first = offset as usize / BLOCK;
        let numbers = first..first + (length as usize).div_ceil(BLOCK);
        let blocks =
            if self.lie == Lie::ReadsFromCache && self.erasing { &self.cached } else { &self.blocks };
        let mut bytes = Vec::with_capacity(length as usize);
        for number in numbers.clone() {
            match &blocks[number] {
                Block::Tenant => bytes.extend(tenant_text(number)),
                Block::Written(content) => bytes.extend_from_slice(content),
                Block::Filled(byte) => bytes.resize(bytes.len() + BLOCK, *byte),
                Block::Noise(key) => bytes.extend(marker(Digest::of(&key.to_le_bytes()), number as u64)),
            }
        }
        bytes.truncate(length as usize);
        match self.lie {
            Lie::ReadErrorAt(bad) if numbers.contains(&bad) && self.erasing => {
                return Err("unrecovered read error".to_owned());
            }
            Lie::ShortReadAt(bad) if numbers.contains(&bad) && self.erasing => {
                bytes.truncate(bytes.len() - 512)
            }
            Lie::LongReadAt(bad) if numbers.contains(&bad) && self.erasing => bytes.push(0),
            _ => {}
        }
        Ok(bytes)
    }

    pub(super) fn spares(&self, number: usize) -> bool {
        match self.lie {
            Lie::ErasesNothing | Lie::KeepsKey | Lie::ExitsFailure | Lie::ClaimsErased => true,
            Lie::ErasesOnlyFirst(count) => number >= count,
            Lie::Skips { first, count } => (first..first + count).contains(&number),
            Lie::SkipsEvery(step) => number.is_multiple_of(step),
            Lie::LeavesMarkers => self.markers.contains(&number),
            Lie::ErasesOnlyMarkers => !self.markers.contains(&number),
            Lie::LeavesOneMarker(which) => self.markers.get(which) == Some(&number),
            Lie::OnlyFirstCommand => self.commands_done > 0,
            _ => false,
        }
    }

    /// Erases the share `part` of `parts` of the blocks.
    pub(super) fn erase_part(&mut self, command: DeviceCommand, part: usize, parts: usize) {
        if !self.erasing {
            self.erasing = true;
            self.cached.clone_from(&self.blocks);
        }
        let filled = match (self.lie, leaves(command)) {
            (Lie::Pattern(byte), _) => Block::Filled(byte),
            (_, Some(byte)) => Block::Filled(byte),
            (_, None) => Block::Noise(self.operations),
        };
        let count = self.blocks.len();
        for number in count * part / parts..count * (part + 1) / parts {
            if !self.spares(number) {
                self.blocks[number] = filled.clone();
            }
        }
    }

    pub fn start(&mut self, command: DeviceCommand) -> Answer<()> {
        self.operate()?;
        if self.lie == Lie::RefusesCommand {
            return Err("command aborted".to_owned());
        }
        self.erasing = true;
        if self.cached.is_empty() {
            self.cached.clone_from(&self.blocks);
        }
        if command.outlives_a_reset() {
            self.sanitize = Sanitize::Running { command, polls: 0 };
            return Ok(());
        }
        if command == DeviceCommand::ScsiWriteSame {
            return self.accept();
        }
        if self.sanitize != Sanitize::Never && self.sanitize != Sanitize::Done {
            return Err("Sanitize In Progress or failed".to_owned());
        }
        self.password = matches!(command, DeviceCommand::AtaSecurityErase { .. });
        for part in 0..4 {
            self.operate()?;
            self.erase_part(command, part, 4);
        }
        self.password = false;
        self.commands_done += 1;
        self.completed = (self.lie != Lie::ForgetsCommand).then_some(command);
        Ok(())
    }

    pub fn progress(&mut self, command: DeviceCommand) -> Answer<CommandProgress> {
        self.operate()?;
        let given = self.erasing;
        let say = |status: &str| status.to_owned();
        if given && self.lie == Lie::AnswersNothing {
            return Err("no answer".to_owned());
        }
        if !command.outlives_a_reset() {
            return Ok(match (self.completed == Some(command), self.lie) {
                (true, Lie::FailsButErases) => CommandProgress::Failed { status: say("status 0x4281") },
                (true, _) => CommandProgress::Done { status: say("completed") },
                (false, _) => CommandProgress::Never { status: say("idle") },
            });
        }
        Ok(match self.sanitize {
            Sanitize::Never if self.lie == Lie::ClaimsErased => CommandProgress::Done { status: say("GDE") },
            Sanitize::Never => CommandProgress::Never { status: say("never") },
            Sanitize::Done => CommandProgress::Done { status: say("completed") },
            Sanitize::Failed => CommandProgress::Failed { status: say("status 3") },
            Sanitize::Running { command, polls } => self.work(command, polls),
        })
    }

    fn work(&mut self, command: DeviceCommand, polls: u32) -> CommandProgress {
        let running = |progress: u32| CommandProgress::Running {
            progress_65536: Some(u16::try_from(progress.min(65535)).unwrap()),
        };
        self.sanitize = Sanitize::Running { command, polls: polls.saturating_add(1) };
        match self.lie {
            Lie::StandsStill | Lie::EarlierNeverEnds | Lie::EstimatesForever => return running(655),
            Lie::SaysNothingOfProgress => return CommandProgress::Running { progress_65536: None },
            Lie::ProgressFalls => return running(65535_u32.saturating_sub(polls)),
            Lie::ProgressGoesRound => return running(polls % 100 * 655),
            // Slower than anybody waits, at 10 s a question, but never still for six hours.
            Lie::ProgressCreeps => return running(polls / 2000),
            Lie::ForgetsCommand => {
                self.sanitize = Sanitize::Never;
                return CommandProgress::Never { status: "never".to_owned() };
            }
            Lie::ClaimsErased => {
                self.sanitize = Sanitize::Done;
                return CommandProgress::Done { status: "GDE".to_owned() };
            }
            Lie::FailsAt99 if polls >= SANITIZE_POLLS => return self.fail(Sanitize::Failed),
            Lie::FailsAt99 => return running(64_880),
            Lie::FailsAgain => return self.fail(Sanitize::Failed),
            Lie::ExitsFailure => return self.fail(Sanitize::Done),
            _ => {}
        }
        if polls < SANITIZE_POLLS {
            self.erase_part(command, polls as usize, SANITIZE_POLLS as usize);
            return running(polls * 65536 / SANITIZE_POLLS);
        }
        self.commands_done += 1;
        self.sanitize = Sanitize::Done;
        if self.lie == Lie::FailsButErases {
            return self.fail(Sanitize::Done);
        }
        CommandProgress::Done { status: "completed".to_owned() }
    }

    fn fail(&mut self, then: Sanitize) -> CommandProgress {
        self.sanitize = then;
        CommandProgress::Failed { status: "status 0x4281".to_owned() }
    }

    pub fn look_again(&mut self) -> Answer<DiskSeen> {
        self.operate()?;
        let seen = DiskSeen {
            id: "disk-1".parse().unwrap(),
            size_bytes: self.size_bytes(),
            logical_sector_bytes: 512,
            health: self.health(),
        };
        Ok(match self.lie {
            Lie::Disappears => return Err("no disk has this identity".to_owned()),
            Lie::Shrinks => DiskSeen { size_bytes: self.size_bytes() / 2, ..seen },
            Lie::Grows => DiskSeen { size_bytes: self.size_bytes() * 2, ..seen },
            Lie::ChangesSectors => DiskSeen { logical_sector_bytes: 4096, ..seen },
            Lie::ChangesIdentity => DiskSeen { id: "disk-2".parse().unwrap(), ..seen },
            Lie::ComesBackAsItWas => {
                self.blocks.clone_from(&self.cached);
                seen
            }
            _ => seen,
        })
    }
}
