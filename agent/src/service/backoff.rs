//! How long to wait before trying again.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait; with many machines this is what a returning service has to bear.
const LONGEST: Duration = Duration::from_secs(30);

/// Waits that double up to a limit, each somewhere between half and whole so that machines which failed
/// together do not come back together.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure. `chance` is random.
    pub fn next(&mut self, chance: u32) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        half + half.mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }

    /// How often it has failed in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// A random number; the least if the system has none, which only makes waits less scattered.
#[must_use]
pub fn chance() -> u32 {
    getrandom::u32().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    #[test]
    fn waits_double_and_stop_growing() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(Backoff::default().next(0), FIRST / 2);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_nothing_and_never_too_long(failures in 0u32..200, chance in any::<u32>()) {
            let mut backoff = Backoff { failures };
            let wait = backoff.next(chance);
            prop_assert!(wait >= FIRST / 2 && wait <= LONGEST);
        }
    }
}
