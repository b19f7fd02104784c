//! Known data over one connection, first from the one who listens and then from the other.
//!
//! ```text
//! sender    1 FRAME 1 FRAME … 0                    (a mark before each frame of 1 MiB; 0 ends it)
//! receiver                        REPORT           (bytes, microseconds, wrong bytes; each u64; keyed hash)
//! ```
//!
//! Both make the data from the key of the test, so that they are compared where they arrive. Frames differ, so that
//! one that came twice or never is seen too. How fast it was the receiver measures, from the first mark to the last
//! frame; the sender believes no report that cannot be.

use std::time::{Duration, Instant};

use contract::burn_in::PartnerRole;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Rates;
use super::proof::{TestKey, other};

/// What is sent and compared at once.
const FRAME_BYTES: usize = 1 << 20;
/// Frames are cut out of so many pseudo-random bytes.
const PATTERN_BYTES: usize = 4 << 20;
/// Where the next frame is cut out, behind the one before; odd, so that all are different for long.
const FRAME_STEP: usize = 65_537;
/// No test sends more: two hundred gigabits a second for five seconds.
const FRAMES_MAX: u64 = 1 << 17;
/// A frame, a mark or a report takes no longer; slower is as good as broken.
const STALL: Duration = Duration::from_secs(10);
/// Who sends for so long beyond its time is not listened to any more.
const LATE: Duration = Duration::from_secs(10);

const MARK_FRAME: u8 = 1;
const MARK_END: u8 = 0;
const NUMBERS_BYTES: usize = 24;
const REPORT_BYTES: usize = NUMBERS_BYTES + blake3::OUT_LEN;

/// What two nodes measured between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// How fast it went, both ways.
    pub rates: Rates,
    /// Bytes that came otherwise than sent, of both ways.
    pub wrong_bytes: u64,
}

/// Why nothing was measured, and what was seen until then.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Broken {
    /// What happened.
    pub why: String,
    /// Bytes that came otherwise than sent.
    pub wrong_bytes: u64,
}

impl Broken {
    fn of(why: impl Into<String>) -> Self {
        Self { why: why.into(), wrong_bytes: 0 }
    }
}

/// What arrived, as the one says whom it reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Arrived {
    bytes: u64,
    micros: u64,
    wrong_bytes: u64,
}

impl Arrived {
    /// Bytes in a microsecond are megabytes in a second.
    fn megabytes(self) -> u64 {
        self.bytes / self.micros.max(1)
    }
}

/// Sends for so long and receives as the other one does; `role` says which comes first.
///
/// # Errors
/// If the two did not get to the end of it.
pub async fn exchange<S>(
    stream: &mut S,
    key: &TestKey,
    role: PartnerRole,
    time: Duration,
) -> Result<Measured, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sent, received);
    match role {
        PartnerRole::Listen => {
            sent = send(stream, key, role, time).await?;
            received = receive(stream, key, role, time).await.map_err(|broken| having(broken, sent))?;
        }
        PartnerRole::Connect => {
            received = receive(stream, key, role, time).await?;
            sent = send(stream, key, role, time).await.map_err(|broken| having(broken, received))?;
        }
    }
    Ok(Measured {
        rates: Rates { sent_megabytes: sent.megabytes(), received_megabytes: received.megabytes() },
        wrong_bytes: sent.wrong_bytes.saturating_add(received.wrong_bytes),
    })
}

/// What went wrong in the way before is not forgotten.
fn having(broken: Broken, before: Arrived) -> Broken {
    Broken { wrong_bytes: broken.wrong_bytes.saturating_add(before.wrong_bytes), ..broken }
}

/// What one of the two sends.
struct Pattern(Vec<u8>);

impl Pattern {
    fn of(key: &TestKey, from: PartnerRole) -> Self {
        let mut bytes = vec![0; PATTERN_BYTES];
        key.fill(from, &mut bytes);
        Self(bytes)
    }

    fn frame(&self, number: u64) -> &[u8] {
        let places = (PATTERN_BYTES - FRAME_BYTES + 1) as u64;
        let at = number.wrapping_mul(FRAME_STEP as u64) % places;
        let at = usize::try_from(at).unwrap_or(0);
        self.0.get(at..at + FRAME_BYTES).unwrap_or_default()
    }
}

async fn bounded<T>(what: &str, doing: impl Future<Output = std::io::Result<T>>) -> Result<T, Broken> {
    match tokio::time::timeout(STALL, doing).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Broken::of(format!("{what} broke off: {error}"))),
        Err(_) => Err(Broken::of(format!("{what} stalled for {} s", STALL.as_secs()))),
    }
}

