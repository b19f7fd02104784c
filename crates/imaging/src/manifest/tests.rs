use contract::id::{ChunkDigest, Digest};
use proptest::prelude::{any, proptest};
use uuid::Uuid;

use super::{
    Chunk, ChunkPiece, Chunks, EntryKind, Extent, ImmutableEntry, Manifest, ManifestError, ManifestPartition,
    PartitionRole, RootManifest,
};
use crate::attributes::{AttributeValue, CAPABILITY, ExtendedAttribute};
use crate::chunk::CHUNK_BYTES;

const MIB: u64 = 1 << 20;

pub(crate) fn partition(number: u32, role: PartitionRole, first: u64, length: u64) -> ManifestPartition {
    ManifestPartition {
        number,
        type_guid: Uuid::from_u128(0x1000 + u128::from(number)),
        unique_guid: Uuid::from_u128(0x2000 + u128::from(number)),
        name: format!("part{number}"),
        first_byte: first,
        length_bytes: length,
        attributes: 0,
        role,
        immutable: None,
    }
}

fn file(path: &str, size_bytes: u64, extents: &[(u64, u64, u64)]) -> ImmutableEntry {
    let extent =
        |&(file_offset, image_offset, length_bytes)| Extent { file_offset, image_offset, length_bytes };
    let extents = extents.iter().map(extent).collect();
    let kind = EntryKind::File { size_bytes, digest: Digest::of(path.as_bytes()), extents };
    ImmutableEntry { path: path.to_owned(), mode: 0o644, uid: 0, gid: 0, attributes: Vec::new(), kind }
}

pub(crate) fn sample() -> Manifest {
    let stored = |n: u8| Chunk::Stored(ChunkDigest(Digest::of(&[n])));
    let chunks = [stored(1), Chunk::Zero, Chunk::Zero, stored(2), stored(2), Chunk::Zero];
    Manifest {
        version: 1,
        name: "debian-12".to_owned(),
        disk_bytes: 5 * MIB + 1024,
        sector_bytes: 512,
        chunk_bytes: 1 << 20,
        chunks: Chunks::from(chunks.to_vec()),
        partitions: vec![
            partition(1, PartitionRole::Root, 2 * MIB, 3 * MIB),
            partition(14, PartitionRole::BiosBoot, MIB, MIB),
        ],
        root: Some(RootManifest {
            partition: 1,
            file_system: "ext4".to_owned(),
            subvolume: None,
            immutable_paths: vec!["/boot".to_owned(), "/usr".to_owned()],
            excluded_paths: vec!["/boot/grub/grubenv".to_owned()],
            attributes_recorded: false,
            entries: vec![
                ImmutableEntry {
                    path: "/usr".to_owned(),
                    mode: 0o755,
                    uid: 0,
                    gid: 0,
                    attributes: Vec::new(),
                    kind: EntryKind::Directory,
                },
                file("/usr/a", 5000, &[(0, 2 * MIB + 4096, 4096), (4096, 3 * MIB, 904)]),
            ],
        }),
        content: Chunks::default(),
        without_agent: false,
    }
}

fn refused(change: impl FnOnce(&mut Manifest)) -> String {
    let mut manifest = sample();
    change(&mut manifest);
    let written = serde_json::to_vec(&manifest).unwrap();
    assert!(manifest.to_bytes().is_err());
    Manifest::from_bytes(&written).unwrap_err().to_string()
}

fn root(manifest: &mut Manifest) -> &mut RootManifest {
    manifest.root.as_mut().unwrap()
}

#[test]
fn a_manifest_reads_back_with_runs_of_zeros_counted() {
    let bytes = sample().to_bytes().unwrap();
    assert_eq!(Manifest::from_bytes(&bytes).unwrap(), sample());
    let text = String::from_utf8(bytes).unwrap();
    let expected = format!("\"chunks\":[\"{0}\",2,\"{1}\",\"{1}\",1]", Digest::of(&[1]), Digest::of(&[2]));
    assert!(text.contains(&expected), "{text}");
}

