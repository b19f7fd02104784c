//! Devices that lie, against the erase run: never may a disk that still holds data be called erased.

use contract::decision::SanitizeLevel;
use contract::id::{Digest, UnixMillis};
use contract::plan::{DiskTarget, EraseMethod};
use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use crate::run::{DeviceReport, EraseRun, EraseTask, Erased, Next, NotErased};
use crate::sample::BLOCK_BYTES;

const SIZE_BYTES: u64 = 8 << 20;
const SAMPLES: u32 = 500;
const BLOCK: usize = 4096;
const BLOCKS: usize = SIZE_BYTES as usize / BLOCK;

/// What a device does otherwise than it says. Block numbers are of 4 KiB.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
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
    /// Cannot be read back in one place.
    ReadErrorAt(usize),
    /// Reads come short in one place.
    ShortReadAt(usize),
    /// Reads are too long in one place.
    LongReadAt(usize),
    /// Is smaller afterwards.
    Shrinks,
    /// Has other sectors afterwards.
    ChangesSectors,
    /// Calls itself something else afterwards.
    ChangesIdentity,
    /// Fails, having erased all the same.
    FailsButErases,
    /// Writes less than it was told and says so.
    WritesLess,
    /// Leaves the old data, scrambled the same way everywhere with the key kept.
    KeepsKey,
    /// Fills with a fixed pattern and not what the method leaves.
    Pattern(u8),
}

struct Device {
    bytes: Vec<u8>,
    lie: Lie,
    markers: Vec<u64>,
    erased: bool,
}

impl Device {
    /// A disk full of a tenant's text, each block its own.
    fn dirty(lie: Lie) -> Self {
        let mut bytes = vec![0; SIZE_BYTES as usize];
        for (number, block) in bytes.chunks_mut(BLOCK).enumerate() {
            let text = format!("secret of tenant a, block {number}. ");
            for (at, byte) in text.bytes().cycle().take(BLOCK).enumerate() {
                block[at] = byte;
            }
        }
        Self { bytes, lie, markers: Vec::new(), erased: false }
    }

    fn write_marker(&mut self, offset: u64, content: &[u8]) {
        self.markers.push(offset);
        if self.lie != Lie::IgnoresWrites {
            self.bytes[offset as usize..][..BLOCK].copy_from_slice(content);
        }
    }

    fn spares(&self, block: usize) -> bool {
        let offset = (block * BLOCK) as u64;
        match self.lie {
            Lie::ErasesNothing | Lie::KeepsKey => true,
            Lie::ErasesOnlyFirst(count) => block >= count,
            Lie::Skips { first, count } => (first..first + count).contains(&block),
            Lie::SkipsEvery(step) => block.is_multiple_of(step),
            Lie::LeavesMarkers => self.markers.contains(&offset),
            Lie::ErasesOnlyMarkers => !self.markers.contains(&offset),
            Lie::LeavesOneMarker(which) => self.markers.get(which) == Some(&offset),
            _ => false,
        }
    }

    fn execute(&mut self, method: EraseMethod) -> Result<DeviceReport, String> {
        self.erased = true;
        for block in 0..BLOCKS {
            if self.spares(block) || self.lie == Lie::IgnoresWrites && method == EraseMethod::Overwrite {
                continue;
            }
            let filled = match (self.lie, method) {
                (Lie::Pattern(byte), _) => vec![byte; BLOCK],
                (_, EraseMethod::Overwrite) => vec![0; BLOCK],
                (_, EraseMethod::NvmeFormatCrypto) => {
                    crate::markers::marker(Digest::of(b"new key"), block as u64)
                }
                (_, _) => vec![0xff; BLOCK],
            };
            self.bytes[block * BLOCK..][..BLOCK].copy_from_slice(&filled);
        }
        if self.lie == Lie::FailsButErases {
            return Err("status 0x4281".to_owned());
        }
        let written = if method == EraseMethod::Overwrite { SIZE_BYTES } else { 0 };
        let report = DeviceReport {
            status: "completed".to_owned(),
            id: "disk-1".parse().unwrap(),
            size_bytes: SIZE_BYTES,
            logical_sector_bytes: 512,
            bytes_written: written,
        };
        Ok(match self.lie {
            Lie::Shrinks => DeviceReport { size_bytes: SIZE_BYTES / 2, ..report },
            Lie::ChangesSectors => DeviceReport { logical_sector_bytes: 4096, ..report },
            Lie::ChangesIdentity => DeviceReport { id: "disk-2".parse().unwrap(), ..report },
            Lie::WritesLess => DeviceReport { bytes_written: written.saturating_sub(4096), ..report },
            _ => report,
        })
    }

    fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, String> {
        let mut bytes = self.bytes[offset as usize..][..length as usize].to_vec();
        let covers =
            |block: usize| (offset..offset + length).contains(&((block * BLOCK) as u64)) && self.erased;
        match self.lie {
            Lie::ReadErrorAt(block) if covers(block) => return Err("unrecovered read error".to_owned()),
            Lie::ShortReadAt(block) if covers(block) => bytes.truncate(bytes.len() - 512),
            Lie::LongReadAt(block) if covers(block) => bytes.push(0),
            _ => {}
        }
        Ok(bytes)
    }

    /// Blocks that still hold what the tenant or we wrote before.
    fn blocks_left(&self) -> usize {
        let before = Self::dirty(Lie::None);
        let pairs = self.bytes.chunks(BLOCK).zip(before.bytes.chunks(BLOCK));
        pairs.filter(|(now, then)| now == then).count()
    }
}

fn task(method: EraseMethod, seed: Digest) -> EraseTask {
    let disk =
        DiskTarget { id: "disk-1".parse().unwrap(), size_bytes: SIZE_BYTES, logical_sector_bytes: 512 };
    let level =
        if method == EraseMethod::NvmeFormatCrypto { SanitizeLevel::Purge } else { SanitizeLevel::Clear };
    EraseTask { disk, method, level, seed, samples: SAMPLES }
}

/// Drives a run against a device; stops after `steps` answers, as a power cut would.
fn drive(device: &mut Device, method: EraseMethod, seed: Digest, steps: usize) -> Result<Erased, NotErased> {
    let mut run = EraseRun::new(task(method, seed))?;
    for _ in 0..steps {
        match run.next() {
            Next::WriteMarkers { offsets } => {
                for offset in offsets {
                    device.write_marker(offset, &run.marker(offset));
                }
                run.markers_written(Ok(()));
            }
            Next::Read(span) => {
                let read = device.read(span.offset, span.bytes);
                run.observed(span.offset, read.as_deref().map_err(Clone::clone));
            }
            Next::Execute(method) => run.executed(device.execute(method)),
            Next::Finished => break,
        }
    }
    run.finish(UnixMillis(1), UnixMillis(2))
}

const METHODS: [EraseMethod; 3] =
    [EraseMethod::Overwrite, EraseMethod::NvmeFormatUserData, EraseMethod::NvmeFormatCrypto];

#[test]
fn an_honest_device_is_erased_and_the_record_says_how() {
    for method in METHODS {
        let mut device = Device::dirty(Lie::None);
        let erased = drive(&mut device, method, Digest::of(b"seed"), usize::MAX).unwrap();
        let record = erased.record();
        assert_eq!((record.method, record.samples, record.markers_gone), (method, 500, 512));
        assert_eq!(record.found_with_95_percent_ppm, 5_974);
        assert_eq!(record.device_status, "completed");
        assert!(record.bytes_read_back >= 2 * (1 << 20) + 500 * BLOCK_BYTES);
        assert!(!record.exclusions.is_empty());
        let counts = &record.found;
        let expected = match method {
            EraseMethod::Overwrite => counts.zeros,
            EraseMethod::NvmeFormatCrypto => counts.noise,
            _ => counts.ones,
        };
        assert_eq!(expected, counts.zeros + counts.ones + counts.noise);
        assert!(expected > 1200);
        let json = serde_json::to_string(record).unwrap();
        assert_eq!(&serde_json::from_str::<crate::EraseRecord>(&json).unwrap(), record);
    }
}

/// Any of the ways in which old content shows.
const LEFT: &str = "survived|as it was|not what the erase leaves";

