//! The table, row by row and obstacle by obstacle.

use contract::decision::SanitizeLevel::{self, Clear, Purge};
use contract::inventory::{
    AtaCapabilities, Composition, DiskFacts, LockingState, NvmeCapabilities, SanitizeCapabilities,
    SanitizeObstacle, SanitizeState, Transport,
};
use contract::plan::EraseMethod;
use contract::reading::Outcome;
use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use super::{Medium, TABLE, choose, estimate_seconds, may_deliver};

pub(super) fn disk(transport: Transport) -> DiskFacts {
    DiskFacts {
        id: "disk-1".parse().unwrap(),
        kernel_name: "x".to_owned(),
        transport,
        model: Outcome::Absent,
        serial: Outcome::Absent,
        firmware_revision: Outcome::Absent,
        size_bytes: 1 << 30,
        logical_sector_bytes: 512,
        rotational: Outcome::Absent,
        read_only: false,
        removable: false,
        nvme: Outcome::Absent,
        ata: Outcome::Absent,
        sanitize: Outcome::Absent,
        locking: Outcome::Absent,
        write_same: Outcome::Absent,
        composition: Composition::Single,
    }
}

pub(super) fn nvme_disk(format: bool, crypto_erase: bool, namespaces: Outcome<u32>) -> DiskFacts {
    let capabilities = NvmeCapabilities {
        format,
        format_covers_all_namespaces: false,
        erase_covers_all_namespaces: true,
        crypto_erase,
        namespaces,
        replay_protected: Outcome::Absent,
        boot_partitions: Outcome::Absent,
    };
    DiskFacts { nvme: Outcome::Value(capabilities), ..disk(Transport::Nvme) }
}

fn ata_capabilities() -> AtaCapabilities {
    AtaCapabilities {
        security_supported: true,
        security_enabled: false,
        security_locked: false,
        security_frozen: false,
        security_count_expired: false,
        enhanced_erase: true,
        erase_estimate_minutes: Some(2),
        enhanced_estimate_minutes: Some(8),
        hidden_bytes: Outcome::Value(0),
    }
}

pub(super) fn ata_disk(rotates: bool, change: impl FnOnce(&mut AtaCapabilities)) -> DiskFacts {
    let mut ata = ata_capabilities();
    change(&mut ata);
    DiskFacts { ata: Outcome::Value(ata), rotational: Outcome::Value(rotates), ..disk(Transport::Ata) }
}

/// Which of block, crypto and overwrite there are: `b`, `c`, `o`.
fn sanitize(which: &str) -> SanitizeCapabilities {
    SanitizeCapabilities {
        block: which.contains('b'),
        crypto: which.contains('c'),
        overwrite: which.contains('o'),
        block_estimate_seconds: Some(90),
        crypto_estimate_seconds: Some(4),
        overwrite_estimate_seconds: None,
        state: SanitizeState::Never,
        obstacles: Vec::new(),
        sanitized_by: None,
    }
}

pub(super) fn with(disk: DiskFacts, which: &str) -> DiskFacts {
    DiskFacts { sanitize: Outcome::Value(sanitize(which)), ..disk }
}

pub(super) fn in_state(
    disk: DiskFacts,
    which: &str,
    state: SanitizeState,
    obstacles: &[SanitizeObstacle],
) -> DiskFacts {
    let sanitize = SanitizeCapabilities { state, obstacles: obstacles.to_vec(), ..sanitize(which) };
    DiskFacts { sanitize: Outcome::Value(sanitize), ..disk }
}

pub(super) fn check(cases: Vec<(DiskFacts, &str, &str)>) {
    for (disk, clear, purge) in cases {
        for (level, expected) in [(Clear, clear), (Purge, purge)] {
            let chosen = match choose(&disk, level) {
                Ok(method) => format!("{method:?}"),
                Err(error) => error.to_string(),
            };
            let agrees = match expected.chars().next() {
                Some(first) if first.is_uppercase() => chosen == expected,
                _ => chosen.contains(expected),
            };
            assert!(agrees, "{disk:?} {level:?}: {chosen}, not {expected}");
        }
    }
}

