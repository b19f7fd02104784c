//! Roots that grow and partitions that are kept.

use super::tests::{MIB, kept, laid_out, laid_out_with, shown, written};
use super::{LayoutError, data_partitions, minimum_disk_bytes};
use crate::gpt::Gpt;
use crate::manifest::PartitionRole;
use crate::manifest::tests::{partition, sample};
use contract::root_size::RootSize::{Bytes, Grow, Image};

#[test]
fn the_root_grows_to_what_comes_behind_it() {
    let manifest = sample();
    assert_eq!(
        shown(&laid_out(&manifest, 200 * MIB).unwrap()),
        "\
1   part1            2048 KiB to  162816 KiB
14  part14           1024 KiB to    2048 KiB
15  reprieve-node  171008 KiB to  203776 KiB
16  cidata         162816 KiB to  171008 KiB
"
    );
    let keep = [kept(3, 100 * MIB + 512, 20 * MIB), kept(16, 130 * MIB, MIB)];
    assert_eq!(
        shown(&laid_out_with(&manifest, 200 * MIB, Grow, &keep).unwrap()),
        "\
1   part1            2048 KiB to  102400 KiB
3   data 3         102400 KiB to  122880 KiB
14  part14           1024 KiB to    2048 KiB
15  reprieve-node  171008 KiB to  203776 KiB
16  data 16        133120 KiB to  134144 KiB
17  cidata         162816 KiB to  171008 KiB
"
    );
    // The end of the disk is taken: ours stand before it.
    let keep = [kept(3, 180 * MIB, 20 * MIB - 33 * 512)];
    assert_eq!(
        shown(&laid_out_with(&manifest, 200 * MIB, Bytes(50 * MIB), &keep).unwrap()),
        "\
1   part1            2048 KiB to   53248 KiB
3   data 3         184320 KiB to  204783 KiB
14  part14           1024 KiB to    2048 KiB
15  reprieve-node  151552 KiB to  184320 KiB
16  cidata         143360 KiB to  151552 KiB
"
    );
}

#[test]
fn the_size_of_the_root_is_what_was_asked_for_or_refused() {
    let manifest = sample();
    let root = |size| laid_out_with(&manifest, 200 * MIB, size, &[]).map(|l| l.root.unwrap());
    assert_eq!(root(Image).unwrap().range.length_bytes, 3 * MIB);
    assert_eq!(root(Bytes(3 * MIB)).unwrap().range.length_bytes, 3 * MIB);
    assert_eq!(root(Bytes(10 * MIB + 1)).unwrap().range.length_bytes, 10 * MIB + 512);
    assert_eq!(root(Bytes(157 * MIB)).unwrap().range.length_bytes, 157 * MIB);
    assert_eq!(root(Grow).unwrap().image_length_bytes, 3 * MIB);
    for (wanted, why) in [(3 * MIB - 512, "larger"), (157 * MIB + 1, "free space"), (u64::MAX, "free space")]
    {
        let refused = root(Bytes(wanted)).unwrap_err().to_string();
        assert!(refused.contains(why) && refused.contains("--root"), "{refused}");
    }
}

#[test]
fn only_a_last_root_that_may_change_grows() {
    let mut followed = sample();
    followed.disk_bytes = 6 * MIB;
    followed.partitions.push(partition(15, PartitionRole::Other, 5 * MIB, MIB));
    let mut immutable = sample();
    immutable.partitions[0].immutable = Some(contract::id::Digest::of(b"root"));
    for manifest in [followed, immutable] {
        let layout = laid_out(&manifest, 200 * MIB).unwrap();
        assert_eq!(layout.root.unwrap().range.length_bytes, 3 * MIB);
        assert!(laid_out_with(&manifest, 200 * MIB, Bytes(3 * MIB), &[]).is_ok());
        let refused = laid_out_with(&manifest, 200 * MIB, Bytes(4 * MIB), &[]);
        assert!(matches!(refused, Err(LayoutError::RootSize { .. })), "{refused:?}");
    }
    let mut rootless = sample();
    rootless.root = None;
    rootless.partitions[0].role = PartitionRole::Other;
    assert_eq!(laid_out(&rootless, 200 * MIB).unwrap().root, None);
    assert!(laid_out_with(&rootless, 200 * MIB, Bytes(4 * MIB), &[]).is_err());
}

