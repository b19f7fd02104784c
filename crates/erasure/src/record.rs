//! What was done and seen in one erase, for the job's record and the certificate.

use contract::decision::SanitizeLevel;
use contract::id::{Digest, UnixMillis};
use contract::plan::{DiskTarget, EraseMethod, VerifyDepth};
use contract::reading::Outcome;
use serde::{Deserialize, Serialize};

use crate::command::DeviceCommand;

/// What the blocks that were read back looked like, by count of spans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentCounts {
    /// All bytes 00h.
    pub zeros: u64,
    /// All bytes FFh.
    pub ones: u64,
    /// Like random bytes.
    pub noise: u64,
}

/// One value of a device's health log, as the device gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthReading {
    /// What it is, such as `media errors`.
    pub name: String,
    /// Its value, with the unit where there is one.
    pub value: String,
}

/// How many values of a health log a record holds at most; what is more is left out.
pub const HEALTH_READINGS_MAX: usize = 64;

/// How many points of a command's progress a record holds at most.
pub const PROGRESS_POINTS_MAX: usize = 32;

/// How far a command was at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressPoint {
    /// Milliseconds after the command was given.
    pub after_millis: u64,
    /// What the device said, in parts of 65536; none where it did not say.
    pub progress_65536: Option<u16>,
}

/// One command that the device was given, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRecord {
    /// Which.
    pub command: DeviceCommand,
    /// What it was given for.
    pub purpose: CommandPurpose,
    /// What the device said of it in the end.
    pub status: String,
    /// How long the device said beforehand that it takes, in seconds; none where it did not say.
    pub estimate_seconds: Option<u32>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// How far it was, at some of the times when the device was asked; thinned out where there were
    /// many.
    pub progress: Vec<ProgressPoint>,
}

/// What a command was given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandPurpose {
    /// It was running when the run began, and its end was waited for. It proves nothing.
    FoundRunning,
    /// To get the device out of a sanitize that had failed. It proves nothing.
    Recover,
    /// To erase.
    Erase,
    /// To erase, and the device refused it; what the method means then was done in its place. It proves
    /// nothing.
    Refused,
}

/// What was done and seen in one erase. A record says what happened; that it was proven says only
/// [`crate::Erased`], which is never read from the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseRecord {
    /// Which disk.
    pub disk: DiskTarget,
    /// To which level.
    pub level: SanitizeLevel,
    /// How.
    pub method: EraseMethod,
    /// What the device answered, all commands together.
    pub device_status: String,
    /// The commands that the device was given, in order.
    #[serde(default)]
    pub commands: Vec<CommandRecord>,
    /// Seed of positions and markers.
    pub seed: Digest,
    /// How much was read back.
    #[serde(default)]
    pub depth: VerifyDepth,
    /// How many markers were written before and found gone afterwards.
    pub markers_gone: u64,
    /// How many blocks of 4 KiB were read back at positions from the seed, markers not counted.
    pub samples: u64,
    /// BLAKE3 of the positions, each as 8 bytes little-endian.
    pub positions: Digest,
    /// How many bytes were read back in all, the first and last MiB included.
    pub bytes_read_back: u64,
    /// What the samples and the two ends looked like.
    pub found: ContentCounts,
    /// The share of un-erased blocks that is found with 95 % probability, parts per million: by the
    /// samples, or 0 where every block was read and none could pass for erased by looking like noise.
    pub found_with_95_percent_ppm: u32,
    /// The device's own health log before, as it gave it; absent where it has none.
    #[serde(default = "absent")]
    pub health_before: Outcome<Vec<HealthReading>>,
    /// The device's own health log afterwards.
    #[serde(default = "absent")]
    pub health_after: Outcome<Vec<HealthReading>>,
    /// When the run started, the service's time.
    pub started_at: UnixMillis,
    /// When the last block was read back, the service's time.
    pub ended_at: UnixMillis,
    /// What this erase does not reach or cannot prove.
    pub exclusions: Vec<String>,
}

/// A health log comes from a device and goes into a record: no more of it than fits.
pub(crate) fn bounded_health(health: Outcome<Vec<HealthReading>>) -> Outcome<Vec<HealthReading>> {
    health.map(|mut readings| {
        readings.truncate(HEALTH_READINGS_MAX);
        readings
    })
}

fn absent<T>() -> Outcome<T> {
    Outcome::Absent
}

/// What a method does not reach or cannot prove, in words for the certificate (NIST SP 800-88r1
/// Appendix A; NVM Express Base Specification, annex A: only what is accessible can be audited).
#[must_use]
pub fn exclusions(method: EraseMethod) -> Vec<String> {
    let mut texts = vec![
        "retired and over-provisioned blocks are not addressable and were not read back",
        "the device's firmware, and memory of its own beside the addressable blocks, were not touched",
        "conformance to IEEE 2883 was not independently assessed",
    ];
    match method {
        EraseMethod::Overwrite => texts.extend([
            "areas that a device hides (host-protected area, device configuration overlay) were looked for on ATA disks only",
            "a device may store zeros without programming them",
        ]),
        EraseMethod::ScsiWriteSame => texts.extend([
            "areas that a device hides are not looked for on SCSI disks",
            "that the disk wrote the zeros to its medium, and did not only take the blocks out of use, is its word; reading back does not show it",
        ]),
        EraseMethod::NvmeFoundClean => texts.extend([
            "the disk was not erased now: that it was sanitized before, and that nothing was written since, is the device's word",
            "when, by whom and for what it was sanitized is not known; no markers were written, so only what it holds now was seen",
        ]),
        _ => {
            texts.push("that a key was destroyed, or every copy erased, is the device's word; reading back does not show it");
        }
    }
    texts.into_iter().map(str::to_owned).collect()
}
