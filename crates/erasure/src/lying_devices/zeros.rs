//! Zeros that the device in memory is given or writes itself (WRITE SAME), honest or not, and refused.

use contract::id::Digest;
use contract::plan::EraseMethod;

use super::device::{Answer, BLOCK, Block, Device};
use super::lie::Lie;
use super::{BLOCKS, drive, task};
use crate::command::{DeviceCommand, SanitizeAction};
use crate::record::{CommandPurpose, EraseRecord, exclusions};
use crate::run::{EraseTask, NotErased, Overwritten, SameWritten};
use crate::sample::Span;

/// An honest device takes so many blocks at once.
const BLOCKS_AT_ONCE: usize = 64;

/// What a device does about WRITE SAME.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Same {
    /// How many pieces came.
    pieces: u32,
    /// From which piece on it refuses the command, from 0.
    refuses_from: Option<u32>,
}

impl Device {
    /// It refuses the command from this piece on.
    fn refusing_from(mut self, piece: u32) -> Self {
        self.same.refuses_from = Some(piece);
        self
    }

    pub fn overwrite(&mut self) -> Answer<Overwritten> {
        self.erasing = true;
        self.cached.clone_from(&self.blocks);
        if self.lie == Lie::RefusesCommand {
            return Err("write error".to_owned());
        }
        for part in 0..16 {
            self.accept()?;
            if self.lie != Lie::IgnoresWrites {
                self.erase_part(DeviceCommand::NvmeSanitize(SanitizeAction::Overwrite), part, 16);
            }
        }
        if self.lie == Lie::FailsButErases {
            return Err("status 0x4281".to_owned());
        }
        let less = if self.lie == Lie::WritesLess { BLOCK as u64 } else { 0 };
        Ok(Overwritten { bytes_written: self.size_bytes() - less, status: "completed".to_owned() })
    }

    pub fn write_same(&mut self, span: Span) -> Answer<SameWritten> {
        self.accept()?;
        self.now_millis += 5;
        let piece = self.same.pieces;
        self.same.pieces += 1;
        if self.same.refuses_from.is_some_and(|from| piece >= from) {
            return Ok(SameWritten::Refused { status: "no such command".to_owned() });
        }
        let first = span.offset as usize / BLOCK;
        let count = (span.bytes as usize / BLOCK).min(BLOCKS_AT_ONCE);
        let mut said = count * BLOCK;
        match self.lie {
            Lie::FailsAtPiece(bad) if piece >= bad => return Err("medium error".to_owned()),
            Lie::SaysMore => said = span.bytes as usize + BLOCK,
            Lie::SaysNone => said = 0,
            _ => {}
        }
        for number in first..first + count {
            self.operate()?;
            self.write_zeros(number, number == first, piece);
        }
        let last = first + count == self.blocks.len();
        if last && self.lie == Lie::FailsButErases {
            return Err("status 0x4281".to_owned());
        }
        Ok(SameWritten::Written { bytes: said as u64, status: "completed".to_owned() })
    }

    fn write_zeros(&mut self, number: usize, is_first: bool, piece: u32) {
        let byte = if let Lie::Pattern(byte) = self.lie { byte } else { 0 };
        let (place, block) = match self.lie {
            Lie::IgnoresWrites => return,
            Lie::WritesOneOfMany if !is_first => return,
            Lie::StopsAtPiece(from) if piece >= from => return,
            Lie::LosesHighBits(bits) => (number % (1 << bits), Block::Filled(byte)),
            Lie::UnmapsAndShowsOlder => (number, Block::Tenant),
            _ => (number, Block::Filled(byte)),
        };
        if !self.spares(number) {
            self.blocks[place] = block;
        }
    }
}

fn record_of(mut device: Device) -> (EraseTask, EraseRecord) {
    let task = task(&device, EraseMethod::ScsiWriteSame, Digest::of(b"seed"), 200);
    let erased = drive(&mut device, task.clone()).unwrap();
    assert_eq!(device.blocks_left(), 0);
    (task, erased.record().clone())
}

/// What a run records of an honest device that refuses the command, and the task that it had.
pub(crate) fn refused() -> (EraseTask, EraseRecord) {
    record_of(Device::dirty(BLOCKS, Lie::None).refusing_from(0))
}

#[test]
fn a_disk_that_takes_it_is_written_by_itself() {
    let (_, record) = record_of(Device::dirty(BLOCKS, Lie::None));
    assert_eq!((record.method, record.device_status.as_str()), (EraseMethod::ScsiWriteSame, "completed"));
    let [given] = &record.commands[..] else { panic!("{:?}", record.commands) };
    assert_eq!((given.command, given.purpose), (DeviceCommand::ScsiWriteSame, CommandPurpose::Erase));
    assert_eq!((given.progress.len(), given.millis), (BLOCKS / BLOCKS_AT_ONCE, 80));
    assert!(given.progress.iter().all(|point| point.progress_65536 > Some(0)));
}

/// Whenever the refusal comes, the whole disk is overwritten, and that is what the record calls it.
#[test]
fn a_disk_that_refuses_it_is_overwritten_from_the_first_byte_on() {
    for piece in [0, 1, 15] {
        let (_, record) = record_of(Device::dirty(BLOCKS, Lie::None).refusing_from(piece));
        assert_eq!(record.method, EraseMethod::Overwrite);
        assert_eq!(record.device_status, "no such command; completed");
        let purposes: Vec<_> = record.commands.iter().map(|given| given.purpose).collect();
        assert_eq!(purposes, [CommandPurpose::Refused]);
        assert_eq!(record.exclusions, exclusions(EraseMethod::Overwrite));
    }
}

/// A refusal is no way around the proof: each lie about an overwrite is found as it is without it.
#[test]
fn a_disk_that_refuses_it_and_lies_is_not_erased() {
    let lies = [
        Lie::ErasesNothing,
        Lie::ErasesOnlyFirst(BLOCKS / 2),
        Lie::SkipsEvery(25),
        Lie::LeavesOneMarker(311),
        Lie::ReadsFromCache,
        Lie::FailsButErases,
        Lie::WritesLess,
        Lie::Pattern(0xff),
        Lie::Shrinks,
        Lie::ComesBackAsItWas,
    ];
    for lie in lies {
        for piece in [0, 7] {
            let mut device = Device::dirty(BLOCKS, lie).refusing_from(piece);
            let task = task(&device, EraseMethod::ScsiWriteSame, Digest::of(b"seed"), 200);
            assert!(drive(&mut device, task).is_err(), "{lie:?}");
        }
    }
}

/// A failure is not a refusal: nothing is tried in its place.
#[test]
fn a_disk_that_fails_is_not_overwritten() {
    let mut device = Device::dirty(BLOCKS, Lie::FailsAtPiece(3));
    let task = task(&device, EraseMethod::ScsiWriteSame, Digest::of(b"seed"), 200);
    assert_eq!(drive(&mut device, task).unwrap_err(), NotErased::Device("medium error".to_owned()));
    assert!(device.blocks_left() > BLOCKS / 2);
}
