//! The network between two nodes that are burned in at the same time.
//!
//! The service names the other node, where it is, and a secret that only these two know; nobody else is spoken to
//! and nothing else is listened to, and what listens is closed when the two have met or their time is over. Both
//! prove that they know the secret before a byte of the test is sent (`proof`). Then known pseudo-random data go
//! one way and the other for a few seconds each, over one connection, and are compared byte for byte where they
//! arrive (`stream`), so that what TCP's checksum misses is seen.
//!
//! Who was slow, the two alone cannot know. So a node tests with a second partner where there is one, and its best
//! counts.

mod meeting;
mod outcome;
mod proof;
mod stream;

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use contract::burn_in::{PARTNER_PORT, PARTNERS_MAX, PartnerReply, PartnerRequest, Partnership};
use contract::id::NodeId;

use crate::probe::evidence::Found;
use crate::service::client::CallError;

pub use self::outcome::Meeting;

/// Data are sent for so long, each way.
const SEND_TIME: Duration = Duration::from_secs(5);
/// Of the time of a burn-in, a node waits for a partner no longer than this part, within these bounds.
const PATIENCE_PART: u32 = 2;
const PATIENCE_MIN: Duration = Duration::from_secs(60);
const PATIENCE_MAX: Duration = Duration::from_secs(600);
/// A node with which nothing is wrong waits so long for a second partner, mostly for that one's sake.
const FAVOUR_MAX: Duration = Duration::from_secs(30);
/// A service that could not be asked is asked again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// The service may not have us wait longer between two questions.
const POLL_MAX: Duration = Duration::from_secs(30);

/// The service's answer about a partner, when it comes.
pub type Reply<'a> = Pin<Box<dyn Future<Output = Result<PartnerReply, CallError>> + Send + 'a>>;

/// Who finds partners.
pub trait Matchmaker: Send + Sync {
    /// Asks once.
    fn partner<'a>(&'a self, request: &'a PartnerRequest) -> Reply<'a>;
}

/// What the two of a pair measured, as one of them sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// As the other one received it, in megabytes a second.
    pub sent_megabytes: u64,
    /// In megabytes a second.
    pub received_megabytes: u64,
}

/// How the network is tested.
pub struct Test<'a> {
    /// Who names partners.
    pub matchmaker: &'a dyn Matchmaker,
    /// Rate of the link that this node speaks over, in megabits a second, where it is known.
    pub link_megabits: Option<u64>,
    /// Whether this is less than others of the same hardware have, so that a second partner is worth waiting for.
    pub slow: &'a (dyn Fn(Rates) -> bool + Send + Sync),
    times: Times,
    port: u16,
}

/// What is waited for, and how long.
#[derive(Debug, Clone, Copy)]
struct Times {
    patience: Duration,
    favour: Duration,
    send: Duration,
}

impl<'a> Test<'a> {
    /// A test in a burn-in of this time.
    pub fn new(
        matchmaker: &'a dyn Matchmaker,
        link_megabits: Option<u64>,
        slow: &'a (dyn Fn(Rates) -> bool + Send + Sync),
        burn_in: Duration,
    ) -> Self {
        let patience = (burn_in / PATIENCE_PART).clamp(PATIENCE_MIN, PATIENCE_MAX);
        let times = Times { patience, favour: FAVOUR_MAX, send: SEND_TIME };
        Self { matchmaker, link_megabits, slow, times, port: PARTNER_PORT }
    }

    /// Tests with up to [`PARTNERS_MAX`] partners. Nothing at all from a service that knows no partners.
    pub async fn run(&self) -> Vec<Found> {
        let began = Instant::now();
        let mut met: Vec<Meeting> = Vec::new();
        let mut lost = None;
        while met.len() < PARTNERS_MAX {
            let well = met.iter().any(|one| one.rates().is_some_and(|rates| !(self.slow)(rates)));
            let left = self.times.patience.saturating_sub(began.elapsed());
            let left = if well { left.min(self.times.favour) } else { left };
            let tried: Vec<NodeId> = met.iter().map(|one| one.node).collect();
            match self.find(tried, left).await {
                Search::Found(partnership) => met.push(self.meet(&partnership).await),
                Search::Nobody => break,
                Search::Unasked(why) => {
                    lost = Some(why);
                    break;
                }
                Search::NotOffered => return Vec::new(),
            }
        }
        outcome::readings(&met, lost)
    }

    async fn meet(&self, partnership: &Partnership) -> Meeting {
        tracing::info!("testing the network with node {}", partnership.node);
        let result = meeting::meet(partnership, self.port, self.times.send).await;
        let meeting = Meeting {
            node: partnership.node,
            // With one whose link is slower nothing can be said of this node's pace.
            fair: !matches!(
                (partnership.link_megabits, self.link_megabits),
                (Some(other), Some(own)) if other < own
            ),
            result,
        };
        tracing::info!("the network with {meeting}");
        meeting
    }

    /// Asks until there is a partner, nobody is left, or the time is over.
    async fn find(&self, tried: Vec<NodeId>, time: Duration) -> Search {
        let began = Instant::now();
        let request = PartnerRequest { tried, link_megabits: self.link_megabits };
        loop {
            let (wait, why) = match self.matchmaker.partner(&request).await {
                Ok(PartnerReply::Found(partnership)) if request.tried.contains(&partnership.node) => {
                    return Search::Unasked("the service named a node that was tried before".to_owned());
                }
                Ok(PartnerReply::Found(partnership)) => return Search::Found(partnership),
                Ok(PartnerReply::Nobody) => return Search::Nobody,
                Ok(PartnerReply::Wait { poll_after_millis }) => {
                    (Duration::from_millis(poll_after_millis).min(POLL_MAX), None)
                }
                Err(CallError::Refused { status, .. })
                    if matches!(status.as_u16(), 404 | 405) && request.tried.is_empty() =>
                {
                    return Search::NotOffered;
                }
                Err(error) if error.may_pass() => (ASK_AGAIN, Some(error.to_string())),
                Err(error) => return Search::Unasked(error.to_string()),
            };
            if began.elapsed() + wait > time {
                return why.map_or(Search::Nobody, Search::Unasked);
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// What came of asking for a partner.
enum Search {
    Found(Partnership),
    /// Nobody is there, or nobody came in time.
    Nobody,
    /// The service could not be asked, and why.
    Unasked(String),
    /// The service knows no partners.
    NotOffered,
}

#[cfg(test)]
mod tests;
