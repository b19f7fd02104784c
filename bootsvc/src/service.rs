//! Everything that the listeners share.

use std::sync::Arc;

use anyhow::Context as _;
use attest::certificate::Roots;
use contract::agent_api::ContextReply;
use contract::assignment::NodeContext;
use contract::id::{MacAddress, NodeId, UnixMillis};

use crate::attestation::roots;
use crate::bmc::Controllers;
use crate::ca::Authority;
use crate::config::Settings;
use crate::counters::Counters;
use crate::http::endpoints::Endpoints;
use crate::images::ImageStore;
use crate::jobs::state;
use crate::live::{Live, NodeLocks};
use crate::models::Models;
use crate::partners::Partners;
use crate::policies::Policies;
use crate::readiness::Readiness;
use crate::refusal::Refusal;
use crate::store::jobs::JobRecord;
use crate::store::nodes::NodeRecord;
use crate::store::{self, Store};
use crate::tftp::Loaders;

/// Everything that the listeners share.
#[derive(Debug)]
pub struct Service {
    /// The configuration.
    pub settings: Settings,
    /// The database.
    pub store: Store,
    /// Keys and certificates.
    pub authority: Authority,
    /// The policies of the site and its pools.
    pub policies: Policies,
    /// The model that forecasts and costs come from.
    pub models: Models,
    /// Chunks and manifests.
    pub images: ImageStore,
    /// What is known only while it lasts.
    pub live: Live,
    /// Who tests the network with whom.
    pub partners: Partners,
    /// Lets one change to a node happen after the other.
    pub locks: NodeLocks,
    /// The iPXE binaries; none if the folder has none.
    pub loaders: Arc<Loaders>,
    /// What happened since the start.
    pub counters: Arc<Counters>,
    /// When the service started.
    pub started_at: UnixMillis,
    /// Whom the operator trusts to certify TPMs.
    pub endorsement_roots: Roots,
    /// What does not listen yet.
    pub readiness: Readiness,
    /// Management controllers, and what they said.
    pub controllers: Controllers,
}

impl Service {
    /// Opens everything in the state directory.
    ///
    /// # Errors
    /// Names what cannot be opened.
    pub async fn open(settings: Settings) -> anyhow::Result<Arc<Self>> {
        let state = settings.state_directory.clone();
        std::fs::create_dir_all(&state)
            .with_context(|| format!("could not make the folder {}", state.display()))?;
        let (site, pools) = (settings.policy.clone(), settings.pools_directory.clone());
        let policies = Policies::open(site, pools, crate::clock::now())?;
        let models = Models::open(settings.model.clone(), crate::clock::now())?;
        let service = Self {
            store: Store::open(&state)
                .await
                .with_context(|| format!("the database in {}", state.display()))?,
            authority: Authority::open(&state)?,
            images: ImageStore::open(&state)?,
            policies,
            models,
            live: Live::default(),
            partners: Partners::default(),
            locks: NodeLocks::default(),
            counters: Arc::default(),
            started_at: crate::clock::now(),
            readiness: Readiness::of(&settings),
            controllers: Controllers::new(&settings.bmc),
            loaders: Arc::new(loaders(&settings)?),
            endorsement_roots: roots::load(settings.endorsement_roots.as_deref())?,
            settings,
        };
        service
            .images
            .sweep(&service.store, crate::clock::now())
            .await
            .context("could not tidy the images")?;
        service.keep_judgement_texts().await.context("could not keep what is judged with")?;
        Ok(Arc::new(service))
    }

