//! The ramdisk's work from first contact to the boot of the installed system.

mod boot_key;
pub mod boot_proof;
mod burn_in;
mod enrolment;
pub mod image;
pub mod steps;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use contract::agent_api::{ContextReply, Finish, FinishResult, Instruction, Progress, Report};
use contract::assignment::BootTrust;
use contract::boot_key::{BootKeyReply, BootKeyRequest};
use contract::id::{Digest, MacAddress, NodeId};
use contract::inventory::Firmware;
use contract::order::{Order, SignedOrder};
use contract::plan::Plan;
use contract::reading::{Outcome, Tier, Trust};
use ed25519_dalek::VerifyingKey;
use verdict::permit::{Expected, Permit, SpentOrders};

use self::steps::{Session, Step};
use crate::act;
use crate::act::service::Service;
use crate::clock::{Clock, since_kernel_start_millis};
use crate::efi::variables::Variables;
use crate::judging::{self, Judged};
use crate::kernel_command_line::BootParameters;
use crate::probe::disks::{self, FoundDisk};
use crate::probe::evidence::{Found, Look, Looking, look};
use crate::probe::kernel_log::KernelLog;
use crate::probe::source::Source;
use crate::probe::{inventory, scsi_settle};
use crate::service::client::{CallError, Client, persist};
use crate::service::trust::Pin;

/// How long disks that should be there are waited for: spinning disks behind a controller take a while.
const EXPECTED_DISKS_MAX: Duration = Duration::from_secs(20);
/// How often they are looked for.
const EXPECTED_DISKS_POLL: Duration = Duration::from_millis(100);

/// Works until the machine is to boot its own system.
///
/// # Errors
/// When the session cannot go on; nothing is under way then.
pub async fn run(parameters: BootParameters, loading: std::thread::JoinHandle<()>) -> anyhow::Result<()> {
    let source = Source::machine();
    let pin = Pin::Fingerprint(parameters.ca_sha256);
    let client = Arc::new(Client::new(&parameters.services, pin, None)?);
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).context("the kernel gives no random numbers")?;
    let nonce = Digest(nonce);
    let request = enrolment::request(&parameters, nonce, &source);
    tracing::info!("asking {} what to do", parameters.services.join(" or "));
    let reply = persist(0, || client.enroll(&request)).await?;
    tracing::info!("first contact {} ms after kernel start", since_kernel_start_millis());
    // A driver thread that broke off has said so; what it did not load will be missed in the inventory.
    let _ = tokio::task::spawn_blocking(move || loading.join()).await;
    let mut driver = Driver {
        client,
        node: parameters.node,
        nonce,
        clock: Clock::service(reply.context.now),
        context: reply.context,
        source,
        kernel_log: KernelLog::default(),
        spent: SpentOrders::new(),
        burned_in: None,
        interface: parameters.interface,
    };
    if let Some(challenge) = reply.boot_challenge {
        driver.prove_boot(challenge).await?;
    }
    driver.work().await
}

/// The session with its hands.
struct Driver {
    client: Arc<Client>,
    node: NodeId,
    nonce: Digest,
    clock: Clock,
    context: ContextReply,
    source: Source,
    kernel_log: KernelLog,
    spent: SpentOrders,
    /// For how many minutes it was burnt in, and what was found.
    burned_in: Option<(u32, Vec<Found>)>,
    /// The one that speaks to the service.
    interface: MacAddress,
}

impl Driver {
    async fn work(&mut self) -> anyhow::Result<()> {
        let mut session = Session::default();
        // What to judge with came with the enrolment.
        let mut instruction = self.look_and_report(&mut session).await?;
        loop {
            say(&instruction);
            instruction = match session.told(instruction) {
                Step::Look => {
                    self.refresh_context().await?;
                    self.look_and_report(&mut session).await?
                }
                Step::Ask { after } => {
                    tokio::time::sleep(after).await;
                    persist(0, || self.client.next()).await?
                }
                Step::Act { order, plan } => self.act(&order, *plan).await?,
                Step::Refuse { order, why } => self.refuse(&order, why).await?,
                Step::Boot { kexec } => {
                    if kexec && let Err(error) = self.jump().await {
                        tracing::warn!("{error:#}; rebooting instead");
                    }
                    return Ok(());
                }
                Step::GiveUp { why } => anyhow::bail!(why),
            };
        }
    }

