//! When a disk is proven clean instead of being erased.

use contract::decision::SanitizeLevel::{self, Clear, Purge};
use contract::inventory::{DiskFacts, SanitizeCapabilities, SanitizeState, Transport};
use contract::plan::EraseMethod;
use contract::reading::Outcome;

use super::choose_or_clean;
use super::tests::{nvme_disk, with};

const CLEAN: SanitizeState = SanitizeState::Done { erased_since: true };

fn disk(state: SanitizeState, sanitized_by: Option<EraseMethod>) -> DiskFacts {
    changed(with(nvme_disk(true, true, Outcome::Value(1)), "bc"), |sanitize| {
        (sanitize.state, sanitize.sanitized_by) = (state, sanitized_by);
    })
}

fn changed(disk: DiskFacts, change: impl FnOnce(&mut SanitizeCapabilities)) -> DiskFacts {
    let mut sanitize = disk.sanitize.value().cloned().unwrap();
    change(&mut sanitize);
    DiskFacts { sanitize: Outcome::Value(sanitize), ..disk }
}

fn is_found_clean(disk: &DiskFacts, level: SanitizeLevel) -> bool {
    // Without leave it never is.
    assert_ne!(choose_or_clean(disk, level, false).ok(), Some(EraseMethod::NvmeFoundClean));
    choose_or_clean(disk, level, true).ok() == Some(EraseMethod::NvmeFoundClean)
}

#[test]
fn only_a_disk_whose_own_log_says_so_is_found_clean() {
    let by = Some(EraseMethod::NvmeSanitizeBlock);
    let in_form = |change: fn(&mut DiskFacts)| {
        let mut disk = disk(CLEAN, by);
        change(&mut disk);
        disk
    };
    let table = [
        ("block erase", disk(CLEAN, by), true),
        ("crypto", disk(CLEAN, Some(EraseMethod::NvmeSanitizeCrypto)), true),
        ("overwrite", disk(CLEAN, Some(EraseMethod::NvmeSanitizeOverwrite)), true),
        ("by nobody knows what", disk(CLEAN, None), false),
        ("by a format", disk(CLEAN, Some(EraseMethod::NvmeFormatUserData)), false),
        ("by being clean", disk(CLEAN, Some(EraseMethod::NvmeFoundClean)), false),
        ("by another command set", disk(CLEAN, Some(EraseMethod::ScsiSanitizeBlock)), false),
        ("written since", disk(SanitizeState::Done { erased_since: false }, by), false),
        ("never sanitized", disk(SanitizeState::Never, by), false),
        ("failed", disk(SanitizeState::Failed, by), false),
        ("running", disk(SanitizeState::Running { progress_65536: 1 }, by), false),
        ("two namespaces", in_form(|disk| disk.nvme = nvme_disk(true, true, Outcome::Value(2)).nvme), false),
        ("read-only", in_form(|disk| disk.read_only = true), false),
        ("no word", in_form(|disk| disk.sanitize = Outcome::Absent), false),
        ("word unreadable", in_form(|disk| disk.sanitize = Outcome::Unreadable("EIO".to_owned())), false),
        ("ATA", in_form(|disk| disk.transport = Transport::Ata), false),
        ("SCSI", in_form(|disk| disk.transport = Transport::Scsi), false),
        ("virtio", in_form(|disk| disk.transport = Transport::Virtio), false),
    ];
    for (name, disk, expected) in table {
        for level in [Clear, Purge] {
            assert_eq!(is_found_clean(&disk, level), expected, "{name}");
        }
    }
}

#[test]
fn a_disk_that_may_not_count_is_erased_whatever_it_says() {
    let disk = disk(CLEAN, Some(EraseMethod::NvmeSanitizeBlock));
    assert_eq!(choose_or_clean(&disk, Purge, false).ok(), Some(EraseMethod::NvmeSanitizeCryptoBlock));
    assert_eq!(choose_or_clean(&disk, Clear, false).ok(), Some(EraseMethod::NvmeFormatUserData));
}
