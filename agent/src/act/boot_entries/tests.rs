use std::path::Path;

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use uuid::{Uuid, uuid};

use super::*;
use crate::efi::boot_entry::parse_entry;

const ESP: HardDrive = HardDrive {
    number: 1,
    first_sector: 2048,
    sectors: 65536,
    guid: uuid!("00112233-4455-6677-8899-aabbccddeeff"),
};

fn option(description: &str, path: &[u8]) -> Vec<u8> {
    let mut option = vec![1, 0, 0, 0];
    option.extend(u16::try_from(path.len() + 4).unwrap().to_le_bytes());
    option.extend(description.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    option.extend(path);
    option.extend([0x7f, 0xff, 4, 0]);
    option
}

fn mac() -> Vec<u8> {
    let mut mac = vec![0x03, 0x0b, 37, 0, 0x52, 0x54, 0, 0, 0, 1];
    mac.resize(37, 0);
    mac
}

fn network() -> Vec<u8> {
    option("UEFI PXEv4", &mac())
}

fn menu() -> Vec<u8> {
    let mut file = vec![0x04, 0x06, 20, 0];
    file.resize(20, 7);
    option("UiApp", &file)
}

fn disk(guid: u128) -> Vec<u8> {
    encode("debian", &HardDrive { guid: Uuid::from_u128(guid), ..ESP }, "\\EFI\\debian\\shimx64.efi")
}

fn ours(guid: u128) -> Vec<u8> {
    encode(DESCRIPTION, &HardDrive { guid: Uuid::from_u128(guid), ..ESP }, LOADER)
}

fn firmware(folder: &Path, entries: &[(u16, Vec<u8>)], order: &[u16]) -> Variables {
    let variables = Variables::in_directory(folder);
    for (number, option) in entries {
        variables.write(&entry_name(*number), option).unwrap();
    }
    if !order.is_empty() {
        variables.write("BootOrder", &encode_numbers(order)).unwrap();
    }
    variables
}

/// Sets ours and gives the order, with ours as number 99.
fn order_after(entries: &[(u16, Vec<u8>)], order: &[u16]) -> Vec<u16> {
    let folder = tempfile::tempdir().unwrap();
    let variables = firmware(folder.path(), entries, order);
    let said = BootEntries { variables: variables.clone(), esp: Some(ESP) }.set();
    assert!(said.contains("read back"), "{said}");
    let all = variables.entries().unwrap();
    let is_ours = |number: &u16| {
        let entry = all.iter().find(|entry| entry.number == *number);
        entry.is_some_and(|entry| entry.entry.as_ref().unwrap().description == DESCRIPTION)
    };
    let order = variables.numbers("BootOrder").unwrap_or_default();
    assert_eq!(all.iter().filter(|entry| is_ours(&entry.number)).count(), 1);
    order.into_iter().map(|number| if is_ours(&number) { 99 } else { number }).collect()
}

#[test]
fn ours_is_the_first_disk_behind_the_network_that_stood_before_it() {
    let all = vec![(0, menu()), (1, disk(1)), (2, network()), (3, network())];
    let table: [(&[u16], &[u16]); 7] = [
        (&[2, 3, 1], &[2, 3, 99, 1]),
        (&[0, 2, 1, 3], &[0, 2, 99, 1, 3]),
        (&[1, 2, 3], &[99, 1, 2, 3]),
        (&[0, 1], &[0, 99, 1]),
        (&[2, 3], &[2, 3, 99]),
        // Firmware that listed the network by itself still does.
        (&[], &[]),
        // A number that names nothing is somebody's, and stays.
        (&[2, 0x77, 1], &[2, 99, 0x77, 1]),
    ];
    for (before, after) in table {
        assert_eq!(order_after(&all, before), after, "{before:?}");
    }
}

#[test]
fn earlier_ones_of_ours_go_and_others_stay_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let all = [(1, disk(1)), (4, ours(7)), (5, ours(8)), (6, vec![1, 2, 3])];
    let variables = firmware(folder.path(), &all, &[5, 1, 4, 6]);
    let said = BootEntries { variables: variables.clone(), esp: Some(ESP) }.set();
    assert!(said.contains("2 earlier"), "{said}");
    let left = variables.entries().unwrap();
    assert_eq!(left.iter().map(|entry| entry.number).collect::<Vec<_>>(), [0, 1, 6]);
    assert_eq!(left[0].option.as_deref(), Some(encode(DESCRIPTION, &ESP, LOADER).as_slice()));
    assert_eq!(left[1].option.as_deref(), Some(disk(1).as_slice()));
    assert_eq!(left[2].option.as_deref(), Some([1, 2, 3].as_slice()));
    assert_eq!(variables.numbers("BootOrder").unwrap(), [0, 1, 6]);
    // The second time there is nothing to write.
    let again = BootEntries { variables: variables.clone(), esp: Some(ESP) }.set();
    assert!(again.contains("there already"), "{again}");
    // An image without one takes ours away.
    let none = BootEntries { variables: variables.clone(), esp: None }.set();
    assert!(none.contains("no EFI system partition"), "{none}");
    assert_eq!(variables.numbers("BootOrder").unwrap(), [1, 6]);
}

