//! What was done and seen in one erase, for the job's record and the certificate.

use contract::decision::SanitizeLevel;
use contract::id::{Digest, UnixMillis};
use contract::plan::{DiskTarget, EraseMethod};
use serde::{Deserialize, Serialize};

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
    /// What the device answered.
    pub device_status: String,
    /// Seed of positions and markers.
    pub seed: Digest,
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
    /// The share of un-erased blocks that the samples find with 95 % probability, parts per million.
    pub found_with_95_percent_ppm: u32,
    /// When the run started, the service's time.
    pub started_at: UnixMillis,
    /// When the last block was read back, the service's time.
    pub ended_at: UnixMillis,
    /// What this erase does not reach or cannot prove.
    pub exclusions: Vec<String>,
}

/// What a method does not reach or cannot prove, in words for the certificate (NIST SP 800-88r1
/// Appendix A; NVM Express Base Specification, annex A: only what is accessible can be audited).
#[must_use]
pub fn exclusions(method: EraseMethod) -> Vec<String> {
    let mut texts = vec![
        "retired and over-provisioned blocks are not addressable and were not read back",
        "firmware, boot partitions and replay-protected memory of the device were not touched",
        "conformance to IEEE 2883 was not independently assessed",
    ];
    match method {
        EraseMethod::Overwrite => texts.extend([
            "areas hidden by the device (host-protected area, device configuration overlay) were not looked for",
            "a device may store zeros without programming them",
        ]),
        _ => {
            texts.push("that a key was destroyed, or every copy erased, is the device's word; read-back is by samples");
        }
    }
    texts.into_iter().map(str::to_owned).collect()
}
