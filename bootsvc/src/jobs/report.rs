//! Evidence arrives. The service judges it again with its own facts and signs only what it finds
//! itself.

use std::sync::Arc;

use contract::agent_api::{Instruction, Report};
use contract::decision::{Action, Decision};
use contract::evidence::Evidence;
use contract::id::{ImageId, JobId, NodeId, OrderId};
use contract::operator_api::JobState;
use contract::order::{Order, SignedOrder};
use contract::plan::{BootMethod, Plan};
use contract::reading::{ReadingKey, ReadingValue};
use verdict::plan::waits_until;

use crate::attestation::BootFacts;
use crate::attestation::system::Speaker;
use crate::bearer;
use crate::command_lines;
use crate::jobs::blast_radius::Passage;
use crate::jobs::change::Change;
use crate::jobs::claims::{check_claims, check_new};
use crate::jobs::next::{wait, watch_on};
use crate::jobs::validation::{FirstReport, first_report, record_good};
use crate::jobs::{Caller, burn_in, gates, state, windows};
use crate::judging;
use crate::peers;
use crate::policies::InForce;
use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;
use crate::store::orders::OrderRow;
use crate::store::sessions::SessionRow;

/// How long an order is good for.
const ORDER_MILLIS: u64 = 2 * 3_600_000;
/// How often agent and service may judge differently before the node is held. Once can be a fact that
/// changed between looking and reporting.
const DISAGREEMENTS_MAX: u32 = 1;

impl Service {
    /// Takes a report and says what to do.
    ///
    /// # Errors
    /// If the report is not about the caller, or claims more trust than the caller has.
    pub async fn report(&self, caller: &Caller, report: Report) -> Result<Instruction, Refusal> {
        let mut reading = self.store.read().await?;
        let most = self.most_trust(&node_by_id(&mut reading, caller.node()).await?, caller);
        drop(reading);
        check_claims(caller, most, &report)?;
        match caller {
            Caller::Ramdisk(session) => {
                self.live.ramdisk_spoke(session.node);
                // A job that has appeared since the machine enrolled is worked for from here on.
                let ahead = self.next_of_ramdisk(session).await?;
                match ahead {
                    Instruction::LookAgain { .. }
                    | Instruction::Wait { .. }
                    | Instruction::Proceed { .. } => {}
                    Instruction::BootLocal { .. } | Instruction::EnterRamdisk { .. } => return Ok(ahead),
                }
                self.report_of_ramdisk(session, report).await
            }
            Caller::Resident { node, job } => {
                self.live.resident_spoke(*node);
                self.report_of_resident((*node, *job), report).await
            }
        }
    }

    async fn report_of_ramdisk(&self, session: &SessionRow, report: Report) -> Result<Instruction, Refusal> {
        let mut change = self.change(session.node).await?;
        check_new(&mut change, &report.evidence).await?;
        take_inventory(&mut change, &report.evidence).await?;
        let boot = change.node.boot.facts_in(session.hash, self.key_demanded(&change.node));
        let judged = self.judge_again(&mut change, &report, boot).await?;
        let instruction = match change.job.as_ref().map(|job| job.state.clone()) {
            None => wait("waits to be approved and given something to do"),
            Some(JobState::Held { reason }) => wait(format!("held: {reason}")),
            Some(JobState::Looking) if !judged.agreed => disagree(&mut change)?,
            Some(JobState::Looking) => self.decide(&mut change, session, &report, &judged).await?,
            Some(JobState::Ordered) => self.repeat_order(&mut change, session, &report).await?,
            Some(other) => {
                return Err(Refusal::conflict(
                    format!("the job is {}; a report is not wanted now", state::name(&other)),
                    "ask what to do next",
                ));
            }
        };
        change.commit().await?;
        Ok(instruction)
    }

