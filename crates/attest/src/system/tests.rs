use contract::id::Digest;
use proptest::prelude::{any, prop_assert, proptest};

use super::*;
use crate::event_log::replay;
use crate::recorded::{BIOS, SYSTEM, UEFI};
use crate::register::ASKED;

const IMAGE: ImageId = ImageId(Digest([5; 32]));

fn logged(log: &[u8]) -> System {
    let Replayed { registers, boot_programs, secure_boot, programs, .. } = replay(log).unwrap();
    System { registers, log: Some(Log { secure_boot, programs, names_programs: boot_programs > 0 }) }
}

fn system() -> System {
    logged(SYSTEM.log)
}

/// With these registers changed.
fn with(system: &System, changed: &[u8]) -> System {
    let registers = system.registers.iter().map(|(index, register)| {
        let mut register = *register;
        register[0] ^= if changed.contains(&index) { 0x80 } else { 0 };
        (index, register)
    });
    System { registers: Registers::new(registers), log: system.log.clone() }
}

fn unlogged(system: &System) -> System {
    System { log: None, ..system.clone() }
}

/// With another log under the same registers, as if it gave them.
fn log_with(system: &System, change: impl FnOnce(&mut Log)) -> System {
    let mut changed = system.clone();
    change(changed.log.as_mut().unwrap());
    changed
}

/// Compared with what was recorded of the ramdisk that this log is of, and with this system.
fn found(ramdisk: &System, recorded: Option<&System>, now: &System) -> Found {
    let log = ramdisk.log.as_ref().unwrap();
    let known = Known {
        firmware: &ramdisk.registers,
        secure_boot: log.secure_boot,
        ours: &log.programs,
        ramdisk: Some(&ramdisk.registers),
        system: recorded,
    };
    compare(&known, now, Golden::default())
}

/// The ramdisk of the same machine: the same firmware, without shim's share of register 7.
fn ramdisk() -> System {
    let mut ramdisk = with(&system(), &[4, 8, 9, 14]);
    let at_separator = ramdisk.log.as_ref().and_then(|log| log.secure_boot).unwrap();
    let registers = ramdisk.registers.iter().filter(|(index, _)| *index != 7);
    let registers = registers.map(|(index, register)| (index, *register)).chain([(7, at_separator)]);
    ramdisk.registers = Registers::new(registers.collect::<Vec<_>>());
    ramdisk.log.as_mut().unwrap().programs = vec![[0xAB; 32]];
    ramdisk
}

fn changed(indexes: &[u8]) -> Found {
    Found::Changed(indexes.iter().map(|index| name(*index)).collect())
}

#[test]
fn a_system_behind_shim_and_grub_is_taken_apart() {
    let system = system();
    assert_eq!(system.registers, SYSTEM.registers());
    let log = system.log.unwrap();
    assert!(log.names_programs);
    // Shim, GRUB, and the kernel twice, without the firmware's words and its separator.
    assert_eq!((log.programs.len(), programs(&log, &[]).len()), (6, 3));
    let network = replay(UEFI.log).unwrap();
    assert_eq!(network.secure_boot, network.registers.get(7).copied(), "nothing was measured behind it");
    assert!(log.secure_boot.is_some() && log.secure_boot.as_ref() != SYSTEM.registers().get(7));
}

#[test]
fn s2_the_firmware_is_compared_and_what_shim_adds_to_register_7_is_not() {
    let (ramdisk, system) = (ramdisk(), system());
    assert_ne!(ramdisk.registers.get(7), system.registers.get(7));
    assert_eq!(found(&ramdisk, Some(&system), &system), Found::Verified);
    for index in ASKED {
        let is = found(&ramdisk, Some(&system), &with(&system, &[index]));
        let expected = match index {
            0 | 2 | 3 => Found::Mismatch(vec![name(index)]),
            8 | 9 | 14 => changed(&[index]),
            // 1, 5 and 6 are not compared; what 4 and 7 hold, the log says.
            _ => Found::Verified,
        };
        assert_eq!(is, expected, "{index}");
    }
    let other = log_with(&system, |log| log.secure_boot = Some([1; 32]));
    assert_eq!(found(&ramdisk, Some(&system), &other), Found::Mismatch(vec![name(7)]));
    assert_eq!(found(&ramdisk, None, &other), Found::Mismatch(vec![name(7)]), "nothing is recorded yet");
}

#[test]
fn s3_a_system_that_was_started_without_a_reset_shows_no_change() {
    let (ramdisk, system) = (ramdisk(), system());
    assert_eq!(found(&ramdisk, Some(&system), &ramdisk), Found::WithoutReset);
    assert_eq!(found(&ramdisk, Some(&system), &unlogged(&ramdisk)), Found::WithoutReset);
    let other_boot = with(&ramdisk, &[9]);
    assert!(matches!(found(&ramdisk, Some(&system), &other_boot), Found::Changed(_)));
}