#[test]
fn a_lying_device_is_never_called_erased() {
    let lies = [
        (Lie::ErasesNothing, LEFT),
        (Lie::ErasesOnlyFirst(BLOCKS - 16), LEFT),
        (Lie::ErasesOnlyFirst(BLOCKS / 2), LEFT),
        (Lie::Skips { first: 0, count: 1 }, LEFT),
        (Lie::Skips { first: BLOCKS - 1, count: 1 }, LEFT),
        (Lie::Skips { first: 700, count: 200 }, LEFT),
        (Lie::SkipsEvery(50), LEFT),
        (Lie::LeavesMarkers, "survived"),
        (Lie::LeavesOneMarker(311), "survived"),
        (Lie::IgnoresWrites, "after it was written"),
        (Lie::ReadErrorAt(0), "could not be read back: unrecovered read error"),
        (Lie::ReadErrorAt(BLOCKS - 1), "could not be read back"),
        (Lie::ShortReadAt(0), "bytes were read at byte"),
        (Lie::LongReadAt(BLOCKS - 1), "bytes were read at byte"),
        (Lie::Shrinks, "changed its size"),
        (Lie::ChangesSectors, "changed its sector size"),
        (Lie::ChangesIdentity, "changed its identity"),
        (Lie::FailsButErases, "did not complete the erase: status 0x4281"),
        (Lie::KeepsKey, LEFT),
        (Lie::Pattern(0x5a), "not what the erase leaves"),
    ];
    for method in METHODS {
        for (lie, expected) in lies {
            let refused =
                drive(&mut Device::dirty(lie), method, Digest::of(b"seed"), usize::MAX).unwrap_err();
            let words = refused.to_string();
            assert!(expected.split('|').any(|part| words.contains(part)), "{method:?} {lie:?}: {words}");
        }
    }
    let mut short = Device::dirty(Lie::WritesLess);
    let refused = drive(&mut short, EraseMethod::Overwrite, Digest::of(b"seed"), usize::MAX).unwrap_err();
    assert_eq!(refused, NotErased::NotAllWritten { written: SIZE_BYTES - 4096, size: SIZE_BYTES });
    let mut ones = Device::dirty(Lie::Pattern(0xff));
    let refused = drive(&mut ones, EraseMethod::Overwrite, Digest::of(b"seed"), usize::MAX).unwrap_err();
    assert!(matches!(refused, NotErased::Leftover { .. }));
}

#[test]
fn a_power_cut_at_any_step_is_not_erased() {
    for method in METHODS {
        let honest = || Device::dirty(Lie::None);
        let mut steps_in_all = 0;
        let mut run = EraseRun::new(task(method, Digest::of(b"seed"))).unwrap();
        let mut device = honest();
        // Count the steps once, then stop before each of a spread of them and before the very last.
        while run.next() != Next::Finished {
            match run.next() {
                Next::WriteMarkers { offsets } => {
                    offsets.iter().for_each(|offset| device.write_marker(*offset, &run.marker(*offset)));
                    run.markers_written(Ok(()));
                }
                Next::Read(span) => {
                    run.observed(span.offset, Ok(&device.read(span.offset, span.bytes).unwrap()))
                }
                Next::Execute(method) => run.executed(device.execute(method)),
                Next::Finished => {}
            }
            steps_in_all += 1;
        }
        assert!(run.finish(UnixMillis(1), UnixMillis(2)).is_ok());
        let mut cuts: Vec<usize> = (0..steps_in_all).step_by(401).collect();
        cuts.extend([0, 1, 2, 512, 513, 514, 515, steps_in_all - 1]);
        for cut in cuts {
            let stopped = drive(&mut honest(), method, Digest::of(b"seed"), cut).unwrap_err();
            assert!(matches!(stopped, NotErased::Stopped(_)), "{method:?} cut at {cut}: {stopped}");
        }
        assert!(drive(&mut honest(), method, Digest::of(b"seed"), steps_in_all).is_ok());
    }
}

