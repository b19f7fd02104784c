use std::sync::Arc;

use contract::agent_api::FinishResult;
use contract::node_data::SeedFiles;
use contract::plan::Step;
use contract::secret::Secret;
use imaging::layout::{DiskLayout, SEED_PARTITION_BYTES};

use super::*;
use crate::act::device::BlockDevice;
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, Image, layout_request, noise, of_bytes, partition, run, write_step};
use crate::act::meter::Meter;
use imaging::manifest::PartitionRole;

const PLACE: ByteRange = ByteRange { offset: 1 << 20, length_bytes: SEED_PARTITION_BYTES };
const DISK_BYTES: usize = 10 << 20;

fn files() -> SeedFiles {
    SeedFiles {
        meta_data: "{\"instance-id\": \"one\"}".to_owned(),
        user_data: Secret::new("#cloud-config\n{}".to_owned()),
        network_config: None,
    }
}

fn seed() -> Seed {
    let first = volume(&files()).unwrap();
    Seed { digest: Some(digest(&first)), first }
}

fn blank() -> Seed {
    Seed { first: vec![0; PIECE_BYTES], digest: None }
}

fn work(content: Vec<u8>, faults: Faults) -> (Work, Arc<FakeDevice>) {
    let device = Arc::new(FakeDevice::new(content, faults));
    let work = Work {
        device: Arc::clone(&device) as Arc<dyn BlockDevice>,
        disk: "disk".to_owned(),
        service: Arc::new(FakeService::without_images()),
        meter: Arc::new(Meter::default()),
        disks_at_once: 1,
        buffers: Arc::default(),
    };
    (work, device)
}

/// The partition and, apart, what lies around it.
fn split(content: &[u8]) -> (&[u8], [&[u8]; 2]) {
    let (start, end) = (1 << 20, (1 << 20) + SEED_PARTITION_BYTES as usize);
    (&content[start..end], [&content[..start], &content[end..]])
}

#[test]
fn the_volume_and_zeros_replace_what_was_there_and_nothing_beside_it() {
    let before = noise(1, DISK_BYTES);
    for seed in [seed(), blank()] {
        let (work, device) = work(before.clone(), Faults::default());
        let proof = seed.write(&work, PLACE).unwrap();
        assert!(proof.ends_with("written and read back"), "{proof}");
        let content = device.content();
        let (partition, around) = split(&content);
        assert_eq!(partition[..VOLUME_BYTES], seed.first);
        assert!(partition[VOLUME_BYTES..].iter().all(|byte| *byte == 0));
        assert_eq!(around, split(&before).1);
        // The second time there is nothing to write.
        let writes = device.writes().len();
        assert!(seed.write(&work, PLACE).unwrap().ends_with("read, and not written"));
        assert_eq!(device.writes().len(), writes);
    }
}

#[test]
fn a_power_cut_at_any_write_leaves_no_volume_or_the_whole_one() {
    let before = {
        let (work, device) = work(noise(1, DISK_BYTES), Faults::default());
        let other = SeedFiles { meta_data: "{\"instance-id\": \"two\"}".to_owned(), ..files() };
        let first = volume(&other).unwrap();
        Seed { digest: Some(digest(&first)), first }.write(&work, PLACE).unwrap();
        device.content()
    };
    let old = split(&before).0[..VOLUME_BYTES].to_vec();
    for cut in 0..20 {
        let faults = Faults { power_cut_at_write: Some(cut), ..Faults::default() };
        let (work, device) = work(before.clone(), faults);
        let ended = seed().write(&work, PLACE);
        let content = device.content();
        let found = &split(&content).0[..VOLUME_BYTES];
        let is_volume = found[510..512] == [0x55, 0xaa];
        if ended.is_ok() {
            assert_eq!(found, seed().first);
            assert!(cut > 2, "this test cut nothing");
            return;
        }
        assert!(!is_volume || found == old || found == seed().first, "cut at write {cut}");
    }
    panic!("twenty writes were not enough");
}

#[test]
fn a_disk_that_drops_or_alters_a_write_is_found_out() {
    for write in 0..3 {
        let dropped = Faults { dropped_writes: [write].into(), ..Faults::default() };
        let flipped = Faults { flipped_write: Some(write), ..Faults::default() };
        for faults in [dropped, flipped] {
            let (work, device) = work(noise(1, DISK_BYTES), faults.clone());
            let ended = seed().write(&work, PLACE);
            let content = device.content();
            let (volume, rest) = split(&content).0.split_at(VOLUME_BYTES);
            let right = volume == seed().first && rest.iter().all(|byte| *byte == 0);
            assert_eq!(ended.is_ok(), right, "{faults:?}: {ended:?}");
        }
    }
}

fn image() -> Image {
    let bytes = noise(11, 4 << 20);
    of_bytes(bytes, vec![partition(1, 1 << 20, 3 << 20, PartitionRole::Other)])
}

fn reimage(
    content: Vec<u8>,
    service: FakeService,
    ordered: Option<Digest>,
) -> (FinishResult, String, Vec<u8>) {
    let disk = Arc::new(FakeDevice::new(content, Faults::default()));
    let service = Arc::new(service);
    let mut step = write_step(&disk, &image());
    if let Step::WriteImage { node_data, .. } = &mut step {
        *node_data = ordered;
    }
    let finish = run(&disk, &service, vec![step]);
    let proof = finish.steps.first().map(|step| step.proof.clone()).unwrap_or_default();
    (finish.result, proof, disk.content())
}

#[test]
fn an_order_writes_exactly_the_data_that_it_names() {
    let image = image();
    let with = || {
        let mut service = FakeService::with(&image);
        service.seed_files = Some(files());
        service
    };
    let layout =
        DiskLayout::compute(&image.manifest, &image.bytes[..1 << 20], &layout_request(64 << 20)).unwrap();
    let place = layout.ours.unwrap().seed.offset as usize;
    let right = seed().digest;
    let (result, proof, content) = reimage(noise(5, 64 << 20), with(), right);
    assert_eq!(result, FinishResult::Done);
    assert!(proof.contains("the node's data (") && proof.contains("written and read back"), "{proof}");
    assert_eq!(content[place..place + VOLUME_BYTES], seed().first);

    // The same image for a node without data: nobody finds the last ones.
    let (result, proof, blanked) = reimage(content, with(), None);
    assert_eq!(result, FinishResult::Done);
    assert!(proof.contains("only the node's record was written"), "{proof}");
    assert!(blanked[place..place + SEED_PARTITION_BYTES as usize].iter().all(|byte| *byte == 0));

    // Others than ordered, or none: nothing at all is written.
    let before = noise(5, 64 << 20);
    for service in [with(), FakeService::with(&image)] {
        let wrong = Some(Digest::of(b"other"));
        let (result, _, content) = reimage(before.clone(), service, wrong);
        assert!(
            matches!(&result, FinishResult::Failed { error, .. } if error.contains("nothing was written")),
            "{result:?}"
        );
        assert!(content == before);
    }
}
