//! Two ends of one pipe, with what can happen to data in between.

use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::partner::proof::{PairSecret, prove};

const TIME: Duration = Duration::from_millis(30);

/// Two ends that have proven themselves to each other.
async fn ends() -> ((DuplexStream, TestKey), (DuplexStream, TestKey)) {
    let (mut one, mut other) = duplex(1 << 20);
    let secret = PairSecret::parse(&"5a".repeat(32)).unwrap();
    let long = Duration::from_secs(5);
    let (first, second) = tokio::join!(
        prove(&mut one, &secret, PartnerRole::Listen, [1; 32], long),
        prove(&mut other, &secret, PartnerRole::Connect, [2; 32], long)
    );
    ((one, first.unwrap()), (other, second.unwrap()))
}

#[tokio::test]
async fn both_ways_are_measured_and_both_say_the_same() {
    let ((mut one, key), (mut other, other_key)) = ends().await;
    let (left, right) = tokio::join!(
        exchange(&mut one, &key, PartnerRole::Listen, TIME),
        exchange(&mut other, &other_key, PartnerRole::Connect, TIME)
    );
    let (left, right) = (left.unwrap(), right.unwrap());
    assert_eq!(left.rates.sent_megabytes, right.rates.received_megabytes);
    assert_eq!(left.rates.received_megabytes, right.rates.sent_megabytes);
    assert!(left.rates.sent_megabytes > 0 && left.rates.received_megabytes > 0);
    assert_eq!((left.wrong_bytes, right.wrong_bytes), (0, 0));
}

/// Bytes that are altered on the way are counted where they arrive, and both ends hear of them.
#[tokio::test]
async fn altered_bytes_are_counted_at_both_ends() {
    let ((mut one, key), (far, _)) = ends().await;
    let ((far_end, _), (mut other, _)) = ends().await;
    let other_key = key.clone();
    let between = tokio::spawn(altering(far, far_end, 5_000));
    let (left, right) = tokio::join!(
        exchange(&mut one, &key, PartnerRole::Listen, TIME),
        exchange(&mut other, &other_key, PartnerRole::Connect, TIME)
    );
    drop((one, other));
    between.await.unwrap();
    assert_eq!((left.unwrap().wrong_bytes, right.unwrap().wrong_bytes), (1, 1));
}

/// Passes on what comes, but for one byte of what the first end sends.
async fn altering(near: DuplexStream, far: DuplexStream, at: u64) {
    let ((mut from, mut back), (mut answers, mut to)) = (tokio::io::split(near), tokio::io::split(far));
    let there = async {
        let mut passed = 0_u64;
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if let Some(place) = at.checked_sub(passed).filter(|place| *place < count as u64) {
                buffer[usize::try_from(place).unwrap()] ^= 0x10;
            }
            passed += count as u64;
            if to.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    let here = async { drop(tokio::io::copy(&mut answers, &mut back).await) };
    tokio::join!(there, here);
}

/// What is sent to a receiver, and what it makes of it.
async fn received(bytes: Vec<u8>) -> Result<Measured, Broken> {
    let ((mut one, key), (mut other, _)) = ends().await;
    let feeding = tokio::spawn(async move {
        let _ = other.write_all(&bytes).await;
        let _ = other.shutdown().await;
        // Whatever the receiver says is taken, so that it never waits.
        drop(tokio::io::copy(&mut other, &mut tokio::io::sink()).await);
    });
    let result = exchange(&mut one, &key, PartnerRole::Connect, TIME).await;
    drop(one);
    feeding.await.unwrap();
    result
}

#[tokio::test]
async fn what_is_no_data_is_not_measured() {
    let frame = |mark: u8| [vec![mark], vec![0; FRAME_BYTES]].concat();
    // Wrong marks count as a wrong byte, wrong data as many; an end without data is none.
    let table = [
        ("nothing", vec![], 0),
        ("an end at once", vec![MARK_END], 1),
        ("no mark", vec![7], 1),
        ("half a frame", vec![MARK_FRAME, 1, 2, 3], 0),
        ("a wrong mark later", [frame(MARK_FRAME), vec![9]].concat(), FRAME_BYTES as u64),
    ];
    for (what, bytes, wrong_least) in table {
        let broken = received(bytes).await.unwrap_err();
        // By chance one byte of 256 is right.
        let least = wrong_least - wrong_least / 100;
        assert!(broken.wrong_bytes >= least && (least > 0) == (broken.wrong_bytes > 0), "{what}: {broken:?}");
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_is_not_believed() {
    type Lie = fn(Arrived) -> Arrived;
    let table: [(&str, Lie); 4] = [
        ("more bytes", |one| Arrived { bytes: one.bytes + 1, ..one }),
        ("longer than it took", |one| Arrived { micros: u64::MAX, ..one }),
        ("no time", |one| Arrived { micros: 0, ..one }),
        ("more wrong than there are", |one| Arrived { wrong_bytes: one.bytes + 1, ..one }),
    ];
    for (what, lie) in table {
        let ((mut one, key), (mut other, other_key)) = ends().await;
        let liar = async {
            let mut frames = 0;
            while other.read_u8().await.unwrap() == MARK_FRAME {
                other.read_exact(&mut vec![0; FRAME_BYTES]).await.unwrap();
                frames += 1;
            }
            let truth = Arrived { bytes: frames * FRAME_BYTES as u64, micros: 1, wrong_bytes: 0 };
            let report = report(&other_key, PartnerRole::Connect, lie(truth));
            other.write_all(&report).await.unwrap();
        };
        let (told, ()) = tokio::join!(send(&mut one, &key, PartnerRole::Listen, TIME), liar);
        assert!(told.is_err(), "{what}: {told:?}");
    }
}

#[tokio::test]
async fn a_report_is_read_as_it_was_written_and_no_other() {
    let ((_, key), _) = ends().await;
    let arrived = Arrived { bytes: 1 << 40, micros: 5_000_001, wrong_bytes: 3 };
    let written = report(&key, PartnerRole::Listen, arrived);
    assert_eq!(read_report(&key, PartnerRole::Listen, &written).unwrap(), arrived);
    assert!(read_report(&key, PartnerRole::Connect, &written).is_err(), "one's own report sent back");
    for at in 0..REPORT_BYTES {
        let mut altered = written;
        altered[at] ^= 1;
        assert_eq!(read_report(&key, PartnerRole::Listen, &altered).unwrap_err().wrong_bytes, 1, "{at}");
    }
}

#[test]
fn frames_differ_and_are_whole() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ((_, key), _) = runtime.block_on(ends());
    let pattern = Pattern::of(&key, PartnerRole::Listen);
    for number in [0, 1, 47, 48, 49, 1000, FRAMES_MAX, u64::MAX] {
        let frame = pattern.frame(number);
        assert_eq!(frame.len(), FRAME_BYTES);
        assert_ne!(frame, pattern.frame(number.wrapping_add(1)));
    }
    let other = Pattern::of(&key, PartnerRole::Connect);
    assert_ne!(pattern.frame(0), other.frame(0), "nobody passes by sending back what it got");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]

    /// Whatever comes, reading it ends, and is no test that went well.
    #[test]
    fn any_bytes_are_no_test(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        proptest::prop_assert!(runtime.block_on(received(bytes)).is_err());
    }
}
