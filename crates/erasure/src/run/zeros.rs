//! Zeros in every byte: written by the agent, or by the disk itself a piece at a time.

use super::task::{Overwritten, SameWritten};
use super::watch::Watch;
use super::{EraseRun, State};
use crate::command::DeviceCommand;
use crate::method::if_refused;
use crate::not_erased::NotErased;
use crate::record::{CommandPurpose, CommandRecord};
use crate::sample::Span;

/// The least, the first and the most that one piece asks for, in bytes. Powers of two, so that each ends
/// where a sector ends.
const PIECE_BYTES_MIN: u64 = 1 << 20;
const PIECE_BYTES_FIRST: u64 = 16 << 20;
const PIECE_BYTES_MAX: u64 = 1 << 30;

/// A piece that took less is followed by one of twice its size, one that took more by one of half of it,
/// in milliseconds (ours: often enough to show progress, seldom enough to cost nothing).
const PIECE_MILLIS_MIN: u64 = 1000;
const PIECE_MILLIS_MAX: u64 = 4000;

/// A disk that writes zeros over itself, piece by piece.
#[derive(Debug)]
pub(super) struct WriteSame {
    watch: Watch,
    /// What lies before this byte is done, as the disk says.
    from_bytes: u64,
    piece_bytes: u64,
    piece_began_millis: u64,
}

impl WriteSame {
    pub fn new(now_millis: u64) -> Self {
        Self {
            watch: Watch::new(DeviceCommand::ScsiWriteSame, CommandPurpose::Erase, None, now_millis),
            from_bytes: 0,
            piece_bytes: PIECE_BYTES_FIRST,
            piece_began_millis: now_millis,
        }
    }

    /// The piece under way, on a disk of this size.
    pub fn piece(&self, size_bytes: u64) -> Span {
        let left = size_bytes.saturating_sub(self.from_bytes);
        Span { offset: self.from_bytes, bytes: self.piece_bytes.min(left) }
    }

    pub fn progress_65536(&self) -> Option<u16> {
        self.watch.progress_65536()
    }

    /// The disk wrote so much of the piece.
    fn advance(&mut self, now_millis: u64, bytes: u64, size_bytes: u64) -> Result<(), NotErased> {
        let took_millis = now_millis.saturating_sub(self.piece_began_millis);
        // A disk that takes less than it is asked for has its own limit.
        if took_millis < PIECE_MILLIS_MIN && bytes >= self.piece_bytes {
            self.piece_bytes = (self.piece_bytes * 2).min(PIECE_BYTES_MAX);
        } else if took_millis > PIECE_MILLIS_MAX {
            self.piece_bytes = (self.piece_bytes / 2).max(PIECE_BYTES_MIN);
        }
        self.from_bytes = self.from_bytes.saturating_add(bytes);
        self.piece_began_millis = now_millis;
        let done = u128::from(self.from_bytes) * 65536 / u128::from(size_bytes.max(1));
        self.watch.went_on(now_millis, u16::try_from(done).unwrap_or(u16::MAX))
    }
}

impl EraseRun {
    /// Zeros were written to every byte and flushed, or could not be.
    pub fn overwritten(&mut self, result: Result<Overwritten, String>) {
        self.step(|run, state| match (state, result) {
            (State::Overwrite, Ok(done)) => {
                let size = run.task.disk.size_bytes;
                if done.bytes_written != size {
                    return Err(NotErased::NotAllWritten { written: done.bytes_written, size });
                }
                run.statuses.push(done.status);
                Ok(State::LookAgain)
            }
            (State::Overwrite, Err(why)) => Err(NotErased::Device(why)),
            _ => Err(NotErased::OutOfOrder("a disk was overwritten when that was not asked for")),
        });
    }

    /// What came of the piece that the disk was to write itself. The last one counts as written when the
    /// disk has flushed it.
    pub fn same_written(&mut self, now_millis: u64, result: Result<SameWritten, String>) {
        self.step(|run, state| {
            let State::WriteSame(mut same) = state else {
                return Err(NotErased::OutOfOrder("a disk wrote zeros when that was not asked for"));
            };
            let size = run.task.disk.size_bytes;
            let asked = same.piece(size).bytes;
            match result.map_err(NotErased::Device)? {
                SameWritten::Refused { status } => run.refused(same, now_millis, status),
                SameWritten::Written { bytes, .. } if bytes == 0 || bytes > asked => {
                    Err(NotErased::NotAllWritten { written: bytes, size: asked })
                }
                SameWritten::Written { bytes, status } => {
                    same.advance(now_millis, bytes, size)?;
                    if same.from_bytes < size {
                        return Ok(State::WriteSame(same));
                    }
                    run.command_records.push(same.watch.ended(now_millis, status.clone()));
                    run.statuses.push(status);
                    Ok(State::LookAgain)
                }
            }
        });
    }

    /// The disk does not take the command: what the method means then is done, from the first byte on.
    fn refused(&mut self, same: WriteSame, now_millis: u64, status: String) -> Result<State, NotErased> {
        let Some(instead) = if_refused(self.task.method) else {
            return Err(NotErased::Device(status));
        };
        let given = same.watch.ended(now_millis, status.clone());
        self.command_records.push(CommandRecord { purpose: CommandPurpose::Refused, ..given });
        self.statuses.push(status);
        self.task.method = instead;
        Ok(State::Overwrite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces grow while the disk is quick, shrink while it is slow, and lie end to end.
    #[test]
    fn pieces_follow_the_disk_and_leave_no_gap() {
        let size = (100 << 30) + 512;
        let mut same = WriteSame::new(0);
        let (mut now, mut at, mut largest, mut smallest) = (0, 0, 0, u64::MAX);
        while same.from_bytes < size {
            let piece = same.piece(size);
            assert_eq!(piece.offset, at);
            at += piece.bytes;
            // 1 GiB/s, and 1 MiB/s in one stretch.
            let slow = (60_u64 << 30..64 << 30).contains(&piece.offset);
            now += if slow { piece.bytes >> 10 } else { piece.bytes >> 20 };
            if slow {
                smallest = smallest.min(piece.bytes);
            }
            largest = largest.max(piece.bytes);
            same.advance(now, piece.bytes, size).unwrap();
        }
        assert_eq!((at, largest), (size, 1 << 30));
        assert!(smallest <= 4 << 20, "{smallest}");
        assert_eq!(same.progress_65536(), Some(u16::MAX));
    }

    /// A limit of the disk's own does not make the pieces grow.
    #[test]
    fn a_disk_that_takes_less_is_not_asked_for_more() {
        let size = 1 << 40;
        let mut same = WriteSame::new(0);
        for now in 0..100 {
            let bytes = same.piece(size).bytes.min(65_528 * 512);
            same.advance(now, bytes, size).unwrap();
        }
        assert_eq!(same.piece_bytes, 32 << 20);
    }

    #[test]
    fn a_disk_that_goes_on_for_ever_is_given_up() {
        let mut same = WriteSame::new(0);
        let ended = (1..10_000_u64).find_map(|day| same.advance(day * 86_400_000, 512, u64::MAX).err());
        assert!(matches!(ended, Some(NotErased::NoProgress { .. } | NotErased::Endless { .. })), "{ended:?}");
    }
}
