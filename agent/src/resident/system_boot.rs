//! Shows the service how this system was started, when it asks. What cannot be shown is said; no report waits for it
//! longer than a TPM may take, and a TPM that hangs is waited for once.

use std::time::{Duration, Instant};

use contract::agent_api::ContextReply;
use contract::assignment::BootTrust;
use contract::boot_proof::SystemProof;
use contract::id::Digest;
use contract::reading::Outcome;

use crate::probe::kernel;
use crate::probe::question::Asked;
use crate::probe::source::Source;
use crate::service::client::Client;
use crate::session::boot_proof::look_at_system;

/// How often it is shown. The service takes it for a day, because a boot id is only said.
const SHOWN_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Making a key takes slow TPMs some seconds.
static TPM: Asked = Asked::new("The TPM", Duration::from_secs(30));

/// When this boot was shown last.
#[derive(Debug, Default)]
pub struct SystemBoot {
    shown: Option<Instant>,
}

impl SystemBoot {
    /// Answers the challenge of a context, if it has one and it is time. What to judge with from then on.
    pub async fn show(&mut self, source: &Source, client: &Client, context: ContextReply) -> ContextReply {
        let lost = matches!(context.node.boot_trust, Some(BootTrust::Lost { .. }));
        let Some(challenge) = context.boot_challenge.filter(|_| self.is_due(lost, Instant::now())) else {
            return context;
        };
        let proof = prove(source.clone(), challenge).await;
        let could_look = !matches!(proof.shown, Outcome::Unreadable(_));
        match client.system_proof(&proof).await {
            Ok(answer) => {
                // One that could not be asked now is asked again at the next look.
                self.shown = could_look.then(Instant::now);
                answer
            }
            Err(error) => {
                tracing::warn!("{error}; going on without a proof of this boot");
                context
            }
        }
    }

    /// Once in a while, and whenever the service misses it.
    fn is_due(&self, lost: bool, now: Instant) -> bool {
        self.shown.is_none_or(|shown| lost || now.duration_since(shown) >= SHOWN_EVERY)
    }
}

async fn prove(source: Source, challenge: Digest) -> SystemProof {
    let boot_id = kernel::boot_id(&source).0;
    let asking = tokio::task::spawn_blocking(move || {
        TPM.ask(move || Ok(look_at_system(&source, &challenge))).unwrap_or_else(Outcome::Unreadable)
    });
    let shown = asking.await.unwrap_or_else(|_| Outcome::Unreadable("asking the TPM broke off".to_owned()));
    SystemProof { boot_id, shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_shown_once_then_seldom_and_whenever_it_is_missed() {
        let now = Instant::now();
        assert!(SystemBoot::default().is_due(false, now));
        let shown = SystemBoot { shown: Some(now) };
        assert!(!shown.is_due(false, now + SHOWN_EVERY / 2));
        assert!(shown.is_due(false, now + SHOWN_EVERY));
        assert!(shown.is_due(true, now));
    }
}
