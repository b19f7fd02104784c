//! The ledger of a month as the service tells it, answer by answer.

use contract::id::EvidenceId;
use contract::ledger::LedgerEntry;

use crate::client::{Client, escape};

/// How many entries of a month are read at most: a hundred thousand nodes, each ten times.
const ENTRIES_MAX: usize = 1_000_000;

/// The entries of a month, oldest first.
#[derive(Debug)]
pub struct Month {
    /// What was read.
    pub entries: Vec<LedgerEntry>,
    /// There are more than could be read.
    pub cut: bool,
}

/// Reads the entries of a month.
///
/// # Errors
/// If the service refuses, cannot be reached, or tells the same again and again.
pub async fn month(client: &Client, month: &str) -> anyhow::Result<Month> {
    let month = escape(month);
    let ask = async |after: Option<EvidenceId>| {
        let after = after.map_or(String::new(), |evidence| format!("&after={evidence}"));
        client.get(&format!("/v1/ledger?month={month}{after}")).await
    };
    answers(ask, ENTRIES_MAX).await
}

/// Asks until an answer is empty, however many entries the service tells at once.
async fn answers(
    ask: impl AsyncFn(Option<EvidenceId>) -> anyhow::Result<Vec<LedgerEntry>>,
    entries_max: usize,
) -> anyhow::Result<Month> {
    let mut entries: Vec<LedgerEntry> = Vec::new();
    loop {
        let after = entries.last().map(|entry| entry.evidence);
        let more = ask(after).await?;
        let Some(last) = more.last() else { return Ok(Month { entries, cut: false }) };
        if entries.len() >= entries_max {
            return Ok(Month { entries, cut: true });
        }
        anyhow::ensure!(
            Some(last.evidence) != after,
            "the service does not go on behind entry {}; use the same version of command and service",
            last.evidence
        );
        entries.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use contract::decision::Action;
    use contract::id::{Digest, NodeId, PolicyDigest, UnixMillis};
    use contract::ledger::{Aftermath, Amount};
    use uuid::Uuid;

    use super::*;

    fn entry(number: u128) -> LedgerEntry {
        LedgerEntry {
            evidence: EvidenceId(Uuid::from_u128(number)),
            node: NodeId(Uuid::from_u128(1)),
            job: None,
            at: UnixMillis(100),
            action: Action::Keep,
            rule: String::new(),
            policy: PolicyDigest(Digest::of(b"policy")),
            model: None,
            formula: 1,
            always_wipe: None,
            spent: Amount::default(),
            forecast: Vec::new(),
            due_at: UnixMillis(1000),
            aftermath: Aftermath::Pending,
            aftermath_at: UnixMillis(100),
        }
    }

    /// A service with so many entries that tells two at a time.
    async fn service(count: u128, after: Option<EvidenceId>) -> anyhow::Result<Vec<LedgerEntry>> {
        let from = after.map_or(0, |evidence| evidence.0.as_u128());
        Ok((from + 1..=count).take(2).map(entry).collect())
    }

    #[tokio::test]
    async fn a_month_is_read_to_its_end_or_said_to_be_cut() {
        for (count, read, cut) in [(0, 0, false), (3, 3, false), (4, 4, false), (5, 4, true)] {
            let month = answers(async |after| service(count, after).await, 4).await.unwrap();
            assert_eq!((month.entries.len(), month.cut), (read, cut), "{count}");
            let numbers: Vec<u128> = month.entries.iter().map(|entry| entry.evidence.0.as_u128()).collect();
            assert_eq!(numbers, (1..=read as u128).collect::<Vec<_>>());
        }
        let stuck = answers(async |_| Ok(vec![entry(1)]), 4).await;
        assert!(stuck.unwrap_err().to_string().contains("does not go on"));
    }
}
