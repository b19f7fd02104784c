//! The thirty checks, in their order (docs/checks.md). Those that need no look of the agent's, or whose facts
//! stand in the inventory, are written down here.

use contract::reading::{ReadingKey, Tier};

use super::check::Check;
use super::{
    ata_smart, boot_state, crash_records, fabric, file_system_errors, firmware, kernel_log, known_answer,
    memory_errors, nics, nvme_self_test, nvme_smart, pcie, raid, scsi_health, sensors, tpm,
};

const OWNER: Check = Check {
    number: 1,
    name: "owner, holds and data class",
    tier: Tier::T0,
    reads: "what the service knows of the node; the agent looks at nothing for it",
    keys: &[],
    rules: &["confidentiality/data-owner", "request/protected", "request/tenant-assigned"],
};
const PARTS: Check = Check {
    number: 2,
    name: "parts against those expected",
    tier: Tier::T0,
    reads: "SMBIOS, /proc/cpuinfo, /proc/meminfo, /sys/block, /sys/class/net, /sys/bus/pci; in the inventory",
    keys: &[],
    rules: &[
        "fitness/disks-seen",
        "fitness/expected-disk",
        "fitness/expected-nic",
        "fitness/expected-memory",
        "fitness/expected-memory-module",
        "fitness/expected-gpu",
    ],
};
const IMAGE: Check = Check {
    number: 3,
    name: "image that is installed",
    tier: Tier::T0,
    reads: "the node's own partition, and the signed manifest",
    keys: &[ReadingKey::ImageInstalled, ReadingKey::ImageUnfinished, ReadingKey::NodeDataInstalled],
    rules: &["integrity/image-installed", "integrity/image-unfinished", "integrity/node-data"],
};
const IMMUTABLE: Check = Check {
    number: 4,
    name: "immutable files and partitions",
    tier: Tier::T1,
    reads: "the partitions of the image and the files of its root",
    keys: &[
        ReadingKey::ImagePartitionsAltered,
        ReadingKey::ImageFilesAltered,
        ReadingKey::ImageFilesMissing,
        ReadingKey::ImageFilesForeign,
        ReadingKey::ImageFilesChecked,
    ],
    rules: &["integrity/partitions", "integrity/files", "integrity/foreign-files"],
};
const NVME_SANITIZE: Check = Check {
    number: 8,
    name: "sanitize of NVMe disks",
    tier: Tier::T0,
    reads: "NVMe log page 81h; in the inventory",
    keys: &[],
    rules: &["fitness/disk-sanitize", "confidentiality/unfinished-erase"],
};
const ATA_SECURITY: Check = Check {
    number: 10,
    name: "security of ATA disks",
    tier: Tier::T0,
    reads: "ATA IDENTIFY DEVICE word 128; in the inventory",
    keys: &[],
    rules: &["fitness/ata-security"],
};
const XIDS: Check = Check {
    number: 24,
    name: "GPU errors (Xid)",
    tier: Tier::T0,
    reads: "/dev/kmsg",
    keys: &[ReadingKey::GpuXids],
    rules: &[
        "fitness/gpu-xid-logged",
        "fitness/gpu-xid-restart-application",
        "fitness/gpu-xid-reset-gpu",
        "fitness/gpu-xid-reboot",
        "fitness/gpu-xid-restart-machine",
        "fitness/gpu-xid-check-power",
        "fitness/gpu-xid-update-software",
        "fitness/gpu-xid-workflow",
        "fitness/gpu-xid-power-smoothing",
        "fitness/gpu-xid-unknown",
    ],
};
const GPU_MEMORY: Check = Check {
    number: 25,
    name: "GPU memory: rows, SRAM, ECC",
    tier: Tier::T1,
    reads: "NVML, where there is an NVIDIA GPU",
    keys: &[
        ReadingKey::GpuRowRemapPending,
        ReadingKey::GpuRowRemapFailed,
        ReadingKey::GpuRowsRemappedUncorrectable,
        ReadingKey::GpuSramThresholdExceeded,
        ReadingKey::GpuUncorrectedErrors,
    ],
    rules: &[
        "fitness/gpu-readings",
        "fitness/gpu-row-remap-pending",
        "fitness/gpu-row-remap-failed",
        "fitness/gpu-rows-remapped",
        "fitness/gpu-sram",
        "fitness/gpu-uncorrected",
    ],
};
const GPU_LINKS: Check = Check {
    number: 26,
    name: "GPU links and slowdown",
    tier: Tier::T1,
    reads: "NVML, where there is an NVIDIA GPU",
    keys: &[ReadingKey::GpuNvlinkErrors, ReadingKey::GpuHardwareSlowdown],
    rules: &["fitness/gpu-nvlink", "fitness/gpu-slowdown"],
};
const HISTORY: Check = Check {
    number: 30,
    name: "history of the node",
    tier: Tier::T0,
    reads: "what the service knows of the node; the agent looks at nothing for it",
    keys: &[],
    rules: &["fitness/repeated-remediation"],
};