/// Only a disk that keeps content from us is refused; what could not be read is left to the read-back.
#[test]
fn a_locked_self_encrypting_disk_is_refused_with_what_to_do() {
    let with = |locking| DiskFacts { locking, ..disk(Transport::Scsi) };
    let state = |enabled, locked, shadow_enabled, shadow_done| {
        Outcome::Value(LockingState { enabled, locked, shadow_enabled, shadow_done })
    };
    let refused = "self-encryption is locked";
    let mut table = Vec::new();
    for (locking, clear) in [
        (state(false, false, false, false), "Overwrite"),
        (state(true, false, false, false), "Overwrite"),
        (state(true, false, true, true), "Overwrite"),
        (Outcome::Unreadable("EIO".to_owned()), "Overwrite"),
        (state(true, true, false, false), refused),
        (state(true, false, true, false), refused),
        (state(true, true, true, true), "revert it with the PSID"),
    ] {
        let purge = if clear == "Overwrite" { "only clears" } else { clear };
        table.push((with(locking), clear, purge));
    }
    check(table);
}

#[test]
fn disks_of_which_nothing_is_known_or_that_are_no_disks() {
    let unread = DiskFacts { nvme: Outcome::Unreadable("EIO".to_owned()), ..disk(Transport::Nvme) };
    let one = || ata_disk(true, |_| {});
    let raid = DiskFacts { composition: Composition::RaidVolume, ..disk(Transport::Scsi) };
    let path = DiskFacts { composition: Composition::MultipathMember, ..disk(Transport::Scsi) };
    let unseen = DiskFacts { ata: Outcome::Unreadable("no sense".to_owned()), ..one() };
    check(vec![
        (disk(Transport::Nvme), "not reported", "not reported"),
        (unread, "could not be read: EIO", "could not be read: EIO"),
        (disk(Transport::Ata), "not reported", "not reported"),
        (unseen, "could not be read: no sense", "could not be read: no sense"),
        (disk(Transport::Virtio), "Overwrite", "only clears"),
        (disk(Transport::Scsi), "Overwrite", "only clears"),
        (disk(Transport::Usb), "a USB bridge; attach", "a USB bridge; attach"),
        (disk(Transport::Other), "not known", "not known"),
        (raid, "a RAID controller", "pass its disks through"),
        (path, "several paths", "leave one path connected"),
        (DiskFacts { read_only: true, ..one() }, "read-only", "read-only"),
        (DiskFacts { removable: true, ..one() }, "removable", "removable"),
        (DiskFacts { size_bytes: 0, ..one() }, "0 bytes", "0 bytes"),
        (DiskFacts { size_bytes: 1000, ..one() }, "1000 bytes", "1000 bytes"),
        (DiskFacts { logical_sector_bytes: 520, ..one() }, "sectors of 520", "sectors of 520"),
    ]);
}

