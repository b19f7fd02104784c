//! How far a boot is proven, a ramdisk's and a running system's: what its TPM showed, and what is recorded. The
//! rules are in the crate `attest`; here are the challenge, the signature check, and what is kept.
//!
//! What a ramdisk showed belongs to one session, and nothing that another session showed counts for it. What a running
//! system showed belongs to its credential and its boot (`system`).

pub mod boot_key;
pub mod golden;
mod quoted;
pub mod roots;
mod shown;
pub mod system;
mod system_proof;

use attest::comparison::{Recorded, compare_beside};
use attest::golden::Golden;
use attest::proof::Proven;
use attest::register::Registers;
use contract::assignment::{BootTrust, NodeContext};
use contract::boot_key::{BootKey, KnownBy};
use contract::boot_proof::{BootProof, BootView};
use contract::history::PastImage;
use contract::id::{Digest, UnixMillis};
use contract::reading::Trust;
use contract::secret::Secret;
use serde::{Deserialize, Serialize};

use self::boot_key::HandedOut;
use self::system::{Speaker, SystemKnowledge};
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
    /// Register 7 at its separator; none in what was recorded before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<Digest>,
    /// What was measured into register 4; nothing in what was recorded before this was kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<Digest>,
}

/// What one session showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    session: Digest,
    at: UnixMillis,
    /// Or why nothing is proven.
    measured: Result<Measured, String>,
    /// By what the key is known that signed; none in what was shown before anybody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<BootKey>,
    /// Its firmware is golden, as a person recorded it for the hardware model.
    #[serde(default)]
    golden_firmware: bool,
    /// What it booted is golden.
    #[serde(default)]
    golden_booted: bool,
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
    /// A credential that was handed out and not yet answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handed_out: Option<HandedOut>,
    /// The same of the running system.
    #[serde(default)]
    system: SystemKnowledge,
}

/// What a session or a running system has shown of its boot, as an agent is told and as it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFacts {
    /// How far the boot is proven; none while nothing was shown and nothing is recorded that could be missed.
    pub trust: Option<BootTrust>,
    /// By what the key is known that signed for it.
    pub key: Option<BootKey>,
}

impl BootFacts {
    /// Puts them where they are judged from.
    pub fn tell(self, context: &mut NodeContext) {
        context.boot_trust = self.trust;
        context.boot_key = self.key;
    }
}

