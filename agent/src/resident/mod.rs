//! The service of the running system: looks, reports what changes, obeys an order to go into the ramdisk.
//!
//! It never writes to a disk but its own state directory, and carries out no plan.

pub mod enter_ramdisk;
pub mod examine;
pub mod gpu_burn_in;
pub mod state;
mod system_boot;
mod watchdog;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use contract::agent_api::{ContextReply, Finish, FinishResult, Instruction, Report, ResidentIdentity};
use contract::id::{Digest, JobId};
use contract::order::{Order, SignedOrder};
use contract::reading::{Outcome, Tier};
use imaging::manifest::Manifest;
use sd_notify::NotifyState;

use self::examine::{Examination, digest, examine, judge, quick_digest};
use self::gpu_burn_in::BurnIn;
use self::state::State;
use self::system_boot::SystemBoot;
use self::watchdog::Watchdog;
use crate::clock::Clock;
use crate::node_partition;
use crate::probe::evidence::Found;
use crate::probe::kernel_log::KernelLog;
use crate::probe::source::Source;
use crate::probe::{disks, gpu_test, kernel};
use crate::service::client::{Client, persist};
use crate::service::trust::Pin;

/// Where the unit keeps its state.
pub const STATE_DIRECTORY: &str = "/var/lib/reprieve-agent";
/// However often it is told to look again, there is this much between two looks.
const LOOK_PAUSE: Duration = Duration::from_secs(3);
/// How often kernel log and disk health are looked at in between.
const QUICK_EVERY: Duration = Duration::from_secs(60);
/// How long to wait before asking again after a refusal that only a person can mend.
const REFUSED_PAUSE: Duration = Duration::from_secs(300);
/// How long an ordered reboot may take before it is asked for again.
const REBOOT_MAX: Duration = Duration::from_secs(180);

/// How the service runs.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Seconds between two looks.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    look_seconds: u64,
    /// Seconds after which a report is sent even if nothing has changed.
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(60..=604_800))]
    report_seconds: u64,
    /// Where to keep what is known.
    #[arg(long, value_name = "DIR", env = "STATE_DIRECTORY", default_value = STATE_DIRECTORY)]
    state: PathBuf,
}

/// Runs until it is stopped.
///
/// # Errors
/// When it cannot even begin.
pub fn run(options: &Options) -> anyhow::Result<()> {
    crate::start_log(false);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> anyhow::Result<()> {
    let source = Source::machine();
    let identity = {
        let source = source.clone();
        tokio::task::spawn_blocking(move || find_identity(&source)).await?
    };
    let identity = match identity {
        Outcome::Value(identity) => identity,
        Outcome::Absent => {
            let why = "this machine has no record of a service; it was not installed by one";
            tracing::warn!("{why}; nothing to do");
            notify(&[NotifyState::Ready, NotifyState::Status(why)]);
            // Ending would only have the service manager start it again.
            let _watchdog = Watchdog::start_idle();
            return std::future::pending().await;
        }
        Outcome::Unreadable(why) => anyhow::bail!("cannot find out who this machine is: {why}"),
    };
    tracing::info!("reprieve-agent {} watches node {}", crate::VERSION, identity.node);
    let pin = Pin::from_pem(&identity.ca_certificate)?;
    let client = Client::new(&identity.service_urls, pin, Some(identity.credential.clone()))?;
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).context("the kernel gives no random numbers")?;
    notify(&[NotifyState::Ready]);
    let state = State::open(&options.state)?;
    let kernel_log = state.kernel_log(kernel::boot_id(&source).0);
    let mut resident = Resident {
        client: Arc::new(client),
        identity,
        nonce: Digest(nonce),
        source,
        state,
        kernel_log,
        watchdog: Watchdog::start(),
        look_every: Duration::from_secs(options.look_seconds),
        report_every: Duration::from_secs(options.report_seconds),
        reported: None,
        boot: SystemBoot::default(),
        gpus: None,
    };
    resident.work().await
}

/// Reads who this machine is from its own partition.
fn find_identity(source: &Source) -> Outcome<ResidentIdentity> {
    match node_partition::find(&disks::list(source)) {
        Outcome::Value(partition) => partition.identity,
        Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why),
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot tell the service manager: {error}");
    }
}

struct Resident {
    client: Arc<Client>,
    identity: ResidentIdentity,
    nonce: Digest,
    source: Source,
    state: State,
    kernel_log: KernelLog,
    watchdog: Watchdog,
    look_every: Duration,
    report_every: Duration,
    /// What was last reported, and when.
    reported: Option<(Digest, Instant)>,
    /// How far this boot was shown.
    boot: SystemBoot,
    /// What was found in the GPUs, for which burn-in.
    gpus: Option<(JobId, Vec<Found>)>,
}

