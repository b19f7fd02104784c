//! A system's disk and a data disk, written side by side: really at once, the system bootable last, and
//! gone on with after a cut.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use anyhow::bail;
use contract::agent_api::{Finish, FinishResult};
use contract::decision::SanitizeLevel;
use contract::id::{Digest, DiskId, UnixMillis};
use contract::plan::{DiskTarget, EraseMethod, Step, VerifyDepth};
use contract::root_size::RootSize;
use erasure::command::{CommandProgress, DeviceCommand};
use imaging::chunk::CHUNK_BYTES;
use imaging::layout::{DataLayoutRequest, DiskLayout};
use uuid::Uuid;

use crate::act::carry_out::{World, carry_out};
use crate::act::device::{BlockDevice, Disks, PartitionPlace, Timer};
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{
    FakeService, Image, data_image, disk_id, image, layout_request, noise, permit_for, write_step,
};
use crate::act::service::Service;

const SYSTEM_BYTES: usize = 48 << 20;
const DATA_BYTES: usize = 6 << 20;
const DATA_GUID: Uuid = Uuid::from_u128(0xda7a);

fn data_id() -> DiskId {
    "virtio-data".parse().unwrap()
}

/// Where two disks meet, and in which order they were written.
#[derive(Default)]
struct Both {
    arrived: Mutex<[bool; 2]>,
    changed: Condvar,
    writes: Mutex<Vec<(usize, u64, bool)>>,
}

impl Both {
    /// Returns when both disks are being written. Alone nobody waits for ever.
    fn meet(&self, which: usize) -> io::Result<()> {
        let mut arrived = self.arrived.lock().unwrap();
        arrived[which] = true;
        self.changed.notify_all();
        let alone = |arrived: &mut [bool; 2]| *arrived != [true; 2];
        let waited = self.changed.wait_timeout_while(arrived, Duration::from_secs(20), alone).unwrap();
        if waited.1.timed_out() { Err(io::Error::other("the other was never written")) } else { Ok(()) }
    }
}

struct Watched {
    disk: Arc<FakeDevice>,
    which: usize,
    both: Arc<Both>,
    meets: bool,
}

