//! Forgetting what is old, once a day.

use std::time::Duration;

use contract::id::UnixMillis;

use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::prune::{self, Place};

/// How often.
const INTERVAL: Duration = Duration::from_secs(86_400);
const DAY_MILLIS: u64 = 86_400_000;

impl Service {
    /// Forgets jobs that ended more than `store.keep_days` ago. Returns how many.
    ///
    /// The age is counted from the newest job and not from the clock alone: a clock that jumps ahead
    /// must not make everything old.
    ///
    /// # Errors
    /// If the database fails; what was forgotten until then stays forgotten.
    pub async fn forget_old(&self, now: UnixMillis) -> Result<u64, Refusal> {
        let mut reading = self.store.read().await?;
        let newest = prune::newest_job(&mut reading).await?;
        drop(reading);
        let Some(newest) = newest else { return Ok(0) };
        let kept_millis = u64::from(self.settings.store_keep_days) * DAY_MILLIS;
        let before = UnixMillis(now.min(newest).0.saturating_sub(kept_millis));
        let (mut forgotten, mut place) = (0, Some(Place::default()));
        while let Some(from) = place {
            let mut transaction = self.store.write().await?;
            let (count, next) = prune::forget_jobs(&mut transaction, before, &from).await?;
            store::commit(transaction).await?;
            forgotten += count;
            place = next;
        }
        let mut transaction = self.store.write().await?;
        prune::forget_secrets(&mut transaction, before).await?;
        store::commit(transaction).await?;
        Ok(forgotten)
    }

    /// Forgets what is old at once and every day, until the process ends.
    pub async fn keep_forgetting(&self) {
        loop {
            match self.forget_old(crate::clock::now()).await {
                Ok(0) => {}
                Ok(jobs) => tracing::info!(jobs, "old jobs were forgotten"),
                Err(error) => tracing::error!(%error, "could not forget old jobs"),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}