    /// Judges with the service's own facts and records evidence and decision.
    async fn judge_again(
        &self,
        change: &mut Change<'_>,
        report: &Report,
        boot: BootFacts,
    ) -> Result<Judged, Refusal> {
        let (node, job) = (change.node.clone(), change.job.clone());
        let (mut context, repeated) =
            self.facts_for(&mut change.transaction, &node, job.as_ref(), report.evidence.id).await?;
        if !repeated {
            boot.tell(&mut context);
            peers::as_told(change, &mut context, report.evidence.trust).await?;
            crate::bmc::as_told(change, &mut context, report.evidence.trust).await?;
        }
        let at = judging::time_of(report.decision.as_ref(), change.now);
        let in_force = self.policies.of(&context.assignment.pool);
        let decision =
            judging::judge(&report.evidence, &context, &in_force.policy, &self.models.current().model, at);
        let agreed = report.decision.as_ref().is_some_and(|theirs| judging::same(&decision, theirs));
        let job = change.job.as_ref().map(|job| job.id);
        let now = change.now;
        store::evidence::record(
            &mut change.transaction,
            &report.evidence,
            job,
            Some((&decision, &context)),
            now,
        )
        .await?;
        if !repeated {
            self.learn_baselines(change, &report.evidence, &decision).await?;
            peers::learn(change, &report.evidence, &context, &decision).await?;
            if decision.action != Action::Quarantine {
                self.settle_earlier(change, &decision).await?;
            }
        }
        change.node.last_action = Some(decision.action);
        change.node.last_decided_at = Some(decision.decided_at);
        if change.job.is_some() {
            change.note(format!("judged: {}", summary(&decision)));
        }
        Ok(Judged { decision, context, in_force, agreed })
    }

    /// What follows from a decision that agent and service made alike.
    async fn decide(
        &self,
        change: &mut Change<'_>,
        session: &SessionRow,
        report: &Report,
        judged: &Judged,
    ) -> Result<Instruction, Refusal> {
        let (decision, context, policy) = (&judged.decision, &judged.context, &judged.in_force.policy);
        if burn_in::is_done(change, decision) {
            return burn_in::end(change, decision, policy);
        }
        match decision.action {
            Action::Keep if change.node.unfinished.is_some() => {
                hold(change, "writing was begun and never proven, yet the verdict is keep; look at the disk")
            }
            Action::Keep => {
                change.job()?.verdict = Some(decision.evidence);
                change.take(state::keep)?;
                change.note("nothing was written");
                let kexec = policy.boot_method() == BootMethod::Kexec;
                Ok(Instruction::BootLocal { reason: summary(decision), kexec })
            }
            Action::Quarantine if gates::only_forbids(decision) => {
                // Nothing is wrong with the machine: it is not entered as taken out, and counts for nothing.
                let beside = gates::beside(decision).map(|more| format!("; {}", more.statement));
                let found = format!("{}{}", summary(decision), beside.unwrap_or_default());
                hold(change, &format!("quarantine: {found}"))
            }
            Action::Quarantine => {
                let found = format!("quarantine: {}", summary(decision));
                match self.passage(change, decision, policy).await? {
                    Passage::Free => {
                        // Only what was seen from outside, and not at many others too, says that it failed.
                        self.settle_earlier(change, decision).await?;
                        self.enter_quarantine(change, decision).await?;
                        hold(change, &found)
                    }
                    Passage::Held { incident, reason } => {
                        self.hold_for(change, incident, &format!("{found}. {reason}")).await?;
                        Ok(held(change))
                    }
                }
            }
            Action::LookDeeper => {
                hold(change, &format!("even the ramdisk could not see enough: {}", summary(decision)))
            }
            Action::Repair | Action::Reimage | Action::Wipe if change.node.protected => hold(
                change,
                "the node is protected, and the verdict would change its disks; take the protection off first",
            ),
            Action::Repair | Action::Reimage | Action::Wipe => {
                // At the time of the verdict, as the agent made its plan, and now.
                let waits = [decision.decided_at, change.now]
                    .into_iter()
                    .find_map(|time| waits_until(context, policy, time));
                if let Some(opens_at) = waits {
                    windows::wait_for_window(change, opens_at)?;
                    return Ok(held(change));
                }
                if let Passage::Held { incident, reason } = self.passage(change, decision, policy).await? {
                    self.hold_for(change, incident, &reason).await?;
                    return Ok(held(change));
                }
                match judging::plan(decision, &report.evidence, context, policy, report.nonce) {
                    Err(refusal) => hold(change, &format!("no plan can be made: {refusal}")),
                    Ok(None) => hold(change, "the verdict changes disks, but there is no plan for it"),
                    Ok(Some(plan)) => self.sign(change, session, report, plan).await,
                }
            }
        }
    }

