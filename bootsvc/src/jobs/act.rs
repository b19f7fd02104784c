//! Destructive work under an order: a step's intent is durable before its first byte is written, and
//! only what is reported proven ends it.

use contract::agent_api::{Begin, Finish, FinishResult, Instruction, Progress, ResidentIdentity};
use contract::assignment::UnfinishedWork;
use contract::id::OrderId;
use contract::operator_api::{ErrorKind, JobState};
use contract::plan::{BootMethod, EraseMethod, Plan, Step};
use verdict::plan::{PlanRefusal, left_behind, on_hold, waits_until};
use verdict::policy::written;

use crate::bearer;
use crate::http::endpoints::Endpoints;
use crate::jobs::change::Change;
use crate::jobs::next::wait;
use crate::jobs::owner::{owner_after, owner_begun, writes_image};
use crate::jobs::{empty, history, state, validation, windows};
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::orders::OrderRow;
use crate::store::sessions::SessionRow;

/// How many credentials one job may give out.
const CREDENTIALS_MAX: u64 = 10;
/// How long the words in a step's proof may be in all, in bytes.
const STEPS_BYTES_MAX: usize = 4 << 20;

impl Service {
    /// The order with this id, if it was given to this session.
    async fn order_of(
        &self,
        change: &mut Change<'_>,
        session: &SessionRow,
        id: OrderId,
    ) -> Result<OrderRow, Refusal> {
        let order = store::orders::by_id(&mut change.transaction, id).await?;
        order.filter(|order| order.session == session.hash && order.node == session.node).ok_or_else(|| {
            Refusal::not_found(format!("order {id} was not given to this machine"), "report again")
        })
    }

    /// Records that a step is about to do what cannot be undone. Durable when this returns.
    ///
    /// # Errors
    /// If the order has ended or lapsed, the node was held or protected meanwhile, a hold of the policy is on
    /// it, its window has closed, or it is not this step's turn. Nothing may be written then.
    pub async fn begin(&self, session: &SessionRow, begin: &Begin) -> Result<(), Refusal> {
        let mut change = self.change(session.node).await?;
        let order = self.order_of(&mut change, session, begin.order).await?;
        let now = change.now;
        let refuse = |why: &str| {
            Refusal::conflict(format!("order {}: {why}; nothing may be written", order.id), "report again")
        };
        if order.ended_at.is_some() || change.job()?.order != Some(order.id) {
            return Err(refuse("it has ended"));
        }
        // An order that was begun in time is carried to its end, however long its first steps took.
        let begun = store::orders::begun_steps(&mut change.transaction, order.id).await?;
        if order.expires_at <= now && begun == 0 {
            return Err(refuse("it has lapsed"));
        }
        if change.node.unfinished.is_none() && (change.node.protected || change.node.hold_reason.is_some()) {
            return Err(refuse("the node was protected or held meanwhile"));
        }
        let (node, job) = (change.node.clone(), change.job.clone());
        let context = self.context_of(&mut change.transaction, &node, job.as_ref()).await?;
        // Unlike protection, a hold stops work that was begun too: what is left is what somebody wants.
        let in_force = self.policies.of(&context.assignment.pool);
        if let Some(hold) = on_hold(&context, &in_force.policy, now) {
            return Err(refuse(&PlanRefusal::OnHold { hold }.to_string()));
        }
        if let Some(opens_at) = waits_until(&context, &in_force.policy, now) {
            // The window has closed since the order was signed: the work waits for the next one.
            store::orders::end(&mut change.transaction, order.id, now).await?;
            windows::wait_for_window(&mut change, opens_at)?;
            change.commit().await?;
            return Err(refuse(&PlanRefusal::OutsideWindow { opens_at: written(opens_at) }.to_string()));
        }
        let steps = u32::try_from(order.plan.steps.len()).unwrap_or(u32::MAX);
        change.take(|job| state::begin(job, begin.step, steps))?;
        store::orders::begin_step(&mut change.transaction, order.id, begin.step, now).await?;
        let known = change
            .node
            .unfinished
            .as_ref()
            .is_some_and(|work| work.job == order.job && work.plan == order.plan);
        if !known {
            if let Some(disk) = left_behind(&context, &order.plan) {
                return Err(refuse(&PlanRefusal::KeptElsewhere { disk: disk.clone() }.to_string()));
            }
            change.node.unfinished =
                Some(UnfinishedWork { job: order.job, begun_at: now, plan: order.plan.clone() });
        }
        let step = usize::try_from(begin.step).ok().and_then(|step| order.plan.steps.get(step));
        if step.is_some_and(crate::node_data::touches_seed) {
            store::node_data::set_written(&mut change.transaction, order.node, None).await?;
        }
        if let Some(Step::WriteImage { image, .. }) = step {
            let tenant = change.node.assignment.tenant.clone();
            history::writing(&mut change.node.images, *image, tenant, order.job, now);
            change.node.system_line = None;
        }
        if matches!(step, Some(Step::WriteImage { .. } | Step::WriteDataImage { .. })) {
            change.node.data_owner =
                owner_begun(&change.node.data_owner, &order.plan, change.node.assignment.tenant.as_ref());
        }
        change.note(format!(
            "step {} of {steps} begins: {}",
            begin.step + 1,
            step_name(&order.plan, begin.step)
        ));
        change.commit().await?;
        Ok(())
    }

