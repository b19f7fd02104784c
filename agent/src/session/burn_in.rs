//! A burn-in in the ramdisk: the machine works, and the service is told how far that is.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::agent_api::Progress;

use crate::act::service::Service;
use crate::probe::burn_in::{self, Stage, TIME_MAX};
use crate::probe::evidence::Found;
use crate::probe::source::Source;

/// How often the service is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);
const MINUTE_SECONDS: u64 = 60;

/// Makes the machine work for so many minutes, no more than an hour.
///
/// # Errors
/// If the work broke off.
pub async fn burn_in(service: &dyn Service, source: Source, minutes: u32) -> anyhow::Result<Vec<Found>> {
    let time = Duration::from_secs(MINUTE_SECONDS * u64::from(minutes)).min(TIME_MAX);
    work(service, source, time).await
}

async fn work(service: &dyn Service, source: Source, time: Duration) -> anyhow::Result<Vec<Found>> {
    let (begin, mut begun) = tokio::sync::watch::channel(Stage::Processors);
    let mut working = tokio::task::spawn_blocking(move || {
        burn_in::read(&source, time, &|stage| {
            begin.send_replace(stage);
        })
    });
    let began = Instant::now();
    loop {
        let phase = phase(*begun.borrow_and_update(), began.elapsed(), time);
        tracing::info!("{phase}");
        if let Err(error) = service.progress(Progress { phase, done_bytes: 0, total_bytes: 0 }).await {
            tracing::debug!("{error:#}");
        }
        tokio::select! {
            biased;
            done = &mut working => return done.context("the burn-in broke off"),
            Ok(()) = begun.changed() => {}
            () = tokio::time::sleep(TOLD_EVERY) => {}
        }
    }
}

/// What is being done and how far, in words; the service takes 64 bytes.
fn phase(stage: Stage, elapsed: Duration, time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(MINUTE_SECONDS).max(1);
    let minute = (elapsed.as_secs() / MINUTE_SECONDS + 1).min(minutes);
    format!("burning in: {}, minute {minute} of {minutes}", stage.name())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use contract::agent_api::ResidentIdentity;
    use contract::id::{ChunkDigest, ImageId, OrderId};
    use imaging::manifest::Manifest;

    use super::*;
    use crate::act::service::Answer;
    use crate::probe::recorded::Tree;

    /// A service that only hears how far the work is, and is away at first.
    #[derive(Default)]
    struct Listener {
        heard: Mutex<Vec<String>>,
    }

    impl Service for Listener {
        fn progress(&self, progress: Progress) -> Answer<'_, ()> {
            let mut heard = self.heard.lock().unwrap();
            heard.push(progress.phase);
            let away = heard.len() == 1;
            Box::pin(async move { if away { anyhow::bail!("away") } else { Ok(()) } })
        }
        fn begin(&self, _: OrderId, _: u32) -> Answer<'_, ()> {
            panic!("a burn-in begins nothing that cannot be undone")
        }
        fn credential(&self) -> Answer<'_, ResidentIdentity> {
            panic!("not asked for")
        }
        fn manifest(&self, _: ImageId) -> Answer<'_, Manifest> {
            panic!("not asked for")
        }
        fn chunk(&self, _: ChunkDigest) -> Answer<'_, Vec<u8>> {
            panic!("not asked for")
        }
    }

    #[tokio::test]
    async fn the_service_hears_how_far_it_is_and_need_not_listen() {
        let tree = Tree::new();
        tree.write("proc/meminfo", "MemAvailable: 16000 kB\n");
        let listener = Listener::default();
        let found = work(&listener, tree.source(), Duration::from_millis(20)).await.unwrap();
        assert!(!found.is_empty());
        let heard = listener.heard.lock().unwrap();
        // Which stage it is by then, nobody knows.
        assert!(heard[0].starts_with("burning in: ") && heard[0].ends_with(", minute 1 of 1"), "{heard:?}");
    }

    #[test]
    fn the_longest_phase_is_short_enough() {
        let longest = phase(Stage::Processors, TIME_MAX * 2, TIME_MAX);
        assert_eq!(longest, "burning in: processors, minute 60 of 60");
        assert!(longest.len() <= 64);
        assert_eq!(
            phase(Stage::Memory, Duration::from_secs(125), Duration::from_secs(600)),
            "burning in: memory, minute 3 of 10"
        );
    }
}