impl BlockDevice for Watched {
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
        if self.meets {
            self.both.meet(self.which)?;
        }
        let zeros = bytes.iter().all(|byte| *byte == 0);
        self.both.writes.lock().unwrap().push((self.which, offset_bytes, zeros));
        self.disk.write_at(offset_bytes, bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn drop_caches(&self) -> io::Result<()> {
        self.disk.drop_caches()
    }

    fn start_erase(&self, command: DeviceCommand) -> io::Result<()> {
        self.disk.start_erase(command)
    }

    fn erase_progress(&self, command: DeviceCommand) -> io::Result<CommandProgress> {
        self.disk.erase_progress(command)
    }

    fn reread_partitions(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A machine with a disk for the system and one for data.
struct Machine {
    disks: [Arc<FakeDevice>; 2],
    both: Arc<Both>,
    meets: bool,
}

impl Disks for Machine {
    fn open(&self, target: &DiskTarget) -> anyhow::Result<Arc<dyn BlockDevice>> {
        let Some(which) = [disk_id(), data_id()].iter().position(|id| *id == target.id) else {
            bail!("no such disk")
        };
        let disk = Arc::clone(&self.disks[which]);
        Ok(Arc::new(Watched { disk, which, both: Arc::clone(&self.both), meets: self.meets }))
    }

    fn timer(&self) -> Arc<dyn Timer> {
        self.disks[0].timer()
    }

    fn partition(&self, _target: &DiskTarget, _partition: PartitionPlace) -> anyhow::Result<PathBuf> {
        bail!("no partition")
    }
}

fn two_disks(system: (Vec<u8>, Faults), data: (Vec<u8>, Faults)) -> Machine {
    let disks = [system, data].map(|(content, faults)| Arc::new(FakeDevice::new(content, faults)));
    Machine { disks, both: Arc::default(), meets: false }
}

fn blank() -> Machine {
    two_disks((vec![0; SYSTEM_BYTES], Faults::default()), (vec![0; DATA_BYTES], Faults::default()))
}

fn data_target() -> DiskTarget {
    DiskTarget { id: data_id(), size_bytes: DATA_BYTES as u64, logical_sector_bytes: 512 }
}

fn data_step() -> Step {
    Step::WriteDataImage {
        disk: data_target(),
        image: data_image().manifest.id().unwrap(),
        disk_guid: DATA_GUID,
        last_partition: RootSize::Grow,
    }
}

fn service() -> FakeService {
    FakeService::with(&image()).and(&data_image())
}

fn run_steps(machine: Machine, service: FakeService, steps: Vec<Step>) -> (Finish, Arc<FakeService>) {
    let [system, data] = machine.disks.clone();
    let permit = permit_for(&[(disk_id(), &system), (data_id(), &data)], steps);
    let service = Arc::new(service);
    let world = World {
        service: Arc::clone(&service) as Arc<dyn Service>,
        disks: Arc::new(machine),
        clock: Arc::new(|| UnixMillis(1600)),
        firmware: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (runtime.block_on(carry_out(permit, &world)), service)
}

/// The data disk first and the system's last, as plans have them.
fn run(machine: Machine, service: FakeService) -> (Finish, Arc<FakeService>) {
    let steps = vec![data_step(), write_step(&machine.disks[0], &image())];
    run_steps(machine, service, steps)
}

fn data_layout(image: &Image) -> DiskLayout {
    let request = DataLayoutRequest {
        disk_bytes: DATA_BYTES as u64,
        sector_bytes: 512,
        disk_guid: DATA_GUID,
        last_partition: RootSize::Grow,
    };
    DiskLayout::compute_data(&image.manifest, &image.bytes[..CHUNK_BYTES], &request).unwrap()
}

fn data_is_complete(content: &[u8]) -> bool {
    let image = data_image();
    let layout = data_layout(&image);
    content[..CHUNK_BYTES] == layout.first_chunk[..]
        && content[CHUNK_BYTES..4 * CHUNK_BYTES] == image.bytes[CHUNK_BYTES..]
        && content[layout.backup_table_offset as usize..] == layout.backup_table[..]
}

fn system_is_complete(content: &[u8]) -> bool {
    let image = image();
    let first = &image.bytes[..CHUNK_BYTES];
    let layout = DiskLayout::compute(&image.manifest, first, &layout_request(SYSTEM_BYTES as u64)).unwrap();
    content[..CHUNK_BYTES] == layout.first_chunk[..]
        && content[CHUNK_BYTES..5 * CHUNK_BYTES] == image.bytes[CHUNK_BYTES..5 * CHUNK_BYTES]
}

/// Whether firmware could find partitions, by either table.
fn may_boot(content: &[u8]) -> bool {
    content[512..520] == *b"EFI PART"
        || content[510..512] == [0x55, 0xaa]
        || content[content.len() - 512..][..8] == *b"EFI PART"
}

fn error(finish: &Finish) -> (u32, String) {
    match &finish.result {
        FinishResult::Failed { step, error } => (*step, error.clone()),
        other => panic!("not failed: {other:?}"),
    }
}

#[test]
fn two_disks_are_written_at_once_and_the_system_gets_its_tables_last() {
    let machine = Machine { meets: true, ..blank() };
    let (disks, both) = (machine.disks.clone(), Arc::clone(&machine.both));
    let (finish, service) = run(machine, service());
    assert_eq!(finish.result, FinishResult::Done);
    assert!(data_is_complete(&disks[1].content()) && system_is_complete(&disks[0].content()));
    let begins: Vec<String> = service.calls().into_iter().filter(|call| call.starts_with("begin")).collect();
    assert_eq!(begins, ["begin 0", "begin 1"]);
    assert_eq!(service.calls().iter().filter(|call| *call == "credential").count(), 1);
    assert_eq!(finish.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [0, 1]);
    let proof = &finish.steps[0].proof;
    assert!(proof.contains("read back") && !proof.contains("node's"), "{proof}");
    let writes = both.writes.lock().unwrap().clone();
    let last_of_data = writes.iter().rposition(|(which, ..)| *which == 1).unwrap();
    // Entries are no table before the sector with the header stands there.
    let headers = [0, (SYSTEM_BYTES - 512) as u64];
    let tables =
        |(which, offset, zeros): &(usize, u64, bool)| *which == 0 && !zeros && headers.contains(offset);
    let first_table = writes.iter().position(tables).unwrap();
    assert!(last_of_data < first_table, "{last_of_data} {first_table}");
}

#[test]
fn one_that_fails_stops_no_other_but_the_system_does_not_boot_and_all_is_told() {
    let bad = Faults { unwritable: Some(3 << 20..4 << 20), ..Faults::default() };
    let data_fails =
        two_disks((vec![0; SYSTEM_BYTES], Faults::default()), (vec![0; DATA_BYTES], bad.clone()));
    let system = Arc::clone(&data_fails.disks[0]);
    let (finish, _) = run(data_fails, service());
    let (step, said) = error(&finish);
    assert_eq!(step, 0);
    assert!(said.contains("could not write") && said.contains("; and step 2: another disk"), "{said}");
    assert!(finish.steps.is_empty() && !may_boot(&system.content()));
    // All but what makes it boot was written: a second run has little to do.
    assert_eq!(system.content()[CHUNK_BYTES..5 * CHUNK_BYTES], image().bytes[CHUNK_BYTES..5 * CHUNK_BYTES]);

    let system_fails = two_disks((vec![0; SYSTEM_BYTES], bad), (vec![0; DATA_BYTES], Faults::default()));
    let data = Arc::clone(&system_fails.disks[1]);
    let (finish, _) = run(system_fails, service());
    assert_eq!(error(&finish).0, 1);
    assert!(data_is_complete(&data.content()));
    assert_eq!(finish.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [0]);
}

#[test]
fn what_is_not_recorded_is_not_begun_and_then_no_system_boots() {
    for refused in 0..2 {
        let machine = blank();
        let disks = machine.disks.clone();
        let mut with = service();
        with.refuses_begin_of = Some(refused);
        let (finish, _) = run(machine, with);
        assert!(error(&finish).1.contains("did not record"), "{:?}", finish.result);
        assert!(disks[0].writes().is_empty(), "the system's disk is the second to begin");
        assert_eq!(data_is_complete(&disks[1].content()), refused == 1);
    }
}

/// Cut off at any write of either disk: the system boots only if the data disk is whole, and what was begun
/// is gone on with to the end.
#[test]
fn a_power_cut_at_any_write_of_either_disk_is_gone_on_with() {
    let probe = blank();
    let disks = probe.disks.clone();
    run(probe, service());
    for cut_disk in 0..2 {
        for cut in 0..disks[cut_disk].writes().len() {
            let mut faults = [Faults::default(), Faults::default()];
            faults[cut_disk].power_cut_at_write = Some(cut);
            let [system, data] = faults;
            let machine = two_disks((vec![0; SYSTEM_BYTES], system), (vec![0; DATA_BYTES], data));
            let disks = machine.disks.clone();
            error(&run(machine, service()).0);
            let contents = [0, 1].map(|which| disks[which].after_power_cut(|index| index % 2 == 0));
            assert!(!may_boot(&contents[0]) || data_is_complete(&contents[1]), "{cut_disk} {cut}");
            let [system, data] = contents;
            let again = two_disks((system, Faults::default()), (data, Faults::default()));
            let disks = again.disks.clone();
            let (finish, _) = run(again, service());
            assert_eq!(finish.result, FinishResult::Done, "{cut_disk} {cut}");
            assert!(system_is_complete(&disks[0].content()) && data_is_complete(&disks[1].content()));
        }
    }
}

#[test]
fn a_finished_data_disk_is_read_and_not_written() {
    let machine = blank();
    let disks = machine.disks.clone();
    run(machine, service());
    let before = disks[1].writes().len();
    let again = Machine { disks: disks.clone(), both: Arc::default(), meets: false };
    let (finish, _) = run(again, service());
    assert_eq!(finish.result, FinishResult::Done);
    assert_eq!(disks[1].writes().len(), before);
    assert!(finish.steps[0].proof.ends_with("nothing was written"), "{}", finish.steps[0].proof);
}

/// A plan says that nobody's data are there; the disk says otherwise.
#[test]
fn nothing_is_written_where_anything_stands_that_this_step_did_not_put_there() {
    let marks: [(usize, &[u8]); 5] = [
        (1080, &[0x53, 0xef]),
        (0, b"XFSB"),
        (446, b"\0\x20\x21\0\x83"),
        (0x10040, b"_BHRfS_M"),
        (DATA_BYTES - 512 + 56, b"another disk GUI"),
    ];
    for (offset, bytes) in marks {
        let mut content = vec![0; DATA_BYTES];
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
        let machine =
            two_disks((vec![0; SYSTEM_BYTES], Faults::default()), (content.clone(), Faults::default()));
        let disks = machine.disks.clone();
        let (finish, service) = run(machine, service());
        assert!(error(&finish).1.contains("ask for a wipe"), "{:?}", finish.result);
        assert!(disks.iter().all(|disk| disk.writes().is_empty()) && disks[1].content() == content);
        assert!(!service.calls().iter().any(|call| call.starts_with("begin")));
    }
}

#[test]
fn what_the_plan_erases_before_may_hold_anything() {
    let old = noise(3, DATA_BYTES);
    let machine = two_disks((vec![0; SYSTEM_BYTES], Faults::default()), (old, Faults::default()));
    let disks = machine.disks.clone();
    let erase = Step::Erase {
        disk: data_target(),
        method: EraseMethod::NvmeFormatUserData,
        level: SanitizeLevel::Clear,
        verify_seed: Digest::of(b"seed"),
        verify_samples: 50,
        verify_depth: VerifyDepth::Sampling,
    };
    let steps = vec![erase, data_step(), write_step(&disks[0], &image())];
    let (finish, _) = run_steps(machine, service(), steps);
    assert_eq!(finish.result, FinishResult::Done);
    let content = disks[1].content();
    assert!(data_is_complete(&content));
    // What the image does not reach is as the erase left it.
    let end = data_layout(&data_image()).backup_table_offset as usize;
    assert!(content[4 * CHUNK_BYTES..end].iter().all(|byte| *byte == 0));
}

#[test]
fn a_plan_that_cannot_be_meant_writes_nothing() {
    let system = |disks: &[Arc<FakeDevice>; 2]| write_step(&disks[0], &image());
    let mut an_image_with_a_system = data_step();
    if let Step::WriteDataImage { image: id, .. } = &mut an_image_with_a_system {
        *id = image().manifest.id().unwrap();
    }
    let mut too_large = data_step();
    if let Step::WriteDataImage { last_partition, .. } = &mut too_large {
        *last_partition = RootSize::Bytes(1 << 30);
    }
    for (steps, why) in [
        (vec![data_step(), data_step()], "two images"),
        (vec![an_image_with_a_system], "EFI system partition"),
        (vec![too_large], "--data-size"),
    ] {
        let machine = blank();
        let disks = machine.disks.clone();
        let steps = [steps, vec![system(&disks)]].concat();
        let (finish, service) = run_steps(machine, service(), steps);
        assert!(error(&finish).1.contains(why), "{why}: {:?}", finish.result);
        assert!(disks.iter().all(|disk| disk.writes().is_empty()));
        assert!(!service.calls().iter().any(|call| call.starts_with("begin")));
    }
}
