//! A person says what was found: whether it was right to take a node out, or that one failed that was kept.

use contract::decision::Action;
use contract::id::NodeId;
use contract::ledger::{Aftermath, LedgerEntry, OutcomeRequest};
use contract::reading::Subject;

use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;

/// How long a reason may be, in characters.
const WHY_CHARACTERS_MAX: usize = 200;

impl Service {
    /// Records what a person found out about a node's last verdict.
    ///
    /// # Errors
    /// If there is no verdict that it could be said of, or the part is not known.
    pub async fn outcome(&self, node: NodeId, request: &OutcomeRequest) -> Result<LedgerEntry, Refusal> {
        check_why(&request.why)?;
        let mut change = self.change(node).await?;
        let entries = store::ledger::of_node(&mut change.transaction, node).await?;
        let mut entry = meant(&entries, request.failed.is_some()).cloned().ok_or_else(|| {
            Refusal::conflict(
                format!("node {node} has no verdict that this could be said of"),
                "look at its verdicts (`reprieve report savings --month … --json`); what was taken out is fine or failed, what was kept or put right failed",
            )
        })?;
        let why = request.why.clone();
        let aftermath = match &request.failed {
            None => Aftermath::Fine { why },
            Some(text) => {
                let judged = store::evidence::judged(&mut change.transaction, entry.evidence).await?;
                let found = judged.iter().flat_map(|judged| &judged.decision.findings);
                let known = entry.forecast.iter().map(|part| &part.subject).chain(found.map(|f| &f.subject));
                let subject = subject(text, known.cloned().collect())?;
                match entry.action {
                    Action::Quarantine => Aftermath::Confirmed { subject, why },
                    _ => Aftermath::Failed { subject, because: why, by: None },
                }
            }
        };
        let now = change.now;
        store::ledger::set_aftermath(&mut change.transaction, entry.evidence, &aftermath, now).await?;
        if matches!(aftermath, Aftermath::Fine { .. }) {
            // What counted as failed because of this verdict did not fail.
            for earlier in &entries {
                if matches!(&earlier.aftermath, Aftermath::Failed { by, .. } if *by == Some(entry.evidence)) {
                    let pending = Aftermath::Pending;
                    store::ledger::set_aftermath(&mut change.transaction, earlier.evidence, &pending, now)
                        .await?;
                }
            }
        }
        change.commit().await?;
        (entry.aftermath, entry.aftermath_at) = (aftermath, now);
        Ok(entry)
    }
}

/// The entry that a person speaks of: the newest that took the node out, unless somebody has said of it already;
/// else, where something failed, the newest that let it go on. Newest first.
fn meant(entries: &[LedgerEntry], failed: bool) -> Option<&LedgerEntry> {
    let newest_out = entries.iter().find(|entry| entry.action == Action::Quarantine);
    let unsaid = newest_out.filter(|entry| entry.aftermath == Aftermath::Pending);
    let open = |entry: &&LedgerEntry| {
        let unsaid = matches!(entry.aftermath, Aftermath::Pending | Aftermath::Held);
        entry.action != Action::Quarantine && unsaid
    };
    unsaid.or_else(|| entries.iter().find(open).filter(|_| failed))
}

/// The part that a person names, among those that the verdict knows.
fn subject(text: &str, mut known: Vec<Subject>) -> Result<Subject, Refusal> {
    known.push(Subject::Node);
    known.sort();
    known.dedup();
    let text = text.trim();
    let named = |subject: &&Subject| {
        let name = subject.to_string();
        name == text || name.rsplit(' ').next() == Some(text)
    };
    if let Some(subject) = known.iter().find(named) {
        return Ok(subject.clone());
    }
    let names: Vec<String> = known.iter().take(50).map(ToString::to_string).collect();
    Err(Refusal::bad_request(
        format!("the verdict knows no part {:?}", text.chars().take(80).collect::<String>()),
        format!("name one of: {}", names.join(", ")),
    ))
}

fn check_why(why: &str) -> Result<(), Refusal> {
    if why.trim().is_empty() || why.chars().count() > WHY_CHARACTERS_MAX || why.chars().any(char::is_control)
    {
        return Err(Refusal::bad_request(
            format!(
                "the reason is empty, longer than {WHY_CHARACTERS_MAX} characters or has control characters"
            ),
            "say why in one line (`--why`)",
        ));
    }
    Ok(())
}
