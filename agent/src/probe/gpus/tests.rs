use super::*;
use crate::probe::recorded::Tree;
use proptest::prelude::{any, prop_assert, proptest};

const UUID: &str = "GPU-6b5d0a5c-1d2e-4f60-8a7b-0123456789ab";

fn function(tree: &Tree, address: &str, class: &str, vendor: &str) {
    for (name, value) in [("class", class), ("vendor", vendor), ("device", "0x2330")] {
        tree.write(&format!("sys/bus/pci/devices/{address}/{name}"), format!("{value}\n"));
    }
}

fn told(address: &str) -> Told {
    let said = |text: &str| Outcome::Value(text.to_owned());
    Told {
        address: address.to_owned(),
        uuid: said(UUID),
        name: said("NVIDIA H100 80GB HBM3"),
        firmware: said("96.00.74.00.1A"),
        row_remap_pending: Outcome::Value(true),
        row_remap_failed: Outcome::Value(false),
        rows_remapped_uncorrectable: Outcome::Value(3),
        sram_threshold_exceeded: Outcome::Absent,
        uncorrected_errors: Outcome::Unreadable("no permission".to_owned()),
        nvlink_errors: Outcome::Value(7),
        hardware_slowdown: Outcome::Value(false),
        temperature_celsius: Outcome::Value(41),
    }
}

#[test]
fn gpus_are_found_among_other_functions() {
    let tree = Tree::new();
    function(&tree, "0000:3b:00.0", "0x030200", "0x10de");
    function(&tree, "0000:01:00.0", "0x030000", "0x10de");
    function(&tree, "0000:02:00.0", "0x030000", "0x1a03");
    function(&tree, "0000:c1:00.0", "0x120000", "0x1002");
    function(&tree, "0000:04:00.0", "0x010802", "0x144d");
    function(&tree, "0000:3b:00.1", "0x040300", "0x10de");
    let gpus = read(&tree.source());
    let Outcome::Value(facts) = gpus.facts else { panic!("unread") };
    let ids: Vec<_> = facts.iter().map(|gpu| gpu.id.as_str()).collect();
    assert_eq!(ids, ["0000:01:00.0", "0000:3b:00.0", "0000:c1:00.0"], "no driver names them");
    assert!(facts.iter().all(|gpu| matches!(&gpu.model, Outcome::Unreadable(why) if why.contains("2330"))));
    let subjects: Vec<_> = gpus.readings.iter().map(|(subject, _, _)| subject.to_string()).collect();
    assert_eq!(subjects.len(), 2 * KEYS.len(), "NVIDIA's own");
    assert!(gpus.readings.iter().all(|(_, _, outcome)| matches!(outcome, Outcome::Unreadable(_))));
}

#[test]
fn no_gpu_loads_nothing_and_gives_no_reading() {
    let tree = Tree::new();
    function(&tree, "0000:02:00.0", "0x030000", "0x1a03");
    let gpus = read_with(&tree.source(), |_| panic!("NVML is for machines with a GPU"));
    assert_eq!(gpus, Gpus { facts: Outcome::Value(vec![]), readings: vec![] });
    let without_pci = Tree::new();
    without_pci.directory("sys/bus/virtio");
    assert_eq!(read(&without_pci.source()).facts, Outcome::Value(vec![]));
    assert!(matches!(read(&Tree::new().source()).facts, Outcome::Unreadable(_)), "nothing was looked at");
}

#[test]
fn a_function_that_hides_its_class_may_be_a_gpu() {
    let tree = Tree::new();
    function(&tree, "0000:02:00.0", "display", "0x10de");
    assert!(matches!(read(&tree.source()).facts, Outcome::Unreadable(_)));
    tree.directory("sys/bus/pci/devices/0000:03:00.0");
    assert!(matches!(read(&tree.source()).facts, Outcome::Unreadable(_)));
}

#[test]
fn the_library_s_word_goes_before_the_files_and_each_reading_has_its_key() {
    let tree = Tree::new();
    function(&tree, "0000:3b:00.0", "0x030200", "0x10de");
    function(&tree, "0000:5e:00.0", "0x030200", "0x10de");
    let information =
        "Model: \t\t NVIDIA H100 PCIe\nIRQ:   \t\t 321\nGPU UUID: \t GPU-aa\nVideo BIOS: \t ??.??.??.??.??\n";
    tree.write("proc/driver/nvidia/gpus/0000:3b:00.0/information", information);
    tree.write("proc/driver/nvidia/gpus/0000:5e:00.0/information", information);
    let gpus = read_with(&tree.source(), |addresses| {
        assert_eq!(addresses, ["0000:3b:00.0", "0000:5e:00.0"]);
        Ok(vec![told("0000:3b:00.0")])
    });
    let Outcome::Value(facts) = &gpus.facts else { panic!("unread") };
    assert_eq!((facts[0].id.as_str(), facts[1].id.as_str()), (UUID, "GPU-aa"));
    assert_eq!(facts[0].model, Outcome::Value("NVIDIA H100 80GB HBM3".to_owned()));
    assert_eq!(facts[1].model, Outcome::Value("NVIDIA H100 PCIe".to_owned()));
    assert!(matches!(facts[1].firmware_version, Outcome::Unreadable(_)), "question marks say nothing");
    let of = |id: &str, key| {
        let wanted = Subject::Gpu(id.to_owned());
        gpus.readings.iter().find(|(subject, one, _)| *subject == wanted && *one == key).unwrap().2.clone()
    };
    let count = |count| Outcome::Value(ReadingValue::Count(count));
    assert_eq!(of(UUID, ReadingKey::GpuRowRemapPending), Outcome::Value(ReadingValue::Flag(true)));
    assert_eq!(of(UUID, ReadingKey::GpuRowsRemappedUncorrectable), count(3));
    assert_eq!(of(UUID, ReadingKey::GpuSramThresholdExceeded), Outcome::Absent);
    assert_eq!(of(UUID, ReadingKey::GpuUncorrectedErrors), Outcome::Unreadable("no permission".to_owned()));
    assert_eq!(of(UUID, ReadingKey::GpuNvlinkErrors), count(7));
    assert_eq!(of(UUID, ReadingKey::TemperatureMillicelsius), count(41_000));
    assert!(matches!(of("GPU-aa", ReadingKey::GpuRowRemapFailed), Outcome::Unreadable(_)));
}

#[test]
fn a_gpu_of_amd_s_is_named_by_its_driver() {
    let tree = Tree::new();
    function(&tree, "0000:c1:00.0", "0x120000", "0x1002");
    for (name, value) in [("unique_id", "a1b2c3d4e5f60718"), ("vbios_version", "113-M3000100-102")] {
        tree.write(&format!("sys/bus/pci/devices/0000:c1:00.0/{name}"), value);
    }
    let gpus = read(&tree.source());
    let Outcome::Value(facts) = gpus.facts else { panic!("unread") };
    assert_eq!(facts[0].id, "a1b2c3d4e5f60718");
    assert_eq!(facts[0].firmware_version, Outcome::Value("113-M3000100-102".to_owned()));
    assert_eq!(gpus.readings, vec![]);
}

proptest! {
    #[test]
    fn any_driver_file_is_survived(text in any::<String>()) {
        let _ = parse_information(&text);
        if let Some(model) = parse_information(&format!("Model: {text}")).model {
            prop_assert!(model.chars().count() <= 100 && !model.chars().any(char::is_control));
        }
    }
}