/// The images that are stored keep their bytes, and so their ids and signatures.
#[test]
fn a_manifest_of_before_attributes_were_recorded_keeps_its_bytes() {
    let bytes = sample().to_bytes().unwrap();
    let entry = r#"{"path":"/usr","mode":493,"uid":0,"gid":0,"kind":"directory"}"#;
    assert!(String::from_utf8(bytes).unwrap().contains(entry));
    let mut recorded = sample();
    root(&mut recorded).attributes_recorded = true;
    let value = AttributeValue(vec![1, 0, 0, 2]);
    root(&mut recorded).entries[1].attributes =
        vec![ExtendedAttribute { name: CAPABILITY.to_owned(), value }];
    let bytes = recorded.to_bytes().unwrap();
    assert_eq!(Manifest::from_bytes(&bytes).unwrap(), recorded);
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.contains(r#""gid":0,"attributes":[{"name":"security.capability","value":"01000002"}],"kind""#)
    );
    assert_ne!(recorded.id().unwrap(), sample().id().unwrap());
}

#[test]
fn what_is_below_a_path_is_found_among_its_neighbours() {
    let mut manifest = sample();
    root(&mut manifest).entries = ["/usr", "/usr/a", "/usr/a-b", "/usr/a.c", "/usr/a/x", "/usr/ab"]
        .map(|path| file(path, 0, &[]))
        .to_vec();
    let below = |path: &str| manifest.root.as_ref().unwrap().has_below(path);
    assert!(below("/usr") && below("/usr/a"));
    assert!(!below("/usr/a-b") && !below("/usr/ab") && !below("/us") && !below("/zzz") && !below("/a"));
}

#[test]
fn attributes_that_make_no_sense_are_refused() {
    let give = |name: &'static str, recorded: bool| {
        move |m: &mut Manifest| {
            root(m).attributes_recorded = recorded;
            let attribute = ExtendedAttribute { name: name.to_owned(), value: AttributeValue(vec![1]) };
            root(m).entries[1].attributes = vec![attribute];
        }
    };
    assert!(refused(give("user.a", false)).contains("attributes"));
    assert!(refused(give("system.data", true)).contains("attributes"));
    assert!(refused(give("security.evm", true)).contains("attributes"));
}

#[test]
fn chunks_know_their_length_and_digest() {
    let manifest = sample();
    assert_eq!(manifest.chunk_length(0), CHUNK_BYTES);
    assert_eq!(manifest.chunk_length(5), 1024);
    assert_eq!(manifest.chunk_length(6), 0);
    assert_eq!(manifest.chunk_digest(1).unwrap().0, Digest::of(&vec![0; CHUNK_BYTES]));
    assert_eq!(manifest.chunk_digest(5).unwrap().0, Digest::of(&[0; 1024]));
    assert_eq!(manifest.chunk_digest(6), None);
}

#[test]
fn pieces_cover_a_range_exactly() {
    let pieces = sample().pieces(MIB - 10, 2 * MIB);
    let expected = [(0, CHUNK_BYTES - 10, CHUNK_BYTES), (1, 0, CHUNK_BYTES), (2, 0, CHUNK_BYTES - 10)];
    let expected: Vec<_> = expected.map(|(index, from, until)| ChunkPiece { index, from, until }).into();
    assert_eq!(pieces, expected);
    assert!(sample().pieces(5 * MIB, 1025).is_empty());
    assert!(sample().pieces(0, 0).is_empty());
    assert!(sample().pieces(u64::MAX, 2).is_empty());
}

