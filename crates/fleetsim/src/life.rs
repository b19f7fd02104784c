//! One node's year under one strategy.

use contract::assignment::{DataOwner, NodeContext, PastVerdict};
use contract::decision::Action;
use contract::evidence::Evidence;
use contract::id::ImageId;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use verdict::recall::recall_conclusion;

use crate::calendar::{self, Happening};
use crate::context::{context, image, tenant};
use crate::parameters::Parameters;
use crate::score::{Named, Score};
use crate::sensors::{self, Look, disk_id, time};
use crate::strategy::{Answer, Asked, Strategy};
use crate::truth::{Broken, Disk, Truth};

/// How often a node that shows signs is looked at again, in days.
const LOOK_AGAIN_DAYS: f64 = 7.0;
/// A node that a person had in hand is taken out again at most this often in a row.
const QUARANTINES_IN_A_ROW_MAX: u32 = 3;
/// Interruptions by the same broken part until its user complains.
const COMPLAINTS: u32 = 3;
/// Share of an image's bytes that a reimage by difference writes. Ours, from `bench repair`.
const CHANGED_SHARE: f64 = 0.05;
const HISTORY_MAX: usize = 20;

struct Life<'a> {
    parameters: &'a Parameters,
    strategy: &'a dyn Strategy,
    number: u32,
    truth: Truth,
    context: NodeContext,
    image: ImageId,
    looks: u32,
    complaints: u32,
    /// It has just failed and was not looked at since.
    failed: bool,
    /// What was seen last.
    last: Option<Evidence>,
    random: Pcg64Mcg,
    score: Score,
}

/// Lives a node's year. `seed` and `number` alone decide what happens to it.
///
/// # Errors
/// If a name made here is none; that would be a mistake of this crate.
pub fn live(
    parameters: &Parameters,
    strategy: &dyn Strategy,
    seed: u64,
    number: u32,
) -> anyhow::Result<Score> {
    let mut outside = Pcg64Mcg::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number));
    let truth = Truth::draw(parameters, &mut outside);
    let happenings = calendar::draw(parameters, &truth, &mut outside);
    let image = image();
    let mut life = Life {
        parameters,
        strategy,
        number,
        context: context(parameters, number, &truth, image)?,
        truth,
        image,
        looks: 0,
        complaints: 0,
        failed: false,
        last: None,
        random: outside,
        score: Score::default(),
    };
    life.deliver();
    let mut next = 0;
    let mut look_at = f64::INFINITY;
    loop {
        let happens = happenings.get(next).map_or(f64::INFINITY, |(day, _)| *day);
        let (disk_day, place) = life.next_disk();
        let day = happens.min(disk_day).min(look_at);
        if day >= parameters.days {
            break;
        }
        if day == look_at {
            look_at = life.watch(day);
        } else if day == disk_day {
            life.disk_fails(place, day);
        } else {
            let again = life.happen(happenings[next].1, day);
            look_at = look_at.min(again);
            next += 1;
        }
        look_at = look_at.min(life.next_sign(day));
    }
    life.score.forecasts.extend(life.truth.disks.iter().filter_map(|disk| disk.named));
    Ok(life.score)
}

