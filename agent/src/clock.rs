//! What time it is, as far as it matters for evidence.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use contract::id::UnixMillis;

/// A clock that follows the service's time once it is known.
///
/// A machine fresh from the shelf may think that it is 1970; evidence and orders must carry a time that
/// the service agrees with. The machine's own clock is left alone.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: UnixMillis,
    taken: Instant,
}

impl Clock {
    /// The machine's own time.
    #[must_use]
    pub fn machine() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        Self { base: UnixMillis(millis), taken: Instant::now() }
    }

    /// The service's time, heard just now.
    #[must_use]
    pub fn service(now: UnixMillis) -> Self {
        Self { base: now, taken: Instant::now() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.base.plus_millis(u64::try_from(self.taken.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Milliseconds since the kernel started, as it counts itself (suspend included).
#[must_use]
pub fn since_kernel_start_millis() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(0, |time| u64::try_from(Duration::from(time).as_millis()).unwrap_or(u64::MAX))
}