#[test]
fn every_contradiction_is_refused() {
    assert!(refused(|m| m.version = 2).contains("version 2"));
    assert!(refused(|m| m.name = "../x".to_owned()).contains("not a name"));
    assert!(refused(|m| m.sector_bytes = 520).contains("sectors"));
    assert!(refused(|m| m.disk_bytes = 0).contains("disk of 0"));
    assert!(refused(|m| m.disk_bytes = u64::MAX).contains("disk of"));
    assert!(refused(|m| m.disk_bytes += MIB).contains("chunks"));
    assert!(refused(|m| m.chunk_bytes = 4096).contains("chunks of 4096"));
    assert!(refused(|m| m.partitions.clear()).contains("no partitions"));
    assert!(refused(|m| m.partitions.swap(0, 1)).contains("ordered"));
    assert!(refused(|m| m.partitions[0].number = 0).contains("number 0"));
    assert!(refused(|m| m.partitions[1].first_byte = 2 * MIB).contains("overlap"));
    assert!(refused(|m| m.partitions[1].first_byte = 0).contains("inside the disk"));
    assert!(refused(|m| m.partitions[0].length_bytes = u64::MAX - 511).contains("inside the disk"));
    assert!(refused(|m| m.partitions[0].name = "x".repeat(37)).contains("too long"));
    let same_guid = |m: &mut Manifest| m.partitions[1].unique_guid = m.partitions[0].unique_guid;
    assert!(refused(same_guid).contains("same GUID"));
}

#[test]
fn every_contradiction_of_the_root_is_refused() {
    assert!(refused(|m| root(m).partition = 14).contains("not its root"));
    assert!(refused(|m| root(m).file_system = "ntfs".to_owned()).contains("type"));
    assert!(refused(|m| root(m).immutable_paths.swap(0, 1)).contains("not ordered"));
    assert!(refused(|m| root(m).entries.swap(0, 1)).contains("not ordered"));
    for path in ["usr/a", "/usr/../etc", "/usr//a", "/usr/a/", "/usr/\0"] {
        let message = refused(|m| root(m).entries[1].path = path.to_owned());
        assert!(message.contains("contradicts"), "{path}");
    }
    for path in ["/usrlocal", "/etc/passwd", "/boot/grub/grubenv"] {
        let message = refused(|m| {
            root(m).entries[0].path = "/a".to_owned();
            root(m).entries[1].path = path.to_owned();
        });
        assert!(message.contains("not under"), "{message}");
    }
    assert!(refused(|m| root(m).entries[1].mode = 0o10000).contains("mode"));
    let extents: [&[(u64, u64, u64)]; 5] = [
        &[(0, MIB, 10)],
        &[(0, 5 * MIB - 5, 10)],
        &[(0, 2 * MIB, 10), (9, 3 * MIB, 10)],
        &[(4999, 2 * MIB, 2)],
        &[(u64::MAX, 2 * MIB, 2)],
    ];
    for bad in extents {
        assert!(refused(|m| root(m).entries[1] = file("/usr/a", 5000, bad)).contains("extents"));
    }
}

#[test]
fn unknown_fields_other_spellings_and_floods_are_refused() {
    let text = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
    let changed = text.replacen("{\"version\"", "{\"extra\":1,\"version\"", 1);
    assert!(matches!(Manifest::from_bytes(changed.as_bytes()), Err(ManifestError::Decode(_))));
    let spaced = text.replacen(':', ": ", 1);
    assert!(matches!(Manifest::from_bytes(spaced.as_bytes()), Err(ManifestError::NotCanonical)));
    let split = text.replacen(",2,", ",1,1,", 1);
    assert!(matches!(Manifest::from_bytes(split.as_bytes()), Err(ManifestError::NotCanonical)));
    let flood = text.replacen(",2,", ",18446744073709551615,", 1);
    assert!(matches!(Manifest::from_bytes(flood.as_bytes()), Err(ManifestError::Decode(_))));
}

proptest! {
    #[test]
    fn arbitrary_and_changed_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        at in any::<proptest::sample::Index>(),
        to in any::<u8>(),
    ) {
        assert!(Manifest::from_bytes(&bytes).is_err());
        let mut changed = sample().to_bytes().unwrap();
        let at = at.index(changed.len());
        changed[at] = to;
        let _ = Manifest::from_bytes(&changed);
        assert!(Manifest::from_bytes(&changed[..at]).is_err());
    }
}