#[test]
fn a_run_that_is_driven_out_of_order_is_not_erased() {
    let run = || EraseRun::new(task(EraseMethod::Overwrite, Digest::of(b"seed"))).unwrap();
    let finish = |run: EraseRun| run.finish(UnixMillis(1), UnixMillis(2)).unwrap_err();
    let report = Device::dirty(Lie::None).execute(EraseMethod::Overwrite);

    let mut early = run();
    early.executed(report.clone());
    assert!(matches!(finish(early), NotErased::OutOfOrder(_)));

    let mut elsewhere = run();
    elsewhere.markers_written(Ok(()));
    elsewhere.observed(1, Ok(&[0; BLOCK]));
    assert!(matches!(finish(elsewhere), NotErased::OutOfOrder(_)));

    let mut twice = run();
    twice.markers_written(Ok(()));
    twice.markers_written(Ok(()));
    assert!(matches!(finish(twice), NotErased::OutOfOrder(_)));

    // A failure stays: nothing that comes later makes the run good again.
    let mut failed = run();
    failed.markers_written(Err("EIO".to_owned()));
    failed.markers_written(Ok(()));
    failed.executed(report);
    assert_eq!(failed.next(), Next::Finished);
    assert_eq!(finish(failed), NotErased::MarkersNotWritten("EIO".to_owned()));
}

#[test]
fn a_task_that_proves_nothing_is_refused() {
    let good = task(EraseMethod::Overwrite, Digest::of(b"seed"));
    let small = DiskTarget { size_bytes: 512, ..good.disk.clone() };
    let bad = [
        EraseTask { samples: 0, ..good.clone() },
        EraseTask { disk: small, ..good.clone() },
        EraseTask { level: SanitizeLevel::Purge, ..good },
    ];
    for task in bad {
        assert!(matches!(EraseRun::new(task), Err(NotErased::Task { .. })));
    }
}

/// Encrypted data look like noise, which a format may leave; only the comparison with before tells.
#[test]
fn noise_that_was_there_before_is_not_what_a_format_left() {
    for method in [EraseMethod::NvmeFormatUserData, EraseMethod::NvmeFormatCrypto] {
        let mut device = Device::dirty(Lie::ErasesOnlyMarkers);
        for (number, block) in device.bytes.chunks_mut(BLOCK).enumerate() {
            block
                .copy_from_slice(&crate::markers::marker(Digest::of(b"disk key of tenant a"), number as u64));
        }
        let refused = drive(&mut device, method, Digest::of(b"seed"), usize::MAX).unwrap_err();
        assert!(matches!(refused, NotErased::Unchanged { .. }), "{refused}");
    }
}

#[test]
fn a_disk_that_was_blank_before_is_erased_by_a_format_that_leaves_it_blank() {
    for byte in [0, 0xff] {
        let mut device = Device::dirty(Lie::Pattern(byte));
        device.bytes.fill(byte);
        assert!(drive(&mut device, EraseMethod::NvmeFormatUserData, Digest::of(b"seed"), usize::MAX).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// More than ten times the share that is found with 95 % stays never undetected in practice
    /// (0.05^10 is one in ten million million), wherever it lies and whatever the seed.
    #[test]
    fn a_dirty_region_above_the_claim_is_found(seed: [u8; 32], first in 0..BLOCKS, count in 130..600_usize, method in 0..3_usize) {
        let mut device = Device::dirty(Lie::Skips { first, count });
        let ended = drive(&mut device, METHODS[method], Digest(seed), usize::MAX);
        prop_assert!(ended.is_err() || device.blocks_left() == 0, "blocks left from {}", first);
    }

    /// Whatever is read back, nothing panics and nothing but a whole run is called erased.
    #[test]
    fn arbitrary_answers_never_prove_anything(answers in proptest::collection::vec((0..4_u8, proptest::num::u64::ANY, proptest::collection::vec(proptest::num::u8::ANY, 0..64)), 0..40)) {
        let mut run = EraseRun::new(task(EraseMethod::NvmeFormatUserData, Digest::of(b"seed"))).unwrap();
        let disk = task(EraseMethod::NvmeFormatUserData, Digest::of(b"seed")).disk;
        let report = DeviceReport { status: "ok".to_owned(), id: disk.id, size_bytes: disk.size_bytes, logical_sector_bytes: 512, bytes_written: 0 };
        for (kind, number, bytes) in answers {
            match kind {
                0 => run.markers_written(Ok(())),
                1 => run.observed(number, Ok(&bytes)),
                2 => run.executed(Err("no".to_owned())),
                _ => run.executed(Ok(report.clone())),
            }
        }
        prop_assert!(run.finish(UnixMillis(1), UnixMillis(2)).is_err());
    }
}
