//! Telling the service manager that the agent is alive, as long as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The first look at a large image on a slow disk takes minutes; longer than this without a sign of
/// life is a hang.
const SILENCE_MAX: Duration = Duration::from_secs(30 * 60);

/// Answers the service manager's watchdog from a task of its own, but only while the work goes on.
#[derive(Debug)]
pub struct Watchdog {
    begun: Instant,
    /// Milliseconds from `begun` to the last sign of life.
    last: Arc<AtomicU64>,
}

impl Watchdog {
    /// Starts to answer. Must be called in the runtime.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(SILENCE_MAX)
    }

    /// Starts to answer for an agent that has nothing to do.
    #[must_use]
    pub fn start_idle() -> Self {
        Self::start_with(Duration::MAX)
    }

    fn start_with(silence_max: Duration) -> Self {
        let watchdog = Self { begun: Instant::now(), last: Arc::default() };
        if let Some(limit) = sd_notify::watchdog_enabled() {
            let (begun, last) = (watchdog.begun, watchdog.last.clone());
            tokio::spawn(async move {
                loop {
                    let silence =
                        begun.elapsed().saturating_sub(Duration::from_millis(last.load(Ordering::Relaxed)));
                    if silence < silence_max {
                        super::notify(&[NotifyState::Watchdog]);
                    }
                    tokio::time::sleep(limit / 3).await;
                }
            });
        }
        watchdog
    }

    /// The work goes on.
    pub fn alive(&self) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    /// Waits, which is going on too.
    pub async fn sleep(&self, wait: Duration) {
        self.alive();
        tokio::time::sleep(wait).await;
        self.alive();
    }
}