async fn send<S>(stream: &mut S, key: &TestKey, role: PartnerRole, time: Duration) -> Result<Arrived, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let pattern = Pattern::of(key, role);
    let began = Instant::now();
    let mut frames = 0;
    while frames == 0 || (began.elapsed() < time && frames < FRAMES_MAX) {
        let frame = pattern.frame(frames);
        bounded("sending", async {
            stream.write_all(&[MARK_FRAME]).await?;
            stream.write_all(frame).await
        })
        .await?;
        frames += 1;
    }
    let mut report = [0; REPORT_BYTES];
    bounded("waiting for the report", async {
        stream.write_all(&[MARK_END]).await?;
        stream.flush().await?;
        stream.read_exact(&mut report).await
    })
    .await?;
    let arrived = read_report(key, other(role), &report)?;
    let could_be = arrived.bytes == frames * FRAME_BYTES as u64
        && arrived.wrong_bytes <= arrived.bytes
        && (1..=micros(began)).contains(&arrived.micros);
    if could_be { Ok(arrived) } else { Err(Broken::of("the report of the other node cannot be")) }
}

async fn receive<S>(
    stream: &mut S,
    key: &TestKey,
    role: PartnerRole,
    time: Duration,
) -> Result<Arrived, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let pattern = Pattern::of(key, other(role));
    let mut frame = vec![0; FRAME_BYTES];
    let mut began = Instant::now();
    let mut arrived = Arrived { bytes: 0, micros: 0, wrong_bytes: 0 };
    let lost = |broken: Broken, arrived: Arrived| having(broken, arrived);
    for number in 0..=FRAMES_MAX {
        let mark = bounded("receiving", stream.read_u8()).await.map_err(|broken| lost(broken, arrived))?;
        if number == 0 {
            began = Instant::now();
        }
        match mark {
            MARK_FRAME if number < FRAMES_MAX && began.elapsed() < time + LATE => {}
            MARK_FRAME => return Err(lost(Broken::of("the other node sent beyond its time"), arrived)),
            MARK_END if number > 0 => {
                let report = report(key, role, arrived);
                bounded("reporting", async {
                    stream.write_all(&report).await?;
                    stream.flush().await
                })
                .await
                .map_err(|broken| lost(broken, arrived))?;
                return Ok(arrived);
            }
            // Neither a mark nor an end: a byte that came otherwise than sent.
            _ => {
                arrived.wrong_bytes += 1;
                return Err(lost(Broken::of("what came was no data of the test"), arrived));
            }
        }
        bounded("receiving", stream.read_exact(&mut frame)).await.map_err(|broken| lost(broken, arrived))?;
        arrived.micros = micros(began).max(1);
        arrived.bytes += FRAME_BYTES as u64;
        arrived.wrong_bytes += differing(&frame, pattern.frame(number));
    }
    Err(lost(Broken::of("the other node sent more than a test has"), arrived))
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// How many bytes are not the same.
fn differing(came: &[u8], sent: &[u8]) -> u64 {
    // Nearly always none: this is as fast as memory is.
    if came == sent {
        return 0;
    }
    came.iter().zip(sent).filter(|(came, sent)| came != sent).count() as u64
}

fn report(key: &TestKey, from: PartnerRole, arrived: Arrived) -> [u8; REPORT_BYTES] {
    let mut report = [0; REPORT_BYTES];
    let (numbers, hash) = report.split_at_mut(NUMBERS_BYTES);
    for (place, number) in
        numbers.chunks_exact_mut(8).zip([arrived.bytes, arrived.micros, arrived.wrong_bytes])
    {
        place.copy_from_slice(&number.to_be_bytes());
    }
    hash.copy_from_slice(key.hash("report", from, numbers).as_bytes());
    report
}

fn read_report(key: &TestKey, from: PartnerRole, report: &[u8; REPORT_BYTES]) -> Result<Arrived, Broken> {
    let (numbers, hash) = report.split_at(NUMBERS_BYTES);
    if key.hash("report", from, numbers) != *hash {
        return Err(Broken {
            why: "the report of the other node came otherwise than sent".to_owned(),
            wrong_bytes: 1,
        });
    }
    let mut each = numbers
        .chunks_exact(8)
        .map(|bytes| bytes.iter().fold(0, |number: u64, byte| (number << 8) | u64::from(*byte)));
    let mut next = || each.next().unwrap_or_default();
    Ok(Arrived { bytes: next(), micros: next(), wrong_bytes: next() })
}

#[cfg(test)]
mod tests;
