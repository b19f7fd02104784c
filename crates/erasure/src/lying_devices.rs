//! Devices that lie and devices that lose their power, against the erase run: never may a disk that
//! still holds data be called erased.

mod device;
mod fills;
mod found_clean;
mod lie;
mod lies;
mod order;
mod power_cuts;
mod zeros;

use contract::decision::SanitizeLevel;
use contract::id::{Digest, UnixMillis};
use contract::plan::{DiskTarget, EraseMethod, VerifyDepth};

use self::device::{BLOCK, Device};
use crate::command::commands;
use crate::method::may_deliver;
use crate::run::{EraseRun, EraseTask, Erased, Next, NotErased, Prepared};

const METHODS: [EraseMethod; 18] = [
    EraseMethod::Overwrite,
    EraseMethod::ScsiWriteSame,
    EraseMethod::NvmeFormatUserData,
    EraseMethod::NvmeFormatCrypto,
    EraseMethod::NvmeSanitizeBlock,
    EraseMethod::NvmeSanitizeCrypto,
    EraseMethod::NvmeSanitizeCryptoBlock,
    EraseMethod::NvmeSanitizeOverwrite,
    EraseMethod::AtaSanitizeBlock,
    EraseMethod::AtaSanitizeCrypto,
    EraseMethod::AtaSanitizeCryptoBlock,
    EraseMethod::AtaSanitizeOverwrite,
    EraseMethod::AtaSecurityErase,
    EraseMethod::AtaSecurityEraseEnhanced,
    EraseMethod::ScsiSanitizeBlock,
    EraseMethod::ScsiSanitizeCrypto,
    EraseMethod::ScsiSanitizeCryptoBlock,
    EraseMethod::ScsiSanitizeOverwrite,
];

fn sanitizes(method: EraseMethod) -> bool {
    commands(method).iter().any(|command| command.outlives_a_reset())
}

fn task(device: &Device, method: EraseMethod, seed: Digest, samples: u32) -> EraseTask {
    let disk = DiskTarget {
        id: "disk-1".parse().unwrap(),
        size_bytes: device.size_bytes(),
        logical_sector_bytes: 512,
    };
    let purges = may_deliver(method, SanitizeLevel::Purge);
    let level = if purges { SanitizeLevel::Purge } else { SanitizeLevel::Clear };
    EraseTask { disk, method, level, seed, samples, depth: VerifyDepth::Sampling }
}

/// Drives a run against a device until it is finished or the power fails. Time is the device's.
fn drive(device: &mut Device, task: EraseTask) -> Result<Erased, NotErased> {
    let mut run = EraseRun::new(task.clone())?;
    while device.has_power() {
        match run.next() {
            Next::Finished => break,
            Next::Prepare => {
                let prepared = device.prepare().map(|()| Prepared {
                    estimates_seconds: vec![device.estimate_seconds(); commands(task.method).len()],
                    health: device.health(),
                });
                run.prepared(device.now_millis, prepared);
            }
            Next::WriteMarkers { offsets } => {
                let mut write = offsets.iter().map(|offset| device.write(*offset, &run.marker(*offset)));
                let written = write.try_for_each(|written| written);
                run.markers_written(written);
            }
            Next::Read(span) => {
                let read = device.read(span.offset, span.bytes);
                run.observed(span.offset, read.as_deref().map_err(Clone::clone));
            }
            Next::Command(command) => {
                let given = device.start(command);
                run.command_given(device.now_millis, given);
            }
            Next::Poll { command, after_millis } => {
                device.now_millis += after_millis;
                let progress = device.progress(command);
                run.polled(device.now_millis, progress);
            }
            Next::AskClean => run.said_clean(device.said_clean()),
            Next::Overwrite => run.overwritten(device.overwrite()),
            Next::WriteSame(span) => {
                let written = device.write_same(span);
                run.same_written(device.now_millis, written);
            }
            Next::LookAgain => run.looked_again(device.look_again()),
        }
    }
    run.finish(UnixMillis(1), UnixMillis(2))
}

/// The number of blocks of 4 KiB that the larger devices have: markers in half of them.
const BLOCKS: usize = 1024;

fn size_in_blocks(device: &Device) -> usize {
    usize::try_from(device.size_bytes()).unwrap() / BLOCK
}

pub(crate) use self::zeros::refused;

/// What a run records of an honest device, and the task that it had, for tests of what is made of it.
pub(crate) fn honest(method: EraseMethod, depth: VerifyDepth) -> (EraseTask, crate::EraseRecord) {
    let mut device = match method {
        EraseMethod::NvmeFoundClean => Device::sanitized_before(BLOCKS, lie::Lie::None),
        _ => Device::dirty(BLOCKS, lie::Lie::None),
    };
    let task = EraseTask { depth, ..task(&device, method, Digest::of(b"seed"), 200) };
    let erased = drive(&mut device, task.clone()).unwrap();
    (task, erased.record().clone())
}
