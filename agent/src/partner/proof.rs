//! Both ends prove that they know the secret of their pair, before anything else is sent.
//!
//! Each draws a nonce and sends it; each then shows a keyed BLAKE3 hash over its role and both nonces, and takes
//! no other than the one it expects of the other role. So an answer cannot be one that was heard before, nor one's
//! own sent back. What follows uses a key that only these two nonces give.

use std::time::Duration;

use contract::burn_in::PartnerRole;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What both say first: whose protocol this is, and which version.
const GREETING: [u8; 8] = *b"rprv-net";
const NONCE_BYTES: usize = 32;
const HELLO_BYTES: usize = GREETING.len() + NONCE_BYTES;
const PROOF_BYTES: usize = blake3::OUT_LEN;

/// The secret of a pair.
#[derive(Clone)]
pub struct PairSecret([u8; 32]);

impl PairSecret {
    /// As the service writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

/// The key of one test, known to the two who have proven themselves to each other.
#[derive(Clone)]
pub struct TestKey([u8; 32]);

impl TestKey {
    /// A keyed hash for what one of the two says.
    pub fn hash(&self, of: &str, from: PartnerRole, bytes: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(of.as_bytes()).update(role_name(from)).update(bytes);
        hasher.finalize()
    }

    /// So many pseudo-random bytes, which one of the two sends.
    pub fn fill(&self, from: PartnerRole, bytes: &mut [u8]) {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"data").update(role_name(from));
        hasher.finalize_xof().fill(bytes);
    }
}

/// Why the other end is not spoken to.
#[derive(Debug, thiserror::Error)]
pub enum NotProven {
    /// The connection gave nothing more.
    #[error("the connection broke off before it had proven who it is: {0}")]
    Broken(#[from] std::io::Error),
    /// It said nothing in time.
    #[error("it did not prove who it is within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// It speaks another language.
    #[error("it does not speak this protocol")]
    Foreign,
    /// It does not know the secret.
    #[error("it does not know the secret of this pair")]
    Wrong,
}

/// The role of the other end.
pub fn other(role: PartnerRole) -> PartnerRole {
    match role {
        PartnerRole::Listen => PartnerRole::Connect,
        PartnerRole::Connect => PartnerRole::Listen,
    }
}

fn role_name(role: PartnerRole) -> &'static [u8] {
    match role {
        PartnerRole::Listen => b"listen",
        PartnerRole::Connect => b"connct",
    }
}

/// Proves itself to the other end and has it prove itself within this time; `nonce` is fresh.
///
/// # Errors
/// If the other end did not.
pub async fn prove<S>(
    stream: &mut S,
    secret: &PairSecret,
    role: PartnerRole,
    nonce: [u8; NONCE_BYTES],
    time: Duration,
) -> Result<TestKey, NotProven>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchanged = tokio::time::timeout(time, exchange(stream, secret, role, nonce));
    exchanged.await.unwrap_or(Err(NotProven::Silent(time)))
}

async fn exchange<S>(
    stream: &mut S,
    secret: &PairSecret,
    role: PartnerRole,
    nonce: [u8; NONCE_BYTES],
) -> Result<TestKey, NotProven>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&hello(nonce)).await?;
    stream.flush().await?;
    let mut said = [0; HELLO_BYTES];
    stream.read_exact(&mut said).await?;
    let theirs = read_hello(&said).ok_or(NotProven::Foreign)?;
    let (listener, connector) = match role {
        PartnerRole::Listen => (nonce, theirs),
        PartnerRole::Connect => (theirs, nonce),
    };
    let shown = |role| proof(secret, role, listener, connector);
    stream.write_all(shown(role).as_bytes()).await?;
    stream.flush().await?;
    let mut answer = [0; PROOF_BYTES];
    stream.read_exact(&mut answer).await?;
    // Compared in constant time.
    if shown(other(role)) != blake3::Hash::from_bytes(answer) {
        return Err(NotProven::Wrong);
    }
    let mut hasher = blake3::Hasher::new_keyed(&secret.0);
    hasher.update(b"test").update(&listener).update(&connector);
    Ok(TestKey(*hasher.finalize().as_bytes()))
}

