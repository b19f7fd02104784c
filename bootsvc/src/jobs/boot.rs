//! A machine asks the network what to boot. DHCP, TFTP and HTTP all ask here; only the HTTP script
//! counts an attempt, because only then is the ramdisk really handed out.

use contract::id::{MacAddress, NodeId};
use netboot::directive::{
    BootDirective, DiscoveryFacts, JobBootFacts, NodeBootFacts, Purpose, boot_decision,
};
use netboot::script::{self, RamdiskScript};

use crate::bearer;
use crate::http::endpoints::Endpoints;
use crate::jobs::change::Change;
use crate::jobs::{empty, state};
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::jobs::JobRecord;
use crate::store::nodes::{NODES_MAX, NodeRecord};

/// How long a one-time token is good for.
const TOKEN_MILLIS: u64 = 10 * 60_000;
/// How many API addresses a boot script names.
const SERVICE_URLS_MAX: usize = 3;
/// The pool of machines that nobody has approved yet.
pub const DEFAULT_POOL: &str = "default";

impl Service {
    /// The facts that the boot decision rests on, for listeners that only ask. Changes nothing.
    ///
    /// # Errors
    /// If the database fails. Answer nothing then: a machine without an answer asks again.
    pub async fn boot_facts(&self, mac: MacAddress) -> Result<NodeBootFacts, Refusal> {
        let mut reading = self.store.read().await?;
        let node = store::nodes::by_mac(&mut reading, mac).await?;
        let job = match &node {
            Some(node) => store::jobs::open_of(&mut reading, node.id).await?,
            None => None,
        };
        Ok(self.facts(node.as_ref(), job.as_ref()))
    }

    fn facts(&self, node: Option<&NodeRecord>, job: Option<&JobRecord>) -> NodeBootFacts {
        let boot = &self.settings.boot;
        NodeBootFacts {
            known: node.is_some(),
            approved: node.is_some_and(|node| node.approved),
            hold: node.and_then(|node| node.hold_reason.clone()),
            empty: node.is_some_and(empty::is_empty),
            discovery: DiscoveryFacts {
                inventoried: node.is_some_and(|node| node.inventory.is_some()),
                attempts: node.map_or(0, |node| node.discovery_attempts),
                attempts_max: boot.discovery_attempts_max,
            },
            job: job.map(|job| JobBootFacts {
                id: job.id,
                wants_ramdisk: state::wants_ramdisk(&job.state),
                attempts: job.attempts,
                attempts_max: boot.attempts_max,
                irreversible_begun: node.is_some_and(|node| node.unfinished.is_some()),
            }),
        }
    }

    /// The boot script of a machine. An unknown machine is recorded; an attempt is durable before the
    /// script leaves.
    ///
    /// # Errors
    /// If too many machines are known already or the database fails.
    pub async fn boot_script(&self, mac: MacAddress, endpoints: &Endpoints) -> Result<String, Refusal> {
        let node = self.node_of(mac).await?;
        let mut change = self.change(node).await?;
        change.node.last_seen = change.now;
        self.count_coming_up(&mut change).await?;
        let facts = self.facts(Some(&change.node), change.job.as_ref());
        let directive = boot_decision(&facts);
        tracing::info!(%node, %mac, ?directive, "boot decision");
        let ask_again = script::script_url(&endpoints.http_url, mac, None);
        match directive {
            BootDirective::Local { reason } => {
                change.commit().await?;
                Ok(script::local(&reason))
            }
            BootDirective::Hold { reason, may_boot_local } => {
                hold_when_used_up(&mut change, &facts, &reason)?;
                change.commit().await?;
                hold_script(&reason, may_boot_local, &ask_again)
            }
            BootDirective::Ramdisk { purpose } => {
                count_attempt(&mut change, purpose)?;
                let token = bearer::mint()?;
                let (now, expires_at) = (change.now, change.now.plus_millis(TOKEN_MILLIS));
                let hash = bearer::hash(token.reveal());
                store::sessions::insert_token(&mut change.transaction, hash, node, mac, now, expires_at)
                    .await?;
                change.node.ramdisk_arguments = Some(self.settings.boot.extra_kernel_arguments.clone());
                change.commit().await?;
                self.ramdisk_script(node, purpose, &token, endpoints)
            }
        }
    }