    /// How an order ended.
    ///
    /// # Errors
    /// If the order was not given to this session. An end that was reported before is answered again.
    pub async fn finish(&self, session: &SessionRow, finish: Finish) -> Result<Instruction, Refusal> {
        let size = serde_json::to_vec(&finish.steps).map_or(usize::MAX, |bytes| bytes.len());
        if size > STEPS_BYTES_MAX {
            return Err(Refusal::bad_request("the steps' results are too long", "shorten the proofs"));
        }
        let mut change = self.change(session.node).await?;
        let order = match (self.order_of(&mut change, session, finish.order).await, &finish.result) {
            (Err(Refusal { kind: ErrorKind::NotFound, .. }), FinishResult::Refused { error }) => {
                return foreign_order(change, session, finish.order, error).await;
            }
            (order, _) => order?,
        };
        if order.ended_at.is_some() {
            drop(change);
            return self.next_of_ramdisk(session).await;
        }
        let now = change.now;
        store::orders::end(&mut change.transaction, order.id, now).await?;
        change.job()?.steps = finish.steps.clone();
        let instruction = match &finish.result {
            FinishResult::Done => self.finish_done(&mut change, &order, &finish).await?,
            FinishResult::Failed { step, error } => {
                self.certify_before_failure(&mut change, &order, &finish, *step).await?;
                held(&mut change, &format!("step {} failed: {}", step.saturating_add(1), short(error)))?
            }
            FinishResult::Refused { error } => {
                held(&mut change, &format!("the agent refused the order: {}", short(error)))?
            }
        };
        change.commit().await?;
        Ok(instruction)
    }

    async fn finish_done(
        &self,
        change: &mut Change<'_>,
        order: &OrderRow,
        finish: &Finish,
    ) -> Result<Instruction, Refusal> {
        if let Err(missing) = check_proofs(&order.plan, finish) {
            return held(change, &format!("the work was reported done, but {missing}"));
        }
        let begun = store::orders::begun_steps(&mut change.transaction, order.id).await?;
        if begun != order.plan.steps.len() as u64 {
            return held(change, "the work was reported done, but not every step was begun");
        }
        if let Err(why) = self.certify(change, order, finish).await? {
            return held(change, &format!("the work was reported done, but cannot be certified: {why}"));
        }
        if empty::leaves_empty(&order.plan) {
            return empty::end(change, order).await;
        }
        change.take(state::come_up)?;
        let now = change.now;
        change.node.unfinished = None;
        if let Some(written) = crate::node_data::written_by(&order.plan) {
            store::node_data::set_written(&mut change.transaction, order.node, Some(written)).await?;
        }
        history::proven(&mut change.node.images, order.job, now);
        change.node.data_owner =
            owner_after(&change.node.data_owner, &order.plan, change.node.assignment.tenant.as_ref());
        if writes_image(&order.plan).is_some() {
            store::sessions::revoke_older_credentials(&mut change.transaction, order.node, order.job, now)
                .await?;
        }
        change.note("all steps are proven; the installed system comes up");
        validation::without_agent(change).await?;
        Ok(Instruction::BootLocal {
            reason: "all steps are proven".to_owned(),
            kexec: order.plan.boot == BootMethod::Kexec,
        })
    }

    /// How far the work is. Kept only while it lasts.
    ///
    /// # Errors
    /// If the session has no open job.
    pub async fn progress(&self, session: &SessionRow, progress: Progress) -> Result<(), Refusal> {
        if progress.phase.len() > 64 {
            return Err(Refusal::bad_request("the phase is longer than 64 bytes", "name it in a word"));
        }
        let mut reading = self.store.read().await?;
        let job = store::jobs::open_of(&mut reading, session.node).await?;
        let job = job.ok_or_else(|| Refusal::conflict("the node has no open job", "ask what to do next"))?;
        drop(reading);
        self.live.set_progress(session.node, job.id, progress);
        self.keep_session(session, &job.state, crate::clock::now()).await
    }