fn hello(nonce: [u8; NONCE_BYTES]) -> [u8; HELLO_BYTES] {
    let mut hello = [0; HELLO_BYTES];
    let (greeting, rest) = hello.split_at_mut(GREETING.len());
    greeting.copy_from_slice(&GREETING);
    rest.copy_from_slice(&nonce);
    hello
}

/// The nonce, if it is a hello of this protocol.
fn read_hello(said: &[u8; HELLO_BYTES]) -> Option<[u8; NONCE_BYTES]> {
    said.strip_prefix(&GREETING)?.try_into().ok()
}

fn proof(
    secret: &PairSecret,
    role: PartnerRole,
    listener: [u8; NONCE_BYTES],
    connector: [u8; NONCE_BYTES],
) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(&secret.0);
    hasher.update(b"proof").update(role_name(role)).update(&listener).update(&connector);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    const TIME: Duration = Duration::from_secs(5);

    fn secret(byte: u8) -> PairSecret {
        PairSecret([byte; 32])
    }

    async fn both(one: u8, other: u8) -> [Result<TestKey, NotProven>; 2] {
        let (mut left, mut right) = tokio::io::duplex(64);
        let (one, other) = (secret(one), secret(other));
        let left = prove(&mut left, &one, PartnerRole::Listen, [3; 32], TIME);
        let right = prove(&mut right, &other, PartnerRole::Connect, [4; 32], TIME);
        let (left, right) = tokio::join!(left, right);
        [left, right]
    }

    #[tokio::test]
    async fn who_knows_the_secret_gets_the_key_and_who_does_not_gets_nothing() {
        let [one, other] = both(7, 7).await.map(|key| key.map(|key| key.0).ok());
        assert!(one.is_some() && one == other);
        assert!(both(7, 8).await.iter().all(|key| matches!(key, Err(NotProven::Wrong))));
    }

    /// Who sends back what it hears has our nonce, our greeting and our proof, and is not believed.
    #[tokio::test]
    async fn ones_own_words_are_no_proof() {
        let (mut near, far) = tokio::io::duplex(256);
        let (mut reading, mut writing) = tokio::io::split(far);
        let echo = tokio::spawn(async move { tokio::io::copy(&mut reading, &mut writing).await });
        let shown = prove(&mut near, &secret(7), PartnerRole::Listen, [3; 32], TIME).await;
        assert!(matches!(shown, Err(NotProven::Wrong)));
        drop(near);
        echo.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_says_nothing_or_something_else_is_left() {
        let (mut near, far) = tokio::io::duplex(256);
        let little = Duration::from_millis(20);
        let shown = prove(&mut near, &secret(7), PartnerRole::Connect, [3; 32], little).await;
        assert!(matches!(shown, Err(NotProven::Silent(_))));
        drop(far);
        let (mut near, mut far) = tokio::io::duplex(256);
        far.write_all(&[b'x'; HELLO_BYTES]).await.unwrap();
        let shown = prove(&mut near, &secret(7), PartnerRole::Connect, [3; 32], TIME).await;
        assert!(matches!(shown, Err(NotProven::Foreign)));
        let (mut near, far) = tokio::io::duplex(256);
        drop(far);
        let shown = prove(&mut near, &secret(7), PartnerRole::Connect, [3; 32], TIME).await;
        assert!(matches!(shown, Err(NotProven::Broken(_))));
    }

    #[test]
    fn a_secret_is_64_hexadecimal_digits() {
        assert!(PairSecret::parse(&"a5".repeat(32)).is_some());
        for text in [String::new(), "a5".repeat(31), "a5".repeat(33), "zz".repeat(32)] {
            assert!(PairSecret::parse(&text).is_none(), "{text}");
        }
    }

    proptest! {
        /// Whatever somebody says who does not know the secret, it is no proof; and reading it ends.
        #[test]
        fn any_bytes_are_no_proof(bytes in proptest::collection::vec(any::<u8>(), 0..200), greets: bool) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let shown = runtime.block_on(async {
                let (mut near, mut far) = tokio::io::duplex(1024);
                if greets {
                    far.write_all(&GREETING).await.unwrap();
                }
                far.write_all(&bytes).await.unwrap();
                far.shutdown().await.unwrap();
                prove(&mut near, &secret(7), PartnerRole::Connect, [3; 32], TIME).await
            });
            prop_assert!(shown.is_err());
        }
    }
}
