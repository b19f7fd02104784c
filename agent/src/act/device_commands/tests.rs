//! The real sequences against disks in memory that take the real bytes.

use std::io;

use contract::inventory::WriteSameCapabilities;
use contract::plan::EraseMethod;
use erasure::ata::security;
use erasure::command::{CommandProgress, DeviceCommand, SanitizeAction};
use erasure::nvme::admin;
use erasure::run::SameWritten;
use erasure::sample::Span;

use super::{CommandSet, DeviceCommands, ata, command_set, nvme, scsi};
use crate::probe::ata_port::AtaPort;
use crate::probe::ata_security;
use crate::probe::fake_ata::FakeAta;
use crate::probe::fake_nvme::FakeNvme;
use crate::probe::fake_scsi::FakeScsi;

fn text<T: std::fmt::Debug>(result: io::Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn only_whole_disks_that_are_reached_directly_take_commands() {
    let cases = [
        ("/sys/devices/pci0000:00/0000:00:06.0/nvme/nvme0/nvme0n1", CommandSet::Nvme),
        ("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1", CommandSet::Nvme),
        ("/sys/devices/pci0000:00/0000:00:06.0/nvme/nvme0/nvme0n1/nvme0n1p1", CommandSet::Other),
        ("/sys/devices/pci0/ata1/host0/target0:0:0/0:0:0:0/block/sda", CommandSet::Ata),
        ("/sys/devices/pci0/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1", CommandSet::Other),
        ("/sys/devices/pci0/usb1/1-1/1-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb", CommandSet::Other),
        ("/sys/devices/pci0/host2/port-2:0/end_device-2:0/target2:0:0/2:0:0:0/block/sdc", CommandSet::Scsi),
        ("/sys/devices/pci0/virtio1/block/vda", CommandSet::Other),
        ("/sys/devices/virtual/block/loop0", CommandSet::Other),
        ("", CommandSet::Other),
    ];
    for (path, expected) in cases {
        assert_eq!(command_set(path), expected, "{path}");
    }
}

#[test]
fn a_file_takes_no_command_and_knows_of_none() {
    let file = tempfile::tempfile().unwrap();
    let commands = DeviceCommands::of(&file);
    for command in [
        DeviceCommand::NvmeFormat { crypto: true },
        DeviceCommand::NvmeSanitize(SanitizeAction::Block),
        DeviceCommand::AtaSanitize(SanitizeAction::Crypto),
        DeviceCommand::AtaSecurityErase { enhanced: false },
        DeviceCommand::ScsiSanitize(SanitizeAction::Overwrite),
        DeviceCommand::ScsiWriteSame,
    ] {
        assert!(text(commands.start(&file, command)).contains("was not sent"));
        assert!(commands.progress(&file, command).is_err());
        assert_eq!(commands.estimate_seconds(&file, command), None);
    }
    assert!(text(commands.write_same(&file, 512, Span { offset: 0, bytes: 512 })).contains("was not sent"));
    assert!(commands.prepare(&file).is_ok());
}

#[test]
fn only_the_sanitize_log_of_an_nvme_disk_says_that_it_is_clean() {
    let fake = FakeNvme::with_sanitize();
    assert!(text(nvme::said_clean(&fake)).contains("no sanitize that erases ended well"));
    fake.set_sanitize_log(0xffff, 0x001, 2);
    assert!(text(nvme::said_clean(&fake)).contains("something was written since"));
    fake.set_sanitize_log(0xffff, 0x101, 2);
    assert_eq!(nvme::said_clean(&fake).unwrap().sanitized_by, EraseMethod::NvmeSanitizeBlock);
    let mut silent = FakeNvme::with_sanitize();
    silent.refuses = vec![admin::OPCODE_GET_LOG_PAGE];
    assert!(nvme::said_clean(&silent).is_err());
    // A disk of another kind has no such log, whatever it would answer.
    let file = tempfile::tempfile().unwrap();
    assert!(text(DeviceCommands::of(&file).said_clean(&file)).contains("only NVMe disks"));
}

#[test]
fn nvme_commands_arrive_and_refusals_are_named() {
    let mut fake = FakeNvme::with_sanitize();
    let status = nvme::format(&fake, true).unwrap();
    assert_eq!(status, "NVMe Format NVM, cryptographic erase: CDW10 0x412, status 0");
    nvme::start_sanitize(&fake, SanitizeAction::Block).unwrap();
    let sent: Vec<(u8, u32, u32)> =
        fake.changed.borrow().iter().map(|one| (one.opcode, one.namespace, one.dword_10)).collect();
    assert_eq!(sent, [(0x80, 1, 0x412), (0x84, 0, 2)]);
    let of = |action| nvme::sanitize_progress(&fake, action).unwrap();
    assert_eq!(of(SanitizeAction::Block), CommandProgress::Running { progress_65536: Some(0) });
    fake.set_sanitize_log(0xffff, 1, 2);
    assert!(matches!(of(SanitizeAction::Block), CommandProgress::Done { .. }));
    assert!(matches!(of(SanitizeAction::Crypto), CommandProgress::Never { .. }));
    fake.set_sanitize_log(0xffff, 3, 2);
    assert!(matches!(of(SanitizeAction::Block), CommandProgress::Failed { .. }));
    assert_eq!(nvme::estimate_seconds(&fake, SanitizeAction::Block), Some(30));
    fake.refuses = vec![0x80, 0x84];
    assert!(text(nvme::format(&fake, false)).contains("Format NVM: the controller has no such command"));
    assert!(text(nvme::start_sanitize(&fake, SanitizeAction::Block)).contains("Sanitize"));
}

#[test]
fn an_ata_sanitize_is_started_and_asked_for() {
    let mut fake = FakeAta::plain();
    fake.sanitize_word = 0xf000;
    let start = |fake: &FakeAta, action| ata::start_sanitize(&AtaPort::new(fake), action);
    let progress = |fake: &FakeAta| ata::sanitize_progress(&AtaPort::new(fake)).unwrap();
    assert!(matches!(progress(&fake), CommandProgress::Never { .. }));
    start(&fake, SanitizeAction::Block).unwrap();
    assert_eq!(*fake.erased.borrow(), [(0xb4, 0x12, 0)]);
    assert_eq!(progress(&fake), CommandProgress::Running { progress_65536: Some(0x8000) });
    fake.sanitize_registers.set(FakeAta::SANITIZE_DONE);
    assert!(matches!(progress(&fake), CommandProgress::Done { .. }));
    fake.sanitize_registers.set(FakeAta::SANITIZE_FROZEN);
    assert!(text(start(&fake, SanitizeAction::Crypto)).contains("aborted CRYPTO SCRAMBLE EXT"));
    // The trap: the kernel's call succeeds and there is no word of the disk's.
    fake.good_without_registers = true;
    assert!(text(start(&fake, SanitizeAction::Crypto)).contains("no registers"));
}

#[test]
fn a_security_erase_leaves_no_password() {
    for enhanced in [false, true] {
        let fake = FakeAta::with_security();
        let status = ata::security_erase(&AtaPort::new(&fake), enhanced).unwrap();
        assert!(status.contains(if enhanced { "enhanced" } else { "normal" }), "{status}");
        assert_eq!(*fake.erased.borrow(), [(0xf4, 0, if enhanced { 2 } else { 0 })]);
        assert_eq!(fake.security.get(), 0b10_0001);
    }
}

#[test]
fn a_security_erase_that_fails_takes_its_password_back() {
    for (aborts, why) in [(0xf1, "SET PASSWORD"), (0xf3, "ERASE PREPARE"), (0xf4, "ERASE UNIT")] {
        let mut fake = FakeAta::with_security();
        fake.aborts = vec![aborts];
        let error = text(ata::security_erase(&AtaPort::new(&fake), false));
        assert!(error.contains(why) && !error.contains("still be set"), "{error}");
        assert_eq!(fake.security.get() & 0b110, 0, "{why}");
        assert!(fake.erased.borrow().is_empty());
    }
    let mut stubborn = FakeAta::with_security();
    stubborn.aborts = vec![0xf4, 0xf6];
    let error = text(ata::security_erase(&AtaPort::new(&stubborn), false));
    assert!(error.contains("the password \"reprieve\" may still be set"), "{error}");
    // The traps: good answers from something that passes nothing on, or no registers on.
    let mut swallowing = FakeAta::with_security();
    swallowing.swallows_data = true;
    assert!(text(ata::security_erase(&AtaPort::new(&swallowing), false)).contains("says that it has none"));
    let mut silent = FakeAta::with_security();
    silent.good_without_registers = true;
    assert!(text(ata::security_erase(&AtaPort::new(&silent), false)).contains("no registers"));
    assert!(swallowing.erased.borrow().is_empty() && silent.erased.borrow().is_empty());
}

#[test]
fn a_disk_that_keeps_the_password_after_its_erase_did_not_erase() {
    let mut fake = FakeAta::with_security();
    fake.keeps_password = true;
    assert!(text(ata::security_erase(&AtaPort::new(&fake), false)).contains("still has the password"));
    assert_eq!(fake.security.get(), 0b10_0001, "and does not keep it");
}

#[test]
fn frozen_or_foreign_security_erases_nothing() {
    for (word, password, why) in [
        (0b10_1001, [0; 32], "frozen"),
        (0b10_0011, [7; 32], "does not take ours"),
        (0b10_0111, [7; 32], "does not take ours"),
        (0b00_0000, [0; 32], "no security feature set"),
    ] {
        let fake = FakeAta::with_security();
        fake.security.set(word);
        fake.password.set(password);
        assert!(text(ata::security_erase(&AtaPort::new(&fake), false)).contains(why), "{word:#b}");
        assert_eq!((fake.erased.borrow().len(), fake.security.get()), (0, word));
    }
}

#[test]
fn a_power_cut_at_any_command_never_locks_us_out() {
    // The commands of a whole erase, so that the power can fail at each.
    let whole = FakeAta::with_security();
    ata::security_erase(&AtaPort::new(&whole), true).unwrap();
    let commands = whole.commands.borrow().clone();
    assert_eq!(commands, [0xec, 0xf1, 0xec, 0xf3, 0xf4, 0xec, 0xec]);
    for command in [0xec, 0xf1, 0xf3, 0xf4] {
        let fake = FakeAta::with_security();
        fake.power_fails_at.set(Some(command));
        assert!(text(ata::security_erase(&AtaPort::new(&fake), true)).contains("no power"));
        fake.power_cycle();
        let locked = fake.security.get() & 0b100 != 0;
        assert_eq!(locked, matches!(command, 0xf3 | 0xf4), "{command:#x}");
        // The next boot opens it, or erases it at once.
        ata_security::open(&AtaPort::new(&fake)).unwrap();
        assert_eq!(fake.security.get() & 0b110, 0);
        ata::security_erase(&AtaPort::new(&fake), true).unwrap();
        assert_eq!(fake.erased.borrow().len(), 1);
    }
    assert_eq!(security::password_block()[2..10], *b"reprieve");
}

#[test]
fn a_scsi_sanitize_is_done_only_when_the_disk_is_silent_and_ready() {
    let fake = FakeScsi::with_sanitize(&[1, 2, 3]);
    let progress = |started| scsi::sanitize_progress(&fake, started).unwrap();
    assert!(matches!(progress(false), CommandProgress::Never { .. }), "silence before is no success");
    scsi::start_sanitize(&fake, SanitizeAction::Overwrite).unwrap();
    let (command, list) = fake.erased.borrow()[0].clone();
    assert_eq!((command[..2].to_vec(), list), (vec![0x48, 0x81], vec![1, 0, 0, 4, 0, 0, 0, 0]));
    assert_eq!(progress(true), CommandProgress::Running { progress_65536: Some(0x4000) });
    fake.sense.set((0, 0, 0));
    fake.unready.set(Some((2, 4, 0x1b)));
    assert_eq!(progress(true), CommandProgress::Running { progress_65536: Some(0x4000) });
    fake.unready.set(Some((3, 0x31, 3)));
    assert!(matches!(progress(true), CommandProgress::Failed { .. }));
    fake.unready.set(Some((6, 0x29, 0)));
    assert_eq!(progress(true), CommandProgress::Running { progress_65536: None });
    fake.unready.set(Some((2, 4, 2)));
    assert!(text(scsi::sanitize_progress(&fake, true)).contains("not ready"));
    fake.unready.set(None);
    assert!(matches!(progress(true), CommandProgress::Done { .. }));
    fake.refuses.set(Some((5, 0x20, 0)));
    assert!(text(scsi::start_sanitize(&fake, SanitizeAction::Block)).contains("no such command"));
}

#[test]
fn write_same_sends_a_block_of_zeros_to_no_more_than_the_disk_takes() {
    let fake = FakeScsi::with_write_same(None);
    let limits = |blocks_max| WriteSameCapabilities { blocks_max };
    let send =
        |sector, most, offset, bytes| scsi::write_same(&fake, sector, limits(most), Span { offset, bytes });
    let written = |sent: io::Result<SameWritten>| match sent.unwrap() {
        SameWritten::Written { bytes, .. } => bytes,
        refused @ SameWritten::Refused { .. } => panic!("{refused:?}"),
    };
    assert_eq!(written(send(512, Some(64), 1 << 20, 1 << 20)), 64 * 512);
    fake.attentions.set(2);
    assert_eq!(written(send(4096, None, 1 << 20, 1 << 20)), 1 << 20);
    let sent = fake.erased.borrow().clone();
    let command = |first: u8, blocks: u8| vec![0x93, 0, 0, 0, 0, 0, 0, 0, first, 0, 0, 0, 0, blocks, 0, 0];
    let later = vec![0x93, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(sent, [(command(8, 64), vec![0; 512]), (later, vec![0; 4096])]);
    // Not whole sectors, nothing, a sector that nobody knows: nothing is sent.
    for (sector, offset, bytes) in [(512, 1, 512), (512, 0, 513), (512, 0, 0), (0, 0, 512), (8192, 0, 8192)] {
        assert!(send(sector, None, offset, bytes).is_err(), "{sector} {offset} {bytes}");
    }
    assert_eq!(fake.erased.borrow().len(), 2);
    for codes in [(5, 0x20, 0), (5, 0x24, 0)] {
        fake.same_refused.set(Some((0, codes)));
        assert!(matches!(send(512, None, 0, 512), Ok(SameWritten::Refused { .. })), "{codes:?}");
    }
    for (codes, why) in [((7, 0x27, 0), "write-protected"), ((3, 0x0c, 0), "8 blocks from block 16 on")] {
        fake.same_refused.set(Some((0, codes)));
        assert!(text(send(512, None, 8192, 4096)).contains(why), "{codes:?}");
    }
    fake.same_refused.set(Some((0, (6, 0x29, 0))));
    assert!(text(send(512, None, 0, 512)).contains("one event after another"));
}
