//! The ledger: each verdict that decided something, what it took, what wiping would have cost, and what became
//! of it. The formula is in `verdict::savings`; here it is entered, settled and added up.
//!
//! Entered are verdicts that somebody waited for: of a job that has ended, of a node that was taken out, and of
//! a request that the running system could answer (at most one a day for a node, however often somebody asks).
//! What a running system reports by itself decides nothing and is not entered, so it cannot save anything.
//!
//! | what becomes of it | when |
//! |---|---|
//! | failed | before it is due, a later verdict takes the node out, or the same has to be put right again |
//! | held | a verdict after it is due finds nothing against the hardware; silence proves nothing |
//! | fine, confirmed | a person says so of what was taken out (`reprieve outcome`) |
//! | failed | a person says so |

mod outcome;
mod report;

pub(crate) use report::LISTED_MAX;

use contract::agent_api::StepResult;
use contract::decision::{Action, Axis, Decision};
use contract::id::{DiskId, JobId, UnixMillis};
use contract::inventory::Inventory;
use contract::ledger::{Aftermath, LedgerEntry};
use contract::operator_api::JobState;
use contract::plan::Plan;
use contract::reading::Subject;
use verdict::savings;

use crate::jobs::change::Change;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::jobs::JobRecord;

const DAY_MILLIS: u64 = 86_400_000;

impl Service {
    /// Enters the verdict of a job that ends with this change.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn enter_ended(
        &self,
        connection: &mut sqlx::AnyConnection,
        job: &JobRecord,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        let Some(verdict) = job.verdict else { return Ok(()) };
        let (action, aftermath) = match &job.state {
            JobState::Done { action } => (*action, Aftermath::Pending),
            JobState::RolledBack { reason } => {
                let failed = Aftermath::Failed { subject: Subject::Image, because: reason.clone(), by: None };
                (job.action.unwrap_or(Action::Reimage), failed)
            }
            _ => return Ok(()),
        };
        let Some(judged) = store::evidence::judged(connection, verdict).await? else { return Ok(()) };
        let plan = match job.order {
            Some(order) => store::orders::by_id(connection, order).await?.map(|order| order.plan),
            None => None,
        };
        let written = plan.map_or(0, |plan| flash_bytes(&plan, &job.steps, &judged.evidence.inventory));
        let away = now.millis_since(job.began_at.unwrap_or(now));
        let spent = savings::spent(milliminutes(away), written, &self.models.current().model);
        let entry = LedgerEntry {
            action,
            spent,
            aftermath,
            ..self.ledger_entry(&judged.decision, Some(job.id), now)
        };
        store::ledger::insert(connection, &entry).await?;
        Ok(())
    }

    /// Enters that a node is taken out.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn enter_quarantine(
        &self,
        change: &mut Change<'_>,
        decision: &Decision,
    ) -> Result<(), Refusal> {
        let (now, job) = (change.now, change.job.as_ref());
        let began = job.and_then(|job| job.began_at).unwrap_or(now);
        let spent = savings::spent(milliminutes(now.millis_since(began)), 0, &self.models.current().model);
        let entry = LedgerEntry { spent, ..self.ledger_entry(decision, job.map(|job| job.id), now) };
        store::ledger::insert(&mut change.transaction, &entry).await?;
        Ok(())
    }

    /// Enters that a request needed nothing, because the running system's word was enough.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn enter_nothing_to_do(&self, decision: &Decision) -> Result<(), Refusal> {
        let mut change = self.change(decision.node).await?;
        let entries = store::ledger::of_node(&mut change.transaction, decision.node).await?;
        let now = change.now;
        let lately = |entry: &LedgerEntry| entry.job.is_none() && now.millis_since(entry.at) < DAY_MILLIS;
        if !entries.iter().any(lately) {
            let entry = self.ledger_entry(decision, None, now);
            store::ledger::insert(&mut change.transaction, &entry).await?;
            change.commit().await?;
        }
        Ok(())
    }

    fn ledger_entry(&self, decision: &Decision, job: Option<JobId>, now: UnixMillis) -> LedgerEntry {
        let in_force = self.models.current();
        LedgerEntry {
            evidence: decision.evidence,
            node: decision.node,
            job,
            at: now,
            action: decision.action,
            rule: decision.reasons.first().map(|reason| reason.rule.clone()).unwrap_or_default(),
            policy: decision.policy,
            model: decision.model,
            formula: savings::FORMULA,
            always_wipe: savings::always_wipe(decision),
            spent: savings::spent(0, 0, &in_force.model),
            forecast: savings::predictions(decision),
            due_at: now.plus_millis(in_force.model.horizon_days().saturating_mul(DAY_MILLIS)),
            aftermath: Aftermath::Pending,
            aftermath_at: now,
        }
    }

    /// What a new verdict says about the earlier ones of the node.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn settle_earlier(
        &self,
        change: &mut Change<'_>,
        decision: &Decision,
    ) -> Result<(), Refusal> {
        let now = change.now;
        for entry in store::ledger::of_node(&mut change.transaction, decision.node).await? {
            if let Some(aftermath) = aftermath(&entry, decision, now) {
                store::ledger::set_aftermath(&mut change.transaction, entry.evidence, &aftermath, now)
                    .await?;
            }
        }
        Ok(())
    }
}

/// What a later verdict says of an entry; none if nothing new.
fn aftermath(entry: &LedgerEntry, later: &Decision, now: UnixMillis) -> Option<Aftermath> {
    let settled = entry.aftermath != Aftermath::Pending || entry.evidence == later.evidence;
    if settled || entry.action == Action::Quarantine {
        return None;
    }
    let first = later.reasons.first()?;
    let failed = || Aftermath::Failed {
        subject: first.subject.clone(),
        because: first.statement.chars().take(500).collect(),
        by: Some(later.evidence),
    };
    let put_right = |action| matches!(action, Action::Repair | Action::Reimage);
    // A rule of the operator's own may want the same each time on purpose.
    let same_again = put_right(entry.action)
        && put_right(later.action)
        && first.axis != Axis::Request
        && verdict::blast_radius::cause_of(later).as_deref() == Some(entry.rule.as_str());
    let in_time = now < entry.due_at;
    match later.action {
        Action::Quarantine if in_time && first.axis == Axis::Fitness => Some(failed()),
        _ if in_time && same_again => Some(failed()),
        Action::Quarantine | Action::LookDeeper => None,
        _ if in_time => None,
        Action::Keep | Action::Repair | Action::Reimage | Action::Wipe => Some(Aftermath::Held),
    }
}

/// What was written to disks that do not rotate. A disk of which nobody knows counts as flash: it is then not
/// claimed as saved.
fn flash_bytes(plan: &Plan, steps: &[StepResult], inventory: &Inventory) -> u64 {
    let disks = inventory.disks.value();
    let rotates = |id: &DiskId| {
        let disk = disks.into_iter().flatten().find(|disk| &disk.id == id);
        disk.is_some_and(|disk| disk.rotational.value() == Some(&true))
    };
    let written = steps.iter().filter_map(|result| {
        let step = usize::try_from(result.step).ok().and_then(|step| plan.steps.get(step))?;
        (!rotates(&step.disk().id)).then_some(result.bytes_written)
    });
    written.fold(0, u64::saturating_add)
}

/// Milliseconds as thousandths of a minute, rounded up: what was spent is never told too small.
fn milliminutes(millis: u64) -> u64 {
    millis.div_ceil(60)
}

#[cfg(test)]
mod tests;
