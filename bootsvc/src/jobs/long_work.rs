//! Work that takes longer than sessions and orders are good for: a large disk overwrites itself for
//! more than a day.
//!
//! The session of a ramdisk that acts is prolonged while it says how far it is, and no longer: one that
//! falls silent lapses as any other. It can do nothing with it but go on with the order that it has.

use contract::id::UnixMillis;
use contract::operator_api::JobState;

use crate::jobs::enroll::SESSION_MILLIS;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::sessions::SessionRow;

/// The longest that a session lasts in all: 30 days. The agent gives a device up long before.
const WORK_MILLIS_MAX: u64 = 30 * 86_400_000;

impl Service {
    /// Prolongs the session of a ramdisk that acts and speaks.
    pub(super) async fn keep_session(
        &self,
        session: &SessionRow,
        state: &JobState,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        let Some(until) = prolonged(session, state, now) else { return Ok(()) };
        let mut transaction = self.store.write().await?;
        store::sessions::prolong_session(&mut transaction, session.hash, until).await?;
        store::commit(transaction).await?;
        Ok(())
    }
}

/// Until when the session is to last, if longer than now. Not at every word: only when half of its time
/// is over.
fn prolonged(session: &SessionRow, state: &JobState, now: UnixMillis) -> Option<UnixMillis> {
    let acts = matches!(state, JobState::Acting { .. });
    let half_over = session.expires_at.millis_since(now) < SESSION_MILLIS / 2;
    let latest = session.created_at.plus_millis(WORK_MILLIS_MAX);
    let until = now.plus_millis(SESSION_MILLIS).min(latest);
    (acts && half_over && until > session.expires_at).then_some(until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::id::{BootId, Digest, NodeId};

    const HOUR: u64 = 3_600_000;

    fn session(expires_at_hours: u64) -> SessionRow {
        SessionRow {
            hash: Digest::of(b"hash"),
            node: NodeId(uuid::Uuid::nil()),
            job: None,
            boot_id: BootId(uuid::Uuid::nil()),
            nonce: Digest::of(b"nonce"),
            token: None,
            created_at: UnixMillis(0),
            expires_at: UnixMillis(expires_at_hours * HOUR),
        }
    }

    #[test]
    fn only_a_ramdisk_that_acts_goes_on_and_not_for_ever() {
        let acting = JobState::Acting { step: 0, steps: 2 };
        let month = 30 * 24;
        let cases = [
            (2, &acting, HOUR / 2, None),
            (2, &acting, HOUR + 1, Some(3 * HOUR + 1)),
            (2, &JobState::Ordered, HOUR + 1, None),
            (2, &JobState::Looking, HOUR + 1, None),
            (month - 1, &acting, (month - 2) * HOUR + 1, Some(month * HOUR)),
            (month, &acting, (month - 1) * HOUR + 1, None),
        ];
        for (expires_at_hours, state, now, expected) in cases {
            let until = prolonged(&session(expires_at_hours), state, UnixMillis(now));
            assert_eq!(until, expected.map(UnixMillis), "{expires_at_hours} {state:?} {now}");
        }
    }
}