#[test]
fn nvme() {
    let one = || Outcome::Value(1);
    let format = || nvme_disk(true, true, one());
    let plain = || nvme_disk(false, false, one());
    let broken = || Outcome::Unreadable("EIO".to_owned());
    let unread = DiskFacts { sanitize: Outcome::Unreadable("EIO".to_owned()), ..format() };
    let unread_plain = DiskFacts { sanitize: Outcome::Unreadable("EIO".to_owned()), ..plain() };
    let running = SanitizeState::Running { progress_65536: 7 };
    check(vec![
        (format(), "NvmeFormatUserData", "NvmeFormatCrypto"),
        (nvme_disk(true, false, one()), "NvmeFormatUserData", "only clears"),
        (nvme_disk(false, true, one()), "Overwrite", "only clears"),
        (with(format(), "bco"), "NvmeFormatUserData", "NvmeSanitizeCryptoBlock"),
        (with(format(), "b"), "NvmeFormatUserData", "NvmeSanitizeBlock"),
        (with(format(), "co"), "NvmeFormatUserData", "NvmeSanitizeCrypto"),
        (with(format(), "o"), "NvmeFormatUserData", "NvmeFormatCrypto"),
        (with(plain(), "bc"), "NvmeSanitizeBlock", "NvmeSanitizeCryptoBlock"),
        (with(plain(), "o"), "Overwrite", "NvmeSanitizeOverwrite"),
        (unread, "NvmeFormatUserData", "NvmeFormatCrypto"),
        (unread_plain, "Overwrite", "could not be read: EIO"),
        (nvme_disk(true, true, Outcome::Value(2)), "would erase all of them", "would erase all of them"),
        (with(nvme_disk(true, true, Outcome::Value(2)), "bc"), "2 namespaces", "2 namespaces"),
        (nvme_disk(true, true, Outcome::Value(0)), "0 namespaces", "0 namespaces"),
        (nvme_disk(true, true, Outcome::Absent), "not reported", "not reported"),
        (nvme_disk(false, false, broken()), "could not be read: EIO", "could not be read: EIO"),
        // Stuck in a sanitize: nothing but a sanitize gets it out.
        (
            in_state(format(), "bc", running, &[SanitizeObstacle::SanitizeRunning]),
            "NvmeSanitizeBlock",
            "NvmeSanitizeCryptoBlock",
        ),
        (
            in_state(format(), "bc", SanitizeState::Failed, &[]),
            "NvmeSanitizeBlock",
            "NvmeSanitizeCryptoBlock",
        ),
        (in_state(format(), "", running, &[]), "is running on it; wait", "is running on it; wait"),
        (in_state(format(), "", SanitizeState::Failed, &[]), "sanitize failed", "sanitize failed"),
        // What makes a sanitize impossible may leave a format of the same level.
        (
            in_state(format(), "bc", SanitizeState::Never, &[SanitizeObstacle::PersistentMemoryRegion]),
            "NvmeFormatUserData",
            "NvmeFormatCrypto",
        ),
        (
            in_state(plain(), "bc", SanitizeState::Never, &[SanitizeObstacle::PersistentMemoryRegion]),
            "Overwrite",
            "memory region is enabled; disable",
        ),
        (
            in_state(plain(), "bc", SanitizeState::Never, &[SanitizeObstacle::FirmwareActivationPending]),
            "Overwrite",
            "firmware waits",
        ),
        (
            in_state(format(), "bc", SanitizeState::Never, &[SanitizeObstacle::NamespaceWriteProtected]),
            "write-protected",
            "write-protected",
        ),
    ]);
}

#[test]
fn ata() {
    let flash = || ata_disk(false, |_| {});
    let magnetic = || ata_disk(true, |_| {});
    let unknown = DiskFacts { rotational: Outcome::Unreadable("EIO".to_owned()), ..magnetic() };
    let frozen = |rotates| ata_disk(rotates, |ata| ata.security_frozen = true);
    let never = SanitizeState::Never;
    let password = |frozen| {
        ata_disk(false, move |ata| {
            (ata.security_enabled, ata.security_locked, ata.security_frozen) = (true, true, frozen);
        })
    };
    check(vec![
        (with(flash(), "bco"), "AtaSanitizeBlock", "AtaSanitizeCryptoBlock"),
        (with(flash(), "c"), "AtaSanitizeCrypto", "AtaSanitizeCrypto"),
        // Enhanced security erase is no purge of flash, and flash is not overwritten to purge it.
        (flash(), "AtaSecurityErase", "only clears"),
        (with(flash(), "o"), "AtaSecurityErase", "only clears"),
        (unknown, "AtaSecurityErase", "only clears"),
        (ata_disk(false, |ata| ata.security_supported = false), "Overwrite", "only clears"),
        (with(magnetic(), "bco"), "Overwrite", "AtaSanitizeOverwrite"),
        (with(magnetic(), "c"), "Overwrite", "AtaSanitizeCrypto"),
        (magnetic(), "Overwrite", "AtaSecurityEraseEnhanced"),
        (ata_disk(true, |ata| ata.enhanced_erase = false), "Overwrite", "only clears"),
        // Frozen: sanitize has a freeze lock of its own.
        (frozen(false), "Overwrite", "only clears"),
        (with(frozen(false), "bc"), "AtaSanitizeBlock", "AtaSanitizeCryptoBlock"),
        (frozen(true), "Overwrite", "security is frozen; switch"),
        (
            in_state(frozen(true), "o", never, &[SanitizeObstacle::Frozen]),
            "Overwrite",
            "sanitize commands are frozen",
        ),
        (
            in_state(flash(), "bc", never, &[SanitizeObstacle::Frozen]),
            "AtaSecurityErase",
            "sanitize commands are frozen",
        ),
        // A password that an erase of ours left is removed by the run; unless nobody can.
        (password(false), "AtaSecurityErase", "only clears"),
        (password(true), "it is frozen); switch", "it is frozen); switch"),
        (
            ata_disk(false, |ata| (ata.security_locked, ata.security_count_expired) = (true, true)),
            "too many wrong passwords",
            "too many wrong passwords",
        ),
        (
            ata_disk(true, |ata| ata.hidden_bytes = Outcome::Value(512)),
            "512 of its bytes",
            "512 of its bytes",
        ),
        (
            ata_disk(true, |ata| ata.hidden_bytes = Outcome::Unreadable("wild".to_owned())),
            "could not be read: wild",
            "could not be read: wild",
        ),
        (ata_disk(true, |ata| ata.hidden_bytes = Outcome::Absent), "Overwrite", "AtaSecurityEraseEnhanced"),
    ]);
}