    /// Keeps the texts of all policies in force and of the model, by the digests that verdicts name.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep_judgement_texts(&self) -> Result<(), Refusal> {
        let now = crate::clock::now();
        let mut transaction = self.store.write().await?;
        let policies = self.policies.all();
        let policies =
            policies.iter().map(|one| (one.policy.digest().to_string(), one.policy.canonical_text()));
        let in_force = self.models.current();
        let model = (in_force.model.digest().to_string(), in_force.text.as_str());
        for (digest, text) in policies.chain([model]) {
            store::judgement_texts::keep(&mut transaction, &digest, text, now).await?;
        }
        store::commit(transaction).await?;
        Ok(())
    }

    /// Reads the policies and the model again, each for itself. A broken file changes nothing and is said; what
    /// was in force stays.
    pub async fn read_policies_again(&self) {
        match self.policies.reload(crate::clock::now()) {
            Ok(()) => {
                tracing::info!(policy = %self.policies.site().policy.digest(), "policies were read again")
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the policies stay as they were; correct the file and send SIGHUP again"
            ),
        }
        match self.models.reload(crate::clock::now()) {
            Ok(()) => tracing::info!(model = %self.models.status().digest, "the model was read again"),
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the model stays as it was; correct the file and send SIGHUP again"
            ),
        }
        if let Err(error) = self.keep_judgement_texts().await {
            tracing::error!(%error, "could not keep the texts of policies and model; verdicts cannot be replayed");
        }
    }

    /// The service's facts about a node, as its agent and the service itself judge with them. The floor
    /// is that of the open job until its work is proven.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn context_of(
        &self,
        connection: &mut sqlx::AnyConnection,
        node: &NodeRecord,
        job: Option<&JobRecord>,
    ) -> Result<NodeContext, Refusal> {
        let asking = job.filter(|job| state::wants_ramdisk(&job.state));
        let gpu_tests = asking.map(|job| job.gpu_tests.clone()).unwrap_or_default();
        Ok(NodeContext {
            node: node.id,
            assignment: node.assignment.clone(),
            data_owner: node.data_owner.clone(),
            floor: asking.and_then(|job| job.at_least),
            sanitize_level: asking.and_then(|job| job.sanitize_level),
            expected_hardware: node.expected_hardware.clone(),
            protected: node.protected,
            unfinished: node.unfinished.clone(),
            history: store::evidence::history(connection, node.id).await?,
            node_data: crate::node_data::seed(connection, node).await?.map(|seed| seed.digest),
            baselines: store::baselines::of(connection, node.id).await?,
            boot_trust: None,
            boot_key: None,
            peers: crate::peers::usual_for(connection, node, &gpu_tests).await?,
            burn_in_minutes: asking.and_then(|job| job.burn_in_minutes),
            gpu_tests,
            outside_windows: asking.is_some_and(|job| job.outside_windows || job.going_back.is_some()),
            bmc: self.controllers.of(node),
            command_lines: crate::command_lines::of(node),
        })
    }

    /// What an agent is told to judge with.
    #[must_use]
    pub fn context_reply(&self, node: NodeContext, endpoints: &Endpoints, now: UnixMillis) -> ContextReply {
        let policy = self.policies.of(&node.assignment.pool).policy.canonical_text().to_owned();
        ContextReply {
            now,
            node,
            policy,
            model: self.models.current().text.clone(),
            order_key: hex::encode(self.authority.order_key.verifying_key().to_bytes()),
            image_key: hex::encode(self.authority.image_key.verifying_key().to_bytes()),
            image_base_url: endpoints.http_url.clone(),
            service_urls: endpoints.api_urls.clone(),
            image_base_urls: endpoints.http_urls.clone(),
            boot_challenge: None,
        }
    }
}

/// The iPXE binaries. Without TFTP they are not needed: firmware may bring its own iPXE.
fn loaders(settings: &Settings) -> anyhow::Result<Loaders> {
    match Loaders::load(&settings.boot.loaders) {
        Ok(loaders) => Ok(loaders),
        Err(error) if settings.tftp.listen.is_empty() => {
            tracing::warn!(error = format!("{error:#}"), "no loaders are served");
            Ok(Loaders::default())
        }
        Err(error) => Err(error),
    }
}

/// The node with this id.
///
/// # Errors
/// If there is none.
pub async fn node_by_id(connection: &mut sqlx::AnyConnection, id: NodeId) -> Result<NodeRecord, Refusal> {
    store::nodes::by_id(connection, id).await?.ok_or_else(|| no_node(&id.to_string()))
}

/// There is no such node.
#[must_use]
pub fn no_node(reference: &str) -> Refusal {
    let reference: String = reference.chars().take(80).collect();
    Refusal::not_found(format!("there is no node {reference:?}"), "list the nodes (`reprieve node list`)")
}

/// An address as a boot script gives it.
///
/// # Errors
/// If it is not one.
pub fn parse_mac(text: &str) -> Result<MacAddress, Refusal> {
    text.parse().map_err(|error: contract::id::IdError| {
        Refusal::bad_request(error.to_string(), "give mac=52:54:00:12:34:56")
    })
}