/// What to do after an instruction.
enum After {
    /// Look at once.
    Look,
    /// Ask what is next.
    Ask,
}

impl Resident {
    async fn work(&mut self) -> anyhow::Result<()> {
        loop {
            let looked_at = Instant::now();
            let mut instruction = self.look_and_report().await?;
            let before = self.quick().await?;
            let mut quick_at = Instant::now();
            while let After::Ask = self.obey(instruction).await? {
                if looked_at.elapsed() >= self.look_every {
                    break;
                }
                if quick_at.elapsed() >= QUICK_EVERY {
                    quick_at = Instant::now();
                    if self.quick().await? != before {
                        tracing::info!("the kernel log or a disk's health has changed");
                        break;
                    }
                }
                instruction = self.ask().await;
            }
            tokio::time::sleep(LOOK_PAUSE.saturating_sub(looked_at.elapsed())).await;
        }
    }

    /// Looks, and reports if something has changed or nothing was reported for long.
    async fn look_and_report(&mut self) -> anyhow::Result<Instruction> {
        self.watchdog.alive();
        let context = persist_alive(&self.watchdog, || self.client.context()).await;
        let context = match context {
            Ok(context) => {
                let context = self.boot.show(&self.source, &self.client, context).await;
                if let Err(error) = self.state.keep_context(&context) {
                    tracing::warn!("{error:#}");
                }
                context
            }
            Err(error) => {
                tracing::error!("{error}");
                self.watchdog.sleep(REFUSED_PAUSE).await;
                return Ok(look_again("the service refused"));
            }
        };
        let clock = Clock::service(context.now);
        let mut seen = self.examine(&context, clock).await?;
        if let (Some(_), Some((_, found))) = (context.node.burn_in_minutes, &self.gpus) {
            seen.add(found.clone(), &clock);
        }
        let digest = digest(&seen.evidence);
        let due = self
            .reported
            .is_none_or(|(reported, at)| reported != digest || at.elapsed() >= self.report_every);
        if !due {
            return Ok(Instruction::Wait { poll_after_millis: 0, reason: "nothing has changed".to_owned() });
        }
        let judged = judge(&seen, &context, &clock)?;
        let reason = judged.decision.reasons.first().map_or("", |finding| finding.statement.as_str());
        tracing::info!("reporting: {:?}: {reason}", judged.decision.action);
        let decision = Some(judged.decision);
        let report = Report { evidence: seen.evidence, decision, plan: None, nonce: self.nonce };
        match persist_alive(&self.watchdog, || self.client.report(&report)).await {
            Ok(instruction) => {
                self.reported = Some((digest, Instant::now()));
                Ok(instruction)
            }
            Err(error) => {
                tracing::error!("{error}");
                self.watchdog.sleep(REFUSED_PAUSE).await;
                Ok(look_again("the report was refused"))
            }
        }
    }

    /// The cheap part of a look.
    async fn quick(&mut self) -> anyhow::Result<Digest> {
        let source = self.source.clone();
        let mut kernel_log = std::mem::take(&mut self.kernel_log);
        let (digest, kernel_log) = tokio::task::spawn_blocking(move || {
            let digest = quick_digest(&source, &mut kernel_log);
            (digest, kernel_log)
        })
        .await
        .context("looking at the machine broke off")?;
        self.kernel_log = kernel_log;
        Ok(digest)
    }

    async fn examine(
        &mut self,
        context: &ContextReply,
        clock: Clock,
    ) -> anyhow::Result<crate::probe::evidence::Look> {
        let manifest = self.manifest(context).await.map_err(|error| format!("{error:#}"));
        let examination = Examination {
            node: self.identity.node,
            tier: Tier::T1,
            source: self.source.clone(),
            clock,
            manifest,
            state: self.state.clone(),
        };
        let mut kernel_log = std::mem::take(&mut self.kernel_log);
        kernel_log.give(&context.policy);
        let (seen, kernel_log) = tokio::task::spawn_blocking(move || {
            let seen = examine(&examination, &mut kernel_log);
            (seen, kernel_log)
        })
        .await
        .context("looking at the machine broke off")?;
        self.kernel_log = kernel_log;
        self.watchdog.alive();
        Ok(seen)
    }

