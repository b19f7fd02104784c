//! Questions that may never be answered: a driver whose device hangs keeps whoever asks waiting for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Somebody who is asked, one question at a time.
#[derive(Debug)]
pub struct Asked {
    name: &'static str,
    time_max: Duration,
    /// Whether an earlier question is still waiting for its answer.
    waiting: AtomicBool,
}

impl Asked {
    /// Nobody waits longer than `time_max` for an answer of `name`.
    #[must_use]
    pub const fn new(name: &'static str, time_max: Duration) -> Self {
        Self { name, time_max, waiting: AtomicBool::new(false) }
    }

    /// Asks on a thread of its own, which is left behind if it hangs: nothing can end a call that waits in
    /// the driver. While it hangs nothing more is asked.
    ///
    /// # Errors
    /// In words: what the question itself says, or that there is no answer in time.
    pub fn ask<T: Send + 'static>(
        &'static self,
        question: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let name = self.name;
        if self.waiting.swap(true, Ordering::AcqRel) {
            return Err(format!("{name} has not answered an earlier question; its driver may hang"));
        }
        let (sender, receiver) = mpsc::channel();
        let until_answered = Waiting(&self.waiting);
        let started = std::thread::Builder::new().name("question".to_owned()).spawn(move || {
            let answer = question();
            drop(until_answered);
            // Nobody may be waiting any more.
            let _ = sender.send(answer);
        });
        started.map_err(|error| format!("cannot start a thread to ask {name}: {error}"))?;
        let seconds = self.time_max.as_secs();
        receiver
            .recv_timeout(self.time_max)
            .unwrap_or_else(|_| Err(format!("{name} did not answer within {seconds} s; its driver may hang")))
    }
}

/// While there is one, a question waits; also if it breaks off.
struct Waiting(&'static AtomicBool);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_one_that_hangs_and_nothing_more_is_asked_until_it_answers() {
        static HANGING: Asked = Asked::new("A driver", Duration::from_millis(20));
        let (release, hang) = mpsc::channel::<()>();
        let (answered, done) = mpsc::channel::<()>();
        let late = HANGING.ask(move || {
            let _ = hang.recv();
            drop(answered);
            Ok(1)
        });
        assert!(late.unwrap_err().contains("did not answer"));
        assert!(HANGING.ask(|| Ok(2)).unwrap_err().contains("earlier question"));
        release.send(()).unwrap();
        assert!(done.recv().is_err(), "its thread is gone");
        let again = std::iter::repeat_with(|| HANGING.ask(|| Ok(3))).take(100_000).find(Result::is_ok);
        assert_eq!(again, Some(Ok(3)));
    }

    #[test]
    fn what_breaks_off_is_no_answer_and_does_not_close_the_door() {
        static BROKEN: Asked = Asked::new("A driver", Duration::from_secs(60));
        let broken: Result<(), String> = BROKEN.ask(|| std::panic::resume_unwind(Box::new("broken")));
        assert!(broken.is_err());
        assert_eq!(BROKEN.ask(|| Ok(1)), Ok(1));
    }
}