    /// A credential for the system that is being installed. Earlier ones end when the work is proven.
    ///
    /// # Errors
    /// Unless the session has an order that writes an image.
    pub async fn credential(
        &self,
        session: &SessionRow,
        endpoints: &Endpoints,
    ) -> Result<ResidentIdentity, Refusal> {
        let mut change = self.change(session.node).await?;
        let refuse = || {
            Refusal::conflict(
                "this session has no order that writes an image",
                "report and get an order first",
            )
        };
        let job = change.job()?;
        if !matches!(job.state, JobState::Ordered | JobState::Acting { .. }) {
            return Err(refuse());
        }
        let (job, order) = (job.id, job.order.ok_or_else(refuse)?);
        let order = self.order_of(&mut change, session, order).await?;
        let image = writes_image(&order.plan).filter(|_| order.ended_at.is_none()).ok_or_else(refuse)?;
        if store::sessions::credentials_of_job(&mut change.transaction, job).await? >= CREDENTIALS_MAX {
            return Err(Refusal::conflict(
                "this job has given out too many credentials",
                "look at the agent's log",
            ));
        }
        let credential = bearer::mint()?;
        let now = change.now;
        store::sessions::insert_credential(
            &mut change.transaction,
            bearer::hash(credential.reveal()),
            session.node,
            job,
            now,
        )
        .await?;
        change.note("a credential for the installed system was given out");
        change.commit().await?;
        Ok(ResidentIdentity {
            node: session.node,
            service_urls: endpoints.api_urls.clone(),
            ca_certificate: self.authority.ca_pem.clone(),
            credential,
            image,
        })
    }
}

/// A machine has refused an order that this service did not give to it in this boot. Nobody else gives
/// orders, so a person has to look; the order that it should have got ends with that.
async fn foreign_order(
    mut change: Change<'_>,
    session: &SessionRow,
    order: OrderId,
    error: &str,
) -> Result<Instruction, Refusal> {
    change.job()?;
    let now = change.now;
    if let Some(own) = store::orders::by_nonce(&mut change.transaction, session.nonce).await? {
        store::orders::end(&mut change.transaction, own.id, now).await?;
    }
    let reason = format!(
        "the agent refused order {order}, which this service did not give to it in this boot; find out who stands between this machine and the service: {}",
        short(error)
    );
    let instruction = held(&mut change, &reason)?;
    change.commit().await?;
    Ok(instruction)
}

fn held(change: &mut Change<'_>, reason: &str) -> Result<Instruction, Refusal> {
    change.hold(reason)?;
    Ok(wait(format!("held: {reason}")))
}

fn short(error: &str) -> String {
    error.chars().take(1000).collect()
}

fn step_name(plan: &Plan, step: u32) -> String {
    let step = usize::try_from(step).ok().and_then(|step| plan.steps.get(step));
    match step {
        Some(Step::Erase { disk, method: EraseMethod::NvmeFoundClean, .. }) => {
            format!("prove {} clean, which says that it is already; nothing is erased", disk.id)
        }
        Some(Step::Erase { disk, method, .. }) => format!("erase {} ({method:?})", disk.id),
        Some(Step::WriteImage { disk, image, keep, .. }) if keep.is_empty() => {
            format!("write image {image} to {}", disk.id)
        }
        Some(Step::WriteImage { disk, image, keep, .. }) => {
            let kept: Vec<String> = keep.iter().map(ToString::to_string).collect();
            format!("write image {image} to {} and keep {}", disk.id, kept.join(", "))
        }
        Some(Step::WriteDataImage { disk, image, .. }) => format!("write data image {image} to {}", disk.id),
        Some(Step::RepairPartitions { disk, partitions, .. }) => {
            format!("repair {} partitions on {}", partitions.len(), disk.id)
        }
        Some(Step::WriteSeed { disk, .. }) => format!("write the node's data to {}", disk.id),
        Some(Step::RepairFiles { disk, paths, remove, .. }) if remove.is_empty() => {
            format!("repair {} files on {}", paths.len(), disk.id)
        }
        Some(Step::RepairFiles { disk, paths, remove, .. }) => {
            format!("repair {} files on {} and take {} away", paths.len(), disk.id, remove.len())
        }
        None => "a step that the plan does not have".to_owned(),
    }
}

/// "Done" needs a result with a proof for every step, and an erase record for every erasure.
fn check_proofs(plan: &Plan, finish: &Finish) -> Result<(), String> {
    for (at, step) in plan.steps.iter().enumerate() {
        let result = finish.steps.iter().find(|result| usize::try_from(result.step).ok() == Some(at));
        let Some(result) = result.filter(|result| !result.proof.is_empty()) else {
            return Err(format!("step {} has no proof", at + 1));
        };
        let recorded = result.erase_record.as_ref().is_some_and(|record| {
            serde_json::from_str::<serde_json::Value>(record).is_ok_and(|value| value.is_object())
        });
        if matches!(step, Step::Erase { .. }) && !recorded {
            return Err(format!("step {} has no erase record", at + 1));
        }
    }
    if finish.steps.len() != plan.steps.len() {
        return Err("it has results for steps that the plan does not have".to_owned());
    }
    Ok(())
}
