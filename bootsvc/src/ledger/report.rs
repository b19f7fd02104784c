//! The ledger of a month, added up.

use std::collections::BTreeMap;

use contract::decision::Action;
use contract::id::{EvidenceId, NodeId, UnixMillis};
use contract::ledger::{Aftermath, LedgerEntry, Prediction, SavingsReport};
use verdict::savings;

use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::ledger::Place;

/// How many entries one answer holds.
pub(crate) const LISTED_MAX: usize = 10_000;
/// How many entries of a month are added up; a hundred thousand nodes, each ten times.
const ADDED_UP_MAX: usize = 1_000_000;

impl Service {
    /// What a month's verdicts saved, and how right they were.
    ///
    /// # Errors
    /// If the month is not one, or has more entries than can be added up.
    pub async fn savings_report(&self, month: &str) -> Result<SavingsReport, Refusal> {
        let (from, until) = bounds(month)?;
        let mut newest: BTreeMap<NodeId, Vec<Prediction>> = BTreeMap::new();
        let mut entries = Vec::new();
        let mut reading = self.store.read().await?;
        let mut place = Some(Place::default());
        while let Some(after) = place {
            let (batch, next) = store::ledger::between(&mut reading, from, until, &after).await?;
            for mut entry in batch {
                newest.insert(entry.node, std::mem::take(&mut entry.forecast));
                entries.push(entry);
            }
            if entries.len() > ADDED_UP_MAX {
                return Err(Refusal::conflict(
                    format!("month {month} has more than {ADDED_UP_MAX} verdicts"),
                    "add the ledger up from the database itself",
                ));
            }
            place = next;
        }
        let certificates = store::certificates::count_between(&mut reading, from, until).await?;
        drop(reading);
        let forecasts = newest.values().flatten();
        let in_force = self.models.current();
        Ok(SavingsReport {
            certificates,
            expected_failures: savings::expected_failures(forecasts),
            assumptions: savings::assumptions(&in_force.model),
            horizon_days: in_force.model.horizon_days(),
            ..added_up(month, &entries)
        })
    }

    /// Verdicts of a month, oldest first: those behind the one on this evidence, at most so many.
    ///
    /// # Errors
    /// If the month is not one, or nothing was entered on this evidence.
    pub async fn ledger_of(
        &self,
        month: &str,
        behind: Option<EvidenceId>,
        most: usize,
    ) -> Result<Vec<LedgerEntry>, Refusal> {
        let (from, until) = bounds(month)?;
        let most = most.clamp(1, LISTED_MAX);
        let mut entries = Vec::new();
        let mut reading = self.store.read().await?;
        let mut place = match behind {
            None => Some(Place::default()),
            Some(evidence) => store::ledger::place_of(&mut reading, evidence).await?,
        };
        if place.is_none() {
            return Err(Refusal::not_found(
                "the verdict that is to be gone on behind is not in the ledger",
                "go on behind the last entry of the answer before",
            ));
        }
        while let Some(after) = place.filter(|_| entries.len() < most) {
            let (batch, next) = store::ledger::between(&mut reading, from, until, &after).await?;
            entries.extend(batch);
            place = next;
        }
        entries.truncate(most);
        Ok(entries)
    }
}

fn bounds(month: &str) -> Result<(UnixMillis, UnixMillis), Refusal> {
    savings::month(month).ok_or_else(|| {
        let month: String = month.chars().take(80).collect();
        Refusal::bad_request(format!("{month:?} is no month"), "write it as 2026-11")
    })
}

fn added_up(month: &str, entries: &[LedgerEntry]) -> SavingsReport {
    let saved: Vec<[i64; 3]> = entries.iter().filter_map(savings::saved).collect();
    let column = |at: usize| -> Vec<i64> { saved.iter().filter_map(|row| row.get(at).copied()).collect() };
    let out = || entries.iter().filter(|entry| entry.action == Action::Quarantine);
    let fine = |entry: &&LedgerEntry| matches!(entry.aftermath, Aftermath::Fine { .. });
    SavingsReport {
        month: month.to_owned(),
        formula: savings::FORMULA,
        assumptions: Vec::new(),
        actions: savings::by_action(entries),
        not_counted: (entries.len() - saved.len()) as u64,
        milliminutes: savings::total(&column(0)),
        flash_bytes: savings::total(&column(1)),
        watt_hours: savings::total(&column(2)),
        escapes: savings::escapes(entries),
        quarantines: out().count() as u64,
        false_quarantines: out().filter(fine).count() as u64,
        quarantines_pending: out().filter(|entry| entry.aftermath == Aftermath::Pending).count() as u64,
        certificates: 0,
        repeat_offenders: savings::repeat_offenders(entries),
        expected_failures: Vec::new(),
        horizon_days: 0,
    }
}