#[test]
fn every_row_can_be_reached_and_says_where_it_stands() {
    for (at, row) in TABLE.iter().enumerate() {
        assert!(row.source.len() > 20);
        assert!(may_deliver(row.method, row.level));
        let twice = TABLE[..at]
            .iter()
            .any(|other| (other.medium, other.level, other.method) == (row.medium, row.level, row.method));
        assert!(!twice, "{row:?}");
    }
    let only_clear = [
        EraseMethod::Overwrite,
        EraseMethod::ScsiWriteSame,
        EraseMethod::NvmeFormatUserData,
        EraseMethod::AtaSecurityErase,
    ];
    for method in only_clear {
        assert!(may_deliver(method, Clear) && !may_deliver(method, Purge), "{method:?}");
    }
}

#[test]
fn estimates_are_those_of_the_device_and_none_if_one_is_missing() {
    let both = with(nvme_disk(true, true, Outcome::Value(1)), "bco");
    let cases = [
        (EraseMethod::NvmeSanitizeCryptoBlock, Some(94)),
        (EraseMethod::NvmeSanitizeOverwrite, None),
        (EraseMethod::NvmeFormatCrypto, None),
        (EraseMethod::Overwrite, None),
    ];
    for (method, expected) in cases {
        assert_eq!(estimate_seconds(&both, method), expected, "{method:?}");
    }
    let magnetic = ata_disk(true, |_| {});
    assert_eq!(estimate_seconds(&magnetic, EraseMethod::AtaSecurityEraseEnhanced), Some(480));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever a disk says of itself: what is chosen stands in the table for its medium and level.
    #[test]
    fn what_is_chosen_stands_in_the_table(
        transport in 0..6_usize, bits: u32, rotational in 0..3_u8, state in 0..4_u8, purge: bool, namespaces in 0..3_u32,
    ) {
        let bit = |at: u32| bits >> at & 1 == 1;
        let transport = [Transport::Nvme, Transport::Ata, Transport::Scsi, Transport::Virtio, Transport::Usb, Transport::Other][transport];
        let mut sanitize = sanitize("");
        (sanitize.block, sanitize.crypto, sanitize.overwrite) = (bit(0), bit(1), bit(2));
        sanitize.state = match state {
            0 => SanitizeState::Never,
            1 => SanitizeState::Done { erased_since: bit(3) },
            2 => SanitizeState::Running { progress_65536: 1 },
            _ => SanitizeState::Failed,
        };
        if bit(4) { sanitize.obstacles.push(SanitizeObstacle::Frozen); }
        let ata = ata_disk(false, |ata| {
            (ata.security_supported, ata.security_enabled, ata.security_frozen) = (bit(5), bit(6), bit(7));
            ata.enhanced_erase = bit(8);
        });
        let facts = DiskFacts {
            transport,
            rotational: match rotational { 0 => Outcome::Absent, 1 => Outcome::Value(true), _ => Outcome::Value(false) },
            sanitize: if bit(9) { Outcome::Value(sanitize) } else { Outcome::Absent },
            ..DiskFacts { nvme: nvme_disk(bit(10), bit(11), Outcome::Value(namespaces)).nvme, ..ata }
        };
        let level = if purge { Purge } else { SanitizeLevel::Clear };
        if let Ok(method) = choose(&facts, level) {
            let medium = Medium::of(&facts);
            let fits = TABLE.iter().any(|row| Some(row.medium) == medium && row.method == method && row.level >= level);
            prop_assert!(fits, "{:?}", method);
            prop_assert!(may_deliver(method, level));
            prop_assert!(transport != Transport::Nvme || namespaces == 1);
        }
    }
}
