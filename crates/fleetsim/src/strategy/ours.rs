//! The product's verdict.

use contract::assignment::NodeContext;
use contract::decision::{Action, Axis, Finding, Severity};
use contract::evidence::Evidence;
use contract::id::{DiskId, UnixMillis};
use contract::reading::Subject;
use verdict::judge;
use verdict::model::Model;
use verdict::policy::Policy;

use super::{Answer, Asked, Strategy, Suspect};

/// Decides with `verdict::judge` and the default policy.
pub struct Ours {
    policy: Policy,
    model: Model,
}

impl Ours {
    /// With the default policy and model.
    ///
    /// # Errors
    /// If the defaults cannot be read.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { policy: Policy::parse("")?, model: Model::parse("")? })
    }
}

impl Strategy for Ours {
    fn name(&self) -> &'static str {
        "reprieve"
    }

    fn burns_in(&self) -> bool {
        true
    }

    fn decide(&self, asked: &Asked<'_>) -> Answer {
        let (evidence, context) = (asked.evidence, asked.context);
        let conclusion = judge::conclude(evidence, context, &self.policy, &self.model, asked.now);
        // What could not be read is no word that the disk will fail.
        let unfit =
            |finding: &&Finding| finding.axis == Axis::Fitness && finding.severity == Severity::Critical;
        let critical = conclusion.findings.iter().filter(unfit);
        let mut disks: Vec<_> = critical
            .filter_map(|finding| match &finding.subject {
                Subject::Disk(id) => Some(id.clone()),
                _ => None,
            })
            .collect();
        disks.dedup();
        if conclusion.action != Action::Quarantine {
            disks.clear();
        }
        let disks = self.suspects(asked, disks);
        Answer { action: conclusion.action, disks, conclusion: Some(Box::new(conclusion)) }
    }

    fn remember(&self, context: &mut NodeContext, evidence: &Evidence, answer: &Answer, now: UnixMillis) {
        self.next_baselines(context, evidence, answer, false, now);
    }

    fn accepted(&self, context: &mut NodeContext, evidence: &Evidence, answer: &Answer, now: UnixMillis) {
        self.next_baselines(context, evidence, answer, true, now);
    }
}

impl Ours {
    /// How likely the forecast calls the failure of each; told only in the whole decision.
    fn suspects(&self, asked: &Asked<'_>, disks: Vec<DiskId>) -> Vec<Suspect> {
        if disks.is_empty() {
            return Vec::new();
        }
        let decision = judge::judge(asked.evidence, asked.context, &self.policy, &self.model, asked.now);
        let likely = |disk: &DiskId| {
            let of_disk = decision.forecast.iter().find(|part| part.subject == Subject::Disk(disk.clone()));
            of_disk.map_or(0, |part| part.failure_parts_per_million)
        };
        disks.into_iter().map(|disk| Suspect { failure_parts_per_million: likely(&disk), disk }).collect()
    }

    /// As the service does it, in the same transaction as the evidence.
    fn next_baselines(
        &self,
        context: &mut NodeContext,
        evidence: &Evidence,
        answer: &Answer,
        by_person: bool,
        now: UnixMillis,
    ) {
        if let Some(conclusion) = &answer.conclusion {
            let before = &context.baselines;
            let said = (conclusion.fitness, conclusion.findings.as_slice());
            context.baselines = verdict::baseline::next(before, evidence, said, by_person, &self.policy, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context;
    use crate::parameters::Parameters;
    use crate::sensors::{self, Look, time};
    use crate::truth::Truth;
    use rand::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    /// A machine that is well in every way, whose tenant stays.
    fn well(storage: f64, accelerators: f64) -> (Parameters, Truth) {
        let parameters = Parameters {
            storage_node_share: storage,
            accelerator_node_share: accelerators,
            grey_share: 0.0,
            lemon_share: 0.0,
            sensor_missing: 0.0,
            sensor_lie: 0.0,
            sign_if_healthy: 0.0,
            memory_corrected_per_year: 1e-9,
            hard_disk_failures_per_year: 1e-9,
            flash_failures_per_year: 1e-9,
            ..Parameters::published()
        };
        let truth = Truth::draw(&parameters, &mut Pcg64Mcg::seed_from_u64(1));
        (parameters, truth)
    }

    #[test]
    fn a_machine_that_is_well_is_kept() {
        for (storage, accelerators) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)] {
            let (parameters, mut truth) = well(storage, accelerators);
            truth.data_of = 1;
            for ramdisk in [false, true] {
                let mut random = Pcg64Mcg::seed_from_u64(2);
                let image = context::image();
                let context = context::context_for(&parameters, &truth, 1, image).unwrap();
                let look = Look { ramdisk, burn_in: false, day: 10.0, number: 1 };
                let evidence = sensors::evidence(&parameters, 0, &truth, image, look, &mut random);
                let ours = Ours::new().unwrap();
                let decision = judge::judge(&evidence, &context, &ours.policy, &ours.model, time(10.0));
                assert_eq!(decision.action, Action::Keep, "{}", verdict::explain::explain(&decision));
            }
        }
    }
}