    /// The manifest of the assigned image, kept or fetched.
    async fn manifest(&self, context: &ContextReply) -> anyhow::Result<Manifest> {
        let image = context.node.assignment.image.context("no image is assigned")?;
        let key = state::image_key(context)?;
        if let Some(kept) = self.state.manifest(image, &key) {
            return Ok(kept);
        }
        let sealed = self.client.sealed_manifest(image).await?;
        let manifest = imaging::signed::open(&sealed, &key, image)?;
        if let Err(error) = self.state.keep_manifest(&sealed) {
            tracing::warn!("{error:#}; `check` cannot compare files until this works");
        }
        Ok(manifest)
    }

    /// Asks what is next. A service that cannot answer is a reason to wait, not to end.
    async fn ask(&mut self) -> Instruction {
        match persist_alive(&self.watchdog, || self.client.next()).await {
            Ok(instruction) => instruction,
            Err(error) => {
                tracing::error!("{error}");
                self.watchdog.sleep(REFUSED_PAUSE).await;
                look_again("the service refused")
            }
        }
    }

    async fn obey(&mut self, instruction: Instruction) -> anyhow::Result<After> {
        self.watchdog.alive();
        match instruction {
            Instruction::Wait { poll_after_millis, .. } => {
                self.watchdog.sleep(Duration::from_millis(poll_after_millis).min(REFUSED_PAUSE)).await;
                Ok(After::Ask)
            }
            Instruction::LookAgain { reason } => {
                tracing::info!("looking again: {reason}");
                // Whoever asks wants an answer, changed or not.
                self.reported = None;
                Ok(After::Look)
            }
            Instruction::BootLocal { .. } => Ok(After::Ask),
            Instruction::EnterRamdisk { job, .. } if self.finds_more_of_gpus(job).await? => {
                // The ramdisk would not see it, so it is reported first.
                self.reported = None;
                Ok(After::Look)
            }
            Instruction::EnterRamdisk { job, reason } => {
                tracing::info!("going into the ramdisk for job {job}: {reason}");
                let source = self.source.clone();
                tokio::task::spawn_blocking(move || enter_ramdisk::enter(&source)).await??;
                notify(&[NotifyState::Status("rebooting into the ramdisk")]);
                // Normally the reboot ends this. If it does not come, it is asked for again.
                self.watchdog.sleep(REBOOT_MAX).await;
                Ok(After::Ask)
            }
            Instruction::Proceed { order } => {
                self.refuse(&order).await;
                Ok(After::Ask)
            }
        }
    }

    /// Works the GPUs once for each burn-in, before the node goes into the ramdisk for it; says whether that found
    /// anything. A service that does not say what it wants gets no GPUs worked: the burn-in says that too.
    async fn finds_more_of_gpus(&mut self, job: JobId) -> anyhow::Result<bool> {
        if self.gpus.as_ref().is_some_and(|(known, _)| *known == job) {
            return Ok(false);
        }
        let minutes = match persist_alive(&self.watchdog, || self.client.context()).await {
            Ok(context) => context.node.burn_in_minutes,
            Err(error) => {
                tracing::warn!("{error}; going into the ramdisk without working the GPUs");
                None
            }
        };
        let Some(minutes) = minutes else { return Ok(false) };
        let (source, state) = (self.source.clone(), self.state.clone());
        notify(&[NotifyState::Status("working the GPUs, for a burn-in")]);
        let found = tokio::task::spawn_blocking(move || {
            let burn_in = BurnIn { job, minutes, boot: kernel::boot_id(&source).0 };
            gpu_burn_in::found(&source, &state, burn_in, &gpu_test::read)
        })
        .await
        .context("working the GPUs broke off")?;
        self.watchdog.alive();
        let is_any = !found.is_empty();
        self.gpus = Some((job, found));
        Ok(is_any)
    }

    /// Nothing is ever carried out in a running system.
    async fn refuse(&self, order: &SignedOrder) {
        let why = "the running system carries out no orders; send it into the ramdisk".to_owned();
        tracing::error!("{why}");
        let Ok(named) = serde_json::from_str::<Order>(&order.payload) else { return };
        let finish =
            Finish { order: named.id, result: FinishResult::Refused { error: why }, steps: Vec::new() };
        if let Err(error) = self.client.finish(&finish).await {
            tracing::warn!("{error}");
        }
    }
}

fn look_again(reason: &str) -> Instruction {
    Instruction::LookAgain { reason: reason.to_owned() }
}

/// As [`persist`] without limit; waiting for the service is life.
async fn persist_alive<T, F>(
    watchdog: &Watchdog,
    mut attempt: impl FnMut() -> F,
) -> Result<T, crate::service::client::CallError>
where
    F: Future<Output = Result<T, crate::service::client::CallError>>,
{
    persist(0, || {
        watchdog.alive();
        attempt()
    })
    .await
}
