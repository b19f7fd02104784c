//! What the reference compressor (liblzo2 2.10) packed, each kind of instruction by itself, and bytes
//! that nobody packed.

use proptest::prelude::{any, prop_assert, proptest};
use proptest::sample::Index;

use super::{unpack_lzo, unpack_segment};

/// Room for what needs distances of more than 16 KiB.
const ROOM: usize = 65_536;

const WORDS: &str = "the kernel packs the sector, the reader unpacks the sector; ";

fn noise() -> Vec<u8> {
    (0..40_u32).map(|number| ((number * number * 7 + number * 31) >> 3) as u8).collect()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    (0..hexadecimal.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap())
        .collect()
}

/// Content, and what `lzo1x_1_compress` made of it, which the kernel uses too.
fn packed_by_others() -> Vec<(Vec<u8>, Vec<u8>)> {
    let far = [noise(), vec![0; 17_000], noise(), b"end".to_vec()].concat();
    let noise_part = "00040b131d29364657697e94acc6e1ff1e3e6185abd3fc285583b4e61a5087c1fc3877b7f93d82ca";
    let far_packed = format!(
        "0018{noise_part}0000200000{}0088040001040b131d100b400a0f83b4e61a5087c1fc3877b7f93d82ca656e64110000",
        "00".repeat(63)
    );
    let zeros_packed = "0200000000002000000000000000000000000000\
                        0000da10000c000000000000000000000000000000110000";
    let words_packed = "0e746865206b65726e656c207061636b7320600204736563746f722c8c0100097265\
                        6164657220756e7061636b732074686520736563746f723b20110000";
    // By `lzo1x_999_compress`, which uses every kind of instruction.
    let words_packed_well = "22746865206b65726e656c207061636b7320600204736563746f722c8c0106726561\
                             64657220756e2e7a003b20110000";
    vec![
        (WORDS.into(), bytes(words_packed)),
        (WORDS.into(), bytes(words_packed_well)),
        (vec![0; 4096], bytes(zeros_packed)),
        (far, bytes(&far_packed)),
    ]
}

fn segment(packed: &[u8], room: usize) -> Option<Vec<u8>> {
    let mut whole = b"what was there before".to_vec();
    let before = whole.len();
    unpack_segment(packed, room, &mut whole)?;
    Some(whole.split_off(before))
}

/// Segments in their envelope, as the kernel lays them.
fn envelope(segments: &[Vec<u8>], sector_bytes: usize) -> Vec<u8> {
    let mut packed = vec![0; 4];
    for segment in segments {
        packed.extend((segment.len() as u32).to_le_bytes());
        packed.extend(segment);
        let left = sector_bytes - packed.len() % sector_bytes;
        if left < 4 {
            packed.extend(vec![0; left]);
        }
    }
    let length = packed.len() as u32;
    packed[..4].copy_from_slice(&length.to_le_bytes());
    packed
}

/// Literals alone, with the instruction for a long run of them.
fn as_it_is(content: &[u8]) -> Vec<u8> {
    let mut packed = vec![0];
    let mut rest = content.len() - 18;
    while rest > 255 {
        packed.push(0);
        rest -= 255;
    }
    packed.push(rest as u8);
    [&packed, content, &[17, 0, 0]].concat()
}

#[test]
fn what_others_packed_is_unpacked() {
    for (content, packed) in packed_by_others() {
        assert_eq!(segment(&packed, ROOM).as_ref(), Some(&content));
        assert_eq!(segment(&packed, content.len()).as_ref(), Some(&content));
        assert_eq!(segment(&packed, content.len() - 1), None, "no room for it");
        assert_eq!(segment(&packed[..packed.len() - 1], ROOM), None, "cut off");
        assert_eq!(segment(&[packed.as_slice(), &[0]].concat(), ROOM), None, "more behind its end");
    }
}

