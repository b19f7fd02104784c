//! Two disks at once: really at once, and each judged for itself.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use anyhow::bail;
use contract::agent_api::{Finish, FinishResult, Progress, ResidentIdentity};
use contract::decision::SanitizeLevel;
use contract::id::{ChunkDigest, Digest, DiskId, ImageId, OrderId, UnixMillis};
use contract::plan::{DiskTarget, EraseMethod, Step, VerifyDepth};
use erasure::command::{CommandProgress, DeviceCommand};
use imaging::manifest::Manifest;

use crate::act::carry_out::{World, carry_out};
use crate::act::device::{BlockDevice, Disks, PartitionPlace, Timer};
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, noise, permit_for};
use crate::act::service::{Answer, Service};

/// How many erases have begun; each waits for the other.
#[derive(Default)]
struct Meeting {
    begun: Mutex<u32>,
    changed: Condvar,
}

impl Meeting {
    /// Returns when both have come. Alone nobody waits for ever.
    fn arrive(&self) -> io::Result<()> {
        let mut begun = self.begun.lock().unwrap();
        *begun += 1;
        self.changed.notify_all();
        let both = self.changed.wait_timeout_while(begun, Duration::from_secs(20), |begun| *begun < 2);
        if both.unwrap().1.timed_out() { Err(io::Error::other("the other never began")) } else { Ok(()) }
    }
}

/// A disk that begins to erase itself only when another one does.
struct Meets {
    disk: Arc<FakeDevice>,
    meeting: Arc<Meeting>,
}

impl BlockDevice for Meets {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.disk.sector_bytes()
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset_bytes, buffer)
    }

    fn write_at(&self, offset_bytes: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(offset_bytes, bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn drop_caches(&self) -> io::Result<()> {
        self.disk.drop_caches()
    }

    fn start_erase(&self, command: DeviceCommand) -> io::Result<()> {
        self.meeting.arrive()?;
        self.disk.start_erase(command)
    }

    fn erase_progress(&self, command: DeviceCommand) -> io::Result<CommandProgress> {
        self.disk.erase_progress(command)
    }

    fn reread_partitions(&self) -> io::Result<()> {
        Ok(())
    }
}

struct TwoDisks {
    disks: [Arc<FakeDevice>; 2],
    /// None if they do not wait for each other.
    meeting: Option<Arc<Meeting>>,
}

fn id(which: usize) -> DiskId {
    ["nvme-first", "nvme-second"][which].parse().unwrap()
}

impl Disks for TwoDisks {
    fn open(&self, target: &DiskTarget) -> anyhow::Result<Arc<dyn BlockDevice>> {
        let Some(which) = (0..2).find(|which| id(*which) == target.id) else { bail!("no such disk") };
        let disk = Arc::clone(&self.disks[which]);
        Ok(match &self.meeting {
            Some(meeting) => Arc::new(Meets { disk, meeting: Arc::clone(meeting) }),
            None => disk,
        })
    }

    fn timer(&self) -> Arc<dyn Timer> {
        self.disks[0].timer()
    }

    fn partition(&self, _target: &DiskTarget, _partition: PartitionPlace) -> anyhow::Result<PathBuf> {
        bail!("no partition")
    }
}

/// A service that does not record that this step begins.
struct RefusesBeginOf(u32, Arc<FakeService>);

impl Service for RefusesBeginOf {
    fn begin(&self, order: OrderId, step: u32) -> Answer<'_, ()> {
        if step == self.0 {
            return Box::pin(async { bail!("no answer") });
        }
        self.1.begin(order, step)
    }

    fn progress(&self, progress: Progress) -> Answer<'_, ()> {
        self.1.progress(progress)
    }

    fn credential(&self) -> Answer<'_, ResidentIdentity> {
        self.1.credential()
    }

    fn manifest(&self, image: ImageId) -> Answer<'_, Manifest> {
        self.1.manifest(image)
    }

    fn chunk(&self, digest: ChunkDigest) -> Answer<'_, Vec<u8>> {
        self.1.chunk(digest)
    }
}

fn erase_step(which: usize, disk: &FakeDevice) -> Step {
    Step::Erase {
        disk: DiskTarget { id: id(which), size_bytes: disk.size_bytes(), logical_sector_bytes: 512 },
        method: EraseMethod::NvmeSanitizeBlock,
        level: SanitizeLevel::Purge,
        verify_seed: Digest::of(b"seed"),
        verify_samples: 50,
        verify_depth: VerifyDepth::Sampling,
    }
}

fn disks(faults: [Faults; 2]) -> [Arc<FakeDevice>; 2] {
    faults.map(|faults| Arc::new(FakeDevice::new(noise(7, 4 << 20), faults)))
}

fn run(disks: &[Arc<FakeDevice>; 2], meeting: Option<Arc<Meeting>>, service: Arc<dyn Service>) -> Finish {
    let steps = vec![erase_step(0, &disks[0]), erase_step(1, &disks[1])];
    let permit = permit_for(&[(id(0), &disks[0]), (id(1), &disks[1])], steps);
    let world = World {
        service,
        disks: Arc::new(TwoDisks { disks: disks.clone(), meeting }),
        clock: Arc::new(|| UnixMillis(1600)),
        firmware: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(carry_out(permit, &world))
}

fn service() -> Arc<FakeService> {
    Arc::new(FakeService::without_images())
}

#[test]
fn two_disks_are_erased_at_once_and_begin_in_the_order_of_the_plan() {
    let disks = disks([Faults::default(), Faults::default()]);
    let service = service();
    let finish = run(&disks, Some(Arc::default()), Arc::clone(&service) as Arc<dyn Service>);
    assert_eq!(finish.result, FinishResult::Done);
    assert_eq!(service.calls(), ["begin 0", "begin 1"]);
    assert_eq!(finish.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [0, 1]);
    assert!(finish.steps.iter().all(|step| step.erase_record.is_some() && step.bytes_read > 0));
    assert!(disks.iter().all(|disk| disk.content().iter().all(|byte| *byte == 0)));
}

#[test]
fn a_disk_that_fails_stops_no_other_and_the_work_has_failed() {
    for bad in 0..2 {
        let mut faults = [Faults::default(), Faults::default()];
        faults[bad].sanitize_stands_still = true;
        let disks = disks(faults);
        let finish = run(&disks, None, service());
        let FinishResult::Failed { step, error } = &finish.result else { panic!("{:?}", finish.result) };
        assert_eq!(*step as usize, bad);
        assert!(error.contains("no progress"), "{error}");
        // The other one was erased, and its proof is there.
        assert_eq!(finish.steps.iter().map(|step| step.step as usize).collect::<Vec<_>>(), [1 - bad]);
        assert!(disks[1 - bad].content().iter().all(|byte| *byte == 0));
    }
}

#[test]
fn what_is_not_recorded_is_not_begun_and_what_was_begun_is_seen_to_its_end() {
    let disks = disks([Faults::default(), Faults::default()]);
    let finish = run(&disks, None, Arc::new(RefusesBeginOf(1, service())));
    assert!(matches!(&finish.result, FinishResult::Failed { step: 1, .. }), "{:?}", finish.result);
    assert_eq!(finish.steps.len(), 1);
    assert!(disks[0].content().iter().all(|byte| *byte == 0));
    assert!(disks[1].writes().is_empty() && disks[1].commands().is_empty());
}
