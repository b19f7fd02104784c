//! Why a disk does not count as erased.

use contract::id::DiskId;

/// Why a disk does not count as erased. Whatever is on it may still be readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotErased {
    /// The task makes no sense.
    #[error("the erase of disk {disk} was not started: {why}")]
    Task {
        /// Which disk.
        disk: DiskId,
        /// What is wrong.
        why: String,
    },
    /// The markers could not be written.
    #[error("markers could not be written: {0}")]
    MarkersNotWritten(String),
    /// A marker is not where it was written; what the device stores is not what it is given.
    #[error(
        "the marker at byte {offset} was not on the disk after it was written; the device does not store what it is given, replace it"
    )]
    MarkerNotStored {
        /// Where.
        offset: u64,
    },
    /// The disk could not be made ready; nothing was written.
    #[error("the disk could not be made ready for the erase: {0}")]
    NotPrepared(String),
    /// The device does not say that it is clean already.
    #[error(
        "the device does not say, or no longer says, that it was sanitized and not written since: {0}; the next try erases it"
    )]
    NotClean(String),
    /// The device did not say that it was done.
    #[error("the device did not complete the erase: {0}")]
    Device(String),
    /// The device did not say how far it is, several times in a row.
    #[error("the device does not say how far the erase is: {0}; look again, and destroy it if it stays so")]
    ProgressUnreadable(String),
    /// The device stands still.
    #[error(
        "the device has made no progress for {seconds} seconds{at}; destroy it if it does not go on after a power cycle"
    )]
    NoProgress {
        /// For how long.
        seconds: u64,
        /// Where it stands, in words.
        at: String,
    },
    /// The device goes on without end.
    #[error("the device has been at it for {seconds} seconds; destroy it")]
    Endless {
        /// For how long.
        seconds: u64,
    },
    /// The disk could not be found or opened again afterwards.
    #[error("the disk could not be looked at again after the erase: {0}")]
    NotFoundAgain(String),
    /// Less was overwritten than the disk has.
    #[error("{written} of {size} bytes were overwritten")]
    NotAllWritten {
        /// How many bytes were written.
        written: u64,
        /// How many there are.
        size: u64,
    },
    /// The disk is another one afterwards.
    #[error(
        "the disk changed its {what} during the erase: {before} before, {after} after; destroy or replace it"
    )]
    DiskChanged {
        /// `identity`, `size` or `sector size`.
        what: &'static str,
        /// What it was.
        before: String,
        /// What it is.
        after: String,
    },
    /// A block could not be read; what it holds is not known.
    #[error("byte {offset} could not be read back: {why}")]
    NotReadable {
        /// Where.
        offset: u64,
        /// What the device said.
        why: String,
    },
    /// The device gave another number of bytes than it was asked for.
    #[error("{got} of {wanted} bytes were read at byte {offset}")]
    ShortRead {
        /// Where.
        offset: u64,
        /// How many bytes came.
        got: u64,
        /// How many were asked for.
        wanted: u64,
    },
    /// A marker is still there.
    #[error("the marker at byte {offset} survived the erase")]
    MarkerSurvived {
        /// Where.
        offset: u64,
    },
    /// A block is as it was before.
    #[error("the block at byte {offset} is as it was before the erase")]
    Unchanged {
        /// Where.
        offset: u64,
    },
    /// A block holds what the method does not leave.
    #[error("the block at byte {offset} is not what the erase leaves; it may be old data")]
    Leftover {
        /// Where.
        offset: u64,
    },
    /// The run was driven in another order than it asked for.
    #[error("the erase was driven out of order: {0}")]
    OutOfOrder(&'static str),
    /// The run was ended before it was done.
    #[error("the erase was stopped while {0}")]
    Stopped(&'static str),
}
