//! A running system's proof of its boot: the challenge, the signature check, and what is kept (`system`).

use std::time::Duration;

use attest::golden::{self, Golden};
use contract::boot_proof::{GoldenBootView, GoldenPart, SystemProof};
use contract::id::{Digest, ImageId, JobId, NodeId};

use super::golden::model_of;
use super::system::{MeasuredSystem, Speaker};
use super::{BootFacts, shown};
use crate::bearer;
use crate::jobs::change::Change;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::nodes::NodeRecord;
use crate::store::wishes::hardware_model;

/// How long a challenge may be answered (Y1). A slow TPM takes seconds.
pub const CHALLENGE_LASTS: Duration = Duration::from_secs(300);

impl Service {
    /// Draws a challenge for the agent of a running system, in place of one that was drawn before (Y1).
    ///
    /// # Errors
    /// If there is no randomness.
    pub(crate) fn challenge_system(&self, node: NodeId, job: JobId) -> Result<Digest, Refusal> {
        let drawn = bearer::random_bytes().map_err(Refusal::internal)?;
        let bound = format!("reprieve system boot proof 1\n{node}\n{job}\n");
        let challenge = Digest::of(&[bound.as_bytes(), &drawn].concat());
        self.live.set_challenge(node, job, challenge);
        Ok(challenge)
    }

    /// Checks what the agent of a running system shows of its boot, and keeps what is proven, or why nothing is.
    ///
    /// # Errors
    /// If no challenge waits for its answer, or the database fails. A proof that does not hold is no error.
    pub(crate) async fn take_system_proof(
        &self,
        (node, job): (NodeId, JobId),
        proof: &SystemProof,
    ) -> Result<(), Refusal> {
        let challenge = self.live.take_challenge(node, job, CHALLENGE_LASTS).ok_or_else(|| {
            Refusal::conflict(
                format!("no challenge waits for an answer of node {node}, or it came too late"),
                "ask what to judge with again",
            )
        })?;
        let measured = shown::check_system(&proof.shown, &challenge.0);
        if let Err(why) = &measured {
            tracing::info!(%node, why, "the running system's boot is not proven");
        }
        let mut change = self.change(node).await?;
        let golden = match &measured {
            Ok(measured) => self.golden_system(&mut change, job, measured).await?,
            Err(_) => Golden::default(),
        };
        let now = change.now;
        change.node.boot.take_system((job, proof.boot_id), now, measured, golden);
        change.commit().await?;
        Ok(())
    }

    /// Which parts of a system's boot are golden for its image and the node's hardware model.
    async fn golden_system(
        &self,
        change: &mut Change<'_>,
        job: JobId,
        measured: &MeasuredSystem,
    ) -> Result<Golden, Refusal> {
        let mut found = Golden::default();
        let Some(model) = hardware_model(&change.node) else { return Ok(found) };
        if let Some(digest) = golden::firmware(&measured.system().registers) {
            let part = GoldenPart::Firmware;
            found.firmware =
                store::golden_boots::is_known(&mut change.transaction, &model, part, digest).await?;
        }
        let image = change.node.images.iter().find(|past| past.job == Some(job)).map(|past| past.image);
        let booted = image.and_then(|image| change.node.boot.golden_system(measured, image));
        if let Some(digest) = booted {
            let part = GoldenPart::System;
            found.booted =
                store::golden_boots::is_known(&mut change.transaction, &model, part, digest).await?;
        }
        Ok(found)
    }

    /// Records how a system boots, as right for its image on every node of the hardware model.
    ///
    /// # Errors
    /// If nobody knows the model, there are too many already, or the database fails.
    pub(crate) async fn record_golden_system(
        &self,
        change: &mut Change<'_>,
        (image, measured): (ImageId, &MeasuredSystem),
        why: &str,
    ) -> Result<(), Refusal> {
        let (hardware_model, recorded_at, node) = (model_of(&change.node)?, change.now, change.node.id);
        let Some(digest) = change.node.boot.golden_system(measured, image) else {
            return Err(Refusal::conflict(
                format!("what node {node} showed of its system's boot is not whole"),
                "it can be recorded for this node alone",
            ));
        };
        let (part, label, why) = (GoldenPart::System, image.to_string(), why.to_owned());
        let golden = GoldenBootView { hardware_model, part, digest, node, label, why, recorded_at };
        super::golden::record_one(change, &golden).await
    }

    /// What the agent of a running system has shown of its boot.
    #[must_use]
    pub(crate) fn facts_of_system(&self, node: &NodeRecord, speaker: Speaker<'_>) -> BootFacts {
        node.boot.facts_of_system(speaker, self.key_demanded(node))
    }
}
