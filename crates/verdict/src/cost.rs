//! What each action costs, in thousandths of a minute of the node's work.
//!
//! ```text
//! total        = away + interruption + wear + energy
//! interruption = P(failure within the horizon) × what a failure in the middle of work costs
//! repair       also: P(it does not hold) × away of a reimage
//! wear         = bytes written to flash × minutes for a terabyte
//! energy       = minutes away × power; × minutes for a kilowatt hour
//! ```
//!
//! Which method erases a disk is chosen elsewhere (`erasure::method`); for the cost a disk with an erase of its
//! own takes what it says it takes, or the model's figure, and any other is overwritten.

use contract::decision::{Action, Fitness};
use contract::inventory::DiskFacts;
use contract::outlook::{ActionCost, ComponentKind};

use crate::facts::Facts;
use crate::forecast::{MILLION, Risk, kind_of};
use crate::history;
use crate::model::{CostModel, Model};
use crate::os_disk::os_disk;
use crate::rules::outlook::percent;

/// All actions, mild to severe.
pub(crate) const ACTIONS: [Action; 6] =
    [Action::Keep, Action::LookDeeper, Action::Repair, Action::Reimage, Action::Wipe, Action::Quarantine];
const MINUTE: u64 = 1000;
const TERABYTE: u128 = 1_000_000_000_000;

/// What costs are reckoned from.
pub(crate) struct Bill<'a> {
    pub model: &'a Model,
    pub risk: Risk,
    erase: Erase,
    image_bytes: u64,
    image_on_flash: bool,
    repairs_before: usize,
}

/// What erasing all disks takes.
#[derive(Clone, Copy, Default)]
struct Erase {
    milliminutes: u64,
    flash_bytes: u64,
}

impl<'a> Bill<'a> {
    /// Gathers what costs are reckoned from.
    pub fn of(facts: &Facts<'_>, model: &'a Model, risk: Risk) -> Self {
        let disks = facts.disks().unwrap_or_default();
        let image_bytes = facts.context.assignment.image_disk_bytes.unwrap_or(0);
        let carrier = os_disk(&facts.context.assignment.os_disk, image_bytes, disks).ok();
        let carrier = carrier.and_then(|target| disks.iter().find(|disk| disk.id == target.id));
        Self {
            model,
            risk,
            erase: erase(disks, &model.figures().cost),
            image_bytes,
            image_on_flash: carrier.is_some_and(|disk| kind_of(disk) == ComponentKind::FlashDisk),
            repairs_before: history::episodes(facts).len(),
        }
    }

    fn figures(&self) -> &'a CostModel {
        &self.model.figures().cost
    }

    /// What an action costs in all.
    pub fn total(&self, action: Action) -> u64 {
        self.cost(action).total_milliminutes
    }

    /// Whether a node with this risk costs more at work than taken out.
    pub fn waiting_costs_more(&self, risk_parts_per_million: u64) -> bool {
        let risk = Risk { failure_parts_per_million: risk_parts_per_million, ..self.risk };
        let bill = Bill { risk, ..*self };
        bill.total(Action::Keep) > bill.total(Action::Quarantine)
    }

    fn away(&self, action: Action) -> u64 {
        let figures = self.figures();
        match action {
            Action::Keep => 0,
            Action::LookDeeper => figures.look_deeper_milliminutes,
            Action::Repair => figures.repair_milliminutes,
            Action::Reimage => figures.reimage_milliminutes,
            Action::Wipe => figures.reimage_milliminutes.saturating_add(self.erase.milliminutes),
            Action::Quarantine => figures.quarantine_milliminutes,
        }
    }

    fn interruption(&self, action: Action) -> u64 {
        if action == Action::Quarantine {
            return 0;
        }
        let failing = share(self.figures().interruption_milliminutes, self.risk.failure_parts_per_million);
        if action != Action::Repair {
            return failing;
        }
        let again = share(self.away(Action::Reimage), MILLION - self.repair_holds());
        failing.saturating_add(again)
    }

    fn repair_holds(&self) -> u64 {
        let figures = self.figures();
        let less = |holds, _| share(holds, figures.repair_again_parts_per_million);
        (0..self.repairs_before).fold(figures.repair_holds_parts_per_million.min(MILLION), less)
    }

    fn written(&self, action: Action) -> u64 {
        let image = if self.image_on_flash { self.image_bytes } else { 0 };
        match action {
            Action::Keep | Action::LookDeeper | Action::Quarantine => 0,
            Action::Repair => share(image, self.figures().repair_image_parts_per_million),
            Action::Reimage => image,
            Action::Wipe => image.saturating_add(self.erase.flash_bytes),
        }
    }

    fn cost(&self, action: Action) -> ActionCost {
        let figures = self.figures();
        let away_milliminutes = self.away(action);
        let interruption_milliminutes = self.interruption(action);
        let written_bytes = self.written(action);
        let wear_milliminutes =
            narrow(u128::from(written_bytes) * u128::from(figures.wear_milliminutes_per_terabyte) / TERABYTE);
        // What is taken out is switched off.
        let at_work = if action == Action::Quarantine { 0 } else { away_milliminutes };
        let watt_milliminutes = u128::from(at_work) * u128::from(figures.power_watts);
        let energy_watt_hours = narrow(watt_milliminutes / u128::from(60 * MINUTE));
        let energy_milliminutes = narrow(
            u128::from(energy_watt_hours) * u128::from(figures.energy_milliminutes_per_kilowatt_hour) / 1000,
        );
        let parts = [away_milliminutes, interruption_milliminutes, wear_milliminutes, energy_milliminutes];
        ActionCost {
            action,
            allowed: false,
            because: String::new(),
            away_milliminutes,
            interruption_milliminutes,
            written_bytes,
            wear_milliminutes,
            energy_watt_hours,
            energy_milliminutes,
            total_milliminutes: parts.into_iter().fold(0, u64::saturating_add),
        }
    }
}