#[test]
fn s4_a_program_more_or_less_is_a_change_and_our_own_loader_on_the_way_is_none() {
    let (ramdisk, system) = (ramdisk(), system());
    let with_program = |program| log_with(&system, |log| log.programs.insert(0, program));
    let through_network = with(&with_program([0xAB; 32]), &[4]);
    assert_eq!(found(&ramdisk, Some(&system), &through_network), Found::Verified);
    assert_eq!(found(&ramdisk, Some(&through_network), &system), Found::Verified);
    let returned = with_program(Sha256::digest(OF_NO_PROGRAM[1]).into());
    assert_eq!(found(&ramdisk, Some(&system), &returned), Found::Verified);
    assert_eq!(found(&ramdisk, Some(&system), &with_program([0xCD; 32])), changed(&[4]));
    let less = log_with(&system, |log| log.programs.truncate(3));
    assert_eq!(found(&ramdisk, Some(&system), &less), changed(&[4]));
}

#[test]
fn s4_without_a_log_registers_are_compared_whole_and_a_lost_one_hides_nothing() {
    let (ramdisk, system) = (ramdisk(), system());
    let now = unlogged(&system);
    assert_eq!(found(&ramdisk, None, &now), Found::NotRecorded);
    assert_eq!(found(&ramdisk, Some(&now), &now), Found::Verified);
    assert_eq!(found(&ramdisk, Some(&system), &now), Found::Verified);
    for index in [4, 7] {
        assert_eq!(found(&ramdisk, Some(&now), &with(&now, &[index])), changed(&[index]), "{index}");
        assert_eq!(found(&ramdisk, Some(&system), &with(&now, &[index])), changed(&[index]), "{index}");
    }
    // A record of before register 7 was taken apart.
    let known = Known {
        firmware: &ramdisk.registers,
        secure_boot: None,
        ours: &[],
        ramdisk: None,
        system: Some(&system),
    };
    assert_eq!(compare(&known, &system, Golden::default()), Found::Verified);
    assert_eq!(compare(&known, &with(&system, &[7]), Golden::default()), changed(&[7]));
}

#[test]
fn s5_s7_where_nothing_measures_the_kernel_the_boot_is_unproven() {
    let bios = logged(BIOS.log);
    let ramdisk = with(&bios, &[9]);
    assert_eq!(found(&ramdisk, Some(&bios), &bios), Found::NotMeasured);
    assert_eq!(found(&ramdisk, Some(&bios), &with(&unlogged(&bios), &[4])), Found::NotMeasured);
    // A loader that measures nothing, such as GRUB without its module for TPMs.
    let system = system();
    let nothing = Registers::new(ASKED.map(|index| match index {
        8 | 9 | 14 => (index, Register::default()),
        _ => (index, *system.registers.get(index).unwrap()),
    }));
    let loader = System { registers: nothing, log: None };
    let ramdisk = self::ramdisk();
    assert_eq!(found(&ramdisk, Some(&loader), &loader), Found::NotMeasured);
    assert_eq!(found(&ramdisk, Some(&loader), &with(&loader, &[4])), changed(&[4]));
}

#[test]
fn s6_what_is_golden_counts_as_recorded_and_each_part_of_it_is_needed() {
    let (ramdisk, system) = (ramdisk(), system());
    let known = Known {
        firmware: &ramdisk.registers,
        secure_boot: ramdisk.log.as_ref().and_then(|log| log.secure_boot),
        ours: &[],
        ramdisk: None,
        system: None,
    };
    let golden = |firmware, booted| Golden { firmware, booted };
    assert_eq!(compare(&known, &system, golden(false, true)), Found::Verified);
    assert!(matches!(compare(&known, &with(&system, &[2]), golden(false, true)), Found::Mismatch(_)));
    assert_eq!(compare(&known, &with(&system, &[2]), golden(true, true)), Found::Verified);

    let by = |system: &System| known_by(system, IMAGE, &[]).unwrap();
    assert_ne!(by(&system), known_by(&system, ImageId(Digest([6; 32])), &[]).unwrap());
    for index in ASKED {
        assert_eq!(by(&with(&system, &[index])) != by(&system), [8, 9, 14].contains(&index), "{index}");
        let now = unlogged(&system);
        let parts = [4, 7, 8, 9, 14].contains(&index);
        assert_eq!(by(&with(&now, &[index])) != by(&now), parts, "{index}");
    }
    let other = log_with(&system, |log| log.programs.push([1; 32]));
    assert_ne!(by(&other), by(&system));
    assert_eq!(known_by(&other, IMAGE, &[[1; 32]]), Some(by(&system)), "our own loader");
    assert_eq!(known_by(&log_with(&system, |log| log.secure_boot = None), IMAGE, &[]), None);
}

proptest! {
    /// Whatever is recorded, what differs from it is not verified.
    #[test]
    fn only_what_is_as_recorded_is_verified(index in 0_usize..11, log in any::<bool>(), recorded_log in any::<bool>()) {
        let index = ASKED[index];
        let pick = |log: bool, system: &System| if log { system.clone() } else { unlogged(system) };
        let (ramdisk, system) = (ramdisk(), system());
        let mut now = with(&system, &[index]);
        if index == 4 {
            now.log.as_mut().unwrap().programs.push([1; 32]);
        }
        if index == 7 {
            now.log.as_mut().unwrap().secure_boot = Some([1; 32]);
        }
        let is = found(&ramdisk, Some(&pick(recorded_log, &system)), &pick(log, &now));
        prop_assert!((is == Found::Verified) == [1, 5, 6].contains(&index), "{index}: {is:?}");
    }
}
