//! Power cuts: at any operation of any method, on devices that take them each in their way. A run that
//! was cut is never erased, and the next run on that device is erased only if the bytes are gone.

use contract::id::Digest;
use contract::plan::EraseMethod;

use super::device::{AfterCut, Device};
use super::lie::Lie;
use super::{METHODS, drive, size_in_blocks, task};
use crate::record::CommandPurpose;
use crate::sample::Random;

/// At least so many cuts in one test run.
const CUTS: u32 = 10_000;

const AFTER: [AfterCut; 3] = [AfterCut::GoesOn, AfterCut::Failed, AfterCut::Forgotten];

/// How many operations an erase without a cut takes.
fn operations(blocks: usize, method: EraseMethod) -> u64 {
    let mut device = Device::dirty(blocks, Lie::None);
    let task = task(&device, method, Digest::of(b"seed"), 200);
    assert!(drive(&mut device, task).is_ok());
    device.operations
}

/// The seed of one run; after a cut the next boot's order has another.
fn seed(number: u32) -> Digest {
    Digest::of(&number.to_le_bytes())
}

#[test]
fn after_ten_thousand_power_cuts_erased_is_what_is_gone() {
    let mut random = Random::new(Digest::of(b"power cuts"), "cuts");
    let sizes = [2_usize, 5, 8];
    let lengths: Vec<u64> =
        sizes.iter().flat_map(|size| METHODS.map(|method| operations(*size, method))).collect();
    let (mut cuts, mut runs) = (0, 0);
    while cuts < CUTS {
        let mut below = |limit: usize| usize::try_from(random.below(limit as u64)).unwrap();
        let (size, which) = (below(sizes.len()), below(METHODS.len()));
        let (after, again) = (AFTER[below(3)], below(3) == 0);
        let method = METHODS[which];
        let length = lengths[size * METHODS.len() + which];
        let mut device = Device::dirty(sizes[size], Lie::None);
        // One cut, or a second one in the run after it.
        for _ in 0..if again { 2 } else { 1 } {
            let at = 1 + below(usize::try_from(length).unwrap()) as u64;
            device.lose_power_after(at, after);
            runs += 1;
            let task = task(&device, method, seed(runs), 200);
            let ended = drive(&mut device, task);
            if device.has_power() {
                // A second run may be shorter than the first; then it ended before its cut.
                assert_eq!((ended.is_ok(), device.blocks_left()), (true, 0));
            } else {
                assert!(ended.is_err(), "{method:?} {after:?} cut at {at} and called erased");
                cuts += 1;
            }
            device.restart(Lie::None);
        }
        next_run(device, method, seed(runs + 1_000_000), runs);
    }
}

/// The run after the cut, on a device that is honest or one that does nothing any more.
fn next_run(mut device: Device, method: EraseMethod, seed: Digest, number: u32) {
    let honest = number.is_multiple_of(4);
    if !honest {
        device.restart(Lie::ErasesNothing);
    }
    let task = task(&device, method, seed, 200);
    let ended = drive(&mut device, task);
    if ended.is_ok() {
        assert_eq!(device.blocks_left(), 0, "{method:?}");
    }
    assert_eq!(ended.is_ok(), honest, "{method:?}: {:?}", ended.err());
}

/// Every single operation of every method once, on a disk with blocks that are neither marker nor
/// sample.
#[test]
fn a_cut_at_every_operation_of_a_larger_disk() {
    let method = EraseMethod::NvmeSanitizeCryptoBlock;
    let length = operations(600, method);
    for at in (1..length).step_by(41).chain([1, 2, 3, 4, length - 1]) {
        let mut device = Device::dirty(600, Lie::None);
        device.lose_power_after(at, AFTER[usize::try_from(at % 3).unwrap()]);
        let cut = task(&device, method, seed(1), 200);
        assert!(drive(&mut device, cut).is_err(), "cut at {at}");
        device.restart(Lie::None);
        let next = task(&device, method, seed(2), 200);
        assert!(drive(&mut device, next).is_ok(), "after a cut at {at}");
        assert_eq!(device.blocks_left(), 0);
        assert_eq!(size_in_blocks(&device), 600);
    }
}

/// The same order again after the cut, with the same seed: the markers of the first run are there
/// already, and nothing is proven by them.
#[test]
fn the_same_seed_again_proves_no_more() {
    for method in METHODS {
        for lie in [Lie::ErasesNothing, Lie::LeavesMarkers] {
            let mut device = Device::dirty(64, Lie::None);
            device.lose_power_after(80, AfterCut::Forgotten);
            let first = task(&device, method, seed(1), 200);
            assert!(drive(&mut device, first.clone()).is_err());
            device.restart(lie);
            assert!(drive(&mut device, first).is_err(), "{method:?} {lie:?}");
        }
    }
}

/// What a run finds running is waited for and written down, and proves nothing; a failed one is got
/// out of first.
#[test]
fn what_was_under_way_is_waited_for_and_what_failed_is_begun_again() {
    let method = EraseMethod::NvmeSanitizeBlock;
    for (after, purpose) in
        [(AfterCut::GoesOn, CommandPurpose::FoundRunning), (AfterCut::Failed, CommandPurpose::Recover)]
    {
        let mut device = Device::dirty(8, Lie::None);
        // Prepare, settle, eight markers, eight reads, the command, three questions; and then the end.
        device.lose_power_after(1 + 1 + 8 + 8 + 1 + 3 + 1, after);
        let cut = task(&device, method, seed(1), 200);
        assert!(drive(&mut device, cut).is_err());
        assert!(device.blocks_left() > 0);
        device.restart(Lie::None);
        let next = task(&device, method, seed(2), 200);
        let erased = drive(&mut device, next).unwrap();
        let purposes: Vec<CommandPurpose> =
            erased.record().commands.iter().map(|command| command.purpose).collect();
        assert!(purposes.contains(&purpose), "{purposes:?}");
        assert_eq!(purposes.last(), Some(&CommandPurpose::Erase));
        assert_eq!(device.blocks_left(), 0);
    }
}
