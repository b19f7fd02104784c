//! Tokens, sessions and credentials: made here, and compared by hash only.

use contract::id::Digest;
use contract::secret::Secret;
use uuid::Uuid;

/// The system could not give random bytes. Nothing secret can be made without them.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

/// 32 random bytes.
///
/// # Errors
/// If the operating system has none to give.
pub fn random_bytes() -> Result<[u8; 32], NoRandomness> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// A new bearer: 256 random bits in hexadecimal.
///
/// # Errors
/// If the operating system has no random bytes to give.
pub fn mint() -> Result<Secret, NoRandomness> {
    random_bytes().map(|bytes| Secret::new(hex::encode(bytes)))
}

/// What is stored of a bearer and what it is looked up by. Comparing hashes tells a guesser nothing
/// about how much of a guess was right.
#[must_use]
pub fn hash(bearer: &str) -> Digest {
    Digest::of(bearer.as_bytes())
}

/// A new id that sorts by time.
#[must_use]
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}
