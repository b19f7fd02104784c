//! Which nodes test the network between them while they are burned in. Pure but for the lock: time and secrets
//! come in, and it is known only while it lasts. A restart of the service loses it; agents ask again.
//!
//! Numbered rules, each with a test:
//!
//! - N1: two nodes of one pool, both asking, both burned in; never one with itself, and never three.
//! - N2: never two of which one has tried the other in this burn-in.
//! - N3: who asks again in the same session gets the same partner until it says that it has tried that one, or
//!   their time is over: an answer may have been lost.
//! - N4: who has not asked for [`ASKED_MAX`] is not there any more, and a pair lasts [`PAIR_MAX`].
//! - N5: of several, one with a link of the same rate, and then the one that waits longest.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use contract::burn_in::{PartnerRole, Partnership};
use contract::id::{Digest, NodeId, PoolName};
use contract::secret::Secret;

/// Who has not asked for so long is not there any more. Agents ask every two seconds.
pub const ASKED_MAX: Duration = Duration::from_secs(15);
/// Two nodes have so long to meet and to test.
pub const PAIR_MAX: Duration = Duration::from_secs(90);
/// So many wait at once; who comes then is told to wait and is not entered.
const WAITING_MAX: usize = 4096;

/// A node that asks for a partner.
#[derive(Debug, Clone)]
pub struct Asking<'a> {
    /// Which.
    pub node: NodeId,
    /// In which session: a machine that booted again begins anew.
    pub session: Digest,
    /// Of which pool.
    pub pool: &'a PoolName,
    /// Where it was seen to come from.
    pub address: IpAddr,
    /// Rate of its link, in megabits a second, where it is known.
    pub link_megabits: Option<u64>,
    /// Whom it has tried.
    pub tried: &'a [NodeId],
}

#[derive(Debug, Clone)]
struct Waiting {
    session: Digest,
    pool: PoolName,
    address: IpAddr,
    link_megabits: Option<u64>,
    tried: Vec<NodeId>,
    since: Instant,
    asked_at: Instant,
}

#[derive(Debug, Clone)]
struct Paired {
    session: Digest,
    until: Instant,
    partnership: Partnership,
}

#[derive(Debug, Default)]
struct Table {
    waiting: BTreeMap<NodeId, Waiting>,
    /// Always both of a pair, or neither.
    paired: BTreeMap<NodeId, Paired>,
}

/// Nodes that are burned in and wait for a partner, and those that have one.
#[derive(Debug, Default)]
pub struct Partners(Mutex<Table>);

impl Partners {
    /// A partner for the one who asks, with this secret if the pair is new; none if nobody else is asking.
    pub fn ask(&self, asking: &Asking<'_>, secret: &[u8; 32], now: Instant) -> Option<Partnership> {
        // A panic elsewhere leaves whole entries behind.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget(now);
        table.ask(asking, secret, now)
    }

    /// The node waits no more.
    pub fn leave(&self, node: NodeId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&node);
    }
}

impl Table {
    fn forget(&mut self, now: Instant) {
        self.waiting.retain(|_, one| now.saturating_duration_since(one.asked_at) < ASKED_MAX);
        self.paired.retain(|_, one| now < one.until);
    }

    fn ask(&mut self, asking: &Asking<'_>, secret: &[u8; 32], now: Instant) -> Option<Partnership> {
        if let Some(pair) = self.paired.get(&asking.node) {
            let other = pair.partnership.node;
            if pair.session == asking.session && !asking.tried.contains(&other) {
                let left = u64::try_from((pair.until - now).as_millis()).unwrap_or(u64::MAX);
                return Some(Partnership { ends_in_millis: left, ..pair.partnership.clone() });
            }
            self.paired.remove(&asking.node);
            self.paired.remove(&other);
        }
        match self.found(asking) {
            Some(other) => self.pair(asking, other, secret, now),
            None => {
                self.wait(asking, now);
                None
            }
        }
    }

    /// Whom it can be paired with.
    fn found(&self, asking: &Asking<'_>) -> Option<NodeId> {
        let fits = |(node, one): &(&NodeId, &Waiting)| {
            **node != asking.node
                && one.pool == *asking.pool
                && !asking.tried.contains(node)
                && !one.tried.contains(&asking.node)
        };
        let rank = |(node, one): &(&NodeId, &Waiting)| {
            (one.link_megabits != asking.link_megabits, one.since, **node)
        };
        self.waiting.iter().filter(fits).min_by_key(rank).map(|(node, _)| *node)
    }

    fn pair(
        &mut self,
        asking: &Asking<'_>,
        other: NodeId,
        secret: &[u8; 32],
        now: Instant,
    ) -> Option<Partnership> {
        let waited = self.waiting.remove(&other)?;
        self.waiting.remove(&asking.node);
        let until = now + PAIR_MAX;
        let secret = Secret::new(hex::encode(secret));
        let ends_in_millis = u64::try_from(PAIR_MAX.as_millis()).unwrap_or(u64::MAX);
        // Who has waited hears of it last, and needs the least time to be ready.
        let theirs = Partnership {
            node: asking.node,
            address: asking.address,
            own_address: waited.address,
            role: PartnerRole::Listen,
            secret: secret.clone(),
            link_megabits: asking.link_megabits,
            ends_in_millis,
        };
        let ours = Partnership {
            node: other,
            address: waited.address,
            own_address: asking.address,
            role: PartnerRole::Connect,
            secret,
            link_megabits: waited.link_megabits,
            ends_in_millis,
        };
        self.paired.insert(other, Paired { session: waited.session, until, partnership: theirs });
        let session = asking.session;
        self.paired.insert(asking.node, Paired { session, until, partnership: ours.clone() });
        Some(ours)
    }

    fn wait(&mut self, asking: &Asking<'_>, now: Instant) {
        let before = self.waiting.remove(&asking.node);
        if self.waiting.len() >= WAITING_MAX {
            return;
        }
        let one = Waiting {
            session: asking.session,
            pool: asking.pool.clone(),
            address: asking.address,
            link_megabits: asking.link_megabits,
            tried: asking.tried.to_vec(),
            since: before.map_or(now, |before| before.since),
            asked_at: now,
        };
        self.waiting.insert(asking.node, one);
    }
}

#[cfg(test)]
mod tests;
