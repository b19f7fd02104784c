use std::sync::Arc;

use contract::agent_api::FinishResult;
use contract::id::Digest;
use contract::node_data::SeedFiles;
use contract::plan::Step;
use contract::reading::{Outcome, ReadingValue};
use contract::secret::Secret;
use imaging::layout::{SEED_PARTITION_BYTES, read_table, seed_place};
use imaging::manifest::PartitionRole;
use imaging::seed::{digest, volume};

use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, Image, noise, of_bytes, partition, run, target, write_step};
use crate::probe::node_data;

const DISK_BYTES: usize = 64 << 20;

fn files(name: &str) -> SeedFiles {
    SeedFiles {
        meta_data: format!("{{\"instance-id\": \"{name}\"}}"),
        user_data: Secret::new("#cloud-config\n{}".to_owned()),
        network_config: None,
    }
}

fn digest_of(name: &str) -> Digest {
    digest(&volume(&files(name)).unwrap())
}

fn image() -> Image {
    of_bytes(noise(11, 4 << 20), vec![partition(1, 1 << 20, 3 << 20, PartitionRole::Other)])
}

/// A disk with the image and the data of this name.
fn installed(name: &str) -> Vec<u8> {
    let (disk, image) = (Arc::new(FakeDevice::new(noise(5, DISK_BYTES), Faults::default())), image());
    let mut service = FakeService::with(&image);
    service.seed_files = Some(files(name));
    let mut step = write_step(&disk, &image);
    if let Step::WriteImage { node_data, .. } = &mut step {
        *node_data = Some(digest_of(name));
    }
    assert_eq!(run(&disk, &Arc::new(service), vec![step]).result, FinishResult::Done);
    disk.content()
}

/// The end of writing these data alone to such a disk, with the proof, and the disk.
fn alone(
    content: Vec<u8>,
    served: Option<&str>,
    ordered: Option<Digest>,
    faults: Faults,
) -> (FinishResult, String, Arc<FakeDevice>) {
    let disk = Arc::new(FakeDevice::new(content, faults));
    let mut service = FakeService::with(&image());
    service.seed_files = served.map(files);
    let step = Step::WriteSeed { disk: target(&disk), node_data: ordered };
    let finish = run(&disk, &Arc::new(service), vec![step]);
    let proof = finish.steps.first().map(|step| step.proof.clone()).unwrap_or_default();
    (finish.result, proof, disk)
}

fn place(content: &[u8]) -> std::ops::Range<usize> {
    let table = read_table(content).unwrap().unwrap();
    let start = seed_place(&table).unwrap().unwrap().offset as usize;
    start..start + SEED_PARTITION_BYTES as usize
}

fn seen(content: &[u8]) -> Outcome<ReadingValue> {
    node_data::read(content)
}

fn list(digest: Option<Digest>) -> Outcome<ReadingValue> {
    Outcome::Value(ReadingValue::list(digest.iter().map(ToString::to_string).collect()))
}

#[test]
fn the_data_are_written_alone_and_nothing_beside_them() {
    let before = installed("one");
    assert_eq!(seen(&before), list(Some(digest_of("one"))));
    let place = place(&before);
    for (served, ordered) in [(Some("two"), Some(digest_of("two"))), (None, None)] {
        let (result, proof, disk) = alone(before.clone(), served, ordered, Faults::default());
        assert_eq!(result, FinishResult::Done);
        assert!(proof.ends_with("written and read back"), "{proof}");
        let after = disk.content();
        assert_eq!(seen(&after), list(ordered));
        assert!(after[..place.start] == before[..place.start] && after[place.end..] == before[place.end..]);
    }
    // What stands there already is read and not written.
    let (result, proof, disk) = alone(before, Some("one"), Some(digest_of("one")), Faults::default());
    assert_eq!(result, FinishResult::Done);
    assert!(proof.ends_with("and not written") && disk.writes().is_empty(), "{proof}");
}

#[test]
fn where_the_place_is_not_certain_or_the_data_are_others_nothing_is_written() {
    let good = installed("one");
    let damaged = |from: usize, length: usize| {
        let mut content = good.clone();
        content[from..from + length].fill(0);
        content
    };
    let two = Some(digest_of("two"));
    let table = [
        ("other data than ordered", good.clone(), Some("three"), two),
        ("no data", good.clone(), None, two),
        ("no primary table", damaged(512, 512), Some("two"), two),
        ("no backup table", damaged(DISK_BYTES - 512, 512), Some("two"), two),
        ("no table", noise(7, DISK_BYTES), Some("two"), two),
    ];
    for (name, content, served, ordered) in table {
        let (result, _, disk) = alone(content, served, ordered, Faults::default());
        assert!(
            matches!(&result, FinishResult::Failed { error, .. } if error.contains("nothing was written")),
            "{name}: {result:?}"
        );
        assert!(disk.writes().is_empty(), "{name}");
    }
}

/// Seen from the next look: what a power cut leaves is the old data, none that anybody would take for
/// data, or the new ones, and the next try ends well.
#[test]
fn a_power_cut_at_any_write_is_made_up_for_by_the_next_try() {
    let before = installed("one");
    let two = Some(digest_of("two"));
    for cut in 0..20 {
        let faults = Faults { power_cut_at_write: Some(cut), ..Faults::default() };
        let (result, _, disk) = alone(before.clone(), Some("two"), two, faults);
        let left = disk.content();
        if result == FinishResult::Done {
            assert!(cut > 2, "this test cut nothing");
            return;
        }
        assert_ne!(seen(&left), list(None), "half-written data are never called none");
        let (again, _, disk) = alone(left, Some("two"), two, Faults::default());
        assert_eq!((again, seen(&disk.content())), (FinishResult::Done, list(two)), "cut at write {cut}");
    }
    panic!("twenty writes were not enough");
}

#[test]
fn what_a_look_says_of_the_partition() {
    let good = installed("one");
    let place = place(&good);
    assert_eq!(seen(&vec![0; DISK_BYTES]), Outcome::Absent);
    let changed = |at: usize, byte: u8| {
        let mut content = good.clone();
        content[at] = byte;
        seen(&content)
    };
    let others = [changed(place.start + 100, 0xaa), changed(place.end - 1, 1)];
    for other in others {
        let Outcome::Value(ReadingValue::List { items, total: 1 }) = &other else { panic!("{other:?}") };
        assert_ne!(items[0], digest_of("one").to_string());
    }
    let mut blank = good.clone();
    blank[place].fill(0);
    assert_eq!(seen(&blank), list(None));
    let mut no_table = good;
    no_table[512..1024].fill(7);
    no_table[DISK_BYTES - 512..].fill(7);
    assert!(matches!(seen(&no_table), Outcome::Unreadable(_)));
}
