//! The lies, and which methods each is about.

use contract::plan::EraseMethod;

use crate::run::SaidClean;

/// What a device does otherwise than it says. Block numbers are of 4 KiB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lie {
    None,
    /// Says "done" and does nothing.
    ErasesNothing,
    /// Erases only the first blocks.
    ErasesOnlyFirst(usize),
    /// Leaves a region.
    Skips {
        first: usize,
        count: usize,
    },
    /// Leaves every n-th block.
    SkipsEvery(usize),
    /// Erases all but where it was last written: the markers.
    LeavesMarkers,
    /// Leaves one marker.
    LeavesOneMarker(usize),
    /// Erases only where it was last written: the markers. The rest stays.
    ErasesOnlyMarkers,
    /// Never stores what it is given.
    IgnoresWrites,
    /// Takes no writes, and says so (write-protected).
    RefusesWrites,
    /// Cannot be read back in one place.
    ReadErrorAt(usize),
    /// Reads come short in one place.
    ShortReadAt(usize),
    /// Reads are too long in one place.
    LongReadAt(usize),
    /// Answers reads from a cache that the erase did not empty.
    ReadsFromCache,
    /// Is smaller afterwards.
    Shrinks,
    /// Is larger afterwards: part of it was hidden.
    Grows,
    /// Has other sectors afterwards.
    ChangesSectors,
    /// Calls itself something else afterwards.
    ChangesIdentity,
    /// Is gone afterwards.
    Disappears,
    /// Goes back to what it was when it is opened again.
    ComesBackAsItWas,
    /// Erases and says that it failed.
    FailsButErases,
    /// Writes less than it was told and says so.
    WritesLess,
    /// Scrambles with the key that it had: what was there is there.
    KeepsKey,
    /// Fills with a fixed pattern and not with what the method leaves.
    Pattern(u8),
    /// Refuses the command: frozen, firmware waiting, memory region enabled.
    RefusesCommand,
    /// Is locked with a password that is not ours.
    ForeignPassword,
    /// Takes the command and knows nothing of it afterwards.
    ForgetsCommand,
    /// Takes the command and never answers again how far it is.
    AnswersNothing,
    /// Stands still at one percent.
    StandsStill,
    /// Is at work for ever and does not say how far.
    SaysNothingOfProgress,
    /// Its progress falls.
    ProgressFalls,
    /// Its progress goes round.
    ProgressGoesRound,
    /// Its progress creeps on for ever.
    ProgressCreeps,
    /// Gets to 99 % and fails.
    FailsAt99,
    /// Fails, and gets out of the failure by itself without having erased (exit failure mode).
    ExitsFailure,
    /// Says that all is erased (Global Data Erased) when it is asked first, and does nothing.
    ClaimsErased,
    /// Does not say that it is clean.
    SaysNotClean,
    /// Says that it is clean, and once it was read says that it is not.
    TakesItsWordBack,
    /// Says that it is clean, by something that is no sanitize.
    CleanByLess,
    /// Says that it is clean because it is.
    CleanByItself,
    /// Does only the first of several commands.
    OnlyFirstCommand,
    /// A sanitize from before is running and never ends.
    EarlierNeverEnds,
    /// A sanitize from before failed, and so does every other.
    FailsAgain,
    /// Estimates the longest time that there is, and stands still.
    EstimatesForever,
    /// Told to write the same block to many, it writes it to the first alone.
    WritesOneOfMany,
    /// As above, it finds its place by fewer bits than it has blocks: what lies high up goes low down.
    LosesHighBits(usize),
    /// As above, it takes the blocks out of use, and shows there what it still has of older days.
    UnmapsAndShowsOlder,
    /// As above, it says "good" from this piece on and does nothing.
    StopsAtPiece(u32),
    /// As above, it fails at this piece.
    FailsAtPiece(u32),
    /// As above, it says that it did more than it was told.
    SaysMore,
    /// As above, it says "good", and that it wrote nothing.
    SaysNone,
}

/// What a device says when it is asked, for this time, whether it is clean.
pub(super) fn says_clean(lie: Lie, time: u32) -> Result<SaidClean, String> {
    let said = |sanitized_by| Ok(SaidClean { sanitized_by, status: "SSTAT 0x0101".to_owned() });
    match lie {
        Lie::SaysNotClean => Err("SSTAT 0x0001".to_owned()),
        Lie::TakesItsWordBack if time > 1 => Err("SSTAT 0x0001".to_owned()),
        Lie::CleanByLess => said(EraseMethod::NvmeFormatUserData),
        Lie::CleanByItself => said(EraseMethod::NvmeFoundClean),
        _ => said(EraseMethod::NvmeSanitizeBlock),
    }
}

/// The methods whose commands the lie is about.
pub(super) fn concerns(lie: Lie, method: EraseMethod) -> bool {
    let sanitizes = super::sanitizes(method);
    let several = crate::command::commands(method).len() > 1;
    match lie {
        Lie::WritesLess => method == EraseMethod::Overwrite,
        Lie::OnlyFirstCommand => several,
        Lie::ForgetsCommand | Lie::AnswersNothing => {
            !matches!(method, EraseMethod::Overwrite | EraseMethod::ScsiWriteSame)
        }
        Lie::WritesOneOfMany
        | Lie::LosesHighBits(_)
        | Lie::UnmapsAndShowsOlder
        | Lie::StopsAtPiece(_)
        | Lie::FailsAtPiece(_)
        | Lie::SaysMore
        | Lie::SaysNone => method == EraseMethod::ScsiWriteSame,
        Lie::StandsStill
        | Lie::SaysNothingOfProgress
        | Lie::ProgressFalls
        | Lie::ProgressGoesRound
        | Lie::ProgressCreeps
        | Lie::FailsAt99
        | Lie::ExitsFailure
        | Lie::ClaimsErased
        | Lie::EarlierNeverEnds
        | Lie::FailsAgain
        | Lie::EstimatesForever => sanitizes,
        _ => true,
    }
}