#[test]
fn a_firmware_that_cannot_be_read_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let variables = firmware(folder.path(), &[(1, disk(1))], &[1]);
    // A folder in place of the variable: it is there and cannot be read.
    let order = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let order = order.into_iter().find(|path| path.to_string_lossy().contains("BootOrder")).unwrap();
    std::fs::remove_file(&order).unwrap();
    std::fs::create_dir(&order).unwrap();
    let said = BootEntries { variables: variables.clone(), esp: Some(ESP) }.set();
    assert!(said.contains("were not set"), "{said}");
    assert_eq!(variables.entries().unwrap().len(), 1);
    // It is there and is cut off.
    std::fs::remove_dir(&order).unwrap();
    for cut in [&[][..], &[7, 0, 0], &[7, 0, 0, 0, 1, 0, 2]] {
        std::fs::write(&order, cut).unwrap();
        let said = BootEntries { variables: variables.clone(), esp: Some(ESP) }.set();
        assert!(said.contains("were not set"), "{said}");
        assert_eq!((std::fs::read(&order).unwrap(), variables.entries().unwrap().len()), (cut.to_vec(), 1));
    }
    let missing = Variables::in_directory(&folder.path().join("nothing"));
    assert!(BootEntries { variables: missing, esp: Some(ESP) }.set().contains("were not set"));
}

#[test]
fn what_a_person_calls_by_our_name_stays() {
    let folder = tempfile::tempdir().unwrap();
    let of_a_person = [(2, option(DESCRIPTION, &mac())), (3, option(DESCRIPTION, &[])), (4, ours(7))];
    let variables = firmware(folder.path(), &of_a_person, &[2, 3, 4]);
    let said = BootEntries { variables: variables.clone(), esp: Some(ESP) }.set();
    assert!(said.contains("1 earlier"), "{said}");
    let left = variables.entries().unwrap();
    assert_eq!(left.iter().map(|entry| entry.number).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!(variables.numbers("BootOrder").unwrap(), [2, 0, 3]);
}

fn some_option() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(network()),
        Just(menu()),
        (0..3_u128).prop_map(disk),
        (0..3_u128).prop_map(ours),
        Just(option(DESCRIPTION, &mac())),
        Just(option(DESCRIPTION, &[])),
        proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn whatever_stands_there_only_ours_changes(
        options in proptest::collection::vec(some_option(), 0..8),
        order in proptest::collection::vec(0..10_u16, 0..8),
    ) {
        let entries: Vec<NumberedEntry> = options.iter().enumerate().map(|(number, option)| NumberedEntry {
            number: u16::try_from(number).unwrap(),
            option: Some(option.clone()),
            entry: parse_entry(&[&[7, 0, 0, 0], option.as_slice()].concat()),
        }).collect();
        let wanted = encode(DESCRIPTION, &ESP, LOADER);
        let made_by_us: Vec<Vec<u8>> = (0..3).map(ours).chain([wanted.clone()]).collect();
        let changes = changes(&entries, &order, Some(&wanted)).unwrap();
        let ours = changes.ours.unwrap();
        let is_ours = |number: u16| entries.iter().any(|entry| {
            entry.number == number && entry.option.as_ref().is_some_and(|option| made_by_us.contains(option))
        });
        prop_assert!(changes.remove.iter().all(|number| is_ours(*number) && *number != ours));
        let times = changes.order.iter().filter(|number| **number == ours).count();
        prop_assert_eq!(times, usize::from(!order.is_empty()));
        // The others keep their order among themselves.
        let others = |order: &[u16]| order.iter().copied().filter(|number| !is_ours(*number) && *number != ours).collect::<Vec<_>>();
        prop_assert_eq!(others(&changes.order), others(&order));
        prop_assert!(!changes.add || !entries.iter().any(|entry| entry.number == ours));
    }
}
