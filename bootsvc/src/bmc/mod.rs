//! Management controllers: machines' own sensors, asked over Redfish without the machine. What a look consists of,
//! and what its answers mean, is said in the crate `redfish`; what follows in `verdict::rules::bmc`.
//!
//! | file | what |
//! |---|---|
//! | [`configuration`] | which controllers there are |
//! | [`password`] | the password of a user |
//! | [`trust`] | whether a controller is the one that is meant |
//! | [`client`] | the connection |
//! | [`poller`] | who is asked when |
//!
//! What they said is kept in memory alone: after a restart it is unknown until they were asked again. What an agent
//! in the ramdisk was told is kept with its session, because it is judged with the same.

pub mod client;
pub mod configuration;
pub mod password;
pub mod poller;
pub mod trust;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use contract::assignment::NodeContext;
use contract::bmc::{BmcCondition, BmcPartKind, BmcStatus, BmcTold, BmcView};
use contract::id::NodeId;
use contract::reading::Trust;
use contract::secret::Secret;

use crate::jobs::change::Change;
use crate::refusal::Refusal;
use crate::store;
use crate::store::nodes::NodeRecord;
use configuration::{BmcSettings, ControllersSettings, PollingSettings, Whose};

/// All controllers, and what they said last.
#[derive(Debug)]
pub struct Controllers {
    controllers: Vec<Controller>,
    by_owner: HashMap<String, usize>,
    polling: PollingSettings,
}

#[derive(Debug)]
struct Controller {
    settings: BmcSettings,
    known: Mutex<Known>,
}

/// What is known of a controller.
#[derive(Debug, Default)]
struct Known {
    /// The node that it was asked about.
    node: Option<NodeId>,
    told: Option<BmcTold>,
    failure: Option<String>,
    /// How often in a row it said nothing.
    failures: u32,
    /// What was wrong when the running system was last asked to look again for it, and when that was.
    looked_for: Vec<Gist>,
    looked_at: Option<Instant>,
}

/// What of a part may change a verdict; its value changes with each look.
type Gist = (BmcPartKind, String, BmcCondition);

/// What of what was told may change a verdict.
fn gist(told: &BmcTold) -> Vec<Gist> {
    let mut gist: Vec<Gist> =
        told.bad.iter().map(|part| (part.kind, part.name.clone(), part.condition)).collect();
    gist.sort();
    gist
}

impl Controller {
    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere leaves plain values behind, all of them still good.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Controllers {
    /// Controllers that nobody has asked yet.
    #[must_use]
    pub fn new(settings: &ControllersSettings) -> Self {
        let controller =
            |settings: &BmcSettings| Controller { settings: settings.clone(), known: Mutex::default() };
        let by_owner = settings.controllers.iter().enumerate();
        Self {
            controllers: settings.controllers.iter().map(controller).collect(),
            by_owner: by_owner.map(|(at, controller)| (controller.whose.to_string(), at)).collect(),
            polling: settings.polling,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.controllers.len()
    }

    /// How many there are, and how many answer; none if there are none.
    #[must_use]
    pub fn status(&self) -> Option<BmcStatus> {
        let answers = |controller: &&Controller| {
            let known = controller.known();
            known.told.is_some() && known.failure.is_none()
        };
        let (configured, answering) =
            (self.count() as u64, self.controllers.iter().filter(answers).count() as u64);
        (configured > 0).then_some(BmcStatus { configured, answering })
    }

    /// What is known from a node's controller; none if it has none.
    #[must_use]
    pub fn of(&self, node: &NodeRecord) -> Option<BmcView> {
        let owners = [
            Some(Whose::Node(node.id)),
            node.system_uuid.map(Whose::SystemUuid),
            node.serial.clone().map(Whose::Serial),
        ];
        let mut at = owners.into_iter().flatten().filter_map(|owner| self.by_owner.get(&owner.to_string()));
        let known = self.controllers.get(*at.next()?)?.known();
        if known.node.is_some_and(|asked_about| asked_about != node.id) {
            let failure = Some("it was asked about another node with the same name".to_owned());
            return Some(BmcView { told: None, failure });
        }
        Some(BmcView { told: known.told.clone(), failure: known.failure.clone() })
    }
}

/// An agent in the ramdisk is judged with what it was told of its controller, whatever that has said meanwhile.
///
/// # Errors
/// If the database fails.
pub(crate) async fn as_told(
    change: &mut Change<'_>,
    context: &mut NodeContext,
    trust: Trust,
) -> Result<(), Refusal> {
    if trust >= Trust::Ramdisk {
        context.bmc = store::bmc::frozen(&mut change.transaction, context.node).await?;
    }
    Ok(())
}

/// A password, read where reading a file may take its time.
async fn password_of(settings: &BmcSettings) -> Result<Secret, String> {
    let path = settings.password_file.clone();
    let read = tokio::task::spawn_blocking(move || password::read(&path)).await;
    read.map_err(|_| "reading the password file broke off".to_owned())?
}