impl Life<'_> {
    /// The node arrives and is looked at before anybody uses it.
    fn deliver(&mut self) {
        let grey = self.truth.grey_loss.is_some();
        if !self.strategy.burns_in() {
            self.score.grey += f64::from(u8::from(grey));
            self.score.delivered_right += f64::from(u8::from(!grey));
            return;
        }
        let evidence = self.look(0.0, true, true);
        let answer = self.ask(&evidence, 0.0, true);
        let refused = f64::from(u8::from(answer.action == Action::Quarantine));
        if grey {
            self.score.grey += 1.0;
            self.score.grey_caught += refused;
        } else {
            self.score.delivered_right += 1.0;
            self.score.delivered_right_refused += refused;
        }
        if refused > 0.0 {
            self.take_out(&answer, 0.0);
        }
    }

    /// Something happens from outside; says when the node is to be looked at, if at all.
    fn happen(&mut self, happening: Happening, day: f64) -> f64 {
        match happening {
            Happening::Release { tenant } => self.release(tenant, day),
            Happening::Drift { files } => self.truth.altered_files = self.truth.altered_files.max(files),
            Happening::Compromise => self.truth.compromised = true,
            Happening::CorrectedErrors => return day,
            // Somebody has cured it.
            Happening::AcceleratorFault { of_lemon: true, .. } if !self.truth.lemon => {}
            Happening::AcceleratorFault { transient, .. } => {
                self.truth.recent_faults.push(day);
                if !transient {
                    self.truth.broken = self.truth.broken.or(Some(Broken::Accelerator));
                }
                return self.fails(day);
            }
            Happening::MemoryFault => {
                self.truth.broken = self.truth.broken.or(Some(Broken::Memory));
                return self.fails(day);
            }
        }
        f64::INFINITY
    }

    /// An interruption that nobody saw coming. Whoever does not look hears of it from the tenant, later.
    fn fails(&mut self, day: f64) -> f64 {
        self.score.failures += 1.0;
        self.lose(self.parameters.failure_minutes);
        if self.strategy.watches() {
            self.failed = true;
            return day;
        }
        self.complaints += 1;
        if self.truth.broken.is_some() && self.complaints >= COMPLAINTS {
            self.take_out(&Answer::of(Action::Quarantine), day);
        }
        f64::INFINITY
    }

    fn disk_fails(&mut self, place: usize, day: f64) {
        self.score.failures += 1.0;
        self.lose(self.parameters.failure_minutes);
        let disk = &self.truth.disks[place];
        if disk.rotating {
            self.score.disks_failing += 1.0;
            self.score.disks_failing_named += f64::from(u8::from(disk.named.is_some()));
        }
        self.replace(place, day);
    }

    /// The node is looked at while it is in use; says when again. Where it has just failed, its user is
    /// interrupted already.
    fn watch(&mut self, day: f64) -> f64 {
        if !self.strategy.watches() {
            return f64::INFINITY;
        }
        let evidence = self.look(day, false, false);
        let answer = self.ask(&evidence, day, false);
        self.count_look(&answer, day);
        let failed = std::mem::take(&mut self.failed);
        if answer.action == Action::Quarantine && (failed || self.strategy.takes_out_in_use()) {
            self.score.drains += f64::from(u8::from(!failed));
            self.take_out(&answer, day);
            return f64::INFINITY;
        }
        let shows = self.truth.disks.iter().filter_map(|disk| disk.signs.as_ref());
        let grows = shows.filter(|signs| signs.from_day <= day && signs.growth_per_day > 0.0).count() > 0;
        if grows { day + LOOK_AGAIN_DAYS } else { f64::INFINITY }
    }

    /// When the next disk begins to show signs after this day.
    fn next_sign(&self, day: f64) -> f64 {
        let signs = self.truth.disks.iter().filter_map(|disk| disk.signs.as_ref());
        signs.map(|signs| signs.from_day + 0.01).filter(|from| *from > day).fold(f64::INFINITY, f64::min)
    }

    fn next_disk(&self) -> (f64, usize) {
        let days = self.truth.disks.iter().enumerate().map(|(place, disk)| (disk.fails_day, place));
        days.fold((f64::INFINITY, 0), |first, next| if next.0 < first.0 { next } else { first })
    }

    /// The tenant gives the node back, and the next one gets it.
    fn release(&mut self, tenant_number: u32, day: f64) {
        let foreign = self.truth.data_of != tenant_number;
        let sound = self.truth.is_sound(day) && self.truth.is_intact();
        self.score.releases += 1.0;
        self.score.tenant_changes += f64::from(u8::from(foreign));
        self.context.assignment.tenant = tenant(tenant_number);
        self.context.data_owner = match tenant(self.truth.data_of) {
            Some(owner) if self.truth.data_of > 0 => DataOwner::Tenant(owner),
            _ => DataOwner::Nobody,
        };
        let mut action = Action::Quarantine;
        for _ in 0..QUARANTINES_IN_A_ROW_MAX {
            let answer = self.ask_deeper(day);
            self.count_look(&answer, day);
            action = answer.action;
            if !matches!(action, Action::Quarantine | Action::LookDeeper) {
                break;
            }
            self.take_out(&answer, day);
        }
        if sound && !foreign {
            self.score.same_owner_sound += 1.0;
            self.score.unneeded_reimages +=
                f64::from(u8::from(matches!(action, Action::Reimage | Action::Wipe)));
        }
        self.act(action, foreign, day);
        // Where nobody got it, whatever was on it is still there.
        if !matches!(action, Action::LookDeeper | Action::Quarantine) {
            self.truth.data_of = tenant_number;
        }
        self.complaints = 0;
    }

    /// Asks with what the resident agent sees, then, if that is too little, from the ramdisk.
    fn ask_deeper(&mut self, day: f64) -> Answer {
        let evidence = self.look(day, false, false);
        let answer = self.ask(&evidence, day, true);
        let writes = matches!(answer.action, Action::Repair | Action::Reimage | Action::Wipe);
        if answer.action != Action::LookDeeper && !(writes && self.strategy.burns_in()) {
            return answer;
        }
        self.spend(self.parameters.look_minutes);
        let evidence = self.look(day, true, false);
        self.ask(&evidence, day, true)
    }

    fn act(&mut self, action: Action, foreign: bool, day: f64) {
        let (minutes, bytes) = match action {
            Action::Keep | Action::LookDeeper | Action::Quarantine => (0.0, 0.0),
            Action::Repair => (self.parameters.partial_minutes, 0.001),
            Action::Reimage => (self.parameters.partial_minutes, CHANGED_SHARE),
            Action::Wipe => (self.parameters.full_minutes, 1.0),
        };
        self.spend(minutes);
        self.score.flash_bytes += bytes * self.parameters.image_bytes;
        match action {
            Action::Repair => self.truth.altered_files = 0,
            Action::Reimage | Action::Wipe => {
                self.truth.altered_files = 0;
                self.truth.compromised = false;
            }
            Action::Keep | Action::LookDeeper | Action::Quarantine => {}
        }
        if matches!(action, Action::LookDeeper | Action::Quarantine) {
            return;
        }
        if foreign && action != Action::Wipe && self.context.data_owner != DataOwner::Nobody {
            self.score.leaks += 1.0;
        }
        let dead = self.truth.broken.is_some() || self.truth.disks.iter().any(|disk| disk.fails_day <= day);
        let bad = dead || self.truth.grey_loss.is_some() || !self.truth.is_intact();
        self.score.escapes += f64::from(u8::from(bad));
    }

    fn look(&mut self, day: f64, ramdisk: bool, burn_in: bool) -> Evidence {
        self.looks += 1;
        let look = Look { ramdisk, burn_in, day, number: self.looks };
        sensors::evidence(self.parameters, self.number, &self.truth, self.image, look, &mut self.random)
    }

    fn ask(&mut self, evidence: &Evidence, day: f64, released: bool) -> Answer {
        self.score.verdicts += 1.0;
        let now = time(day);
        let asked = Asked { evidence, context: &self.context, now, truth: &self.truth, day, released };
        let answer = self.strategy.decide(&asked);
        self.strategy.remember(&mut self.context, evidence, &answer, now);
        self.count_named(&answer, day);
        self.context.history.insert(
            0,
            PastVerdict {
                evidence: evidence.id,
                decided_at: now,
                action: answer.action,
                because: String::new(),
                recalled: answer
                    .conclusion
                    .as_deref()
                    .map(|conclusion| recall_conclusion(conclusion, evidence.tier))
                    .unwrap_or_default(),
            },
        );
        self.context.history.truncate(HISTORY_MAX);
        self.last = Some(evidence.clone());
        answer
    }

    fn count_look(&mut self, answer: &Answer, day: f64) {
        if self.truth.is_sound(day) {
            self.score.sound_looks += 1.0;
            self.score.false_quarantines += f64::from(u8::from(answer.action == Action::Quarantine));
        }
    }

    /// A disk is named once, by whatever look names it first; how likely it is to fail is the most that any
    /// look said.
    fn count_named(&mut self, answer: &Answer, day: f64) {
        for (place, disk) in self.truth.disks.iter_mut().enumerate().filter(|(_, disk)| disk.rotating) {
            let id = disk_id(place, disk);
            let Some(named) = answer.disks.iter().find(|named| Some(&named.disk) == id.as_ref()) else {
                continue;
            };
            let first = disk.named.is_none();
            let mut so_far =
                disk.named.unwrap_or(Named { failure_parts_per_million: 0, right: disk.fails_soon(day) });
            so_far.failure_parts_per_million =
                so_far.failure_parts_per_million.max(named.failure_parts_per_million);
            disk.named = Some(so_far);
            if first {
                self.score.disks_named += 1.0;
                self.score.disks_named_failing += f64::from(u8::from(so_far.right));
            }
        }
    }

    /// A person has the node in hand: named disks are replaced, what is broken may be cured.
    fn take_out(&mut self, answer: &Answer, day: f64) {
        self.lose(self.parameters.quarantine_minutes);
        let named = self.truth.disks.iter().enumerate();
        let named: Vec<usize> = named
            .filter(|(place, disk)| disk_id(*place, disk).is_some_and(|id| answer.names(&id)))
            .map(|(place, _)| place)
            .collect();
        for place in named {
            let disk = &self.truth.disks[place];
            if disk.rotating && disk.fails_soon(day) {
                self.score.disks_failing += 1.0;
                self.score.disks_failing_named += 1.0;
            }
            self.replace(place, day);
        }
        if self.random.random_bool(self.parameters.repair_success) {
            self.truth.broken = None;
            self.truth.grey_loss = None;
            self.truth.lemon = false;
        }
        self.truth.recent_faults.clear();
        self.complaints = 0;
        if let Some(seen) = self.last.take() {
            self.strategy.accepted(&mut self.context, &seen, answer, time(day));
        }
    }

    fn replace(&mut self, place: usize, day: f64) {
        let (rotating, generation) =
            (self.truth.disks[place].rotating, self.truth.disks[place].generation + 1);
        self.score.forecasts.extend(self.truth.disks[place].named);
        self.truth.disks[place] = Disk::draw(self.parameters, rotating, day, generation, &mut self.random);
        let mut disks: Vec<_> =
            self.truth.disks.iter().enumerate().filter_map(|(place, disk)| disk_id(place, disk)).collect();
        disks.sort();
        if let Some(expected) = &mut self.context.expected_hardware {
            expected.disks = disks;
        }
    }

    fn lose(&mut self, minutes: f64) {
        self.score.lost_minutes += minutes;
        self.score.kilowatt_hours += minutes / 60.0 * self.parameters.idle_watts / 1000.0;
    }

    fn spend(&mut self, minutes: f64) {
        self.score.release_minutes += minutes;
        self.lose(minutes);
    }
}
