//! Waiting for a state, with a deadline and a name. Never waiting for luck.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a state is looked at that nobody announces.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Looks at a state until it is there.
///
/// # Errors
/// What `look` failed with, or that `what` did not come within `limit`.
pub fn until<T>(what: &str, limit: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_every(POLL_INTERVAL, what, limit, look)
}

/// Looks at a state that is dear to look at, less often, until it is there.
///
/// # Errors
/// What `look` failed with, or that `what` did not come within `limit`.
pub fn until_every<T>(
    interval: Duration,
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begun.elapsed() > limit {
            bail!("{what} did not come within {} s", limit.as_secs());
        }
        std::thread::sleep(interval);
    }
}