    /// Shows how this machine booted. A service that does not take it judges without.
    async fn prove_boot(&mut self, challenge: Digest) -> anyhow::Result<()> {
        let tpm = boot_proof::keys(self.source.clone()).await;
        let credential = match &tpm {
            Some(tpm) => self.credential_for(&tpm.request()).await?,
            None => None,
        };
        let proof = boot_proof::show(self.source.clone(), challenge, tpm, credential).await;
        match persist(0, || self.client.boot_proof(&proof)).await {
            Ok(context) => {
                self.clock = Clock::service(context.now);
                self.context = context;
                Ok(())
            }
            Err(error @ CallError::Refused { .. }) => {
                tracing::warn!("{error}; going on without a proof of this boot");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What only a TPM with both keys opens; none from a service that makes none for them.
    async fn credential_for(&self, keys: &BootKeyRequest) -> anyhow::Result<Option<BootKeyReply>> {
        match persist(0, || self.client.boot_key(keys)).await {
            Ok(credential) => Ok(Some(credential)),
            Err(error @ CallError::Refused { .. }) => {
                tracing::warn!("{error}; going on without a proof of whose key it is");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The service says how far this boot is proven, and takes no claim beyond that.
    fn trust(&self) -> Trust {
        match self.context.node.boot_trust {
            Some(BootTrust::Verified) => Trust::RamdiskAttested,
            _ => Trust::Ramdisk,
        }
    }

    async fn look_and_report(&mut self, session: &mut Session) -> anyhow::Result<Instruction> {
        let progress = Progress { phase: "looking".to_owned(), done_bytes: 0, total_bytes: 0 };
        if let Err(error) = self.client.progress(progress).await {
            tracing::debug!("{error:#}");
        }
        let mut seen = self.look().await?;
        let measured = image::check(&self.client, &self.context, &seen).await;
        seen.add(measured, &self.clock);
        let partitions = image::data_partitions(&self.client, &self.context, &seen).await;
        seen.add(partitions, &self.clock);
        let node_data = image::node_data(&self.context, &seen).await;
        seen.add(node_data, &self.clock);
        let Judged { decision, plan, plan_refusal } =
            judging::judge(&seen.evidence, &self.context, self.clock.now(), self.nonce)?;
        tracing::info!("{}", verdict::explain::explain(&decision));
        if let Some(why) = plan_refusal {
            tracing::warn!("no plan can be made: {why}");
        }
        let report = Report {
            evidence: seen.evidence,
            decision: Some(decision),
            plan: plan.clone(),
            nonce: self.nonce,
        };
        let answer = persist(0, || self.client.report(&report)).await;
        session.reported(plan);
        match answer {
            Err(error @ CallError::Refused { status, .. }) if status == reqwest::StatusCode::CONFLICT => {
                // The job went on while we looked, or an answer was lost and this was heard before.
                tracing::warn!("{error}; asking what is next");
                Ok(persist(0, || self.client.next()).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// The context may have changed since it was last heard; a service that hands it out only once is
    /// asked no further.
    async fn refresh_context(&mut self) -> anyhow::Result<()> {
        match persist(0, || self.client.context()).await {
            Ok(context) => {
                self.clock = Clock::service(context.now);
                self.context = context;
                Ok(())
            }
            Err(CallError::Refused { status, .. })
                if status == reqwest::StatusCode::NOT_FOUND || status == reqwest::StatusCode::FORBIDDEN =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks, after a burn-in where one is asked for.
    async fn look(&mut self) -> anyhow::Result<Look> {
        let minutes = self.context.node.burn_in_minutes;
        let looking = Looking {
            node: self.node,
            tier: if minutes.is_some() { Tier::T3 } else { Tier::T2 },
            trust: self.trust(),
            source: self.source.clone(),
            clock: self.clock,
        };
        let expected = self.context.node.expected_hardware.as_ref().map(|hardware| hardware.disks.clone());
        let source = self.source.clone();
        let broke_off = "looking at the machine broke off";
        tokio::task::spawn_blocking(move || {
            wait_for_disks(&source, &expected.unwrap_or_default());
            scsi_settle::wait(&source);
        })
        .await
        .context(broke_off)?;
        let burned_in = match minutes {
            Some(minutes) => self.burn_in(minutes).await?,
            None => Vec::new(),
        };
        let mut kernel_log = std::mem::take(&mut self.kernel_log);
        kernel_log.give(&self.context.policy);
        let (mut seen, kernel_log) = tokio::task::spawn_blocking(move || {
            let seen = look(&looking, &mut kernel_log);
            (seen, kernel_log)
        })
        .await
        .context(broke_off)?;
        self.kernel_log = kernel_log;
        seen.add(burned_in, &self.clock);
        Ok(seen)
    }

    /// Burns in, once: looking again after a disagreement is no reason to do it all over. What the service
    /// knows may have changed meanwhile.
    async fn burn_in(&mut self, minutes: u32) -> anyhow::Result<Vec<Found>> {
        if let Some((done, found)) = &self.burned_in
            && *done >= minutes
        {
            return Ok(found.clone());
        }
        let (source, interface) = (self.source.clone(), self.interface);
        let burn_in =
            burn_in::BurnIn { client: &self.client, source, context: &self.context, interface, minutes };
        let found = burn_in.run().await?;
        self.burned_in = Some((minutes, found.clone()));
        self.refresh_context().await?;
        Ok(found)
    }

    /// Turns order and plan into a permit and carries it out. What gives no permit is refused.
    async fn act(&mut self, order: &SignedOrder, plan: Plan) -> anyhow::Result<Instruction> {
        let source = self.source.clone();
        let present = tokio::task::spawn_blocking(move || disks::read(&source)).await?;
        let present: Vec<FoundDisk> = match present {
            Outcome::Value(disks) => disks,
            Outcome::Absent => Vec::new(),
            Outcome::Unreadable(why) => {
                return self.refuse(order, format!("the disks cannot be listed: {why}")).await;
            }
        };
        let facts: Vec<_> = present.iter().map(|disk| disk.facts.clone()).collect();
        let order_key = match order_key(&self.context) {
            Ok(key) => key,
            Err(error) => return self.refuse(order, format!("{error:#}")).await,
        };
        let expected = Expected {
            order_key,
            node: self.node,
            nonce: self.nonce,
            now: self.clock.now(),
            spent: &self.spent,
        };
        let permit = match Permit::grant(order, plan, &expected, &facts) {
            Ok(permit) => permit,
            Err(refusal) => return self.refuse(order, with_sources(&refusal)).await,
        };
        let clock = self.clock;
        let world = act::carry_out::World {
            service: self.client.clone(),
            disks: Arc::new(act::disk::MachineDisks::new(Arc::new(image::FoundDisks(present)))),
            clock: Arc::new(move || clock.now()),
            firmware: (inventory::firmware(&self.source) == Firmware::Uefi)
                .then(|| Variables::of(&self.source)),
        };
        let finish = act::carry_out::carry_out(permit, &world).await;
        self.finish(&finish).await
    }

    async fn refuse(&self, order: &SignedOrder, why: String) -> anyhow::Result<Instruction> {
        tracing::error!("order refused, nothing was written: {why}");
        // Whose order it is matters only for the report, so a payload that is not the service's is
        // read for its name and for nothing else.
        let named: Order = serde_json::from_str(&order.payload)
            .map_err(|_| anyhow::anyhow!("an order was refused that does not even have a name: {why}"))?;
        let result = FinishResult::Refused { error: why };
        self.finish(&Finish { order: named.id, result, steps: Vec::new() }).await
    }

    /// The end of an order is told until it is heard: until then the service holds the machine.
    async fn finish(&self, finish: &Finish) -> anyhow::Result<Instruction> {
        match &finish.result {
            FinishResult::Done => tracing::info!("the order is carried out and proven"),
            FinishResult::Failed { step, error } => tracing::error!("step {step} failed: {error}"),
            FinishResult::Refused { .. } => {}
        }
        Ok(persist(0, || self.client.finish(finish)).await?)
    }

    /// Jumps into the installed kernel. Returns only if that did not work.
    async fn jump(&self) -> anyhow::Result<()> {
        let (root, kind) = image::root_device(&self.client, &self.context, &self.source).await?;
        tokio::task::spawn_blocking(move || {
            act::kexec::load(&root, &kind)?;
            act::kexec::jump()
        })
        .await?
    }
}

fn order_key(context: &ContextReply) -> anyhow::Result<VerifyingKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(&context.order_key, &mut bytes)
        .context("the service's key of orders is malformed")?;
    VerifyingKey::from_bytes(&bytes).context("the service's key of orders is not a key")
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}

/// Waits until all disks that the machine had are there again, or the time is up; then what is missing
/// is missing.
fn wait_for_disks(source: &Source, expected: &[contract::id::DiskId]) {
    let begun = Instant::now();
    while begun.elapsed() < EXPECTED_DISKS_MAX {
        if let Outcome::Value(disks) = disks::list(source)
            && expected.iter().all(|id| disks.iter().any(|disk| disk.facts.id == *id))
        {
            return;
        }
        std::thread::sleep(EXPECTED_DISKS_POLL);
    }
    tracing::warn!("not all disks that this machine had appeared within {} s", EXPECTED_DISKS_MAX.as_secs());
}

fn say(instruction: &Instruction) {
    match instruction {
        Instruction::Wait { reason, .. } => tracing::info!("waiting: {reason}"),
        Instruction::Proceed { .. } => tracing::info!("got an order"),
        Instruction::BootLocal { reason, .. } => tracing::info!("booting the installed system: {reason}"),
        Instruction::LookAgain { reason } => tracing::info!("looking again: {reason}"),
        Instruction::EnterRamdisk { reason, .. } => tracing::info!("already in the ramdisk: {reason}"),
    }
}