    fn ramdisk_script(
        &self,
        node: NodeId,
        purpose: Purpose,
        token: &contract::secret::Secret,
        endpoints: &Endpoints,
    ) -> Result<String, Refusal> {
        let arguments: Vec<String> =
            self.settings.boot.extra_kernel_arguments.split_whitespace().map(ToOwned::to_owned).collect();
        // The kernel's command line is short; whoever has reached us is told the rest with the context.
        let service_urls: Vec<&str> =
            endpoints.api_urls.iter().take(SERVICE_URLS_MAX).map(String::as_str).collect();
        script::ramdisk(&RamdiskScript {
            purpose,
            node,
            token,
            service_url: &service_urls.join(","),
            ca_sha256: &self.authority.ca_sha256,
            kernel_url: &format!("{}/boot/kernel", endpoints.http_url),
            initrd_url: &format!("{}/boot/ramdisk", endpoints.http_url),
            kernel_arguments: &arguments,
        })
        .map_err(Refusal::internal)
    }

    /// The node with this address, recorded now if it was never seen.
    async fn node_of(&self, mac: MacAddress) -> Result<NodeId, Refusal> {
        let mut reading = self.store.read().await?;
        if let Some(node) = store::nodes::by_mac(&mut reading, mac).await? {
            return Ok(node.id);
        }
        drop(reading);
        let mut transaction = self.store.write().await?;
        // Somebody else may have been first; the writer is the only one now.
        if let Some(node) = store::nodes::by_mac(&mut transaction, mac).await? {
            return Ok(node.id);
        }
        if store::nodes::count(&mut transaction).await? >= NODES_MAX {
            return Err(Refusal::conflict("too many machines are known", "remove machines that are gone"));
        }
        let pool = DEFAULT_POOL.parse().map_err(Refusal::internal)?;
        let node = NodeRecord::discovered(NodeId(bearer::new_uuid()), mac, pool, crate::clock::now());
        store::nodes::insert(&mut transaction, &node).await?;
        store::commit(transaction).await?;
        tracing::info!(node = %node.id, %mac, "an unknown machine was recorded");
        Ok(node.id)
    }

    /// A machine whose system should come up may come to the network a few times, not for ever (V3).
    /// Counted before the decision, which may be another one then.
    async fn count_coming_up(&self, change: &mut Change<'_>) -> Result<(), Refusal> {
        let attempts_max = self.settings.boot.attempts_max;
        let Some(job) =
            change.job.as_mut().filter(|job| job.state == contract::operator_api::JobState::ComingUp)
        else {
            return Ok(());
        };
        job.coming_up_boots = job.coming_up_boots.saturating_add(1);
        let boots = job.coming_up_boots;
        if boots > attempts_max {
            let failed = format!("the installed system was booted {attempts_max} times and never reported");
            return self.image_failed(change, &failed).await;
        }
        change.note(format!("the machine was told to boot its system ({boots} of {attempts_max})"));
        Ok(())
    }
}

/// Counts that the ramdisk is handed out.
fn count_attempt(change: &mut Change<'_>, purpose: Purpose) -> Result<(), Refusal> {
    if purpose == Purpose::Discover {
        change.node.discovery_attempts = change.node.discovery_attempts.saturating_add(1);
        return Ok(());
    }
    let job = change.job()?;
    job.attempts = job.attempts.saturating_add(1);
    let attempt = job.attempts;
    change.take(|job| state::hand_out(job, attempt))?;
    change.note(format!("the ramdisk was handed out (attempt {attempt})"));
    Ok(())
}

/// Attempts that are used up take the node out, durably, so that a person sees it.
fn hold_when_used_up(change: &mut Change<'_>, facts: &NodeBootFacts, reason: &str) -> Result<(), Refusal> {
    let never_inventoried = !facts.discovery.inventoried;
    let job_used_up = facts
        .job
        .is_some_and(|job| (job.wants_ramdisk || job.irreversible_begun) && job.attempts >= job.attempts_max);
    if change.node.hold_reason.is_none() && (job_used_up || never_inventoried) {
        change.hold(reason)?;
    }
    Ok(())
}

fn hold_script(reason: &str, may_boot_local: bool, ask_again: &str) -> Result<String, Refusal> {
    script::hold(reason, may_boot_local, ask_again).map_err(Refusal::internal)
}