impl BootKnowledge {
    /// Takes what a session showed in place of what was shown before. A credential counts once, so that it is
    /// gone whatever came back.
    fn take(
        &mut self,
        session: Digest,
        at: UnixMillis,
        measured: Result<Measured, String>,
        opened: Option<&Secret>,
        golden: Golden,
    ) {
        let signed = measured.as_ref().ok().map(|measured| measured.key);
        let before = self.shown.take().filter(|before| before.session == session);
        let key = match (self.handed_out.take(), before) {
            (Some(handed_out), _) => handed_out.answered(session, signed, opened),
            // The answer was lost, and the same comes again.
            (None, Some(Shown { measured: before, key: Some(key), .. })) if before == measured => key,
            (None, _) => boot_key::first_use("the machine showed no endorsement key"),
        };
        let Golden { firmware: golden_firmware, booted: golden_booted } = golden;
        self.shown = Some(Shown { session, at, measured, key: Some(key), golden_firmware, golden_booted });
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

    /// What a person recorded.
    #[must_use]
    pub(crate) fn recorded_boot(&self) -> Option<&Measured> {
        self.recorded.as_ref().map(|kept| &kept.measured)
    }

    /// When a boot was shown last.
    #[must_use]
    pub fn shown_at(&self) -> Option<UnixMillis> {
        self.shown.as_ref().map(|shown| shown.at)
    }

    /// Forgets what is recorded, so that no proof is missed any more. `false` if nothing was.
    pub fn forget(&mut self) -> bool {
        let of_system = self.system.forget();
        self.recorded.take().is_some() || of_system
    }

    /// What this session has shown, where the policy wants the key to be known by so much.
    #[must_use]
    pub fn facts_in(&self, session: Digest, demanded: KnownBy) -> BootFacts {
        match self.shown.as_ref().filter(|shown| shown.session == session) {
            Some(shown) => BootFacts { trust: Some(self.judge(shown, demanded)), key: shown.key.clone() },
            // It is judged with this if it shows nothing.
            None => {
                let missed =
                    self.recorded.as_ref().map(|_| lost("this session has shown nothing of its boot"));
                BootFacts { trust: missed, key: None }
            }
        }
    }

    /// As the registers say, unless less is known of the key than the policy wants.
    fn judge(&self, shown: &Shown, demanded: KnownBy) -> BootTrust {
        as_far_as_the_key_is_known(self.compared(shown), shown.key.as_ref(), demanded)
    }

    fn compared(&self, shown: &Shown) -> BootTrust {
        let golden = Golden { firmware: shown.golden_firmware, booted: shown.golden_booted };
        let unproven = |why: &str| BootTrust::Unproven { why: why.to_owned() };
        match (&shown.measured, &self.recorded) {
            (Err(why), None) => unproven(why),
            (Ok(_), None) if golden == (Golden { firmware: true, booted: true }) => {
                // G4.
                if shown.key.as_ref().is_some_and(|key| key.known_by == KnownBy::CertifiedTpm) {
                    return BootTrust::Verified;
                }
                unproven(
                    "it is right for this hardware model, but no certified TPM signed, and nobody has recorded this node",
                )
            }
            (Ok(_), None) => unproven("nobody has recorded how this node boots"),
            (Err(why), Some(_)) => lost(why),
            (Ok(now), Some(kept)) if now.key != kept.measured.key => {
                lost("another TPM signed than the one that is recorded; was the mainboard replaced?")
            }
            (Ok(now), Some(kept)) => {
                let recorded = Recorded {
                    registers: registers(&kept.measured),
                    ramdisk: kept.measured.ramdisk,
                    command_line: kept.measured.command_line.clone(),
                };
                let proven = Proven {
                    key: now.key,
                    registers: registers(now),
                    ramdisk: now.ramdisk,
                    secure_boot: now.secure_boot.map(|register| register.0),
                    programs: now.programs.iter().map(|program| program.0).collect(),
                };
                compare_beside(&recorded, &proven, &now.command_line, golden)
            }
        }
    }

    /// For people; none while no TPM has shown anything.
    #[must_use]
    pub fn view(&self, images: &[PastImage], demanded: KnownBy) -> Option<BootView> {
        let shown = self.shown.as_ref()?;
        Some(BootView {
            recorded_at: self.recorded.as_ref().map(|kept| kept.at),
            why: self.recorded.as_ref().map(|kept| kept.why.clone()),
            shown_at: Some(shown.at),
            trust: self.judge(shown, demanded),
            key: shown.key.clone(),
            system: self.view_system(images, demanded),
        })
    }
}

/// What was found, unless less is known of the key than the policy wants.
fn as_far_as_the_key_is_known(found: BootTrust, key: Option<&BootKey>, demanded: KnownBy) -> BootTrust {
    match found {
        BootTrust::Verified if key.map_or(KnownBy::FirstUse, |key| key.known_by) < demanded => {
            let why = key.map_or("it was not asked for more", |key| key.why.as_str());
            BootTrust::Unproven {
                why: format!("every register is as recorded, but too little is known of the key: {why}"),
            }
        }
        found => found,
    }
}

fn lost(why: &str) -> BootTrust {
    BootTrust::Lost { why: why.to_owned() }
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

impl Service {
    /// What who speaks has shown of its boot; of a running system whichever boot it was shown in.
    #[must_use]
    pub fn shown_boot(&self, node: &NodeRecord, caller: &Caller) -> BootFacts {
        match caller {
            Caller::Ramdisk(session) => node.boot.facts_in(session.hash, self.key_demanded(node)),
            Caller::Resident { job, .. } => {
                let (images, now) = (node.images.as_slice(), crate::clock::now());
                self.facts_of_system(node, Speaker { job: *job, boot: None, images, now })
            }
        }
    }

    /// The most that evidence of who speaks can be believed. A proof of how a system was started says nothing of what
    /// became of it since, and makes its agent's word no better.
    #[must_use]
    pub fn most_trust(&self, node: &NodeRecord, caller: &Caller) -> Trust {
        match caller {
            Caller::Resident { .. } => Trust::Resident,
            Caller::Ramdisk(_) => match self.shown_boot(node, caller).trust {
                Some(BootTrust::Verified) => Trust::RamdiskAttested,
                _ => Trust::Ramdisk,
            },
        }
    }

    /// By what the policy wants a node's key to be known.
    #[must_use]
    pub fn key_demanded(&self, node: &NodeRecord) -> KnownBy {
        self.policies.of(&node.assignment.pool).policy.boot_key_known_by()
    }

    /// Checks what a ramdisk shows of its boot, and keeps what is proven, or why nothing is.
    ///
    /// # Errors
    /// If the database fails. A proof that does not hold is no error.
    pub async fn take_boot_proof(&self, session: &SessionRow, proof: &BootProof) -> Result<(), Refusal> {
        let measured = shown::check(&proof.shown, &challenge(session).0, session.token);
        if let Err(why) = &measured {
            tracing::info!(node = %session.node, why, "the boot is not proven");
        }
        let mut change = self.change(session.node).await?;
        let golden = match &measured {
            Ok(measured) => golden::among(&mut change.transaction, &change.node, measured).await?,
            Err(_) => Golden::default(),
        };
        change.node.boot.take(session.hash, change.now, measured, proof.opened.as_ref(), golden);
        change.commit().await?;
        Ok(())
    }
}