/// The costs of all actions, and which of them the rules left to costs. `least` is what the rules demand.
pub(crate) fn costs(facts: &Facts<'_>, bill: &Bill<'_>, fitness: Fitness, least: Action) -> Vec<ActionCost> {
    let of = |action| {
        let (allowed, because) = may_choose(facts, bill, fitness, least, action);
        ActionCost { allowed, because, ..bill.cost(action) }
    };
    ACTIONS.into_iter().map(of).collect()
}

fn may_choose(
    facts: &Facts<'_>,
    bill: &Bill<'_>,
    fitness: Fitness,
    least: Action,
    action: Action,
) -> (bool, String) {
    let outlook = &facts.thresholds().outlook;
    let limit = outlook.quarantine_parts_per_million_above;
    if action == least {
        return (true, "the rules demand it".to_owned());
    }
    if action < least {
        return (false, "milder than what the rules demand".to_owned());
    }
    match action {
        Action::Quarantine if least != Action::LookDeeper => {
            let risk = bill.risk.failure_parts_per_million;
            let likely = risk > limit && bill.waiting_costs_more(risk);
            let because = format!(
                "only where something is watched, failure is likelier than {}, and waiting for it costs more",
                percent(limit)
            );
            (fitness == Fitness::Watch && likely && !facts.leaves_empty(), because)
        }
        Action::Reimage if least == Action::Repair => {
            (outlook.repair_cost_may_reimage, "only where the policy lets costs choose it".to_owned())
        }
        _ => (false, "nothing found asks for it".to_owned()),
    }
}

fn erase(disks: &[DiskFacts], figures: &CostModel) -> Erase {
    let of = |disk: &DiskFacts| {
        let flash = kind_of(disk) == ComponentKind::FlashDisk;
        if let Some(milliminutes) = own_erase(disk, figures) {
            return Erase { milliminutes, flash_bytes: 0 };
        }
        let speed = if flash { figures.flash_bytes_per_second } else { figures.hard_disk_bytes_per_second };
        let seconds = u128::from(disk.size_bytes) / u128::from(speed.max(1));
        let flash_bytes = if flash { disk.size_bytes } else { 0 };
        Erase { milliminutes: narrow(seconds * u128::from(MINUTE) / 60), flash_bytes }
    };
    // Disks are erased side by side.
    disks.iter().filter(|disk| !disk.removable).map(of).fold(Erase::default(), |all, one| Erase {
        milliminutes: all.milliminutes.max(one.milliminutes),
        flash_bytes: all.flash_bytes.saturating_add(one.flash_bytes),
    })
}

/// How long the device's own erase takes; none if it has none that spares the flash.
fn own_erase(disk: &DiskFacts, figures: &CostModel) -> Option<u64> {
    let said = disk.sanitize.value().filter(|sanitize| sanitize.block || sanitize.crypto).map(|sanitize| {
        let estimates = [
            sanitize.block.then_some(sanitize.block_estimate_seconds).flatten(),
            sanitize.crypto.then_some(sanitize.crypto_estimate_seconds).flatten(),
        ];
        estimates.into_iter().flatten().max()
    });
    let format = disk.nvme.value().is_some_and(|nvme| nvme.format);
    match said {
        Some(Some(seconds)) => Some(u64::from(seconds) * MINUTE / 60),
        Some(None) => Some(figures.device_erase_milliminutes),
        None => format.then_some(figures.device_erase_milliminutes),
    }
}

fn share(of: u64, parts_per_million: u64) -> u64 {
    narrow(u128::from(of) * u128::from(parts_per_million) / u128::from(MILLION))
}

fn narrow(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}

/// `8.5 min` of thousandths.
pub(crate) fn minutes(milliminutes: u64) -> String {
    let tenths = milliminutes.saturating_add(50) / 100;
    format!("{}.{} min", tenths / 10, tenths % 10)
}