#[test]
fn each_instruction_does_what_is_written_of_it() {
    let end = [17, 0, 0];
    for (packed, unpacked) in [
        (&[21, b'a', b'b', b'c', b'd'][..], Some("abcd")),
        // Two bytes from one back, after one literal.
        (&[18, b'a', 0, 0], Some("aaa")),
        // The same, and two literals behind it.
        (&[18, b'a', 2, 0, b'x', b'y'], Some("aaaxy")),
        // Three bytes from 2049 back, after four literals: there is nothing.
        (&[21, b'a', b'b', b'c', b'd', 1, 0], None),
        // Three and eight bytes from four back, with one literal between them.
        (&[21, b'a', b'b', b'c', b'd', 0b0100_1101, 0, b'x', 0b1110_1100, 0], Some("abcdabcxabcxabcx")),
        // 31 and 1 and 2 bytes from two back.
        (&[21, b'a', b'b', b'c', b'd', 32, 1, 4, 0], Some("abcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd")),
        // Four literals, and what stands before the beginning.
        (&[21, b'a', b'b', b'c', b'd', 34, 16, 0], None),
        // Long runs: 3 + 15 + 1 literals.
        (b"\x00\x010123456789012345678", Some("0123456789012345678")),
        // Another version of the format.
        (&[17, 1, 21, b'a', b'b', b'c', b'd'], None),
        // An end of a length that it does not have.
        (&[21, b'a', b'b', b'c', b'd', 18, 0, 0], None),
        (&[], None),
    ] {
        let found = segment(&[packed, &end].concat(), 4096);
        assert_eq!(found.as_deref(), unpacked.map(str::as_bytes), "{packed:?}");
    }
    // Three bytes from 2049 back, where there are so many.
    let long = vec![b'z'; 2048];
    let mut packed = as_it_is(&[b"q".as_slice(), &long].concat());
    packed.truncate(packed.len() - 3);
    packed.extend([0, 0, 17, 0, 0]);
    assert_eq!(segment(&packed, 4096).unwrap(), [b"q".as_slice(), &long, b"qzz"].concat());
}

#[test]
fn an_envelope_is_taken_off_and_its_lengths_are_not_believed() {
    let content = [noise().repeat(102), vec![7; 16], WORDS.repeat(30).into_bytes()].concat();
    let sectors: Vec<Vec<u8>> = content.chunks(4096).map(as_it_is).collect();
    let packed = envelope(&sectors, 4096);
    assert_eq!(unpack_lzo(&packed, content.len(), 4096).unwrap(), content);
    assert_eq!(unpack_lzo(&packed, 100, 4096).unwrap(), content[..100]);
    // Up to the end of the sector there are zeros.
    let padded = [packed.as_slice(), &[0; 300]].concat();
    assert_eq!(unpack_lzo(&padded, ROOM, 4096).unwrap(), content);
    // So many bytes are left in the sector behind the first segment; fewer than a length has are skipped.
    for spare in 0..6 {
        let first = as_it_is(&noise().repeat(103)[..4096 - 28 - spare]);
        let segments = [first, as_it_is(WORDS.as_bytes())];
        let unpacked = unpack_lzo(&envelope(&segments, 4096), ROOM, 4096).unwrap();
        assert!(unpacked.ends_with(WORDS.as_bytes()), "{spare}");
    }
    for (at, to) in [(0, 3), (0, 4), (1, 0xff), (3, 1), (4, 0), (7, 1)] {
        let mut changed = packed.clone();
        changed[at] = to;
        assert_eq!(unpack_lzo(&changed, ROOM, 4096), None, "{at} {to}");
    }
    for cut in [0, 3, 4, 7, 8, 100, packed.len() - 1] {
        assert_eq!(unpack_lzo(&packed[..cut], ROOM, 4096), None, "{cut}");
    }
    assert_eq!(unpack_lzo(&packed, content.len(), 2048), None, "more in a segment than in a sector");
}

proptest! {
    #[test]
    fn any_bytes_are_unpacked_within_their_room_or_refused(
        packed in proptest::collection::vec(any::<u8>(), 0..600), room in 0..5000_usize,
    ) {
        if let Some(whole) = segment(&packed, room) {
            prop_assert!(whole.len() <= room);
        }
        let length = (packed.len() as u32 + 4).to_le_bytes();
        let enveloped = [length.as_slice(), &packed].concat();
        if let Some(whole) = unpack_lzo(&enveloped, room, 4096) {
            prop_assert!(whole.len() <= room);
        }
    }

    #[test]
    fn damage_is_unpacked_within_its_room_or_refused(
        which in any::<Index>(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cut in any::<Index>(),
    ) {
        let packed = packed_by_others();
        let mut packed = which.get(&packed).1.clone();
        for (at, to) in changes {
            let at = at.index(packed.len());
            packed[at] = to;
        }
        for packed in [packed.as_slice(), &packed[..cut.index(packed.len())]] {
            if let Some(whole) = segment(packed, ROOM) {
                prop_assert!(whole.len() <= ROOM);
            }
        }
    }
}
