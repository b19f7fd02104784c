//! What a wipe would do to each disk, computed from the last look at the node. It is for people: what
//! is done is decided on the look in the ramdisk.

use contract::certificate_api::{DiskPreview, ErasePreview};
use contract::decision::SanitizeLevel;
use contract::id::NodeId;
use contract::inventory::DiskFacts;
use contract::plan::{EraseMethod, Plan};
use contract::reading::Outcome;
use erasure::certificate::wording;
use erasure::command::{DeviceCommand, SanitizeAction, commands};
use erasure::coverage::not_covered;
use erasure::method::{again, choose_or_clean, if_refused};
use erasure::record::exclusions;

use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;

impl Service {
    /// What a wipe of a node would do.
    ///
    /// # Errors
    /// If the node was never looked at, or its disks could not be seen.
    pub async fn erase_preview(
        &self,
        node: NodeId,
        asked: Option<SanitizeLevel>,
    ) -> Result<ErasePreview, Refusal> {
        let mut reading = self.store.read().await?;
        let last = store::evidence::last_decision(&mut reading, node).await?;
        let evidence = last.map(|view| view.evidence).ok_or_else(|| {
            Refusal::not_found(format!("node {node} was never looked at"), "boot it from the network first")
        })?;
        let record = node_by_id(&mut reading, node).await?;
        let job = store::jobs::open_of(&mut reading, node).await?;
        let context = self.context_of(&mut reading, &record, job.as_ref()).await?;
        let in_force = self.policies.of(&context.assignment.pool);
        let may_be_clean = verdict::already_clean::disks(&evidence, &context, &in_force.policy);
        let demanded = in_force.policy.sanitize_level(&context.data_owner);
        let level = asked.map_or(demanded, |asked| demanded.max(asked));
        let unfinished = context.unfinished.as_ref().map(|work| &work.plan);
        let disks = match &evidence.inventory.disks {
            Outcome::Value(disks) if !disks.is_empty() => disks,
            Outcome::Value(_) | Outcome::Absent => {
                return Err(Refusal::conflict(
                    format!("node {node} showed no disk"),
                    "boot it from the network again and look at its inventory",
                ));
            }
            Outcome::Unreadable(why) => {
                return Err(Refusal::conflict(
                    format!("the disks of node {node} could not be seen: {why}"),
                    "boot it from the network again",
                ));
            }
        };
        Ok(ErasePreview {
            node,
            level,
            seen_at: evidence.taken_at,
            trust: evidence.trust,
            disks: disks
                .iter()
                .map(|disk| preview(disk, level, may_be_clean.contains(&disk.id), unfinished))
                .collect(),
        })
    }
}

fn preview(
    disk: &DiskFacts,
    level: SanitizeLevel,
    may_be_clean: bool,
    unfinished: Option<&Plan>,
) -> DiskPreview {
    let chosen = choose_or_clean(disk, level, may_be_clean).map(|method| again(method, &disk.id, unfinished));
    let method = chosen.as_ref().ok().copied();
    DiskPreview {
        disk: disk.id.clone(),
        kernel_name: disk.kernel_name.clone(),
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        size_bytes: disk.size_bytes,
        method,
        technique: method.map(technique_in_words),
        refusal: chosen.err().map(|refusal| refusal.to_string()),
        estimate_seconds: method.and_then(|method| estimate_seconds(disk, method)),
        exclusions: method.map(exclusions).unwrap_or_default(),
        not_covered: not_covered(disk),
    }
}

/// A technique, and what is done where the disk refuses it.
fn technique_in_words(method: EraseMethod) -> String {
    let name = wording::technique(method);
    match if_refused(method) {
        Some(instead) => format!("{name}; where the disk refuses that, {}", wording::technique(instead)),
        None => name.to_owned(),
    }
}

/// How long the device says that a method takes: the sum of its commands; none if it does not say for
/// one of them, or if the agent overwrites.
fn estimate_seconds(disk: &DiskFacts, method: EraseMethod) -> Option<u64> {
    let commands = commands(method);
    if commands.is_empty() {
        return None;
    }
    commands.iter().map(|command| command_seconds(disk, *command)).sum()
}

fn command_seconds(disk: &DiskFacts, command: DeviceCommand) -> Option<u64> {
    let sanitize = |action| {
        let capabilities = disk.sanitize.value()?;
        let seconds = match action {
            SanitizeAction::Block => capabilities.block_estimate_seconds,
            SanitizeAction::Crypto => capabilities.crypto_estimate_seconds,
            SanitizeAction::Overwrite => capabilities.overwrite_estimate_seconds,
        };
        seconds.map(u64::from)
    };
    match command {
        DeviceCommand::NvmeSanitize(action)
        | DeviceCommand::AtaSanitize(action)
        | DeviceCommand::ScsiSanitize(action) => sanitize(action),
        DeviceCommand::AtaSecurityErase { enhanced } => {
            let ata = disk.ata.value()?;
            let minutes = if enhanced { ata.enhanced_estimate_minutes } else { ata.erase_estimate_minutes };
            minutes.map(|minutes| u64::from(minutes) * 60)
        }
        DeviceCommand::NvmeFormat { .. } | DeviceCommand::ScsiWriteSame => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_refusal_leads_to_is_said_beforehand() {
        let words = technique_in_words(EraseMethod::ScsiWriteSame);
        assert!(
            words.contains("WRITE SAME") && words.contains("refuses that, overwrite of every"),
            "{words}"
        );
        assert!(!technique_in_words(EraseMethod::Overwrite).contains("refuses"));
    }
}
