//! Who is asked when: each controller once in an interval, not all at the same moment, few at once; one that does not
//! answer less and less often, and one that refuses its user seldom, because asked often it would lock the user out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use contract::bmc::BmcTold;
use contract::id::NodeId;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redfish::identity::Expected;
use tokio::time::Instant;

use super::client::{self, AskError, Target};
use super::configuration::{BmcSettings, Whose};
use super::trust::tls_configuration;
use super::{Controller, gist, password_of};
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::bmc::KnownBy;
use crate::store::nodes::NodeRecord;

/// At the start controllers are asked about so far apart, because all of them are unknown.
const FIRST_APART: Duration = Duration::from_millis(50);
/// How far apart looks of a running system are that are asked for because its controller says something else.
const LOOKS_APART: Duration = Duration::from_secs(600);
/// One that does not answer is asked at least this often.
const SILENT_MAX: Duration = Duration::from_secs(900);
/// One that refuses its user is asked no more often than this.
const REFUSED_MIN: Duration = Duration::from_secs(1_800);

/// Why nothing was told.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The node that it belongs to is not known, or not for certain.
    #[error("{0}")]
    NoNode(String),
    #[error("{0}")]
    Unasked(String),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Look(#[from] redfish::look::LookError),
    #[error("the database could not be asked whose it is: {0}")]
    Store(Refusal),
}

impl Service {
    /// Asks controllers until the process ends.
    pub async fn keep_asking_controllers(&self) {
        let count = self.controllers.count();
        let polling = self.controllers.polling;
        let start = Instant::now();
        let spread =
            (polling.interval / 4).min(FIRST_APART.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)));
        let first = |at: usize| Reverse((start + spread.mul_f64(chance()), at));
        let mut due: BinaryHeap<Reverse<(Instant, usize)>> = (0..count).map(first).collect();
        let mut under_way = FuturesUnordered::new();
        loop {
            let next = due.peek().map(|Reverse((at, _))| *at);
            let free = under_way.len() < polling.at_once_max;
            tokio::select! {
                Some(at) = under_way.next(), if !under_way.is_empty() => {
                    let wait = self.controllers.controllers.get(at).map_or(SILENT_MAX, |one| pause(one, polling.interval));
                    due.push(Reverse((Instant::now() + wait, at)));
                }
                () = until(next), if free && next.is_some() => {
                    if let Some(Reverse((_, at))) = due.pop() {
                        under_way.push(async move {
                            self.ask_controller(at).await;
                            at
                        });
                    }
                }
                else => std::future::pending::<()>().await,
            }
        }
    }

    /// Asks one controller, by its place in the configuration, and keeps what it says.
    pub async fn ask_controller(&self, at: usize) {
        let Some(controller) = self.controllers.controllers.get(at) else { return };
        self.counters.add("bmc.asked");
        let node = match self.owner(&controller.settings).await {
            Ok(node) => node,
            Err(failure) => {
                self.keep(controller, None, Err(failure));
                return;
            }
        };
        let told = self.ask_about(controller, &node).await;
        self.keep(controller, Some(node.id), told);
    }

    async fn ask_about(&self, controller: &Controller, node: &NodeRecord) -> Result<BmcTold, Failure> {
        let settings = &controller.settings;
        let tls = Arc::new(tls_configuration(&settings.proof).map_err(Failure::Unasked)?);
        let password = password_of(settings).await.map_err(Failure::Unasked)?;
        let answer_max = self.controllers.polling.answer_max;
        let target = Target { settings, tls, password, answer_max };
        let expected = Expected { system_uuid: node.system_uuid, serial: node.serial.clone() };
        // What a controller says is as old as the first question about it.
        let begun = crate::clock::now();
        Ok(client::ask(&target, expected).await?.finish(begun)?)
    }

    /// The node that a controller belongs to.
    async fn owner(&self, settings: &BmcSettings) -> Result<NodeRecord, Failure> {
        let failed = |error: store::StoreError| Failure::Store(error.into());
        let mut reading = self.store.read().await.map_err(failed)?;
        let ids = match &settings.whose {
            Whose::Node(node) => vec![*node],
            Whose::Serial(serial) => {
                store::bmc::nodes_known_by(&mut reading, KnownBy::Serial(serial)).await.map_err(failed)?
            }
            Whose::SystemUuid(uuid) => {
                store::bmc::nodes_known_by(&mut reading, KnownBy::SystemUuid(*uuid)).await.map_err(failed)?
            }
        };
        let whose = &settings.whose;
        let id = match ids.as_slice() {
            [id] => *id,
            [] => return Err(Failure::NoNode(format!("no node is known with {whose}"))),
            _ => return Err(Failure::NoNode(format!("several nodes have {whose}; name the node by its id"))),
        };
        let node = store::nodes::by_id(&mut reading, id).await.map_err(failed)?;
        node.ok_or_else(|| Failure::NoNode(format!("no node is known with {whose}")))
    }

    /// Keeps what a controller said, and says in the log when that begins and ends to be nothing.
    fn keep(&self, controller: &Controller, node: Option<NodeId>, told: Result<BmcTold, Failure>) {
        let settings = &controller.settings;
        let address = settings.authority();
        let mut known = controller.known();
        // Whose it is was not asked in vain if only the database failed.
        let node = if matches!(told, Err(Failure::Store(_))) { known.node } else { node };
        if known.node != node {
            known.told = None;
        }
        known.node = node;
        match told {
            Ok(told) => {
                if known.failures > 0 {
                    tracing::info!(whose = %settings.whose, address, "the management controller answers again");
                }
                let (gist, online) = (gist(&told), node.filter(|node| self.live.resident_online(*node)));
                (known.told, known.failure, known.failures) = (Some(told), None, 0);
                let long_ago = known.looked_at.is_none_or(|at| at.elapsed() >= LOOKS_APART);
                if let Some(node) = online.filter(|_| gist != known.looked_for && long_ago) {
                    (known.looked_for, known.looked_at) = (gist, Some(std::time::Instant::now()));
                    // A running system reports when something changes, and this it cannot see itself.
                    self.live.want_look(node, "the management controller says something else than before");
                }
            }
            Err(failure) => {
                self.counters.add("bmc.failed");
                let why = failure.to_string();
                match &failure {
                    // The machine was not seen yet, or is off: that is no fault.
                    Failure::NoNode(_) | Failure::Look(redfish::look::LookError::NotOn { .. }) => {
                        tracing::debug!(whose = %settings.whose, address, why, "the management controller was not asked");
                    }
                    _ if known.failures == 0 => {
                        tracing::warn!(whose = %settings.whose, address, why, "the management controller tells nothing");
                    }
                    _ => {}
                }
                known.failures = match failure {
                    // Not asked less often for it: a machine that is off is soon on.
                    Failure::NoNode(_) | Failure::Look(redfish::look::LookError::NotOn { .. }) => 0,
                    // As many as bring the longest pause.
                    Failure::Ask(AskError::Refused(_)) => u32::MAX,
                    _ => known.failures.min(5) + 1,
                };
                known.failure = Some(why);
            }
        }
    }
}

