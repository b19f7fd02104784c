//! How far a ramdisk's boot is proven: what its TPM showed in its session, and what a person recorded. The
//! rules are in the crate `attest`; here are the challenge, the signature check, and what is kept.
//!
//! What was shown belongs to one session. Nothing that another session showed counts for it, and the resident
//! agent, which is asked for nothing, has no boot trust at all.

mod shown;

use attest::comparison::{Recorded, compare};
use attest::proof::Proven;
use attest::register::Registers;
use contract::assignment::BootTrust;
use contract::boot_proof::{BootProof, BootView};
use contract::id::{Digest, UnixMillis};
use contract::reading::Trust;
use serde::{Deserialize, Serialize};

use crate::jobs::Caller;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store::nodes::NodeRecord;
use crate::store::sessions::SessionRow;

/// What is kept of a boot that is proven, as far as its key goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Name of the attestation key.
    pub key: Digest,
    /// The registers that were asked for.
    pub registers: Vec<(u8, Digest)>,
    /// The ramdisk, where it is proven.
    pub ramdisk: Option<Digest>,
    /// The command line without what is another at each boot.
    pub command_line: String,
}

/// What one session showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    session: Digest,
    at: UnixMillis,
    /// Or why nothing is proven.
    measured: Result<Measured, String>,
}

/// What a person recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    measured: Measured,
    at: UnixMillis,
    why: String,
}

/// What is known of how a node boots.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BootKnowledge {
    recorded: Option<Kept>,
    shown: Option<Shown>,
}

impl BootKnowledge {
    /// Takes what a session showed in place of what was shown before.
    fn take(&mut self, session: Digest, at: UnixMillis, measured: Result<Measured, String>) {
        self.shown = Some(Shown { session, at, measured });
    }

    /// Records the boot that was shown last: from here on later ones are compared with it.
    ///
    /// # Errors
    /// Says why there is nothing to record.
    pub fn record_last(&mut self, why: &str, now: UnixMillis) -> Result<(), String> {
        let shown = self.shown.as_ref().ok_or("no TPM of this node has shown anything")?;
        let measured = shown.measured.clone()?;
        self.recorded = Some(Kept { measured, at: now, why: why.to_owned() });
        Ok(())
    }

    /// How far the boot of this session is proven; none while it has shown nothing.
    #[must_use]
    pub fn trust_in(&self, session: Digest) -> Option<BootTrust> {
        self.shown.as_ref().filter(|shown| shown.session == session).map(|shown| self.judge(shown))
    }

    fn judge(&self, shown: &Shown) -> BootTrust {
        let unproven = |why: &str| BootTrust::Unproven { why: why.to_owned() };
        match (&shown.measured, &self.recorded) {
            (Err(why), _) => unproven(why),
            (Ok(_), None) => unproven("nobody has recorded how this node boots"),
            (Ok(now), Some(kept)) if now.key != kept.measured.key => {
                unproven("another TPM signed than the one that is recorded; was the mainboard replaced?")
            }
            (Ok(now), Some(kept)) => {
                let recorded = Recorded {
                    registers: registers(&kept.measured),
                    ramdisk: kept.measured.ramdisk,
                    command_line: kept.measured.command_line.clone(),
                };
                let proven = Proven { key: now.key, registers: registers(now), ramdisk: now.ramdisk };
                compare(&recorded, &proven, &now.command_line)
            }
        }
    }

    /// For people; none while no TPM has shown anything.
    #[must_use]
    pub fn view(&self) -> Option<BootView> {
        let shown = self.shown.as_ref()?;
        Some(BootView {
            recorded_at: self.recorded.as_ref().map(|kept| kept.at),
            why: self.recorded.as_ref().map(|kept| kept.why.clone()),
            shown_at: Some(shown.at),
            trust: self.judge(shown),
        })
    }
}

fn registers(measured: &Measured) -> Registers {
    Registers::new(measured.registers.iter().map(|(index, register)| (*index, register.0)))
}

/// What the session's TPM has to sign. It follows from the session's secret, which the service drew, so that
/// nobody can have had it signed before.
#[must_use]
pub fn challenge(session: &SessionRow) -> Digest {
    let parts =
        [&b"reprieve boot proof 1\n"[..], &session.hash.0, &session.nonce.0, session.boot_id.0.as_bytes()];
    Digest::of(&parts.concat())
}

/// How far the boot of who speaks is proven.
#[must_use]
pub fn trust_of(node: &NodeRecord, caller: &Caller) -> Option<BootTrust> {
    match caller {
        Caller::Ramdisk(session) => node.boot.trust_in(session.hash),
        Caller::Resident { .. } => None,
    }
}

/// The most that evidence of who speaks can be believed.
#[must_use]
pub fn most_trust(node: &NodeRecord, caller: &Caller) -> Trust {
    match caller {
        Caller::Resident { .. } => Trust::Resident,
        Caller::Ramdisk(_) if trust_of(node, caller) == Some(BootTrust::Verified) => Trust::RamdiskAttested,
        Caller::Ramdisk(_) => Trust::Ramdisk,
    }
}

impl Service {
    /// Checks what a ramdisk shows of its boot, and keeps what is proven, or why nothing is.
    ///
    /// # Errors
    /// If the database fails. A proof that does not hold is no error.
    pub async fn take_boot_proof(&self, session: &SessionRow, proof: &BootProof) -> Result<(), Refusal> {
        let measured = shown::check(&proof.shown, &challenge(session).0);
        if let Err(why) = &measured {
            tracing::info!(node = %session.node, why, "the boot is not proven");
        }
        let mut change = self.change(session.node).await?;
        change.node.boot.take(session.hash, change.now, measured);
        change.commit().await?;
        Ok(())
    }
}