    /// Signs an order for exactly the plan that both made.
    async fn sign(
        &self,
        change: &mut Change<'_>,
        session: &SessionRow,
        report: &Report,
        plan: Plan,
    ) -> Result<Instruction, Refusal> {
        let digest = plan.digest().map_err(Refusal::internal)?;
        let theirs = report.plan.as_ref().and_then(|plan| plan.digest().ok());
        if theirs != Some(digest) {
            return disagree(change);
        }
        let now = change.now;
        let job = change.job()?.id;
        let order = Order {
            id: OrderId(bearer::new_uuid()),
            job,
            node: session.node,
            plan: digest,
            disks: plan.disks(),
            nonce: session.nonce,
            issued_at: now,
            expires_at: now.plus_millis(ORDER_MILLIS),
        };
        let signed = SignedOrder::sign(&order, &self.authority.order_key).map_err(Refusal::internal)?;
        let row = OrderRow {
            id: order.id,
            job,
            node: order.node,
            session: session.hash,
            nonce: order.nonce,
            plan_digest: digest,
            plan,
            signed: signed.clone(),
            issued_at: now,
            expires_at: order.expires_at,
            ended_at: None,
        };
        store::orders::insert(&mut change.transaction, &row).await?;
        change.take(state::order)?;
        let record = change.job()?;
        record.order = Some(order.id);
        record.action = Some(row.plan.action);
        record.verdict = Some(row.plan.evidence);
        let disks = order.disks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        change.note(format!("order {} is signed: {} steps on {disks}", order.id, row.plan.steps.len()));
        Ok(Instruction::Proceed { order: signed })
    }

    /// The answer with the order was lost: the same order again, never another one.
    async fn repeat_order(
        &self,
        change: &mut Change<'_>,
        session: &SessionRow,
        report: &Report,
    ) -> Result<Instruction, Refusal> {
        let order = store::orders::by_nonce(&mut change.transaction, session.nonce).await?;
        let theirs = report.plan.as_ref().and_then(|plan| plan.digest().ok());
        match order {
            Some(order) if order.ended_at.is_none() && theirs == Some(order.plan_digest) => {
                Ok(Instruction::Proceed { order: order.signed })
            }
            _ => hold(change, "the machine reported again after its order was signed, with another plan"),
        }
    }

    async fn report_of_resident(
        &self,
        (node, credential_of): (NodeId, JobId),
        report: Report,
    ) -> Result<Instruction, Refusal> {
        let mut change = self.change(node).await?;
        check_new(&mut change, &report.evidence).await?;
        change.node.last_seen = change.now;
        if change.node.inventory.is_none() {
            change.node.inventory = Some(report.evidence.inventory.clone());
        }
        let (images, boot) = (change.node.images.clone(), Some(report.evidence.boot_id));
        let speaker = Speaker { job: credential_of, boot, images: &images, now: change.now };
        let boot = self.facts_of_system(&change.node, speaker);
        let judged = self.judge_again(&mut change, &report, boot).await?;
        command_lines::reported(&mut change.node, &report.evidence);
        self.notice(&mut change, &judged.decision, &judged.in_force.policy).await?;
        burn_in::take_gpu_tests(&mut change, &report.evidence);
        let instruction = match change.job.as_ref().map(|job| (job.id, job.state.clone())) {
            Some((job, JobState::ComingUp)) => {
                let (installed, words) = (installed_image(&report.evidence), summary(&judged.decision));
                let as_asked = first_report(change.node.assignment.image, installed, &judged.decision);
                if as_asked == FirstReport::AsAsked && job == credential_of {
                    let demanded = self.key_demanded(&change.node);
                    if change.node.boot.record_first_use(speaker, demanded) {
                        change.note("how the installed system boots was recorded, for its image");
                    }
                }
                self.validate(&mut change, installed, &judged.decision, &words).await?;
                let wants_ramdisk = state::wants_ramdisk(&change.job()?.state);
                if wants_ramdisk { enter_ramdisk(job) } else { watch_on() }
            }
            Some((job, open)) if state::wants_ramdisk(&open) => enter_ramdisk(job),
            Some(_) => watch_on(),
            None => {
                let installed = installed_image(&report.evidence);
                let first = first_report(change.node.assignment.image, installed, &judged.decision);
                if first == FirstReport::AsAsked {
                    let now = change.now;
                    record_good(&mut change, now);
                }
                watch_on()
            }
        };
        change.commit().await?;
        self.live.resident_looked(node, report.evidence);
        Ok(instruction)
    }
}