#[test]
fn what_cannot_be_kept_as_it_is_is_refused_by_name() {
    let manifest = sample();
    let end = 200 * MIB - 33 * 512;
    let with = |change: &dyn Fn(&mut contract::plan::KeptPartition)| {
        let mut one = kept(3, 100 * MIB, MIB);
        change(&mut one);
        laid_out_with(&manifest, 200 * MIB, Grow, &[kept(4, 110 * MIB, MIB), one])
    };
    assert!(with(&|_| {}).is_ok());
    let overlap = with(&|p| p.first_byte = 5 * MIB - 512).unwrap_err();
    assert!(matches!(overlap, LayoutError::Overlap { number: 3, .. }), "{overlap}");
    assert!(overlap.to_string().contains("wipe"), "{overlap}");
    type Change<'a> = &'a dyn Fn(&mut contract::plan::KeptPartition);
    let refusals: [(Change<'_>, &str); 11] = [
        (&|p| p.number = 0, "128 numbers"),
        (&|p| p.number = 129, "128 numbers"),
        (&|p| p.first_byte += 1, "whole sectors"),
        (&|p| p.length_bytes = 0, "whole sectors"),
        (&|p| (p.first_byte, p.length_bytes) = (end, 512), "backup"),
        (&|p| p.length_bytes = u64::MAX - 511, "backup"),
        (&|p| p.type_guid = uuid::Uuid::nil(), "identity"),
        (&|p| p.name = "n".repeat(37), "UTF-16"),
        (&|p| p.number = 14, "image has a partition with its number"),
        (&|p| p.unique_guid = uuid::Uuid::from_u128(0x2001), "image has a partition with its identity"),
        (&|p| p.first_byte = 110 * MIB, "overlaps"),
    ];
    for (change, why) in refusals {
        let refused = with(change).unwrap_err().to_string();
        assert!(refused.contains(why) && refused.contains("partition "), "{why}: {refused}");
    }
    for twin in [kept(3, 120 * MIB, MIB), kept(5, 120 * MIB, MIB)] {
        let mut other = kept(3, 100 * MIB, MIB);
        other.unique_guid = kept(5, 0, 1).unique_guid;
        let refused = laid_out_with(&manifest, 200 * MIB, Grow, &[twin, other]);
        assert!(matches!(refused, Err(LayoutError::NotKept { .. })), "{refused:?}");
    }
    let full = kept(3, 5 * MIB, end - 5 * MIB - 39 * MIB);
    let refused = laid_out_with(&manifest, 200 * MIB, Grow, &[full]);
    assert!(matches!(refused, Err(LayoutError::NoSpace { .. })), "{refused:?}");
}

#[test]
fn data_is_what_is_neither_ours_nor_of_an_image() {
    let manifest = sample();
    let mut next = sample();
    next.partitions
        .iter_mut()
        .for_each(|p| p.unique_guid = uuid::Uuid::from_u128(p.unique_guid.as_u128() << 8));
    let keep = [kept(3, 100 * MIB, MIB)];
    let table = Gpt::read(&written(&laid_out_with(&manifest, 200 * MIB, Grow, &keep).unwrap())).unwrap();
    assert_eq!(data_partitions(&table, &[&manifest]), keep);
    assert_eq!(data_partitions(&table, &[&next, &manifest]), keep);
    // The partitions of an image that nobody knows any more are somebody's.
    assert_eq!(data_partitions(&table, &[&next]).len(), 3);
    let bare = Gpt::read(&written(&laid_out(&manifest, minimum_disk_bytes(&manifest)).unwrap())).unwrap();
    assert_eq!(data_partitions(&bare, &[&manifest]), []);
}