/// All of them.
pub const CHECKS: [&Check; 30] = [
    &OWNER,
    &PARTS,
    &IMAGE,
    &IMMUTABLE,
    &tpm::CHECK,
    &boot_state::CHECK,
    &nvme_smart::CHECK,
    &NVME_SANITIZE,
    &ata_smart::CHECK,
    &ATA_SECURITY,
    &scsi_health::CHECK,
    &nvme_self_test::CHECK,
    &file_system_errors::CHECK,
    &raid::CHECK,
    &kernel_log::CHECK_STORAGE,
    &memory_errors::CHECK_UNCORRECTED,
    &memory_errors::CHECK_CORRECTED,
    &crash_records::CHECK,
    &kernel_log::CHECK_KERNEL,
    &pcie::CHECK_LINK,
    &pcie::CHECK_ERRORS,
    &nics::CHECK,
    &fabric::CHECK,
    &XIDS,
    &GPU_MEMORY,
    &GPU_LINKS,
    &sensors::CHECK,
    &firmware::CHECK,
    &known_answer::CHECK,
    &HISTORY,
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use contract::reading::ReadingKey;
    use serde_json::json;

    use super::CHECKS;

    /// Checks whose facts are the service's own or stand in the inventory.
    const WITHOUT_READINGS: [u8; 6] = [1, 2, 8, 10, 28, 30];

    #[test]
    fn thirty_checks_are_there_once_each_in_their_order() {
        let numbers: Vec<u8> = CHECKS.iter().map(|check| check.number).collect();
        assert_eq!(numbers, (1..=30).collect::<Vec<u8>>());
        let mut names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 30);
    }

    #[test]
    fn each_check_says_what_it_reads_and_which_rules_judge_it() {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/verdict/src/rules");
        let known: String = std::fs::read_dir(rules)
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default())
            .collect();
        for check in CHECKS {
            assert_eq!(check.keys.is_empty(), WITHOUT_READINGS.contains(&check.number), "{}", check.name);
            assert!(!check.reads.is_empty() && !check.rules.is_empty(), "{}", check.name);
            for rule in check.rules {
                assert!(known.contains(&format!("\"{rule}\"")), "{}: there is no rule {rule}", check.name);
            }
        }
    }

    /// Readings that are shown to people and that no rule looks at: a proof of boot has its own copy of
    /// the registers, which the service compares, and a journal to be replayed is what every power cut
    /// leaves.
    const SHOWN_ONLY: [ReadingKey; 2] = [ReadingKey::BootRegisters, ReadingKey::FileSystemNeedsRecovery];

    #[test]
    fn each_reading_is_judged_or_said_to_be_shown_only() {
        let mut judged = String::new();
        for part in ["rules", "forecast", "peers.rs"] {
            sources(
                &Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/verdict/src").join(part),
                &mut judged,
            );
        }
        let all = CHECKS.iter().flat_map(|check| check.keys);
        let shown: Vec<ReadingKey> =
            all.copied().filter(|key| !judged.contains(&format!("Key::{key:?}"))).collect();
        assert_eq!(shown, SHOWN_ONLY);
    }

    fn sources(path: &Path, into: &mut String) {
        if path.is_dir() {
            std::fs::read_dir(path).unwrap().for_each(|entry| sources(&entry.unwrap().path(), into));
        } else if !path.ends_with("tests.rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }

    #[test]
    fn each_check_has_its_row_in_the_documentation() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.md");
        let page = std::fs::read_to_string(page).unwrap();
        for check in CHECKS {
            let row = format!("| {} | {} | {:?} |", check.number, check.name, check.tier);
            assert!(page.contains(&row), "docs/checks.md lacks: {row}");
        }
    }

    /// Rules of an operator's own name them.
    #[test]
    fn each_reading_is_in_the_documentation() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(folder.join("../docs/checks.md")).unwrap();
        let written = |key: &str| format!("`{}`", key.replace('-', "_"));
        for check in CHECKS.into_iter().filter(|check| !check.keys.is_empty()) {
            let keys: Vec<String> = check.keys.iter().map(|key| written(&key.to_string())).collect();
            let row = format!("| {} | {} |", check.number, keys.join(", "));
            assert!(page.contains(&row), "docs/checks.md lacks: {row}");
        }
        let source = folder.join("../crates/contract/src/reading_key.rs");
        let source = std::fs::read_to_string(source).unwrap();
        let (variants, _) = source.split_once("\n}\n").unwrap();
        let names = variants.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(','));
        let keys =
            names.map(|name| serde_json::from_value::<ReadingKey>(json!(kebab(name))).unwrap().to_string());
        let lacking: Vec<String> = keys.map(|key| written(&key)).filter(|key| !page.contains(key)).collect();
        assert!(lacking.is_empty(), "docs/checks.md lacks: {lacking:?}");
    }

    fn kebab(name: &str) -> String {
        let mut kebab = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !kebab.is_empty() {
                kebab.push('-');
            }
            kebab.push(letter.to_ascii_lowercase());
        }
        kebab
    }
}