/// How long until a controller is asked again.
fn pause(controller: &Controller, interval: Duration) -> Duration {
    let failures = controller.known().failures;
    pause_after(failures, interval).mul_f64(0.9 + 0.2 * chance())
}

fn pause_after(failures: u32, interval: Duration) -> Duration {
    match failures {
        0 => interval,
        u32::MAX => interval.max(REFUSED_MIN),
        failures => interval.saturating_mul(1 << failures.min(5)).min(interval.max(SILENT_MAX)),
    }
}

/// A time that may never come.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// At random, from 0 up to 1, so that controllers are not all asked at the same moment.
fn chance() -> f64 {
    let mut bytes = [0; 2];
    // Without random numbers all are asked at once, a few at a time all the same.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u16::from_le_bytes(bytes)) / 65_536.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_asked_less_often_and_never_given_up() {
        let interval = Duration::from_secs(120);
        let pauses: Vec<u64> = [0, 1, 2, 3, 40, u32::MAX]
            .into_iter()
            .map(|failures| pause_after(failures, interval).as_secs())
            .collect();
        assert_eq!(pauses, [120, 240, 480, 900, 900, 1_800]);
        assert_eq!(pause_after(9, Duration::from_secs(3_600)).as_secs(), 3_600);
        assert!((0..100).all(|_| (0.0..1.0).contains(&chance())));
    }
}
