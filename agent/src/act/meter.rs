//! Counts what is read, fetched and written, and tells the service how far the work is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::agent_api::Progress;

use super::service::Service;

/// How often the service hears how far the work is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// The counters of one step. Shared with the threads that do the work.
#[derive(Debug, Default)]
pub struct Meter {
    bytes_read: AtomicU64,
    bytes_fetched: AtomicU64,
    bytes_written: AtomicU64,
    phase: Mutex<&'static str>,
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

impl Meter {
    /// Begins a phase; see [`Progress::phase`] for the names.
    pub fn begin(&self, phase: &'static str, total_bytes: u64) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        self.done_bytes.store(0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
    }

    /// This much of the phase was done.
    pub fn advance(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// This much was read from the disk.
    pub fn count_read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// This much came over the wire.
    pub fn count_fetched(&self, bytes: u64) {
        self.bytes_fetched.fetch_add(bytes, Ordering::Relaxed);
    }

    /// This much was written to the disk.
    pub fn count_written(&self, bytes: u64) {
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Read from disks so far, in bytes.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Fetched so far, in bytes.
    pub fn bytes_fetched(&self) -> u64 {
        self.bytes_fetched.load(Ordering::Relaxed)
    }

    /// Written to disks so far, in bytes.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }

    /// How far the phase is.
    pub fn progress(&self) -> Progress {
        Progress {
            phase: (*self.phase.lock().unwrap_or_else(PoisonError::into_inner)).to_owned(),
            done_bytes: self.done_bytes.load(Ordering::Relaxed),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
        }
    }
}

/// The phases of steps that run side by side, the earlier ones first.
const PHASES: [&str; 4] = ["looking", "erasing", "writing", "verifying"];

/// How far the phase is of several meters together: of those that are in the earliest, as long as one is.
fn together(meters: &[Arc<Meter>]) -> Progress {
    let all: Vec<Progress> = meters.iter().map(|meter| meter.progress()).collect();
    let place = |one: &Progress| PHASES.iter().position(|phase| *phase == one.phase);
    let phase = all.iter().filter(|one| !one.phase.is_empty()).min_by_key(|one| place(one));
    let phase = phase.map(|one| one.phase.clone()).unwrap_or_default();
    // A disk that is in a later phase is done with this one.
    let (mut done_bytes, mut total_bytes) = (0_u64, 0_u64);
    for one in all {
        let later = one.phase != phase;
        done_bytes = done_bytes.saturating_add(if later { one.total_bytes } else { one.done_bytes });
        total_bytes = total_bytes.saturating_add(one.total_bytes);
    }
    Progress { phase, done_bytes, total_bytes }
}

/// Reports meters to the service until it is dropped. A report that fails is not repeated: the next
/// one says more.
pub struct Reporter {
    task: tokio::task::JoinHandle<()>,
}

impl Reporter {
    /// Begins to report these meters as one.
    #[must_use]
    pub fn start(service: Arc<dyn Service>, meters: Vec<Arc<Meter>>) -> Self {
        let task = tokio::spawn(async move {
            let mut interval = tokio::time::interval(PROGRESS_INTERVAL);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                let progress = together(&meters);
                if progress.phase.is_empty() {
                    continue;
                }
                if let Err(error) = service.progress(progress).await {
                    tracing::debug!(%error, "could not report progress");
                }
            }
        });
        Self { task }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_are_shown_as_one_in_the_earliest_phase() {
        let meters: Vec<Arc<Meter>> = (0..3).map(|_| Arc::default()).collect();
        let shown = || {
            let Progress { phase, done_bytes, total_bytes } = together(&meters);
            (phase, done_bytes, total_bytes)
        };
        assert_eq!(shown(), (String::new(), 0, 0));
        meters[0].begin("looking", 10);
        meters[1].begin("writing", 100);
        meters[0].advance(4);
        meters[1].advance(50);
        assert_eq!(shown(), ("looking".to_owned(), 104, 110));
        meters[0].begin("writing", 20);
        assert_eq!(shown(), ("writing".to_owned(), 50, 120));
        meters[1].begin("verifying", 100);
        assert_eq!(shown(), ("writing".to_owned(), 100, 120));
        meters[2].begin("erasing", 5);
        assert_eq!(shown(), ("erasing".to_owned(), 120, 125));
    }
}
