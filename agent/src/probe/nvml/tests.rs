use super::*;
use std::path::PathBuf;
use std::process::Command;

/// The library of `fake.c`, compiled with these definitions.
struct Fake {
    folder: tempfile::TempDir,
}

impl Fake {
    fn new(definitions: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/probe/nvml/fake.c");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O0", "-Wall", "-Werror", "-o"])
            .arg(folder.path().join("libnvidia-ml.so.1"))
            .args(definitions.iter().map(|one| format!("-D{one}")))
            .arg(source)
            .status();
        assert!(made.expect("cc runs").success());
        Self { folder }
    }

    fn open(&self) -> Result<Library, String> {
        Library::open(self.folder.path().join("libnvidia-ml.so.1").to_str().unwrap())
    }
}

fn told(definitions: &[&str]) -> Told {
    let fake = Fake::new(definitions);
    let library = fake.open().unwrap();
    read(&library, &["0000:3b:00.0".to_owned()]).swap_remove(0)
}

#[test]
fn a_healthy_gpu_is_read() {
    let said = |text: &str| Outcome::Value(text.to_owned());
    let expected = Told {
        address: "0000:3b:00.0".to_owned(),
        uuid: said("GPU-1234"),
        name: said("NVIDIA Fake[2J"),
        firmware: said("96.00.01"),
        row_remap_pending: Outcome::Value(false),
        row_remap_failed: Outcome::Value(false),
        rows_remapped_uncorrectable: Outcome::Value(5),
        sram_threshold_exceeded: Outcome::Value(false),
        uncorrected_errors: Outcome::Value(42),
        nvlink_errors: Outcome::Value(3),
        hardware_slowdown: Outcome::Value(false),
        temperature_celsius: Outcome::Value(63),
    };
    assert_eq!(told(&[]), expected);
}

#[test]
fn each_fault_is_read_as_itself() {
    let sick = told(&["PENDING=1", "FAILED=1", "SRAM=1", "REASONS=0x40", "LINKS=3", "OLD"]);
    assert_eq!(sick.row_remap_pending, Outcome::Value(true));
    assert_eq!(sick.row_remap_failed, Outcome::Value(true));
    assert_eq!(sick.sram_threshold_exceeded, Outcome::Value(true));
    assert_eq!(sick.hardware_slowdown, Outcome::Value(true), "an old driver's name for it");
    // Links 0 and 2: replays, recoveries and CRC errors; the fourth counter is not supported.
    assert_eq!(sick.nvlink_errors, Outcome::Value(3 + 63));
    for (reasons, expected) in [("REASONS=0x8", true), ("REASONS=0x80", true), ("REASONS=0x27", false)] {
        assert_eq!(told(&[reasons]).hardware_slowdown, Outcome::Value(expected), "{reasons}");
    }
}

#[test]
fn what_a_gpu_lacks_is_absent_and_every_other_refusal_unreadable() {
    let without = told(&["ECC=3", "LINKS=0", "WITHOUT_SRAM"]);
    assert_eq!((without.uncorrected_errors, without.nvlink_errors), (Outcome::Absent, Outcome::Absent));
    let Outcome::Unreadable(why) = without.sram_threshold_exceeded else { panic!("the function is there") };
    assert!(why.contains("nvmlDeviceGetSramEccErrorStatus"), "{why}");
    let refused = told(&["ECC=4", "LINK_RESULT=15"]);
    assert!(matches!(refused.uncorrected_errors, Outcome::Unreadable(_)));
    assert!(matches!(refused.nvlink_errors, Outcome::Unreadable(_)));
    let uncounted = told(&["LINK_RESULT=3"]);
    assert_eq!(uncounted.nvlink_errors, Outcome::Absent);
}

#[test]
fn a_gpu_that_is_lost_and_a_driver_that_is_not_there_are_unknown() {
    let fake = Fake::new(&[]);
    let library = fake.open().unwrap();
    for address in ["0000:5e:00.0", "0000:99:00.0", "a\0b"] {
        let lost = read(&library, &[address.to_owned()]).swap_remove(0);
        assert!(lost.outcomes().iter().all(|one| matches!(one, Outcome::Unreadable(_))), "{address:?}");
        assert!(matches!(lost.uuid, Outcome::Unreadable(_)));
    }
    let error = Fake::new(&["INIT=9"]).open().unwrap_err();
    assert!(error.contains("Driver Not Loaded") && error.contains("nvmlInit_v2"), "{error}");
}

#[test]
fn who_computes_on_a_gpu_is_counted_and_a_lost_one_is_not_idle() {
    for (definitions, expected) in [(&[][..], 0), (&["PROCESSES=3"], 3), (&["PROCESSES=1", "OLD"], 1)] {
        let fake = Fake::new(definitions);
        assert_eq!(computing(&fake.open().unwrap(), "0000:3b:00.0"), Ok(expected), "{definitions:?}");
        assert!(computing(&fake.open().unwrap(), "0000:5e:00.0").is_err());
    }
}
