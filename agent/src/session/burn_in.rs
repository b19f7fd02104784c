//! A burn-in in the ramdisk: the machine works, alone and then with another one that is burned in at the same
//! time, and the service is told how far that is.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::agent_api::{ContextReply, Progress};
use contract::burn_in::PartnerRequest;
use contract::id::MacAddress;
use contract::reading::{Outcome, ReadingKey};
use verdict::policy::Policy;

use crate::act::service::Service;
use crate::partner::{Matchmaker, Rates, Reply, Test};
use crate::probe::burn_in::{self, Stage, TIME_MAX};
use crate::probe::evidence::Found;
use crate::probe::nics;
use crate::probe::source::Source;
use crate::service::client::Client;

/// How often the service is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);
const MINUTE_SECONDS: u64 = 60;

/// What a burn-in needs.
pub struct BurnIn<'a> {
    /// The service.
    pub client: &'a Client,
    /// The machine.
    pub source: Source,
    /// What is usual for the same hardware, and what the policy says of it.
    pub context: &'a ContextReply,
    /// The interface that speaks to the service.
    pub interface: MacAddress,
    /// For so many minutes, no more than an hour.
    pub minutes: u32,
}

impl BurnIn<'_> {
    /// Makes the machine work, and then tests the network with another one, where there is one.
    ///
    /// # Errors
    /// If the work broke off.
    pub async fn run(self) -> anyhow::Result<Vec<Found>> {
        let time = Duration::from_secs(MINUTE_SECONDS * u64::from(self.minutes)).min(TIME_MAX);
        let link_megabits = link_megabits(&self.source, self.interface);
        let mut found = work(self.client, self.source, time).await?;
        let slow = |rates| is_slow(self.context, rates);
        let test = Test::new(self.client, link_megabits, &slow, time);
        found.extend(beside(self.client, test.run()).await);
        Ok(found)
    }
}

/// Tells the service that the network is being tested for as long as that takes. The test never waits for it: what
/// it measures would be slower.
async fn beside<T>(service: &dyn Service, test: impl Future<Output = T>) -> T {
    tokio::select! {
        done = test => done,
        never = keep_telling(service) => match never {},
    }
}

async fn keep_telling(service: &dyn Service) -> Infallible {
    loop {
        tell(service, "burning in: network, with another node".to_owned()).await;
        tokio::time::sleep(TOLD_EVERY).await;
    }
}

async fn tell(service: &dyn Service, phase: String) {
    tracing::info!("{phase}");
    if let Err(error) = service.progress(Progress { phase, done_bytes: 0, total_bytes: 0 }).await {
        tracing::debug!("{error:#}");
    }
}

/// Rate of the link of the interface that speaks to the service, where the kernel knows it.
fn link_megabits(source: &Source, interface: MacAddress) -> Option<u64> {
    let Outcome::Value(nics) = nics::read(source) else { return None };
    nics.iter().find(|nic| nic.mac == interface)?.speed_megabits.value().copied()
}

/// Less than others of the same hardware have. A policy that cannot be read is said of by the judgement.
fn is_slow(context: &ContextReply, rates: Rates) -> bool {
    let Ok(policy) = Policy::parse(&context.policy) else { return false };
    let slower = |key, rate| verdict::peers::is_slower_in_burn_in(&context.node, &policy, key, rate);
    slower(ReadingKey::NetworkSendMegabytes, rates.sent_megabytes)
        || slower(ReadingKey::NetworkReceiveMegabytes, rates.received_megabytes)
}

impl Matchmaker for Client {
    fn partner<'a>(&'a self, request: &'a PartnerRequest) -> Reply<'a> {
        Box::pin(self.burn_in_partner(request))
    }
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
        tell(service, phase).await;
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