fn enter_ramdisk(job: JobId) -> Instruction {
    Instruction::EnterRamdisk { job, reason: format!("job {job} wants a look from outside") }
}

/// What the service made of a report.
struct Judged {
    decision: Decision,
    context: contract::assignment::NodeContext,
    /// The policy that it was judged with; the plan is made with the same, whatever is read meanwhile.
    in_force: Arc<InForce>,
    /// The agent made the same of it, byte for byte.
    agreed: bool,
}

/// The first reason and the action, for events and reasons.
fn summary(decision: &Decision) -> String {
    let because = decision.reasons.first().map_or("no reason given", |finding| finding.statement.as_str());
    format!("{:?}: {because}", decision.action).to_lowercase().chars().take(500).collect()
}

fn hold(change: &mut Change<'_>, reason: &str) -> Result<Instruction, Refusal> {
    change.hold(reason)?;
    Ok(wait(format!("held: {reason}")))
}

/// What a node that was just held is told.
fn held(change: &Change<'_>) -> Instruction {
    wait(format!("held: {}", change.node.hold_reason.as_deref().unwrap_or_default()))
}

/// Agent and service do not agree. Once, the agent may look again with fresh facts.
fn disagree(change: &mut Change<'_>) -> Result<Instruction, Refusal> {
    let job = change.job()?;
    if job.disagreements < DISAGREEMENTS_MAX {
        job.disagreements += 1;
        change.note("agent and service judged differently; the agent looks again with fresh facts");
        return Ok(Instruction::LookAgain {
            reason: "fetch the facts again: agent and service judged differently".to_owned(),
        });
    }
    hold(
        change,
        "agent and service judge differently; nothing was written. Compare their versions and policies",
    )
}

/// What a ramdisk saw of the machine. A known SMBIOS UUID is never replaced.
async fn take_inventory(change: &mut Change<'_>, evidence: &Evidence) -> Result<(), Refusal> {
    let inventory = &evidence.inventory;
    if let Some(uuid) = inventory.system_uuid.value() {
        change.node.system_uuid.get_or_insert(*uuid);
    }
    if let Some(serial) = inventory.serial.value() {
        change.node.serial = Some(serial.clone());
    }
    let macs: Vec<_> = inventory.nics.value().into_iter().flatten().map(|nic| nic.mac).collect();
    let Change { transaction, node, .. } = change;
    store::nodes::add_macs(transaction, node, &macs).await?;
    change.node.inventory = Some(inventory.clone());
    change.node.last_seen = change.now;
    Ok(())
}

/// The image that the running system says it carries.
fn installed_image(evidence: &Evidence) -> Option<ImageId> {
    evidence.readings.iter().filter(|reading| reading.key == ReadingKey::ImageInstalled).find_map(|reading| {
        match reading.outcome.value() {
            Some(ReadingValue::Text(text)) => text.parse().ok(),
            _ => None,
        }
    })
}
